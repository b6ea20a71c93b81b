"""The residual networks of the CIFAR experiments on analog chips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from analognets.zoo.networks.builders import builder

__all__ = ["resnet32", "wide_resnet16"]


@builder
def resnet32(
    input_shape: Sequence[int] = (32, 32, 3),
    *,
    classes: int = 10,
    widths: Sequence[int] = (16, 28, 56),
    blocks: int = 5,
    momentum: float = 0.9,
    name: str = "resnet32",
) -> keras.Model:
    """Build ResNet-32 with 16, 28 and 56 channels: 361,722 weights and biases outside of the batch-norms.

    conv 3x3; three stages of five residual blocks of two 3x3 convolutions, the later two begin with stride 2 and a 1x1
    shortcut; average pool; dense. Batch-norm follows every convolution.

    Args:
        input_shape: (height, width, channels).
        classes: number of classes.
        widths: channels of the stages.
        blocks: residual blocks in a stage.
        momentum: of the batch-norms' moving statistics, 0 to 1.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, height, width, channels), output logits (batch, classes).

    Examples:
        >>> net = resnet32((32, 32, 3), classes=10, blocks=1)
        >>> net.output_shape, net.count_params()
        ((None, 10), 62250)

    Source: Joshi et al., Nat. Commun. 11:2473 (2020), 361,722 weights; also of Rasch et al., Nat. Commun. 14:5282
    (2023) (both verified).
    """

    def conv(x: Any, width: int, size: int, strides: int, label: str, relu: bool = True) -> Any:
        x = keras.layers.Conv2D(
            width,
            size,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=label,
        )(x)
        x = keras.layers.BatchNormalization(momentum=momentum, name=f"{label}_norm")(x)
        return keras.layers.ReLU(name=f"{label}_relu")(x) if relu else x

    inputs = keras.Input(tuple(input_shape), name="pictures")
    x = conv(inputs, widths[0], 3, 1, "stem")
    for stage, width in enumerate(widths, start=1):
        for block in range(1, blocks + 1):
            label = f"stage_{stage}_block_{block}"
            strides = 2 if stage > 1 and block == 1 else 1
            y = conv(x, width, 3, strides, f"{label}_conv_1")
            y = conv(y, width, 3, 1, f"{label}_conv_2", relu=False)
            if x.shape[-1] != width:
                x = conv(x, width, 1, strides, f"{label}_shortcut", relu=False)
            x = keras.layers.ReLU(name=f"{label}_relu")(keras.layers.Add(name=f"{label}_add")([x, y]))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x), name=name)


@builder
def wide_resnet16(
    input_shape: Sequence[int] = (32, 32, 3),
    *,
    classes: int = 100,
    factor: int = 8,
    dropout: float = 0.0,
    momentum: float = 0.9,
    initializer: Any = "he_normal",
    name: str = "wide_resnet16",
) -> keras.Model:
    """Build Wide ResNet-16-8: 11 million weights.

    conv 3x3 to 16 channels; three stages of two blocks of two 3x3 convolutions with 128, 256 and 512 channels, each of
    them behind batch-norm and ReLU; the first block of a stage has a 1x1 shortcut, in the later two with stride 2;
    batch-norm, ReLU, average pool; dense.

    Args:
        input_shape: (height, width, channels).
        classes: number of classes.
        factor: how many times 16, 32 and 64 channels the stages have.
        dropout: between the convolutions of a block, 0 to 1.
        momentum: of the batch-norms' moving statistics, 0 to 1.
        initializer: of all kernels; "zeros" is quickest where only shapes matter.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, height, width, channels), output logits (batch, classes).

    Examples:
        >>> net = wide_resnet16((32, 32, 3), classes=10, factor=1)
        >>> net.output_shape, net.count_params()
        ((None, 10), 176250)

    Source: Zagoruyko & Komodakis, arXiv 1605.07146 (from memory).
    """

    def conv(x: Any, width: int, size: int, strides: int, label: str) -> Any:
        settings = {"padding": "same", "use_bias": False, "kernel_initializer": initializer}
        return keras.layers.Conv2D(width, size, strides=strides, name=label, **settings)(x)

    def active(x: Any, label: str) -> Any:
        x = keras.layers.BatchNormalization(momentum=momentum, name=f"{label}_norm")(x)
        return keras.layers.ReLU(name=f"{label}_relu")(x)

    inputs = keras.Input(tuple(input_shape), name="pictures")
    x = conv(inputs, 16, 3, 1, "stem")
    for stage, width in enumerate((16 * factor, 32 * factor, 64 * factor), start=1):
        for block in (1, 2):
            label = f"stage_{stage}_block_{block}"
            strides = 2 if stage > 1 and block == 1 else 1
            y = active(x, f"{label}_1")
            if block == 1:
                x = conv(y, width, 1, strides, f"{label}_shortcut")
            y = active(conv(y, width, 3, strides, f"{label}_conv_1"), f"{label}_2")
            if dropout:
                y = keras.layers.Dropout(dropout, name=f"{label}_drop")(y)
            x = keras.layers.Add(name=f"{label}_add")([x, conv(y, width, 3, 1, f"{label}_conv_2")])
    x = keras.layers.GlobalAveragePooling2D(name="pool")(active(x, "last"))
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x), name=name)
