"""A pulsed device whose constants were fitted to measured pulse curves, with a law of depression if they have one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from analognets.devices.base import State, seconds
from analognets.devices.pulsed import PulsedDevice, Seed, standard_normal
from analognets.devices.replicates import KnownConstants, check_known
from analognets.errors import InvalidArgumentError, check_number

__all__ = ["PULSED_CONSTANTS", "PulsedFitted"]

DIRECTIONS = ("potentiation", "depression")
PULSED_CONSTANTS = (
    *(f"{one}_{name}" for one in DIRECTIONS for name in ("fit", "spread_fit", "device_spreads")),
    "read_noise_floor", "g_min", "reset_spread",
)  # fmt: skip
"""The fields that a fit determines; a constant of a list is named with its place: "potentiation_fit[0]"."""


@keras.saving.register_keras_serializable(package="analognets")
@dataclasses.dataclass(frozen=True)
class PulsedFitted(KnownConstants, PulsedDevice):
    """A pulsed device with a linear or soft-bound law of potentiation and of depression, and devices that differ.

    With x the way from the start, G - g_min for potentiation and g_max - G for depression, one pulse of amplitude 1 has

        mu = f (c - (r / h) x),   sd = spread + share * |mu|                                       [uS]
        f = exp(s_step N1),  h = exp(s_limit N2)

    in its direction. r = 0 is the linear law: every pulse has the same step c. r > 0 is the exponential law of a soft
    bound: steps get smaller on the way to the limit, which lies h c / r from the start, as exp(-pulses / A) with
    A = -1 / ln(1 - r): NeuroSim's A for a normalised pulse number is A / pulses. f and h are each device's own
    (device-to-device spread), sd is drawn at every pulse (cycle-to-cycle spread). Conductances stay in [g_min, g_max].

    SET pulses, which learning on devices takes, potentiate; `depress` gives depression pulses.

    Args:
        g_max: limit of the conductance in uS.
        potentiation_fit: (c, r): step at g_min in uS, > 0, and what it loses per uS, 0 to 1.
        potentiation_spread_fit: (spread, share) of a step, uS and share of its mean, >= 0.
        potentiation_device_spreads: (s_step, s_limit), >= 0.
        depression_fit: (c, r) from g_max downwards; None: there is no law, only RESET lowers the device.
        depression_spread_fit: as for potentiation.
        depression_device_spreads: as for potentiation, drawn independently.
        source: which data the constants come from.
        uncertainty: what is known of the constants, as in `FittedDevice`.

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> device = PulsedFitted(potentiation_fit=(1.0, 0.1), depression_fit=(2.0, 0.0))
        >>> print(device.pulse_curve(3).round(2))
        [0.1  1.1  2.   2.81]
        >>> state = device.pulse(device.reset((2,), seed=0), 3, seed=1)
        >>> print(device.depress(state, [0, 1], seed=2)["conductance"].numpy().round(2))
        [2.81 0.81]

    Source: soft bounds as in NeuroSim (Chen, Peng and Yu, IEDM 2017) and aihwkit's SoftBoundsDevice; the laws of the
    spreads are our choice.
    """

    _: dataclasses.KW_ONLY
    potentiation_fit: Sequence[float] = (0.773, 0.0)
    potentiation_spread_fit: Sequence[float] = (0.0, 0.0)
    potentiation_device_spreads: Sequence[float] = (0.0, 0.0)
    depression_fit: Sequence[float] | None = None
    depression_spread_fit: Sequence[float] = (0.0, 0.0)
    depression_device_spreads: Sequence[float] = (0.0, 0.0)
    source: str = ""
    uncertainty: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for one in DIRECTIONS:
            if getattr(self, f"{one}_fit") is not None:
                self._pair(f"{one}_fit", (1e-9, 0.0), (1e6, 1.0))
            self._pair(f"{one}_spread_fit", (0.0, 0.0), (1e6, 1e3))
            self._pair(f"{one}_device_spreads", (0.0, 0.0), (5.0, 5.0))
        if self.potentiation_fit is None:
            raise InvalidArgumentError("PulsedFitted needs a law of potentiation. Received: potentiation_fit=None.")
        check_known(self, PULSED_CONSTANTS)

    def _pair(self, name: str, low: tuple[float, float], high: tuple[float, float]) -> None:
        values = getattr(self, name)
        if isinstance(values, (str, bytes)) or not isinstance(values, Sequence) or len(values) != 2:
            raise InvalidArgumentError(f"`{name}` of PulsedFitted must be two numbers. Received: {name}={values!r}.")
        checked = tuple(check_number("PulsedFitted", name, *each) for each in zip(values, low, high, strict=True))
        self._set(name, checked)

    @property
    def fixed_names(self) -> tuple[str, ...]:
        """Names of the factors that each device keeps: those that have a spread."""
        found = []
        for one in DIRECTIONS:
            for kind, spread in zip(("step", "limit"), getattr(self, f"{one}_device_spreads"), strict=True):
                if spread and getattr(self, f"{one}_fit") is not None:
                    found.append(f"{one}_{kind}_factor")
        return tuple(found)

    def limit(self, direction: str = "potentiation") -> float:
        """Return where a direction ends in uS: its soft bound, or infinity (minus infinity) for a linear law.

        Args:
            direction: "potentiation" or "depression".
        """
        fit, down = self.law(direction), direction == "depression"
        way = fit[0] / fit[1] if fit[1] else math.inf
        return self.g_max - way if down else self.g_min + way

    def law(self, direction: str) -> Sequence[float]:
        """Return (c, r) of a direction.

        Args:
            direction: "potentiation" or "depression".

        Raises:
            InvalidArgumentError: the device has no law of depression.
        """
        fit: Sequence[float] | None = getattr(self, f"{direction}_fit")
        if fit is None:
            raise InvalidArgumentError(
                "The device has no law of depression: its table held potentiation only. Received: depression_fit=None. "
                "Fit a table with depression pulses too, or lower devices by RESET."
            )
        return fit

    def step_moments(self, conductance: Any, pulses: Any) -> tuple[Any, Any]:
        """Return mean and spread of a potentiation step of the median device; `pulses` has no part in them."""
        return self._moments("potentiation", {}, conductance - self.g_min)

    def moments_of(self, state: Mapping[str, Any], conductance: Any, pulses: Any) -> tuple[Any, Any]:
        """Return mean and spread of a potentiation step of each device."""
        return self._moments("potentiation", state, conductance - self.g_min)

    def _moments(self, direction: str, state: Mapping[str, Any], way: Any) -> tuple[Any, Any]:
        (step, loss), (spread, share) = self.law(direction), getattr(self, f"{direction}_spread_fit")
        factor, limit = (state.get(f"{direction}_{kind}_factor", 1.0) for kind in ("step", "limit"))
        mean = factor * (step - loss / limit * way)
        return mean, spread + share * ops.abs(mean)

    def _factors(self, draws: Mapping[str, Any]) -> State:
        """Return what tells devices apart, from the draws."""
        found = {}
        for name in self.fixed_names:
            direction, kind, _ = name.split("_")
            spread = getattr(self, f"{direction}_device_spreads")[kind == "limit"]
            found[name] = ops.exp(spread * ops.convert_to_tensor(draws[name], dtype="float32"))
        return found

    def programming_draws(self, shape: tuple[int, ...], seed: Seed) -> dict[str, Any]:
        """Return standard-normal draws "write" and those of the factors of each device."""
        own = {name: standard_normal(shape, seed, name) for name in self.fixed_names}
        return {**super().programming_draws(shape, seed), **own}

    def program_with(self, g_target: Any, draws: Mapping[str, Any]) -> State:
        """Return the state of devices written with verification to `g_target` (uS) at time 0."""
        return {**super().program_with(g_target, draws), **self._factors(draws)}

    def reset_draws(self, shape: tuple[Any, ...], seed: Seed) -> dict[str, Any]:
        """Return standard-normal draws "reset" and those of the factors of each device."""
        own = {name: standard_normal(shape, seed, name) for name in self.fixed_names}
        return {**super().reset_draws(shape, seed), **own}

    def reset_with(self, draws: Mapping[str, Any], *, time: Any = 0.0) -> State:
        """Return the state of new devices right after RESET; who resets devices keeps their `fixed_names`."""
        return {**super().reset_with(draws, time=time), **self._factors(draws)}

    def depress_with(
        self, state: Mapping[str, Any], draws: Mapping[str, Any], *, time: Any, amplitude: Any = 1.0
    ) -> State:
        """Return the state after one depression pulse on every device of the arrays.

        G <- clip(G - a (mu + sd N), g_min, g_max), n <- max(n - a, 0), t_p <- time

        Args:
            state: before.
            draws: of `pulse_draws`.
            time: of the pulse in seconds.
            amplitude: a >= 0, a number or an array; devices with 0 stay as they are.

        Raises:
            InvalidArgumentError: the device has no law of depression.
        """
        g = ops.convert_to_tensor(state["conductance"], dtype="float32")
        amplitude = ops.zeros_like(g) + amplitude
        mean, deviation = self._moments("depression", state, self.g_max - g)
        moved = ops.clip(g - amplitude * (mean + deviation * draws["pulse"]), self.g_min, self.g_max)
        hit = amplitude > 0.0
        return {
            **state,
            "conductance": ops.where(hit, moved, g),
            "pulses": ops.maximum(state["pulses"] - amplitude, 0.0),
            "pulsed_at": ops.where(hit, ops.zeros_like(g) + seconds(time), state["pulsed_at"]),
        }

    def depress(
        self, state: Mapping[str, Any], count: Any = 1, *, seed: int, time: Any = 0.0, amplitude: Any = 1.0
    ) -> State:
        """Return the state after a number of depression pulses on each device; arguments as of `pulse`.

        Raises:
            InvalidArgumentError: a count or an amplitude is negative, the state is of another kind, or the device has
                no law of depression.
        """
        self.law("depression")
        return self._given(self.depress_with, state, count, seed, time, amplitude)
