"""Cells that do not follow their target: stuck at a low or a high conductance, or just wrong."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy.special import ndtr
from scipy.stats import binomtest

from analognets.devices.fitting.measurements import Measurements

__all__ = ["Stuck", "find_stuck"]

FAR = 6.0
"""Robust standard deviations from which on a first reading is no ordinary one."""
LEAST = 0.05
"""And share of g_max."""
CLOSE = 0.04
"""Stuck cells of one kind differ by this share of g_max at most, from each other and from time to time."""
GROUP = 40
"""Cells whose targets are neighbours, from which the ordinary spread is taken."""


@dataclasses.dataclass(frozen=True)
class Stuck:
    """What was found.

    Args:
        ordinary: mask of the cells that follow their target; of cells that read as stuck ones do although their target
            is near, those are none that are stuck more likely than not.
        shares: (low, high) of stuck cells among those where they can be told.
        conductances: (low, high) in uS; 0 where there are none.
        counts: (low, high) of stuck cells.
        seen: (low, high) of cells whose target is far from that conductance.
        others: cells that are far from their target and not stuck at either.
    """

    ordinary: np.ndarray
    shares: tuple[float, float]
    conductances: tuple[float, float]
    counts: tuple[int, int]
    seen: tuple[int, int]
    others: int

    def interval(self, side: int) -> tuple[float, float]:
        """Return the exact 95 % interval (Clopper-Pearson) of a share; side 0 is low, 1 is high."""
        if not self.seen[side]:
            return 0.0, 1.0
        found = binomtest(self.counts[side], self.seen[side]).proportion_ci(0.95, method="exact")
        return float(found.low), float(found.high)

    def draw(self, random: np.random.Generator, count: int) -> np.ndarray:
        """Return shares that the data allow as well, shape (count, 2): 0 where no stuck cell was seen."""
        columns = [
            random.beta(k + 0.5, n - k + 0.5, count) if k else np.zeros(count)
            for k, n in zip(self.counts, self.seen, strict=True)
        ]
        return np.stack(columns, axis=1)


def find_stuck(found: Measurements, g_max: float) -> Stuck:
    """Return which cells are stuck.

    A first reading is extraordinary if it is more than 6 robust standard deviations of the cells with neighbouring
    targets, and more than 5 % of g_max, away from where these read. Extraordinary cells that read the same low (or
    high) conductance, at all times, are stuck. Ordinary cells that read the same are stuck if the share of stuck cells
    is larger than the probability that an ordinary cell of their target reads so: leaving all of them out would cut the
    distribution of cells with a target near 0.
    """
    first = found.conductance[:, 0]
    centre, spread = _ordinary(found.target, first - found.target)
    limit = np.maximum(FAR * spread, LEAST * g_max)
    off = first - found.target - centre
    odd = np.abs(off) > limit
    width = np.nanmax(found.conductance, axis=1) - np.nanmin(found.conductance, axis=1)
    steady = width <= CLOSE * g_max
    same = np.zeros_like(odd)
    masks, shares, values, counts, seen = [], [], [], [], []
    for sign in (-1, 1):
        suspects = odd & steady & (np.sign(off) == sign)
        stuck = np.zeros_like(odd)
        value = 0.0
        if suspects.any():
            value = _densest(first[suspects], CLOSE * g_max)
            stuck = suspects & (np.abs(first - value) <= CLOSE * g_max)
            edge = value <= LEAST * g_max if sign < 0 else value >= (1.0 - LEAST) * g_max
            if stuck.sum() < 2 and not edge:  # one odd cell in the middle is no kind
                stuck, value = np.zeros_like(odd), 0.0
            else:
                value = float(np.median(first[stuck]))
        end = value if stuck.any() else 0.0 if sign < 0 else g_max
        far = sign * (end - found.target - centre) > limit
        masks.append(stuck)
        values.append(value)
        counts.append(int(stuck.sum()))
        seen.append(max(int(far.sum()), int(stuck.sum())))
        shares.append(counts[-1] / seen[-1] if seen[-1] else 0.0)
        if stuck.any():
            near, alike = _like(first, width, stuck, value, g_max)
            by_chance = _chance(found.target + centre, spread, first, near) * _steadiness(
                first, value, alike, odd, g_max
            )
            same |= alike & (stuck | (shares[-1] > by_chance))
    ordinary = ~odd & ~same
    return Stuck(
        ordinary, _pair(shares), _pair(values), _pair(counts), _pair(seen), int((odd & ~masks[0] & ~masks[1]).sum())
    )


def _like(
    first: np.ndarray, width: np.ndarray, stuck: np.ndarray, value: float, g_max: float
) -> tuple[float, np.ndarray]:
    """Return how near in uS stuck cells are to each other, and which cells are as near to them, and as steady."""
    near = 2.0 * float(np.abs(first[stuck] - value).max()) + 1e-3 * g_max
    return near, (np.abs(first - value) <= near) & (width <= 2.0 * width[stuck].max() + 1e-3 * g_max)


def _chance(mean: np.ndarray, spread: np.ndarray, first: np.ndarray, near: float) -> np.ndarray:
    """Return how probable it is that an ordinary cell of this target reads what it does, give or take `near` uS."""
    spread = np.maximum(spread, 1e-12)
    low, high = ndtr((first - near - mean) / spread), ndtr((first + near - mean) / spread)
    return np.where(first <= near, high, high - low)  # what is programmed below 0 reads 0


def _steadiness(first: np.ndarray, value: float, alike: np.ndarray, odd: np.ndarray, g_max: float) -> np.ndarray:
    """Return how probable it is that an ordinary cell is as steady as a stuck one; one that reads 0 always is."""
    near = (np.abs(first - value) <= LEAST * g_max) & ~odd & (first > 0)
    share = (1.0 + (near & alike).sum()) / (1.0 + near.sum())
    return np.where(first > 0, share, 1.0)


def _pair(values: list[Any]) -> tuple[Any, Any]:
    low, high = values
    return low, high


def _ordinary(target: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return median and robust standard deviation of the errors of cells with neighbouring targets, for each cell."""
    order = np.argsort(target, kind="stable")
    groups = np.array_split(order, max(1, len(target) // GROUP))
    places = np.array([np.median(target[group]) for group in groups])
    centres = np.array([np.median(error[group]) for group in groups])
    spreads = np.array([1.4826 * np.median(np.abs(error[g] - c)) for g, c in zip(groups, centres, strict=True)])
    keep = np.append(np.diff(places) > 0, True)
    return np.interp(target, places[keep], centres[keep]), np.interp(target, places[keep], spreads[keep])


def _densest(values: np.ndarray, width: float) -> float:
    """Return the value with most others within a width."""
    near = (np.abs(values[:, None] - values[None, :]) <= width).sum(1)
    return float(values[near.argmax()])
