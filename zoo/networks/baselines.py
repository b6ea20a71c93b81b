"""Well-known depthwise-separable TinyML networks to compare with: what a crossbar makes of depthwise layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from analognets.zoo.networks.builders import builder

__all__ = ["ds_cnn", "micronet_kws_m", "micronet_kws_s", "mobilenet_v1_025"]


def _norm_relu(x: Any, name: str, momentum: float, limit: float | None) -> Any:
    x = keras.layers.BatchNormalization(momentum=momentum, name=f"{name}_norm")(x)
    return keras.layers.ReLU(limit, name=f"{name}_relu")(x)


def _separable(x: Any, filters: int, strides: int, name: str, momentum: float, limit: float | None) -> Any:
    """Add a depthwise 3x3 and a pointwise convolution, each with batch-norm and ReLU."""
    x = keras.layers.DepthwiseConv2D(
        3, strides=strides, padding="same", use_bias=False, depthwise_initializer="he_normal", name=f"{name}_depthwise"
    )(x)
    x = _norm_relu(x, f"{name}_depthwise", momentum, limit)
    x = keras.layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="he_normal", name=f"{name}_pointwise")(x)
    return _norm_relu(x, f"{name}_pointwise", momentum, limit)


def _network(
    input_shape: Sequence[int],
    stem: tuple[int, tuple[int, int], int],
    blocks: Sequence[tuple[int, int]],
    *,
    classes: int,
    dropout: tuple[float, float],
    momentum: float,
    limit: float | None,
    name: str,
) -> keras.Model:
    """Build stem (filters, kernel, stride), separable blocks (filters, stride), average pool and classifier."""
    filters, kernel, strides = stem
    inputs = keras.Input(tuple(input_shape), name="image" if input_shape[-1] == 3 else "mfcc")
    x = keras.layers.Conv2D(
        filters, kernel, strides, padding="same", use_bias=False, kernel_initializer="he_normal", name="stem"
    )(inputs)
    x = _norm_relu(x, "stem", momentum, limit)
    if dropout[0]:
        x = keras.layers.Dropout(dropout[0], name="stem_dropout")(x)
    for number, (width, stride) in enumerate(blocks, start=1):
        x = _separable(x, width, stride, f"block_{number}", momentum, limit)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    if dropout[1]:
        x = keras.layers.Dropout(dropout[1], name="dropout")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x), name=name)


@builder
def ds_cnn(
    input_shape: Sequence[int] = (49, 10, 1),
    *,
    classes: int = 12,
    dropout: Sequence[float] = (0.2, 0.4),
    momentum: float = 0.95,
    name: str = "ds_cnn",
) -> keras.Model:
    """Build DS-CNN, the keyword-spotting network of MLPerf Tiny: 22,016 weights, 2,304 of them depthwise.

    conv 10x4 1->64 stride 2; four blocks of depthwise 3x3 and pointwise 64->64; average pool; dense 64->12.

    Args:
        input_shape: (frames, coefficients, 1) of the MFCC features.
        classes: number of keywords, silence and unknown included.
        dropout: shares dropped in training behind the stem and before the classifier, 0 to 1.
        momentum: of the batch-norms' moving statistics, 0 to 1.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, frames, coefficients, 1), output logits (batch, classes).

    Examples:
        >>> ds_cnn((49, 10, 1), classes=12).output_shape
        (None, 12)
        >>> list(ds_cnn.presets)
        ['ds_cnn.hwa_8bit']

    Source: Zhang et al., Hello Edge (arXiv 1711.07128), in the size MLPerf Tiny uses; bias-free convolutions are ours.
    """
    stem, blocks = (64, (10, 4), 2), [(64, 1)] * 4
    settings: dict[str, Any] = {"classes": classes, "momentum": momentum, "limit": None, "name": name}
    return _network(input_shape, stem, blocks, dropout=(dropout[0], dropout[1]), **settings)


@builder
def micronet_kws_s(
    input_shape: Sequence[int] = (49, 10, 1),
    *,
    classes: int = 12,
    dropout: float = 0.0,
    momentum: float = 0.95,
    name: str = "micronet_kws_s",
) -> keras.Model:
    """Build MicroNet-KWS-S, our reconstruction: 59,136 weights, 4,032 of them depthwise.

    conv 10x4 1->84; depthwise-separable 84->112 stride 2, 112->84, 84->84, 84->84, 84->196; average pool; dense
    196->12; ReLU6 throughout. AnalogNet-KWS has ordinary 3x3 convolutions in place of its separable ones.

    Args:
        input_shape: (frames, coefficients, 1) of the MFCC features.
        classes: number of keywords, silence and unknown included.
        dropout: share of pooled features dropped in training, 0 to 1.
        momentum: of the batch-norms' moving statistics, 0 to 1.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, frames, coefficients, 1), output logits (batch, classes).

    Examples:
        >>> net = micronet_kws_s()
        >>> [layer.rows for layer in analognets.plan(net).layers[:3]]
        [40, 0, 756]

    Source: MicroNets (arXiv 2010.11267); the widths are from memory and agree with the published operations and size.
    """
    blocks = [(112, 2), (84, 1), (84, 1), (84, 1), (196, 1)]
    settings: dict[str, Any] = {"classes": classes, "momentum": momentum, "limit": 6.0, "name": name}
    return _network(input_shape, (84, (10, 4), 1), blocks, dropout=(0.0, dropout), **settings)


@builder
def micronet_kws_m(
    input_shape: Sequence[int] = (49, 10, 1),
    *,
    classes: int = 12,
    dropout: float = 0.0,
    momentum: float = 0.95,
    name: str = "micronet_kws_m",
) -> keras.Model:
    """Build MicroNet-KWS-M: 110,432 weights, 6,048 of them depthwise.

    conv 10x4 1->140; depthwise-separable 140->140 stride 2, 140->140, 140->140, 140->112, 112->196; average pool; dense
    196->12; ReLU6 throughout.

    Args:
        input_shape: (frames, coefficients, 1) of the MFCC features.
        classes: number of keywords, silence and unknown included.
        dropout: share of pooled features dropped in training, 0 to 1.
        momentum: of the batch-norms' moving statistics, 0 to 1.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, frames, coefficients, 1), output logits (batch, classes).

    Examples:
        >>> net = micronet_kws_m()
        >>> net.output_shape, net.count_params() > 110_000
        ((None, 12), True)

    Source: MicroNets (arXiv 2010.11267); layer table read from the published int8 model file.
    """
    blocks = [(140, 2), (140, 1), (140, 1), (112, 1), (196, 1)]
    settings: dict[str, Any] = {"classes": classes, "momentum": momentum, "limit": 6.0, "name": name}
    return _network(input_shape, (140, (10, 4), 1), blocks, dropout=(0.0, dropout), **settings)


@builder
def mobilenet_v1_025(
    input_shape: Sequence[int] = (96, 96, 3),
    *,
    classes: int = 2,
    dropout: float = 0.0,
    momentum: float = 0.95,
    name: str = "mobilenet_v1_025",
) -> keras.Model:
    """Build MobileNetV1 of a quarter of the width, MLPerf Tiny's network for visual wake words: 208,112 weights.

    conv 3x3 3->8 stride 2; depthwise-separable 16, 32 stride 2, 32, 64 stride 2, 64, 128 stride 2, five times 128, 256
    stride 2, 256; average pool; dense 256->2. 11,160 of the weights are depthwise.

    Args:
        input_shape: (height, width, 3) of the pictures.
        classes: of pictures.
        dropout: share of pooled features dropped in training, 0 to 1.
        momentum: of the batch-norms' moving statistics, 0 to 1.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, height, width, 3), output logits (batch, classes).

    Examples:
        >>> net = mobilenet_v1_025((96, 96, 3), classes=2)
        >>> net.output_shape, net.count_params()
        ((None, 2), 219058)

    Source: MobileNets (arXiv 1704.04861) with width multiplier 0.25, as in MLPerf Tiny; bias-free convolutions.
    """
    blocks = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1)]
    settings: dict[str, Any] = {"classes": classes, "momentum": momentum, "limit": None, "name": name}
    return _network(input_shape, (8, (3, 3), 2), blocks, dropout=(0.0, dropout), **settings)
