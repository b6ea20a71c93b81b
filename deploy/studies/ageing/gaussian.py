"""From jointly Gaussian margins to the mean accuracy of chips and its spread."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.stats import norm

__all__ = ["CERTAIN", "Chosen", "Normals", "choose", "mean_and_spread", "single_probability"]

ALL = 0.8
"""Share of the chosen samples that are simply those whose decisions are closest."""
CERTAIN = 6.0
"""Standard deviations from which a margin counts as certain."""


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Samples that stand for all, more of them where decisions are close.

    Args:
        index: of each, rising within its stratum.
        stratum: of each, from 0.
        sizes: how many samples each stratum has in all.
    """

    index: np.ndarray
    stratum: np.ndarray
    sizes: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """How many samples are chosen of each stratum."""
        return np.bincount(self.stratum, minlength=len(self.sizes))

    @property
    def weights(self) -> np.ndarray:
        """The share of all samples that each stands for."""
        return (self.sizes / self.sizes.sum() / self.counts)[self.stratum]

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return the mean over all samples of values of the chosen ones, along the last axis."""
        return values @ self.weights

    def variance(self, values: np.ndarray, *, finite: bool = True) -> float:
        """Return the variance of `mean` by the choice of the samples.

        Args:
            values: of the chosen samples.
            finite: whether they are chosen from all there are; False: these were drawn at random themselves.
        """
        total = 0.0
        for number, (size, count) in enumerate(zip(self.sizes, self.counts, strict=True)):
            if count > 1:
                own = values[self.stratum == number].var(ddof=1)
                left = 1.0 - count / size if finite else 1.0
                total += float((size / self.sizes.sum()) ** 2 * own / count * left)
        return total


def choose(closeness: np.ndarray, count: int, seed: int) -> Chosen:
    """Choose the samples whose decisions are closest, and some of the others at random, in strata by closeness.

    Strata double in size: what is farther from a decision hardly ever changes, so few stand for many.

    Args:
        closeness: of each sample, such as its |margin|; smallest are closest.
        count: how many to choose at most; all if there are no more.
        seed: of the choice.
    """
    order = np.argsort(closeness, kind="stable")
    if len(order) <= count:
        return Chosen(np.arange(len(order)), np.zeros(len(order), int), np.array([len(order)]))
    random = np.random.default_rng(seed)
    first = round(ALL * count)
    doubled = first * 2 ** np.arange(int(np.log2(len(order) / first)) + 1)
    edges = np.unique([0, *doubled[: (count - first) // 2], len(order)])
    sizes = np.diff(edges)
    parts = np.array_split(np.arange(count - first), len(sizes) - 1)
    taken = np.array([first, *(len(part) for part in parts)])
    taken = np.minimum(taken, sizes)
    taken[-1] = min(sizes[-1], count - taken[:-1].sum())
    index = [
        np.sort(random.choice(order[a:b], n, replace=False))
        for a, b, n in zip(edges[:-1], edges[1:], taken, strict=True)
    ]
    return Chosen(np.concatenate(index), np.repeat(np.arange(len(sizes)), taken), sizes)


class Normals:
    """Standard normal draws in pairs of opposite sign, which halve the error of what is nearly linear in them.

    Args:
        draws: how many, even.
        seed: of them.
    """

    def __init__(self, draws: int, seed: int) -> None:
        self.draws, self._random = draws, np.random.default_rng(seed)

    def __call__(self, count: int) -> np.ndarray:
        """Return further draws of some numbers, (draws, count)."""
        half = self._random.standard_normal((self.draws // 2, count), np.float32)
        return np.stack([half, -half], axis=1).reshape(2 * len(half), count)


def mean_and_spread(right: np.ndarray, chosen: Chosen) -> tuple[np.ndarray, float]:
    """Return the probability of each chosen sample to be right, and the variance over chips of the accuracy on all.

    sum over pairs of all samples of Cov(right, right') / n^2: pairs within a stratum and the samples themselves are
    counted as often as there are in the stratum.
    """
    probability = right.mean(axis=0)
    deviations = (right - probability).astype(np.float32)
    sums = np.stack([deviations[:, chosen.stratum == one].sum(axis=1) for one in range(len(chosen.sizes))])
    own = np.array([(deviations[:, chosen.stratum == one] ** 2).sum() for one in range(len(chosen.sizes))]) / len(right)
    pairs = sums @ sums.T / len(right)
    counts, sizes, total = chosen.counts, chosen.sizes, chosen.sizes.sum()
    shares = sizes / total / counts
    variance = float(shares @ (pairs - np.diag(np.diag(pairs))) @ shares)
    inner = np.diag(pairs) - own
    among = sizes * (sizes - 1.0) / np.maximum(counts * (counts - 1.0), 1.0) / total**2
    return probability, max(variance + float(among @ inner) + float((sizes / counts / total**2) @ own), 0.0)


def single_probability(margins: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Return P(margin > 0) of Gaussian margins; of certain ones 0 or 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(deviations > 0, norm.cdf(margins / deviations), margins > 0)
