"""Setting W_max and the converter ranges of a model's analog layers from its weights and from data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from analognets.crossbar import steps
from analognets.errors import ConversionError, InvalidArgumentError, check_integer, check_number
from analognets.layers.adc_gain import PositiveRange
from analognets.layers.base import AnalogLayer

__all__ = ["analog_layers", "calibrate", "freeze_weight_range", "refresh_compiled"]

SAMPLES = 50_000
GAIN_CANDIDATES = np.geomspace(0.02, 1.2, 60)


def analog_layers(model: keras.Model) -> list[AnalogLayer]:
    """Return the analog layers of a model, those of nested models and blocks included, each once.

    Raises:
        ConversionError: there is none.
    """
    found = [layer for layer in model._flatten_layers() if isinstance(layer, AnalogLayer)]
    if not found:
        raise ConversionError(
            f"Model '{model.name}' has no analog layer. Make it analog first: to_analog(model, 'aon_cim_8bit')."
        )
    return found


def refresh_compiled(model: keras.Model) -> None:
    """Drop a compiled model's traced functions, so that changed layer settings take effect."""
    for name in ("train_function", "test_function", "predict_function"):
        if getattr(model, name, None) is not None:
            setattr(model, name, None)


def freeze_weight_range(model: keras.Model, *, sigma: float | None = 2.0) -> None:
    """Fix W_max of every analog layer and clip its kernel to +-W_max, from now on after every training step too.

    W_max = sigma * std(W), or max |W| if that is smaller or `sigma` is None.

    Args:
        model: a built model with analog layers.
        sigma: clipping range in standard deviations of the layer's kernel, > 0.

    Raises:
        ConversionError: the model has no analog layer.

    Source: AnalogNets (arXiv 2111.06503), end of stage 1 (from memory).
    """
    if sigma is not None:
        check_number("freeze_weight_range", "sigma", sigma, 1e-3, 1e3)
    for layer in analog_layers(model):
        kernel = ops.convert_to_numpy(layer.kernel_variable.value)
        largest = float(np.max(np.abs(kernel)))
        limit = largest if sigma is None else min(largest, sigma * float(np.std(kernel)))
        layer.freeze_weight_range(max(limit, PositiveRange.smallest))
    if keras.backend.backend() == "jax":
        refresh_compiled(model)  # there a compiled step holds the number


