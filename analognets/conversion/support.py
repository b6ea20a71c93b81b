"""What of a Keras layer can lie on a crossbar: one kernel, several products, or nothing, and why."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras

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

__all__ = [
    "ANALOG_CLASS",
    "ATTENTION",
    "CELLS",
    "COMPOSITE_CLASS",
    "Product",
    "check_model",
    "convertible_kernels",
    "counts_itself",
    "digital_class",
    "is_analog",
    "is_cloneable",
    "is_composite",
    "is_product",
    "last_stride",
    "name_inside",
    "on_crossbar",
    "own_variables",
    "products_of",
    "reason_digital",
    "why_too_tall",
    "why_unsupported",
]

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
ATTENTION = (L.MultiHeadAttention, L.GroupQueryAttention)
SEPARABLE: dict[type, tuple[Any, Any]] = {
    L.SeparableConv1D: (AnalogDepthwiseConv1D, AnalogConv1D),
    L.SeparableConv2D: (AnalogDepthwiseConv2D, AnalogConv2D),
}
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
NO_ANALOG: dict[type, str] = dict.fromkeys((L.Conv1DTranspose, L.Conv2DTranspose, L.Conv3DTranspose), TRANSPOSED)


@dataclasses.dataclass(frozen=True)
class Product:
    """One product of a layer that has several.

    Args:
        name: its name within the layer.
        becomes: the class of the analog layer it becomes.
        owner: the layer that holds its variables.
        shape: (..., inputs, outputs) of the kernel as it lies on the crossbar.
        kernel: how many weights the kernel has.
        weights: how many numbers, with the bias if that is added to this product.
        counted: the layer whose multiplications are known.
        share: how many it has of each of those.
        stride: step of the kernel along the last spatial axis, see `last_stride`.
    """

    name: str
    becomes: Any
    owner: keras.layers.Layer
    shape: tuple[int, ...]
    kernel: int
    weights: int
    counted: keras.layers.Layer
    share: float = 1.0
    stride: int = 1


def own_variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Return the variables a layer holds itself, not those of its inner layers."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def reason_digital(layer: keras.layers.Layer) -> str | None:
    """Return why a layer of this class has no analog version, or None if this table does not name it."""
    for kind, why in {**DIGITAL_BY_DESIGN, **NO_ANALOG}.items():
        if isinstance(layer, kind):
            return why
    return None


def is_product(layer: keras.layers.Layer) -> bool:
    """Whether a layer multiplies its inputs by a matrix of weights, as far as its class and variables tell."""
    if isinstance(layer, (*DIGITAL_BY_DESIGN, AnalogComposite)):  # the products of a composite are layers inside of it
        return False
    return any(len(variable.shape) >= 2 for variable in own_variables(layer))


def check_model(model: Any) -> None:
    """Raise a ConversionError if `model` is not a built Keras model."""
    if not isinstance(model, keras.Model):
        raise ConversionError(f"What is converted must be a Keras model. Received: {model!r}.")
    if not model.built:
        raise ConversionError(
            f"Model '{model.name}' is not built yet, so its weights have no shape. Call it once on data, or give it an "
            "Input."
        )


def is_cloneable(model: keras.layers.Layer) -> bool:
    """Whether Keras can make the model again from its graph: Sequential and functional models."""
    return isinstance(model, keras.Sequential) or hasattr(type(model), "operations")


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


def name_inside(layer: keras.layers.Layer, owner: keras.layers.Layer | None) -> str:
    """Return the name of the analog version of a layer that a block makes when it is built: unlike in other blocks."""
    if owner is None or layer.name.startswith(f"{owner.name}_"):
        return layer.name
    return f"{owner.name}_{layer.name}"


def why_unsupported(layer: Any) -> str | None:
    """Return why the one kernel of a layer can lie on no crossbar, or None if it can."""
    if getattr(layer, "lora_enabled", False):
        return "its kernel is changed by LoRA: merge the two first"
    if getattr(layer, "quantization_mode", None):
        return f"its kernel is quantised ({layer.quantization_mode})"
    try:
        on_crossbar(layer)
    except ConversionError:
        return f"its equation '{layer.equation}' is not one matrix product per position"
    return None


def why_too_tall(shape: tuple[int, ...], hardware: Crossbar) -> str | None:
    """Return that a kernel is too tall for a tile if it is."""
    try:
        Tiling(shape, hardware.rows, hardware.cols)
    except ConversionError:
        return f"one input channel needs more than the {hardware.rows} rows of a tile"
    return None


def products_of(layer: Any) -> list[Product]:
    """Return the products of a built Keras layer of `COMPOSITE_CLASS`."""
    if isinstance(layer, (L.RNN, *CELLS)):
        return recurrent_products(layer)
    if isinstance(layer, tuple(SEPARABLE)):
        return separable_products(layer)
    found = []
    for name, attribute in PROJECTIONS.items():
        child = getattr(layer, attribute, None)
        if child is not None:
            numbers = math.prod(child.kernel.shape)
            alike = layer._query_dense if name == "attention_output" else child  # one output a query
            share = numbers / math.prod(alike.kernel.shape)
            shape, weights = on_crossbar(child), child.count_params()
            found.append(Product(name, AnalogEinsumDense, child, shape, numbers, weights, alike, share))
    return found


def recurrent_products(layer: Any) -> list[Product]:
    """Return the products of a recurrent layer or cell."""
    cell = layer.cell if isinstance(layer, L.RNN) else layer
    shapes = {"input": tuple(cell.kernel.shape), "recurrent": tuple(cell.recurrent_kernel.shape)}
    if not getattr(cell, "reset_after", True):
        shapes |= {"recurrent": (cell.units, 2 * cell.units), "candidate": (cell.units, cell.units)}
    total = sum(math.prod(shape) for shape in shapes.values())
    bias = 0 if cell.bias is None else math.prod(cell.bias.shape)
    found = []
    for name, shape in shapes.items():
        numbers = math.prod(shape)
        weights = numbers + (bias if name == "input" else 0)
        found.append(Product(name, AnalogDense, cell, shape, numbers, weights, layer, numbers / total))
    return found


def last_stride(layer: Any) -> int:
    """Return by how many of its taps a kernel moves along the last spatial axis; 1 if it has none.

    A dilated kernel whose step is no multiple of its dilation meets none of its taps' inputs again: it moves by all.
    """
    strides = getattr(layer, "strides", None)
    if not strides:
        return 1
    dilation = getattr(layer, "dilation_rate", None) or (1,)
    taps, rest = divmod(int(strides[-1]), int(dilation[-1]))
    return int(layer.kernel_size[-1]) if rest else taps


def separable_products(layer: Any) -> list[Product]:
    """Return the products of a separable convolution."""
    *positions, channels, multiplier = layer.depthwise_kernel.shape
    depthwise, pointwise = SEPARABLE[type(layer)]
    kernels = [math.prod(layer.depthwise_kernel.shape), math.prod(layer.pointwise_kernel.shape)]
    bias = 0 if layer.bias is None else math.prod(layer.bias.shape)
    shapes = [(*positions, channels, channels * multiplier), tuple(layer.pointwise_kernel.shape)]
    shares = [kernel / sum(kernels) for kernel in kernels]
    return [
        Product("depthwise", depthwise, layer, shapes[0], kernels[0], kernels[0], layer, shares[0], last_stride(layer)),
        Product("pointwise", pointwise, layer, shapes[1], kernels[1], kernels[1] + bias, layer, shares[1]),
    ]


def convertible_kernels(layer: Any) -> list[keras.Variable]:
    """Return the kernels that a Keras layer holds itself and that can lie on a crossbar.

    Examples:
        >>> [tuple(kernel.shape) for kernel in convertible_kernels(model.get_layer("hidden"))]
        [(8, 16)]
    """
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
