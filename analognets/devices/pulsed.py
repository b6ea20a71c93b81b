"""Devices that learn: conductance changes pulse by pulse, what one pulse does is known in distribution only."""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops
from scipy import special

from analognets.core.seeds import derive_seed
from analognets.devices.base import Device, State, normal, seconds
from analognets.errors import InvalidArgumentError, check_integer, check_number

__all__ = ["PulsedDevice", "PulsedLinear"]

Seed: TypeAlias = "int | keras.random.SeedGenerator"

_CURVE_DEVICES = 20_000
_LOG_CV = np.linspace(-3.0, 3.5, 651)
"""Grid of the logarithm of standard deviation / mean, on which rectified steps are tabulated."""


def standard_normal(shape: tuple[Any, ...], seed: Seed, stream: str) -> Any:
    """Return float32 standard-normal draws; a generator serves traced code, a number has a stream for every name."""
    if isinstance(seed, keras.random.SeedGenerator):
        return keras.random.normal(shape, dtype="float32", seed=seed)
    return normal(shape, seed, stream)


@dataclasses.dataclass(frozen=True)
class PulsedDevice(Device):
    """A memory cell that SET pulses raise step by step and a RESET pulse returns to its lowest conductance.

    SET:    G <- clip(G + a (mu + sd N), g_min, g_max),  n <- n + a,  t_p <- t;   (mu, sd) = step_moments(G, n + a)
    RESET:  G <- g_min (1 + reset_spread N) >= g_min / 10,  n <- 0,  t_p <- t
    read:   G(t) = max(0, G_d + (read_noise_share G_d + read_noise_floor) N),  G_d = G max((t - t_p) / t_0, 1)^-nu

    N are independent standard-normal draws, n the SET pulses since RESET, t_p the time of the last pulse, a the
    amplitude (1 is the pulse that was characterised; others scale mean and spread, which is our reconstruction). The
    methods ending in `_with` are arithmetic on given draws, so they can be traced; arrays may have any shape.

    State: `conductance` (G in uS, as it reads t_0 after the pulse), `pulses` (n), `pulsed_at` (t_p in seconds).

    A subclass gives `step_moments`. As a `Device` it can also be programmed to a target: `program` is a write with
    verification that leaves an error of `write_spread`, and sets n to what blind pulses would have needed.

    Args:
        g_max: limit of the conductance in uS, > g_min.
        g_min: conductance after RESET in uS, > 0.
        reset_spread: standard deviation of that as a share, >= 0.
        drift_exponent: nu, >= 0.
        t_0: seconds after a pulse at which G was measured, > 0; before that, nothing drifts.
        read_noise_share: standard deviation of a reading as a share of the conductance, >= 0.
        read_noise_floor: and its part that does not depend on it, in uS, >= 0.
        write_spread: standard deviation in uS of what is left after a verified write, >= 0.
        monotonic: whether no SET pulse ever lowers a device: steps are max(0, m + s N), with m and s such that their
            mean and spread are still those of the normal steps, which g_min stops (our reconstruction; where that
            mean is not positive, there is no step). Else steps are normal, as in the sources, and some negative.

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> device = analognets.devices.get("pulsed_linear", step=0.5)
        >>> state = device.reset((3,), seed=0)
        >>> state = device.pulse(state, [0, 1, 2], seed=1)
        >>> print(state["conductance"].numpy().round(2))
        [0.1 0.6 1.1]
    """

    g_max: float = 12.0
    _: dataclasses.KW_ONLY
    g_min: float = 0.1
    reset_spread: float = 0.0
    drift_exponent: float = 0.0
    t_0: float = 1.0
    read_noise_share: float = 0.0
    read_noise_floor: float = 0.0
    write_spread: float = 0.0
    monotonic: bool = False

    def __post_init__(self) -> None:
        ranges = {
            "g_max": (1e-6, 1e6, "uS"),
            "g_min": (1e-9, 1e6, "uS"),
            "reset_spread": (0.0, 10.0, ""),
            "drift_exponent": (0.0, 1.0, ""),
            "t_0": (1e-9, 1e9, "s"),
            "read_noise_share": (0.0, 10.0, ""),
            "read_noise_floor": (0.0, 1e3, "uS"),
            "write_spread": (0.0, 1e3, "uS"),
        }
        for name, (low, high, unit) in ranges.items():
            self._set(name, check_number(type(self).__name__, name, getattr(self, name), low, high, unit=unit))
        if not self.g_min < self.g_max:
            raise InvalidArgumentError(
                f"`g_min` of {type(self).__name__} must be less than its g_max. Received: g_min={self.g_min:g}, "
                f"g_max={self.g_max:g} uS."
            )

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @abc.abstractmethod
    def step_moments(self, conductance: Any, pulses: Any) -> tuple[Any, Any]:
        """Return mean and standard deviation, in uS, of the step of a SET pulse.

        Args:
            conductance: before the pulse, in uS.
            pulses: how many SET pulses the device has had since RESET, this one counted.
        """

    def moments_of(self, state: Mapping[str, Any], conductance: Any, pulses: Any) -> tuple[Any, Any]:
        """Return `step_moments` of devices in a state, each with what is its own."""
        return self.step_moments(conductance, pulses)

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the arrays of a state."""
        return ("conductance", "pulses", "pulsed_at", *self.fixed_names)

    @property
    def fixed_names(self) -> tuple[str, ...]:
        """Names of those that tell devices apart, which no pulse and no RESET changes."""
        return ()

    @property
    def mean_step(self) -> float:
        """The mean step of the first ten pulses in uS: the granularity of blind updates."""
        curve = self.pulse_curve(10)
        return float(curve[-1] - curve[0]) / 10

    def pulse_curve(self, pulses: int = 20) -> np.ndarray:
        """Return the mean conductance in uS after 0, 1, ... SET pulses from RESET (of 20,000 simulated devices).

        Args:
            pulses: how many, 1 to 1000.
        """
        return _pulse_curve(self, check_integer(type(self).__name__, "pulses", pulses, 1, 1000)).copy()

    def pulses_for(self, conductance: Any, most: int = 20) -> Any:
        """Return how many SET pulses after RESET come nearest to conductances, in the mean; float32, 0 to `most`.

        Args:
            conductance: wanted rise above g_min, in uS.
            most: largest answer, 1 to 1000.
        """
        curve = np.maximum.accumulate(self.pulse_curve(most)) - self.pulse_curve(most)[0]
        edges = ((curve[1:] + curve[:-1]) / 2).astype("float32")
        wanted = ops.convert_to_tensor(conductance, dtype="float32")
        found = ops.searchsorted(edges, ops.reshape(wanted, (-1,)))
        return ops.reshape(ops.cast(found, "float32"), ops.shape(wanted))

    def programming_draws(self, shape: tuple[int, ...], seed: Seed) -> dict[str, Any]:
        """Return standard-normal draws "write"."""
        return {"write": standard_normal(shape, seed, "write")}

    def program_with(self, g_target: Any, draws: Mapping[str, Any]) -> State:
        """Return the state of devices written with verification to `g_target` (uS) at time 0."""
        g = ops.convert_to_tensor(g_target, dtype="float32") + self.write_spread * draws["write"]
        g = ops.clip(g, self.g_min, self.g_max)
        return {"conductance": g, "pulses": self.pulses_for(g - self.g_min), "pulsed_at": ops.zeros_like(g)}

    def reset_draws(self, shape: tuple[Any, ...], seed: Seed) -> dict[str, Any]:
        """Return standard-normal draws "reset"."""
        return {"reset": standard_normal(shape, seed, "reset")}

    def reset_with(self, draws: Mapping[str, Any], *, time: Any = 0.0) -> State:
        """Return the state of devices of the draws' shape right after RESET at `time` (seconds)."""
        spread = ops.convert_to_tensor(draws["reset"], dtype="float32")
        g = ops.maximum(self.g_min * (1.0 + self.reset_spread * spread), 0.1 * self.g_min)
        return {"conductance": g, "pulses": ops.zeros_like(g), "pulsed_at": ops.zeros_like(g) + seconds(time)}

    def reset(self, shape: tuple[int, ...], *, seed: Seed, time: Any = 0.0) -> State:
        """Return devices right after RESET.

        Args:
            shape: of the arrays.
            seed: whole number >= 0, or a `keras.random.SeedGenerator`.
            time: of the pulse: seconds or a duration text.
        """
        return self.reset_with(self.reset_draws(shape, seed), time=time)

    def pulse_draws(self, shape: tuple[Any, ...], seed: Seed) -> dict[str, Any]:
        """Return the standard-normal draws "pulse" of one SET pulse."""
        return {"pulse": standard_normal(shape, seed, "pulse")}

    def pulse_with(
        self, state: Mapping[str, Any], draws: Mapping[str, Any], *, time: Any, amplitude: Any = 1.0
    ) -> State:
        """Return the state after one SET pulse on every device of the arrays.

        G <- clip(G + a (mu + sd N), g_min, g_max), n <- n + a, t_p <- time

        Args:
            state: before.
            draws: of `pulse_draws`.
            time: of the pulse in seconds.
            amplitude: a >= 0, a number or an array; devices with 0 stay as they are.
        """
        g = ops.convert_to_tensor(state["conductance"], dtype="float32")
        amplitude = ops.zeros_like(g) + amplitude
        pulses = state["pulses"] + amplitude
        mean, deviation = self.moments_of(state, g, pulses)
        if self.monotonic:
            step = amplitude * _rectified(*_stopped(mean, deviation, self.g_min - g), draws["pulse"])
        else:
            step = amplitude * (mean + deviation * draws["pulse"])
        hit = amplitude > 0.0
        moved = ops.clip(g + step, self.g_min, self.g_max)
        return {
            **state,
            "conductance": ops.where(hit, moved, g),
            "pulses": pulses,
            "pulsed_at": ops.where(hit, ops.zeros_like(g) + seconds(time), state["pulsed_at"]),
        }

    def pulse(
        self, state: Mapping[str, Any], count: Any = 1, *, seed: int, time: Any = 0.0, amplitude: Any = 1.0
    ) -> State:
        """Return the state after a number of SET pulses on each device.

        Args:
            state: before; it is not changed.
            count: how many pulses each device gets, whole numbers 0 to 1000, one or an array.
            seed: whole number >= 0; give each call its own.
            time: of the pulses: seconds or a duration text.
            amplitude: of the pulses, >= 0, one or an array.

        Raises:
            InvalidArgumentError: a count or an amplitude is negative, or the state is of another kind.
        """
        return self._given(self.pulse_with, state, count, seed, time, amplitude)

    def _given(
        self,
        one_pulse: Callable[..., State],
        state: Mapping[str, Any],
        count: Any,
        seed: int,
        time: Any,
        amplitude: Any,
    ) -> State:
        """Return the state after a number of pulses of one kind on each device, as `pulse` describes it."""
        self.check_state(state)
        counts = np.asarray(ops.convert_to_numpy(count))
        if counts.size and not (counts.dtype.kind in "iu" and 0 <= counts.min() and counts.max() <= 1000):
            raise InvalidArgumentError(
                f"`count` of pulses must hold whole numbers from 0 to 1000. Received: {counts.dtype} values "
                f"{counts.min()} to {counts.max()}. Lower a pair by pulses on its other device, or RESET it."
            )
        if np.min(ops.convert_to_numpy(amplitude), initial=0.0) < 0:
            raise InvalidArgumentError(f"`amplitude` of pulses must not be negative. Received: {amplitude!r}.")
        state = {name: ops.convert_to_tensor(values, dtype="float32") for name, values in state.items()}
        for number in range(int(counts.max(initial=0))):
            draws = self.pulse_draws(tuple(state["conductance"].shape), derive_seed(seed, "pulse", number))
            share = ops.convert_to_tensor((counts > number).astype("float32")) * amplitude
            state = one_pulse(state, draws, time=time, amplitude=share)
        return state

    def read_draws(self, shape: tuple[Any, ...], seed: Seed | None) -> dict[str, Any]:
        """Return standard-normal draws "read" of one reading; nothing if there is no read noise."""
        if not (self.read_noise_share or self.read_noise_floor):
            return {}
        if seed is None:
            raise InvalidArgumentError(
                f"A reading of {type(self).__name__} with read noise needs a seed. Received: seed=None. Pass seed=0 "
                "(and another number for every further reading)."
            )
        return {"read": standard_normal(shape, seed, "read")}

    def read_with(self, state: Mapping[str, Any], time: Any, draws: Mapping[str, Any]) -> Any:
        """Return the conductances in uS at `time`, on the clock that the pulses' times are given in."""
        g = ops.convert_to_tensor(state["conductance"], dtype="float32")
        if self.drift_exponent:
            since = (seconds(time) - ops.convert_to_tensor(state["pulsed_at"], dtype="float32")) * (1.0 / self.t_0)
            g = g * ops.exp(-self.drift_exponent * ops.log(ops.maximum(since, 1.0)))
        if draws:
            g = ops.maximum(g + (self.read_noise_share * g + self.read_noise_floor) * draws["read"], 0.0)
        return g


