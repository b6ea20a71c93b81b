"""Published weights of BERT-like encoders in our networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from analognets.core.files import read_plain
from analognets.core.tensors import tensors_of
from analognets.errors import DataError, cut

__all__ = ["load_bert_weights", "place_bert_weights"]

ATTENTION = {"query": "self.query", "key": "self.key", "value": "self.value", "output": "output.dense"}
MOST_BYTES = 2 << 30


def load_bert_weights(model: keras.Model, path: str | Path) -> None:
    """Fill the encoder of a network such as `minilm` from a `model.safetensors` of a BERT; the classifier stays.

    Args:
        model: from `minilm`, or another builder of `analognets.zoo.networks.bert` with blocks of their own weights.
        path: of the file, whose arrays are named as Hugging Face's `BertModel` names them, with or without "bert.".

    Raises:
        DataError: the file can't be read, lacks an array, or one has another shape; the network stays as it was.
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
        DataError: an array is missing or has another shape; the network stays as it was.
    """
    arrays = {name.removeprefix("bert."): values for name, values in arrays.items()}
    chosen = []
    for variable, name in _names(model):
        values = arrays.get(name)
        if values is None:
            raise DataError(
                f"'{source}' holds no array '{name}', which '{model.name}' needs. Received: "
                f"{cut(', '.join(sorted(arrays)) or 'none', 200)}. Take a BERT's weights as Hugging Face stores them."
            )
        values = _laid_out(np.asarray(values), name, variable)
        if values.shape != tuple(variable.shape):
            raise DataError(
                f"Array '{name}' of '{source}' must give {tuple(variable.shape)} for '{variable.path}'. Received: "
                f"{tuple(arrays[name].shape)}. Build the network in the size of the file."
            )
        chosen.append((variable, values))
    for variable, values in chosen:
        variable.assign(values.astype(np.float32))


def _laid_out(values: np.ndarray, name: str, variable: keras.Variable) -> np.ndarray:
    """Return an array in the layout of the variable: products transposed, heads apart, as many positions as it has."""
    shape = tuple(variable.shape)
    if name == "embeddings.position_embeddings.weight":
        return values[: shape[0]]
    if name.startswith("encoder.") or name.startswith("pooler."):
        if values.ndim == 2:
            values = values.T
        if values.size == np.prod(shape):
            return values.reshape(shape)
    return values


def _names(model: keras.Model) -> Iterator[tuple[keras.Variable, str]]:
    """Yield each variable of the encoder with the name of its array."""
    layers = {layer.name: layer for layer in model.layers}
    yield layers["words"].embeddings, "embeddings.word_embeddings.weight"
    yield layers["positions"].positions, "embeddings.position_embeddings.weight"
    if "segments" in layers:
        yield layers["segments"].segments, "embeddings.token_type_embeddings.weight"
    yield from _norm(layers["norm"], "embeddings")
    for number in range(1, 1 + sum(name.endswith("_mha") for name in layers)):
        own, theirs = f"block_{number}", f"encoder.layer.{number - 1}"
        for part, name in ATTENTION.items():
            yield from _product(getattr(layers[f"{own}_mha"], f"{part}_dense"), f"{theirs}.attention.{name}")
        yield from _norm(layers[f"{own}_norm_1"], f"{theirs}.attention.output")
        yield from _product(layers[f"{own}_dense_1"], f"{theirs}.intermediate.dense")
        yield from _product(layers[f"{own}_dense_2"], f"{theirs}.output.dense")
        yield from _norm(layers[f"{own}_norm_2"], f"{theirs}.output")
    if "pooler" in layers:
        yield from _product(layers["pooler"], "pooler.dense")


def _product(layer: Any, name: str) -> Iterator[tuple[keras.Variable, str]]:
    yield layer.kernel, f"{name}.weight"
    yield layer.bias, f"{name}.bias"


def _norm(layer: Any, name: str) -> Iterator[tuple[keras.Variable, str]]:
    yield layer.gamma, f"{name}.LayerNorm.weight"
    yield layer.beta, f"{name}.LayerNorm.bias"
