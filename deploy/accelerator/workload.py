"""What a model asks of an accelerator: each product as a matrix, and how many vectors pass through it."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from analognets import conversion
from analognets.conversion.calls import Calls, in_order
from analognets.conversion.plan import ALREADY
from analognets.conversion.support import check_model, is_cloneable
from analognets.crossbar import Crossbar, matrix_shape
from analognets.errors import InvalidArgumentError, UnknownNameError, check_choice
from analognets.layers import AnalogLayer

__all__ = ["LayerWork", "Workload", "layers_by_path", "width_of", "workload"]

DEPTHWISE = ("analog", "digital")
ATTENTION = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention, keras.layers.Attention)


@dataclasses.dataclass(frozen=True)
class LayerWork:
    """One product of a model, for one inference.

    Args:
        name: of the layer.
        kind: its class, such as "Conv2D".
        kernel: shape (..., inputs, outputs) of the kernel as it lies on a crossbar; depthwise and grouped ones unrolled
            densely.
        weights: real weights of the kernel; less than rows x columns if it is unrolled.
        positions: input vectors (output positions) of an inference, over all calls of a shared layer and all steps.
        fresh: numbers of a vector that the one before did not hold: what im2col has to fetch.
        inputs: numbers in the layer's input, of one call.
        outputs: numbers in its output, of one call.
        why_digital: the reason it is left digital; empty if it goes onto the crossbar.
        scales_inputs: whether its drift compensation multiplies the inputs before the DACs.
        bits: of its own converters, if it is analog, of the wider ones where DACs and ADCs differ; None: not known, or
            ideal. Not compared: the work is the same.
        path: of the product in its model, the names of its blocks joined by "/". Not compared either.

    Examples:
        >>> first = analognets.deploy.accelerator.workload(model).layers[0]
        >>> first.name, first.rows, first.cols, first.positions, first.operations
        ('hidden', 8, 16, 1, 256)
    """

    name: str
    kind: str
    kernel: tuple[int, ...]
    weights: int
    positions: int
    fresh: int
    inputs: int
    outputs: int
    why_digital: str = ""
    scales_inputs: bool = False
    bits: int | None = dataclasses.field(default=None, compare=False)
    path: str = dataclasses.field(default="", compare=False)

    @property
    def analog(self) -> bool:
        """Whether the layer goes onto the crossbar."""
        return not self.why_digital

    @property
    def rows(self) -> int:
        """Rows of the kernel's matrix."""
        return matrix_shape(self.kernel)[0]

    @property
    def cols(self) -> int:
        """Columns of the kernel's matrix."""
        return matrix_shape(self.kernel)[1]

    @property
    def operations(self) -> int:
        """Multiplications and additions of one inference: 2 x positions x real weights."""
        return 2 * self.positions * self.weights

    @property
    def digital_products(self) -> int:
        """Products of one inference that the digital part computes: all, or one for each input that it scales."""
        if not self.analog:
            return self.positions * self.weights
        return self.positions * self.fresh if self.scales_inputs else 0


@dataclasses.dataclass(frozen=True)
class Workload:
    """All products of a model.

    Args:
        model: its name.
        layers: one `LayerWork` for each product that can be analog, in order of first use.
        unmodelled: (name, class, reason, numbers) of the other layers with weights that are no per-channel scaling;
            they run on a processor beside the accelerator and are not part of any figure.
        attention: names of attention layers: their products of activations with activations are no part of any figure
            either.

    Examples:
        >>> work = analognets.deploy.accelerator.workload(model)
        >>> [layer.name for layer in work.analog], work.operations
        (['hidden', 'logits'], 384)
    """

    model: str
    layers: tuple[LayerWork, ...]
    unmodelled: tuple[tuple[str, str, str, int], ...] = ()
    attention: tuple[str, ...] = ()

    @property
    def analog(self) -> tuple[LayerWork, ...]:
        """The layers that go onto the crossbar."""
        return tuple(layer for layer in self.layers if layer.analog)

    @property
    def digital(self) -> tuple[LayerWork, ...]:
        """The products that are left to the digital side."""
        return tuple(layer for layer in self.layers if not layer.analog)

    @property
    def operations(self) -> int:
        """Multiplications and additions of one inference, digital products included."""
        return sum(layer.operations for layer in self.layers)


