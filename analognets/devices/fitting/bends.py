"""Lines in ln g that stop at a low or a high value, fitted to parabolas of the likelihood at all places at once."""

from __future__ import annotations

import dataclasses

import numpy as np

from analognets.devices.fitting.laws import Scale

__all__ = ["FEWEST", "SHORTEST", "Bends", "bends"]

FEWEST = 10
"""Cells beyond a place where a law may stop, at least."""
SHORTEST = 0.4
"""Least range of ln g in which a law that stops has a slope: a factor of 1.5 in conductance."""
STEEPEST, HIGHEST = 1.0, 0.5
"""Bounds of slopes and of drift exponents."""


@dataclasses.dataclass(frozen=True)
class Bends:
    """The best line for each pair of places between which it is not flat, in each replicate.

    Args:
        line: slope, offset, low and high, (replicates, pairs, 4).
        gain: twice the likelihood's logarithm, up to a constant, (replicates, pairs); -inf where there is no line.
        constants: how many each line has: 2, and 1 for each place where it stops, (pairs,).
        at_low: whether a line that stops on one side does so at its low value, (replicates, pairs).
    """

    line: np.ndarray
    gain: np.ndarray
    constants: np.ndarray
    at_low: np.ndarray


def bends(scale: Scale, stiff: np.ndarray, pull: np.ndarray, weights: np.ndarray, *, places: int, most: int) -> Bends:
    """Return lines value = clip(slope ln g + offset) with the least sum of w (stiff value^2 - 2 pull value).

    Args:
        scale: conductances of the cells.
        stiff: curvature of each cell's likelihood in its value.
        pull: curvature times the value it is taken at, and the slope there.
        weights: of the cells, (replicates, cells).
        places: along ln g at which lines may stop, beside the ends.
        most: constants that a line may have.
    """
    log_g = scale.log_g
    margin = min(0.4, max(0.03, FEWEST / len(log_g)))
    knots = np.unique(np.quantile(log_g, [0.0, *np.linspace(margin, 1.0 - margin, places), 1.0]))
    ends = np.array(
        [(one, two) for place, one in enumerate(knots) for two in knots[place + 1 :] if two - one >= SHORTEST]
    ).reshape(-1, 2)
    left, right = ends[:, 0] > knots[0], ends[:, 1] < knots[-1]
    kept = 2 + left + right.astype(int) <= most
    ends, left, right = ends[kept], left[kept], right[kept]
    x = np.clip(log_g, ends[:, :1], ends[:, 1:])
    a11, a12, r1 = (weights @ (value * x**power).T for value, power in ((stiff, 2), (stiff, 1), (pull, 1)))
    a22, r2 = (weights @ stiff)[:, None], (weights @ pull)[:, None]
    determinant = a11 * a22 - a12**2
    fine = (determinant > 1e-9 * np.abs(a11 * a22)) & (a22 > 0)
    safe = np.where(fine, determinant, 1.0)
    slope, offset = (a22 * r1 - a12 * r2) / safe, (a11 * r2 - a12 * r1) / safe
    stops = np.sort(offset[..., None] + slope[..., None] * ends, axis=-1)
    fine &= (stops[..., 0] >= 0) & (stops[..., 1] <= HIGHEST) & (np.abs(slope) <= STEEPEST)
    gain = np.where(fine, slope * r1 + offset * r2, -np.inf)
    line = np.concatenate([slope[..., None], offset[..., None], stops], axis=-1)
    return Bends(line, gain, 2 + left + right.astype(int), left == (slope > 0))
