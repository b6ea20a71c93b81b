"""How weights become conductances, and how large products are cut into tiles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

from analognets.errors import ConversionError

__all__ = ["Tiling", "column_scales", "conductances_to_weights", "matrix_shape", "weights_to_conductances"]


def weights_to_conductances(weights: Any, weight_max: Any, g_max: float) -> Any:
    """Map weights to target conductances of a differential pair.

    G+ = g_max * max(w, 0) / W_max,  G- = g_max * max(-w, 0) / W_max; |w| > W_max is clipped.

    Args:
        weights: array of any shape.
        weight_max: W_max > 0, the weight that maps to g_max: a scalar, or one number per column.
        g_max: largest conductance in uS.

    Returns:
        Conductances in uS with a leading axis of 2: the positive and the negative device.

    Examples:
        >>> weights_to_conductances([0.5, -1.0, 2.0], weight_max=1.0, g_max=25.0).numpy().tolist()
        [[12.5, 0.0, 25.0], [0.0, 25.0, 0.0]]

    Source: aihwkit's single-pair converter (verified); that AnalogNets (arXiv 2111.06503) maps so is from memory.
    """
    scaled = ops.clip(ops.convert_to_tensor(weights, "float32") * (g_max / weight_max), -g_max, g_max)
    return ops.stack([ops.maximum(scaled, 0.0), ops.maximum(-scaled, 0.0)])


def conductances_to_weights(conductances: Any, weight_max: Any, g_max: float) -> Any:
    """Return the weights that a differential pair stands for: w = (G+ - G-) * W_max / g_max.

    Args:
        conductances: uS, with a leading axis of 2.
        weight_max: the weight that maps to g_max.
        g_max: largest conductance in uS.

    Examples:
        >>> conductances_to_weights(np.array([[12.5], [0.0]]), weight_max=1.0, g_max=25.0).tolist()
        [0.5]
    """
    return (conductances[0] - conductances[1]) * (weight_max / g_max)


def column_scales(weights: Any) -> Any:
    """Return the scales that use the devices of each column in full: gamma_i = max_j |W_ij|, 1 for columns of zeros.

    Args:
        weights: W, shape (..., inputs, outputs), on one tile.

    Returns:
        A float32 vector with one number > 0 a column.

    Examples:
        >>> column_scales([[0.5, 0.0], [-2.0, 0.0]]).numpy().tolist()
        [2.0, 1.0]

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), eq. 21 (verified).
    """
    weights = ops.abs(ops.convert_to_tensor(weights, "float32"))
    largest = ops.max(ops.reshape(weights, (-1, weights.shape[-1])), axis=0)
    return ops.where(largest > 0, largest, 1.0)


def matrix_shape(kernel_shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (rows, columns) of a kernel (..., inputs, outputs) on the crossbar: im2col rows, one column per output.

    Examples:
        >>> matrix_shape((3, 3, 64, 96))
        (576, 96)
    """
    return math.prod(kernel_shape[:-1]), kernel_shape[-1]


def _split(total: int, most: int) -> tuple[tuple[int, int], ...]:
    """Cut range(total) into the fewest nearly equal pieces of at most `most`."""
    pieces = math.ceil(total / most)
    edges = [round(i * total / pieces) for i in range(pieces + 1)]
    return tuple(zip(edges[:-1], edges[1:], strict=True))


class Tiling:
    """The tiles of one kernel: ranges of input channels (row blocks) times ranges of outputs (column blocks).

    A row block holds all kernel positions of its input channels, so every partial product is an ordinary convolution
    or product over a slice of the channels. Partial results of row blocks are converted one by one and summed
    digitally; column blocks stand side by side.

    Args:
        kernel_shape: (..., inputs, outputs) of the kernel as it lies on the crossbar.
        rows: word lines of a tile.
        cols: bit lines of a tile.

    Raises:
        ConversionError: one input channel alone needs more rows than a tile has.

    Examples:
        >>> Tiling((3, 3, 64, 96), rows=512, cols=512).row_blocks
        ((0, 32), (32, 64))
    """

    def __init__(self, kernel_shape: tuple[int, ...], rows: int, cols: int) -> None:
        positions = math.prod(kernel_shape[:-2])
        if positions > rows:
            raise ConversionError(
                f"A kernel of shape {tuple(kernel_shape)} needs {positions} rows for one input channel, a tile has "
                f"{rows}. Leave this layer digital or take hardware with taller tiles."
            )
        self.kernel_shape = tuple(int(n) for n in kernel_shape)
        self.row_blocks = _split(self.kernel_shape[-2], rows // positions)
        self.col_blocks = _split(self.kernel_shape[-1], cols)

    @property
    def shape(self) -> tuple[int, int]:
        """How many tiles there are along (rows, columns)."""
        return len(self.row_blocks), len(self.col_blocks)

    def blocks(self) -> list[tuple[int, int, tuple[slice, slice]]]:
        """Return (row block, column block, slices of the kernel's last two axes) of every tile."""
        return [
            (i, j, (slice(*rows), slice(*cols)))
            for i, rows in enumerate(self.row_blocks)
            for j, cols in enumerate(self.col_blocks)
        ]

    def expand(self, numbers: np.ndarray) -> np.ndarray:
        """Spread numbers over (inputs, outputs) of the kernel.

        Args:
            numbers: one per tile, shape (row blocks, column blocks), or one per column, shape (row blocks, outputs).
        """
        rows = np.repeat(np.asarray(numbers), [b - a for a, b in self.row_blocks], axis=0)
        if rows.shape[1] == self.kernel_shape[-1]:
            return rows
        return np.repeat(rows, [b - a for a, b in self.col_blocks], axis=1)
