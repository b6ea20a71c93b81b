"""Further KWS models: residual, recurrent and attention networks, for what a crossbar does to each kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from analognets.errors import InvalidArgumentError, check_integer
from analognets.zoo.networks.builders import builder

__all__ = ["PositionEmbedding", "gru_kws", "keyword_transformer", "lstm_kws", "resnet15_kws", "resnet8_kws"]

FEATURES = (49, 10, 1)


def _normalized(x: Any, momentum: float, name: str, relu: bool = True) -> Any:
    x = keras.layers.BatchNormalization(momentum=momentum, name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x) if relu else x


def _conv(x: Any, width: int, size: Any, strides: Any, name: str) -> Any:
    return keras.layers.Conv2D(
        width, size, strides=strides, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )(x)


def _residual(
    input_shape: Sequence[int], classes: int, widths: Sequence[int], blocks: int, dropout: float, momentum: float,
    name: str,
) -> keras.Model:  # fmt: skip
    """Build stem, stages of residual blocks (the first block of each later stage with stride 2), pool and dense."""
    inputs = keras.Input(tuple(input_shape), name="mfcc")
    x = _normalized(_conv(inputs, widths[0], (5, 3), (2, 1), "stem"), momentum, "stem")
    for stage, width in enumerate(widths, start=1):
        for block in range(1, blocks + 1):
            label = f"stage_{stage}_block_{block}"
            strides = 2 if stage > 1 and block == 1 else 1
            y = _normalized(_conv(x, width, 3, strides, f"{label}_conv_1"), momentum, f"{label}_conv_1")
            y = _normalized(_conv(y, width, 3, 1, f"{label}_conv_2"), momentum, f"{label}_conv_2", relu=False)
            if strides > 1 or x.shape[-1] != width:
                x = _conv(x, width, 1, strides, f"{label}_shortcut")
                x = _normalized(x, momentum, f"{label}_shortcut", relu=False)
            x = keras.layers.ReLU(name=f"{label}_relu")(keras.layers.Add(name=f"{label}_add")([x, y]))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x), name=name)


@builder
def resnet8_kws(
    input_shape: Sequence[int] = FEATURES,
    *,
    classes: int = 12,
    widths: Sequence[int] = (24, 32, 48),
    dropout: float = 0.1,
    momentum: float = 0.95,
    name: str = "resnet8_kws",
) -> keras.Model:
    """Build a residual KWS model with seven 3x3 or 5x3 convolutions, two 1x1 shortcuts and a dense layer.

    conv 5x3 stride 2x1; three stages of one residual block, the later two with stride 2; average pool; dense.

    Args:
        input_shape: (frames, coefficients, 1) of the MFCC features.
        classes: number of keywords, silence and unknown included.
        widths: filters of the three stages; the stem has those of the first.
        dropout: share of pooled features dropped in training, 0 to 1.
        momentum: of the batch-norms' moving statistics, 0 to 1.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, frames, coefficients, 1), output logits (batch, classes).

    Examples:
        >>> resnet8_kws().output_shape, list(resnet8_kws.presets)
        ((None, 12), ['resnet8_kws.float', 'resnet8_kws.hwa_standard'])

    Source: our reconstruction in the manner of res8 (Tang & Lin, ICASSP 2018, arXiv 1710.10361, from memory), with the
    strided stages of image networks instead of an average pool, and batch-norm after every convolution.
    """
    return _residual(input_shape, classes, widths, 1, dropout, momentum, name)


@builder
def resnet15_kws(
    input_shape: Sequence[int] = FEATURES,
    *,
    classes: int = 12,
    widths: Sequence[int] = (24, 32, 48),
    dropout: float = 0.1,
    momentum: float = 0.95,
    name: str = "resnet15_kws",
) -> keras.Model:
    """Build the deeper sibling of `resnet8_kws`: two residual blocks a stage, thirteen convolutions and a dense layer.

    Args:
        input_shape: (frames, coefficients, 1) of the MFCC features.
        classes: number of keywords, silence and unknown included.
        widths: filters of the three stages; the stem has those of the first.
        dropout: share of pooled features dropped in training, 0 to 1.
        momentum: of the batch-norms' moving statistics, 0 to 1.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, frames, coefficients, 1), output logits (batch, classes).

    Examples:
        >>> net = resnet15_kws((49, 10, 1), classes=12, widths=(4, 6, 8))
        >>> sum(isinstance(layer, keras.layers.Conv2D) for layer in net.layers)
        15

    Source: our reconstruction in the manner of res15 (Tang & Lin, ICASSP 2018, from memory), which has dilations where
    this has strides.
    """
    return _residual(input_shape, classes, widths, 2, dropout, momentum, name)


def _recurrent(kind: Any, input_shape: Sequence[int], classes: int, units: int, dropout: float, name: str) -> Any:
    frames, coefficients = tuple(input_shape)[:2]
    inputs = keras.Input(tuple(input_shape), name="mfcc")
    x = keras.layers.Reshape((frames, coefficients), name="frames")(inputs)
    x = kind(units, name="recurrent")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x), name=name)


@builder
def gru_kws(
    input_shape: Sequence[int] = FEATURES,
    *,
    classes: int = 12,
    units: int = 154,
    dropout: float = 0.2,
    name: str = "gru_kws",
) -> keras.Model:
    """Build a recurrent KWS model: one GRU over the frames, its last state into a dense layer.

    Args:
        input_shape: (frames, coefficients, 1) of the MFCC features.
        classes: number of keywords, silence and unknown included.
        units: size of the state.
        dropout: share of the last state dropped in training, 0 to 1.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, frames, coefficients, 1), output logits (batch, classes).

    Examples:
        >>> gru_kws(units=8).output_shape, list(gru_kws.presets)
        ((None, 12), ['gru_kws.float', 'gru_kws.hwa_standard'])

    Source: the small GRU of Zhang et al., "Hello Edge" (arXiv 1711.07128), one layer of 154 units (from memory).
    """
    return _recurrent(keras.layers.GRU, input_shape, classes, units, dropout, name)


@builder
def lstm_kws(
    input_shape: Sequence[int] = FEATURES,
    *,
    classes: int = 12,
    units: int = 128,
    dropout: float = 0.2,
    name: str = "lstm_kws",
) -> keras.Model:
    """Build a recurrent KWS model: one LSTM over the frames, its last output into a dense layer.

    Args:
        input_shape: (frames, coefficients, 1) of the MFCC features.
        classes: number of keywords, silence and unknown included.
        units: size of the state.
        dropout: share of the last output dropped in training, 0 to 1.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, frames, coefficients, 1), output logits (batch, classes).

    Examples:
        >>> net = lstm_kws((49, 10, 1), classes=12, units=128)
        >>> [layer.becomes for layer in analognets.plan(net).layers]
        ['AnalogDense', 'AnalogDense', 'AnalogDense']

    Source: our reconstruction in the manner of the LSTM of Zhang et al., "Hello Edge" (arXiv 1711.07128, from memory).
    """
    return _recurrent(keras.layers.LSTM, input_shape, classes, units, dropout, name)


@keras.saving.register_keras_serializable(package="analognets")
class PositionEmbedding(keras.layers.Layer):
    """Add a learned vector to each position of a sequence: y[:, t] = x[:, t] + p[t].

    Input and output (batch, positions, channels).

    Args:
        most: positions, for sequences of any length up to that, at least 1; None: as many as the input has when the
            layer is built, which is the length of all sequences then.

    Raises:
        InvalidArgumentError: `most` is out of range, or a sequence is longer.
    """

    def __init__(self, most: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.most = None if most is None else check_integer("PositionEmbedding", "most", most, 1, 1 << 20)

    def build(self, input_shape: Any) -> None:
        count, channels = tuple(input_shape)[1:]
        self.positions = self.add_weight(
            name="positions",
            shape=(self.most or count, channels),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
        )
        self.built = True

    def call(self, inputs: Any) -> Any:
        length = inputs.shape[1]
        if self.most is not None and length is not None and length > self.most:
            raise InvalidArgumentError(
                f"Sequences for '{self.name}' must have at most {self.most} positions. Received: {length}. Cut them, "
                "or build the network with more."
            )
        vectors = self.positions if self.most is None else self.positions[: keras.ops.shape(inputs)[1]]
        return inputs + keras.ops.cast(vectors, inputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the configuration as plain data."""
        return {**super().get_config(), **({} if self.most is None else {"most": self.most})}


