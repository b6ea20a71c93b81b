"""The conversions to analog and to digital, and their report."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import Any

import keras

from analognets import crossbar as crossbars
from analognets.conversion.rebuild import Rebuild, check_model
from analognets.crossbar import Tiling, matrix_shape
from analognets.errors import ConversionError, UnknownNameError, check_number
from analognets.layers import (
    ADCGain,
    AnalogConv1D,
    AnalogConv2D,
    AnalogDense,
    AnalogDepthwiseConv2D,
    AnalogLayer,
    WeightClip,
)

__all__ = ["ANALOG_CLASS", "ConversionReport", "LayerConversion", "to_analog", "to_digital"]

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
        InvalidArgumentError: `weight_noise` is out of range.
        UnknownNameError: a name in `exempt` or of the hardware does not exist.
    """
    check_model(model)
    hardware = crossbars.get(hardware)
    check_number("to_analog", "weight_noise", weight_noise, 0.0, 10.0)
    left = layers_named(model, exempt)
    shared = ADCGain(name="adc_gain")
    records: dict[int, LayerConversion] = {}

    def replace(layer: keras.layers.Layer) -> keras.layers.Layer | None:
        if isinstance(layer, ADCGain) or not (layer._trainable_variables or layer._non_trainable_variables):
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

    rebuild = Rebuild(replace)
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
    check_model(model)
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

    digital = Rebuild(replace).model(model)
    if not records:
        raise ConversionError(f"Model '{model.name}' has no analog layer, so it is digital already.")
    digital.conversion_report = ConversionReport(tuple(records), "digital")
    return digital
