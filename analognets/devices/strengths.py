"""Strengths of noises: plain numbers as settings, tensors where they are arguments of a compiled function."""

from __future__ import annotations

import copy
import numbers
from typing import Any, TypeVar

from keras import ops

__all__ = ["Strength", "as_factor", "is_off", "with_tensors"]

Strength = Any
"""A number, or a float32 scalar tensor. Computations take both; checks and files know numbers only."""

Settings = TypeVar("Settings")


def is_off(strength: Strength) -> bool:
    """Whether a strength is the number 0. A tensor may have any value, so what it scales has to be computed.

    Examples:
        >>> is_off(0.0), is_off(0.5)
        (True, False)
    """
    return isinstance(strength, numbers.Real) and strength == 0


def as_factor(strength: Strength, dtype: Any) -> Strength:
    """Return a strength as a factor of arrays of this dtype: a number as it is, a tensor cast to it."""
    return strength if isinstance(strength, numbers.Real) else ops.cast(strength, dtype)


def with_tensors(settings: Settings, **values: Any) -> Settings:
    """Return a copy of frozen settings in which some strengths are tensors, for one computation.

    Nothing is checked. Such a copy can't be stored or compared.
    """
    changed = copy.copy(settings)
    for name, value in values.items():
        object.__setattr__(changed, name, value)
    return changed
