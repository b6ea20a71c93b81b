"""What of a Keras layer can lie on a crossbar: one kernel, several products, or nothing, and why."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras

from analognets.conversion.plan import own_variables
from analognets.crossbar import Crossbar, Tiling
from analognets.errors import ConversionError
from analognets.layers import (
    AnalogComposite,
    AnalogConv1D,
    AnalogConv2D,
    AnalogConv3D,
    AnalogDense,
    AnalogDepthwiseConv1D,
    AnalogDepthwiseConv2D,
    AnalogEinsumDense,
    AnalogGroupQueryAttention,
    AnalogGRU,
    AnalogGRUCell,
    AnalogLayer,
    AnalogLSTM,
    AnalogLSTMCell,
    AnalogMultiHeadAttention,
    AnalogSeparableConv1D,
    AnalogSeparableConv2D,
    AnalogSimpleRNN,
    AnalogSimpleRNNCell,
)
from analognets.layers.einsum import einsum_plan
from analognets.layers.recurrent import AnalogRecurrent

__all__ = ["ANALOG_CLASS", "COMPOSITE_CLASS", "Part", "convertible_kernels", "is_composite", "parts_of", "why_untiled"]

L = keras.layers

ANALOG_CLASS: dict[type, Any] = {
    L.Dense: AnalogDense,
    L.EinsumDense: AnalogEinsumDense,
    L.Conv1D: AnalogConv1D,
    L.Conv2D: AnalogConv2D,
    L.Conv3D: AnalogConv3D,
    L.DepthwiseConv1D: AnalogDepthwiseConv1D,
    L.DepthwiseConv2D: AnalogDepthwiseConv2D,
}
"""The analog version of each layer with one kernel."""
COMPOSITE_CLASS: dict[type, Any] = {
    L.SimpleRNN: AnalogSimpleRNN,
    L.LSTM: AnalogLSTM,
    L.GRU: AnalogGRU,
    L.SimpleRNNCell: AnalogSimpleRNNCell,
    L.LSTMCell: AnalogLSTMCell,
    L.GRUCell: AnalogGRUCell,
    L.MultiHeadAttention: AnalogMultiHeadAttention,
    L.GroupQueryAttention: AnalogGroupQueryAttention,
    L.SeparableConv1D: AnalogSeparableConv1D,
    L.SeparableConv2D: AnalogSeparableConv2D,
}
"""The analog version of each layer with several products."""
PROJECTIONS = {name: f"_{name}_dense" for name in ("query", "key", "value", "gate")} | {
    "attention_output": "_output_dense"
}
CELLS = (L.SimpleRNNCell, L.LSTMCell, L.GRUCell)


@dataclasses.dataclass(frozen=True)
class Part:
    """One product of a layer that has several.

    Args:
        product: its name within the layer.
        name: the name of the analog layer it becomes.
        owner: the layer that holds its variables.
        shape: (..., inputs, outputs) of the kernel as it lies on the crossbar.
        kernel: how many weights the kernel has.
        weights: how many numbers, with the bias if that is added to this product.
        counted: the layer whose multiplications are known.
        share: how many it has of each of those.
    """

    product: str
    name: str
    owner: keras.layers.Layer
    shape: tuple[int, ...]
    kernel: int
    weights: int
    counted: keras.layers.Layer
    share: float = 1.0


def is_composite(layer: Any) -> bool:
    """Whether a layer is an analog one with several products."""
    return isinstance(layer, (AnalogComposite, AnalogRecurrent))


def on_crossbar(layer: Any) -> tuple[int, ...]:
    """Shape of a Keras layer's kernel as it would lie on the crossbar.

    Raises:
        ConversionError: its einsum is no matrix product.
    """
    *positions, inputs, outputs = layer.kernel.shape
    if isinstance(layer, (L.DepthwiseConv1D, L.DepthwiseConv2D)):
        return (*positions, inputs, inputs * outputs)
    if isinstance(layer, L.EinsumDense):
        plan = einsum_plan(layer.equation, layer.input_spec.ndim)
        sizes = [int(layer.kernel.shape[axis]) for axis in plan.kernel]
        return math.prod(sizes[: plan.summed]), math.prod(sizes[plan.summed :])
    return (*positions, inputs * getattr(layer, "groups", 1), outputs)


def why_untiled(layer: Any, hardware: Crossbar) -> str | None:
    """Return why the one kernel of a layer can't be on a crossbar, or None if it can."""
    if getattr(layer, "lora_enabled", False):
        return "its kernel is changed by LoRA: merge the two first"
    if getattr(layer, "quantization_mode", None):
        return f"its kernel is quantised ({layer.quantization_mode})"
    try:
        shape = on_crossbar(layer)
    except ConversionError:
        return f"its equation '{layer.equation}' is not one matrix product per position"
    return why_too_tall(shape, hardware)


