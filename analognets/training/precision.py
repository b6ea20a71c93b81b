"""Training in another floating-point precision than the network's own, which it has again afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from analognets.errors import check_choice

__all__ = ["PRECISIONS", "computed_in"]

PRECISIONS = ("float32", "mixed_bfloat16")


@contextmanager
def computed_in(net: keras.Model, precision: str) -> Iterator[None]:
    """While active, the layers of a network compute in a precision; variables stay as they are.

    "mixed_bfloat16" halves the time of a step or better on processors that multiply bfloat16, and slows it on others.
    Compile the network inside, since compiled functions keep the precision that they were traced in.

    Args:
        net: a built model with float32 variables.
        precision: "float32" leaves every layer its own policy; "mixed_bfloat16" gives all that compute in float32 that
            policy.

    Raises:
        InvalidArgumentError: there is no such precision.
    """
    check_choice("computed_in", "precision", precision, PRECISIONS)
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
