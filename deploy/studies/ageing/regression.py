"""How margins of simulated chips follow from the linearisation: a slope, a level for each sample, and what is left."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.stats import norm

__all__ = ["Regression", "regress"]

PRIOR = 8.0
"""Degrees of freedom with which what is left of all margins counts beside what is left of each."""
SMALLEST = 1e-20


@dataclasses.dataclass(frozen=True)
class Regression:
    """Margins of chips c, samples s and rivals r: margins[c,s,r] = level[c,s,r] + slope * moved[c,s,r].

    Args:
        margins: of simulated chips, (chips, samples, rivals).
        moved: by how much they differ from the mean network to first order.
        gram: covariance of `moved` over all chips, flat.
        slope: how much of it comes through; below 1 where ReLU and clipping saturate.
        left: covariance over chips of what is left, of the rivals of each sample, (samples, rivals, rivals).
    """

    margins: np.ndarray
    moved: np.ndarray
    gram: np.ndarray
    slope: float
    left: np.ndarray

    @property
    def level(self) -> np.ndarray:
        """What the linearisation does not explain: the mean margin and what is left, (chips, samples, rivals)."""
        return np.asarray(self.margins - self.slope * self.moved)

    @property
    def linear(self) -> np.ndarray:
        """Covariance of all margins by way of the linearisation, flat."""
        return np.asarray(self.slope**2 * self.gram)

    @property
    def variance(self) -> np.ndarray:
        """Its diagonal, (samples, rivals)."""
        return np.asarray(self.slope**2 * np.diag(self.gram).reshape(self.margins.shape[1:]))

    def without(self, chip: int) -> Regression:
        """Return the regression on all chips but one."""
        return regress(np.delete(self.margins, chip, 0), np.delete(self.moved, chip, 0), self.gram)


def regress(margins: np.ndarray, moved: np.ndarray, gram: np.ndarray) -> Regression:
    """Regress the margins of chips on what the linearisation says of the very same chips.

    slope = sum_cs w_s l[c,s] m[c,s] / sum_cs w_s l[c,s]^2,  of deviations from the mean over chips

    One slope serves all samples, so that few chips give it exactly: by Stein's lemma it is the mean gradient over chips
    against the gradient of the mean network. Samples count by w = phi(z) / Var l with z = mean / standard deviation,
    the more the closer their decision. As E l = 0, the mean over chips of m - slope * l estimates the mean margin
    without the noise that l explains: l is a control variate. What is left of a sample has covariance

    left_s = (PRIOR * k * slope^2 * Cov(l_s) + (chips - 1) * S_s) / (PRIOR + chips - 1)

    with S_s the sample covariance of its own rest, and k the rest of all samples in proportion to the linear part.

    Args:
        margins: of the chips, (chips, samples, rivals).
        moved: by how much those of the same chips differ from the mean network to first order.
        gram: covariance of that over all chips, flat.

    Source: our reconstruction; Stein, Ann. Statist. 9 (1981) 1135 for the slope, Efron and Morris, J. Am. Stat. Assoc.
    68 (1973) 117 for the shrinkage (both from memory).
    """
    chips, samples, rivals = margins.shape
    variance = np.diag(gram).reshape(samples, rivals)
    m, first = margins - margins.mean(axis=0), moved - moved.mean(axis=0)
    known = variance > SMALLEST
    scale = np.sqrt(np.maximum(m.var(axis=0, ddof=1), SMALLEST))
    weights = np.where(known, norm.pdf(margins.mean(axis=0) / scale) / np.maximum(variance, SMALLEST), 0.0)
    below = float((weights * first**2).sum())
    slope = float((weights * first * m).sum()) / below if below > 0 else 1.0
    rest = m - slope * first
    own = np.einsum("csr,csq->srq", rest, rest) / (chips - 1)
    explained = slope**2 * np.einsum("srsq->srq", gram.reshape(samples, rivals, samples, rivals))
    part = weights * np.einsum("srr->sr", explained)
    share = float((weights * np.einsum("srr->sr", own)).sum() / part.sum()) if part.sum() > 0 else 0.0
    degrees = np.where(known.all(axis=1), PRIOR, 0.0)[:, None, None]
    left = (degrees * share * explained + (chips - 1) * own) / (degrees + chips - 1)
    return Regression(margins, moved, gram, slope, left)
