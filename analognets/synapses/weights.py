"""Synapses of a spiking layer that hold signed weights: float numbers, pulsed memory cells, or memristors."""

from __future__ import annotations

import abc
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from analognets.devices import CuSiO2Memristor, derive_seed
from analognets.errors import InvalidArgumentError, check_number
from analognets.synapses.policies import Amplitude, Nearest, OwnTurn, Refresh, Stochastic, UpdateRule
from analognets.synapses.pulsed_array import PulsedArray, pulsed_device
from analognets.synapses.settings import SynapseRules

__all__ = ["FloatSynapses", "MemristorSynapses", "PulsedSynapses", "WeightSynapses"]


def check_finite_change(change: np.ndarray) -> None:
    """Raise an InvalidArgumentError if a change of weights holds NaN or infinity."""
    if not np.all(np.isfinite(change)):
        raise InvalidArgumentError(
            "A change of weights must hold finite numbers only. Received: NaN or infinity. Lower the learning rate."
        )


class WeightSynapses(abc.ABC):
    """What a supervised trainer needs of synapses: weights in pA that are read, and that take a wanted change.

    Attributes:
        shape: (inputs, outputs).
        variables: Keras variables that hold the state, for checkpoints.
        device_count: how many devices there are.

    Examples:
        >>> synapses = analognets.synapses.FloatSynapses((3, 2))
        >>> isinstance(synapses, WeightSynapses), synapses.shape, synapses.read().shape
        (True, (3, 2), (3, 2))
    """

    shape: tuple[int, ...]
    variables: list[keras.Variable]
    device_count: int = 0

    @abc.abstractmethod
    def read(self, time: float = 0.0, *, seed: int = 0, scaled: bool = False) -> np.ndarray:
        """Return the weights in pA as one reading gives them, (inputs, outputs).

        Args:
            time: on the clock of the updates, in seconds.
            seed: of the read noise.
            scaled: whether the whole array is scaled back to what it summed up to at the `mark`.

        Raises:
            InvalidArgumentError: scaling of devices that drift, without a mark.
        """

    @abc.abstractmethod
    def update(self, change: np.ndarray, time: float, *, seed: int) -> int:
        """Apply a change in pA by the synapses' own means.

        Args:
            change: (inputs, outputs).
            time: of the pulses, in seconds.
            seed: of the pulses' draws; give each update its own.

        Returns:
            How many pulses that took.

        Raises:
            InvalidArgumentError: pulses for a change with NaN or infinity.
        """

    def mark(self, time: float, *, seed: int) -> None:  # noqa: B027
        """Take a reference reading for drift compensation; without drift there is nothing to do."""


def _initial(shape: tuple[int, ...], spread: float, seed: int, owner: str) -> np.ndarray:
    """Return normal draws in pA with a standard deviation of `spread`, float64."""
    spread = check_number(owner, "spread", spread, 0.0, 1e9, unit="pA")
    return spread * np.random.default_rng([seed, 0]).standard_normal(shape)


class FloatSynapses(WeightSynapses):
    """Weights in pA as float32: the baseline that learns exactly what a rule asks for.

    Args:
        shape: (inputs, outputs).
        spread: standard deviation of the initial weights in pA, >= 0.
        seed: of these.

    Examples:
        >>> synapses = FloatSynapses((3, 2), spread=0.0)
        >>> synapses.update(np.full((3, 2), 5.0), time=0.0, seed=0)
        0
        >>> print(synapses.read())
        [[5. 5.]
         [5. 5.]
         [5. 5.]]
    """

    def __init__(self, shape: tuple[int, int], *, spread: float = 100.0, seed: int = 0) -> None:
        self.shape = tuple(shape)
        drawn = _initial(self.shape, spread, seed, "FloatSynapses")
        self._weights = keras.Variable(drawn.astype("float32"), trainable=False, name="weights")
        self.variables = [self._weights]

    def read(self, time: float = 0.0, *, seed: int = 0, scaled: bool = False) -> np.ndarray:
        return np.asarray(ops.convert_to_numpy(self._weights.value))

    def update(self, change: np.ndarray, time: float, *, seed: int) -> int:
        self._weights.assign_add(change)
        return 0


