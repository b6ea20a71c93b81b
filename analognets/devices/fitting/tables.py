"""Quantiles of measured cells by level and time: the device without laws."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from analognets.devices.fitting.measurements import Measurements
from analognets.devices.tabulated import TabulatedDevice
from analognets.errors import DataError, check_integer

__all__ = ["tabulate"]

LEAST = 10
"""Cells a level."""


def tabulate(found: Measurements, g_max: float, *, levels: int = 12, shares: int = 21) -> TabulatedDevice:
    """Return the device of the quantiles of measured cells.

    Args:
        found: cells that were read at the same times.
        g_max: in uS.
        levels: how many at most; where there are more targets, neighbours are gathered at their mean, by their error.
        shares: quantiles a level, 3 to 201.

    Raises:
        DataError: cells were read at different times, or a level has too few of them.
        InvalidArgumentError: a number is out of range.
    """
    levels, shares = (
        check_integer("tabulated", "levels", levels, 1, 200),
        check_integer("tabulated", "shares", shares, 3, 201),
    )
    times, whole = _common(found)
    target, error = found.target[whole], found.conductance[whole] - found.target[whole, None]
    distinct, counts = np.unique(target, return_counts=True)
    if len(distinct) <= levels:
        groups = [np.flatnonzero(target == one) for one in distinct]
    else:
        groups = np.array_split(np.argsort(target, kind="stable"), min(levels, max(1, len(target) // LEAST)))
    if min(map(len, groups)) < LEAST:
        raise DataError(
            f"A tabulated device needs at least {LEAST} cells a level. Received: a level with {min(map(len, groups))}. "
            "Ask for fewer levels or measure more cells."
        )
    probabilities = (np.arange(shares) + 0.5) / shares
    places = np.array([target[group].mean() for group in groups])
    table = np.stack([np.quantile(error[group], probabilities, axis=0).T for group in groups], axis=1)
    table = np.maximum.accumulate(np.maximum(table + places[None, :, None], 0.0), axis=-1)
    return TabulatedDevice(
        g_max=g_max,
        levels=[float(f"{value:.6g}") for value in places],
        times=[float(time) for time in times],
        shares=[float(f"{value:.6g}") for value in probabilities],
        quantiles=[[[float(f"{value:.6g}") for value in row] for row in rows] for rows in table],
        memory=_memory(error, groups),
        source=found.source,
    )


def _common(found: Measurements) -> tuple[np.ndarray, np.ndarray]:
    """Return the times of all cells, and a mask of those that were read at each of them, once."""
    times = np.unique(found.time[np.isfinite(found.time)])
    whole = np.isfinite(found.conductance).all(1)
    shape = found.time.shape[1] == len(times)
    whole &= shape and (found.time == times).all(1) if shape else np.zeros_like(whole)
    if whole.sum() < LEAST:
        raise DataError(
            f"A tabulated device needs cells that were all read at the same times. Received: {len(times)} different "
            f"times and {int(whole.sum())} cells read at each of them, once. Round the times, or take fitted laws."
        )
    return times, whole


def _memory(error: np.ndarray, groups: list[np.ndarray]) -> float:
    """Return the mean correlation of normal scores of neighbouring readings within levels."""
    if error.shape[1] < 2:
        return 1.0
    scores = np.empty_like(error)
    for group in groups:
        ranks = np.apply_along_axis(rankdata, 0, error[group])
        scores[group] = ndtri(ranks / (len(group) + 1.0))
    both = [np.corrcoef(scores[:, at], scores[:, at + 1])[0, 1] for at in range(error.shape[1] - 1)]
    return float(f"{np.clip(np.nanmean(both), 0.0, 1.0):.4g}")
