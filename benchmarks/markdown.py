"""Tables in Markdown, and what stands in their cells."""

from __future__ import annotations

from collections.abc import Sequence

from analognets.core.markdown import markdown
from analognets.metrics import chips_interval, format_interval, spread_interval

__all__ = ["markdown", "over_chips", "over_values"]


def over_chips(mean: float, std: float | None, chips: int, factor: float = 100.0, digits: int = 2) -> str:
    """Return a mean with half of its 95 % interval over chips, from what was stored."""
    found = spread_interval(mean, std, int(chips))
    return format_interval(found.mean, found.low, found.high, scale=factor, form=f"{{:.{digits}f}}", digits=digits)


def over_values(values: Sequence[float], factor: float = 100.0, digits: int = 2) -> str:
    """Return the mean of some trainings with half of its 95 % interval over them, or the only value."""
    found = chips_interval(values)
    return format_interval(found.mean, found.low, found.high, scale=factor, form=f"{{:.{digits}f}}", digits=digits)