@functools.lru_cache(maxsize=1)
def _rectifying_table() -> np.ndarray:
    """Return m and s, for a mean of 1, of max(0, m + s N) with the standard deviations exp(_LOG_CV)."""
    a = np.linspace(-4.0, 25.0, 40_001)
    density = np.exp(-(a**2) / 2) / math.sqrt(2 * math.pi)
    first = density + a * special.ndtr(a)
    second = (a**2 + 1) * special.ndtr(a) + a * density
    log_cv = 0.5 * np.log(second / first**2 - 1)
    found = np.interp(_LOG_CV, log_cv[::-1], a[::-1])
    s = 1 / np.interp(found, a, first)
    return np.stack([found * s, s], axis=1).astype("float32")


def _stopped(mean: Any, deviation: Any, low: Any) -> tuple[Any, Any]:
    """Return mean and standard deviation of max(low, N(mean, deviation))."""
    spread = ops.maximum(deviation, 1e-9)
    b = ops.clip((mean - low) / spread, -10.0, 10.0)
    density, below = ops.exp(-0.5 * b * b) * (2 * math.pi) ** -0.5, 0.5 * (1.0 + ops.erf(b * 0.5**0.5))
    first = density + b * below
    variance = ops.maximum((b * b + 1.0) * below + b * density - first * first, 0.0)
    stopped = low + spread * first
    return ops.where(b < 10.0, stopped, mean), ops.where(b < 10.0, spread * ops.sqrt(variance), deviation)


