"""Convolutions on a crossbar: rows are kernel positions times input channels, columns are filters."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from analognets.layers.base import AnalogLayer
from analognets.layers.input_data import are_data

__all__ = ["AnalogConv1D", "AnalogConv2D", "AnalogConv3D", "AnalogDepthwiseConv1D", "AnalogDepthwiseConv2D"]

FEW_CHANNELS = 8
"""Convolutions of so many input channels at most take longer for the gradient to these than for their product."""


def _groups_mask(groups: int, filters: int, dtype: Any) -> Any:
    """Return (groups, 1, filters): 1 where a filter belongs to a group."""
    group_of_filter = ops.arange(filters) // (filters // groups)
    mask = ops.expand_dims(ops.arange(groups), 1) == ops.expand_dims(group_of_filter, 0)
    return ops.reshape(ops.cast(mask, dtype), (groups, 1, filters))


def unrolled(kernel: Any, groups: int) -> Any:
    """Write a grouped kernel (..., inputs / groups, filters) as the dense block (..., inputs, filters).

    Cells outside of the groups are zero: they lie on the crossbar all the same, and have noise there.
    """
    inputs, filters = kernel.shape[-2], kernel.shape[-1]
    blocks = ops.expand_dims(kernel, -3) * _groups_mask(groups, filters, kernel.dtype)
    return ops.reshape(blocks, (*kernel.shape[:-2], groups * inputs, filters))


def diagonal(block: Any, groups: int) -> Any:
    """Return the grouped kernel (..., inputs / groups, filters) of a dense block, the inverse of `unrolled`."""
    *positions, inputs, filters = block.shape
    parts = ops.reshape(block, (*positions, groups, inputs // groups, filters))
    return ops.sum(parts * _groups_mask(groups, filters, block.dtype), axis=-3)


class AnalogConvolution(AnalogLayer):
    """What the analog convolutions share; grouped ones are unrolled into a dense block when programmed."""

    def convolve(self, inputs: Any, kernel: Any) -> Any:
        """Return the convolution with the layer's strides, padding and dilation."""
        return ops.conv(
            inputs,
            kernel,
            strides=list(self.strides),
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )

    def product(self, inputs: Any, kernel: Any) -> Any:
        return self.convolve(inputs, kernel)

    def programmed_product(self, inputs: Any, kernel: Any) -> Any:
        return self.convolve(inputs, kernel)

    @property
    def splits_rows(self) -> bool:
        """Whether training sees several row blocks.

        Not those of a grouped kernel, of which a column lies in one, if tiles are cut between groups. Where they are
        cut inside of one, a chip adds the results of two ADCs that training has as one.
        """
        return self.tiling.shape[0] > 1 and self.groups == 1

    def reads_data(self) -> bool:
        """Whether the layer reads few channels of data: their gradient is slow, and no one asks for it."""
        return self.groups == 1 and self.crossbar_shape()[-2] <= FEW_CHANNELS and are_data(self)

    def crossbar_shape(self) -> tuple[int, ...]:
        *positions, inputs, filters = self.kernel_variable.shape
        return (*positions, inputs * self.groups, filters)

    def to_crossbar(self, kernel: Any) -> Any:
        return kernel if self.groups == 1 else unrolled(kernel, self.groups)

    def from_crossbar(self, array: Any) -> Any:
        return array if self.groups == 1 else diagonal(array, self.groups)


@keras.saving.register_keras_serializable(package="analognets")
class AnalogConv2D(AnalogConvolution, keras.layers.Conv2D):
    """2-D convolution computed on crossbar tiles: y = activation(bias + ADC(DAC(x) * W)).

    Takes every argument of `keras.layers.Conv2D` and those of `analognets.layers.base.AnalogLayer`. Input
    (batch, height, width, channels), output (batch, height', width', filters). The kernel occupies
    height x width x channels rows and `filters` columns; more than a tile's rows are cut by input channels and summed
    digitally. Grouped kernels are programmed as a dense block whose other cells are zero.

    Raises:
        InvalidArgumentError: an argument is out of range.
        ConversionError: one input channel alone needs more rows than a tile has.

    Examples:
        >>> layer = AnalogConv2D(6, 3, strides=2, weight_noise=0.05)
        >>> print(layer(np.ones((2, 9, 9, 4))).shape)
        (2, 4, 4, 6)
        >>> layer.crossbar_shape()
        (3, 3, 4, 6)

    Source: as `AnalogLayer`.
    """


