"""What writing and reading NIR graphs share: the package, units, and the nodes that a filter becomes."""

from __future__ import annotations

from typing import Any

from analognets.errors import MissingExtraError

__all__ = ["PARTS", "PER_SECOND", "nir_package"]

PARTS = ("fall", "rise", "minus")
"""Nodes that a `DoubleExponential` becomes: two leaky integrators, and the sign of the second."""
PER_SECOND = 1e-3
"""NIR has times in seconds, the layers here in ms."""


def nir_package() -> Any:
    """Return the package nir.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import nir
    except ImportError as error:
        raise MissingExtraError("NIR", "nir") from error
    return nir
