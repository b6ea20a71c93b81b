"""The weight ranges of an analog layer: one gamma for the layer, for each tile, or for each column of each tile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from analognets.crossbar import Tiling
from analognets.layers.adc_gain import PositiveRange

__all__ = ["FrozenRange", "along_columns", "largest_weights", "over_kernel", "range_shape"]


def range_shape(tiling: Tiling, kind: str) -> tuple[int, ...]:
    """Return the shape of gamma: () for "layer", (row blocks, column blocks) for "tile", else (row blocks, outputs)."""
    if kind == "layer":
        return ()
    return tiling.shape if kind == "tile" else (tiling.shape[0], tiling.kernel_shape[-1])


def largest_weights(kernel: Any, tiling: Tiling, kind: str) -> Any:
    """Return the largest |weight| of a kernel (..., inputs, outputs) in the shape of gamma, above a tiny number."""
    kernel = ops.abs(kernel)
    if kind == "layer":
        return ops.maximum(ops.max(kernel), PositiveRange.smallest)
    axes = tuple(range(len(tiling.kernel_shape) - 1))
    columns = ops.stack([ops.max(kernel[..., first:last, :], axis=axes) for first, last in tiling.row_blocks])
    if kind == "tile":
        columns = ops.stack([ops.max(columns[:, first:last], axis=1) for first, last in tiling.col_blocks], axis=1)
    return ops.maximum(columns, PositiveRange.smallest)


def along_columns(gamma: Any, tiling: Tiling, row_block: int) -> Any:
    """Return the gamma of one row block: a scalar, or a vector with one number per column."""
    if len(gamma.shape) == 0:
        return gamma
    return _all_columns(gamma, tiling)[row_block]


def over_kernel(gamma: Any, tiling: Tiling) -> Any:
    """Return gamma as a scalar, or spread over the (inputs, outputs) of the kernel on the crossbar."""
    if len(gamma.shape) == 0:
        return gamma
    return _repeated(_all_columns(gamma, tiling), tiling.row_blocks, axis=0)


def _all_columns(gamma: Any, tiling: Tiling) -> Any:
    """Return gamma with one number per column, shape (row blocks, outputs)."""
    outputs = tiling.kernel_shape[-1]
    if gamma.shape[1] == outputs and tiling.shape[1] != outputs:
        return gamma
    return _repeated(gamma, tiling.col_blocks, axis=1)


def _repeated(gamma: Any, blocks: Sequence[tuple[int, int]], axis: int) -> Any:
    """Return each number of gamma along an axis as often as its block is long."""
    return ops.take(gamma, np.repeat(np.arange(len(blocks)), [last - first for first, last in blocks]), axis=axis)


class FrozenRange:
    """Constraint of an analog kernel: inside of +-gamma once gamma is frozen, after any constraint of the user.

    JAX can't read the variable while the optimizer runs, so there the numbers are taken over by `refresh`.

    Args:
        w_max: the variable that holds gamma, 0 until it is frozen.
        spread: function that spreads gamma over the kernel.
        inner: the constraint of the user, or None.
    """

    def __init__(self, w_max: keras.Variable, spread: Any, inner: Any) -> None:
        self.w_max = w_max
        self.spread = spread
        self.inner = inner
        self.numbers = np.zeros(w_max.shape, np.float32)

    def refresh(self) -> None:
        """Take over the present gamma."""
        self.numbers = np.asarray(ops.convert_to_numpy(ops.convert_to_tensor(self.w_max)), np.float32)

    def __call__(self, w: Any) -> Any:
        w = ops.convert_to_tensor(w if self.inner is None else self.inner(w))
        gamma = ops.convert_to_tensor(self.numbers if keras.backend.backend() == "jax" else self.w_max)
        limit = ops.cast(self.spread(gamma), w.dtype)
        return ops.where(limit > 0, ops.clip(w, -limit, limit), w)
