"""Synapses on memristors: signed weights for a supervised rule, and rows that spike timing shapes."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops

from analognets.devices import CuSiO2Memristor, derive_seed
from analognets.errors import InvalidArgumentError, check_number

__all__ = ["FloatRows", "Kept", "MemristorRows", "MemristorSynapses", "Rows"]


class MemristorSynapses:
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
        spread = check_number("MemristorSynapses", "spread", spread, 0.0, 1e9, unit="pA")
        self._factor = self.device.voltage_factor(voltage)
        if not self._factor:
            raise InvalidArgumentError(
                f"`voltage` of MemristorSynapses must reach the device's threshold of {self.device.v_threshold:g} V, "
                f"or nothing is ever learned. Received: {voltage:g} V."
            )
        drawn = spread * np.random.default_rng([seed, 0]).standard_normal(self.shape)
        targets = np.clip(self._middle + drawn / self._slope, self.device.g_min, self.device.g_max)
        state = self.device.program(targets.astype("float32"), derive_seed(seed, "write"))
        self._state = {
            name: keras.Variable(values, trainable=False, name=name, dtype="float32") for name, values in state.items()
        }
        self.variables = list(self._state.values())

    @property
    def _middle(self) -> float:
        return (self.device.g_min + self.device.g_max) / 2

    @property
    def _slope(self) -> float:
        return self.weight_range / (self.device.range / 2)

    @property
    def device_count(self) -> int:
        """How many devices there are."""
        return int(np.prod(self.shape))

    def state(self) -> dict[str, Any]:
        """Return the state of the devices."""
        return {name: variable.value for name, variable in self._state.items()}

    def read(self, time: float = 0.0, *, seed: int = 0, scaled: bool = False) -> np.ndarray:
        """Return the weights in pA of one noisy reading; these devices don't drift, so scaling changes nothing."""
        read = np.asarray(ops.convert_to_numpy(self.device.read(self.state(), time, seed)))
        return (read - self._middle) * self._slope

    def mark(self, time: float, *, seed: int) -> None:
        """Do nothing: there is no drift to remember a reference for."""

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
        share = np.clip(change / np.where(change > 0, max(full[1], 1e-12), max(full[-1], 1e-12)), -1.0, 1.0)
        draws = self.device.pulse_draws(self.shape, seed)
        state = self.device.pulse_with(self.state(), share, draws, voltage=self.voltage)
        self._state["conductance"].assign(state["conductance"])
        return int(np.count_nonzero(share))


class Rows(Protocol):
    """What a winner-take-all layer needs of its synapses: weights (outputs, inputs) from 0 to 1 that a row learns."""

    weights: np.ndarray
    variables: list[Any]

    @property
    def window(self) -> float:
        """Time constant in ms of the share of a full pulse that an input gets by how long before the spike it was."""

    def learn(self, row: int, share: np.ndarray, rng: np.random.Generator) -> None:
        """Apply one pulse each to the synapses of an output."""

    def read_all(self, rng: np.random.Generator) -> None:
        """Draw new read noise for all weights."""

    def store(self) -> None:
        """Put the state into `variables`."""

    def restore(self) -> None:
        """Take the state from `variables`."""


@dataclasses.dataclass
class Kept:
    """A NumPy array that a Keras variable holds for checkpoints.

    Args:
        name: of the variable.
        values: the array; `restore` changes it in place.
    """

    name: str
    values: np.ndarray

    def __post_init__(self) -> None:
        self.variable = keras.Variable(self.values, trainable=False, name=self.name, dtype=str(self.values.dtype))

    def store(self) -> None:
        """Put the array into the variable."""
        self.variable.assign(self.values)

    def restore(self) -> None:
        """Take the array from the variable."""
        self.values[...] = ops.convert_to_numpy(self.variable.value)


