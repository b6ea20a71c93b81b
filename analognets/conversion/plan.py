"""Reading a model before its conversion: paths of its layers, which of them are products, and how many they do."""

from __future__ import annotations

import math
from typing import Any

import keras

from analognets.layers import AnalogComposite

__all__ = ["Survey", "is_product", "reason_digital"]

L = keras.layers

DIGITAL_BY_DESIGN: dict[type, str] = {
    L.BatchNormalization: "a scale and shift per channel, digital by design",
    L.LayerNormalization: "normalisation, digital by design",
    L.GroupNormalization: "normalisation, digital by design",
    L.RMSNormalization: "normalisation, digital by design",
    L.UnitNormalization: "normalisation, digital by design",
    L.Normalization: "a scale and shift per feature, digital by design",
    L.Embedding: "a table look-up, not a product",
    L.PReLU: "an activation, digital by design",
}
TRANSPOSED = "a transposed convolution, which has no analog version"
NO_ANALOG: dict[type, str] = {
    L.Conv1DTranspose: TRANSPOSED,
    L.Conv2DTranspose: TRANSPOSED,
    L.Conv3DTranspose: TRANSPOSED,
}
CONVOLUTIONS = (
    L.Conv1D,
    L.Conv2D,
    L.Conv3D,
    L.DepthwiseConv1D,
    L.DepthwiseConv2D,
    L.SeparableConv1D,
    L.SeparableConv2D,
)
TRANSPOSED_CONVOLUTIONS = (L.Conv1DTranspose, L.Conv2DTranspose, L.Conv3DTranspose)
RECURRENT_CELLS = (L.LSTMCell, L.GRUCell, L.SimpleRNNCell)


def reason_digital(layer: keras.layers.Layer) -> str | None:
    """Return why a layer of this class has no analog version, or None if this table does not name it."""
    for kind, why in {**DIGITAL_BY_DESIGN, **NO_ANALOG}.items():
        if isinstance(layer, kind):
            return why
    return None


def own_variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Return the variables a layer holds itself, not those of its inner layers."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def is_product(layer: keras.layers.Layer) -> bool:
    """Whether a layer multiplies its inputs by a matrix of weights, as far as its class and variables tell."""
    if isinstance(layer, (*DIGITAL_BY_DESIGN, AnalogComposite)):  # the products of a composite are layers inside of it
        return False
    return any(len(variable.shape) >= 2 for variable in own_variables(layer))


Shape = tuple[int | None, ...]


class Survey:
    """Paths and multiplications of all layers of a built model.

    Args:
        model: the model.
    """

    def __init__(self, model: keras.Model) -> None:
        self.paths: dict[int, str] = {}
        self.owners: dict[int, keras.layers.Layer] = {}
        self._macs: dict[int, int | None] = {}
        self._visit_inside(model, "", 1)

    def path(self, layer: keras.layers.Layer) -> str:
        """Return the names of the blocks around a layer and its own, joined by "/"."""
        return self.paths.get(id(layer), layer.name)

    def macs(self, layer: keras.layers.Layer) -> int | None:
        """Return a layer's multiplications for one sample over all its calls, or None if shapes do not tell."""
        return self._macs.get(id(layer))

    def _visit(self, layer: keras.layers.Layer, path: str, times: int | None, shapes: list[Shape]) -> None:
        """Enter a layer called with inputs of these shapes in a block that itself runs `times` times."""
        self.paths.setdefault(id(layer), path)
        if is_product(layer):
            total = summed([multiplications(layer, shape) for shape in shapes], times)
            before = self._macs.get(id(layer), 0)
            self._macs[id(layer)] = None if total is None or before is None else before + total
        self._visit_inside(layer, f"{path}/", summed([runs(layer, shape) for shape in shapes], times))

    def _visit_inside(self, layer: keras.layers.Layer, prefix: str, times: int | None) -> None:
        calls = graph_calls(layer)
        for inner in layer._layers:
            if not isinstance(inner, L.InputLayer):
                self.owners.setdefault(id(inner), layer)
                self._visit(inner, f"{prefix}{inner.name}", times, calls.get(id(inner)) or built_shapes(inner))


def summed(counts: list[int | None], times: int | None) -> int | None:
    """Return times * sum of counts, or None if one of them is not known or there are none."""
    known = [count for count in counts if count is not None]
    return None if times is None or not known or len(known) < len(counts) else times * sum(known)


def runs(layer: keras.layers.Layer, shape: Shape) -> int | None:
    """Return how often a block runs what is inside of it in one call: its time steps, once, or None if not known."""
    if isinstance(layer, (L.TimeDistributed, L.RNN)):
        return shape[1] if len(shape) > 1 else None
    if isinstance(layer, keras.Model) and built_shapes(layer) not in ([], [shape]):
        return None
    own_graph = isinstance(layer, keras.Sequential) or hasattr(layer, "_nodes_by_depth")
    return 1 if own_graph or type(layer).__module__.split(".")[0] == "keras" else None


def built_shapes(layer: keras.layers.Layer) -> list[Shape]:
    """Return the shape of the first input a layer was built for, as a list of one, or none if that is not known."""
    shapes = list((layer._build_shapes_dict or {}).values())
    shape = shapes[0] if shapes else None
    if not isinstance(shape, (list, tuple)) or not all(size is None or isinstance(size, int) for size in shape):
        return []
    return [tuple(shape)]


def graph_calls(model: keras.layers.Layer) -> dict[int, list[Shape]]:
    """Return for each layer of a functional model's graph the shapes it is called with, one for each call."""
    calls: dict[int, list[Shape]] = {}
    for nodes in getattr(model, "_nodes_by_depth", {}).values():
        for node in nodes:
            if isinstance(node.operation, keras.layers.Layer) and node.input_tensors:
                calls.setdefault(id(node.operation), []).append(tuple(node.input_tensors[0].shape))
    return calls


def multiplications(layer: keras.layers.Layer, shape: Shape) -> int | None:
    """Return the multiplications of one call of a layer with one sample of this shape, or None if not known."""
    kernels = [variable for variable in own_variables(layer) if len(variable.shape) >= 2]
    weights = sum(math.prod(kernel.shape) for kernel in kernels)
    positions: Any
    if isinstance(layer, L.Dense):
        positions, weights = shape[1:-1], math.prod(kernels[0].shape)
    elif isinstance(layer, L.EinsumDense):
        left, right = (part.replace("...", "") for part in layer.equation.split("->")[0].split(","))
        shared = [size for letter, size in zip(right, kernels[0].shape, strict=True) if letter in left]
        if None in shape[1:]:
            return None
        return math.prod(size or 1 for size in shape[1:]) * math.prod(kernels[0].shape) // math.prod(shared)
    elif isinstance(layer, CONVOLUTIONS):
        positions = spatial(layer, layer.compute_output_shape(shape))
    elif isinstance(layer, TRANSPOSED_CONVOLUTIONS):
        positions = spatial(layer, shape)
    elif isinstance(layer, RECURRENT_CELLS):  # the bias of a GRUCell has two axes too
        positions, weights = (), math.prod(layer.kernel.shape) + math.prod(layer.recurrent_kernel.shape)
    else:
        return None
    return None if None in positions else math.prod(positions) * weights


def spatial(layer: Any, shape: Any) -> tuple[int | None, ...]:
    """Return the sizes of the spatial axes."""
    return tuple(shape[2:] if layer.data_format == "channels_first" else shape[1:-1])
