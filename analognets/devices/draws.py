"""How a caller draws a piece of a large array of devices as it lies in the whole one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

__all__ = ["drawing", "drawn_by"]

Draw = Callable[[str, tuple[int, ...], int], Any]
_draw: ContextVar[Draw | None] = ContextVar("draw", default=None)


def drawing(seed: Any) -> Draw | None:
    """Return the function that draws with a whole number as seed now, if there is one; None for a SeedGenerator."""
    return _draw.get() if isinstance(seed, int) else None


@contextlib.contextmanager
def drawn_by(function: Draw) -> Iterator[None]:
    """While active, seeded draws of devices are what a function of (kind, shape, seed) returns.

    Args:
        function: kind is "normal" or "uniform"; float32 numbers with mean 0 and deviation 1, or in [0, 1).
    """
    token = _draw.set(function)
    try:
        yield
    finally:
        _draw.reset(token)
