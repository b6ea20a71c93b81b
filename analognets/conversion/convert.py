"""Carrying out the plan of a conversion to analog, making the copy ready for use, and the way back to digital."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Iterable
from typing import Any

import keras

from analognets import crossbar as crossbars
from analognets.conversion.apply import ModelCopy
from analognets.conversion.identity import remade
from analognets.conversion.plan import Planner, left, why_hidden
from analognets.conversion.report import ConversionReport, LayerConversion, PlannedLayer, check_any
from analognets.conversion.same_answers import refuse_other_copy
from analognets.conversion.sizes import bytes_by_layer
from analognets.conversion.support import (
    ANALOG_CLASS,
    COMPOSITE_CLASS,
    check_model,
    counts_itself,
    digital_class,
    is_analog,
    is_composite,
    name_inside,
    products_of,
)
from analognets.core.backend import in_steps
from analognets.core.memory import enough_memory
from analognets.crossbar import HardwareByLayer
from analognets.crossbar.converters import RANGE_GRADIENTS
from analognets.errors import ConversionError, check_choice, check_number
from analognets.layers import (
    ADCGain,
    AnalogBidirectional,
    AnalogLayer,
    AnalogRNN,
    AnalogTimeDistributed,
    WeightClip,
    analog_layers,
    calibrate,
    freeze_weight_range,
)
from analognets.layers.adc_gain import copy_of, copying
from analognets.layers.calibrated import unused_ranges
from analognets.layers.weight_noise import NOISE_MODELS
from analognets.units import parse_duration

__all__ = ["to_analog", "to_digital"]

L = keras.layers
ANALOG_SETTINGS = (
    "crossbar", "weight_noise", "adc_gain", "calibrated", "seed", "noise_model", "drop_connect", "nonnegative",
    "drift_until", "range_gradient",
)  # fmt: skip
SIGMA = 2.0
"""Where `calibrate_on` clips the weights, in standard deviations of each kernel."""
ANALOG_WRAPPER: dict[type, type] = {
    L.TimeDistributed: AnalogTimeDistributed,
    L.Bidirectional: AnalogBidirectional,
    L.RNN: AnalogRNN,
}


class ToAnalog:
    """One conversion: carries a plan out, and reports what became of it."""

    def __init__(self, planner: Planner, settings: dict[str, Any]) -> None:
        self.planner = planner
        self.settings = settings
        self.shared = ADCGain(name="adc_gain")
        self.done: dict[int, list[LayerConversion]] = {}

    def model(self, model: keras.Model) -> keras.Model:
        """Return the analog model with its report; layers that are analog already share their gain with the new."""
        with copying():
            return self._converted(model)

    def _converted(self, model: keras.Model) -> keras.Model:
        known = [layer for layer in model._flatten_layers() if isinstance(layer, AnalogLayer)]
        gain = next((layer.adc_gain for layer in known if layer.crossbar.adc_gain == "shared"), None)
        if gain is not None:
            self.shared = copy_of(gain)
        copy = ModelCopy(self.replace, self.recast, self.planner.converts, wraps=True)
        analog = copy.model(model)
        for layer, owner in copy.inside:
            if counts_itself(layer):
                entry = self.planner.entries[id(layer)][""]
                self.done[id(layer)] = [left(entry, why_hidden(layer, owner))]
        rows = [row for rows in self.done.values() for row in rows]
        check_any(rows, model.name)
        analog.conversion_report = ConversionReport(tuple(rows), self.planner.hardware.name)
        return analog

    def replace(self, layer: keras.layers.Layer, owner: keras.layers.Layer | None) -> keras.layers.Layer | None:
        """Return the analog version of a layer, or None if it is copied; `owner` is the block that makes it itself."""
        if isinstance(layer, ADCGain):
            return copy_of(layer)
        entries = self.planner.entries.get(id(layer))
        if entries is None:
            return None
        name = name_inside(layer, owner)
        self.done[id(layer)] = [
            renamed(entry, layer.name, name) if product or entry.converted else entry
            for product, entry in entries.items()
        ]
        if not any(entry.converted for entry in entries.values()):
            return None
        crossbar = self.planner.crossbar_of(layer) or self.planner.hardware.default
        own: dict[str, Any] = {**self.settings, "crossbar": crossbar, "name": name}
        if type(layer) in ANALOG_CLASS:
            kind = ANALOG_CLASS[type(layer)]
            own["adc_gain"] = self.gain_of(crossbar) or ADCGain(name="adc_gain")
        else:
            kind = COMPOSITE_CLASS[type(layer)]
            own["adc_gain"] = self.gain_of(crossbar)
            own["products"] = self.own_products(layer, entries, crossbar)
        return remade(kind, layer, change=lambda config: {**without_clip(config), **own})

    def gain_of(self, crossbar: crossbars.Crossbar) -> ADCGain | None:
        """Return the ADC gain that layers on this hardware share, if they do."""
        return self.shared if crossbar.adc_gain == "shared" else None

    def own_products(
        self, layer: Any, entries: dict[str, PlannedLayer], crossbar: crossbars.Crossbar
    ) -> dict[str, Any]:
        """Return what differs in the products of a layer: those that stay digital, and those on other hardware."""
        found: dict[str, Any] = {}
        for product in products_of(layer):
            other = self.planner.crossbar_of(layer, product)
            if other is None or not entries[product.name].converted:
                found[product.name] = None
            elif other != crossbar:
                found[product.name] = {"crossbar": other, "adc_gain": self.gain_of(other)}
        return found

    def recast(self, layer: keras.layers.Layer) -> type:
        """Return the class of a layer's copy."""
        analog = ANALOG_WRAPPER.get(type(layer))
        return analog if analog is not None and self.planner.converts(layer) else type(layer)