def _rectified(mean: Any, deviation: Any, draws: Any) -> Any:
    """Return draws of max(0, m + s N) that have this mean and standard deviation; 0 where the mean is not positive."""
    rising = mean > 0.0
    cv = ops.where(rising, deviation, 1.0) / ops.where(rising, mean, 1.0)
    low, high = float(_LOG_CV[0]), float(_LOG_CV[-1])
    place = (ops.log(ops.clip(cv, math.exp(low), math.exp(high))) - low) * ((len(_LOG_CV) - 1) / (high - low))
    left = ops.clip(ops.floor(place), 0, len(_LOG_CV) - 2)
    share = ops.expand_dims(place - left, -1)
    index, table = ops.cast(left, "int32"), ops.convert_to_tensor(_rectifying_table())
    m_s = ops.take(table, index, axis=0) * (1.0 - share) + ops.take(table, index + 1, axis=0) * share
    # Below the grid the spread is small: m is the mean, and s follows the true ratio.
    step = ops.where(cv < math.exp(low), 1.0 + cv * draws, m_s[..., 0] + m_s[..., 1] * draws)
    return ops.where(rising, ops.maximum(mean * step, 0.0), 0.0)


@functools.lru_cache(maxsize=64)
def _pulse_curve(device: PulsedDevice, pulses: int) -> np.ndarray:
    state = device.reset((_CURVE_DEVICES,), seed=0)
    means = [float(ops.convert_to_numpy(ops.mean(state["conductance"])))]
    for number in range(pulses):
        draws = device.pulse_draws((_CURVE_DEVICES,), number + 1)
        state = device.pulse_with(state, draws, time=0.0)
        means.append(float(ops.convert_to_numpy(ops.mean(state["conductance"]))))
    return np.array(means)


@keras.saving.register_keras_serializable(package="analognets")
@dataclasses.dataclass(frozen=True)
class PulsedLinear(PulsedDevice):
    """The pulsed device without flaws: every pulse adds the same step until g_max.

    mu = step,  sd = 0; no drift and no read noise unless they are asked for.

    Args:
        g_max: limit of the conductance in uS.
        step: of one pulse in uS, > 0. 0.773 is the mean step of `PulsedPCM`.

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> print(PulsedLinear(step=0.5).pulse_curve(4).round(2))
        [0.1 0.6 1.1 1.6 2.1]
    """

    step: float = 0.773

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("step", check_number("PulsedLinear", "step", self.step, 1e-9, 1e6, unit="uS"))

    def step_moments(self, conductance: Any, pulses: Any) -> tuple[Any, Any]:
        """Return the step and 0."""
        return self.step * ops.ones_like(conductance), ops.zeros_like(conductance)