@builder
def keyword_transformer(
    input_shape: Sequence[int] = FEATURES,
    *,
    classes: int = 12,
    dimension: int = 64,
    depth: int = 3,
    heads: int = 2,
    hidden: int = 128,
    dropout: float = 0.1,
    name: str = "keyword_transformer",
) -> keras.Model:
    """Build a small Keyword Transformer: a token for each frame, pre-norm attention blocks, mean over the frames.

    Args:
        input_shape: (frames, coefficients, 1) of the MFCC features.
        classes: number of keywords, silence and unknown included.
        dimension: of the tokens, a multiple of `heads`.
        depth: number of blocks.
        heads: of the attention.
        hidden: width of the two-layer perceptron of each block.
        dropout: in the blocks, 0 to 1.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, frames, coefficients, 1), output logits (batch, classes).

    Examples:
        >>> keyword_transformer((49, 10, 1), classes=12, dimension=16, depth=1).output_shape
        (None, 12)
        >>> sorted(keyword_transformer.presets)
        ['keyword_transformer.float', 'keyword_transformer.hwa_standard']

    Source: our reconstruction in the manner of KWT-1 (Berg et al., Interspeech 2021, arXiv 2104.00769, from memory),
    which has 12 post-norm blocks, one head and a class token.
    """
    frames, coefficients = tuple(input_shape)[:2]
    inputs = keras.Input(tuple(input_shape), name="mfcc")
    x = keras.layers.Reshape((frames, coefficients), name="frames")(inputs)
    x = keras.layers.Dense(dimension, name="tokens")(x)
    x = PositionEmbedding(name="positions")(x)
    for number in range(1, depth + 1):
        label = f"block_{number}"
        y = keras.layers.LayerNormalization(name=f"{label}_norm_1")(x)
        attention = keras.layers.MultiHeadAttention(heads, dimension // heads, dropout=dropout, name=f"{label}_mha")
        y = keras.layers.Dropout(dropout, name=f"{label}_drop_1")(attention(y, y))
        x = keras.layers.Add(name=f"{label}_add_1")([x, y])
        y = keras.layers.LayerNormalization(name=f"{label}_norm_2")(x)
        y = keras.layers.Dense(hidden, activation="gelu", name=f"{label}_dense_1")(y)
        y = keras.layers.Dense(dimension, name=f"{label}_dense_2")(y)
        y = keras.layers.Dropout(dropout, name=f"{label}_drop_2")(y)
        x = keras.layers.Add(name=f"{label}_add_2")([x, y])
    x = keras.layers.LayerNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x), name=name)
