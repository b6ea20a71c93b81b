"""Batch-norms that keep their statistics while their scale and offset are trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from analognets.layers import refresh_compiled

__all__ = ["steady_statistics"]


@contextmanager
def steady_statistics(net: keras.Model) -> Iterator[None]:
    """While active, batch-norms normalise training batches by their moving statistics too, and do not change them.

    A chip has one set of statistics for all its life. Statistics of each batch would hide from the training what drift
    and clipping at the DAC do to the size of the signal. Scale and offset of each batch-norm are trained as before.

    Args:
        net: a built model; its compiled functions are dropped.
    """
    norms = [
        layer
        for layer in net._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    try:
        for norm in norms:
            learned = [variable for variable in norm.variables if variable.trainable]
            norm.trainable = False
            for variable in learned:
                variable.trainable = True
        refresh_compiled(net)
        yield
    finally:
        for norm in norms:
            norm.trainable = True
        refresh_compiled(net)
