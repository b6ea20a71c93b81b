"""Setting W_max and the converter ranges of a model's analog layers from its weights and from data."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from analognets import crossbar as crossbars
from analognets.crossbar import steps
from analognets.crossbar.by_layer import names_layers
from analognets.crossbar.nonideality import Column
from analognets.errors import (
    ConversionError,
    DataWarning,
    InvalidArgumentError,
    UnknownNameError,
    check_choice,
    check_integer,
    check_number,
)
from analognets.layers.adc_gain import PositiveRange
from analognets.layers.base import AnalogLayer
from analognets.layers.calibrated import refresh_compiled
from analognets.layers.input_data import input_batches
from analognets.layers.kept_state import kept_state
from analognets.layers.ranges import along_columns

__all__ = ["analog_layers", "calibrate", "freeze_weight_range", "refresh_compiled", "run_observed", "set_hardware"]

SAMPLES = 50_000
ENOUGH = 1000
"""Inputs of a layer, none of them negative, that say that others are not negative either: a few would by chance."""
SHAPING = ("rows", "cols", "weight_scale", "input_range", "adc_gain")
"""Settings of a crossbar that the variables of a layer depend on."""
RULES = ("percentile", "abs_max", "least_error")
GAIN_CANDIDATES = np.geomspace(0.02, 1.2, 60)


def analog_layers(model: keras.Model) -> list[AnalogLayer]:
    """Return the analog layers of a model, those of nested models and blocks included, each once.

    Raises:
        ConversionError: there is none.

    Examples:
        >>> [layer.name for layer in analog_layers(analog)]
        ['hidden', 'logits']
    """
    found = [layer for layer in model._flatten_layers() if isinstance(layer, AnalogLayer)]
    if not found:
        raise ConversionError(
            f"Model '{model.name}' has no analog layer. Make it analog first: to_analog(model, 'aon_cim_8bit')."
        )
    return found


def freeze_weight_range(model: keras.Model, *, sigma: float | None = 2.0) -> None:
    """Fix W_max of every analog layer and clip its kernel to +-W_max, from now on after every training step too.

    W_max = sigma * std(W), or max |W| if that is smaller or `sigma` is None

    where max |W| is that of the layer, the tile or the column, whichever the hardware has a scale for.

    Args:
        model: a built model with analog layers.
        sigma: clipping range in standard deviations of the layer's kernel, > 0.

    Raises:
        ConversionError: the model has no analog layer.

    Examples:
        >>> fresh = analognets.to_analog(model)
        >>> freeze_weight_range(fresh, sigma=1.0)
        >>> layer = fresh.get_layer("hidden")
        >>> bool(abs(layer.kernel.numpy()).max() <= layer.weight_range())
        True

    Source: AnalogNets (arXiv 2111.06503), end of stage 1 (from memory).
    """
    if sigma is not None:
        check_number("freeze_weight_range", "sigma", sigma, 1e-3, 1e3)
    for layer in analog_layers(model):
        kernel = ops.convert_to_numpy(ops.convert_to_tensor(layer.kernel_variable))
        largest = ops.convert_to_numpy(layer.largest_weights())
        limit = largest if sigma is None else np.minimum(largest, sigma * float(np.std(kernel)))
        layer.freeze_weight_range(np.maximum(limit, PositiveRange.smallest))
    if keras.backend.backend() == "jax":
        refresh_compiled(model)  # there a compiled step holds the number


class Observer:
    """Collects samples of a layer's inputs and products while the model runs eagerly without converters.

    Samples lie by row block: inputs in one list if the layer has one range for all, products in units of gamma.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.inputs: dict[int, list[list[np.ndarray]]] = {}
        self.largest: dict[int, list[list[float]]] = {}
        self.products: dict[int, list[list[np.ndarray]]] = {}
        self.negative: set[int] = set()
        self.seen: dict[int, int] = {}

    def sample(self, values: np.ndarray) -> np.ndarray:
        """Return |values|, or some of them if there are many."""
        flat = np.abs(values.reshape(-1))
        return flat if flat.size <= SAMPLES else self.rng.choice(flat, SAMPLES, replace=False)

    def __call__(self, layer: AnalogLayer, inputs: Any) -> Any:
        whole = layer.crossbar.plain and not layer.splits_rows
        kernel, product = layer.effective_kernel(training=False), layer.product
        if not whole:
            kernel, product = layer.to_crossbar(kernel), layer.programmed_product
        gamma = layer.weight_range()
        blocks = [(0, layer.tiling.kernel_shape[-2])] if whole else layer.tiling.row_blocks
        products = self.products.setdefault(id(layer), [[] for _ in blocks])
        ranges = max(1, len(layer.input_range.shape) and layer.input_range.shape[0])
        seen = self.inputs.setdefault(id(layer), [[] for _ in range(ranges)])
        largest = self.largest.setdefault(id(layer), [[] for _ in range(ranges)])
        total = None
        for i, (first, last) in enumerate(blocks):
            part = inputs if len(blocks) == 1 else ops.take(inputs, range(first, last), axis=layer.channel_axis)
            if i < ranges:
                values = _numpy(inputs if ranges == 1 else part)
                self.seen[id(layer)] = self.seen.get(id(layer), 0) + values.size
                if values.min() < 0:
                    self.negative.add(id(layer))
                seen[i].append(self.sample(values))
                largest[i].append(float(np.max(np.abs(values))))
            outputs = product(part, kernel if whole else kernel[..., first:last, :])
            unit = Column(len(outputs.shape), layer.channel_axis).along(along_columns(gamma, layer.tiling, i))
            products[i].append(self.sample(_numpy(outputs) / _numpy(unit)))
            total = outputs if total is None else total + outputs
        return total

    def is_nonnegative(self, layer: AnalogLayer) -> bool:
        """Whether a layer's inputs are never negative, as far as enough of them tell."""
        return id(layer) not in self.negative and self.seen.get(id(layer), 0) >= ENOUGH

    def ranges_of(self, layer: AnalogLayer, rule: str, percentile: float) -> np.ndarray:
        """Return the input ranges that a rule gives a layer, in the shape of `layer.input_range`, checked."""
        if id(layer) not in self.inputs:
            raise InvalidArgumentError(
                f"Calibration data must reach every analog layer. Received: layer '{layer.name}' was not called. "
                "Give at least one batch, or leave that layer digital."
            )
        found = []
        for samples, largest in zip(self.inputs[id(layer)], self.largest[id(layer)], strict=True):
            values = np.concatenate(samples)
            if not (np.isfinite(values).all() and np.isfinite(largest).all()):
                raise InvalidArgumentError(
                    "Calibration data must give finite inputs at every analog layer. Received: NaN or infinity at "
                    f"layer '{layer.name}'. Check the data and the model's weights."
                )
            if not np.any(values):
                value = 0.0
            elif rule == "least_error":
                value = best_gain([values], layer.crossbar.dac_bits)
            else:
                value = float(np.mean(largest) if rule == "abs_max" else np.percentile(values, percentile))
            found.append(value if value > 0 else float(np.max(largest)))  # most inputs are zeros
        if not all(found):
            rest = max(found) or 1.0
            warnings.warn(
                f"Calibration data gave nothing but zeros at layer '{layer.name}'"
                f"{' or a row block of it' if len(found) > 1 else ''}: its input range is set to {rest:.4g}. Give more "
                "samples, or look for a dead activation in front of it.",
                DataWarning,
                stacklevel=3,
            )
            found = [value or rest for value in found]
        return np.reshape(np.maximum(found, PositiveRange.smallest).astype(np.float32), tuple(layer.input_range.shape))


