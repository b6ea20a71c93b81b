"""Synapses of a spiking layer: float weights, or pairs of pulsed memory cells that are updated blindly."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
import numpy as np
from keras import ops

from analognets import devices
from analognets.devices import ArrayDriftCompensation, PulsedDevice, derive_seed
from analognets.errors import InvalidArgumentError, check_choice, check_integer, check_number

__all__ = ["FloatSynapses", "PulsedSynapses", "SynapseRules"]

COMPENSATION = ArrayDriftCompensation()
"""Array-level scaling of arXiv 1905.11929."""


class FloatSynapses:
    """Weights in pA as float32: the baseline that learns exactly what a rule asks for.

    Args:
        shape: (inputs, outputs).
        spread: standard deviation of the initial weights in pA, >= 0.
        seed: of these.
    """

    device_count = 0

    def __init__(self, shape: tuple[int, int], *, spread: float = 100.0, seed: int = 0) -> None:
        spread = check_number("FloatSynapses", "spread", spread, 0.0, 1e9, unit="pA")
        draws = np.random.default_rng([seed, 0]).standard_normal(shape)
        self.shape = tuple(shape)
        self._weights = keras.Variable((spread * draws).astype("float32"), trainable=False, name="weights")
        self.variables = [self._weights]

    def read(self, time: float = 0.0, *, seed: int = 0, scaled: bool = False) -> np.ndarray:
        """Return the weights; time, noise and scaling don't touch them."""
        return np.asarray(ops.convert_to_numpy(self._weights.value))

    def update(self, change: np.ndarray, time: float, *, seed: int) -> int:
        """Add a change in pA; returns 0 pulses."""
        self._weights.assign_add(change)
        return 0

    def mark(self, time: float, *, seed: int) -> None:
        """Do nothing: there is no drift to remember a reference for."""


@dataclasses.dataclass(frozen=True)
class SynapseRules:
    """How weights lie in pulsed devices and how they are updated.

    Args:
        devices_per_polarity: N, 1 to 64.
        weight_range: weight in pA that `conductance_range` on all N devices of a polarity stands for, > 0.
        conductance_range: in uS, > 0.
        programming: "amplitude": one pulse whose amplitude is the wanted step in units of the device's mean step;
            "pulses": a whole number of pulses of amplitude 1.
        granularity: smallest step that is programmed, in units of the device's mean step, > 0. With "amplitude",
            smaller changes are left out; with "pulses", one pulse stands for this step.
        largest: largest amplitude, or most pulses for one update, >= 1.
        rounding: of "pulses": "stochastic" keeps the mean, "nearest" loses what is smaller than half a step.
        refresh_every: updates between refreshes, or 0 for none.
        refresh_above: pairs with a device above this conductance are refreshed, in uS ...
        refresh_below: ... if their sums differ by less than this, in uS a device.
        drift_spread: standard deviation of the drift exponent from device to device, >= 0; our addition, the source's
            statistics have one exponent for all.

    Raises:
        InvalidArgumentError: a setting is out of range.

    Source: 4 + 4 devices a synapse from the published number of devices (arithmetic), cyclic choice and amplitudes
    from memory of arXiv 1905.11929; the arithmetic of amplitudes and the refresh are our reconstruction.
    """

    devices_per_polarity: int = 4
    weight_range: float = 8000.0
    conductance_range: float = 8.0
    programming: str = "amplitude"
    granularity: float = 0.1
    largest: float = 2.0
    rounding: str = "stochastic"
    refresh_every: int = 10
    refresh_above: float = 8.0
    refresh_below: float = 4.0
    drift_spread: float = 0.0

    def __post_init__(self) -> None:
        check_integer("SynapseRules", "devices_per_polarity", self.devices_per_polarity, 1, 64)
        check_choice("SynapseRules", "programming", self.programming, ("amplitude", "pulses"))
        check_choice("SynapseRules", "rounding", self.rounding, ("stochastic", "nearest"))
        check_integer("SynapseRules", "refresh_every", self.refresh_every, 0, 10**9)
        ranges = {
            "weight_range": (1e-6, 1e9, "pA"),
            "conductance_range": (1e-6, 1e6, "uS"),
            "granularity": (1e-6, 1e3, ""),
            "largest": (1.0, 255.0, ""),
            "refresh_above": (0.0, 1e6, "uS"),
            "refresh_below": (0.0, 1e6, "uS"),
            "drift_spread": (0.0, 1.0, ""),
        }
        for name, (low, high, unit) in ranges.items():
            check_number("SynapseRules", name, getattr(self, name), low, high, unit=unit)