class FloatRows:
    """Float weights with the same soft bounds and exact steps: w <- w + eta s (1 - w) for s > 0, + eta s w for s < 0.

    Args:
        shape: (outputs, inputs).
        rate: eta, 0 to 1.
        window: time constant of the potentiating learning window in ms, > 0.
        seed: of the initial weights, evenly from 0.3 to 0.7.
        dtype: "float32" or "float64".
    """

    def __init__(
        self,
        shape: tuple[int, int],
        *,
        rate: float = 0.05,
        window: float = 20.0,
        seed: int = 0,
        dtype: str = "float32",
    ) -> None:
        self.rate = check_number("FloatRows", "rate", rate, 0.0, 1.0)
        self.window = check_number("FloatRows", "window", window, 1e-3, 1e6, unit="ms")
        drawn = np.random.default_rng([seed, 0]).uniform(0.3, 0.7, shape).astype(dtype)
        self.weights = np.asfortranarray(drawn)  # the inputs of a spike are then read from one place
        self._kept = [Kept("weights", self.weights)]
        self.variables = [kept.variable for kept in self._kept]

    def learn(self, row: int, share: np.ndarray, rng: np.random.Generator) -> None:
        """Move the weights of an output."""
        w = self.weights[row]
        w += w.dtype.type(self.rate) * share * np.where(share > 0, 1 - w, w)

    def read_all(self, rng: np.random.Generator) -> None:
        """Do nothing: there is no noise."""

    def store(self) -> None:
        """Put the state into `variables`."""
        for kept in self._kept:
            kept.store()

    def restore(self) -> None:
        """Take the state from `variables`."""
        for kept in self._kept:
            kept.restore()


class MemristorRows:
    """Weights of 0 to 1 in one memristor each: w = (G_read - g_min) / (g_max - g_min), at least 0.

    The read noise of a device is drawn anew for every `read_all`, not for every spike. The learning window is the
    device's tau_potentiation; its tau_depression has no part here, since no rule asks for depression by timing.

    Args:
        shape: (outputs, inputs).
        device: the memristor.
        voltage: amplitude of the pulses in V, up to 0.5; None: the device's reference.
        seed: of the initial conductances, evenly from 30 to 70 % of the range, and of the devices' own factors.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        *,
        device: CuSiO2Memristor | None = None,
        voltage: float | None = None,
        seed: int = 0,
    ) -> None:
        self.device = device or CuSiO2Memristor()
        self._factor = self.device.voltage_factor(voltage)
        share = np.random.default_rng([seed, 0]).uniform(0.3, 0.7, shape)
        state = self.device.program(
            (self.device.g_min + share * self.device.range).astype("float32"), derive_seed(seed, "write")
        )
        self.state = {name: np.array(ops.convert_to_numpy(values)) for name, values in state.items()}
        self._noise = np.ones(shape, "float32")
        self.weights = np.empty(shape, "float32", order="F")  # the inputs of a spike are read from one place
        self._kept = [Kept(name, values) for name, values in {**self.state, "noise": self._noise}.items()]
        self.variables = [kept.variable for kept in self._kept]
        self._refresh(slice(None))

    @property
    def window(self) -> float:
        """Time constant of the device's potentiating window in ms."""
        return self.device.tau_potentiation

    def _refresh(self, rows: Any) -> None:
        read = self.state["conductance"][rows] * self._noise[rows]
        read -= self.device.g_min
        read *= 1 / self.device.range
        np.maximum(read, 0.0, out=self.weights[rows])

    def learn(self, row: int, share: np.ndarray, rng: np.random.Generator) -> None:
        """Give the devices of an output one pulse each."""
        g, up, down = (self.state[name][row] for name in ("conductance", "up", "down"))
        draw = rng.standard_normal(len(g), dtype=np.float32)
        self.state["conductance"][row] = self.device.moved(g, share, up, down, draw, factor=self._factor)
        self._refresh(row)

    def read_all(self, rng: np.random.Generator) -> None:
        """Draw new read noise for all devices."""
        if self.device.read_noise_share:
            draws = rng.standard_normal(self._noise.shape, dtype=np.float32)
            self._noise[...] = np.maximum(1.0 + np.float32(self.device.read_noise_share) * draws, 0.0)
            self._refresh(slice(None))

    def store(self) -> None:
        """Put the state into `variables`."""
        for kept in self._kept:
            kept.store()

    def restore(self) -> None:
        """Take the state from `variables`."""
        for kept in self._kept:
            kept.restore()
        self._refresh(slice(None))
