"""Text encoders: what of a transformer goes on a crossbar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from analognets.zoo.networks.builders import builder
from analognets.zoo.networks.kws_models import PositionEmbedding

__all__ = ["SegmentEmbedding", "albert_base", "bert_base", "bert_tiny", "minilm"]


@keras.saving.register_keras_serializable(package="analognets")
class SegmentEmbedding(keras.layers.Layer):
    """Add a learned vector for the sentence a token belongs to: y[:, t] = x[:, t] + s[sentence of token t].

    Inputs (tokens' vectors (batch, positions, channels), tokens (batch, positions)). The first sentence ends with the
    first separator; all behind it is the second.

    Args:
        separator: number of the token that ends a sentence.
    """

    def __init__(self, separator: int = 102, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.separator = int(separator)

    def build(self, input_shape: Any) -> None:
        self.segments = self.add_weight(
            name="segments",
            shape=(2, tuple(input_shape[0])[-1]),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
        )
        self.built = True

    def call(self, inputs: Any) -> Any:
        x, tokens = inputs
        ends = keras.ops.cast(keras.ops.equal(tokens, self.separator), "int32")
        second = keras.ops.cumsum(ends, axis=1) - ends > 0
        vectors = keras.ops.cast(self.segments, x.dtype)
        return x + keras.ops.where(keras.ops.expand_dims(second, -1), vectors[1], vectors[0])

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape[0])

    def get_config(self) -> dict[str, Any]:
        """Return the configuration as plain data."""
        return {**super().get_config(), "separator": self.separator}


@builder
def bert_tiny(
    input_shape: Sequence[int] = (128,),
    *,
    classes: int = 2,
    vocabulary: int = 30_522,
    dimension: int = 128,
    depth: int = 2,
    heads: int = 2,
    dropout: float = 0.1,
    name: str = "bert_tiny",
) -> keras.Model:
    """Build a text encoder of the size of BERT-tiny: two post-norm blocks of 128 channels, and a classifier.

    The embeddings stay digital: looking a row up is no product. Padding is token 0 and is not attended to.

    Args:
        input_shape: (tokens,).
        classes: number of classes.
        vocabulary: number of tokens.
        dimension: of the tokens, a multiple of `heads`; the perceptrons are four times as wide.
        depth: number of blocks.
        heads: of the attention.
        dropout: 0 to 1.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, tokens) of whole numbers, output logits (batch, classes).

    Examples:
        >>> net = bert_tiny((16,), vocabulary=100, classes=3)
        >>> print(net(np.array([[5, 17, 2] + 13 * [0]])).shape)
        (1, 3)

    Source: sizes as google/bert_uncased_L-2_H-128_A-2 (from memory); without segment embeddings, our reconstruction.
    No weights are shipped.
    """
    return _encoder(input_shape, classes, vocabulary, dimension, depth, heads, dropout, None, name)


@builder
def bert_base(
    input_shape: Sequence[int] = (128,),
    *,
    classes: int = 2,
    vocabulary: int = 30_522,
    dropout: float = 0.1,
    initializer: Any = None,
    name: str = "bert_base",
) -> keras.Model:
    """Build a text encoder of the size of BERT-base: twelve post-norm blocks of 768 channels, and a classifier.

    85.5 million weights beside the embeddings.

    Args:
        input_shape: (tokens,).
        classes: number of classes.
        vocabulary: number of tokens; the cased BERT-base has 28,996.
        dropout: 0 to 1.
        initializer: of all kernels; None for those of Keras' layers, "zeros" is quickest where only shapes matter.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, tokens) of whole numbers, output logits (batch, classes).

    Examples:
        >>> net = bert_base((16,), vocabulary=100, initializer="zeros")
        >>> net.output_shape, round(net.count_params() / 1e6)
        ((None, 2), 86)

    Source: sizes of Devlin et al., arXiv 1810.04805 (from memory); without segment embeddings, our reconstruction. No
    weights are shipped.
    """
    return _encoder(input_shape, classes, vocabulary, 768, 12, 12, dropout, initializer, name)


@builder
def minilm(
    input_shape: Sequence[int] = (128,),
    *,
    classes: int = 2,
    vocabulary: int = 30_522,
    dimension: int = 384,
    depth: int = 6,
    heads: int = 12,
    dropout: float = 0.1,
    separator: int = 102,
    positions: int = 512,
    name: str = "minilm",
) -> keras.Model:
    """Build a text encoder of the size of MiniLM: six post-norm blocks of 384 channels, and a classifier of their mean.

    10.6 million weights beside the embeddings. It has segment embeddings, for pairs of sentences, and classifies by the
    mean over all tokens but the padding. `load_bert_weights` fills it from a published file.

    Args:
        input_shape: (tokens,), at most 512 for the published weights; (None,) takes sequences of any length up to
            `positions`, so that short ones need no padding to the longest.
        classes: number of classes.
        vocabulary: number of tokens.
        dimension: of the tokens, a multiple of `heads`; the perceptrons are four times as wide.
        depth: number of blocks.
        heads: of the attention.
        dropout: 0 to 1.
        separator: number of the token that ends a sentence.
        positions: how many there are for sequences of any length; those of one length have as many as that.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, tokens) of whole numbers, output logits (batch, classes).

    Examples:
        >>> minilm((16,), vocabulary=100, dimension=24, depth=2, heads=2, separator=3).output_shape
        (None, 2)

    Source: sizes of MiniLM-L6-H384-uncased, from the published file (verified); the classifier is ours.
    """
    most = positions if tuple(input_shape)[0] is None else None
    tokens, attended, x = _embedded(input_shape, vocabulary, dimension, dropout, None, separator, most)
    x = _blocks(x, attended, dimension, depth, heads, dropout, None)
    x = keras.layers.GlobalAveragePooling1D(name="mean")(x, mask=attended[:, 0])
    x = keras.layers.Dropout(dropout, name="drop_mean")(x)
    return keras.Model(tokens, _dense(classes, None, "logits")(x), name=name)


@builder
def albert_base(
    input_shape: Sequence[int] = (128,),
    *,
    classes: int = 2,
    vocabulary: int = 30_000,
    embedding: int = 128,
    dimension: int = 768,
    depth: int = 12,
    heads: int = 12,
    dropout: float = 0.1,
    initializer: Any = None,
    name: str = "albert_base",
) -> keras.Model:
    """Build a text encoder of the size of ALBERT-base: one post-norm block that runs twelve times, and a classifier.

    7.8 million weights beside the embeddings; all runs of the block use the same tiles.

    Args:
        input_shape: (tokens,).
        classes: number of classes.
        vocabulary: number of tokens.
        embedding: size of the tokens' vectors, which a dense layer brings to `dimension`.
        dimension: of the tokens in the block, a multiple of `heads`; its perceptron is four times as wide.
        depth: how often the block runs.
        heads: of the attention.
        dropout: 0 to 1.
        initializer: of all kernels; None for those of Keras' layers, "zeros" is quickest where only shapes matter.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, tokens) of whole numbers, output logits (batch, classes).

    Examples:
        >>> net = albert_base((16,), vocabulary=100, embedding=8, dimension=16, depth=2, heads=2)
        >>> net.output_shape
        (None, 2)

    Source: sizes of Lan et al., arXiv 1909.11942 (from memory); without segment embeddings, our reconstruction. No
    weights are shipped.
    """
    tokens, attended, x = _embedded(input_shape, vocabulary, embedding, dropout, initializer)
    x = _dense(dimension, initializer, "mapping")(x)
    inner = keras.Input((tuple(input_shape)[0], dimension), name="block_tokens")
    inner_attended = keras.Input((1, tuple(input_shape)[0]), dtype="bool", name="block_attended")
    y = _block(inner, inner_attended, dimension, heads, dropout, initializer, "block")
    block = keras.Model([inner, inner_attended], y, name="shared")
    for _ in range(depth):
        x = block([x, attended])
    return _classifier(tokens, x, classes, initializer, name)


def _encoder(
    input_shape: Sequence[int],
    classes: int,
    vocabulary: int,
    dimension: int,
    depth: int,
    heads: int,
    dropout: float,
    initializer: Any,
    name: str,
) -> keras.Model:
    """Build a text encoder with blocks of their own weights."""
    tokens, attended, x = _embedded(input_shape, vocabulary, dimension, dropout, initializer)
    x = _blocks(x, attended, dimension, depth, heads, dropout, initializer)
    return _classifier(tokens, x, classes, initializer, name)


def _blocks(x: Any, attended: Any, dimension: int, depth: int, heads: int, dropout: float, initializer: Any) -> Any:
    """Add blocks of their own weights."""
    for number in range(1, depth + 1):
        x = _block(x, attended, dimension, heads, dropout, initializer, f"block_{number}")
    return x


def _embedded(
    input_shape: Sequence[int],
    vocabulary: int,
    dimension: int,
    dropout: float,
    initializer: Any,
    separator: int | None = None,
    most: int | None = None,
) -> tuple[Any, Any, Any]:
    """Return the input, which tokens are attended to, and the tokens' vectors with positions and maybe segments."""
    tokens = keras.Input(tuple(input_shape), dtype="int32", name="tokens")
    attended = keras.ops.expand_dims(keras.ops.not_equal(tokens, 0), 1)
    x = keras.layers.Embedding(vocabulary, dimension, initializer or "uniform", name="words")(tokens)
    x = PositionEmbedding(most, name="positions")(x)
    if separator is not None:
        x = SegmentEmbedding(separator, name="segments")([x, tokens])
    x = keras.layers.LayerNormalization(epsilon=1e-12, name="norm")(x)
    return tokens, attended, keras.layers.Dropout(dropout, name="drop")(x)


