"""Operators of one number at a time, comparisons, and those that reduce an axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from analognets.conversion.from_onnx.importing import Importer, operator
from analognets.conversion.from_onnx.opening import FLOATS, Node
from analognets.conversion.from_onnx.values import Constant, Value, channels_last, fresh
from analognets.layers.with_constant import WithConstant

__all__ = ["BINARY", "REDUCTIONS", "UNARY"]

UNARY: dict[str, Callable[[Any], Any]] = {
    "Abs": ops.abs, "Ceil": ops.ceil, "Cos": ops.cos, "Erf": ops.erf, "Exp": ops.exp, "Floor": ops.floor,
    "Log": ops.log, "Neg": ops.negative, "Not": ops.logical_not, "Reciprocal": ops.reciprocal, "Round": ops.round,
    "Sign": ops.sign, "Sin": ops.sin, "Sqrt": ops.sqrt, "Softsign": ops.softsign,
}  # fmt: skip
"""What Keras computes alike."""

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": ops.add, "And": ops.logical_and, "Div": ops.divide, "Equal": ops.equal, "Greater": ops.greater,
    "GreaterOrEqual": ops.greater_equal, "Less": ops.less, "LessOrEqual": ops.less_equal, "Max": ops.maximum,
    "Min": ops.minimum, "Mod": ops.mod, "Mul": ops.multiply, "Or": ops.logical_or, "Pow": ops.power,
    "Sub": ops.subtract, "Xor": ops.logical_xor,
}  # fmt: skip

SELU = {"alpha": 1.67326, "gamma": 1.0507}
"""Its constants, which other activations don't have."""

STORED = {
    "Add": "add", "Div": "divide", "Max": "maximum", "Min": "minimum", "Mul": "multiply", "Pow": "power",
    "Sub": "subtract",
}  # fmt: skip
"""What `WithConstant` calls an operator of numbers."""


@operator(*UNARY)
def unary(run: Importer, node: Node) -> Value:
    value = run.value(node)
    return value.same(UNARY[node.kind](value.tensor))


@operator("Erfc")
def erfc(run: Importer, node: Node) -> Value:
    """An operator of TensorFlow that tf2onnx writes as it is."""
    value = run.value(node)
    return value.same(ops.subtract(1.0, ops.erf(value.tensor)))


@operator("Relu")
def relu(run: Importer, node: Node) -> Value:
    value = run.value(node)
    return value.same(keras.layers.ReLU(name=run.layer_name(node))(value.tensor))


@operator("Sigmoid", "Tanh", "Softplus", "Selu")
def activation(run: Importer, node: Node) -> Value:
    value = run.value(node)
    if any(abs(node.get(name, usual) - usual) > 1e-4 for name, usual in SELU.items()):
        raise node.refused("must have the usual alpha and gamma of SELU.")
    return value.same(keras.layers.Activation(node.kind.lower(), name=run.layer_name(node))(value.tensor))


@operator("LeakyRelu")
def leaky_relu(run: Importer, node: Node) -> Value:
    value = run.value(node)
    layer = keras.layers.LeakyReLU(negative_slope=float(node.get("alpha", 0.01)), name=run.layer_name(node))
    return value.same(layer(value.tensor))


@operator("Elu")
def elu(run: Importer, node: Node) -> Value:
    value = run.value(node)
    return value.same(keras.layers.ELU(alpha=float(node.get("alpha", 1.0)), name=run.layer_name(node))(value.tensor))


@operator("Gelu")
def gelu(run: Importer, node: Node) -> Value:
    value = run.value(node)
    return value.same(ops.gelu(value.tensor, approximate=node.get("approximate", "none") == "tanh"))


@operator("HardSigmoid")
def hard_sigmoid(run: Importer, node: Node) -> Value:
    value = run.value(node)
    slope, offset = float(node.get("alpha", 0.2)), float(node.get("beta", 0.5))
    return value.same(ops.clip(ops.add(ops.multiply(value.tensor, slope), offset), 0.0, 1.0))


