"""Rows of synapses that the timing of spikes shapes: float weights, or one memristor each."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from analognets.devices import CuSiO2Memristor, derive_seed
from analognets.errors import check_number

__all__ = ["FloatRows", "Kept", "MemristorRows", "Rows"]


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


class Rows(abc.ABC):
    """What a winner-take-all layer needs of its synapses: weights (outputs, inputs) from 0 to 1 that a row learns.

    Attributes:
        weights: as they are read now.
        window: time constant in ms of the share of a full pulse that an input gets by how long before the spike it was.

    Examples:
        >>> rows = analognets.synapses.FloatRows((2, 3))
        >>> isinstance(rows, Rows), rows.weights.shape, rows.window
        (True, (2, 3), 20.0)
    """

    weights: np.ndarray
    window: float
    _kept: list[Kept]

    @abc.abstractmethod
    def learn(self, row: int, share: np.ndarray, rng: np.random.Generator) -> None:
        """Apply one pulse each to the synapses of an output.

        Args:
            row: the output.
            share: of a full pulse for each input, -1 to 1.
            rng: of the pulses' draws.
        """

    def read_all(self, rng: np.random.Generator) -> None:  # noqa: B027
        """Draw new read noise for all weights, where there is any."""

    @property
    def variables(self) -> list[keras.Variable]:
        """Keras variables that hold the state after `store`."""
        return [kept.variable for kept in self._kept]

    def store(self) -> None:
        """Put the state into `variables`."""
        for kept in self._kept:
            kept.store()

    def restore(self) -> None:
        """Take the state from `variables`."""
        for kept in self._kept:
            kept.restore()


class FloatRows(Rows):
    """Float weights with the same soft bounds and exact steps: w <- w + eta s (1 - w) for s > 0, + eta s w for s < 0.

    Args:
        shape: (outputs, inputs).
        rate: eta, 0 to 1.
        window: time constant of the potentiating learning window in ms, > 0.
        seed: of the initial weights, evenly from 0.3 to 0.7.
        dtype: "float32" or "float64".

    Examples:
        >>> rows = FloatRows((2, 3), rate=0.5, seed=0)
        >>> before = rows.weights.copy()
        >>> rows.learn(0, np.array([1.0, 0.0, -1.0]), np.random.default_rng(0))
        >>> print(np.sign(rows.weights - before))
        [[ 1.  0. -1.]
         [ 0.  0.  0.]]
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

    def learn(self, row: int, share: np.ndarray, rng: np.random.Generator) -> None:
        """Move the weights of an output."""
        w = self.weights[row]
        w += w.dtype.type(self.rate) * share * np.where(share > 0, 1 - w, w)


class MemristorRows(Rows):
    """Weights of 0 to 1 in one memristor each: w = (G_read - g_min) / (g_max - g_min), at least 0.

    The read noise of a device is drawn anew for every `read_all`, not for every spike. The learning window is the
    device's tau_potentiation; its tau_depression has no part here, since no rule asks for depression by timing.

    Args:
        shape: (outputs, inputs).
        device: the memristor.
        voltage: amplitude of the pulses in V, up to 0.5; None: the device's reference.
        seed: of the initial conductances, evenly from 30 to 70 % of the range, and of the devices' own factors.

    Examples:
        >>> rows = MemristorRows((2, 3), seed=0)
        >>> rows.learn(0, np.array([1.0, 0.0, -1.0]), np.random.default_rng(0))
        >>> rows.read_all(np.random.default_rng(1))
        >>> print(rows.weights.round(1))
        [[0.6 0.4 0.3]
         [0.3 0.6 0.7]]
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
        self.window, self._factor = self.device.tau_potentiation, self.device.voltage_factor(voltage)
        share = np.random.default_rng([seed, 0]).uniform(0.3, 0.7, shape)
        state = self.device.program(
            (self.device.g_min + share * self.device.range).astype("float32"), derive_seed(seed, "write")
        )
        self.state = {name: np.array(ops.convert_to_numpy(values)) for name, values in state.items()}
        self._noise = np.ones(shape, "float32")
        self.weights = np.empty(shape, "float32", order="F")  # the inputs of a spike are read from one place
        self._kept = [Kept(name, values) for name, values in {**self.state, "noise": self._noise}.items()]
        self._refresh(slice(None))

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

    def restore(self) -> None:
        """Take the state from `variables`."""
        super().restore()
        self._refresh(slice(None))
