"""What the page is told of a trained network: layers, constants of the physics, front end, cost. The one place."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from analognets.crossbar import Crossbar
from analognets.deploy.accelerator import cost, load_accelerator
from analognets.deploy.page.packing import tensor_index
from analognets.devices import DriftCompensation, GlobalDriftCompensation, InputDriftCompensation
from analognets.devices.pcm import LOWEST, PCM
from analognets.errors import ConversionError
from analognets.layers import AnalogConv2D, AnalogDense, AnalogLayer, analog_layers
from analognets.zoo.trained import TrainedNetwork, digital_twin

__all__ = ["describe", "describe_frontend", "tensors_of"]

ACCELERATOR = "aon_cim"
CONSTANTS = (
    *("g_max", "programming_noise_scale", "drift_scale", "read_noise_scale", "t_0", "t_read", "read_noise_log_divisor"),
    *("programming_fit", "programming_fit_g_max", "drift_mean_fit", "drift_spread_fit", "read_noise_fit"),
)
VARIABLES = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance", "input_range", "w_max", "gain")
PAGE_DEVICE = {
    "drift_clock": "absolute",
    "read_noise_reference": "target",
    "read_noise_scaling": "drifted",
    "read_noise_clock": "drift",
    "drift_exponent": "non_negative",
    "read_noise": "independent",
}
"""What of the options of `PCM` the page computes."""


def describe(trained: TrainedNetwork, *, name: str, family: str, title: str, reference: str) -> dict[str, Any]:
    """Return what the page needs to know of a network, as plain data.

    Args:
        trained: a chain of convolutions and dense layers with batch-norm and ReLU; analog or digital.
        name: that the page calls it.
        family: networks of one architecture and one front end.
        title: shown to choose it by.
        reference: name of the float network of the family.

    Raises:
        ConversionError: the page can't compute it: other layers, another device, several tiles for a layer.

    Examples:
        >>> trained = analognets.zoo.trained.open_trained("analognet_kws.hwa_8bit")
        >>> found = describe(trained, name="kws", family="kws", title="Keywords", reference="kws")
        >>> type(found).__name__
        'dict'
    """
    model = trained.model
    layers = _chain(model)
    record = getattr(getattr(trained, "preset", None), "record", None)
    return {
        "name": name,
        "family": family,
        "title": title,
        "description": "" if record is None else record.description,
        "statement": str(trained.data.get("statement", "")),
        "classes": list(trained.classes),
        "input_shape": [int(side) for side in model.input_shape[1:]],
        "accuracy": None if record is None else record.accuracy.digital,
        "reference": reference,
        "layers": layers,
        "tensors": tensor_index(tensors_of(model)),
        "crossbar": _crossbar(model) if trained.is_analog else None,
        "int8": None,
        "cost": _cost(model) if trained.is_analog else None,
    }


def describe_frontend(frontend: Any) -> dict[str, Any]:
    """Return the constants of a front end, its matrices included.

    Args:
        frontend: an `MFCC` without `normalize`, or an `Image` in colour that stretches.

    Raises:
        ConversionError: it is another one.
    """
    from analognets.datasets.frontend import MFCC
    from analognets.datasets.image_frontend import Image

    if isinstance(frontend, MFCC) and frontend.normalize is None:
        identity = np.eye(frontend.mel_bands, dtype=np.float32)[None]
        zero = frontend.cepstra(np.zeros_like(identity[:, :1]))
        offset = -np.asarray(keras.ops.convert_to_numpy(zero), np.float64)[0, 0, :, 0]
        cosine = np.asarray(keras.ops.convert_to_numpy(frontend.cepstra(identity)), np.float64)[0, :, :, 0] + offset
        names = ("sample_rate", "window_length", "hop_length", "fft_length", "log_offset", "coefficients")
        return {
            "kind": "audio",
            **{name: getattr(frontend, name) for name in names},
            "mel": _rounded(frontend.mel_matrix()),
            "cosine": _rounded(cosine),
            "offset": _rounded(offset),
        }
    if isinstance(frontend, Image) and not frontend.grey and frontend.fit == "stretch":
        mean, std = (np.broadcast_to(np.asarray(value, np.float64), (3,)) for value in (frontend.mean, frontend.std))
        return {
            "kind": "picture",
            "size": list(frontend.size),
            "scale": _rounded(1 / (255 * std)),
            "offset": _rounded(mean / std),
        }
    raise ConversionError(
        "The lab page has the front ends MFCC (without normalize) and Image (colour, fit='stretch'). Received: "
        f"{type(frontend).__name__}."
    )


def tensors_of(model: keras.Model) -> dict[str, np.ndarray]:
    """Return the weights that the page computes with, by layer and variable: kernels in float16, others in float32."""
    found: dict[str, np.ndarray] = {}
    for layer in model.layers:
        gain = layer.adc_gain if isinstance(layer, AnalogLayer) else None
        owned = [(layer, variable) for variable in layer.variables if gain is None or variable is not gain.gain]
        for owner, variable in [*owned, *([] if gain is None else [(gain, gain.gain)])]:
            if variable.name in VARIABLES:
                values = np.asarray(keras.ops.convert_to_numpy(variable.value), np.float32)
                found[f"{owner.name}/{variable.name}"] = (
                    values.astype(np.float16) if variable.name == "kernel" else values
                )
    return found


def _chain(model: keras.Model) -> list[dict[str, Any]]:
    """Return the products of a chain of layers with what follows each of them."""
    products: list[dict[str, Any]] = []
    is_pooled, before = False, None
    for layer in model.layers:
        if before is not None and layer.input is not before.output:
            raise ConversionError(f"The lab page computes chains of layers. Received: layer '{layer.name}' elsewhere.")
        before = layer
        if isinstance(layer, (keras.layers.InputLayer, keras.layers.Dropout)):
            continue
        if isinstance(layer, keras.layers.GlobalAveragePooling2D):
            is_pooled = True
        elif type(layer) in (keras.layers.Conv2D, keras.layers.Dense, AnalogConv2D, AnalogDense):
            products.append(_product(layer, is_pooled))
            is_pooled = False
        elif _norm_fits(layer, products, is_pooled):
            products[-1]["norm"] = {"name": layer.name, "epsilon": layer.epsilon}
        elif _is_plain_relu(layer) and products and not is_pooled:
            products[-1]["relu"] = True
        else:
            raise ConversionError(
                "The lab page computes convolutions and dense layers, each followed by a batch-norm, a plain ReLU and "
                f"a global average pool, in this order. Received: layer '{layer.name}' of type {type(layer).__name__}."
            )
    return products


def _norm_fits(layer: Any, products: list[dict[str, Any]], is_pooled: bool) -> bool:
    """Whether a layer is a batch-norm right behind a product, where the page computes it."""
    if not isinstance(layer, keras.layers.BatchNormalization) or not products or is_pooled:
        return False
    return bool(layer.scale and layer.center and products[-1]["norm"] is None and not products[-1]["relu"])


def _is_plain_relu(layer: Any) -> bool:
    """Whether a layer is max(x, 0)."""
    if type(layer) is not keras.layers.ReLU:
        return False
    return layer.max_value is None and not layer.negative_slope and not layer.threshold


def _product(layer: Any, is_pooled: bool) -> dict[str, Any]:
    is_conv = isinstance(layer, keras.layers.Conv2D)
    if (
        layer.activation is not keras.activations.linear
        or is_conv
        and (layer.groups, layer.dilation_rate) != (1, (1, 1))
    ):
        raise ConversionError(
            "The lab page computes layers without an activation, groups or dilation of their own. Received: layer "
            f"'{layer.name}'."
        )
    return {
        "name": layer.name,
        "kind": "conv" if is_conv else "dense",
        "kernel": [int(side) for side in layer.kernel.shape],
        "strides": [int(side) for side in layer.strides] if is_conv else [1, 1],
        "padding": layer.padding if is_conv else "valid",
        "bias": bool(layer.use_bias),
        "norm": None,
        "relu": False,
        "pooled": is_pooled,
    }


def _crossbar(model: keras.Model) -> dict[str, Any]:
    """Return the hardware of a model, if the page's equations are those of it."""
    layers = analog_layers(model)
    hardware: Crossbar = layers[0].crossbar
    device, rule = hardware.device, hardware.drift_compensation
    reasons = {
        "its layers are on different hardware": any(layer.crossbar != hardware for layer in layers),
        "a layer is cut into several tiles": any(layer.tiling.shape != (1, 1) for layer in layers),
        "its hardware has more than converters": not hardware.plain or hardware.adc_gain != "shared",
        "it has an ideal converter": hardware.dac_bits is None or hardware.adc_bits is None,
        "its device is not the PCM of the page": type(device) is not PCM
        or any(getattr(device, name) != value for name, value in PAGE_DEVICE.items()),
        "its drift compensation is another one": not _known(rule),
        "its converter ranges are not set": any(not layer.calibrated or not float(layer.w_max) for layer in layers),
    }
    for reason, holds in reasons.items():
        if holds:
            raise ConversionError(f"The lab page can't compute this network: {reason}. Received: '{model.name}'.")
    return {
        "rows": hardware.rows,
        "cols": hardware.cols,
        "dac_bits": hardware.dac_bits,
        "adc_bits": hardware.adc_bits,
        "device": {**{name: getattr(device, name) for name in CONSTANTS}, "lowest": LOWEST},
        "compensation": {
            "name": "input" if isinstance(rule, InputDriftCompensation) else "global",
            "floor": getattr(rule, "floor", 1.0),
            "limit": getattr(rule, "limit", InputDriftCompensation().limit),
        },
    }