class PulsedSynapses(PulsedArray, WeightSynapses):  # type: ignore[override]
    """Weights in 2 N pulsed devices each: w = s * (sum of N G+ - sum of N G-), as read with noise and drift.

        update:  a rise of w by dw is a blind SET pulse (or several) on one G+ device, a fall one on a G- device
        scaled:  w(t) * (sum of all G at the mark) / (sum of all G at t), one factor for the whole array

    The device that is pulsed is the next in turn (each synapse counts the pulses of each polarity). Each device drifts
    from its own last pulse on. Synapses with both polarities high are reset and re-written now and then.

    Args:
        shape: (inputs, outputs).
        device: a pulsed device, its name or its config.
        rules: see `SynapseRules`.
        spread: standard deviation of the initial weights in pA, written with verification, >= 0.
        seed: of everything random at the start.

    Raises:
        InvalidArgumentError: the device does not take pulses.

    Examples:
        >>> synapses = PulsedSynapses((3, 2), device="pulsed_linear", spread=0.0, seed=0)
        >>> synapses.update(np.full((3, 2), 500.0), time=0.0, seed=1)
        6
        >>> print(synapses.read(0.0, seed=2).round())
        [[387. 387.]
         [387. 387.]
         [387. 387.]]

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
        found, self.rules = pulsed_device(device, "PulsedSynapses"), rules or SynapseRules()
        copies, size = self.rules.devices_per_polarity, math.prod(shape)

        def variable(name: str, values: Any, dtype: str = "float32") -> keras.Variable:
            return keras.Variable(values, trainable=False, dtype=dtype, name=name)

        places = (2, copies, size)
        cells = {name: variable(name, np.zeros(places)) for name in found.state_names}
        exponents = self.rules.drift_spread * np.random.default_rng([seed, 1]).standard_normal(places)
        self._extra_exponent = variable("extra_exponent", exponents.astype("float32"))
        # Updates so far, pulses so far, the sum of all conductances at the mark.
        self._numbers = variable("numbers", np.zeros(3), "float64")
        turn = variable("turn", np.zeros(2 * size, "int32"), "int32")
        super().__init__(
            found,
            shape,
            copies=copies,
            cells=cells,
            turn=OwnTurn(turn),
            refreshing=Refresh(self.rules.refresh_above, self.rules.refresh_below, whole=True),
        )
        weights = _initial((size,), spread, seed, "PulsedSynapses")
        self.program(weights / (self.scale * copies), derive_seed(seed, "write"))
        self.variables = [*cells.values(), self._extra_exponent, self._numbers, turn]

    @property
    def scale(self) -> float:
        """Weight in pA of 1 uS on one device."""
        return self.rules.weight_range / (self.rules.conductance_range * self.copies)

    @property
    def pulses(self) -> int:
        """How many SET pulses were given since the start."""
        return int(self._number(1))

    @property
    def _granularity(self) -> tuple[UpdateRule, float]:
        """The rule of the pulses and the step it counts in, in units of the device's mean step."""
        rules = self.rules
        if rules.programming == "amplitude":
            return Amplitude(rules.largest, rules.granularity), 1.0
        rounding = Stochastic if rules.rounding == "stochastic" else Nearest
        return rounding(math.floor(rules.largest)), rules.granularity

    def _number(self, place: int) -> float:
        return float(self._numbers.numpy()[place])

    def _set_number(self, place: int, value: float) -> None:
        numbers = np.array(self._numbers.numpy())
        numbers[place] = value
        self._numbers.assign(numbers)

    def statistics(self, *, epsilon: float = 0.0, bins: int = 24, **counts: Any) -> dict[str, Any]:
        """Return what happened to the devices; see `PulsedArray.statistics`."""
        epsilon = epsilon or self.rules.granularity * self.device.mean_step * self.scale
        counts = {"set_pulses": self.pulses, "pulses_per_weight": self.pulses / self.size, **counts}
        return super().statistics(epsilon=epsilon, bins=bins, **counts)

    def state(self) -> dict[str, Any]:
        """Return the state of the devices, arrays (2, N, synapses)."""
        return {name: variable.value for name, variable in self.cells.items()}

    def conductances(self, time: Any, *, seed: Any) -> np.ndarray:
        """Return one reading of all devices in uS, (2, N, synapses)."""
        return super().conductances(float(time), seed=seed).numpy()

    def state_at(self, time: Any) -> dict[str, Any]:
        """Return the state of all devices as a reading finds it: what drifts otherwise than its median has done so."""
        state = super().state_at(time)
        if self.rules.drift_spread:
            since = (time - self.cells["pulsed_at"].numpy()) / self.device.t_0
            state["conductance"] = state["conductance"] * np.maximum(since, 1.0) ** -self._extra_exponent.numpy()
        return state

    def read(self, time: float = 0.0, *, seed: int = 0, scaled: bool = False) -> np.ndarray:
        read = self.conductances(time, seed=seed)
        scale = self.scale
        if scaled:
            if not self._number(2):
                raise InvalidArgumentError(
                    "Array-level scaling needs a reference reading. Received: scaled=True before mark(). Call "
                    "mark(time) after training."
                )
            scale *= float(self.drift_factor(self._number(2), read))
        return self.weights(read, scale).reshape(self.shape)

    def mark(self, time: float, *, seed: int) -> None:
        """Take the sum of all conductances, as read now, as the reference of array-level scaling."""
        self._set_number(2, float(self.readout(self.conductances(time, seed=seed))))

    def update(self, change: np.ndarray, time: float, *, seed: int) -> int:
        check_finite_change(change)
        number = int(self._number(0))
        rule, step = self._granularity
        wanted = np.asarray(change, dtype="float32").ravel() / (self.scale * self.device.mean_step) / step
        pulses = rule.pulses(
            tf.constant(wanted), lambda: np.random.default_rng([seed, 2]).random(wanted.shape, dtype=np.float32)
        )
        index, given = tf.where(tf.not_equal(pulses, 0.0))[:, 0], 0
        if len(index):

            def seeds(count: Any) -> int:
                return seed if rule.in_amplitude else derive_seed(seed, "step", int(count))

            given = int(self.give(index, tf.gather(pulses, index), time, seeds, in_amplitude=rule.in_amplitude)[0])
        self._set_number(0, number + 1)
        self._set_number(1, self._number(1) + given)
        if self.rules.refresh_every and (number + 1) % self.rules.refresh_every == 0:
            given += self.refresh(time, seed=derive_seed(seed, "refresh"))
        return given

    def refresh(self, time: float, *, seed: int) -> int:
        """Reset and re-write synapses whose two polarities are both high; returns the pulses that took.

        A synapse is due if one of its devices is above `refresh_above` and its sums differ by less than N times
        `refresh_below`. All its devices get a RESET, and the difference is written blindly, in equal parts, on the
        devices of one polarity.
        """
        due, difference = self.refreshing.due(self.conductances(time, seed=derive_seed(seed, "read")))
        if not len(due):
            return 0
        given = int(self.rewrite(due, difference, time, seed=seed)[0])
        self._set_number(1, self._number(1) + given)
        return given


