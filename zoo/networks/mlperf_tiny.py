"""The networks of MLPerf Tiny as its reference has them, biases included, which take the weights it published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from analognets.errors import DataError, check_number
from analognets.zoo.networks.builders import builder
from analognets.zoo.published import published_file

__all__ = ["mlperf_ds_cnn", "mlperf_mobilenet", "mlperf_resnet8"]

OFFICIAL = "mlperf_tiny"
"""What `weights` says for the published ones, wherever they are found."""


@builder
def mlperf_resnet8(
    input_shape: Sequence[int] = (32, 32, 3),
    *,
    classes: int = 10,
    weights: str | None = None,
    input_offset: float = 0.0,
    name: str = "mlperf_resnet8",
) -> keras.Model:
    """Build ResNet-8, MLPerf Tiny's network for image classification: 77,360 weights.

    conv 3x3 3->16; three residual blocks of two 3x3 convolutions with 16, 32 and 64 channels, the last two with stride
    2 and a 1x1 convolution beside them; average pool 8x8; dense 64->10.

    Args:
        input_shape: (height, width, 3) of the pictures, values 0 to 255.
        classes: of pictures.
        weights: None: fresh ones; "mlperf_tiny": the published ones, see `published_file`; else the path of a model
            file with this architecture.
        input_offset: what is subtracted from the padded picture in front of the stem, 0 to 255. Products of bright
            pixels add up to far more than what tells pictures apart, and so do the errors of devices; about 120, the
            mean of photographs, takes that away. Published weights are set so that the network computes the same.
        name: of the model.

    Returns:
        A functional Keras model; output logits (batch, classes).

    Raises:
        InvalidArgumentError: `input_offset` is out of range.
        DataError: the weights can't be found or read, or are those of another network.

    Examples:
        >>> net = mlperf_resnet8((32, 32, 3), classes=10)
        >>> net.output_shape, net.count_params()
        ((None, 10), 78666)

    Source: github.com/mlcommons/tiny, benchmark/training/image_classification (Apache-2.0), read from its file.
    """
    check_number("mlperf_resnet8", "input_offset", input_offset, 0, 255)
    inputs = keras.Input(tuple(input_shape), name="image")
    x = _stem(inputs, 16, 3, 1, float(input_offset))
    for number, (filters, strides) in enumerate([(16, 1), (32, 2), (64, 2)], start=1):
        block = f"block_{number}"
        inner = _conv_norm(x, filters, 3, strides, f"{block}_1")
        # The published file lists the second convolution, the one beside it and then the norm.
        inner = _conv(inner, filters, 3, 1, f"{block}_2")
        beside = _conv(x, filters, 1, strides, f"{block}_beside") if strides > 1 else x
        inner = keras.layers.BatchNormalization(name=f"{block}_2_norm")(inner)
        x = keras.layers.Add(name=f"{block}_add")([beside, inner])
        x = keras.layers.ReLU(name=f"{block}_relu")(x)
    side = min(x.shape[1], x.shape[2], 8)
    model = keras.Model(inputs, _head(x, (side, side), classes), name=name)
    return _with_weights(model, weights, "pretrainedResnet.h5", float(input_offset))


@builder
def mlperf_ds_cnn(
    input_shape: Sequence[int] = (49, 10, 1),
    *,
    classes: int = 12,
    weights: str | None = None,
    dropout: Sequence[float] = (0.2, 0.4),
    name: str = "mlperf_ds_cnn",
) -> keras.Model:
    """Build DS-CNN as MLPerf Tiny's keyword-spotting reference has it: 22,016 weights, 2,304 of them depthwise.

    conv 10x4 1->64 stride 2; four blocks of depthwise 3x3 and pointwise 64->64; average pool 25x5; dense 64->12.
    Unlike `ds_cnn` it has biases.

    Args:
        input_shape: (frames, coefficients, 1) of the MFCC features of the preset `mlperf_tiny`.
        classes: number of keywords, silence and unknown included.
        weights: as in `mlperf_resnet8`.
        dropout: shares dropped in training behind the stem and before the pool, 0 to 1.
        name: of the model.

    Returns:
        A functional Keras model; output logits (batch, classes).

    Raises:
        DataError: the weights can't be found or read, or are those of another network.

    Examples:
        >>> net = mlperf_ds_cnn((49, 10, 1), classes=12)
        >>> net.output_shape, net.count_params()
        ((None, 12), 24908)

    Source: github.com/mlcommons/tiny, benchmark/training/keyword_spotting (Apache-2.0), read from its file.
    """
    inputs = keras.Input(tuple(input_shape), name="mfcc")
    x = _conv_norm(inputs, 64, (10, 4), 2, "stem")
    x = keras.layers.Dropout(dropout[0], name="stem_dropout")(x)
    for number in range(1, 5):
        x = _separable(x, 64, 1, f"block_{number}")
    x = keras.layers.Dropout(dropout[1], name="dropout")(x)
    model = keras.Model(inputs, _head(x, tuple(x.shape[1:3]), classes), name=name)
    return _with_weights(model, weights, "kws_ref_model")


@builder
def mlperf_mobilenet(
    input_shape: Sequence[int] = (96, 96, 3),
    *,
    classes: int = 2,
    weights: str | None = None,
    input_offset: float = 0.0,
    name: str = "mlperf_mobilenet",
) -> keras.Model:
    """Build MobileNetV1 of a quarter of the width as MLPerf Tiny's visual wake words has it: 208,112 weights.

    conv 3x3 3->8 stride 2; thirteen blocks of depthwise 3x3 and pointwise with 16, 32, 32, 64, 64, six times 128 and
    twice 256 channels; average pool 3x3; dense 256->2. 11,160 of the weights are depthwise.

    Args:
        input_shape: (height, width, 3) of the pictures, values 0 to 1.
        classes: of pictures.
        weights: as in `mlperf_resnet8`.
        input_offset: likewise, 0 to 1.
        name: of the model.

    Returns:
        A functional Keras model; output logits (batch, classes).

    Raises:
        InvalidArgumentError: `input_offset` is out of range.
        DataError: the weights can't be found or read, or are those of another network.

    Examples:
        >>> net = mlperf_mobilenet((96, 96, 3), classes=2)
        >>> net.output_shape, net.count_params()
        ((None, 2), 221794)

    Source: github.com/mlcommons/tiny, benchmark/training/visual_wake_words (Apache-2.0), read from its file.
    """
    blocks = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1)]
    check_number("mlperf_mobilenet", "input_offset", input_offset, 0, 1)
    inputs = keras.Input(tuple(input_shape), name="image")
    x = _stem(inputs, 8, 3, 2, float(input_offset))
    for number, (filters, strides) in enumerate(blocks, start=1):
        x = _separable(x, filters, strides, f"block_{number}")
    model = keras.Model(inputs, _head(x, tuple(x.shape[1:3]), classes), name=name)
    return _with_weights(model, weights, "vww_96.h5", float(input_offset))


def _stem(x: Any, filters: int, kernel: int, strides: int, offset: float) -> Any:
    """Add the first convolution, which sees its padded input less an offset, and its norm."""
    if not offset:
        return _conv_norm(x, filters, kernel, strides, "stem")
    missing = [(-(-side // strides) - 1) * strides + kernel - side for side in x.shape[1:3]]
    x = keras.layers.ZeroPadding2D(tuple((max(n, 0) // 2, -(-max(n, 0) // 2)) for n in missing), name="stem_pad")(x)
    x = keras.layers.Rescaling(1.0, offset=-offset, name="stem_offset")(x)
    x = keras.layers.Conv2D(filters, kernel, strides, kernel_initializer="he_normal", name="stem")(x)
    return _norm_relu(x, "stem")


def _conv(x: Any, filters: int, kernel: Any, strides: int, name: str) -> Any:
    return keras.layers.Conv2D(
        filters, kernel, strides, padding="same", kernel_initializer="he_normal", name=name
    )(x)  # fmt: skip


def _norm_relu(x: Any, name: str) -> Any:
    x = keras.layers.BatchNormalization(name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _conv_norm(x: Any, filters: int, kernel: Any, strides: int, name: str) -> Any:
    return _norm_relu(_conv(x, filters, kernel, strides, name), name)


def _separable(x: Any, filters: int, strides: int, name: str) -> Any:
    x = keras.layers.DepthwiseConv2D(
        3, strides, padding="same", depthwise_initializer="he_normal", name=f"{name}_depthwise"
    )(x)
    x = _norm_relu(x, f"{name}_depthwise")
    return _conv_norm(x, filters, 1, 1, f"{name}_pointwise")


def _head(x: Any, window: tuple[int, int], classes: int) -> Any:
    x = keras.layers.AveragePooling2D(window, name="pool")(x)
    return keras.layers.Dense(classes, name="logits")(keras.layers.Flatten(name="flatten")(x))


def _with_weights(model: keras.Model, weights: str | None, official: str, offset: float = 0.0) -> keras.Model:
    """Give a network the weights of a file, which must be those of the same layers in the same order."""
    if weights is None:
        return model
    from analognets.conversion import load_model

    path = published_file(official) if weights == OFFICIAL else Path(weights)
    found = [variable for layer in load_model(path).layers for variable in layer.weights]
    wanted = [variable for layer in model.layers for variable in layer.weights]
    other = [pair for pair in zip(found, wanted, strict=False) if pair[0].shape != pair[1].shape]
    if len(found) != len(wanted) or other:
        what = f"{len(found)} arrays of weights instead of {len(wanted)}"
        if len(found) == len(wanted):
            (first, ours), *_ = other
            what = f"'{first.path}' of shape {tuple(first.shape)} where it has {tuple(ours.shape)}"
        raise DataError(
            f"The model in '{path}' is not {model.name} with this input and these classes; give MLPerf Tiny's "
            f"'{official}' or a file of the same architecture. Received: {what}."
        )
    for source, target in zip(found, wanted, strict=True):
        target.assign(source)
    if offset:  # what the stem no longer sees comes back with its bias
        stem = model.get_layer("stem")
        stem.bias.assign(stem.bias + offset * keras.ops.sum(stem.kernel, axis=(0, 1, 2)))
    return model
