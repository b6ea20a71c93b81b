"""From jointly Gaussian margins to the mean accuracy of chips and its spread."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.linalg import cholesky
from scipy.stats import norm

__all__ = ["Chosen", "choose", "mean_and_spread", "right_draws"]

EDGES = (0.0, 0.03, 0.06, 0.1, 0.15, 0.25, 0.5, 1.0)
"""Shares of the samples, by how near they are to a decision, at which strata of equal numbers end."""
DRAWS = 4096
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
    """Choose samples at random from strata by how close their decision is.

    Args:
        closeness: of each sample, such as its |margin|; smallest are closest.
        count: how many to choose at most; all if there are no more.
        seed: of the choice.
    """
    order = np.argsort(closeness, kind="stable")
    if len(order) <= count:
        return Chosen(np.arange(len(order)), np.zeros(len(order), int), np.array([len(order)]))
    random = np.random.default_rng(seed)
    edges = np.unique(np.round(np.array(EDGES) * len(order)).astype(int))
    wanted = np.full(len(edges) - 1, count // (len(edges) - 1))
    sizes = np.diff(edges)
    taken = np.minimum(wanted, sizes)
    taken[-1] = min(sizes[-1], count - taken[:-1].sum())
    index = [
        np.sort(random.choice(order[a:b], n, replace=False))
        for a, b, n in zip(edges[:-1], edges[1:], taken, strict=True)
    ]
    return Chosen(np.concatenate(index), np.repeat(np.arange(len(sizes)), taken), sizes)


def right_draws(margins: np.ndarray, covariance: np.ndarray, *, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Return whether each sample is right in draws of the joint Gaussian of all margins, (draws, samples).

    Args:
        margins: means, (samples, rivals).
        covariance: of all of them, flat.
        draws: how many.
        seed: of the draws.
    """
    flat, variances = margins.reshape(-1), np.diag(covariance)
    positive = np.repeat((flat > 0)[None], draws, axis=0)
    open_ones = np.flatnonzero(np.abs(flat) < CERTAIN * np.sqrt(variances))
    if len(open_ones):
        own = covariance[np.ix_(open_ones, open_ones)] + np.diag(1e-6 * variances[open_ones])
        root = cholesky(own, lower=True).astype(np.float32)
        normals = np.random.default_rng(seed).standard_normal((draws, len(open_ones)), np.float32)
        positive[:, open_ones] = normals @ root.T + flat[open_ones] > 0
    return np.asarray(positive.reshape(draws, *margins.shape).all(axis=2))


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
