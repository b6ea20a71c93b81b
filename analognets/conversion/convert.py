"""The conversions to analog and to digital, and their report."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import keras

from analognets import crossbar as crossbars
from analognets.conversion.apply import Rebuild, check_model
from analognets.conversion.plan import Survey, is_product, own_variables, reason_digital
from analognets.conversion.report import ConversionReport, LayerConversion
from analognets.conversion.support import (
    ANALOG_CLASS,
    COMPOSITE_CLASS,
    PROJECTIONS,
    Part,
    counts_itself,
    digital_class,
    is_analog,
    is_composite,
    on_crossbar,
    parts_of,
    why_too_tall,
    why_untiled,
)
from analognets.crossbar import Tiling, matrix_shape
from analognets.errors import ConversionError, UnknownNameError, check_number
from analognets.layers import ADCGain, AnalogBidirectional, AnalogLayer, AnalogRNN, AnalogTimeDistributed, WeightClip

__all__ = ["to_analog", "to_digital"]

L = keras.layers
ANALOG_SETTINGS = (
    "crossbar", "weight_noise", "adc_gain", "calibrated", "seed", "noise_model", "drop_connect", "nonnegative",
)  # fmt: skip
ANALOG_WRAPPER: dict[type, type] = {
    L.TimeDistributed: AnalogTimeDistributed,
    L.Bidirectional: AnalogBidirectional,
    L.RNN: AnalogRNN,
}
EXEMPT = "exempt by request"
ACTIVATIONS_ONLY = "scores and weighted sum multiply activations with each other, digital by design"


def name_inside(layer: keras.layers.Layer, owner: keras.layers.Layer | None) -> str:
    """Return the name of the analog version of a layer that a block makes when it is built: unlike in other blocks."""
    if owner is None or layer.name.startswith(f"{owner.name}_"):
        return layer.name
    return f"{owner.name}_{layer.name}"


class ToAnalog:
    """The decisions of one conversion: what is replaced by what, and what the report says of it."""

    def __init__(
        self, model: keras.Model, hardware: crossbars.Crossbar, settings: dict[str, Any], exempt: str | Iterable[str]
    ) -> None:
        self.hardware = hardware
        self.settings = {"crossbar": hardware, **settings}
        self.survey = Survey(model)
        self.shared = ADCGain(name="adc_gain")
        self.records: dict[Any, LayerConversion] = {}
        self.handled: set[int] = set()
        self.exempt: set[Any] = set()
        self.find_exempt(model, [exempt] if isinstance(exempt, str) else list(exempt))

    def find_exempt(self, model: keras.Model, wanted: list[str]) -> None:
        """Collect the ids of the layers of these names or paths, of all inside them, and the products so named.

        Raises:
            UnknownNameError: the model has no layer and no product of that name.
        """
        layers = model._flatten_layers(include_self=False)
        known: set[str] = set()
        for layer in layers:
            path, owner = self.survey.path(layer), self.survey.owners.get(id(layer))
            inside = None if owner is None or isinstance(owner, keras.Model) else owner
            names = {layer.name, path, name_inside(layer, inside)}
            known |= names
            if not names.isdisjoint(wanted):
                self.exempt |= {id(inner) for inner in layer._flatten_layers()}
            for part in parts_of(layer) if type(layer) in COMPOSITE_CLASS and layer.built else ():
                bases = (layer.name, name_inside(layer, inside))
                names = {f"{prefix}{base}_{part.product}" for base in bases for prefix in ("", f"{path}/")}
                known |= names
                if not names.isdisjoint(wanted):
                    self.exempt.add((id(layer), part.product))
        for name in wanted:
            if name not in known:
                raise UnknownNameError("layer to exempt", name, known)

    def why_left(self, layer: keras.layers.Layer) -> str | None:
        """Return why a layer with weights of its own stays digital, or None if it can be converted."""
        if id(layer) in self.exempt:
            return EXEMPT
        if is_analog(layer):
            return "already analog"
        if type(layer) in ANALOG_CLASS:
            return why_untiled(layer, self.hardware)
        parent = next((kind for kind in (*ANALOG_CLASS, *COMPOSITE_CLASS) if isinstance(layer, kind)), None)
        return reason_digital(layer) or (
            f"a subclass of {parent.__name__} whose call may differ" if parent else "no analog version of this layer"
        )

    def why_part_left(self, layer: keras.layers.Layer, part: Part) -> str | None:
        """Return why one product of a layer stays digital, or None if it can be converted."""
        if {id(layer), id(part.owner), (id(layer), part.product)} & self.exempt:
            return EXEMPT
        if type(part.owner) in ANALOG_CLASS:
            return why_untiled(part.owner, self.hardware)
        return why_too_tall(part.shape, self.hardware)

    def converts(self, layer: keras.layers.Layer) -> bool:
        """Whether something of a layer becomes analog, or is."""
        if type(layer) in COMPOSITE_CLASS and layer.built:
            return any(self.why_part_left(layer, part) is None for part in parts_of(layer))
        if counts_itself(layer) and self.why_left(layer) in (None, "already analog"):
            return True
        return any(self.converts(inner) for inner in layer._layers)

    def replace(self, layer: keras.layers.Layer, owner: keras.layers.Layer | None) -> keras.layers.Layer | None:
        """Return the analog version of a layer, or None if it is copied; `owner` is the block that makes it itself."""
        if isinstance(layer, ADCGain) or id(layer) in self.handled:
            return None
        if type(layer) in COMPOSITE_CLASS and layer.built:
            return self.composite(layer, owner)
        if isinstance(layer, L.RNN) and not is_composite(layer) and type(layer) not in (L.RNN, AnalogRNN):
            self.leave_cells(layer)
        if not counts_itself(layer) or id(layer) in self.handled:
            return None
        why = self.why_left(layer)
        name = name_inside(layer, owner)
        self.records[id(layer)] = self.record(layer, name if why is None else layer.name, why)
        if why is not None:
            return None
        gain = self.shared if self.hardware.adc_gain == "shared" else ADCGain(name="adc_gain")
        config = {**without_clip(layer.get_config()), **self.settings, "adc_gain": gain, "name": name}
        return ANALOG_CLASS[type(layer)].from_config(config)

    def composite(self, layer: keras.layers.Layer, owner: keras.layers.Layer | None) -> keras.layers.Layer | None:
        """Return the analog version of a layer with several products, or None if all of them stay digital."""
        self.handled |= {id(inner) for inner in layer._flatten_layers()}
        name = name_inside(layer, owner)
        reasons = {part.product: self.why_part_left(layer, part) for part in parts_of(layer)}
        for part in parts_of(layer):
            self.records[id(layer), part.product] = self.record_part(layer, part, name, reasons[part.product])
        if any(hasattr(layer, attribute) for attribute in PROJECTIONS.values()):
            note = LayerConversion(
                name, type(layer).__name__, False, ACTIVATIONS_ONLY, 0, path=self.survey.path(layer), product=False
            )
            self.records[id(layer), "activations"] = note
        if None not in reasons.values():
            return None
        config = {
            **without_clip(layer.get_config()),
            **self.settings,
            "adc_gain": self.shared if self.hardware.adc_gain == "shared" else None,
            "products": {product: None for product, why in reasons.items() if why is not None},
            "name": name,
        }
        return COMPOSITE_CLASS[type(layer)].from_config(config)

    def leave_cells(self, layer: keras.layers.Layer) -> None:
        """Leave the cells of a recurrent layer of one's own digital: it may use their kernels itself."""
        for cell in layer._flatten_layers(include_self=False):
            if type(cell) in COMPOSITE_CLASS:
                why = f"inside of {type(layer).__name__}, whose call may differ from that of Keras' layers"
                self.records[id(cell)] = self.record(cell, cell.name, EXEMPT if id(cell) in self.exempt else why)
                self.handled.add(id(cell))

    def recast(self, layer: keras.layers.Layer) -> type:
        """Return the class of a layer's copy."""
        analog = ANALOG_WRAPPER.get(type(layer))
        return analog if analog is not None and self.converts(layer) else type(layer)

    def record(self, layer: keras.layers.Layer, name: str, why: str | None) -> LayerConversion:
        """Return the report's entry of a layer that stays digital for a reason, or is converted if there is none."""
        entry = LayerConversion(
            layer=name,
            kind=type(layer).__name__,
            converted=why is None,
            why=why or "",
            weights=sum(math.prod(variable.shape) for variable in own_variables(layer)),
            path=self.survey.path(layer),
            product=is_product(layer),
            macs=self.survey.macs(layer),
        )
        return entry if why is not None else self.placed(entry, on_crossbar(layer), math.prod(layer.kernel.shape))

    def record_part(self, layer: keras.layers.Layer, part: Part, name: str, why: str | None) -> LayerConversion:
        """Return the report's entry of one product of a layer."""
        macs = self.survey.macs(part.counted)
        entry = LayerConversion(
            layer=f"{name}_{part.product}",
            kind=type(layer).__name__,
            converted=why is None,
            why=why or "",
            weights=part.weights,
            path=f"{self.survey.path(layer)}/{name}_{part.product}",
            macs=None if macs is None else round(macs * part.share),
        )
        return entry if why is not None else self.placed(entry, part.shape, part.kernel)

    def placed(self, entry: LayerConversion, shape: tuple[int, ...], kernel: int) -> LayerConversion:
        """Return an entry with what its kernel takes on the crossbar."""
        tiling = Tiling(shape, self.hardware.rows, self.hardware.cols)
        rows, cols = matrix_shape(tiling.kernel_shape)
        return dataclasses.replace(entry, rows=rows, cols=cols, tiles=len(tiling.blocks()), kernel=kernel)


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
    settings = {"weight_noise": weight_noise, "noise_model": noise_model, "drop_connect": drop_connect}
    plan = ToAnalog(model, hardware, settings, exempt)
    rebuild = Rebuild(plan.replace, plan.recast, plan.converts, wraps=True)
    analog = rebuild.model(model)
    for layer, owner in rebuild.inside:
        if counts_itself(layer):
            made = f"made by '{owner.name}' ({type(owner).__name__}) itself"
            why = made if is_product(layer) else reason_digital(layer) or made
            plan.records[id(layer)] = plan.record(layer, layer.name, why)
    report = ConversionReport(tuple(plan.records.values()), hardware.name)
    if not report.converted:
        kinds = Counter(entry.kind for entry in report.left if entry.weights)
        raise ConversionError(
            f"Model '{model.name}' has no layer to convert; analog versions exist for "
            f"{', '.join(kind.__name__ for kind in (*ANALOG_CLASS, *COMPOSITE_CLASS))}. "
            f"Received layers with weights: {', '.join(kinds) or 'none'}."
        )
    analog.conversion_report = report
    return analog


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
        return kind.from_config({key: value for key, value in layer.get_config().items() if key not in drop})

    def recast(layer: keras.layers.Layer) -> type:
        return next((kind for kind, analog in ANALOG_WRAPPER.items() if isinstance(layer, analog)), type(layer))

    digital = Rebuild(replace, recast, any_analog).model(model)
    if not records:
        raise ConversionError(f"Model '{model.name}' has no analog layer, so it is digital already.")
    digital.conversion_report = ConversionReport(tuple(records), "digital")
    return digital
