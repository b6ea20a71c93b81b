"""Where the layers of a model stand, with which shapes each is called, and how much one inference multiplies there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import keras

from analognets.conversion.support import CELLS, own_variables
from analognets.layers import AnalogLayer
from analognets.layers.recurrent import AnalogRecurrent

__all__ = ["Call", "Calls", "in_order"]

L = keras.layers

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

Shape = tuple[int | None, ...]


class Call(NamedTuple):
    """One call of a layer in an inference.

    Args:
        shape: of the first input, batch first.
        times: how often it is made, for example once a time step.
        folded: how many samples of an inference it holds, for example the time steps folded into the batch.
    """

    shape: Shape
    times: int = 1
    folded: int = 1


class Calls:
    """Paths, owners and calls of all layers of a built model, from shapes alone: nothing is run.

    Args:
        model: the model.
        watched: the calls of layers by their id, where they are known from a run.
    """

    def __init__(self, model: keras.Model, watched: Mapping[int, list[Call]]) -> None:
        self.paths: dict[int, str] = {}
        self.owners: dict[int, keras.layers.Layer] = {}
        self._calls: dict[int, list[Call] | None] = {}
        self._visit_inside(model, "", 1, 1)
        self._calls.update(watched)

    def path(self, layer: keras.layers.Layer) -> str:
        """Return the names of the blocks around a layer and its own, joined by "/"."""
        return self.paths.get(id(layer), layer.name)

    def of(self, layer: keras.layers.Layer) -> list[Call]:
        """Return the calls of a layer; none if shapes do not tell, or if it is never called."""
        return self._calls.get(id(layer)) or []

    def macs(self, layer: keras.layers.Layer) -> int | None:
        """Return a layer's multiplications for one sample over all its calls, or None if shapes do not tell."""
        calls = self.of(layer)
        counts = [multiplications(layer, call.shape) for call in calls]
        known = [
            count * call.times * call.folded for count, call in zip(counts, calls, strict=True) if count is not None
        ]
        return sum(known) if known and len(known) == len(calls) else None

    def largest(
        self, layer: keras.layers.Layer, shape: tuple[int, ...], kernel: int, *, share: float = 1.0, name: str = ""
    ) -> tuple[int, int]:
        """Return how many numbers go into, and come out of, the largest call of a product whose `macs` are known.

        Args:
            layer: the layer whose calls are known.
            shape: (..., inputs, outputs) of the product's kernel as it lies on the crossbar.
            kernel: how many weights the kernel has.
            share: the product's share of the layer's multiplications.
            name: of the product, in a layer with several.
        """
        inputs, outputs = [0], [0]
        for call in self.of(layer):
            vectors = round((multiplications(layer, call.shape) or 0) * share) // kernel * call.folded
            if isinstance(layer, L.RNN) and name != "input":
                vectors = call.folded  # one step at a time
            window = isinstance(layer, CONVOLUTIONS) and name != "pointwise"
            numbers = math.prod(size or 1 for size in call.shape[1:]) * call.folded
            inputs.append(numbers if window else vectors * shape[-2])
            outputs.append(vectors * shape[-1])
        return max(inputs), max(outputs)

    def _visit(self, layer: keras.layers.Layer, path: str, times: int | None, folded: int, shapes: list[Shape]) -> None:
        """Enter a layer called with inputs of these shapes in a block that itself runs `times` times."""
        self.paths.setdefault(id(layer), path)
        known = self._calls.get(id(layer), [])
        made = None if times is None or not shapes else [Call(shape, times, folded) for shape in shapes]
        self._calls[id(layer)] = None if known is None or made is None else [*known, *made]
        runs = [runs_inside(layer, shape) for shape in shapes]
        if times is not None and folds_time(layer) and len(set(runs)) == 1 and runs[0] is not None:
            self._visit_inside(layer, f"{path}/", times * len(runs), folded * runs[0])
        else:
            inside = [run for run in runs if run is not None]
            whole = times is not None and inside and len(inside) == len(runs)
            self._visit_inside(layer, f"{path}/", times * sum(inside) if whole and times is not None else None, folded)
        if isinstance(layer, AnalogRecurrent):
            self._visit_products(layer)

    def _visit_products(self, layer: Any) -> None:
        """Enter the products of an analog recurrent layer: that of the inputs has all steps at once."""
        calls = self._calls[id(layer)]
        steps = [call.shape[1] for call in calls or []]
        for name, product in layer.products.items():
            if calls is None or name == "input":
                self._calls[id(product)] = calls
                continue
            later = [
                Call((None, layer.cell.units), call.times * step, call.folded)
                for call, step in zip(calls, steps, strict=True)
                if step is not None
            ]
            self._calls[id(product)] = later if len(later) == len(calls) else None

    def _visit_inside(self, layer: keras.layers.Layer, prefix: str, times: int | None, folded: int) -> None:
        calls = graph_calls(layer)
        for inner in layer._layers:
            if not isinstance(inner, L.InputLayer):
                self.owners.setdefault(id(inner), layer)
                shapes = calls.get(id(inner)) or built_shapes(inner)
                self._visit(inner, f"{prefix}{inner.name}", times, folded, shapes)