def renamed(entry: PlannedLayer, before: str, after: str) -> PlannedLayer:
    """Return the entry of a layer, or of one of its products, that got another name when it was converted."""
    name = after + entry.layer.removeprefix(before)
    path = entry.path.removesuffix(entry.layer) + name if entry.layer != before else entry.path
    return dataclasses.replace(entry, layer=name, path=path)


def to_analog(
    model: keras.Model,
    hardware: Any = "aon_cim_8bit",
    *,
    weight_noise: float = 0.0,
    exempt: str | Iterable[str] = (),
    noise_model: str = "gaussian",
    drop_connect: float = 0.0,
    drift_until: float | str = "1y",
    range_gradient: str = "saturated",
    calibrate_on: Any = None,
) -> keras.Model:
    """Return an analog copy of any Keras model: products on crossbars, all the rest stays digital Keras.

    Every Dense, Conv1D, Conv2D, Conv3D, DepthwiseConv1D and DepthwiseConv2D (grouped, dilated, shared or inside of
    TimeDistributed too) becomes its analog layer with the same weights, sharing one trainable ADC gain if the hardware
    says so. All other layers stay as they are; the report names them and says why. The copy computes the same as the
    model until `calibrate` has set the converter ranges; with `calibrate_on` it comes ready for chips and training: its
    kernels are clipped to W_max = 2 sigma (`freeze_weight_range`), its converters calibrated (`calibrate`), and it is
    compiled as the model given is, with an optimizer of its own. Works on Sequential, functional, nested and subclassed
    models (those that can be rebuilt from their config). The model given is not changed.

    A converted model of a class of its own can't be read back from a `.keras` file, since its class makes plain layers:
    keep the plain model and `save_weights`, and convert again. One that is a layer of a functional model and computes
    its graph becomes a plain functional model there, which can.

    Args:
        model: a built Keras model.
        hardware: a `Crossbar`, the name of a preset or a config; or a dict of these by name or path of a layer, block
            or product, with "default" for all others and "digital" for what stays digital.
        weight_noise: eta >= 0, the training noise as a share of W_max, or a factor of the devices' own noise.
        exempt: names of layers, blocks or nested models to leave digital, or their paths such as "block/dense".
        noise_model: what the training noise is: "gaussian", "device" for that of devices right after programming, or
            "drift" for devices read at a time drawn for each step, with the hardware's drift compensation.
        drop_connect: share of the weights that are 0 in a training step, 0 to 0.9.
        drift_until: latest time of "drift", since programming: seconds or a text such as "1y".
        range_gradient: "saturated" or "step", see `analognets.crossbar.convert`.
        calibrate_on: inputs as `analognets.layers.calibrate` takes them, up to 1000 of them are used: an array, a dict
            or list of arrays, a tuple (inputs, labels), or an iterable (tf.data, PyDataset) of batches of these. None
            leaves W_max, converters and compilation to you.

    Returns:
        The analog model, not compiled without `calibrate_on`, with the attribute `conversion_report`.

    Raises:
        ConversionError: the model is not built, can't be rebuilt, or has no layer to convert; or it has classes of its
            own, and the copy answers random inputs otherwise.
        InvalidArgumentError: a setting of the training noise is out of range, or `calibrate_on` holds
            no batch or leads to NaN or infinity.
        UnknownNameError: a name in `exempt` or in the hardware does not exist.
        MemoryShortError: there is too little memory for a second copy of the weights.

    Examples:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> analog = to_analog(model, hardware="aon_cim_8bit", weight_noise=0.05, calibrate_on=np.eye(4))
        >>> analog.layers[0].__class__.__name__
        'AnalogDense'
    """
    check_model(model)
    idle = [layer for layer in model._flatten_layers() if isinstance(layer, AnalogLayer) and layer.unused_ranges_set()]
    if idle:
        warnings.warn(unused_ranges(idle), stacklevel=2)
    hardware = HardwareByLayer.of(hardware)
    check_number("to_analog", "weight_noise", weight_noise, 0.0, 10.0)
    check_choice("to_analog", "noise_model", noise_model, NOISE_MODELS)
    check_number("to_analog", "drop_connect", drop_connect, 0.0, 0.9)
    check_choice("to_analog", "range_gradient", range_gradient, RANGE_GRADIENTS)
    settings = {
        "weight_noise": weight_noise,
        "noise_model": noise_model,
        "drop_connect": drop_connect,
        "drift_until": parse_duration(drift_until),
        "range_gradient": range_gradient,
    }
    with enough_memory(f"converting model '{model.name}'", bytes_by_layer(model), together=True):
        analog = ToAnalog(Planner(model, hardware, exempt), settings).model(model)
    refuse_other_copy(model, analog)
    return analog if calibrate_on is None else made_ready(analog, model, calibrate_on)


