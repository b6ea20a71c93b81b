"""The random draws of devices, and how a caller draws a piece of a large array as it lies in the whole one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import keras

__all__ = ["drawn", "drawn_by"]

Draw = Callable[[str, tuple[int, ...], int], Any]
_draw: ContextVar[Draw | None] = ContextVar("draw", default=None)


def drawn(kind: str, shape: tuple[int, ...], seed: int) -> Any:
    """Return float32 draws: "normal" with mean 0 and deviation 1, or "uniform" in [0, 1).

    Args:
        kind: of the distribution.
        shape: of the array.
        seed: whole number from 0; the same seed and shape give the same array.
    """
    own = _draw.get()
    if own is not None:
        return own(kind, shape, seed)
    draw = keras.random.normal if kind == "normal" else keras.random.uniform
    return draw(shape, dtype="float32", seed=seed)


@contextlib.contextmanager
def drawn_by(function: Draw) -> Iterator[None]:
    """While active, `drawn` returns what a function of (kind, shape, seed) returns."""
    token = _draw.set(function)
    try:
        yield
    finally:
        _draw.reset(token)