def _numpy(values: Any) -> np.ndarray:
    return ops.convert_to_numpy(ops.cast(values, "float32"))


def conversion_error(products: np.ndarray, gain: float, bits: int | None) -> float:
    """Relative mean square error of converting normalised products with full scale `gain`."""
    converted = np.clip(products, 0, gain)
    if bits is not None:
        n = steps(bits)
        converted = np.round(converted * n / gain) * gain / n
    return float(np.mean((converted - products) ** 2) / max(float(np.mean(products**2)), 1e-30))


def best_gain(products: list[np.ndarray], bits: int | None | list[int | None]) -> float:
    """Return the S with the least summed relative error of the layers' ADCs, which have bits of their own or alike."""
    each = bits if isinstance(bits, list) else [bits] * len(products)
    largest = max(float(np.max(p)) for p in products)
    if largest == 0 or all(one is None for one in each):
        return max(largest, PositiveRange.smallest)
    errors = [
        sum(conversion_error(p, float(c) * largest, one) for p, one in zip(products, each, strict=True))
        for c in GAIN_CANDIDATES
    ]
    return float(GAIN_CANDIDATES[int(np.argmin(errors))]) * largest


def calibrate(
    model: keras.Model,
    data: Any,
    *,
    percentile: float = 99.995,
    batch_size: int = 100,
    batches: int | None = 10,
    seed: int = 0,
    rule: str = "percentile",
) -> int:
    """Set the converter ranges of every analog layer from data and switch the converters on.

    r_DAC = the percentile of |x| at the layer's input (the largest |x| where that is 0), or at that of each row block
    where the hardware has an input range per tile, or what another rule says; S = the value with the least summed
    relative ADC error over the layers that share it, products taken in units of r_DAC * W_max. Hardware whose ADC bound
    is fixed needs no S.

    Args:
        model: a built model with analog layers; its compiled functions are dropped, weights stay.
        data: inputs as an array, or a dict or list of arrays for a model with several; a tuple (inputs, labels) or
            (inputs, labels, weights), of which the inputs are used; or an iterable (list, tf.data, PyDataset,
            generator) of batches of either kind. So a tuple of batches is taken for inputs and labels: give a list.
        percentile: share of inputs in percent that stay unsaturated, 50 to 100.
        batch_size: for array data.
        batches: how many batches to use; None is all.
        seed: of the sampling of values.
        rule: "percentile"; "abs_max" for the mean over batches of the largest |x|; "least_error" for the range with the
            least mean square error of the DAC.

    Returns:
        How many samples were used. A DataWarning names layers, or row blocks of them, that got nothing but zeros: their
        ranges are those of the layer's other row blocks, or 1.

    Raises:
        ConversionError: the model has no analog layer.
        InvalidArgumentError: `data` holds no batch, is of another structure than the model's inputs, or leads to NaN or
            infinity, or a value is out of range.

    Examples:
        >>> fresh = analognets.to_analog(model)
        >>> calibrate(fresh, x)
        40
        >>> [layer.calibrated for layer in analog_layers(fresh)]
        [True, True]

    Source: ranges from percentiles as in Buechel et al., ICLR 2022 (99.995, verified in their code); "abs_max": Rasch
    et al., Nat. Commun. 14:5282 (2023), direct mapping (verified); the rule for S is our reconstruction.
    """
    check_number("calibrate", "percentile", percentile, 50, 100)
    check_integer("calibrate", "batch_size", batch_size, 1, 1 << 20)
    check_choice("calibrate", "rule", rule, RULES)
    layers = analog_layers(model)
    observer = Observer(np.random.default_rng(seed))
    samples = run_observed(model, layers, observer, input_batches(model, data, batch_size, batches))
    gains: dict[int, tuple[Any, list[int | None], list[np.ndarray]]] = {}
    observed = [observer.ranges_of(layer, rule, percentile) for layer in layers]
    for layer, ranges in zip(layers, observed, strict=True):
        layer.input_range.assign(ranges)
        layer.nonnegative = observer.is_nonnegative(layer)
        if layer.crossbar.adc_gain == "fixed":
            continue
        blocks = observer.products[id(layer)]
        units = np.broadcast_to(ranges, (len(blocks),))
        values = np.concatenate([np.concatenate(b) / unit for b, unit in zip(blocks, units, strict=True)])
        _, widths, products = gains.setdefault(id(layer.adc_gain), (layer.adc_gain, [], []))
        widths.append(layer.crossbar.adc_bits)
        products.append(values)
    for gain, bits, products in gains.values():
        gain.gain.assign(max(best_gain(products, bits), PositiveRange.smallest))
    for layer in layers:
        layer.calibrated = True
    refresh_compiled(model)
    return samples


