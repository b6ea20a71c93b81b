"""Signed weights in one memristor each, for a supervised rule."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from analognets.devices import CuSiO2Memristor, derive_seed
from analognets.errors import InvalidArgumentError, check_number
from analognets.synapses.weights import WeightSynapses, initial_weights

__all__ = ["MemristorSynapses"]


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
        drawn = initial_weights(self.shape, spread, seed, "MemristorSynapses")
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
        """Return the weights in pA of one noisy reading; these devices don't drift, so scaling changes nothing."""
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
        share = np.clip(change / np.where(change > 0, max(full[1], 1e-12), max(full[-1], 1e-12)), -1.0, 1.0)
        draws = self.device.pulse_draws(self.shape, seed)
        state = self.device.pulse_with(self.state(), share, draws, voltage=self.voltage)
        self._state["conductance"].assign(state["conductance"])
        return int(np.count_nonzero(share))
