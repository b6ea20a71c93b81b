"""The errors of analognets: one sentence that says what is wrong, what is allowed, what came, and the next step.

All of them derive from `AnalogNetsError`; most also derive from the built-in error a caller would expect,
so `except ValueError` keeps working.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

__all__ = [
    "AnalogNetsError",
    "ChecksumError",
    "ChipFileError",
    "ConversionError",
    "DataError",
    "InvalidArgumentError",
    "MissingExtraError",
    "NotCalibratedError",
    "RecipeError",
    "RunError",
    "UnknownNameError",
    "check_choice",
    "check_integer",
    "check_number",
]


class AnalogNetsError(Exception):
    """Base of every error this package raises on purpose."""


class InvalidArgumentError(AnalogNetsError, ValueError):
    """An argument is outside of what its documentation allows."""


class UnknownNameError(AnalogNetsError, ValueError):
    """A preset, model, recipe or data set of that name does not exist."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        known = sorted(known)
        close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
        guess = f" Did you mean '{close[0]}'?" if close else ""
        super().__init__(f"Unknown {kind}.{guess} Known: {', '.join(known)}. Received: {name!r}.{' ' + hint if hint else ''}")


class ConversionError(AnalogNetsError, TypeError):
    """A model or layer can't be made analog, or digital again."""


class NotCalibratedError(AnalogNetsError, RuntimeError):
    """A layer's converter ranges have not been set yet."""


class DataError(AnalogNetsError, OSError):
    """A data set, file or folder is missing, broken or of the wrong kind."""


class ChecksumError(DataError):
    """A file does not have the expected sha256."""


class ChipFileError(AnalogNetsError, OSError):
    """A stored chip is cut short, changed or does not fit the model."""


class RecipeError(AnalogNetsError, ValueError):
    """A recipe has an unknown key or a value that is not allowed."""


class RunError(AnalogNetsError, OSError):
    """A run folder is missing, finished, unfinished or not what was asked for."""


class MissingExtraError(AnalogNetsError, ImportError):
    """An optional package is needed and not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs optional packages. Install them with: pip install 'analognets[{extra}]'")


def check_number(
    owner: str, name: str, value: Any, low: float = float("-inf"), high: float = float("inf"), *, unit: str = ""
) -> float:
    """Return `value` as a float if low <= value <= high; bounds are inclusive.

    Raises:
        InvalidArgumentError: `value` is not a real number, is not finite or lies outside the bounds.
    """
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    if number is None and getattr(value, "ndim", None) == 0:
        number = float(value)
    if number is None or not (low <= number <= high) or number in (float("inf"), float("-inf")):
        unit = f" {unit}" if unit else ""
        raise InvalidArgumentError(
            f"`{name}` of {owner} must be a number from {low:g} to {high:g}{unit}. Received: {name}={value!r}."
        )
    return float(number)


def check_integer(owner: str, name: str, value: Any, low: int, high: int) -> int:
    """Return `value` as an int if low <= value <= high.

    Raises:
        InvalidArgumentError: `value` is not a whole number or lies outside the bounds.
    """
    whole = not isinstance(value, bool) and hasattr(value, "__index__")
    if not whole or not low <= int(value) <= high:
        raise InvalidArgumentError(
            f"`{name}` of {owner} must be a whole number from {low} to {high}. Received: {name}={value!r}."
        )
    return int(value)


def check_choice(owner: str, name: str, value: Any, choices: Iterable[Any]) -> Any:
    """Return `value` if it is one of `choices`.

    Raises:
        InvalidArgumentError: it is not.
    """
    choices = list(choices)
    if value not in choices:
        allowed = ", ".join(repr(choice) for choice in choices)
        raise InvalidArgumentError(f"`{name}` of {owner} must be one of {allowed}. Received: {name}={value!r}.")
    return value
