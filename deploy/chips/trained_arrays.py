"""Arrays that learned on their devices become a chip: they are programmed already."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from analognets import crossbar as crossbars
from analognets.conversion import to_analog, to_digital
from analognets.crossbar.cells import PINNED
from analognets.crossbar.nonidealities import StuckDevices
from analognets.deploy.chips.chip import Chip
from analognets.deploy.chips.chips import Chips
from analognets.deploy.chips.programming import ProgrammedLayer, arithmetic
from analognets.devices import Device, ParallelDevices, derive_seed
from analognets.errors import ConversionError, InvalidArgumentError, check_integer
from analognets.layers import AnalogLayer, analog_layers, calibrate
from analognets.training.in_memory import MixedPrecision, Synapses

__all__ = ["from_devices"]

MOST_SYNAPSES = 1 << 24  # whole numbers that float32 holds exactly


def from_devices(
    model: keras.Model,
    calibration: Any,
    *,
    hardware: Any = "aon_cim_8bit",
    exempt: str | Iterable[str] = (),
    percentile: float = 99.995,
    batches: int = 10,
    seed: int = 0,
) -> Chips:
    """Return the chip that a model with `MixedPrecision` has learned, for evaluation over drift time.

    Every analog layer gets the very devices of its kernel: conductances, pulses so far, and how long ago each was
    pulsed. Nothing is programmed anew. The chip's time 0 is the last training step, to which drift compensation refers;
    devices that were pulsed long before have drifted already and drift less from then on. Several devices per polarity
    become `ParallelDevices`. Variables that were left digital stay digital.

    Args:
        model: compiled with a built `MixedPrecision` optimizer; plain, or analog already: its ranges are set anew.
        calibration: inputs (array, or dataset of batches) that set the converter ranges.
        hardware: converters, tiles and compensation; its device is replaced by the optimizer's.
        exempt: names of layers to leave digital; those not learned on devices must be.
        percentile: as of `analognets.layers.calibrate`.
        batches: as there.
        seed: of the noise of the readings, >= 0.

    Returns:
        `Chips` with one chip.

    Raises:
        ConversionError: the model has no devices, a layer that would become analog was not learned on any, or the
            model's weights were set after training and the devices hold others.
        InvalidArgumentError: the hardware has stuck devices, which training knew nothing of.

    Examples:
        >>> net = analognets.conversion.same_model(model)
        >>> net.compile(analognets.training.in_memory.MixedPrecision(device="pulsed_pcm", seed=0), "mse")
        >>> net.optimizer.build(net.trainable_variables)
        >>> chips = from_devices(net, calibration=x)
        >>> chips.evaluate((x, y), at=["1d"])[["chip", "at"]].values.tolist()
        [[0, '1d']]

    Source: our reconstruction.
    """
    check_integer("from_devices", "seed", seed, 0, 2**31 - 1)
    optimizer = getattr(model, "optimizer", None)
    if not isinstance(optimizer, MixedPrecision) or not optimizer.built:
        raise ConversionError(
            "from_devices needs a model whose weights were learned on devices. Received: the optimizer "
            f"{type(optimizer).__name__}. Train it with MixedPrecision, or use analognets.deploy.program."
        )
    device: Device = optimizer.device
    if optimizer.rules.devices_per_polarity > 1:
        device = ParallelDevices(device=device, copies=optimizer.rules.devices_per_polarity)
    crossbar = crossbars.get(hardware).replace(device=device)
    if any(isinstance(one, StuckDevices) and one.active for one in crossbar.nonidealities):
        raise InvalidArgumentError(
            "Trained arrays can't get stuck devices afterwards. Received: hardware with StuckDevices. Leave them out."
        )
    exempt = [exempt] if isinstance(exempt, str) else list(exempt)
    for array in optimizer.synapses:
        _check_weights(array, optimizer.time, seed)
    places = _places(model, optimizer.synapses, crossbar, exempt)
    analog = _on_hardware(model, crossbar, exempt)
    layers = analog_layers(analog)
    found = [_source(layer, place, optimizer.synapses) for layer, place in zip(layers, places, strict=True)]
    states, maxes = [], []
    for layer, (array, index) in zip(layers, found, strict=True):
        layer.freeze_weight_range(array.scale * device.g_max)
        states.append(_state(array, index, optimizer.time, off=crossbar.inactive_device == "off"))
        maxes.append(np.asarray(keras.ops.convert_to_numpy(layer.weight_range()), np.float32))
    calibrate(analog, calibration, percentile=percentile, batches=batches)
    programmed = [
        ProgrammedLayer(state, most if most.ndim else float(most), np.ones(()))
        for state, most in zip(states, maxes, strict=True)
    ]
    arithmetic(layers).take_references(layers, programmed, seed)
    return Chips(analog, [Chip(0, seed, programmed)], seed)


def _check_weights(array: Synapses, time: float, seed: int) -> None:
    """Raise unless the weights are a reading of their devices at any time until now, up to noise."""
    fresh, now, again = (
        array.conductances(moment, seed=derive_seed(seed, array.number, "check", number)).numpy()
        for number, moment in enumerate((0.0, time, time))  # at 0 nothing has drifted yet
    )
    low, high = (
        np.ravel(array.weights(np.stack([one[0], other[1]])).numpy()) for one, other in ((now, fresh), (fresh, now))
    )
    read, weights = np.ravel(array.weights(now).numpy()), np.ravel(array.variable.numpy())
    noise = np.ravel(array.weights(again).numpy()) - read
    away = _rms(np.maximum(np.maximum(low - weights, weights - high), 0.0))
    allowed = 1.5 * _rms(noise) + 0.05 * _rms(read)
    if away > allowed:
        raise ConversionError(
            f"The weights of '{array.path}' are not those of its devices: they were set after training, for example by "
            f"EarlyStopping(restore_best_weights=True). Received: {away:.3g} away, {allowed:.3g} is noise. Write them "
            "to the devices with model.optimizer.program() first."
        )


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _on_hardware(model: keras.Model, crossbar: crossbars.Crossbar, exempt: list[str]) -> keras.Model:
    """Return the model on other hardware, from its plain form if it is analog."""
    analog = any(isinstance(layer, AnalogLayer) for layer in model._flatten_layers())
    return to_analog(to_digital(model) if analog else model, crossbar, exempt=exempt)


def _places(
    model: keras.Model, arrays: list[Synapses], crossbar: crossbars.Crossbar, exempt: list[str]
) -> list[np.ndarray]:
    """Return where each cell of each analog layer comes from: numbers of synapses through all arrays, 0 for none.

    The conversion itself moves the numbers, so whatever it does to the layout of kernels is done to them.
    """
    if sum(array.size for array in arrays) >= MOST_SYNAPSES:
        raise ConversionError(f"from_devices takes networks of less than {MOST_SYNAPSES:,} synapses.")
    kept = model.get_weights()
    try:
        model.set_weights([np.zeros_like(values) for values in kept])
        first = 1
        for array in arrays:
            array.variable.assign(np.arange(first, first + array.size, dtype="float32").reshape(array.shape))
            first += array.size
        marked = analog_layers(_on_hardware(model, crossbar, exempt))
        return [np.rint(keras.ops.convert_to_numpy(layer.crossbar_kernel())).astype(np.int64) for layer in marked]
    finally:
        model.set_weights(kept)


def _source(layer: AnalogLayer, place: np.ndarray, arrays: list[Synapses]) -> tuple[Synapses, np.ndarray]:
    """Return the devices of a layer, and for each of its cells the synapse in them, -1 for none."""
    first = 1
    for array in arrays:
        if np.any((place >= first) & (place < first + array.size)):
            return array, np.where(place > 0, place - first, -1)
        first += array.size
    raise ConversionError(
        f"Layer '{layer.name}' would become analog, but its weights were not learned on devices. Received: devices for "
        f"{', '.join(array.path for array in arrays)}. Leave it digital with exempt=['{layer.name}']."
    )


def _state(array: Synapses, index: np.ndarray, now: float, *, off: bool) -> dict[str, np.ndarray]:
    """Return the devices of an array as they lie on the crossbar, with times that count from `now`."""
    used = index >= 0
    blank = {"conductance": array.device.g_min, "pulses": 0.0, "pulsed_at": 0.0}
    state: dict[str, np.ndarray] = {}
    for name, stored in array.state.items():
        values = stored.numpy().astype("float32").reshape(2, array.copies, array.size)
        if name == "pulsed_at":
            values = values - np.float32(now)
        cells = np.where(used, values[..., np.maximum(index, 0)], np.float32(blank[name]))
        state[name] = np.ascontiguousarray(cells[:, 0] if array.copies == 1 else np.moveaxis(cells, 1, 0))
    if off and not used.all():
        state[PINNED] = np.broadcast_to(np.where(used, np.float32(-1.0), np.float32(0.0)), (2, *index.shape)).copy()
    return state
