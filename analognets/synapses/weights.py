"""Synapses of a spiking layer that hold signed weights: float numbers, or pairs of pulsed memory cells."""

from __future__ import annotations

import abc
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from analognets.devices import derive_seed
from analognets.errors import InvalidArgumentError, check_number
from analognets.synapses.policies import Amplitude, Nearest, OwnTurn, Stochastic, SynapseRefresh, UpdateRule
from analognets.synapses.pulsed_array import PulsedArray, pulsed_device
from analognets.synapses.settings import SynapseRules

__all__ = ["FloatSynapses", "PulsedSynapses", "WeightSynapses", "initial_weights"]


class WeightSynapses(abc.ABC):
    """What a supervised trainer needs of synapses: weights in pA that are read, and that take a wanted change.

    Attributes:
        shape: (inputs, outputs).
        variables: Keras variables that hold the state, for checkpoints.
        device_count: how many devices there are.
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
            scaled: whether drift since the `mark` is compensated for the whole array.
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
        """

    def mark(self, time: float, *, seed: int) -> None:  # noqa: B027
        """Take a reference reading for drift compensation; without drift there is nothing to do."""


def initial_weights(shape: tuple[int, ...], spread: float, seed: int, owner: str) -> np.ndarray:
    """Return normal draws in pA, float64.

    Args:
        shape: of the weights.
        spread: their standard deviation in pA, >= 0.
        seed: of the draws.
        owner: of the setting, for messages.
    """
    spread = check_number(owner, "spread", spread, 0.0, 1e9, unit="pA")
    return spread * np.random.default_rng([seed, 0]).standard_normal(shape)


class FloatSynapses(WeightSynapses):
    """Weights in pA as float32: the baseline that learns exactly what a rule asks for.

    Args:
        shape: (inputs, outputs).
        spread: standard deviation of the initial weights in pA, >= 0.
        seed: of these.
    """

    def __init__(self, shape: tuple[int, int], *, spread: float = 100.0, seed: int = 0) -> None:
        self.shape = tuple(shape)
        drawn = initial_weights(self.shape, spread, seed, "FloatSynapses")
        self._weights = keras.Variable(drawn.astype("float32"), trainable=False, name="weights")
        self.variables = [self._weights]

    def read(self, time: float = 0.0, *, seed: int = 0, scaled: bool = False) -> np.ndarray:
        """Return the weights; time, noise and scaling don't touch them."""
        return np.asarray(ops.convert_to_numpy(self._weights.value))

    def update(self, change: np.ndarray, time: float, *, seed: int) -> int:
        """Add a change in pA; returns 0 pulses."""
        self._weights.assign_add(change)
        return 0


class PulsedSynapses(PulsedArray, WeightSynapses):
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
            refreshing=SynapseRefresh(self.rules.refresh_above, self.rules.refresh_below),
        )
        weights = initial_weights((size,), spread, seed, "PulsedSynapses")
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

    def state(self) -> dict[str, Any]:
        """Return the state of the devices, arrays (2, N, synapses)."""
        return {name: variable.value for name, variable in self.cells.items()}

    def conductances(self, time: Any, *, seed: Any) -> np.ndarray:
        """Return one reading of all devices in uS, (2, N, synapses)."""
        read = super().conductances(float(time), seed=seed).numpy()
        if self.rules.drift_spread:
            since = (time - self.cells["pulsed_at"].numpy()) / self.device.t_0
            read = read * np.maximum(since, 1.0) ** -self._extra_exponent.numpy()
        return read

    def read(self, time: float = 0.0, *, seed: int = 0, scaled: bool = False) -> np.ndarray:
        """Return the weights in pA as one reading gives them, (inputs, outputs).

        Args:
            time: on the clock of the updates, in seconds.
            seed: of the read noise.
            scaled: whether the whole array is scaled back to what it summed up to at the `mark`.

        Raises:
            InvalidArgumentError: scaling without a mark.
        """
        read = self.conductances(time, seed=seed)
        scale = self.scale
        if scaled:
            if not self._number(2):
                raise InvalidArgumentError(
                    "Array-level scaling needs a reference reading. Received: scaled=True before mark(). Call "
                    "mark(time) after training."
                )
            scale *= self._number(2) / float(read.sum(dtype="float64"))
        return self.weights(read, scale).reshape(self.shape)

    def mark(self, time: float, *, seed: int) -> None:
        """Take the sum of all conductances, as read now, as the reference of array-level scaling."""
        self._set_number(2, float(self.conductances(time, seed=seed).sum(dtype="float64")))

    def update(self, change: np.ndarray, time: float, *, seed: int) -> int:
        """Apply a change in pA by blind pulses, and refresh if it is time.

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
        rule, step = self._granularity
        wanted = np.asarray(change, dtype="float32").ravel() / (self.scale * self.device.mean_step) / step
        pulses = rule.pulses(
            tf.constant(wanted), lambda: np.random.default_rng([seed, 2]).random(wanted.shape, dtype=np.float32)
        )
        index = tf.where(tf.not_equal(pulses, 0.0))[:, 0]
        given = self._give_all(index, tf.gather(pulses, index), isinstance(rule, Amplitude), time, seed)
        self._set_number(0, number + 1)
        self._set_number(1, self._number(1) + given)
        if self.rules.refresh_every and (number + 1) % self.rules.refresh_every == 0:
            given += self.refresh(time, seed=derive_seed(seed, "refresh"))
        return given

    def _give_all(self, index: Any, pulses: Any, in_amplitude: bool, time: float, seed: int) -> int:
        if not len(index):
            return 0
        if in_amplitude:
            given, _ = self.give(index, tf.sign(pulses), time, lambda number: seed, amplitude=tf.abs(pulses))
        else:
            given, _ = self.give(index, pulses, time, lambda number: derive_seed(seed, "step", int(number)))
        return int(given)

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