def made_ready(analog: keras.Model, model: keras.Model, inputs: Any) -> keras.Model:
    """Freeze W_max of an analog model, calibrate and compile it, and add what was done to its report.

    Args:
        analog: the converted model.
        model: the model it was made from.
        inputs: as `calibrate` takes them.

    Raises:
        InvalidArgumentError: `inputs` hold no batch or lead to NaN or infinity.
    """
    freeze_weight_range(analog, sigma=SIGMA)
    samples = calibrate(analog, inputs)
    analog.conversion_report = dataclasses.replace(
        analog.conversion_report,
        steps=(
            f"W_max frozen at {SIGMA:g} sigma of each kernel, weights clipped to it.",
            f"Converter ranges calibrated on {samples} samples.",
            compiled_like(analog, model),
        ),
    )
    return analog


def compiled_like(analog: keras.Model, model: keras.Model) -> str:
    """Compile a model with fresh copies of another one's optimizer, loss and metrics; returns what was done."""
    if not model.compiled:
        return "Not compiled, as the model given is not."
    if type(model).compile is not keras.Model.compile:
        return f"Not compiled, since {type(model).__name__} has a `compile` of its own: compile it as that one."
    config = model._compile_config.config
    settings: dict[str, Any] = {}
    for name, value in config.items():
        with contextlib.suppress(TypeError, ValueError, NotImplementedError):
            settings[name] = keras.tree.map_structure(fresh, value)
    if "optimizer" not in settings:
        return f"Not compiled, since its optimizer {described(config['optimizer'])} can't be made from its config."
    jit = in_steps()
    exclude_alike(settings["optimizer"], analog, model)
    analog.compile(**{**settings, "jit_compile": jit})
    parts = {name: described(config[name]) for name in ("optimizer", "loss", "metrics") if name in settings}
    named = ", ".join(f"{name} {text}" for name, text in parts.items() if text)
    done = f"Compiled with {named}; jit_compile {jit or 'off'}."
    lost = [name for name in config if name not in settings]
    return f"{done} Left out, as they can't be made from their config: {', '.join(lost)}." if lost else done


