"""Walking through an ONNX graph: constants are worked out, everything else becomes a Keras layer or operation."""

from __future__ import annotations

import collections
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from analognets.conversion.from_onnx.opening import MOST_ELEMENTS, Node, OnnxFile
from analognets.conversion.from_onnx.values import PROBES, Constant, Value, channels_last, constant, fresh
from analognets.errors import AnalogNetsError, ConversionError, cut, reason

__all__ = ["OPERATORS", "Importer", "operator"]

OPERATORS: dict[str, Callable[[Importer, Node], Any]] = {}
"""What each operator becomes: function of (importer, node), which returns a value, or a list of one for each output."""

SPATIAL = (
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "BatchNormalization", "InstanceNormalization", "Resize",
    "Upsample", "DepthToSpace",
)  # fmt: skip
"""Operators whose axis 1 is that of the channels; tf2onnx writes means over any last axis as GlobalAveragePool."""
ELEMENTWISE = ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "Add", "Sub", "Mul", "Div", "Pad", "Identity", "Dropout",
               "Cast")  # fmt: skip


def operator(*kinds: str) -> Callable[[Any], Any]:
    """Return a decorator that says which operators a function imports."""

    def register(function: Any) -> Any:
        for kind in kinds:
            OPERATORS[kind] = function
        return function

    return register