def workload(
    model: keras.Model, *, depthwise: str = "analog", digital: str | Sequence[str] = (), input_shape: Any = None
) -> Workload:
    """Return the products of a model and how many vectors each sees in one inference, from the plan of its conversion.

    Shared layers, time steps and nested models count as often as they are called. Where shapes do not tell how often
    that is, in classes of one's own and for sizes that the model leaves open, a copy of it runs once on zeros. A model
    that is analog already keeps digital what was left digital.

    Args:
        model: a built Keras model, plain or analog.
        depthwise: "analog" unrolls depthwise layers densely, "digital" leaves them to the digital side.
        digital: names of further layers to leave digital.
        input_shape: shape of one sample without batch, needed where the model's own has unknown sizes; a list of
            shapes for several inputs.

    Raises:
        ConversionError: the model is not built, or has no product for a crossbar.
        InvalidArgumentError: the shape of the inputs is not known.
        UnknownNameError: no product has a name given in `digital`.

    Examples:
        >>> found = workload(model)
        >>> [(layer.name, layer.weights, layer.positions) for layer in found.layers]
        [('hidden', 128, 1), ('logits', 64, 1)]
    """
    check_model(model)
    check_choice("workload", "depthwise", depthwise, DEPTHWISE)
    zeros = _zeros(model, input_shape)
    planned = conversion.plan(model)
    if not is_cloneable(model) or any(entry.shape and entry.positions is None for entry in planned.layers):
        planned = conversion.plan(model, inputs=zeros)
    products = [entry for entry in planned.layers if entry.positions]
    if not products:
        planned.check()
    names = _unique([entry.layer for entry in products])
    wanted = [digital] if isinstance(digital, str) else list(digital)
    for name in wanted:
        if name not in names:
            raise UnknownNameError("layer to leave digital", name, names)
    analog = any(entry.why == ALREADY for entry in products)
    layers = []
    hardware = layers_by_path(model)
    for name, entry in zip(names, products, strict=True):
        why = "by request" if name in wanted else ""
        if depthwise == "digital" and "Depthwise" in entry.becomes:
            why = "depthwise layers are left digital"
        if analog and entry.why != ALREADY:
            why = "digital in the model"
        work, layer = _work(name, entry, why), hardware.get(entry.path)
        if isinstance(layer, AnalogLayer):
            work = dataclasses.replace(work, scales_inputs=_scales_inputs(layer), bits=width_of(layer.crossbar))
        layers.append(work)
    attention = tuple(layer.name for layer in model._flatten_layers() if isinstance(layer, ATTENTION))
    return Workload(model.name, tuple(layers), (*_unmodelled(planned), *_adapters(model)), attention)


def width_of(crossbar: Crossbar) -> int | None:
    """Return the bits that a pass takes: those of the wider converters, which it waits for; None for ideal ADCs."""
    if crossbar.adc_bits is None:
        return None
    return max(crossbar.adc_bits, crossbar.dac_bits or 0)