def exclude_alike(optimizer: Any, analog: keras.Model, model: keras.Model) -> None:
    """Exclude from weight decay what a model's optimizer excludes, and the converter ranges and gains.

    Variables are told by path, so single ones inside of recurrent layers and attention, which get other paths, only by
    the names that the optimizer excludes.

    Args:
        optimizer: new, of the analog model.
        analog: the model.
        model: it was made from, compiled.
    """
    # A LossScaleOptimizer holds the one that decays weights.
    optimizer, given = (getattr(one, "inner_optimizer", one) for one in (optimizer, model.optimizer))
    if not getattr(optimizer, "weight_decay", None) or not isinstance(given, keras.optimizers.Optimizer):
        return
    old = {variable.path for variable in model.trainable_variables if not given._use_weight_decay(variable)}
    layers, pattern = analog_layers(analog), getattr(given, "_exclude_from_weight_decay_pattern", None)
    ranges = {id(one) for layer in layers for one in (layer.input_range, layer.adc_gain.gain)}
    optimizer.exclude_from_weight_decay(
        var_list=[one for one in analog.trainable_variables if id(one) in ranges or one.path in old],
        var_names=[pattern.pattern] if pattern else [],
    )


def fresh(value: Any) -> Any:
    """Return a copy of an optimizer or metric without its state; all else is taken as it is."""
    if isinstance(value, (keras.optimizers.Optimizer, keras.metrics.Metric)):
        return remade(type(value), value)
    return value


def described(value: Any) -> str:
    """Return the names of the objects in a part of what a model was compiled with."""
    if isinstance(value, (dict, list, tuple)):
        items = value.values() if isinstance(value, dict) else value
        return ", ".join(text for text in map(described, items) if text)
    if value is None or isinstance(value, str):
        return value or ""
    return str(getattr(value, "__name__", None) or type(value).__name__)


def without_clip(config: dict[str, Any]) -> dict[str, Any]:
    """Return a layer's config without the weight clipping of stage 1, whose place the frozen range takes."""
    config = dict(config)
    for key in ("kernel_constraint", "depthwise_constraint", "pointwise_constraint", "recurrent_constraint"):
        constraint = config.get(key)
        if isinstance(constraint, dict) and constraint.get("class_name") == WeightClip.__name__:
            config[key] = None
    return config


def any_analog(layer: keras.layers.Layer) -> bool:
    """Whether a layer is analog or has an analog one inside."""
    return any(is_analog(inner) for inner in layer._flatten_layers())


def same_model(model: keras.Model) -> keras.Model:
    """Return a copy of a model, plain or analog, with the same layers and weights, made where one is now.

    Raises:
        ConversionError: a class of one's own in the model can't be made again from its config.

    Examples:
        >>> copy = same_model(analog)
        >>> bool(np.all(copy.predict(x, verbose=0) == analog.predict(x, verbose=0)))
        True
    """
    check_model(model)
    return ModelCopy(lambda layer, owner: None, type, any_analog, wraps=True).model(model)


def to_digital(model: keras.Model) -> keras.Model:
    """Return a plain Keras copy of a model with analog layers, with the same weights.

    Args:
        model: a built model with analog layers.

    Returns:
        The digital model, not compiled, with the attribute `conversion_report`.

    Raises:
        ConversionError: the model is not built, can't be rebuilt, or has no analog layer.

    Examples:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> to_digital(to_analog(model)).layers[0].__class__.__name__
        'Dense'
    """
    check_model(model)
    records: list[LayerConversion] = []

    def replace(layer: Any, owner: keras.layers.Layer | None) -> keras.layers.Layer | None:
        if not is_analog(layer):
            return None
        kind = digital_class(layer)
        if kind is None:
            raise ConversionError(
                f"Layer '{layer.name}' has no digital version. Received: {type(layer).__name__}, which is none of "
                f"{', '.join(one.__name__ for one in (*ANALOG_CLASS.values(), *COMPOSITE_CLASS.values()))}."
            )
        several = is_composite(layer)
        for one in layer.products.values() if several else [layer]:
            if isinstance(one, AnalogLayer):
                records.append(LayerConversion(one.name, type(one).__name__, True, "", one.count_params()))
        drop = ("products",) if several else ANALOG_SETTINGS
        return remade(kind, layer, change=lambda config: {k: value for k, value in config.items() if k not in drop})

    def recast(layer: keras.layers.Layer) -> type:
        return next((kind for kind, analog in ANALOG_WRAPPER.items() if isinstance(layer, analog)), type(layer))

    digital = ModelCopy(replace, recast, any_analog).model(model)
    if not records:
        raise ConversionError(f"Model '{model.name}' has no analog layer, so it is digital already.")
    digital.conversion_report = ConversionReport(tuple(records), "digital")
    return digital