@operator("HardSwish")
def hard_swish(run: Importer, node: Node) -> Value:
    value = run.value(node)
    return value.same(ops.hard_silu(value.tensor))


@operator("Swish")
def swish(run: Importer, node: Node) -> Value:
    value = run.value(node)
    return value.same(
        ops.multiply(value.tensor, ops.sigmoid(ops.multiply(value.tensor, float(node.get("alpha", 1.0)))))
    )


@operator("PRelu")
def prelu(run: Importer, node: Node) -> Value:
    value, slope = run.value(node).plain(), run.array(node, 1)
    if slope is None:
        raise node.refused("lacks its slope.")
    slope = slope.reshape((1,) * (value.rank - slope.ndim) + slope.shape).transpose(value.order)[0]
    shared = [axis for axis in range(1, value.rank) if slope.shape[axis - 1] == 1]
    layer = keras.layers.PReLU(shared_axes=shared, name=run.layer_name(node))
    tensor = layer(value.tensor)
    layer.set_weights([np.broadcast_to(slope, layer.alpha.shape)])
    return value.same(tensor)


@operator("Clip")
def clip(run: Importer, node: Node) -> Value:
    value = run.value(node)
    low, high = (node.get(name) for name in ("min", "max"))
    given = [run.array(node, number) for number in (1, 2)]
    low = low if given[0] is None else given[0].item()
    high = high if given[1] is None else given[1].item()
    if low == 0 and high is not None and math.isfinite(high) and high >= 0:
        return value.same(keras.layers.ReLU(max_value=float(high), name=run.layer_name(node))(value.tensor))
    tensor = value.tensor
    tensor = tensor if low is None else ops.maximum(tensor, low)
    return value.same(tensor if high is None else ops.minimum(tensor, high))


@operator("Cast")
def cast(run: Importer, node: Node) -> Value:
    import onnx

    value = run.value(node)
    wanted = onnx.helper.tensor_dtype_to_np_dtype(node.get("to")).name
    wanted = "float32" if wanted in FLOATS else wanted
    run.rounds |= value.dtype == "float32" and wanted != "float32"
    return value if value.dtype == wanted else value.same(ops.cast(value.tensor, wanted))


@operator("Softmax", "LogSoftmax")
def softmax(run: Importer, node: Node) -> Value:
    value = run.value(node).plain()
    axis = node.get("axis", -1 if node.opset >= 13 else 1) % value.rank
    if node.opset < 13 and any(size != 1 for size in value.shape[axis + 1 :]):
        raise node.refused(
            "of opsets below 13 takes all axes from its own on as one. Export it with opset 13 or later."
        )
    place = value.order.index(axis)
    if node.kind == "LogSoftmax":
        return value.same(ops.log_softmax(value.tensor, axis=place))
    return value.same(keras.layers.Softmax(axis=place, name=run.layer_name(node))(value.tensor))


@operator(*BINARY, "Sum", "Mean")
def binary(run: Importer, node: Node) -> Value:
    """Operators of two, and those of any number, one after the other."""
    kind = {"Sum": "Add", "Mean": "Add"}.get(node.kind, node.kind)
    if kind == "Mod" and node.get("fmod"):
        raise node.refused("takes the sign of what is divided (fmod), which can't be imported.")
    found = run.values[node.inputs[0]]
    array = None if isinstance(found, Value) else run.array(node, 0)
    for number in range(1, len(node.inputs)):
        right = run.values[node.inputs[number]]
        other = None if isinstance(right, Value) else run.array(node, number)
        if kind == "Div" and any(isinstance(one, Value) and whole(one) for one in (found, right)):
            raise node.refused("divides whole numbers, which can't be imported.")
        if isinstance(found, Value) and isinstance(right, Value):
            found = of_two(run, node, kind, found, right)
        elif isinstance(found, Value):
            found = with_constant(run, node, kind, found, needed(other), first=False)
        elif isinstance(right, Value):
            found = with_constant(run, node, kind, right, needed(array), first=True)
        else:
            array = np.asarray(BINARY[kind](needed(array), needed(other)))
    if not isinstance(found, Value):
        raise node.refused("has constants before its first other input, which can't be imported.")
    return found.same(ops.divide(found.tensor, float(len(node.inputs)))) if node.kind == "Mean" else found