def _known(rule: DriftCompensation | None) -> bool:
    return type(rule) in (GlobalDriftCompensation, InputDriftCompensation) and rule.readout == "one_hot"  # type: ignore[union-attr]


def _cost(model: keras.Model) -> dict[str, Any]:
    """Return energy with its range and time of an inference by bits, with a factor on inputs ("input") and without."""
    chip = load_accelerator(ACCELERATOR)
    energy: dict[str, dict[str, float]] = {}
    ranges: dict[str, dict[str, list[float] | None]] = {}
    latency: dict[str, float] = {}
    for kind, network in (("input", model), ("other", digital_twin(model))):
        found = {bits: cost(network, chip, bits=bits) for bits in range(chip.min_bits, chip.max_bits + 1)}
        energy[kind] = {str(bits): round(one.energy_uj, 6) for bits, one in found.items()}
        ends = {bits: one.energy_range_uj for bits, one in found.items()}
        ranges[kind] = {str(bits): None if pair is None else _rounded(pair) for bits, pair in ends.items()}
        latency = {str(bits): round(one.latency_us, 4) for bits, one in found.items()}
    return {"accelerator": chip.name, "energy_uj": energy, "energy_range_uj": ranges, "latency_us": latency}


def _rounded(values: Any) -> Any:
    """Return an array as nested lists of numbers with nine digits, which is what float32 holds."""
    array = np.asarray(values, np.float64)
    return [_rounded(one) for one in array] if array.ndim > 1 else [float(f"{one:.9g}") for one in array]
