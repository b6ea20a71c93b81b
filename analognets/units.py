"""Durations as text with a unit ("25s", "1h", "1d", "30d", "1y") or plain seconds."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

from analognets.errors import InvalidArgumentError, shortened

__all__ = ["DRIFT_TIMES", "LONGEST", "MOST", "format_duration", "parse_duration", "parse_durations"]

SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "y": 31_536_000.0}
DRIFT_TIMES = ("25s", "1h", "1d", "30d", "1y")
"""The five times at which the field reports accuracy under drift."""
LONGEST = 1e12
"""Longest duration in seconds, about 32,000 years."""
MOST = 1000
"""So many times of one evaluation, at most."""

_PATTERN = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([a-z]*)\s*")


def parse_duration(value: str | float) -> float:
    """Return a duration in seconds: "25s" -> 25.0, "1d" -> 86400.0, 3600 -> 3600.0 (1 y = 365 d).

    Raises:
        InvalidArgumentError: the text has no known unit, or the duration is negative or longer than `LONGEST`.

    Examples:
        >>> parse_duration("1d")
        86400.0
    """
    seconds: float | None = None
    if isinstance(value, str):
        match = _PATTERN.fullmatch(value) if len(value) <= 100 else None
        if match and (match[2] or "s") in SECONDS:
            seconds = float(match[1]) * SECONDS[match[2] or "s"]
    elif not isinstance(value, bool):
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            seconds = float(value)
    if seconds is None or not 0 <= seconds <= LONGEST:
        raise InvalidArgumentError(
            f"A duration must be seconds >= 0 and <= {LONGEST:g} or a number with a unit out of {', '.join(SECONDS)}, "
            f"such as '25s', '1h' or '30d'. Received: {shortened(value)}."
        )
    return seconds


def parse_durations(values: Sequence[str | float]) -> list[float]:
    """Return the durations of a list in seconds.

    Raises:
        InvalidArgumentError: one is no duration, or there are none or more than `MOST`.

    Examples:
        >>> parse_durations(["25s", "1h", 86400])
        [25.0, 3600.0, 86400.0]
    """
    if not 1 <= len(values) <= MOST:
        raise InvalidArgumentError(f"There may be 1 to {MOST:,} times. Received: {len(values):,}.")
    return [parse_duration(value) for value in values]


def format_duration(seconds: float) -> str:
    """Return the shortest text that `parse_duration` reads back exactly: 86400.0 -> "1d", 5400.0 -> "1.5h".

    Examples:
        >>> format_duration(2_592_000.0)
        '30d'
    """
    for unit in ("y", "d", "h", "min"):
        amount = round(seconds / SECONDS[unit] * 4) / 4
        if amount >= 1 and amount * SECONDS[unit] == seconds:
            return f"{_plain(amount)}{unit}"
    return f"{_plain(float(seconds))}s"


def _plain(number: float) -> str:
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