class Importer:
    """One pass over an ONNX file.

    Args:
        file: that is imported.
        channels_last: whether inputs with channels first become inputs with channels last.

    Attributes:
        output_orders: for each output of the model, which axis of the file's each of its axes is.
        rounds: whether numbers that depend on an input are cast to whole ones or booleans.
    """

    def __init__(self, file: OnnxFile, channels_last: bool) -> None:
        self.file = file
        self.turn = channels_last
        self.values: dict[str, Constant | Value] = {}
        self.uses: collections.Counter[str] = collections.Counter()
        self.readers: dict[str, list[Node]] = collections.defaultdict(list)
        self.names: set[str] = set()
        self.batch: int | None = None
        self.output_orders: list[tuple[int, ...]] = []
        self.rounds = False
        for node in file.nodes:
            for name in node.inputs:
                self.uses[name] += 1
                self.readers[name].append(node)
            for name in held_names(node.proto):
                self.uses[name] += 2
        for output in file.model.graph.output:
            self.uses[output.name] += 2

    def model(self) -> keras.Model:
        """Return the Keras model.

        Raises:
            ConversionError: an operator can't be imported as it is used.
        """
        import onnx

        graph = self.file.model.graph
        for one in graph.initializer:
            self.values[one.name] = constant(as_known(onnx.numpy_helper.to_array(one)))
        inputs = [self.input(one) for one in self.file.inputs]
        if not inputs:
            raise ConversionError(f"The network in '{self.file.path}' has no input.")
        for node in self.file.nodes:
            self.place(node)
        outputs = [self.output(one.name) for one in graph.output]
        name = safe_name(self.file.path.stem)
        return keras.Model(
            inputs[0] if len(inputs) == 1 else inputs, outputs[0] if len(outputs) == 1 else outputs, name=name
        )

    def input(self, one: Any) -> Any:
        """Make an input; one with channels first gets channels last."""
        shape, order = one.shape, tuple(range(len(one.shape) + 1))
        if self.turn and len(shape) in (2, 3, 4) and self.is_spatial(one.name):
            order = channels_last(len(shape) + 1)
            shape = tuple(one.shape[axis - 1] for axis in order[1:])
        self.batch = one.batch if self.batch is None else self.batch
        tensor = keras.Input(shape, dtype=one.dtype, name=self.name(one.name))
        self.values[one.name] = Value(tensor, order)
        return tensor

    def is_spatial(self, name: str) -> bool:
        """Whether axis 1 of a tensor is that of channels: a convolution or the like takes it as it is."""
        ahead, seen = [name], {name}
        while ahead:
            for node in self.readers[ahead.pop()]:
                if node.kind in SPATIAL and node.inputs[0] in seen:
                    return True
                if node.kind in ELEMENTWISE:
                    ahead += [out for out in node.outputs if out not in seen]
                    seen.update(node.outputs)
        return False

    def output(self, name: str) -> Any:
        """Return an output; a map of features keeps channels last if the inputs were turned."""
        found = self.values.get(name)
        if found is None:
            raise ConversionError(f"Output '{cut(name, 80)}' of '{self.file.path}' comes from no operator.")
        if isinstance(found, Constant):
            raise ConversionError(f"Output '{name}' of '{self.file.path}' is a constant: it depends on no input.")
        turned = any(value.order != tuple(range(len(value.order))) for value in self.inputs())
        kept = turned and found.rank > 2 and found.order == channels_last(found.rank)
        given = found.plain() if kept else found.ordered()
        self.output_orders.append(given.order)
        return given.tensor

    @property
    def input_orders(self) -> list[tuple[int, ...]]:
        """For each input of the model, which axis of the file's each of its axes is."""
        return [value.order for value in self.inputs()]

    def inputs(self) -> Iterator[Value]:
        """Yield the inputs."""
        for one in self.file.inputs:
            found = self.values[one.name]
            if isinstance(found, Value):
                yield found

    def name(self, said: str) -> str:
        """Return a name for a layer that no other has."""
        base = safe_name(said)
        found, number = base, 1
        while found in self.names:
            found, number = f"{base}_{number}", number + 1
        self.names.add(found)
        return found

    def layer_name(self, node: Node) -> str:
        """Return a name for the layer of an operator, without the operator where the rest says enough."""
        said = node.name if node.proto.name else node.outputs[0]
        parts = [part for part in re.split(r"[/:]+", said) if part]
        if len(parts) > 1 and re.fullmatch(rf"(?i)({node.kind}|convolution|depthwise|matmul)(_\d+)?", parts[-1]):
            parts.pop()
        return self.name("_".join(parts[-2:]) or node.kind)

    def place(self, node: Node) -> None:
        """Work out what an operator gives."""
        wanted = [name for name in node.inputs if name]
        missing = next((name for name in wanted if name not in self.values), None)
        if missing is not None:
            raise node.refused(f"takes '{cut(missing, 80)}', which nothing before it gives.")
        try:
            inner = any(attribute.g.node for attribute in node.proto.attribute)
            if not inner and all(isinstance(self.values[name], Constant) for name in wanted):
                found = folded(node, [self.values[name] if name else None for name in node.inputs])
            else:
                found = OPERATORS[node.kind](self, node)
        except AnalogNetsError:
            raise
        except Exception as error:  # Keras and NumPy raise many kinds for arguments that don't fit
            raise node.refused(f"can't be imported as it is used here. Received: {reason(error)}.") from error
        found = found if isinstance(found, list) else [found]
        for name, value in zip(node.outputs, found, strict=False):
            if not name:
                continue
            if isinstance(value, Value) and value.product is not None and self.uses[name] != 1:
                value.product.final = True
            self.values[name] = value
        for name in node.outputs[len(found) :]:
            if name and self.uses[name]:
                raise node.refused(f"has an output '{cut(name, 80)}' that can't be imported.")

    def value(self, node: Node, number: int = 0) -> Value:
        """Return an input that depends on the network's; a constant becomes a Keras tensor."""
        found = self.values[node.inputs[number]]
        if isinstance(found, Value):
            return found
        array = self.array(node, number)
        if array is None:
            raise node.refused(f"lacks its input {number}.")
        return fresh(keras.ops.convert_to_tensor(array))

    def constant(self, node: Node, number: int) -> Constant | None:
        """Return an input that must be constant; None if it is left out.

        Raises:
            ConversionError: it is not.
        """
        if number >= len(node.inputs) or not node.inputs[number]:
            return None
        found = self.values[node.inputs[number]]
        if isinstance(found, Constant):
            return found
        raise node.refused(
            f"must have constants as its input {number} ('{cut(node.inputs[number], 80)}'). Received: one that depends "
            "on the network's inputs."
        )

    def array(self, node: Node, number: int) -> np.ndarray | None:
        """Return an input that must be constant and the same at any batch; None if it is left out."""
        found = self.constant(node, number)
        if found is None:
            return None
        array = found.without_batch()
        if array is None:
            raise node.refused(f"has numbers in its input {number} that depend on the size of the batch.")
        return array

    def numbers(self, node: Node, name: str, number: int) -> list[int] | None:
        """Return whole numbers that are an attribute in old opsets and an input in new ones."""
        found = node.get(name)
        if found is None:
            array = self.array(node, number)
            return None if array is None else [int(one) for one in np.ravel(array)]
        return [int(one) for one in found] if isinstance(found, (list, tuple)) else [int(found)]


