"""Whether the outputs of a network are probabilities or logits, told from its graph."""

from __future__ import annotations

from typing import Any

import keras

__all__ = ["gives_probabilities", "output_kind"]

L = keras.layers
PASSING = (
    "Reshape", "Flatten", "Dropout", "Permute", "Identity", "Squeeze", "ExpandDims", "Transpose", "GetItem", "Cast",
    "GlobalAveragePooling1D", "GlobalAveragePooling2D",
)  # fmt: skip
"""Classes of layers and operations behind which probabilities are probabilities still."""
MERGING = (L.Average, L.Concatenate, L.Maximum, L.Minimum)
"""Layers whose outputs are probabilities if all their inputs are."""
SQUASHING = ("softmax", "sigmoid")


def output_kind(network: keras.Model) -> dict[str, bool]:
    """Return whether the network gives one number for two classes, and whether its outputs are logits."""
    return {"binary": int(network.output_shape[-1]) == 1, "logits": not gives_probabilities(network)}


def gives_probabilities(network: keras.Model) -> bool:
    """Whether a network ends in a softmax or sigmoid, behind which nothing changes its numbers.

    The graph is followed from the first output backward, into nested models. Of a network without a graph the last
    layer tells.
    """
    if not getattr(network, "outputs", None):
        return _squashes(network)
    return _comes_from(network.outputs[0])


def _comes_from(tensor: Any) -> bool:
    """Whether a symbolic tensor holds probabilities."""
    operation, number, _ = tensor._keras_history
    if isinstance(operation, keras.Model):
        return gives_probabilities(operation)
    if _squashes(operation):
        return True
    if isinstance(operation, L.InputLayer):
        return False
    before = operation._inbound_nodes[number].input_tensors
    linear = isinstance(operation, L.Activation) and operation.activation is keras.activations.linear
    if type(operation).__name__ in PASSING or linear:
        return _comes_from(before[0])
    return isinstance(operation, MERGING) and all(map(_comes_from, before))


def _squashes(operation: Any) -> bool:
    """Whether a layer or operation ends in a softmax or sigmoid; of a block of layers the last one tells."""
    if type(operation).__name__.lower() in SQUASHING:
        return True
    if hasattr(operation, "activation"):
        return getattr(operation.activation, "__name__", "") in SQUASHING
    inside = list(operation._layers) if isinstance(operation, L.Layer) else []
    return bool(inside) and _squashes(inside[-1])
