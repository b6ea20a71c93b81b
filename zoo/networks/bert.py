"""A small text encoder: what of a transformer goes on a crossbar."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from analognets.zoo.networks.kws_models import PositionEmbedding

__all__ = ["bert_tiny"]


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

    Source: sizes as google/bert_uncased_L-2_H-128_A-2 (from memory); without segment embeddings, our reconstruction.
    No weights are shipped.
    """
    tokens = keras.Input(tuple(input_shape), dtype="int32", name="tokens")
    attended = keras.ops.expand_dims(keras.ops.not_equal(tokens, 0), 1)
    x = keras.layers.Embedding(vocabulary, dimension, name="words")(tokens)
    x = PositionEmbedding(name="positions")(x)
    x = keras.layers.LayerNormalization(epsilon=1e-12, name="norm")(x)
    x = keras.layers.Dropout(dropout, name="drop")(x)
    for number in range(1, depth + 1):
        label = f"block_{number}"
        attention = keras.layers.MultiHeadAttention(heads, dimension // heads, dropout=dropout, name=f"{label}_mha")
        y = keras.layers.Dropout(dropout, name=f"{label}_drop_1")(attention(x, x, attention_mask=attended))
        x = keras.layers.Add(name=f"{label}_add_1")([x, y])
        x = keras.layers.LayerNormalization(epsilon=1e-12, name=f"{label}_norm_1")(x)
        y = keras.layers.Dense(4 * dimension, activation="gelu", name=f"{label}_dense_1")(x)
        y = keras.layers.Dense(dimension, name=f"{label}_dense_2")(y)
        y = keras.layers.Dropout(dropout, name=f"{label}_drop_2")(y)
        x = keras.layers.Add(name=f"{label}_add_2")([x, y])
        x = keras.layers.LayerNormalization(epsilon=1e-12, name=f"{label}_norm_2")(x)
    pooled = keras.layers.Dense(dimension, activation="tanh", name="pooler")(x[:, 0])
    return keras.Model(tokens, keras.layers.Dense(classes, name="logits")(pooled), name=name)
