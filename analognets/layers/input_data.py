"""A model's inputs out of what users give: arrays, pairs with labels, structures of arrays, datasets of batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from analognets.errors import InvalidArgumentError

__all__ = ["all_inputs", "are_data", "input_batches", "inputs_in"]

WANTED = (
    "Inputs must be an array, a dict or list of arrays for a model with several inputs, a tuple (inputs, labels), or "
    "an iterable of batches of these."
)


def input_batches(model: keras.Model, data: Any, batch_size: int, batches: int | None) -> Iterator[Any]:
    """Yield batches of inputs, without labels.

    Args:
        model: whose inputs they are.
        data: an array, or a dict or list of arrays for a model with several inputs; a tuple (inputs, labels) or
            (inputs, labels, weights); or an iterable of batches of either kind, the last two kinds in lists too.
        batch_size: for arrays.
        batches: how many at most; None is all.

    Raises:
        InvalidArgumentError: the data or a batch of it are none of these.
    """
    wanted = len(keras.tree.flatten(getattr(model, "inputs", None) or [])) or None
    pair = isinstance(data, tuple) and bool(data) and not (wanted == 1 and isinstance(data[0], (tuple, list)))
    several = isinstance(data, list) and wanted not in (1, None) and _are(data, wanted)
    if pair or several or is_array(data) or isinstance(data, dict):
        inputs = inputs_in(data, wanted)
        count = samples_of(inputs)
        pieces: Iterable[Any] = (
            keras.tree.map_structure(lambda leaf, i=first: leaf[i : i + batch_size], inputs)
            for first in range(0, count, batch_size)
        )
    elif isinstance(data, Iterable) and not isinstance(data, (str, bytes)):
        pieces = (inputs_in(item, wanted) for item in data)
    else:
        raise InvalidArgumentError(f"{WANTED} Received: {type(data).__name__}.")
    yield from itertools.islice(pieces, batches)


def inputs_in(item: Any, wanted: int | None) -> Any:
    """Return the inputs of a batch that may hold labels and weights too.

    Args:
        item: inputs, or (inputs, labels) or (inputs, labels, weights) as a tuple or list.
        wanted: how many inputs the model has; None: not known, and then a list is one of inputs.

    Raises:
        InvalidArgumentError: the batch holds another number of inputs.
    """
    found = item
    if isinstance(item, (tuple, list)) and 0 < len(item) <= 3:
        are_inputs = wanted not in (1, None) and not _holds(item[0], wanted) and _are(item, wanted)
        if not are_inputs and (isinstance(item, tuple) or wanted is not None):
            found = item[0]
    leaves = keras.tree.flatten(found)
    if not leaves or not all(is_array(leaf) for leaf in leaves) or wanted not in (len(leaves), None):
        inner = f" of {type(item[0]).__name__}" if isinstance(item, (list, tuple)) and item else ""
        asked = "" if wanted is None else f" for a model with {wanted} input{'s' if wanted > 1 else ''}"
        raise InvalidArgumentError(f"{WANTED} Received: {type(item).__name__}{inner}{asked}.")
    return found


def all_inputs(model: keras.Model, data: Any) -> Any:
    """Return all inputs of data at once, without labels, as arrays.

    Args:
        model: whose inputs they are.
        data: as `input_batches` takes it.

    Raises:
        InvalidArgumentError: as `input_batches`, or there is no sample.
    """
    pieces = list(input_batches(model, data, 1 << 30, None))
    if not pieces:
        raise InvalidArgumentError(f"{WANTED} Received: none.")
    return keras.tree.map_structure(lambda *parts: np.concatenate([np.asarray(part) for part in parts]), *pieces)


def are_data(layer: keras.layers.Layer) -> bool:
    """Whether all that a layer of functional models reads comes from their inputs through layers without weights."""
    nodes = layer._inbound_nodes
    return bool(nodes) and all(_is_data(tensor) for node in nodes for tensor in node.input_tensors)


def _is_data(tensor: Any) -> bool:
    operation, index, _ = tensor._keras_history
    if isinstance(operation, keras.layers.InputLayer):
        return True
    if operation is None or getattr(operation, "trainable_weights", None):
        return False
    return all(_is_data(one) for one in operation._inbound_nodes[index].input_tensors)


def samples_of(inputs: Any) -> int:
    """Return how many samples arrays hold, checked to be as many in each."""
    counts = {len(leaf) for leaf in keras.tree.flatten(inputs)}
    if len(counts) != 1:
        raise InvalidArgumentError(f"All inputs must have as many samples. Received: {sorted(counts)}.")
    return counts.pop()


def is_array(value: Any) -> bool:
    """Whether a value is an array, tensor or table with a row a sample."""
    return hasattr(value, "shape") and len(value.shape) > 0


def _are(items: Any, count: int | None) -> bool:
    return len(items) == count and all(is_array(item) for item in items)


def _holds(item: Any, count: int | None) -> bool:
    return not is_array(item) and len(keras.tree.flatten(item)) == count