def set_hardware(model: keras.Model, crossbar: Any) -> None:
    """Exchange the crossbar of a model's analog layers, without training: what another chip makes of the same network.

    Args:
        model: a model with analog layers; its compiled functions are dropped, weights and ranges stay.
        crossbar: a `Crossbar`, the name of a preset or a config; or a dict of them by layer name, for some layers.

    Raises:
        ConversionError: the model has no analog layer, or the new crossbar has other tiles or scales than the old one.
        UnknownNameError: a name of the dict is no analog layer.

    Examples:
        >>> fresh = analognets.to_analog(model, calibrate_on=x)
        >>> set_hardware(fresh, "aon_cim_4bit")
        >>> fresh.get_layer("hidden").crossbar.adc_bits
        4
    """
    layers = analog_layers(model)
    known = {layer.name for layer in layers}
    wanted = dict(crossbar) if names_layers(crossbar) else dict.fromkeys(known, crossbar)
    for name in wanted:
        if name not in known:
            raise UnknownNameError("analog layer", name, sorted(known))
    chosen = {name: crossbars.get(one) for name, one in wanted.items()}
    for layer in layers:
        for setting in SHAPING if layer.name in chosen else ():
            old, new = getattr(layer.crossbar, setting), getattr(chosen[layer.name], setting)
            if old != new:
                raise ConversionError(
                    f"The hardware of a trained model can change in all but {', '.join(SHAPING)}. Received: "
                    f"{setting}={new!r} instead of {old!r} for layer '{layer.name}'. Convert the digital model anew."
                )
    for layer in layers:
        layer.crossbar = chosen.get(layer.name, layer.crossbar)
        layer.prepare_draws()
    refresh_compiled(model)


def run_observed(
    model: keras.Model, layers: list[AnalogLayer], observer: Callable[[AnalogLayer, Any], Any], batches: Iterator[Any]
) -> int:
    """Run the model with every layer's product computed by the observer; returns the number of samples.

    Args:
        model: that has the layers.
        layers: those that are observed.
        observer: function of a layer and its inputs that returns its product.
        batches: inputs.
    """
    samples = 0
    for layer in layers:
        layer._observer = observer
    try:
        with kept_state(model):
            for inputs in batches:
                samples += len(keras.tree.flatten(inputs)[0])
                model(inputs, training=False)
    finally:
        for layer in layers:
            layer._observer = None
    return samples