@keras.saving.register_keras_serializable(package="analognets")
class AnalogConv3D(AnalogConvolution, keras.layers.Conv3D):
    """3-D convolution computed on crossbar tiles; see `AnalogConv2D`.

    Takes every argument of `keras.layers.Conv3D` and those of `analognets.layers.base.AnalogLayer`. Input
    (batch, depth, height, width, channels), output (batch, depth', height', width', filters).

    Raises:
        InvalidArgumentError: an argument is out of range.
        ConversionError: one input channel alone needs more rows than a tile has.

    Examples:
        >>> layer = AnalogConv3D(6, 3)
        >>> print(layer(np.ones((1, 5, 5, 5, 2))).shape)
        (1, 3, 3, 3, 6)

    Source: as `AnalogLayer`.
    """


@keras.saving.register_keras_serializable(package="analognets")
class AnalogConv1D(AnalogConvolution, keras.layers.Conv1D):
    """1-D convolution computed on crossbar tiles; see `AnalogConv2D`.

    Takes every argument of `keras.layers.Conv1D` (causal padding included) and those of
    `analognets.layers.base.AnalogLayer`. Input (batch, steps, channels), output (batch, steps', filters).

    Raises:
        InvalidArgumentError: an argument is out of range.

    Examples:
        >>> layer = AnalogConv1D(6, 3, padding="causal", crossbar="aon_cim_6bit")
        >>> print(layer(np.ones((2, 10, 4))).shape)
        (2, 10, 6)

    Source: as `AnalogLayer`.
    """

    def convolve(self, inputs: Any, kernel: Any) -> Any:
        """Return the convolution with the layer's strides, padding (causal included) and dilation."""
        padding = self.padding
        if padding == "causal":
            inputs = ops.pad(inputs, self._compute_causal_padding())
            padding = "valid"
        return ops.conv(
            inputs,
            kernel,
            strides=list(self.strides),
            padding=padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )


class AnalogDepthwise(AnalogConvolution):
    """What the depthwise convolutions share: a kernel (..., channels, multiplier), a group for each channel."""

    @property
    def kernel_variable(self) -> keras.Variable:
        """The trainable kernel (..., channels, multiplier)."""
        return self.kernel

    @property
    def groups(self) -> int:
        """One group a channel."""
        return int(self.kernel.shape[-2])

    def reads_data(self) -> bool:
        """Never: the channels of a depthwise kernel are not summed."""
        return False

    def product(self, inputs: Any, kernel: Any) -> Any:
        return ops.depthwise_conv(
            inputs,
            kernel,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )

    def crossbar_shape(self) -> tuple[int, ...]:
        *positions, channels, multiplier = self.kernel.shape
        return (*positions, channels, channels * multiplier)

    def to_crossbar(self, kernel: Any) -> Any:
        *positions, channels, multiplier = kernel.shape
        return unrolled(ops.reshape(kernel, (*positions, 1, channels * multiplier)), channels)

    def from_crossbar(self, array: Any) -> Any:
        *positions, channels, outputs = array.shape
        return ops.reshape(diagonal(array, channels), (*positions, channels, outputs // channels))


@keras.saving.register_keras_serializable(package="analognets")
class AnalogDepthwiseConv1D(AnalogDepthwise, keras.layers.DepthwiseConv1D):
    """Depthwise 1-D convolution computed on crossbar tiles; see `AnalogDepthwiseConv2D`.

    Takes every argument of `keras.layers.DepthwiseConv1D` and those of `analognets.layers.base.AnalogLayer`. Input
    (batch, steps, channels), output (batch, steps', channels x multiplier).

    Raises:
        InvalidArgumentError: an argument is out of range.

    Examples:
        >>> print(AnalogDepthwiseConv1D(3)(np.ones((2, 10, 4))).shape)
        (2, 8, 4)

    Source: as `AnalogDepthwiseConv2D`.
    """


@keras.saving.register_keras_serializable(package="analognets")
class AnalogDepthwiseConv2D(AnalogDepthwise, keras.layers.DepthwiseConv2D):
    """Depthwise 2-D convolution computed on crossbar tiles; its low utilisation is why AnalogNets avoid it.

    Takes every argument of `keras.layers.DepthwiseConv2D` and those of `analognets.layers.base.AnalogLayer`. Programmed
    as a dense block of height x width x channels rows and channels x multiplier columns, of which one cell in
    `channels` holds a weight; the zero cells carry programming and read noise like any other.

    Raises:
        InvalidArgumentError: an argument is out of range.

    Examples:
        >>> layer = AnalogDepthwiseConv2D(3)
        >>> print(layer(np.ones((2, 8, 8, 4))).shape)
        (2, 6, 6, 4)
        >>> print(layer.kernel.shape, layer.crossbar_shape())
        (3, 3, 4, 1) (3, 3, 4, 4)

    Source: derived from the shape of the kernel; that AnalogNets (arXiv 2111.06503) argues so is from memory.
    """