def in_order(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """Yield the layers inside a layer, those of a graph in the order in which they run."""
    for node in graph_nodes(layer):
        if isinstance(node.operation, keras.layers.Layer):
            yield node.operation
    yield from layer._layers


def runs_inside(layer: keras.layers.Layer, shape: Shape) -> int | None:
    """Return how often a block runs what is inside of it in one call: its time steps, once, or None if not known."""
    if isinstance(layer, (L.TimeDistributed, L.RNN)):
        return shape[1] if len(shape) > 1 else None
    if isinstance(layer, keras.Model) and built_shapes(layer) not in ([], [shape]):
        return None
    own_graph = isinstance(layer, keras.Sequential) or hasattr(layer, "_nodes_by_depth")
    known = type(layer).__module__.startswith(("keras.", "analognets.layers."))
    return 1 if own_graph or known else None


def folds_time(layer: keras.layers.Layer) -> bool:
    """Whether the analog version of a layer folds time into the batch; batch normalisation goes by step."""
    inside = layer._flatten_layers() if isinstance(layer, L.TimeDistributed) else []
    return bool(inside) and not any(isinstance(inner, L.BatchNormalization) for inner in inside)


def built_shapes(layer: keras.layers.Layer) -> list[Shape]:
    """Return the shape of the first input a layer was built for, as a list of one, or none if that is not known."""
    shapes = list((layer._build_shapes_dict or {}).values())
    shape = shapes[0] if shapes else None
    if not isinstance(shape, (list, tuple)) or not all(size is None or isinstance(size, int) for size in shape):
        return []
    return [tuple(shape)]


def graph_nodes(model: keras.layers.Layer) -> Iterator[Any]:
    """Yield the calls in a functional model's graph in the order in which they run."""
    by_depth = getattr(model, "_nodes_by_depth", {})
    for depth in sorted(by_depth, reverse=True):
        yield from by_depth[depth]


def graph_calls(model: keras.layers.Layer) -> dict[int, list[Shape]]:
    """Return for each layer of a functional model's graph the shapes it is called with, one for each call."""
    calls: dict[int, list[Shape]] = {}
    for node in graph_nodes(model):
        if isinstance(node.operation, keras.layers.Layer) and node.input_tensors:
            calls.setdefault(id(node.operation), []).append(tuple(node.input_tensors[0].shape))
    return calls


def multiplications(layer: keras.layers.Layer, shape: Shape) -> int | None:
    """Return the multiplications of one call of a layer with one sample of this shape, or None if not known."""
    own = [layer.kernel_variable] if isinstance(layer, AnalogLayer) else own_variables(layer)
    kernels = [variable for variable in own if len(variable.shape) >= 2]
    weights = sum(math.prod(kernel.shape) for kernel in kernels)
    positions: Any
    if isinstance(layer, (L.RNN, *CELLS)):
        cell = layer.cell if isinstance(layer, L.RNN) else layer
        if type(cell) not in CELLS or not cell.built:
            return None
        positions = shape[1:2] if isinstance(layer, L.RNN) else ()
        weights = math.prod(cell.kernel.shape) + math.prod(cell.recurrent_kernel.shape)  # the bias may have two axes
    elif not kernels:
        return None
    elif isinstance(layer, L.Dense):
        positions, weights = shape[1:-1], math.prod(kernels[0].shape)
    elif isinstance(layer, L.EinsumDense):
        left, right = (side.replace("...", "") for side in layer.equation.split("->")[0].split(","))
        shared = [size for letter, size in zip(right, kernels[0].shape, strict=True) if letter in left]
        if None in shape[1:]:
            return None
        return math.prod(size or 1 for size in shape[1:]) * math.prod(kernels[0].shape) // math.prod(shared)
    elif isinstance(layer, CONVOLUTIONS):
        positions = spatial(layer, layer.compute_output_shape(shape))
    elif isinstance(layer, TRANSPOSED_CONVOLUTIONS):
        positions = spatial(layer, shape)
    else:
        return None
    return None if None in positions else math.prod(positions) * weights


def spatial(layer: Any, shape: Any) -> tuple[int | None, ...]:
    """Return the sizes of the spatial axes."""
    return tuple(shape[2:] if layer.data_format == "channels_first" else shape[1:-1])
