"""A Cu/SiO2/W filament memristor below 500 mV: potentiated and depressed by spikes, each step depends on the state."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from analognets.devices.base import Device, State, normal
from analognets.errors import InvalidArgumentError, check_number

__all__ = ["CuSiO2Memristor"]

V_LIMIT = 0.5
"""Volts; the device is one that works below this (verified: the abstract of arXiv 2001.09299)."""


@keras.saving.register_keras_serializable(package="analognets")
@dataclasses.dataclass(frozen=True)
class CuSiO2Memristor(Device):
    """Phenomenological model of spike-timing dependent plasticity in a Cu/SiO2/W memristor.

    With x = (G - g_min) / (g_max - g_min) and a share s of a full step, -1 to 1:

        s > 0:  dx = +a_p u_p f(V) |s| (1 - x)^b_p max(0, 1 + step_spread N)      potentiation
        s < 0:  dx = -a_d u_d f(V) |s| x^b_d       max(0, 1 + step_spread N)      depression
        STDP:   s  = exp(-dt / tau_p) for dt = t_post - t_pre >= 0,  s = -exp(dt / tau_d) for dt < 0
        f(V)    = sinh(V / v_0) / sinh(v_reference / v_0) from v_threshold on, 0 below

    so that a step gets smaller towards the bound it goes to (soft bounds). u_p, u_d are factors of each device, drawn
    once: max(0.05, 1 + device_spread N). N are independent standard-normal draws. Nothing drifts.

    State: `conductance` (uS), `up` and `down` (u_p, u_d).

    Verified are only the kind of device, the 500 mV and that steps depend on the state; every constant and the form of
    the law are assumed.

    Args:
        g_max: upper bound in uS; assumed: one conductance quantum 2e^2/h, the end of the gradual range.
        g_min: lower bound in uS, >= 0; assumed.
        potentiation: a_p, step of a full pulse from x = 0 as a share of the range, 0 to 1; assumed.
        depression: a_d, the same from x = 1 downwards; assumed.
        potentiation_power: b_p >= 0, 0 is a hard bound; assumed.
        depression_power: b_d >= 0; assumed.
        tau_potentiation: tau_p in ms, > 0; assumed.
        tau_depression: tau_d in ms, > 0; assumed.
        step_spread: from pulse to pulse, as a share of a step, >= 0; assumed.
        device_spread: of u_p and u_d from device to device, >= 0; assumed.
        write_spread: standard deviation of a verified write in uS, >= 0; assumed.
        read_noise_share: standard deviation of a reading as a share of the conductance, >= 0; assumed.
        v_reference: amplitude in V at which f = 1, above v_threshold, at most 0.5; assumed.
        v_threshold: amplitude in V below which nothing moves, >= 0; assumed.
        v_0: in V, how steeply steps grow with the amplitude, > 0; assumed.

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> device = CuSiO2Memristor()
        >>> print(device.window([-10.0, 10.0, 40.0], conductance=40.0).round(2))
        [-1.18  1.14  0.25]
        >>> state = device.program([20.0, 60.0], seed=0)
        >>> print(device.spike_pair(state, 5.0, seed=1)["conductance"].shape)
        (2,)

    Source: our reconstruction after Nandakumar and Rajendran, arXiv 2001.09299, whose constants are not published in
    what we could read; the form is the usual soft-bound law.
    """

    g_max: float = 77.5
    _: dataclasses.KW_ONLY
    g_min: float = 1.0
    potentiation: float = 0.05
    depression: float = 0.05
    potentiation_power: float = 1.0
    depression_power: float = 1.0
    tau_potentiation: float = 20.0
    tau_depression: float = 20.0
    step_spread: float = 0.3
    device_spread: float = 0.1
    write_spread: float = 0.5
    read_noise_share: float = 0.02
    v_reference: float = 0.25
    v_threshold: float = 0.1
    v_0: float = 0.05

    def __post_init__(self) -> None:
        ranges = {
            "g_max": (1e-6, 1e6, "uS"),
            "g_min": (0.0, 1e6, "uS"),
            "potentiation": (0.0, 1.0, ""),
            "depression": (0.0, 1.0, ""),
            "potentiation_power": (0.0, 20.0, ""),
            "depression_power": (0.0, 20.0, ""),
            "tau_potentiation": (1e-3, 1e6, "ms"),
            "tau_depression": (1e-3, 1e6, "ms"),
            "step_spread": (0.0, 10.0, ""),
            "device_spread": (0.0, 10.0, ""),
            "write_spread": (0.0, 1e3, "uS"),
            "read_noise_share": (0.0, 10.0, ""),
            "v_reference": (1e-6, V_LIMIT, "V"),
            "v_threshold": (0.0, V_LIMIT, "V"),
            "v_0": (1e-3, 10.0, "V"),
        }
        for name, (low, high, unit) in ranges.items():
            value = check_number(type(self).__name__, name, getattr(self, name), low, high, unit=unit)
            object.__setattr__(self, name, value)
        for low_name, high_name, unit in (("g_min", "g_max", "uS"), ("v_threshold", "v_reference", "V")):
            low, high = getattr(self, low_name), getattr(self, high_name)
            if not low < high:
                raise InvalidArgumentError(
                    f"`{low_name}` of CuSiO2Memristor must be less than its {high_name}. Received: "
                    f"{low_name}={low:g}, {high_name}={high:g} {unit}."
                )

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the arrays of a state."""
        return ("conductance", "up", "down")

    @property
    def range(self) -> float:
        """Width of the range of conductances in uS."""
        return self.g_max - self.g_min

    def programming_draws(self, shape: tuple[int, ...], seed: int) -> dict[str, Any]:
        """Return standard-normal draws "write", "up" and "down"."""
        return {name: normal(shape, seed, name) for name in ("write", "up", "down")}

    def program_with(self, g_target: Any, draws: Mapping[str, Any]) -> State:
        """Return the state of devices written with verification to `g_target` (uS), with factors of their own."""
        g = ops.convert_to_tensor(g_target, dtype="float32") + self.write_spread * draws["write"]
        factors = {name: ops.maximum(1.0 + self.device_spread * draws[name], 0.05) for name in ("up", "down")}
        return {"conductance": ops.clip(g, self.g_min, self.g_max), **factors}

    def read_draws(self, shape: tuple[int, ...], seed: int | None) -> dict[str, Any]:
        """Return standard-normal draws "read", or nothing if there is no read noise."""
        if not self.read_noise_share:
            return {}
        if seed is None:
            raise InvalidArgumentError(
                "A reading of CuSiO2Memristor with read noise needs a seed. Received: seed=None. Pass seed=0 (and "
                "another number for every further reading)."
            )
        return {"read": normal(shape, seed, "read")}

    def read_with(self, state: Mapping[str, Any], time: Any, draws: Mapping[str, Any]) -> Any:
        """Return the conductances in uS; they are the same at every time."""
        g = ops.convert_to_tensor(state["conductance"], dtype="float32")
        return ops.maximum(g * (1.0 + self.read_noise_share * draws["read"]), 0.0) if draws else g

    def voltage_factor(self, voltage: float | None = None) -> float:
        """Return f(V), the size of steps relative to those at `v_reference`.

        Args:
            voltage: amplitude in V, 0 to 0.5; None: `v_reference`.

        Raises:
            InvalidArgumentError: it is above 500 mV, for which the device is not made.
        """
        if voltage is None:
            return 1.0
        voltage = check_number("CuSiO2Memristor", "voltage", voltage, 0.0, V_LIMIT, unit="V")
        if voltage < self.v_threshold:
            return 0.0
        return float(np.sinh(voltage / self.v_0) / np.sinh(self.v_reference / self.v_0))

    def timing_share(self, dt: Any, xp: Any = np) -> Any:
        """Return s of spike pairs, dt = t_post - t_pre in ms: exp(-dt / tau_p) from 0 on, -exp(dt / tau_d) below."""
        up = xp.exp(-xp.maximum(dt, 0.0) / self.tau_potentiation)
        return xp.where(dt >= 0.0, up, -xp.exp(xp.minimum(dt, 0.0) / self.tau_depression))

    def moved(self, g: Any, share: Any, up: Any, down: Any, draw: Any, *, factor: float = 1.0, xp: Any = np) -> Any:
        """Return conductances after one pulse each: the law above, for NumPy arrays (xp=np) or tensors (xp=keras.ops).

        Args:
            g: before, in uS, g_min to g_max.
            share: s of each device, -1 to 1; 0 leaves it alone.
            up: u_p.
            down: u_d.
            draw: standard-normal draws.
            factor: f(V).
            xp: the array library.
        """
        width, rises = self.range, share > 0.0
        x = (g - self.g_min) * (1.0 / width)
        room = xp.where(rises, 1.0 - x, x)  # to the bound the step goes to
        if self.potentiation_power != self.depression_power:
            room = xp.where(rises, room**self.potentiation_power, room**self.depression_power)
        elif self.potentiation_power != 1.0:
            room = room**self.potentiation_power
        full = xp.where(rises, (width * factor * self.potentiation) * up, (width * factor * self.depression) * down)
        step = full * room * share * xp.maximum(1.0 + self.step_spread * draw, 0.0)
        return xp.clip(g + step, self.g_min, self.g_max)

    def pulse_draws(self, shape: tuple[int, ...], seed: int) -> dict[str, Any]:
        """Return the standard-normal draws "pulse" of one pulse."""
        return {"pulse": normal(shape, seed, "pulse")}

    def pulse_with(
        self, state: Mapping[str, Any], share: Any, draws: Mapping[str, Any], *, voltage: float | None = None
    ) -> State:
        """Return the state after one pulse on every device; a device with share 0 keeps its conductance.

        Args:
            state: before.
            share: s, -1 to 1, of the shape of the devices or one number.
            draws: of `pulse_draws`.
            voltage: amplitude in V; None: `v_reference`.
        """
        g = ops.convert_to_tensor(state["conductance"], dtype="float32")
        share = ops.zeros_like(g) + share
        factor = self.voltage_factor(voltage)
        g = self.moved(g, share, state["up"], state["down"], draws["pulse"], factor=factor, xp=ops)
        return {**state, "conductance": g}

    def spike_pair(self, state: Mapping[str, Any], dt: Any, *, seed: int, voltage: float | None = None) -> State:
        """Return the state after one pair of spikes, dt = t_post - t_pre.

        Args:
            state: before; it is not changed.
            dt: in ms, one or an array.
            seed: whole number >= 0; give each call its own.
            voltage: amplitude in V, 0 to 0.5; None: `v_reference`.

        Raises:
            InvalidArgumentError: the voltage is out of range or the state is of another kind.
        """
        self.check_state(state)
        dt = ops.convert_to_tensor(dt, dtype="float32")
        draws = self.pulse_draws(tuple(state["conductance"].shape), seed)
        return self.pulse_with(state, self.timing_share(dt, ops), draws, voltage=voltage)

    def window(self, dt: Any, conductance: float) -> np.ndarray:
        """Return the mean change in uS that pairs of spikes make in a typical device.

        Args:
            dt: t_post - t_pre in ms.
            conductance: before, in uS, g_min to g_max.
        """
        g = check_number("CuSiO2Memristor", "conductance", conductance, self.g_min, self.g_max, unit="uS")
        share = self.timing_share(np.asarray(dt, dtype=float))
        quiet = dataclasses.replace(self, step_spread=0.0)
        return quiet.moved(np.full(share.shape, g), share, 1.0, 1.0, 0.0) - g
