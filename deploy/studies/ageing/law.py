"""The law of margins over chips at one time, and the accuracy that follows from it, with its statistical error."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.linalg import LinAlgError, cholesky

from analognets.deploy.studies.ageing.gaussian import CERTAIN, Chosen, Normals, mean_and_spread
from analognets.deploy.studies.ageing.regression import Regression

__all__ = ["Accuracy", "MarginLaw", "accuracy_of", "law_between"]

DRAWS, FEWER = 4096, 1024
"""Draws of the joint Gaussian of all margins, and of how it changes without one of the chips."""

JITTERS = (1e-9, 1e-7, 1e-6)
"""What is added to a covariance that is not positive, as a share of the largest variance: the first that is enough."""


@dataclasses.dataclass(frozen=True)
class MarginLaw:
    """Margins of chips: a Gaussian with the mean over `level`, and two covariances.

    Args:
        level: what the linearisation does not explain of the simulated chips, (chips, samples, rivals).
        variance: by way of the linearisation, (samples, rivals).
        left: covariance of what is left, of the rivals of each sample, (samples, rivals, rivals); samples are
            independent in it.
        linear: covariance of all margins by way of the linearisation, flat; None where draws of it are at hand.
    """

    level: np.ndarray
    variance: np.ndarray
    left: np.ndarray
    linear: np.ndarray | None = None

    @property
    def mean(self) -> np.ndarray:
        """Mean margins, (samples, rivals)."""
        return np.asarray(self.level.mean(axis=0))

    @property
    def own(self) -> np.ndarray:
        """Variance of what is left, (samples, rivals)."""
        return np.einsum("srr->sr", self.left)

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviation of all margins, (samples, rivals)."""
        return np.sqrt(self.variance + self.own)


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Accuracy over chips at one time.

    Args:
        probability: of each chosen sample to be right.
        variance: over chips, of the accuracy on all samples.
        chosen_variance: over chips, of the accuracy on the chosen samples as they are weighted.
        mean_error: standard error that the number of simulated chips leaves of the mean accuracy.
        std_error: likewise of its standard deviation.
        given: probability of each chosen sample to be right on each simulated chip, of which the linear part is known;
            nothing between their times.
    """

    probability: np.ndarray
    variance: float
    chosen_variance: float
    mean_error: float
    std_error: float
    given: np.ndarray | None = None


def law_between(before: Regression, after: Regression, share: float, *, whole: bool = True) -> MarginLaw:
    """Return the law between two times at which chips were simulated.

    Args:
        before: of the earlier time.
        after: of the later time.
        share: of the way, 0 to 1.
        whole: with `linear`.
    """
    a, b = 1.0 - share, share
    return MarginLaw(
        a * before.level + b * after.level,
        a * before.variance + b * after.variance,
        a * before.left + b * after.left,
        (before.linear if share == 0.0 else a * before.linear + b * after.linear) if whole else None,
    )


def accuracy_of(
    law: MarginLaw, without: Sequence[MarginLaw], chosen: Chosen, seed: int, moved: np.ndarray | None = None
) -> Accuracy:
    """Return the accuracy over chips that a law gives.

    The mean margin of a sample comes from `chips` simulated ones, so it errs by what is left, with left / chips. As
    E Phi((mu + error) / tau) = Phi(mu / sqrt(tau^2 + Var error)), the mean accuracy is free of that error if so much is
    taken off the variance. What stays is the error of single samples, which partly cancels over them: the jackknife
    over the simulated chips estimates it, with the slope and the rest determined anew without each of them.

    Args:
        law: of the margins.
        without: the same law without each of the simulated chips.
        chosen: the samples.
        seed: of the draws.
        moved: the linear part of the margins of the simulated chips, or None.

    Source: our reconstruction; the jackknife by Efron and Stein, Ann. Statist. 9 (1981) 586 (from memory).
    """
    normals = _Margins(law, DRAWS, seed)
    right = normals.right(law, DRAWS)
    probability, variance = mean_and_spread(right, chosen)
    found = []
    for one in without:
        some = normals.right(one, FEWER)
        found.append([float(chosen.mean(some.mean(axis=0))), mean_and_spread(some, chosen)[1] ** 0.5])
    mean_error, std_error = np.sqrt((len(found) - 1) * np.var(found, axis=0))
    over_chips = float(chosen.mean(right.astype(np.float32)).var())
    given = None if moved is None else np.stack([normals.right(law, FEWER, one).mean(axis=0) for one in moved])
    return Accuracy(probability, variance, over_chips, float(mean_error), float(std_error), given)


class _Margins:
    """Draws of the margins of those samples that chips may decide otherwise; the same for laws that hardly differ."""

    def __init__(self, law: MarginLaw, draws: int, seed: int) -> None:
        self.law = law
        certain = np.abs(law.mean) >= CERTAIN * law.deviation
        self.always = np.asarray((law.mean > 0).all(axis=1))
        self.open = np.flatnonzero(~certain.all(axis=1) & ~(certain & (law.mean <= 0)).any(axis=1))
        rivals = law.mean.shape[1]
        flat = (self.open[:, None] * rivals + np.arange(rivals)).ravel()
        linear = np.diag(law.variance.ravel()[flat]) if law.linear is None else law.linear[np.ix_(flat, flat)]
        normals = Normals(draws, seed)
        shape = (draws, len(self.open), rivals)
        self.moved = (normals(len(flat)) @ _root(linear).T).reshape(shape)
        self.rest = np.einsum("dsq,srq->dsr", normals(len(flat)).reshape(shape), _roots(law.left[self.open]))

    def right(self, law: MarginLaw, draws: int, moved: np.ndarray | None = None) -> np.ndarray:
        """Return whether each sample is right in draws of a law, (draws, samples).

        Args:
            law: of the margins.
            draws: how many.
            moved: the linear part of one chip, (samples, rivals), in place of draws of it.
        """
        margins = self.rest[:draws] * np.float32(self._rest(law))
        margins += law.mean[self.open].astype(np.float32)
        if moved is None:
            moved_by = _ratio(law.variance[self.open], self.law.variance[self.open]) ** 0.5
            margins += self.moved[:draws] * np.float32(moved_by)
        else:
            margins += moved[self.open].astype(np.float32)
        found = np.repeat(self.always[None], draws, axis=0)
        found[:, self.open] = (margins > 0).all(axis=2)
        return found

    def _rest(self, law: MarginLaw) -> float:
        """Return the factor on draws of what is left: less by the error of the mean margins."""
        noise = min(_ratio(law.level.var(axis=0, ddof=1)[self.open], law.own[self.open]), 1.0)
        return (_ratio(law.own[self.open], self.law.own[self.open]) * (1.0 - noise / len(law.level))) ** 0.5


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return L with L L^T = covariance, whose rounding errors may have made it a little less than positive."""
    own, largest = np.diag(covariance), float(np.diag(covariance).max(initial=1e-20))
    for jitter in JITTERS:
        with contextlib.suppress(LinAlgError):
            added = np.diag(1e-6 * own + jitter * largest)
            return np.asarray(cholesky(covariance + added, lower=True), np.float32)
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)), np.float32)


def _ratio(above: np.ndarray, below: np.ndarray) -> float:
    total = float(below.sum())
    return float(above.sum()) / total if total > 0 else 1.0


def _roots(blocks: np.ndarray) -> np.ndarray:
    """Return L of each symmetric block with L L^T = block."""
    values, vectors = np.linalg.eigh(blocks)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :], np.float32)
