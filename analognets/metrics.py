"""The accuracy metric of analog networks, in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from analognets.errors import InvalidArgumentError

__all__ = ["ISO_ACCURACY", "chance_error", "normalized_accuracy"]

ISO_ACCURACY = 0.99
"""A network above this normalised accuracy counts as accurate as its float version (Rasch et al. 2023, verified)."""


def chance_error(classes: int) -> float:
    """Return the error of guessing among equally frequent classes: 1 - 1 / classes.

    Raises:
        InvalidArgumentError: `classes` is less than 2.
    """
    if classes < 2:
        raise InvalidArgumentError(f"Guessing needs at least 2 classes. Received: classes={classes!r}.")
    return 1.0 - 1.0 / classes


def normalized_accuracy(error: Any, float_error: Any, chance_error: Any) -> Any:
    """Return how much of the way from guessing to the float network is left.

    A* = 1 - (eps - eps_float) / (eps_chance - eps_float)

    1 is the float network, 0 is guessing; a network better than the float one is above 1. A network with A* > 0.99
    (`ISO_ACCURACY`) counts as iso-accurate.

    Args:
        error: test error(s) of the analog network: a number or an array.
        float_error: test error of the float network, in the same unit.
        chance_error: error of guessing, in the same unit; more than `float_error`.

    Returns:
        A float, or an array if one was given.

    Raises:
        InvalidArgumentError: a number is not finite, or guessing is not worse than the float network.

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), eq. 3 (verified).
    """
    values, reference, chance = (np.asarray(value, dtype=float) for value in (error, float_error, chance_error))
    if not all(np.all(np.isfinite(value)) for value in (values, reference, chance)):
        raise InvalidArgumentError(
            f"Errors must be finite numbers. Received: error={error!r}, float_error={float_error!r}, "
            f"chance_error={chance_error!r}."
        )
    if np.any(chance <= reference):
        raise InvalidArgumentError(
            "`chance_error` must be more than `float_error`, in the same unit. "
            f"Received: float_error={float_error!r}, chance_error={chance_error!r}."
        )
    result = 1.0 - (values - reference) / (chance - reference)
    return float(result) if result.ndim == 0 else result
