"""The errors of analognets: one sentence that says what is wrong, what is allowed, what came, and the next step.

All of them derive from `AnalogNetsError`; most also derive from the built-in error a caller would expect,
so `except ValueError` keeps working.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import operator
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = [
    "AgeingWarning",
    "AnalogNetsError",
    "ChecksumError",
    "ChipFileError",
    "ConversionError",
    "DataError",
    "DataWarning",
    "InvalidArgumentError",
    "MemoryShortError",
    "MissingExtraError",
    "NotCalibratedError",
    "PresetError",
    "RecipeError",
    "RunError",
    "UnknownNameError",
    "check_choice",
    "check_integer",
    "check_number",
    "cut",
    "reading_config",
    "reason",
    "shortened",
]


LONGEST_REASON = 400
"""Characters of what another library says that are passed on."""


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
        hint = f" {hint}" if hint else ""
        super().__init__(f"Unknown {kind}.{guess} Known: {', '.join(known)}. Received: {shortened(name)}.{hint}")


class ConversionError(AnalogNetsError, TypeError):
    """A model or layer can't be made analog, or digital again."""


class NotCalibratedError(AnalogNetsError, RuntimeError):
    """A layer's converter ranges have not been set yet."""


class DataError(AnalogNetsError, OSError):
    """A data set, file or folder is missing, broken or of the wrong kind."""


class DataWarning(UserWarning):
    """Data were read, and something about them is likely not as the user believes."""


class AgeingWarning(UserWarning):
    """A prediction of ageing that the simulated chips do not confirm."""


class ChecksumError(DataError):
    """A file does not have the expected sha256."""


class ChipFileError(AnalogNetsError, OSError):
    """A stored chip is cut short, changed or does not fit the model."""


class PresetError(AnalogNetsError, ValueError):
    """A preset is missing, broken, unsafe to load or does not fit this version."""


class RecipeError(AnalogNetsError, ValueError):
    """A recipe has an unknown key or a value that is not allowed."""


class MemoryShortError(AnalogNetsError, MemoryError):
    """Something needs more memory than this machine has free."""


class RunError(AnalogNetsError, OSError):
    """A run folder is missing, finished, unfinished or not what was asked for."""


class MissingExtraError(AnalogNetsError, ImportError):
    """An optional package is needed and not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs optional packages. Install them with: pip install 'analognets[{extra}]'")


def reason(error: BaseException) -> str:
    """Return why something failed, to stand inside of a sentence: what the system says, else the first line."""
    said = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), "")
    return cut(str(said or type(error).__name__).rstrip("."), LONGEST_REASON)


def cut(text: str, length: int) -> str:
    """Return a text of at most this length, with "..." where more of it was, and control characters spelled out."""
    text = "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text[: length + 1]
    )
    return text if len(text) <= length else f"{text[: length - 3]}..."


def shortened(value: Any, length: int = 80) -> str:
    """Return how a value looks in Python, cut where it is long, to stand behind "Received:"."""
    try:
        text = repr(value[: length + 1] if isinstance(value, (str, bytes)) else value)
    except (RecursionError, ValueError):  # nested too deeply; a number of too many digits
        text = f"a {type(value).__name__}"
    return cut(text, length)


@contextlib.contextmanager
def reading_config(what: str) -> Iterator[None]:
    """Raise one sentence in place of the many errors that malformed plain data cause where an object is built of them.

    Args:
        what: is built: "a crossbar".

    Raises:
        InvalidArgumentError: it can't be built.
    """
    try:
        yield
    except AnalogNetsError:
        raise
    except Exception as error:  # Keras, dataclasses and hash tables each have their own
        raise InvalidArgumentError(
            f"The config of {what} can't be read ({type(error).__name__}: {reason(error)}). Give what `get_config` or "
            "`keras.saving.serialize_keras_object` returned."
        ) from error


def check_number(
    owner: str, name: str, value: Any, low: float = -math.inf, high: float = math.inf, *, unit: str = ""
) -> float:
    """Return `value` as a float if low <= value <= high; bounds are inclusive.

    Raises:
        InvalidArgumentError: `value` is not a real number, is not finite or lies outside the bounds.
    """
    number = math.nan
    if isinstance(value, (int, float)) or getattr(value, "ndim", None) == 0:
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            number = math.nan if _is_bool(value) else float(value)
    if not (math.isfinite(number) and low <= number <= high):
        unit = f" {unit}" if unit else ""
        raise InvalidArgumentError(
            f"`{name}` of {owner} must be a {_bounds(low, high)}{unit}. Received: {name}={shortened(value)}."
        )
    return number


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or str(getattr(value, "dtype", "")) == "bool"


def _bounds(low: float, high: float) -> str:
    if math.isinf(high):
        return "finite number" if math.isinf(low) else f"number of at least {low:g}"
    return f"number of at most {high:g}" if math.isinf(low) else f"number from {low:g} to {high:g}"


def check_integer(owner: str, name: str, value: Any, low: int, high: int) -> int:
    """Return `value` as an int if low <= value <= high.

    Raises:
        InvalidArgumentError: `value` is not a whole number or lies outside the bounds.
    """
    whole: int | None = None
    if not _is_bool(value):
        with contextlib.suppress(TypeError):
            whole = operator.index(value)
    if whole is None or not low <= whole <= high:
        raise InvalidArgumentError(
            f"`{name}` of {owner} must be a whole number from {low} to {high}. Received: {name}={shortened(value)}."
        )
    return whole


def check_choice(owner: str, name: str, value: Any, choices: Iterable[Any]) -> Any:
    """Return `value` if it is one of `choices`.

    Raises:
        InvalidArgumentError: it is not.
    """
    choices = list(choices)
    if value not in choices:
        allowed = ", ".join(repr(choice) for choice in choices)
        raise InvalidArgumentError(
            f"`{name}` of {owner} must be one of {allowed}. Received: {name}={shortened(value)}."
        )
    return value
