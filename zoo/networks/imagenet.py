"""Residual networks for large pictures, in the form whose published weights are most used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from analognets.zoo.networks.builders import builder

__all__ = ["resnet18", "resnet50", "wide_resnet50"]

WIDTHS = (64, 128, 256, 512)


@builder
def resnet18(
    input_shape: Sequence[int] = (224, 224, 3),
    *,
    classes: int = 1000,
    momentum: float = 0.9,
    initializer: Any = "he_normal",
    name: str = "resnet18",
) -> keras.Model:
    """Build ResNet-18: 11.7 million weights, 1.8 billion products of two numbers a picture of 224 x 224.

    conv 7x7 stride 2; max pool; four stages of two blocks of two 3x3 convolutions, with 64, 128, 256 and 512 channels,
    the later three begin with stride 2 and a 1x1 shortcut; average pool; dense.

    Args:
        input_shape: (height, width, channels).
        classes: number of classes.
        momentum: of the batch-norms' moving statistics, 0 to 1.
        initializer: of all kernels; "zeros" is quickest where only shapes matter.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, height, width, channels), output logits (batch, classes).

    Examples:
        >>> net = resnet18((64, 64, 3), classes=10, initializer="zeros")
        >>> net.output_shape, round(net.count_params() / 1e6, 1)
        ((None, 10), 11.2)

    Source: He et al., arXiv 1512.03385, with a shortcut by convolution (from memory). No weights are shipped.
    """
    net = _Builder(momentum, initializer)
    return net.model(input_shape, classes, (2, 2, 2, 2), net.basic, name)


@builder
def resnet50(
    input_shape: Sequence[int] = (224, 224, 3),
    *,
    classes: int = 1000,
    stride_first: bool = False,
    momentum: float = 0.9,
    initializer: Any = "he_normal",
    name: str = "resnet50",
) -> keras.Model:
    """Build ResNet-50: 25.6 million weights, 4.1 billion products of two numbers a picture of 224 x 224.

    As `resnet18`, but with 3, 4, 6 and 3 blocks of three convolutions: 1x1 to the stage's channels, 3x3, and 1x1 to
    four times as many.

    Args:
        input_shape: (height, width, channels).
        classes: number of classes.
        stride_first: whether a stage's stride of 2 is in the first 1x1 convolution, as in the paper and in
            `keras.applications` (3.9 billion products), instead of in the 3x3, as in the weights of torchvision.
        momentum: of the batch-norms' moving statistics, 0 to 1.
        initializer: of all kernels; "zeros" is quickest where only shapes matter.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, height, width, channels), output logits (batch, classes).

    Examples:
        >>> net = resnet50((64, 64, 3), classes=10, initializer="zeros")
        >>> net.output_shape, round(net.count_params() / 1e6, 1)
        ((None, 10), 23.6)

    Source: He et al., arXiv 1512.03385; the place of the stride as in torchvision (from memory). No weights are
    shipped.
    """
    net = _Builder(momentum, initializer, stride_first=stride_first)
    return net.model(input_shape, classes, (3, 4, 6, 3), net.bottleneck, name)


@builder
def wide_resnet50(
    input_shape: Sequence[int] = (224, 224, 3),
    *,
    classes: int = 1000,
    factor: int = 2,
    momentum: float = 0.9,
    initializer: Any = "he_normal",
    name: str = "wide_resnet50",
) -> keras.Model:
    """Build Wide ResNet-50-2: ResNet-50 with 3x3 convolutions twice as wide, 68.9 million weights.

    Args:
        input_shape: (height, width, channels).
        classes: number of classes.
        factor: how many times as wide as in ResNet-50 the 3x3 convolutions are.
        momentum: of the batch-norms' moving statistics, 0 to 1.
        initializer: of all kernels; "zeros" is quickest where only shapes matter.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, height, width, channels), output logits (batch, classes).

    Examples:
        >>> net = wide_resnet50((64, 64, 3), classes=10, factor=1, initializer="zeros")
        >>> net.output_shape, round(net.count_params() / 1e6, 1)
        ((None, 10), 23.6)

    Source: Zagoruyko & Komodakis, arXiv 1605.07146, as in torchvision (from memory). No weights are shipped.
    """
    net = _Builder(momentum, initializer, factor=factor)
    return net.model(input_shape, classes, (3, 4, 6, 3), net.bottleneck, name)


class _Builder:
    """What the networks share: convolutions with batch-norm, blocks, stem and head.

    Args:
        momentum: of the batch-norms.
        initializer: of all kernels.
        stride_first: whether a bottleneck strides in its first convolution.
        factor: how many times as wide its 3x3 convolution is.
    """

    def __init__(self, momentum: float, initializer: Any, *, stride_first: bool = False, factor: int = 1) -> None:
        self.momentum, self.initializer = momentum, initializer
        self.stride_first, self.factor = stride_first, factor

    def conv(self, x: Any, width: int, size: int, strides: int, label: str, relu: bool = True) -> Any:
        """Add a convolution and batch-norm; strided ones are padded alike on both sides."""
        if strides > 1 and size > 1:
            x = keras.layers.ZeroPadding2D(size // 2, name=f"{label}_pad")(x)
        x = keras.layers.Conv2D(
            width,
            size,
            strides=strides,
            padding="valid" if strides > 1 else "same",
            use_bias=False,
            kernel_initializer=self.initializer,
            name=label,
        )(x)
        x = keras.layers.BatchNormalization(momentum=self.momentum, epsilon=1e-5, name=f"{label}_norm")(x)
        return keras.layers.ReLU(name=f"{label}_relu")(x) if relu else x

    def basic(self, x: Any, width: int, strides: int, label: str) -> Any:
        """Add a block of two 3x3 convolutions."""
        y = self.conv(x, width, 3, strides, f"{label}_conv_1")
        y = self.conv(y, width, 3, 1, f"{label}_conv_2", relu=False)
        return self.joined(x, y, strides, label)

    def bottleneck(self, x: Any, width: int, strides: int, label: str) -> Any:
        """Add a block of a 1x1, a 3x3 and a 1x1 convolution."""
        first, second = (strides, 1) if self.stride_first else (1, strides)
        y = self.conv(x, width * self.factor, 1, first, f"{label}_conv_1")
        y = self.conv(y, width * self.factor, 3, second, f"{label}_conv_2")
        y = self.conv(y, 4 * width, 1, 1, f"{label}_conv_3", relu=False)
        return self.joined(x, y, strides, label)

    def joined(self, x: Any, y: Any, strides: int, label: str) -> Any:
        """Add the shortcut, by a 1x1 convolution if the block changes the shape."""
        if strides > 1 or x.shape[-1] != y.shape[-1]:
            x = self.conv(x, y.shape[-1], 1, strides, f"{label}_shortcut", relu=False)
        return keras.layers.ReLU(name=f"{label}_relu")(keras.layers.Add(name=f"{label}_add")([x, y]))

    def model(self, input_shape: Sequence[int], classes: int, blocks: Sequence[int], block: Any, name: str) -> Any:
        """Return the whole network."""
        inputs = keras.Input(tuple(input_shape), name="pictures")
        x = self.conv(inputs, WIDTHS[0], 7, 2, "stem")
        x = keras.layers.ZeroPadding2D(1, name="stem_pool_pad")(x)  # zeros do not change a maximum of what ReLU gives
        x = keras.layers.MaxPooling2D(3, 2, name="stem_pool")(x)
        for stage, (width, count) in enumerate(zip(WIDTHS, blocks, strict=True), start=1):
            for number in range(1, count + 1):
                strides = 2 if stage > 1 and number == 1 else 1
                x = block(x, width, strides, f"stage_{stage}_block_{number}")
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        logits = keras.layers.Dense(classes, kernel_initializer=self.initializer, name="logits")(x)
        return keras.Model(inputs, logits, name=name)
