"""Evaluation data as arrays, and the accuracy of a model's outputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from analognets.errors import InvalidArgumentError

__all__ = ["accuracy", "arrays", "as_arrays", "is_pair", "samples_in", "the_one"]


def accuracy(labels: Any, outputs: Any) -> float:
    """Return the share of samples whose largest output (or output > 0.5, if there is one) is the label.

    Raises:
        InvalidArgumentError: there are several outputs, or several sets of labels.
    """
    labels, outputs = (the_one(what, value) for what, value in (("labels", labels), ("outputs", outputs)))
    if outputs.shape[-1] == 1:
        return float(np.mean((outputs[:, 0] > 0.5) == labels.reshape(-1).astype(bool)))
    if labels.ndim == outputs.ndim:
        labels = labels[..., 0] if labels.shape[-1] == 1 else labels.argmax(-1)
    return float(np.mean(outputs.argmax(-1) == labels))


def the_one(what: str, value: Any) -> np.ndarray:
    """Return the only array of a structure."""
    leaves = keras.tree.flatten(value)
    if len(leaves) != 1:
        names = ", ".join(map(str, value)) if isinstance(value, dict) else str(len(leaves))
        raise InvalidArgumentError(
            f"A model with several {what} has no single accuracy: give metric=function(labels, outputs) that returns "
            f"a number. Received: a {type(value).__name__} of {what} ({names})."
        )
    return leaves[0]


def arrays(part: Any) -> Any:
    """Return an array, or a list, tuple or dict of arrays; a list of numbers is one array."""
    leaves = keras.tree.flatten(part)
    if isinstance(part, dict) or not hasattr(part, "shape") and all(np.ndim(leaf) for leaf in leaves):
        return keras.tree.map_structure(np.asarray, part)
    return np.asarray(part)


def is_pair(data: Any) -> bool:
    """Whether data is (inputs, labels) rather than a sequence of batches, which are pairs or triples themselves."""
    if not isinstance(data, tuple) or len(data) != 2:
        return False
    if isinstance(data[0], (list, tuple)):
        return bool(data[0]) and all(hasattr(leaf, "shape") for leaf in keras.tree.flatten(data))
    return isinstance(data[0], dict) or hasattr(data[0], "shape")


def as_arrays(data: Any, inputs_wanted: int | None = 1) -> tuple[Any, Any]:
    """Return (inputs, labels) as arrays, or structures of arrays, from a pair or from a dataset of batches.

    Args:
        data: a pair, or an iterable of pairs.
        inputs_wanted: how many inputs the model has; a pair of pairs is two batches if it has one.
    """
    batches = isinstance(data, tuple) and inputs_wanted == 1 and isinstance(data[0] if data else None, tuple)
    if is_pair(data) and not batches:
        inputs, labels = (arrays(part) for part in data)
    else:
        pairs = []
        for batch in data if isinstance(data, Iterable) and not hasattr(data, "shape") else [data]:
            if not isinstance(batch, (tuple, list)) or len(batch) != 2:
                raise InvalidArgumentError(
                    "Evaluation data must be (inputs, labels) arrays or batches of (inputs, labels). "
                    f"Received: {type(data).__name__} of {type(batch).__name__}."
                )
            pairs.append([arrays(part) for part in batch])
        if not pairs:
            raise InvalidArgumentError("Evaluation data must hold at least one batch of (inputs, labels).")
        inputs, labels = (
            keras.tree.map_structure(lambda *parts: np.concatenate(parts), *part) for part in zip(*pairs, strict=True)
        )
    counts = samples_in(inputs), samples_in(labels)
    if counts[0] != counts[1] or counts[0] == 0:
        raise InvalidArgumentError(
            "Evaluation data needs as many labels as inputs, at least one. "
            f"Received: {counts[0]} inputs, {counts[1]} labels."
        )
    return inputs, labels


def samples_in(inputs: Any) -> int:
    """Return how many samples there are in an array, or in each of a list, tuple or dict of arrays.

    Raises:
        InvalidArgumentError: the arrays differ in their number of samples, or there is none.
    """
    leaves = keras.tree.flatten(inputs)
    counts = {len(leaf) if np.ndim(leaf) else 0 for leaf in leaves}
    if len(counts) != 1:
        shapes = ", ".join(str(np.shape(leaf)) for leaf in leaves) or "none"
        raise InvalidArgumentError(f"All inputs must have as many samples as each other. Received: shapes {shapes}.")
    return counts.pop()
