"""Whether the outputs of a network are probabilities or logits, told from its graph."""

from __future__ import annotations

from typing import Any

import keras

__all__ = ["gives_probabilities", "output_kind"]

L = keras.layers
PASSING = (L.Reshape, L.Flatten, L.Dropout, L.Permute, L.Identity)
"""Layers that leave numbers as they are when they infer."""
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
        inside = list(network._flatten_layers(include_self=False, recursive=False))
        return bool(inside) and _squashes(inside[-1])
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
    if isinstance(operation, PASSING) or linear or type(operation).__name__ == "Reshape":
        return _comes_from(before[0])
    return isinstance(operation, MERGING) and all(map(_comes_from, before))


def _squashes(operation: Any) -> bool:
    """Whether a layer or operation ends in a softmax or sigmoid."""
    activation = getattr(getattr(operation, "activation", None), "__name__", "")
    return activation in SQUASHING or type(operation).__name__.lower() in SQUASHING