class MemristorSynapses(WeightSynapses):
    """Signed weights in one memristor each, against a reference in the middle of the range.

        w = weight_range * (G - G_mid) / ((g_max - g_min) / 2),   G_mid = (g_min + g_max) / 2

    A change dw becomes one potentiating or depressing pulse of the share dw / (step of a full pulse of this voltage in
    mid-range), cut at one full pulse. What the device makes of it depends on its state and on chance, unchecked.

    Args:
        shape: (inputs, outputs).
        device: the memristor.
        weight_range: weight in pA at the bounds, > 0.
        spread: standard deviation of the initial weights in pA, >= 0.
        voltage: amplitude of the pulses in V, up to 0.5; None: the device's reference.
        seed: of the start.

    Raises:
        InvalidArgumentError: an argument is out of range.

    Examples:
        >>> synapses = MemristorSynapses((3, 2), spread=0.0, seed=0)
        >>> synapses.update(np.full((3, 2), 500.0), time=0.0, seed=1)
        6
        >>> bool(synapses.read(0.0, seed=2).mean() > 0)
        True

    Source: our reconstruction.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        *,
        device: CuSiO2Memristor | None = None,
        weight_range: float = 10_000.0,
        spread: float = 100.0,
        voltage: float | None = None,
        seed: int = 0,
    ) -> None:
        self.shape, self.device, self.voltage = tuple(shape), device or CuSiO2Memristor(), voltage
        self.weight_range = check_number("MemristorSynapses", "weight_range", weight_range, 1e-6, 1e9, unit="pA")
        self._factor = self.device.voltage_factor(voltage)
        if not self._factor:
            raise InvalidArgumentError(
                f"`voltage` of MemristorSynapses must reach the device's threshold of {self.device.v_threshold:g} V, "
                f"or nothing is ever learned. Received: {voltage:g} V."
            )
        drawn = _initial(self.shape, spread, seed, "MemristorSynapses")
        targets = np.clip(self._middle + drawn / self._slope, self.device.g_min, self.device.g_max)
        state = self.device.program(targets.astype("float32"), derive_seed(seed, "write"))
        self._state = {
            name: keras.Variable(values, trainable=False, name=name, dtype="float32") for name, values in state.items()
        }
        self.variables, self.device_count = list(self._state.values()), drawn.size

    @property
    def _middle(self) -> float:
        return (self.device.g_min + self.device.g_max) / 2

    @property
    def _slope(self) -> float:
        return self.weight_range / (self.device.range / 2)

    def state(self) -> dict[str, Any]:
        """Return the state of the devices."""
        return {name: variable.value for name, variable in self._state.items()}

    def read(self, time: float = 0.0, *, seed: int = 0, scaled: bool = False) -> np.ndarray:
        read = np.asarray(ops.convert_to_numpy(self.device.read(self.state(), time, seed)))
        return (read - self._middle) * self._slope

    def update(self, change: np.ndarray, time: float, *, seed: int) -> int:
        """Give every synapse with a change one pulse; returns how many that were."""
        full = {
            sign: self._factor * self.device.range * step * 0.5**power * self._slope
            for sign, step, power in (
                (1, self.device.potentiation, self.device.potentiation_power),
                (-1, self.device.depression, self.device.depression_power),
            )
        }
        change = np.asarray(change, dtype="float32")
        check_finite_change(change)
        share = np.clip(change / np.where(change > 0, max(full[1], 1e-12), max(full[-1], 1e-12)), -1.0, 1.0)
        draws = self.device.pulse_draws(self.shape, seed)
        state = self.device.pulse_with(self.state(), share, draws, voltage=self.voltage)
        self._state["conductance"].assign(state["conductance"])
        return int(np.count_nonzero(share))
