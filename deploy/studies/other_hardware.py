"""A trained analog network on other hardware than it was trained for: other bits, other arrays, the same weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from analognets.conversion import to_analog, to_digital
from analognets.crossbar import Crossbar, HardwareByLayer
from analognets.errors import ConversionError, InvalidArgumentError, UnknownNameError, check_choice
from analognets.layers import AnalogLayer, analog_layers, calibrate
from analognets.training.recipe import HardwareAware
from analognets.zoo.tasks import Task
from analognets.zoo.trained import TrainedNetwork

__all__ = ["RANGES", "by_name", "hardware_with", "named_hardware", "on_hardware", "trained_on_hardware"]

RANGES = ("calibrated", "kept")
"""What may become of the trained converter ranges: set again on data where bits or row blocks change, or kept."""

TRAINED, CALIBRATED = "trained", "calibrated anew"


def hardware_with(model: keras.Model, bits: int, *, rows: int | None = None, cols: int | None = None) -> Crossbar:
    """Return the crossbar a network was trained for with other converters and arrays.

    Args:
        model: with analog layers.
        bits: of the ADCs; the DACs keep as many more or fewer as they have.
        rows: of an array; None: as trained.
        cols: likewise.

    Raises:
        ConversionError: its layers lie on different hardware.
    """
    own, *others = {layer.crossbar for layer in analog_layers(model)}
    if others:
        raise ConversionError(
            f"Other bits and arrays are set for all layers together. Received: '{model.name}', whose layers lie on "
            f"different hardware: {', '.join(sorted({one.name for one in (own, *others)}))}. Convert the digital model "
            "with the hardware you want."
        )
    extra = 0 if own.dac_bits is None or own.adc_bits is None else own.dac_bits - own.adc_bits
    return own.replace(adc_bits=bits, dac_bits=bits + extra, rows=rows or own.rows, cols=cols or own.cols)


def on_hardware(
    model: keras.Model,
    hardware: Crossbar | Mapping[str, Crossbar | None],
    calibration: Any = None,
    *,
    ranges: str = "calibrated",
    percentile: float = 99.995,
) -> tuple[keras.Model, str]:
    """Put a trained analog network on other hardware without training: the same weights and weight ranges, mapped anew.

    A range that was trained for 8 bits is too wide for 4: few steps are left for most values. A range that was trained
    for whole columns is too wide for the partial sums of row blocks. So they are set again on data, as a lab would, if
    the bits or the row blocks change. With "kept" they stay, as in a sweep of `adc_bits`: what the bits alone do.

    Args:
        model: calibrated analog model; it stays as it is.
        hardware: for all its analog layers, or for each by its name, None to leave it digital; the trained one gives
            back the model itself.
        calibration: inputs that set the ranges, as of `calibrate`; not needed with "kept".
        ranges: "calibrated" or "kept".
        percentile: as of `calibrate`.

    Returns:
        The model, and where its ranges are from: "trained" or "calibrated anew".

    Raises:
        ConversionError: a layer doesn't fit on the arrays, or its ranges can't be kept on them.
        InvalidArgumentError: `ranges` is none of these, or there are no calibration data.
    """
    check_choice("on_hardware", "ranges", ranges, RANGES)
    before = analog_layers(model)
    wanted = hardware if isinstance(hardware, Mapping) else {layer.name: hardware for layer in before}
    if all(layer.crossbar == wanted[layer.name] for layer in before):
        return model, TRAINED
    made = _mapped(model, before, wanted)
    kept = [layer for layer in before if wanted[layer.name] is not None]
    after = list(zip(analog_layers(made), kept, strict=True))
    keep = ranges == "kept" or all(_fits_alike(layer, old) for layer, old in after)
    for layer, old in after:
        _copy_ranges(layer, old, keep)
    if keep:
        return made, TRAINED
    if calibration is None:
        raise InvalidArgumentError(
            "Converter ranges can be set only on data. Received: calibration=None. Give inputs of the network, or "
            "keep the trained ranges with ranges='kept'."
        )
    calibrate(made, calibration, percentile=percentile)
    return made, CALIBRATED


def by_name(model: keras.Model, hardware: HardwareByLayer) -> dict[str, Crossbar | None]:
    """Return the crossbar of each analog layer by its name, as `on_hardware` takes them; None for one left digital.

    Raises:
        UnknownNameError: the hardware names something else than an analog layer.
    """
    names = [layer.name for layer in analog_layers(model)]
    for name in hardware.layers:
        if name not in names:
            raise UnknownNameError("analog layer", name, names)
    return {name: hardware.layers.get(name, hardware.default) for name in names}


def named_hardware(model: keras.Model, hardware: Any) -> keras.Model:
    """Return a network on hardware that is named, its trained weights and converter ranges kept; a plain one converted.

    Args:
        model: analog or plain; it stays as it is.
        hardware: as `to_analog` takes it, such as the path of a file that `design` wrote.

    Raises:
        UnknownNameError: there is no such hardware or layer.
        ConversionError: a layer doesn't fit on the arrays, or its ranges can't be kept on them.
    """
    wanted = HardwareByLayer.of(hardware)
    if not any(isinstance(layer, AnalogLayer) for layer in model._flatten_layers()):
        return to_analog(model, wanted)
    return on_hardware(model, by_name(model, wanted), ranges="kept")[0]


def trained_on_hardware(
    trained: TrainedNetwork, hardware: Crossbar, task: Task, *, ranges: str = "calibrated"
) -> tuple[keras.Model, str]:
    """Put a trained network on other hardware with the calibration of its recipe; see `on_hardware`.

    Args:
        trained: with an analog network and a recipe.
        hardware: as of `on_hardware`.
        task: its data, loaded with training features to calibrate on.
        ranges: as of `on_hardware`.

    Raises:
        ConversionError: it has no analog network or no recipe, or a layer doesn't fit on the arrays.
    """
    stage = trained.known_recipe().hardware_aware or HardwareAware()
    percentile = stage.calibration.percentile
    return on_hardware(
        trained.analog_model(), hardware, task.training.calibration, ranges=ranges, percentile=percentile
    )


def _fits_alike(layer: AnalogLayer, old: AnalogLayer) -> bool:
    """Whether a layer can keep the ranges of the one it was made from: it has its converters and row blocks."""
    widths = [(one.crossbar.dac_bits, one.crossbar.adc_bits) for one in (layer, old)]
    return widths[0] == widths[1] and layer.tiling.row_blocks == old.tiling.row_blocks


def _mapped(model: keras.Model, before: list[AnalogLayer], wanted: Mapping[str, Crossbar | None]) -> keras.Model:
    """Return the network on other arrays; the layers that were digital stay so."""
    digital = to_digital(model)
    analog = {layer.name: one for layer in before if (one := wanted[layer.name]) is not None}
    if not analog:
        raise ConversionError(
            f"One layer at least must stay analog. Received: model '{model.name}' with all of its layers digital."
        )
    default = next(iter(analog.values()))
    plain = [entry.layer for entry in to_analog(digital, {"default": default, **analog}).conversion_report.converted]
    tall = [name for name in analog if name not in plain]
    if tall:
        rows = ", ".join(sorted({str(analog[name].rows) for name in tall}))
        raise ConversionError(
            f"Layers {', '.join(tall)} do not fit on arrays of {rows} rows: one input channel needs more. "
            "Explore taller arrays."
        )
    return to_analog(digital, {"default": default, **analog}, exempt=[name for name in plain if name not in analog])


def _copy_ranges(layer: AnalogLayer, old: AnalogLayer, keep: bool) -> None:
    """Give a layer the ranges of the one it was made from, where they have the same shape."""
    gamma = np.asarray(old.weight_range())
    if gamma.shape == tuple(layer.w_max.shape):
        layer.freeze_weight_range(gamma)
    if old.input_range.shape == layer.input_range.shape:
        layer.input_range.assign(old.input_range.value)
    elif keep:
        raise ConversionError(
            f"Layer '{layer.name}' has an input range for each of {len(old.tiling.row_blocks)} row blocks, which can't "
            f"be kept with {len(layer.tiling.row_blocks)} of them. Set the ranges again: ranges='calibrated'."
        )
    layer.adc_gain.gain.assign(old.adc_gain.gain.value)
    layer.nonnegative = old.nonnegative
    layer.calibrated = True
