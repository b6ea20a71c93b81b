"""Training in another floating-point precision than the network's own, which it has again afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from analognets.core.processor import multiplies_bfloat16
from analognets.errors import check_choice

__all__ = ["PRECISIONS", "computed_in", "multiplies_bfloat16", "resolved"]

PRECISIONS = ("float32", "mixed_bfloat16", "auto")
"""What a stage can be computed in; "auto" is one of the others, by the processor."""


def resolved(precision: str) -> str:
    """Return the precision that a name stands for here: "auto" is "mixed_bfloat16" where it is faster, else "float32".

    Args:
        precision: one of `PRECISIONS`.
    """
    check_choice("computed_in", "precision", precision, PRECISIONS)
    if precision != "auto":
        return precision
    return "mixed_bfloat16" if multiplies_bfloat16() else "float32"


@contextmanager
def computed_in(net: keras.Model, precision: str) -> Iterator[None]:
    """While active, the layers of a network compute in a precision; variables stay as they are.

    "mixed_bfloat16" makes a step faster on processors that multiply bfloat16 faster, and slower on others.
    Compile the network inside, since compiled functions keep the precision that they were traced in.

    Args:
        net: a built model with float32 variables.
        precision: "float32" leaves every layer its own policy; "mixed_bfloat16" gives all that compute in float32 that
            policy; "auto" is one of the two (see `resolved`).

    Raises:
        InvalidArgumentError: there is no such precision.
    """
    precision = resolved(precision)
    layers = [layer for layer in net._flatten_layers() if layer.dtype_policy.name == "float32"]
    before = [layer.dtype_policy for layer in layers]
    if precision == "float32":
        yield
        return
    try:
        for layer in layers:
            layer.dtype_policy = precision
        yield
    finally:
        for layer, policy in zip(layers, before, strict=True):
            layer.dtype_policy = policy
