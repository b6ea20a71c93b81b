"""Published weights of BERT-like encoders in our networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from analognets.core.files import read_plain
from analognets.core.tensors import tensors_of
from analognets.errors import DataError, InvalidArgumentError, cut

__all__ = ["load_bert_weights", "place_bert_weights"]

ATTENTION = {"query": "self.query", "key": "self.key", "value": "self.value", "output": "output.dense"}
POSITIONS, SEGMENTS = "embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight"
MOST_BYTES = 2 << 30
Place = tuple[keras.Variable, str, tuple[int, ...]]
"""A variable, the name of its array, and the array's shape."""


def load_bert_weights(model: keras.Model, path: str | Path) -> None:
    """Fill the encoder of a network such as `minilm` from a `model.safetensors` of a BERT; the classifier stays.

    The number of heads is not in such a file: give the network as many as the published one has. A network without
    segment embeddings takes every token for one of the first sentence.

    Args:
        model: from `minilm`, or another builder of `analognets.zoo.networks.bert` with blocks of their own weights.
        path: of the file, whose arrays are named as Hugging Face's `BertModel` names them, with or without "bert.".

    Raises:
        DataError: the file can't be read, lacks an array, holds more blocks, or an array has another shape; the network
            stays as it was.
        InvalidArgumentError: the model is no such network.
    """
    content = read_plain(path, "weights file", limit=MOST_BYTES, error=DataError)
    place_bert_weights(model, tensors_of(content, Path(path), DataError), str(path))


def place_bert_weights(model: keras.Model, arrays: Mapping[str, np.ndarray], source: str = "arrays") -> None:
    """Fill the encoder of a network from arrays by name; see `load_bert_weights`.

    Args:
        model: as in `load_bert_weights`.
        arrays: by their names in Hugging Face's `BertModel`.
        source: what messages call them.

    Raises:
        DataError: an array is missing or has another shape, or there are more blocks; the network stays as it was.
        InvalidArgumentError: the model is no such network.
    """
    arrays = {name.removeprefix("bert."): np.asarray(values) for name, values in arrays.items()}
    layers = {layer.name: layer for layer in model.layers}
    depth = sum(name.endswith("_mha") for name in layers)
    if not depth or not {"words", "positions", "norm", "block_1_mha"} <= layers.keys():
        raise InvalidArgumentError(
            "`model` must be a network as `minilm` or `bert_base` builds it, with blocks of their own weights. "
            f"Received: '{model.name}' with the layers {cut(', '.join(layers), 200)}."
        )
    if any(name.startswith(f"encoder.layer.{depth}.") for name in arrays):
        raise DataError(
            f"'{source}' must hold {depth} blocks for '{model.name}'. Received: more. Build the network in the size of "
            "the file."
        )
    chosen = []
    for variable, name, shape in _places(layers, depth):
        values = _array(arrays, name, shape, source, model.name)
        if name == POSITIONS and "segments" not in layers and SEGMENTS in arrays:
            values = values + _array(arrays, SEGMENTS, (2, shape[1]), source, model.name)[0]
        chosen.append((variable, values if name.startswith("embeddings.") else values.T.reshape(variable.shape)))
    for variable, values in chosen:
        variable.assign(values.astype(np.float32))


def _array(
    arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], source: str, network: str
) -> np.ndarray:
    """Return an array of a shape; of positions, as many as the network has."""
    values = arrays.get(name)
    if values is None:
        raise DataError(
            f"'{source}' holds no array '{name}', which '{network}' needs. Received: "
            f"{cut(', '.join(sorted(arrays)) or 'none', 200)}. Take a BERT's weights as Hugging Face stores them."
        )
    found = values[: shape[0]] if name == POSITIONS else values
    if found.shape != shape:
        raise DataError(
            f"Array '{name}' of '{source}' must have the shape {shape} for '{network}'. Received: {values.shape}. "
            "Build the network in the size of the file."
        )
    return found


def _places(layers: Mapping[str, Any], depth: int) -> Iterator[Place]:
    """Yield each variable of the encoder."""
    embeddings = {"embeddings.word_embeddings.weight": layers["words"].embeddings}
    embeddings[POSITIONS] = layers["positions"].positions
    if "segments" in layers:
        embeddings[SEGMENTS] = layers["segments"].segments
    for name, variable in embeddings.items():
        yield variable, name, tuple(variable.shape)
    yield from _norm(layers["norm"], "embeddings")
    for number in range(1, 1 + depth):
        own, theirs = f"block_{number}", f"encoder.layer.{number - 1}"
        for part, name in ATTENTION.items():
            yield from _product(getattr(layers[f"{own}_mha"], f"{part}_dense"), f"{theirs}.attention.{name}")
        yield from _norm(layers[f"{own}_norm_1"], f"{theirs}.attention.output")
        yield from _product(layers[f"{own}_dense_1"], f"{theirs}.intermediate.dense")
        yield from _product(layers[f"{own}_dense_2"], f"{theirs}.output.dense")
        yield from _norm(layers[f"{own}_norm_2"], f"{theirs}.output")
    if "pooler" in layers:
        yield from _product(layers["pooler"], "pooler.dense")


def _product(layer: Any, name: str) -> Iterator[Place]:
    """Yield kernel and bias; files hold kernels as (outputs, inputs), and the heads of attention side by side."""
    outputs = int(np.prod(layer.bias.shape))
    yield layer.kernel, f"{name}.weight", (outputs, int(np.prod(layer.kernel.shape)) // outputs)
    yield layer.bias, f"{name}.bias", (outputs,)


def _norm(layer: Any, name: str) -> Iterator[Place]:
    yield layer.gamma, f"{name}.LayerNorm.weight", tuple(layer.gamma.shape)
    yield layer.beta, f"{name}.LayerNorm.bias", tuple(layer.beta.shape)