def _block(x: Any, attended: Any, dimension: int, heads: int, dropout: float, initializer: Any, label: str) -> Any:
    """Add attention and a perceptron, each with its norm behind it."""
    attention = keras.layers.MultiHeadAttention(
        heads,
        dimension // heads,
        dropout=dropout,
        kernel_initializer=initializer or "glorot_uniform",
        name=f"{label}_mha",
    )
    y = keras.layers.Dropout(dropout, name=f"{label}_drop_1")(attention(x, x, attention_mask=attended))
    x = keras.layers.Add(name=f"{label}_add_1")([x, y])
    x = keras.layers.LayerNormalization(epsilon=1e-12, name=f"{label}_norm_1")(x)
    y = _dense(4 * dimension, initializer, f"{label}_dense_1", "gelu")(x)
    y = _dense(dimension, initializer, f"{label}_dense_2")(y)
    y = keras.layers.Dropout(dropout, name=f"{label}_drop_2")(y)
    x = keras.layers.Add(name=f"{label}_add_2")([x, y])
    return keras.layers.LayerNormalization(epsilon=1e-12, name=f"{label}_norm_2")(x)


def _classifier(tokens: Any, x: Any, classes: int, initializer: Any, name: str) -> keras.Model:
    """Return the whole network, which classifies by the first token."""
    pooled = _dense(x.shape[-1], initializer, "pooler", "tanh")(x[:, 0])
    return keras.Model(tokens, _dense(classes, initializer, "logits")(pooled), name=name)


def _dense(units: int, initializer: Any, name: str, activation: str | None = None) -> Any:
    return keras.layers.Dense(
        units, activation=activation, kernel_initializer=initializer or "glorot_uniform", name=name
    )