def why_too_tall(shape: tuple[int, ...], hardware: Crossbar) -> str | None:
    """Return that a kernel is too tall for a tile if it is."""
    try:
        Tiling(shape, hardware.rows, hardware.cols)
    except ConversionError:
        return f"one input channel needs more than the {hardware.rows} rows of a tile"
    return None


def parts_of(layer: Any) -> list[Part]:
    """Return the products of a built Keras layer of `COMPOSITE_CLASS`."""
    if isinstance(layer, (L.RNN, *CELLS)):
        return recurrent_parts(layer)
    if isinstance(layer, (L.SeparableConv1D, L.SeparableConv2D)):
        return separable_parts(layer)
    found = []
    for product, attribute in PROJECTIONS.items():
        child = getattr(layer, attribute, None)
        if child is not None:
            numbers = math.prod(child.kernel.shape)
            name = f"{layer.name}_{product}"
            alike = layer._query_dense if product == "attention_output" else child  # one output a query
            share = numbers / math.prod(alike.kernel.shape)
            found.append(Part(product, name, child, on_crossbar(child), numbers, child.count_params(), alike, share))
    return found


def recurrent_parts(layer: Any) -> list[Part]:
    """Return the products of a recurrent layer or cell."""
    cell = layer.cell if isinstance(layer, L.RNN) else layer
    shapes = {"input": tuple(cell.kernel.shape), "recurrent": tuple(cell.recurrent_kernel.shape)}
    if not getattr(cell, "reset_after", True):
        shapes |= {"recurrent": (cell.units, 2 * cell.units), "candidate": (cell.units, cell.units)}
    total = sum(math.prod(shape) for shape in shapes.values())
    bias = 0 if cell.bias is None else math.prod(cell.bias.shape)
    found = []
    for product, shape in shapes.items():
        numbers = math.prod(shape)
        weights = numbers + (bias if product == "input" else 0)
        found.append(Part(product, f"{layer.name}_{product}", cell, shape, numbers, weights, cell, numbers / total))
    return found


def separable_parts(layer: Any) -> list[Part]:
    """Return the products of a separable convolution."""
    *positions, channels, multiplier = layer.depthwise_kernel.shape
    shapes = {
        "depthwise": (*positions, channels, channels * multiplier),
        "pointwise": tuple(layer.pointwise_kernel.shape),
    }
    counts = {"depthwise": math.prod(layer.depthwise_kernel.shape), "pointwise": math.prod(shapes["pointwise"])}
    bias = 0 if layer.bias is None else math.prod(layer.bias.shape)
    total = sum(counts.values())
    return [
        Part(name, f"{layer.name}_{name}", layer, shape, counts[name],
             counts[name] + (bias if name == "pointwise" else 0), layer, counts[name] / total)
        for name, shape in shapes.items()
    ]  # fmt: skip


def convertible_kernels(layer: Any) -> list[keras.Variable]:
    """Return the kernels that a Keras layer holds itself and that can lie on a crossbar."""
    if type(layer) in ANALOG_CLASS:
        kernels = [layer.kernel]
    elif type(layer) in CELLS:
        kernels = [layer.kernel, layer.recurrent_kernel]
    elif type(layer) in (L.SeparableConv1D, L.SeparableConv2D):
        kernels = [layer.depthwise_kernel, layer.pointwise_kernel]
    else:
        return []
    return [kernel for kernel in kernels if isinstance(kernel, keras.Variable)]


def digital_class(layer: Any) -> Any:
    """Return the Keras class of an analog layer, or None if the layer is of no known class."""
    for digital, analog in {**ANALOG_CLASS, **COMPOSITE_CLASS}.items():
        if isinstance(layer, analog):
            return digital
    return None


def is_analog(layer: Any) -> bool:
    """Whether a layer is an analog one, of whichever kind."""
    return isinstance(layer, AnalogLayer) or is_composite(layer)


def counts_itself(layer: Any) -> bool:
    """Whether a layer has weights of its own that a report has to name."""
    return bool(own_variables(layer)) and not is_composite(layer)