def input_batches(data: Any, batch_size: int, batches: int | None) -> Iterator[Any]:
    """Yield batches of inputs from an array, a dataset of (inputs, labels) or any iterable of batches."""
    if hasattr(data, "shape"):
        count = -(-len(data) // batch_size)
        pieces: Iterable[Any] = (data[i * batch_size : (i + 1) * batch_size] for i in range(count))
    else:
        pieces = (item[0] if isinstance(item, tuple) else item for item in data)
    for number, piece in enumerate(pieces):
        if batches is not None and number >= batches:
            return
        yield piece


class Observer:
    """Collects samples of a layer's inputs and products while the model runs eagerly without converters."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.inputs: dict[int, list[np.ndarray]] = {}
        self.products: dict[int, list[np.ndarray]] = {}

    def sample(self, values: Any) -> np.ndarray:
        """Return |values|, or some of them if there are many."""
        flat = np.abs(ops.convert_to_numpy(ops.cast(values, "float32")).reshape(-1))
        return flat if flat.size <= SAMPLES else self.rng.choice(flat, SAMPLES, replace=False)

    def __call__(self, layer: AnalogLayer, inputs: Any) -> Any:
        kernel = layer.effective_kernel(training=False)
        self.inputs.setdefault(id(layer), []).append(self.sample(inputs))
        if layer.splits_rows:
            products = self.products.setdefault(id(layer), [])

            def product(part: Any, block: Any) -> Any:
                outputs = layer.product(part, block)
                products.append(self.sample(outputs))
                return outputs

            return layer.tiled_product(inputs, kernel, None, product)
        outputs = layer.product(inputs, kernel)
        self.products.setdefault(id(layer), []).append(self.sample(outputs))
        return outputs

    def inputs_of(self, layer: AnalogLayer) -> np.ndarray:
        """Return the sampled |x| at a layer's input, checked."""
        if id(layer) not in self.inputs:
            raise InvalidArgumentError(
                f"Calibration data must reach every analog layer. Received: layer '{layer.name}' was not called. "
                "Give at least one batch, or leave that layer digital."
            )
        values = np.concatenate(self.inputs[id(layer)])
        if not np.isfinite(values).all():
            raise InvalidArgumentError(
                "Calibration data must give finite inputs at every analog layer. Received: NaN or infinity at layer "
                f"'{layer.name}'. Check the data and the model's weights."
            )
        return values


def conversion_error(products: np.ndarray, gain: float, bits: int) -> float:
    """Relative mean square error of converting normalised products with full scale `gain`."""
    n = steps(bits)
    converted = np.round(np.clip(products, 0, gain) * n / gain) * gain / n
    return float(np.mean((converted - products) ** 2) / max(float(np.mean(products**2)), 1e-30))


def best_gain(products: list[np.ndarray], bits: int | None) -> float:
    """Return the S with the least summed relative error of the layers' ADCs."""
    largest = max(float(np.max(p)) for p in products)
    if bits is None or largest == 0:
        return max(largest, PositiveRange.smallest)
    errors = [sum(conversion_error(p, float(c) * largest, bits) for p in products) for c in GAIN_CANDIDATES]
    return float(GAIN_CANDIDATES[int(np.argmin(errors))]) * largest


def calibrate(
    model: keras.Model,
    data: Any,
    *,
    percentile: float = 99.995,
    batch_size: int = 100,
    batches: int | None = 10,
    seed: int = 0,
) -> None:
    """Set the converter ranges of every analog layer from data and switch the converters on.

    r_DAC = the percentile of |x| at the layer's input; S = the value with the least summed relative ADC error over the
    layers that share it, products taken in units of r_DAC * W_max.

    Args:
        model: a built model with analog layers; its compiled functions are dropped, weights stay.
        data: inputs as an array, or an iterable (tf.data) of batches or (inputs, labels).
        percentile: share of inputs in percent that stay unsaturated, 50 to 100.
        batch_size: for array data.
        batches: how many batches to use; None is all.
        seed: of the sampling of values.

    Raises:
        ConversionError: the model has no analog layer.
        InvalidArgumentError: `data` holds no batch or leads to NaN or infinity, or a value is out of range.

    Source: ranges from percentiles as in Buechel et al., ICLR 2022 (99.995, verified in their code); the rule
    for S is our reconstruction.
    """
    check_number("calibrate", "percentile", percentile, 50, 100)
    check_integer("calibrate", "batch_size", batch_size, 1, 1 << 20)
    layers = analog_layers(model)
    observer = Observer(np.random.default_rng(seed))
    _run_observed(model, layers, observer, input_batches(data, batch_size, batches))
    gains: dict[int, tuple[Any, int | None, list[np.ndarray]]] = {}
    observed = [observer.inputs_of(layer) for layer in layers]
    for layer, values in zip(layers, observed, strict=True):
        layer.input_range.assign(max(float(np.percentile(values, percentile)), PositiveRange.smallest))
        unit = float(ops.convert_to_numpy(layer.input_range.value * layer.weight_range()))
        products = np.concatenate(observer.products[id(layer)]) / unit
        gains.setdefault(id(layer.adc_gain), (layer.adc_gain, layer.crossbar.adc_bits, []))[2].append(products)
    for gain, bits, samples in gains.values():
        gain.gain.assign(max(best_gain(samples, bits), PositiveRange.smallest))
    for layer in layers:
        layer.calibrated = True
    refresh_compiled(model)


def _run_observed(model: keras.Model, layers: list[AnalogLayer], observer: Observer, batches: Iterator[Any]) -> None:
    """Run the model with every layer's product computed by the observer."""
    for layer in layers:
        layer._observer = observer
    try:
        for inputs in batches:
            model(inputs, training=False)
    finally:
        for layer in layers:
            layer._observer = None
