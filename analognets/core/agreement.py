"""How far the outputs of a copy of a network are from those of the original, and how far they may be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analognets.errors import ConversionError

__all__ = ["FLOAT_LIMIT", "INT8_LIMIT", "largest_difference", "refuse_difference", "relative_error"]

FLOAT_LIMIT = 1e-4
"""Largest difference of a float copy, relative to the largest output: single precision, in another order of sums."""

INT8_LIMIT = 0.25
"""Largest `relative_error` of a copy in 8 bit.

A range of 8 standard deviations in 256 steps is about 1 % of noise a layer; a hundred such layers, or ranges three
times as wide in ten, add up to 10 %. A network whose layers are mixed up, or whose numbers don't fit into 8 bit, is off
by half or more.
"""


def relative_error(
    found: Sequence[np.ndarray], expected: Sequence[np.ndarray], steps: Sequence[float] | None = None
) -> float:
    """Return the norm of the difference over the norm of the expected outputs, of the output where it is largest.

    Args:
        found: outputs (samples, ...) of the copy.
        expected: those of the original.
        steps: of each output, the smallest difference it can have in the copy: outputs smaller than four steps count as
            four steps, so that rounding alone is no large error.

    Returns:
        0 or more; infinity if an output has another shape or is not finite.
    """
    if len(found) != len(expected):
        return float("inf")
    worst = 0.0
    for number, (mine, right) in enumerate(zip(found, expected, strict=True)):
        if mine.shape != right.shape or not (np.isfinite(mine).all() and np.isfinite(right).all()):
            return float("inf")
        if not right.size:
            continue
        off = float(np.sqrt(np.mean(np.square(mine.astype(np.float64) - right))))
        size = float(np.sqrt(np.mean(np.square(right, dtype=np.float64))))
        size = max(size, 4 * steps[number] if steps is not None else 0.0)
        worst = max(worst, off / size if size else (float("inf") if off else 0.0))
    return worst


def largest_difference(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """Return the largest difference relative to the largest expected output, of the output where it is largest.

    Numbers that are not finite must be the same in both; booleans and whole numbers are compared as numbers.
    """
    if len(found) != len(expected):
        return float("inf")
    worst = 0.0
    for mine, right in zip(found, expected, strict=True):
        if mine.shape != right.shape:
            return float("inf")
        mine, right = mine.astype(np.float64), right.astype(np.float64)
        whole = np.isfinite(right)
        if not np.array_equal(mine[~whole], right[~whole], equal_nan=True) or not np.isfinite(mine[whole]).all():
            return float("inf")
        if whole.any():
            size = max(float(np.abs(right[whole]).max()), 1e-6)
            worst = max(worst, float(np.abs(mine[whole] - right[whole]).max()) / size)
    return worst


def refuse_difference(
    found: Sequence[np.ndarray], expected: Sequence[np.ndarray], what: str, hint: str, limit: float = FLOAT_LIMIT
) -> None:
    """Raise a ConversionError if a copy of a network answers otherwise than the network.

    Args:
        found: outputs (samples, ...) of the copy.
        expected: those of the original.
        what: the copy, as the beginning of the sentence.
        hint: what to do then.
        limit: of `largest_difference`.
    """
    difference = largest_difference(found, expected)
    if not difference <= limit:
        raise ConversionError(
            f"{what} computes something else: a relative difference of {difference:.2g}, where {limit:g} is allowed. "
            f"{hint}"
        )
