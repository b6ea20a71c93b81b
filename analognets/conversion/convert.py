"""The conversions to analog and to digital, and their report."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import keras

from analognets import crossbar as crossbars
from analognets.conversion.rebuild import Rebuild, check_model
from analognets.conversion.report import ConversionReport, LayerConversion
from analognets.conversion.survey import Survey, is_product, own_variables, reason_digital
from analognets.crossbar import Tiling, matrix_shape
from analognets.errors import ConversionError, UnknownNameError, check_number
from analognets.layers import (
    ADCGain,
    AnalogConv1D,
    AnalogConv2D,
    AnalogConv3D,
    AnalogDense,
    AnalogDepthwiseConv1D,
    AnalogDepthwiseConv2D,
    AnalogLayer,
    AnalogTimeDistributed,
    WeightClip,
)

__all__ = ["ANALOG_CLASS", "to_analog", "to_digital"]

ANALOG_CLASS: dict[type, Any] = {
    keras.layers.Dense: AnalogDense,
    keras.layers.Conv1D: AnalogConv1D,
    keras.layers.Conv2D: AnalogConv2D,
    keras.layers.Conv3D: AnalogConv3D,
    keras.layers.DepthwiseConv1D: AnalogDepthwiseConv1D,
    keras.layers.DepthwiseConv2D: AnalogDepthwiseConv2D,
}
DIGITAL_CLASS: dict[type, Any] = {analog: digital for digital, analog in ANALOG_CLASS.items()}
ANALOG_SETTINGS = (
    "crossbar", "weight_noise", "adc_gain", "calibrated", "seed", "noise_model", "drop_connect", "nonnegative",
)  # fmt: skip


def layers_named(model: keras.Model, names: Iterable[str], paths: dict[int, str]) -> set[int]:
    """Return the ids of the layers of these names or paths and of all layers inside them.

    Raises:
        UnknownNameError: the model has no layer of that name.
    """
    wanted = [names] if isinstance(names, str) else list(names)
    layers = model._flatten_layers(include_self=False)
    names_of = {id(layer): {layer.name, paths.get(id(layer), layer.name)} for layer in layers}
    known = set().union(*names_of.values())
    for name in wanted:
        if name not in known:
            raise UnknownNameError("layer to exempt", name, known)
    exempt = [layer for layer in layers if not names_of[id(layer)].isdisjoint(wanted)]
    return {id(inner) for layer in exempt for inner in layer._flatten_layers()}


def reason_left(layer: keras.layers.Layer, exempt: set[int], hardware: crossbars.Crossbar) -> str | None:
    """Return why a layer with weights stays digital, or None if it can be converted."""
    if id(layer) in exempt:
        return "exempt by request"
    if isinstance(layer, AnalogLayer):
        return "already analog"
    if type(layer) not in ANALOG_CLASS:
        parent = next((kind for kind in ANALOG_CLASS if isinstance(layer, kind)), None)
        why = reason_digital(layer) or (
            f"a subclass of {parent.__name__} whose call may differ" if parent else "no analog version of this layer"
        )
        return why
    if getattr(layer, "lora_enabled", False):
        return "its kernel is changed by LoRA: merge the two first"
    if getattr(layer, "quantization_mode", None):
        return f"its kernel is quantised ({layer.quantization_mode})"
    try:
        Tiling(unrolled_shape(layer), hardware.rows, hardware.cols)
    except ConversionError:
        return f"one input channel needs more than the {hardware.rows} rows of a tile"
    return None


def unrolled_shape(layer: keras.layers.Layer) -> tuple[int, ...]:
    """Shape of a Keras layer's kernel as it would lie on the crossbar."""
    *positions, inputs, outputs = layer.kernel.shape
    if isinstance(layer, (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)):
        return (*positions, inputs, inputs * outputs)
    return (*positions, inputs * getattr(layer, "groups", 1), outputs)


