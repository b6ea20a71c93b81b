"""Make a Keras model analog, or digital again, and say what was changed, what was left, and why."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np

from analognets import crossbar as crossbars
from analognets.crossbar import Tiling, matrix_shape
from analognets.errors import ConversionError, UnknownNameError
from analognets.layers import (
    ADCGain,
    AnalogConv1D,
    AnalogConv2D,
    AnalogDense,
    AnalogDepthwiseConv2D,
    AnalogLayer,
    WeightClip,
)

__all__ = ["ConversionReport", "LayerConversion", "to_analog", "to_digital"]

ANALOG_CLASS: dict[type, Any] = {
    keras.layers.Dense: AnalogDense,
    keras.layers.Conv1D: AnalogConv1D,
    keras.layers.Conv2D: AnalogConv2D,
    keras.layers.DepthwiseConv2D: AnalogDepthwiseConv2D,
}
DIGITAL_CLASS: dict[type, Any] = {analog: digital for digital, analog in ANALOG_CLASS.items()}
ANALOG_SETTINGS = ("crossbar", "weight_noise", "adc_gain", "calibrated", "seed")
DIGITAL_BY_DESIGN = {
    keras.layers.BatchNormalization: "a scale and shift per channel, digital by design",
    keras.layers.LayerNormalization: "normalisation, digital by design",
    keras.layers.GroupNormalization: "normalisation, digital by design",
    keras.layers.Normalization: "a scale and shift per feature, digital by design",
    keras.layers.Embedding: "a table look-up, not a product",
    keras.layers.PReLU: "an activation, digital by design",
}


@dataclasses.dataclass(frozen=True)
class LayerConversion:
    """What happened to one layer that has weights."""

    layer: str
    kind: str
    converted: bool
    why: str
    weights: int
    rows: int = 0
    cols: int = 0
    tiles: int = 0


@dataclasses.dataclass(frozen=True)
class ConversionReport:
    """Which layers were converted, which were left, and why.

    Args:
        layers: one `LayerConversion` for each layer with weights.
        hardware: name of the hardware, or "digital".
    """

    layers: tuple[LayerConversion, ...]
    hardware: str

    @property
    def converted(self) -> tuple[LayerConversion, ...]:
        """The converted layers."""
        return tuple(layer for layer in self.layers if layer.converted)

    @property
    def left(self) -> tuple[LayerConversion, ...]:
        """The layers with weights that were left as they are."""
        return tuple(layer for layer in self.layers if not layer.converted)

    def __str__(self) -> str:
        lines = [f"{len(self.converted)} of {len(self.layers)} layers with weights converted ({self.hardware})"]
        for layer in self.layers:
            size = f"{layer.rows} x {layer.cols} cells, tiles: {layer.tiles}" if layer.tiles else layer.why
            lines.append(f"  {'converted' if layer.converted else 'left':9} {layer.layer} ({layer.kind}): {size}")
        return "\n".join(lines)


class _Rebuild:
    """One pass over a model: makes each layer's replacement and remembers the pairs to copy weights between."""

    def __init__(self, replace: Callable[[keras.layers.Layer], keras.layers.Layer | None]) -> None:
        self.replace = replace
        self.pairs: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []
        self.done: dict[int, keras.layers.Layer] = {}
        self.inside: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []

    def layer(self, layer: Any) -> Any:
        if id(layer) in self.done:
            return self.done[id(layer)]
        if not isinstance(layer, keras.layers.Layer):
            return type(layer).from_config(layer.get_config())  # an operation such as the + of two tensors
        new = self.replace(layer)
        if new is None:
            new = self.copy(layer)
        self.done[id(layer)] = new
        self.pairs.append((layer, new))
        return new

    def copy(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        """Copy a layer that is not converted itself; its inner layers may be."""
        if isinstance(layer, keras.Model) and is_cloneable(layer):
            return keras.models.clone_model(layer, clone_function=self.layer, recursive=True)
        try:
            new = layer.__class__.from_config(layer.get_config())
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ConversionError(
                f"'{layer.name}' ({type(layer).__name__}) can't be rebuilt from its config. Give the class a "
                f"get_config that holds all its arguments. Received: {error}"
            ) from error
        self.swap_attributes(layer, new)
        return new

    def swap_attributes(self, old: keras.layers.Layer, new: keras.layers.Layer) -> None:
        """Replace the layers held in a rebuilt block's attributes, lists and dicts, before it is built."""
        for name, value in list(vars(new).items()):
            if name in internal_names() or not any(isinstance(item, keras.layers.Layer) for item in held(value)):
                continue
            for item in held(value):
                new._tracker.untrack(item)
            setattr(new, name, self.replaced(getattr(old, name)))

    def replaced(self, value: Any) -> Any:
        """Return the replacement of a layer, or a list, tuple or dict with its layers replaced."""
        if isinstance(value, keras.layers.Layer):
            return self.layer(value)
        if isinstance(value, dict):
            return {key: self.replaced(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            items = [self.replaced(item) for item in value]
            return tuple(items) if isinstance(value, tuple) else items
        return value

    def pair_inside(self, old: keras.layers.Layer, new: keras.layers.Layer) -> None:
        """Pair the layers that a block has made for itself while it was built."""
        known = {id(layer) for layer in self.done.values()}
        rest = [layer for layer in old._layers if id(layer) not in self.done]
        fresh = [layer for layer in new._layers if id(layer) not in known]
        if [type(layer) for layer in rest] != [type(layer) for layer in fresh]:
            raise ConversionError(
                f"The inner layers of '{old.name}' ({type(old).__name__}) can't be matched with those of its copy. "
                f"Hold them in attributes, lists or dicts. Received: {len(rest)} and {len(fresh)} layers."
            )
        for before, after in zip(rest, fresh, strict=True):
            self.done[id(before)] = after
            self.pairs.append((before, after))
            if before.variables:
                self.inside.append((before, old))
            self.pair_inside(before, after)

    def model(self, model: keras.Model) -> keras.Model:
        if not model.built:
            raise ConversionError(
                f"Model '{model.name}' is not built yet, so its weights have no shape. Call it once on data, or give "
                "it an Input."
            )
        with not_compiled(model):
            if is_cloneable(model):
                new = keras.models.clone_model(model, clone_function=self.layer, recursive=True)
            else:
                new = self.layer(model)
                new.build_from_config(model.get_build_config() or {})
        for old, fresh in list(self.pairs):
            if type(old) is type(fresh) and not isinstance(old, AnalogLayer):
                self.pair_inside(old, fresh)
        for old, fresh in self.pairs:
            copy_weights(old, fresh)
        return new


@functools.cache
def internal_names() -> frozenset[str]:
    """Names of the private attributes in which Keras itself keeps layers."""
    return frozenset(name for name in vars(keras.Model()) if name.startswith("_"))


def held(value: Any) -> list[Any]:
    """Return what a list, tuple or dict holds, nested ones included, or the value itself."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [inner for item in value for inner in held(item)]
    return [value]


@contextlib.contextmanager
def not_compiled(model: keras.Model) -> Iterator[None]:
    """While active, the model and those inside it pass as not compiled, so that Keras doesn't compile their copies."""
    compiled = [layer for layer in model._flatten_layers() if getattr(layer, "compiled", False)]
    for layer in compiled:
        layer.compiled = False
    try:
        yield
    finally:
        for layer in compiled:
            layer.compiled = True


def is_cloneable(model: keras.Model) -> bool:
    """Whether Keras can rebuild the model from its graph: Sequential and functional models."""
    return isinstance(model, keras.Sequential) or hasattr(type(model), "operations")


def copy_weights(old: keras.layers.Layer, new: keras.layers.Layer) -> None:
    """Copy kernel and bias between a layer and its analog twin, or all of a plain layer's own variables."""
    if isinstance(new, AnalogLayer) != isinstance(old, AnalogLayer):
        sources = [old.kernel_variable if isinstance(old, AnalogLayer) else old.kernel]
        targets = [new.kernel_variable if isinstance(new, AnalogLayer) else new.kernel]
        if new.use_bias:
            sources.append(old.bias)
            targets.append(new.bias)
    else:
        sources = [*old._trainable_variables, *old._non_trainable_variables]
        targets = [*new._trainable_variables, *new._non_trainable_variables]
        if isinstance(new, AnalogLayer):
            sources.append(old.adc_gain.gain)
            targets.append(new.adc_gain.gain)
    for source, target in zip(sources, targets, strict=True):
        target.assign(np.array(keras.ops.convert_to_numpy(source)))  # JAX would let both share one buffer


def layers_named(model: keras.Model, names: Iterable[str]) -> set[int]:
    """Return the ids of the layers of these names and of all layers inside them.

    Raises:
        UnknownNameError: the model has no layer of that name.
    """
    wanted = [names] if isinstance(names, str) else list(names)
    layers = model._flatten_layers(include_self=False)
    known = {layer.name for layer in layers}
    for name in wanted:
        if name not in known:
            raise UnknownNameError("layer to exempt", name, known)
    return {id(inner) for layer in layers if layer.name in wanted for inner in layer._flatten_layers()}


def reason_left(layer: keras.layers.Layer, exempt: set[int], hardware: crossbars.Crossbar) -> str | None:
    """Return why a layer with weights stays digital, or None if it can be converted."""
    if id(layer) in exempt:
        return "exempt by request"
    for kind, why in DIGITAL_BY_DESIGN.items():
        if isinstance(layer, kind):
            return why
    if isinstance(layer, AnalogLayer):
        return "already analog"
    if type(layer) not in ANALOG_CLASS:
        parent = next((kind for kind in ANALOG_CLASS if isinstance(layer, kind)), None)
        if parent is not None:
            return f"a subclass of {parent.__name__} whose call may differ"
        return "no analog version of this layer"
    if getattr(layer, "lora_enabled", False):
        return "its kernel is changed by LoRA"
    try:
        Tiling(unrolled_shape(layer), hardware.rows, hardware.cols)
    except ConversionError:
        return f"one input channel needs more than the {hardware.rows} rows of a tile"
    return None


def unrolled_shape(layer: keras.layers.Layer) -> tuple[int, ...]:
    """Shape of a Keras layer's kernel as it would lie on the crossbar."""
    *positions, inputs, outputs = layer.kernel.shape
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return (*positions, inputs, inputs * outputs)
    return (*positions, inputs * getattr(layer, "groups", 1), outputs)


def to_analog(
    model: keras.Model,
    hardware: Any = "aon_cim_8bit",
    *,
    weight_noise: float = 0.0,
    exempt: str | Iterable[str] = (),
) -> keras.Model:
    """Return an analog copy of any Keras model: products on crossbars, all the rest stays digital Keras.

    Every Dense, Conv1D, Conv2D and DepthwiseConv2D becomes its analog layer with the same weights, sharing one
    trainable ADC gain if the hardware says so. The copy computes the same as the model until `calibrate` has set the
    converter ranges. Works on Sequential, functional, nested and subclassed models (those that can be rebuilt from
    their config). The model given is not changed.

    A converted subclassed model can't be read back from a `.keras` file, since its class makes plain layers: keep the
    plain model and `save_weights`, and convert again.

    Args:
        model: a built Keras model.
        hardware: a `Crossbar`, the name of a preset, or a config.
        weight_noise: eta >= 0, the training noise as a share of W_max.
        exempt: names of layers, blocks or nested models to leave digital.

    Returns:
        The analog model, not compiled, with the attribute `conversion_report`.

    Raises:
        ConversionError: the model is not built, can't be rebuilt, or has no layer to convert.
        UnknownNameError: a name in `exempt` or of the hardware does not exist.
    """
    hardware = crossbars.get(hardware)
    left = layers_named(model, exempt)
    shared = ADCGain(name="adc_gain")
    records: dict[int, LayerConversion] = {}

    def replace(layer: keras.layers.Layer) -> keras.layers.Layer | None:
        if not layer._trainable_variables and not layer._non_trainable_variables:
            return None
        why = reason_left(layer, left, hardware)
        kind, count = type(layer).__name__, layer.count_params()
        if why is not None:
            records[id(layer)] = LayerConversion(layer.name, kind, False, why, count)
            return None
        tiling = Tiling(unrolled_shape(layer), hardware.rows, hardware.cols)
        rows, cols = matrix_shape(tiling.kernel_shape)
        records[id(layer)] = LayerConversion(layer.name, kind, True, "", count, rows, cols, len(tiling.blocks()))
        config = layer.get_config()
        for key in ("kernel_constraint", "depthwise_constraint"):
            constraint = config.get(key)
            if isinstance(constraint, dict) and constraint.get("class_name") == WeightClip.__name__:
                config[key] = None
        gain = shared if hardware.adc_gain == "shared" else ADCGain(name="adc_gain")
        return ANALOG_CLASS[type(layer)].from_config(
            {**config, "crossbar": hardware, "weight_noise": weight_noise, "adc_gain": gain}
        )

    rebuild = _Rebuild(replace)
    analog = rebuild.model(model)
    for layer, owner in rebuild.inside:
        why = f"made by '{owner.name}' ({type(owner).__name__}) itself"
        records[id(layer)] = LayerConversion(layer.name, type(layer).__name__, False, why, layer.count_params())
    report = ConversionReport(tuple(records.values()), hardware.name)
    if not report.converted:
        kinds = Counter(record.kind for record in report.left)
        raise ConversionError(
            f"Model '{model.name}' has no layer to convert; analog versions exist for "
            f"{', '.join(kind.__name__ for kind in ANALOG_CLASS)}. "
            f"Received layers with weights: {', '.join(kinds) or 'none'}."
        )
    analog.conversion_report = report
    return analog


def to_digital(model: keras.Model) -> keras.Model:
    """Return a plain Keras copy of a model with analog layers, with the same weights.

    Args:
        model: a built model with analog layers.

    Returns:
        The digital model, not compiled, with the attribute `conversion_report`.

    Raises:
        ConversionError: the model is not built, can't be rebuilt, or has no analog layer.
    """
    records: list[LayerConversion] = []

    def replace(layer: keras.layers.Layer) -> keras.layers.Layer | None:
        if not isinstance(layer, AnalogLayer):
            return None
        config = {key: value for key, value in layer.get_config().items() if key not in ANALOG_SETTINGS}
        records.append(LayerConversion(layer.name, type(layer).__name__, True, "", layer.count_params()))
        kind = next((digital for analog, digital in DIGITAL_CLASS.items() if isinstance(layer, analog)), None)
        if kind is None:
            raise ConversionError(
                f"Layer '{layer.name}' has no digital version. Received: {type(layer).__name__}, which is none of "
                f"{', '.join(analog.__name__ for analog in DIGITAL_CLASS)}."
            )
        return kind.from_config(config)

    digital = _Rebuild(replace).model(model)
    if not records:
        raise ConversionError(f"Model '{model.name}' has no analog layer, so it is digital already.")
    digital.conversion_report = ConversionReport(tuple(records), "digital")
    return digital
