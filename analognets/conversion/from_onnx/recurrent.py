"""Recurrent operators: LSTM, GRU and plain ones, in one direction or both."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from analognets.conversion.from_onnx.importing import Importer, operator
from analognets.conversion.from_onnx.opening import Node
from analognets.conversion.from_onnx.values import Constant, Value

__all__ = ["BATCH_FIRST", "recurrent"]

GATES = {"LSTM": [0, 2, 3, 1], "GRU": [0, 1, 2], "RNN": [0]}
"""For each gate of Keras, which one of ONNX it is."""
USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
BATCH_FIRST = (1, 0, 2)
"""Order of a Keras tensor (batch, steps, channels) whose ONNX axes are steps, batch and channels."""


@operator("LSTM", "GRU", "RNN")
def recurrent(run: Importer, node: Node) -> list[Any]:
    """Make a recurrent layer of the operator."""
    value = run.value(node)
    check(run, node, value)
    kernel, again = run.array(node, 1), run.array(node, 2)
    if kernel is None or again is None:
        raise node.refused("lacks its weights.")
    bias = run.array(node, 3)
    both = kernel.shape[0] == 2
    units = again.shape[-1]
    weights = [weight for way in range(kernel.shape[0]) for weight in placed(node, kernel, again, bias, way)]
    wants = [bool(name) and run.uses[name] > 0 for name in [*node.outputs, "", ""][:3]]
    if both and (wants[1] or wants[2]):
        raise node.refused("runs in both directions and gives its last states, which can't be imported.")
    settings: dict[str, Any] = {
        "use_bias": bias is not None, "return_sequences": wants[0], "return_state": wants[2] or (wants[0] and wants[1]),
    }  # fmt: skip
    name = run.layer_name(node)
    backwards = node.get("direction", "forward") == "reverse"
    if backwards and wants[0]:
        raise node.refused("runs backwards and gives all its steps, which can't be imported.")
    layer = made(node, units, {**settings, "go_backwards": backwards}, None if both else name)
    layer = keras.layers.Bidirectional(layer, name=name) if both else layer
    found = layer(value.ordered(BATCH_FIRST).tensor)
    layer.set_weights(weights)
    return outputs(found, value, wants, settings["return_state"], units, both)


def check(run: Importer, node: Node, value: Value) -> None:
    """Raise for what Keras' layers can't do."""
    usual = USUAL[node.kind] * (2 if node.get("direction", "forward") == "bidirectional" else 1)
    said = [one.decode() if isinstance(one, bytes) else one for one in node.get("activations") or []]
    if said and said != usual:
        raise node.refused(f"must have the activations {', '.join(usual)}. Received: {', '.join(said)}.")
    if node.get("clip") is not None or node.get("input_forget") or node.get("layout"):
        raise node.refused("has a clip, coupled gates or the batch first, which can't be imported.")
    if len(node.inputs) > 7 and node.inputs[7]:
        raise node.refused("has peepholes, which Keras has not.")
    for number in (5, 6):
        if number < len(node.inputs) and node.inputs[number]:
            state = run.constant(node, number)
            if not isinstance(state, Constant) or np.any(state.first):
                raise node.refused("must start from a state of zeros.")
    lengths = run.constant(node, 4)
    if lengths is not None and np.any(lengths.first != value.shape[0]):
        raise node.refused("must run over the whole length of all sequences.")
    if value.shape[1] is not None:
        raise node.refused("must have the batch on the second axis of its input.")


def placed(node: Node, kernel: Any, again: Any, bias: Any, way: int) -> list[np.ndarray]:
    """Return the weights of one direction as Keras has them."""
    gates = GATES[node.kind]

    def columns(array: np.ndarray) -> np.ndarray:
        parts = np.split(array, len(gates))
        return np.concatenate([parts[gate] for gate in gates])

    found = [columns(kernel[way]).T, columns(again[way]).T]
    if bias is None:
        return found
    first, second = (columns(part) for part in np.split(bias[way], 2))
    if node.kind == "GRU" and node.get("linear_before_reset", 0):
        return [*found, np.stack([first, second])]
    return [*found, first + second]


def made(node: Node, units: int, settings: dict[str, Any], name: str | None) -> Any:
    """Return the layer of one direction."""
    settings = settings if name is None else {**settings, "name": name}
    if node.kind == "LSTM":
        return keras.layers.LSTM(units, **settings)
    if node.kind == "GRU":
        return keras.layers.GRU(units, reset_after=bool(node.get("linear_before_reset", 0)), **settings)
    return keras.layers.SimpleRNN(units, **settings)


def outputs(found: Any, value: Value, wants: list[bool], states: bool, units: int, both: bool) -> list[Any]:
    """Return the outputs of ONNX: all steps, the last one, the last cell state."""
    ways, parts = 2 if both else 1, list(found) if states else [found]
    given: list[Any] = [None, None, None]
    if wants[0]:
        steps = keras.layers.Reshape((int(value.shape[0] or 0), ways, units))(parts[0])
        given[0] = Value(steps, (2, 0, 1, 3), value.many)
    for number, part in ((1, parts[1] if states else parts[0]), (2, parts[-1])):
        if wants[number]:
            given[number] = Value(keras.layers.Reshape((1, units))(part), BATCH_FIRST, value.many)
    return given
