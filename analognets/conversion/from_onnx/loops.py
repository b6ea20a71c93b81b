"""Loops that tf2onnx writes for the GRU layers of Keras, which ONNX has no operator for in its form."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from analognets.conversion.from_onnx.importing import Importer, operator
from analognets.conversion.from_onnx.opening import Node
from analognets.conversion.from_onnx.recurrent import BATCH_FIRST
from analognets.conversion.from_onnx.values import Constant, Value

__all__ = ["gru_step", "loop"]

TOLERANCE = 1e-4
"""How far a step of the loop may lie from that of a GRU, on random numbers of size 1."""


@operator("Loop")
def loop(run: Importer, node: Node) -> list[Any]:
    """A loop whose step computes what a GRU does, which is tried on random numbers, becomes a GRU."""
    body = node.get("body")
    entries = [run.values.get(name) for name in node.inputs[2:]]
    weights = {
        inner.name: array
        for inner, one in zip(body.input[2:], entries, strict=True)
        if isinstance(one, Constant) and one.fixed and (array := one.first).dtype.kind == "f" and array.ndim in (1, 2)
    }
    scanned = [one for one in body.node if one.op_type == "Gather" and isinstance(run.values.get(one.input[0]), Value)]
    states = [at for at, one in enumerate(entries) if isinstance(one, Constant) and not one.fixed]
    if len(scanned) != 1 or len(states) != 1 or len(node.outputs) != len(entries) + 1 or len(weights) not in (2, 3):
        raise refused(node)
    state = entries[states[0]]
    value = run.values[scanned[0].input[0]]
    if not isinstance(value, Value) or not isinstance(state, Constant) or np.any(state.first) or value.rank != 3:
        raise refused(node)
    units = state.first.shape[-1]
    placed = of_gru(list(weights.values()), int(value.shape[2] or 0), units)
    steps = run.array(node, 0)
    if placed is None or value.shape[1] is not None or steps is None or int(steps) != value.shape[0]:
        raise refused(node)
    check_step(node, body, scanned[0], states[0], weights, placed)
    layer = keras.layers.GRU(
        units, return_sequences=True, return_state=True, use_bias=len(placed) == 3,
        reset_after=len(placed) < 3 or placed[2].ndim == 2, name=run.layer_name(node),
    )  # fmt: skip
    all_steps, last = layer(value.ordered(BATCH_FIRST).tensor)
    layer.set_weights(placed)
    found: list[Any] = list(entries)
    found[states[0]] = Value(last, (0, 1), value.many)
    return [*found, Value(all_steps, BATCH_FIRST, value.many)]


def refused(node: Node) -> Exception:
    return node.refused(
        "is a loop that is no GRU of Keras. Export a network without loops, or build it in Python with keras.layers."
    )


def of_gru(arrays: list[np.ndarray], inputs: int, units: int) -> list[np.ndarray] | None:
    """Return kernel, recurrent kernel and bias, told apart by their shapes and by their order."""
    kernels = [one for one in arrays if one.ndim == 2 and one.shape == (inputs, 3 * units)]
    again = [one for one in arrays if one.ndim == 2 and one.shape == (units, 3 * units) and one is not kernels[0]]
    rest = [one for one in arrays if all(one is not other for other in (*kernels[:1], *again[:1]))]
    if not kernels or not again or any(one.shape not in ((3 * units,), (2, 3 * units)) for one in rest):
        return None
    return [kernels[0], again[0], *rest]


def check_step(
    node: Node, body: Any, scanned: Any, state: int, weights: dict[str, np.ndarray], placed: list[np.ndarray]
) -> None:
    """Raise unless a step of a loop gives what a step of the GRU gives."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, placed[0].shape[0])).astype("float32")
    h = rng.normal(size=(4, placed[1].shape[0])).astype("float32")
    given = onnx.helper.make_tensor_value_info
    feeds = {**weights, body.input[state + 2].name: h, scanned.output[0]: x}
    rest = [one for one in body.node if one is not scanned]
    wanted = body.output[state + 1].name
    graph = onnx.helper.make_graph(
        used(rest, wanted), "step",
        [given(name, onnx.TensorProto.FLOAT, list(array.shape)) for name, array in feeds.items()],
        [given(wanted, onnx.TensorProto.FLOAT, None)], initializer=list(body.initializer),
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", node.opset)])
    try:
        outputs: Any = ReferenceEvaluator(model).run(None, feeds)
        found = np.asarray(outputs[0])
    except Exception as error:
        raise refused(node) from error
    if found.shape != h.shape or not np.allclose(found, gru_step(x, h, placed), atol=TOLERANCE):
        raise refused(node)


def used(nodes: list[Any], wanted: str) -> list[Any]:
    """Return those nodes, in their order, that an output needs."""
    names, found = {wanted}, []
    for one in reversed(nodes):
        if names.intersection(one.output):
            names.update(one.input)
            found.append(one)
    return found[::-1]


def gru_step(x: np.ndarray, h: np.ndarray, placed: list[np.ndarray]) -> np.ndarray:
    """Return the next state of a GRU of Keras."""
    kernel, again, bias = placed[0], placed[1], placed[2] if len(placed) > 2 else np.zeros((2, placed[0].shape[1]))
    after = bias.ndim == 2
    units = h.shape[1]
    inner = x @ kernel + (bias[0] if after else bias)
    outer = h @ again + (bias[1] if after else 0.0)
    z, r = (1 / (1 + np.exp(-(inner[:, part] + outer[:, part]))) for part in (slice(units), slice(units, 2 * units)))
    late = slice(2 * units, None)
    recurrent = r * outer[:, late] if after else (r * h) @ again[:, late]
    return z * h + (1 - z) * np.tanh(inner[:, late] + recurrent)