def whole(value: Value) -> bool:
    """Whether a tensor holds whole numbers; a product never does."""
    return value.product is None and "int" in value.dtype


def needed(array: np.ndarray | None) -> np.ndarray:
    return np.zeros(()) if array is None else array


def same_index(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Whether two last axes have the same order."""
    return one is other or (one is not None and other is not None and np.array_equal(one, other))


def of_two(run: Importer, node: Node, kind: str, left: Value, right: Value) -> Value:
    """Return an operation of two tensors, in the order of the one with channels last if one has them."""
    lazy = left.merged or left.index is not None
    alike = left.merged == right.merged and same_index(left.index, right.index) and left.order == right.order
    if lazy and alike and left.dims == right.dims:
        return left.same(BINARY[kind](left.tensor, right.tensor))
    left, right = left.plain(), right.plain()
    if left.rank != right.rank:
        left, right = left.ordered(), right.ordered()
        many = left.many if left.rank > right.rank else right.many
        return fresh(BINARY[kind](left.tensor, right.tensor), many)
    order = right.order if left.order == tuple(range(left.rank)) else left.order
    left, right = left.ordered(order), right.ordered(order)
    if kind in ("Add", "Mul") and left.dims == right.dims and left.dims[0] is None:
        layer = keras.layers.Add if kind == "Add" else keras.layers.Multiply
        return left.same(layer(name=run.layer_name(node))([left.tensor, right.tensor]))
    return left.same(BINARY[kind](left.tensor, right.tensor))


def with_constant(run: Importer, node: Node, kind: str, value: Value, array: np.ndarray, *, first: bool) -> Value:
    """Return an operation with a constant; a scale or an offset becomes part of the product before it."""
    if array.ndim > value.rank:
        while array.ndim > value.rank and array.shape[0] == 1:
            array = array[0]
        if array.ndim > value.rank:
            raise node.refused("has a constant of more axes than the tensor it meets.")
    if array.size > 1 and not first and into_product(kind, value, array):
        return value
    if array.size == 1:
        number = array.item()
        pair = (number, value.tensor) if first else (value.tensor, number)
        return value.same(BINARY[kind](*pair))
    if (value.merged or value.index is not None) and array.size != array.shape[-1]:
        value = value.plain()
    if value.merged:
        value = value.plain() if value.product is None and value.rank != 2 else value
        placed = array.reshape((1,) * (len(value.dims) - 1) + (-1,)) if value.merged else array
    elif value.index is not None:
        placed = array.reshape(1, -1)[:, value.index] if array.shape[-1] > 1 else array.reshape(1, -1)
    else:
        placed = array.reshape((1,) * (value.rank - array.ndim) + array.shape).transpose(value.order)
    if value.dims[0] is None and placed.shape[0] not in (1, run.batch):
        raise node.refused(f"has a constant for each of {placed.shape[0]} examples, but the batch is open.")
    placed = placed[:1] if value.dims[0] is None else placed
    if kind not in STORED or array.dtype.kind != "f":
        pair = (placed, value.tensor) if first else (value.tensor, placed)
        return value.same(BINARY[kind](*pair))
    layer = WithConstant(STORED[kind], placed.shape, constant_first=first, name=run.layer_name(node))
    tensor = layer(value.tensor)
    layer.set_weights([placed])
    return value.same(tensor)


def into_product(kind: str, value: Value, array: np.ndarray) -> bool:
    """Make a scale or an offset of each output part of the product before it; whether that can be."""
    product = value.product
    if product is None or kind not in ("Add", "Sub", "Mul", "Div"):
        return False
    outputs = len(value.order) - 1  # Keras has them last
    axis = value.rank - 1 if value.merged or value.order[outputs] == len(value.order) - 1 else value.order[outputs]
    shape = (1,) * (value.rank - array.ndim) + array.shape
    if value.index is not None or shape[axis] != product.channels or array.size != product.channels:
        return False
    numbers = array.ravel()
    if kind in ("Mul", "Div"):
        product.scale(numbers if kind == "Mul" else 1.0 / numbers)
    else:
        product.add(numbers if kind == "Add" else -numbers)
    return True


@operator("Where")
def where(run: Importer, node: Node) -> Value:
    found = [run.values[name] for name in node.inputs]
    rank = max(one.rank if isinstance(one, Value) else needed(run.array(node, i)).ndim for i, one in enumerate(found))
    parts, many = [], 1
    for number, one in enumerate(found):
        if isinstance(one, Constant):
            array = needed(run.array(node, number))
            parts.append(array.item() if array.size == 1 else array)
            continue
        plain = one.ordered()
        many = plain.many if plain.rank == rank else many
        parts.append(plain.tensor)
    return fresh(ops.where(*parts), many)


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "ReduceMax": ops.max, "ReduceMean": ops.mean, "ReduceMin": ops.min, "ReduceProd": ops.prod, "ReduceSum": ops.sum,
}  # fmt: skip


@operator(*REDUCTIONS, "ReduceL2", "ReduceSumSquare")
def reduce(run: Importer, node: Node) -> Value:
    value, axes = run.value(node).plain(), run.numbers(node, "axes", 1)
    axes = [axis % value.rank for axis in axes] if axes else list(range(value.rank))
    if not axes or any(value.shape[axis] is None for axis in axes):
        raise node.refused("reduces the batch.")
    keep = bool(node.get("keepdims", 1))
    image = value.order == channels_last(value.rank) and value.rank == 4 and sorted(axes) == [2, 3]
    if node.kind == "ReduceMean" and image:
        layer = keras.layers.GlobalAveragePooling2D(keepdims=keep, name=run.layer_name(node))
        return Value(layer(value.tensor), value.order if keep else (0, 1), value.many)
    places = [value.order.index(axis) for axis in axes]
    if node.kind in REDUCTIONS:
        tensor = REDUCTIONS[node.kind](value.tensor, axis=places, keepdims=keep)
    else:
        tensor = ops.sum(ops.square(value.tensor), axis=places, keepdims=keep)
        tensor = ops.sqrt(tensor) if node.kind == "ReduceL2" else tensor
    left = [axis for axis in range(value.rank) if keep or axis not in axes]
    return Value(tensor, tuple(left.index(axis) for axis in value.order if axis in left), value.many)


@operator("ArgMax", "ArgMin")
def arg_max(run: Importer, node: Node) -> Value:
    value = run.value(node).plain()
    axis = node.get("axis", 0) % value.rank
    if value.shape[axis] is None or node.get("select_last_index"):
        raise node.refused("must take the first largest entry along an axis other than the batch.")
    function = ops.argmax if node.kind == "ArgMax" else ops.argmin
    found = function(value.ordered().tensor, axis=axis, keepdims=bool(node.get("keepdims", 1)))
    return fresh(ops.cast(found, "int64"), value.many)


@operator("CumSum")
def cumulative_sum(run: Importer, node: Node) -> Value:
    value, axis = run.value(node).plain(), run.array(node, 1)
    if axis is None or node.get("exclusive") or node.get("reverse"):
        raise node.refused("must run forwards and count its own entry.")
    place = value.order.index(int(axis.item()) % value.rank)
    return value.same(ops.cumsum(value.tensor, axis=place))