def held_names(proto: Any) -> Iterator[str]:
    """Yield the names that the graphs inside of an operator take."""
    for attribute in proto.attribute:
        for one in attribute.g.node:
            yield from one.input
            yield from held_names(one)


def as_known(array: np.ndarray) -> np.ndarray:
    """Return an array in a type that NumPy and Keras share; floats of any size become float32."""
    if array.dtype.kind == "f" or "float" in array.dtype.name:
        return array.astype("float32")
    return array


def safe_name(said: str) -> str:
    """Return a name that Keras takes for a layer."""
    return cut(re.sub(r"[^A-Za-z0-9_.\-]+", "_", said).strip("_.") or "node", 120)


def folded(node: Node, inputs: list[Any]) -> Constant | list[Constant]:
    """Work out an operator of constants."""
    given = [one for one in inputs if one is not None]
    if node.kind in ("ConstantOfShape", "Expand", "Tile", "Range", "Resize", "Pad"):
        check_size(node, given)
    first = evaluated(node, [None if one is None else one.first for one in inputs])
    if all(one.fixed for one in given):
        return [constant(one) for one in first]
    second = evaluated(node, [None if one is None else one.second for one in inputs])
    return [constant(one, two) for one, two in zip(first, second, strict=True)]


def check_size(node: Node, inputs: list[Constant]) -> None:
    """Raise if a constant would be far larger than those of networks are."""
    whole = [one.second for one in inputs if one.second.dtype.kind in "iu" and one.second.size]
    size = max(math.prod(max(1, int(entry)) for entry in np.ravel(array)) for array in whole) if whole else 1
    if node.kind in ("Range", "Pad", "Resize"):
        size = max(int(np.abs(array).max()) for array in whole) if whole else 1
    size *= max((one.second.size for one in inputs), default=1) if node.kind in ("Tile", "Pad", "Resize") else 1
    if size > MOST_ELEMENTS:
        raise node.refused(f"makes a constant of more than {MOST_ELEMENTS} numbers. Received: {size}.")


def evaluated(node: Node, arrays: list[Any]) -> list[np.ndarray]:
    """Work out an operator with the reference evaluator of ONNX."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    feeds = {name: array for name, array in zip(node.inputs, arrays, strict=True) if name}
    graph = onnx.helper.make_graph(
        [node.proto],
        "one",
        [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), list(array.shape)
            )
            for name, array in feeds.items()
        ],
        [onnx.helper.make_empty_tensor_value_info(name) for name in node.outputs if name],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", node.opset)])
    return [as_known(np.asarray(one)) for one in ReferenceEvaluator(model).run(None, feeds)]


def batch_of(value: Constant, position: int) -> int:
    """Return how many times the batch an entry of a shape is; 0 without it, -1 if it is not in proportion."""
    one, two = int(np.ravel(value.first)[position]), int(np.ravel(value.second)[position])
    if one == two:
        return 0
    times, rest = divmod(two - one, PROBES[1] - PROBES[0])
    return times if rest == 0 and one == times * PROBES[0] else -1