def layers_by_path(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Return the layers of a model, in the order in which they run, by the paths that products have."""
    calls, found, seen = Calls(model, {}), {}, set()

    def visit(layer: keras.layers.Layer) -> None:
        for inner in in_order(layer):
            if id(inner) not in seen:
                seen.add(id(inner))
                found[calls.path(inner)] = inner
                visit(inner)

    visit(model)
    return found


def _scales_inputs(layer: AnalogLayer) -> bool:
    """Whether the drift compensation of a layer multiplies inputs before the DACs."""
    rule = layer.crossbar.drift_compensation
    return rule is not None and rule.scales_inputs


def _adapters(model: keras.Model) -> list[tuple[str, str, str, int]]:
    """Return the low-rank adapters beside analog layers, which are products on the processor."""
    return [
        (f"{layer.name}_lora", "LoRA", "a low-rank adapter, a digital product", numbers)
        for layer in model._flatten_layers()
        if isinstance(layer, AnalogLayer)
        and (numbers := sum(math.prod(one.shape) for one in layer.adapters().values()))
    ]


def _unmodelled(planned: conversion.Plan) -> tuple[tuple[str, str, str, int], ...]:
    """Return the layers with weights that are no product for a crossbar and no scaling."""
    return tuple(
        (entry.layer, entry.kind, entry.why, entry.weights)
        for entry in planned.layers
        if not entry.shape and "digital by design" not in entry.why and entry.weights
    )


def _unique(names: Sequence[str]) -> list[str]:
    """Return the names with a number behind those that came before."""
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique


def _zeros(model: keras.Model, input_shape: Any) -> Any:
    """Return one sample of zeros in the structure of the model's inputs."""
    structure = getattr(model, "_inputs_struct", None)
    if structure is None:
        structure = getattr(model, "inputs", None) or _built_for(model)
    flat = keras.tree.flatten(structure)
    shapes = [tuple(tensor.shape[1:]) for tensor in flat]
    if input_shape is not None:
        given = [tuple(shape) for shape in input_shape] if np.ndim(input_shape[0]) else [tuple(input_shape)]
        fits = len(given) == len(shapes) and all(
            len(a) == len(b) and all(y is None or x == y for x, y in zip(a, b, strict=True))
            for a, b in zip(given, shapes, strict=True)
        )
        if not fits:
            raise InvalidArgumentError(
                f"`input_shape` must fit the inputs of '{model.name}', which are {shapes} without the batch. "
                f"Received: input_shape={input_shape!r}."
            )
        shapes = given
    if any(size is None for shape in shapes for size in shape):
        raise InvalidArgumentError(
            f"The inputs of '{model.name}' have sizes that are not known, and the cost depends on them. Give "
            f"input_shape, the shape of one sample. Received: {shapes}."
        )
    arrays = [
        np.zeros((1, *shape), keras.backend.standardize_dtype(getattr(tensor, "dtype", "float32")))
        for tensor, shape in zip(flat, shapes, strict=True)
    ]
    packed = keras.tree.pack_sequence_as(structure, arrays)
    return packed[0] if isinstance(packed, list) and len(packed) == 1 else packed


def _built_for(model: keras.Model) -> Any:
    """Return what a subclassed model was built for, as one or more symbolic inputs."""
    shape = (model.get_build_config() or {}).get("input_shape")
    if shape is None:
        raise InvalidArgumentError(
            f"The input shape of '{model.name}' is not known. Call it on one batch of data first."
        )
    if isinstance(shape, dict):
        return {name: keras.KerasTensor(tuple(one)) for name, one in shape.items()}
    if isinstance(shape[0], (list, tuple)):
        return [keras.KerasTensor(tuple(one)) for one in shape]
    return keras.KerasTensor(tuple(shape))


def _work(name: str, entry: conversion.PlannedLayer, why: str) -> LayerWork:
    """Return the work of a planned product."""
    rows = matrix_shape(entry.shape)[0]
    width = entry.shape[:-2][-1:]  # the axis along which im2col moves
    return LayerWork(
        name=name,
        kind=entry.becomes.removeprefix("Analog"),
        kernel=entry.shape,
        weights=entry.size,
        positions=entry.positions or 0,
        fresh=rows * min(entry.stride, width[0]) // width[0] if width else rows,
        inputs=entry.inputs,
        outputs=entry.outputs,
        why_digital=why,
        path=entry.path,
    )