def to_analog(
    model: keras.Model,
    hardware: Any = "aon_cim_8bit",
    *,
    weight_noise: float = 0.0,
    exempt: str | Iterable[str] = (),
    noise_model: str = "gaussian",
    drop_connect: float = 0.0,
) -> keras.Model:
    """Return an analog copy of any Keras model: products on crossbars, all the rest stays digital Keras.

    Every Dense, Conv1D, Conv2D, Conv3D, DepthwiseConv1D and DepthwiseConv2D (grouped, dilated, shared or inside of
    TimeDistributed too) becomes its analog layer with the same weights, sharing one trainable ADC gain if the hardware
    says so. All other layers stay as they are; the report names them and says why. The copy computes the same as the
    model until `calibrate` has set the converter ranges. Works on Sequential, functional, nested and subclassed models
    (those that can be rebuilt from their config). The model given is not changed.

    A converted subclassed model can't be read back from a `.keras` file, since its class makes plain layers: keep the
    plain model and `save_weights`, and convert again.

    Args:
        model: a built Keras model.
        hardware: a `Crossbar`, the name of a preset, or a config.
        weight_noise: eta >= 0, the training noise as a share of W_max, or a factor of the devices' own noise.
        exempt: names of layers, blocks or nested models to leave digital, or their paths such as "block/dense".
        noise_model: "gaussian" or "device", what the training noise is.
        drop_connect: share of the weights that are 0 in a training step, 0 to 0.9.

    Returns:
        The analog model, not compiled, with the attribute `conversion_report`.

    Raises:
        ConversionError: the model is not built, can't be rebuilt, or has no layer to convert.
        InvalidArgumentError: `weight_noise`, `noise_model` or `drop_connect` is out of range.
        UnknownNameError: a name in `exempt` or of the hardware does not exist.
    """
    check_model(model)
    hardware = crossbars.get(hardware)
    check_number("to_analog", "weight_noise", weight_noise, 0.0, 10.0)
    survey = Survey(model)
    left = layers_named(model, exempt, survey.paths)
    shared = ADCGain(name="adc_gain")
    records: dict[int, LayerConversion] = {}

    def replace(layer: keras.layers.Layer) -> keras.layers.Layer | None:
        if isinstance(layer, ADCGain) or not own_variables(layer):
            return None
        why = reason_left(layer, left, hardware)
        records[id(layer)] = record(layer, why, survey, hardware)
        if why is not None:
            return None
        gain = shared if hardware.adc_gain == "shared" else ADCGain(name="adc_gain")
        config = {
            "crossbar": hardware,
            "weight_noise": weight_noise,
            "noise_model": noise_model,
            "drop_connect": drop_connect,
            "adc_gain": gain,
        }
        return ANALOG_CLASS[type(layer)].from_config({**without_clip(layer.get_config()), **config})

    def recast(layer: keras.layers.Layer) -> type:
        if type(layer) is keras.layers.TimeDistributed and reason_left(layer.layer, left, hardware) is None:
            return AnalogTimeDistributed
        return type(layer)

    rebuild = Rebuild(replace, recast)
    analog = rebuild.model(model)
    for layer, owner in rebuild.inside:
        if own_variables(layer):
            made = f"made by '{owner.name}' ({type(owner).__name__}) itself"
            why = made if is_product(layer) else reason_digital(layer) or made
            records[id(layer)] = record(layer, why, survey, hardware)
    report = ConversionReport(tuple(records.values()), hardware.name)
    if not report.converted:
        kinds = Counter(entry.kind for entry in report.left)
        raise ConversionError(
            f"Model '{model.name}' has no layer to convert; analog versions exist for "
            f"{', '.join(kind.__name__ for kind in ANALOG_CLASS)}. "
            f"Received layers with weights: {', '.join(kinds) or 'none'}."
        )
    analog.conversion_report = report
    return analog


def record(layer: keras.layers.Layer, why: str | None, survey: Survey, hardware: crossbars.Crossbar) -> LayerConversion:
    """Return the report's entry of a layer that stays digital for a reason, or is converted if there is none."""
    entry = LayerConversion(
        layer=layer.name,
        kind=type(layer).__name__,
        converted=why is None,
        why=why or "",
        weights=layer.count_params(),
        path=survey.path(layer),
        product=is_product(layer),
        macs=survey.macs(layer),
    )
    if why is not None:
        return entry
    tiling = Tiling(unrolled_shape(layer), hardware.rows, hardware.cols)
    rows, cols = matrix_shape(tiling.kernel_shape)
    tiles, kernel = len(tiling.blocks()), math.prod(layer.kernel.shape)
    return dataclasses.replace(entry, rows=rows, cols=cols, tiles=tiles, kernel=kernel)


def without_clip(config: dict[str, Any]) -> dict[str, Any]:
    """Return a layer's config without the weight clipping of stage 1, whose place the frozen range takes."""
    config = dict(config)
    for key in ("kernel_constraint", "depthwise_constraint"):
        constraint = config.get(key)
        if isinstance(constraint, dict) and constraint.get("class_name") == WeightClip.__name__:
            config[key] = None
    return config


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

    def recast(layer: keras.layers.Layer) -> type:
        return keras.layers.TimeDistributed if isinstance(layer, AnalogTimeDistributed) else type(layer)

    digital = Rebuild(replace, recast).model(model)
    if not records:
        raise ConversionError(f"Model '{model.name}' has no analog layer, so it is digital already.")
    digital.conversion_report = ConversionReport(tuple(records), "digital")
    return digital