class PulsedSynapses:
    """Weights in 2 N pulsed devices each: w = s * (sum of N G+ - sum of N G-), as read with noise and drift.

        update:  a rise of w by dw is a blind SET pulse (or several) on one G+ device, a fall one on a G- device
        scaled:  w(t) * (sum of all G at the mark) / (sum of all G at t), one factor for the whole array

    The device that is pulsed is the next in turn (each synapse counts the pulses of each polarity). Each device drifts
    from its own last pulse on. Pairs with both polarities high are reset and re-written now and then.

    Args:
        shape: (inputs, outputs).
        device: a pulsed device, its name or its config.
        rules: see `SynapseRules`.
        spread: standard deviation of the initial weights in pA, written with verification, >= 0.
        seed: of everything random at the start.

    Raises:
        InvalidArgumentError: the device does not take pulses.

    Source: arXiv 1905.11929; array-level scaling is verified, its formula is our reconstruction.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        *,
        device: Any = "pulsed_pcm",
        rules: SynapseRules | None = None,
        spread: float = 100.0,
        seed: int = 0,
    ) -> None:
        found = devices.get(device)
        if not isinstance(found, PulsedDevice):
            raise InvalidArgumentError(
                "Synapses that are updated by pulses need a pulsed device, such as 'pulsed_pcm'. Received: "
                f"{type(found).__name__}."
            )
        self.device, self.rules, self.shape = found, rules or SynapseRules(), tuple(shape)
        self.copies, self.size = self.rules.devices_per_polarity, math.prod(shape)
        spread = check_number("PulsedSynapses", "spread", spread, 0.0, 1e9, unit="pA")
        weights = spread * np.random.default_rng([seed, 0]).standard_normal(self.size) / (self.scale * self.copies)
        parts = np.stack([np.maximum(weights, 0.0), np.maximum(-weights, 0.0)])[:, None] + found.g_min
        targets = np.repeat(np.minimum(parts, found.g_max), self.copies, axis=1).astype("float32")
        state = found.program(targets, derive_seed(seed, "write"))
        self._state = {
            name: keras.Variable(values, trainable=False, name=name, dtype="float32") for name, values in state.items()
        }
        exponents = self.rules.drift_spread * np.random.default_rng([seed, 1]).standard_normal(targets.shape)
        self._extra_exponent = keras.Variable(exponents.astype("float32"), trainable=False, name="extra_exponent")
        # updates so far, pulses so far, the sum of all conductances at the mark
        self._numbers = keras.Variable(np.zeros(3), trainable=False, dtype="float64", name="numbers")
        self._turn = keras.Variable(np.zeros(2 * self.size, "int32"), trainable=False, dtype="int32", name="turn")
        self.variables = [*self._state.values(), self._extra_exponent, self._numbers, self._turn]

    @property
    def scale(self) -> float:
        """Weight in pA of 1 uS on one device."""
        return self.rules.weight_range / (self.rules.conductance_range * self.copies)

    @property
    def device_count(self) -> int:
        """How many devices there are."""
        return 2 * self.copies * self.size

    @property
    def pulses(self) -> int:
        """How many SET pulses were given since the start."""
        return int(self._number(1))

    def _number(self, place: int) -> float:
        return float(ops.convert_to_numpy(self._numbers.value)[place])

    def _set_number(self, place: int, value: float) -> None:
        numbers = np.array(ops.convert_to_numpy(self._numbers.value))
        numbers[place] = value
        self._numbers.assign(numbers)

    def state(self) -> dict[str, Any]:
        """Return the state of the devices, arrays (2, N, synapses)."""
        return {name: variable.value for name, variable in self._state.items()}

    def conductances(self, time: float, *, seed: int) -> np.ndarray:
        """Return one reading of all devices in uS, (2, N, synapses)."""
        state = self.state()
        read = np.asarray(ops.convert_to_numpy(self.device.read(state, float(time), seed)))
        if self.rules.drift_spread:
            since = (time - np.asarray(ops.convert_to_numpy(state["pulsed_at"]))) / self.device.t_0
            extra = np.asarray(ops.convert_to_numpy(self._extra_exponent.value))
            read = read * np.maximum(since, 1.0) ** -extra
        return read

    def read(self, time: float, *, seed: int, scaled: bool = False) -> np.ndarray:
        """Return the weights in pA as one reading gives them, (inputs, outputs).

        Args:
            time: on the clock of the updates, in seconds.
            seed: of the read noise.
            scaled: whether the whole array is scaled back to what it summed up to at the `mark`.

        Raises:
            InvalidArgumentError: scaling without a mark.
        """
        read = self.conductances(time, seed=seed)
        factor = self.scale
        if scaled:
            if not self._number(2):
                raise InvalidArgumentError(
                    "Array-level scaling needs a reference reading. Received: scaled=True before mark(). Call "
                    "mark(time) after training."
                )
            factor *= float(COMPENSATION.scale(self._number(2), COMPENSATION.response(read)))
        plus, minus = read.sum(axis=1)
        return (factor * (plus - minus)).reshape(self.shape)

    def mark(self, time: float, *, seed: int) -> None:
        """Take the sum of all conductances, as read now, as the reference of array-level scaling."""
        self._set_number(2, float(COMPENSATION.response(self.conductances(time, seed=seed))))

    def update(self, change: np.ndarray, time: float, *, seed: int) -> int:
        """Apply a change in pA by blind pulses.

        Args:
            change: (inputs, outputs).
            time: of the pulses, in seconds.
            seed: of the pulses' draws; give each update its own.

        Returns:
            How many pulses that took.

        Raises:
            InvalidArgumentError: the change has NaN or infinity.
        """
        if not np.all(np.isfinite(change)):
            raise InvalidArgumentError(
                "A change of weights must hold finite numbers only. Received: NaN or infinity. Lower the learning rate."
            )
        number = int(self._number(0))
        wanted = np.asarray(change, dtype="float32").ravel() / (self.scale * self.device.mean_step)
        if self.rules.programming == "amplitude":
            given = self._by_amplitude(wanted, time, seed)
        else:
            given = self._by_pulses(wanted, time, seed)
        self._set_number(0, number + 1)
        self._set_number(1, self._number(1) + given)
        if self.rules.refresh_every and (number + 1) % self.rules.refresh_every == 0:
            given += self.refresh(time, seed=derive_seed(seed, "refresh"))
        return given

    def _by_amplitude(self, wanted: np.ndarray, time: float, seed: int) -> int:
        size = np.minimum(np.abs(wanted), self.rules.largest)
        size[size < self.rules.granularity] = 0.0
        self._pulse(np.flatnonzero(size), size, wanted < 0, time, seed)
        return int(np.count_nonzero(size))

    def _by_pulses(self, wanted: np.ndarray, time: float, seed: int) -> int:
        size = np.abs(wanted) / self.rules.granularity
        if self.rules.rounding == "stochastic":
            size = np.floor(size + np.random.default_rng([seed, 2]).random(size.shape, dtype=np.float32))
        size = np.minimum(np.rint(size), self.rules.largest)
        for step in range(int(size.max(initial=0.0))):
            hit = np.flatnonzero(size > step)
            ones = np.ones_like(size)
            self._pulse(hit, ones, wanted < 0, time, derive_seed(seed, "step", step))
        return int(size.sum())

    def _pulse(self, hit: np.ndarray, amplitude: np.ndarray, negative: np.ndarray, time: float, seed: int) -> None:
        """Give each of the synapses `hit` one pulse, on the device of its polarity whose turn it is."""
        if not len(hit):
            return
        turn = np.array(ops.convert_to_numpy(self._turn.value))
        polarity = negative[hit].astype("int64")
        counter = polarity * self.size + hit
        place = (polarity * self.copies + turn[counter] % self.copies) * self.size + hit
        turn[counter] += 1
        self._turn.assign(turn)
        self._change(
            place,
            lambda state, shape: self.device.pulse_with(
                state, self.device.pulse_draws(shape, seed), time=time, amplitude=amplitude[hit].astype("float32")
            ),
        )

    def _change(self, place: np.ndarray, law: Any) -> None:
        """Replace the state of the devices at flat places by what a law makes of it."""
        arrays = {name: np.array(ops.convert_to_numpy(values)).reshape(-1) for name, values in self.state().items()}
        found = law({name: values[place] for name, values in arrays.items()}, place.shape)
        for name, values in arrays.items():
            values[place] = ops.convert_to_numpy(found[name])
            self._state[name].assign(values.reshape(self._state[name].shape))

    def refresh(self, time: float, *, seed: int) -> int:
        """Reset and re-write synapses whose two polarities are both high; returns the pulses that took.

        A synapse is due if one of its devices is above `refresh_above` and its sums differ by less than N times
        `refresh_below`. All its devices get a RESET, and the difference is written blindly, in equal parts, on the
        devices of one polarity.
        """
        read = self.conductances(time, seed=derive_seed(seed, "read"))
        difference = (read[0] - read[1]).sum(axis=0) / self.copies
        due = np.flatnonzero(
            (read.max(axis=(0, 1)) > self.rules.refresh_above) & (np.abs(difference) < self.rules.refresh_below)
        )
        if not len(due):
            return 0
        rows = np.arange(2 * self.copies)[:, None] * self.size
        self._change(
            (rows + due).reshape(-1),
            lambda state, shape: self.device.reset_with(self.device.reset_draws(shape, seed), time=time),
        )
        pulses = np.asarray(ops.convert_to_numpy(self.device.pulses_for(np.abs(difference[due]), 20)))
        ones, given = np.ones(self.size, "float32"), 0
        for step in range(int(pulses.max(initial=0.0))):
            more = due[pulses > step]
            for copy in range(self.copies):
                negative = np.zeros(self.size, bool)
                negative[due] = difference[due] < 0
                self._pulse(more, ones, negative, time, derive_seed(seed, "rewrite", step, copy))
            given += self.copies * len(more)
        self._set_number(1, self._number(1) + given)
        return given
