"""What a model asks of an accelerator: each product as a matrix, and how many vectors pass through it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from analognets import devices
from analognets.conversion import to_analog
from analognets.conversion.apply import check_model
from analognets.crossbar import Crossbar, matrix_shape
from analognets.errors import ConversionError, InvalidArgumentError, UnknownNameError, check_choice
from analognets.layers import AnalogLayer

__all__ = ["LayerWork", "Workload", "workload"]

DEPTHWISE = ("analog", "digital")
ATTENTION = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention, keras.layers.Attention)
# No layer is too tall for it, so that all products can be watched, those an accelerator leaves digital included.
ENDLESS = Crossbar(
    rows=1 << 20, cols=1 << 20, device=devices.get("ideal"), dac_bits=None, adc_bits=None, name="watched"
)


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
    """Return the products of a model and how many vectors each sees in one inference.

    The model runs once on zeros, so shared layers, time steps, nested and subclassed models count as often as they are
    called. A model that is analog already keeps digital what was left digital.

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
    """
    check_model(model)
    check_choice("workload", "depthwise", depthwise, DEPTHWISE)
    given = {id(layer) for layer in model._flatten_layers() if isinstance(layer, AnalogLayer)}
    left = _plain_products(model) if given else {}
    try:
        watched = to_analog(model, ENDLESS)
    except ConversionError:
        if not given:
            raise
        watched = model  # every product is analog already
    calls = _watch(watched, input_shape)
    names = _unique([layer.name for layer, _ in calls.values()])
    wanted = [digital] if isinstance(digital, str) else list(digital)
    for name in wanted:
        if name not in names:
            raise UnknownNameError("layer to leave digital", name, names)
    layers = []
    for name, (layer, shapes) in zip(names, calls.values(), strict=True):
        why = "by request" if name in wanted else ""
        if depthwise == "digital" and _is_depthwise(layer):
            why = "depthwise layers are left digital"
        if layer.name in left:
            why = "digital in the model"
        layers.append(_work(name, layer, shapes, why))
    attention = tuple(layer.name for layer in watched._flatten_layers() if isinstance(layer, ATTENTION))
    return Workload(model.name, tuple(layers), _unmodelled(watched), attention)


def _plain_products(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Return by name the layers of an analog model that could be analog and are not."""
    try:
        converted = to_analog(model, ENDLESS).conversion_report.converted
    except ConversionError:
        return {}
    return {record.layer: record for record in converted}


def _is_depthwise(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D))


def _unmodelled(watched: keras.Model) -> tuple[tuple[str, str, str, int], ...]:
    report = getattr(watched, "conversion_report", None)
    if report is None:
        return ()
    return tuple(
        (record.layer, record.kind, record.why, record.weights)
        for record in report.left
        if "digital by design" not in record.why and record.why != "already analog" and record.weights
    )


def _unique(names: Sequence[str]) -> list[str]:
    """Return the names with a number behind those that came before."""
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique


Calls = dict[int, tuple[AnalogLayer, list[tuple[tuple[int, ...], tuple[int, ...]]]]]


def _watch(model: keras.Model, input_shape: Any) -> Calls:
    """Run the model on zeros; returns each analog layer with the (input, output) shapes of its calls, batch first."""
    calls: Calls = {}

    def observer(layer: AnalogLayer, inputs: Any) -> Any:
        shape = tuple(int(size) for size in inputs.shape)
        outputs = tuple(int(size) for size in layer.product_shape(shape))
        calls.setdefault(id(layer), (layer, []))[1].append((shape, outputs))
        return ops.zeros(outputs, dtype=layer.compute_dtype)

    inputs = _zeros(model, input_shape)
    with _observed([layer for layer in model._flatten_layers() if isinstance(layer, AnalogLayer)], observer):
        model(inputs, training=False)
    return calls


@contextlib.contextmanager
def _observed(layers: Sequence[AnalogLayer], observer: Callable[[AnalogLayer, Any], Any]) -> Iterator[None]:
    before = [layer._observer for layer in layers]
    for layer in layers:
        layer._observer = observer
    try:
        yield
    finally:
        for layer, previous in zip(layers, before, strict=True):
            layer._observer = previous


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


def _work(name: str, layer: AnalogLayer, calls: list[tuple[tuple[int, ...], tuple[int, ...]]], why: str) -> LayerWork:
    axis = layer.channel_axis
    kernel = tuple(int(size) for size in layer.crossbar_shape())
    positions = sum(math.prod(outputs) // outputs[axis] for _, outputs in calls)
    rows = matrix_shape(kernel)[0]
    step = list(getattr(layer, "strides", ()))[-1:]
    width = kernel[:-2][-1:]  # the axis along which im2col moves
    fresh = rows * min(step[0], width[0]) // width[0] if step and width else rows
    return LayerWork(
        name=name,
        kind=type(layer).__name__.removeprefix("Analog"),
        kernel=kernel,
        weights=math.prod(layer.kernel_variable.shape),
        positions=positions,
        fresh=fresh,
        inputs=max(math.prod(inputs) for inputs, _ in calls),
        outputs=max(math.prod(outputs) for _, outputs in calls),
        why_digital=why,
    )
