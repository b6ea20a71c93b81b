"""Large recurrent networks: a language model and two recognisers of telephone speech."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from analognets.zoo.networks.builders import builder

__all__ = ["lstm_language_model", "rnn_transducer", "speech_lstm"]


@builder
def lstm_language_model(
    input_shape: Sequence[int] = (35,),
    *,
    classes: int = 10_000,
    units: int = 650,
    depth: int = 2,
    dropout: float = 0.5,
    initializer: Any = None,
    name: str = "lstm_language_model",
) -> keras.Model:
    """Build a language model of two LSTMs of 650 units: 19.8 million weights, 6.5 million of them word vectors.

    Args:
        input_shape: (words,).
        classes: words of the vocabulary.
        units: of each LSTM, and size of the word vectors.
        depth: number of LSTMs.
        dropout: before each LSTM and before the decoder, 0 to 1.
        initializer: of all kernels; None for those of Keras' layers, "zeros" is quickest where only shapes matter.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, words) of whole numbers, output logits (batch, words, classes).

    Examples:
        >>> lstm_language_model((7,), classes=50, units=8).output_shape
        (None, 7, 50)

    Source: the medium LSTM of Zaremba et al., arXiv 1409.2329 (from memory), which Rasch et al., Nat. Commun. 14:5282
    (2023) take (sizes verified).
    """
    words = keras.Input(tuple(input_shape), dtype="int32", name="words")
    x = keras.layers.Embedding(classes, units, name="vectors")(words)
    for number in range(1, depth + 1):
        x = keras.layers.Dropout(dropout, name=f"drop_{number}")(x)
        x = _lstm(units, initializer, f"lstm_{number}")(x)
    x = keras.layers.Dropout(dropout, name="drop")(x)
    return keras.Model(words, _dense(classes, initializer, "logits")(x), name=name)


@builder
def speech_lstm(
    input_shape: Sequence[int] = (21, 140),
    *,
    classes: int = 32_000,
    units: int = 512,
    depth: int = 4,
    bottleneck: int = 256,
    dropout: float = 0.1,
    initializer: Any = None,
    name: str = "speech_lstm",
) -> keras.Model:
    """Build an acoustic model of four LSTMs in both directions, for a hidden Markov model: 30 million weights.

    Args:
        input_shape: (frames, features).
        classes: states of the hidden Markov model.
        units: of each LSTM and direction.
        depth: number of LSTMs.
        bottleneck: width of the linear layer between the last LSTM and the output.
        dropout: behind each LSTM, 0 to 1.
        initializer: of all kernels; None for those of Keras' layers, "zeros" is quickest where only shapes matter.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, frames, features), output logits (batch, frames, classes).

    Examples:
        >>> speech_lstm((21, 10), classes=20, units=4, depth=2, bottleneck=3).output_shape
        (None, 21, 20)

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), supplement (sizes verified).
    """
    frames = keras.Input(tuple(input_shape), name="frames")
    x = _both_ways(frames, units, depth, dropout, initializer)
    x = _dense(bottleneck, initializer, "bottleneck")(x)
    return keras.Model(frames, _dense(classes, initializer, "logits")(x), name=name)


@builder
def rnn_transducer(
    input_shape: Sequence[int] = (200, 340),
    *,
    classes: int = 46,
    units: int = 640,
    depth: int = 6,
    embedding: int = 10,
    prediction: int = 768,
    joint: int = 256,
    dropout: float = 0.1,
    initializer: Any = None,
    name: str = "rnn_transducer",
) -> keras.Model:
    """Build an RNN transducer as decoding runs it, along one alignment of frames and symbols: 57 million weights.

    The encoder (six LSTMs in both directions) reads frames, the prediction network (a vector for each symbol and an
    LSTM) the last symbol known at each frame; both are brought to the joint size, added, and give the next symbol.

    Args:
        input_shape: (frames, features).
        classes: symbols, the blank included.
        units: of each LSTM of the encoder and direction.
        depth: number of LSTMs of the encoder.
        embedding: size of the symbols' vectors.
        prediction: units of the prediction network's LSTM.
        joint: size in which both are added.
        dropout: behind each LSTM of the encoder, 0 to 1.
        initializer: of all kernels; None for those of Keras' layers, "zeros" is quickest where only shapes matter.
        name: of the model.

    Returns:
        A functional Keras model; inputs (batch, frames, features) and whole numbers (batch, frames), output logits
        (batch, frames, classes).

    Examples:
        >>> net = rnn_transducer((20, 8), classes=5, units=4, depth=1, embedding=3, prediction=6, joint=4)
        >>> net.output_shape
        (None, 20, 5)

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), supplement (sizes verified but that of the joint network, which
    follows from their number of tiles and utilisation).
    """
    frames = keras.Input(tuple(input_shape), name="frames")
    symbols = keras.Input(tuple(input_shape)[:1], dtype="int32", name="symbols")
    heard = _dense(joint, initializer, "joint_frames")(_both_ways(frames, units, depth, dropout, initializer))
    said = keras.layers.Embedding(classes, embedding, name="vectors")(symbols)
    said = _dense(joint, initializer, "joint_symbols")(_lstm(prediction, initializer, "prediction")(said))
    x = keras.layers.Add(name="joint")([heard, said])
    x = keras.layers.Activation("tanh", name="joint_tanh")(x)
    return keras.Model([frames, symbols], _dense(classes, initializer, "logits")(x), name=name)


def _lstm(units: int, initializer: Any, name: str) -> Any:
    kernels = {} if initializer is None else {"kernel_initializer": initializer, "recurrent_initializer": initializer}
    return keras.layers.LSTM(units, return_sequences=True, name=name, **kernels)


def _dense(units: int, initializer: Any, name: str) -> Any:
    return keras.layers.Dense(units, kernel_initializer=initializer or "glorot_uniform", name=name)


def _both_ways(x: Any, units: int, depth: int, dropout: float, initializer: Any) -> Any:
    """Add LSTMs that read in both directions."""
    for number in range(1, depth + 1):
        x = keras.layers.Bidirectional(_lstm(units, initializer, f"lstm_{number}"), name=f"both_{number}")(x)
        x = keras.layers.Dropout(dropout, name=f"drop_{number}")(x)
    return x
