"""Resistive memory: deviations from the target that grow over days, no drift of the mean."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from analognets.devices.base import Device, State, normal, seconds
from analognets.devices.pcm import polynomial
from analognets.devices.strengths import is_off
from analognets.errors import InvalidArgumentError, check_choice, check_number

__all__ = ["ReRAM"]

_SECOND = (0.348, 16.030, -43.853, 45.393, -16.815)
_DAY = (0.701, 22.086, -50.773, 47.095, -16.458)
_TWO_DAYS = (0.782, 20.274, -43.507, 37.062, -11.934)


@keras.saving.register_keras_serializable(package="analognets")
@dataclasses.dataclass(frozen=True)
class ReRAM(Device):
    """Resistive memory (filamentary oxide), the statistical model of Wan et al. 2022 as fitted by Rasch et al. 2023.

    With r = G_target / g_max, N a standard-normal draw of each device and s the scale (0 switches the noise off):

        G(t) = max(0, G_target + s * sigma(r, t) * N),   sigma(r, t_k) = max(0, sum_i c_ki r^i) * g_max / 40   [uS]

    Between the measured times t_k, sigma is interpolated linearly in ln t; before the first and after the last it stays
    as it is there. The mean does not drift, so there is nothing to compensate. The short-term read noise of 1 % of
    g_max belongs to the product: `analognets.crossbar.ShortTermNoise(deviation=0.01, law="constant")`.

    State: `conductance` (at the first measured time, uS), `target` (uS), `deviation` (N); with independent relaxation
    no `deviation`.

    Args:
        g_max: largest conductance in uS, > 0. sigma grows in proportion.
        programming_noise_scale: s >= 0.
        times: t_k, seconds since programming, > 0 and rising.
        fits: c_k, for each time the coefficients of sigma in powers of r, in uS.
        fit_g_max: g_max of the fits in uS.
        relaxation: "coherent": a device keeps its N, so its deviation grows along one path (our reconstruction; the
            law at each time is the published one) and `read` needs no seed; "independent": each reading draws N anew,
            as aihwkit does (verified).

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> device = ReRAM()
        >>> state = device.program(np.full(1000, 20.0), seed=0)
        >>> [round(float(np.std(device.read(state, at))), 1) for at in ("1s", "1d")]
        [2.0, 3.9]

    Source: g_max and the fits at 1 s and 1 d: supplement of Rasch et al., Nat. Commun. 14:5282 (2023) (verified); two
    more digits and the fit at 2 d: IBM/aihwkit, inference/noise/reram.py (verified); data of Wan et al., Nature 608
    (2022). The interpolation is ours: aihwkit refuses other times.
    """

    g_max: float = 40.0
    _: dataclasses.KW_ONLY
    programming_noise_scale: float = 1.0
    times: Sequence[float] = (1.0, 86_400.0, 172_800.0)
    fits: Sequence[Sequence[float]] = (_SECOND, _DAY, _TWO_DAYS)
    fit_g_max: float = 40.0
    relaxation: str = "coherent"

    def __post_init__(self) -> None:
        ranges = {"g_max": (1e-6, 1e6, "uS"), "fit_g_max": (1e-6, 1e6, "uS"), "programming_noise_scale": (0.0, 1e3, "")}
        for name, (low, high, unit) in ranges.items():
            value = check_number("ReRAM", name, getattr(self, name), low, high, unit=unit)
            object.__setattr__(self, name, value)
        check_choice("ReRAM", "relaxation", self.relaxation, ("coherent", "independent"))
        times = tuple(check_number("ReRAM", "times", time, 1e-9, 1e12, unit="s") for time in self.times)
        if not times or any(late <= early for early, late in zip(times[:-1], times[1:], strict=True)):
            raise InvalidArgumentError(f"`times` of ReRAM must be rising seconds. Received: times={self.times!r}.")
        fits = tuple(tuple(check_number("ReRAM", "fits", c, -1e6, 1e6) for c in fit) for fit in self.fits)
        if len(fits) != len(times) or not all(fits):
            raise InvalidArgumentError(
                f"`fits` of ReRAM must hold one list of coefficients for each of the {len(times)} times. "
                f"Received: fits={self.fits!r}."
            )
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "fits", fits)

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the arrays of a state that reading needs."""
        return ("conductance", "target", "deviation") if self._coherent else ("conductance", "target")

    @property
    def _coherent(self) -> bool:
        return self.relaxation == "coherent" or is_off(self.programming_noise_scale)

    @property
    def first_reading(self) -> float:
        """The first measured time in seconds."""
        return self.times[0]

    def deviation(self, r: Any, time: Any) -> Any:
        """Return sigma(r, t) in uS of devices with the target r = G / g_max at `time` in seconds."""
        scale = self.g_max / self.fit_g_max
        fits = [ops.maximum(polynomial(r, [c * scale for c in fit]), 0.0) for fit in self.fits]
        log_times = [math.log(time) for time in self.times]
        if isinstance(time, float):
            now = math.log(max(time, self.times[0]))
        else:
            now = ops.log(ops.maximum(time, self.times[0]))
        total = fits[0]
        for k in range(len(fits) - 1):
            share = (now - log_times[k]) / (log_times[k + 1] - log_times[k])
            share = min(max(share, 0.0), 1.0) if isinstance(share, float) else ops.clip(share, 0.0, 1.0)
            total = total + share * (fits[k + 1] - fits[k])
        return total

    def programming_draws(self, shape: tuple[int, ...], seed: int) -> dict[str, Any]:
        """Return the standard-normal draw "programming"; nothing without noise."""
        return {} if is_off(self.programming_noise_scale) else {"programming": normal(shape, seed, "programming")}

    def first_deviation(self, g: Any) -> Any:
        """Return s * sigma(g, t_1) / g_max."""
        return self.deviation(g, self.times[0]) * (self.programming_noise_scale / self.g_max)

    def program_with(self, g_target: Any, draws: Mapping[str, Any]) -> State:
        """Return the state of devices programmed to `g_target` (uS, in [0, g_max]) with the given draws."""
        target = ops.clip(ops.convert_to_tensor(g_target, dtype="float32"), 0.0, self.g_max)
        draw = ops.zeros_like(target) if is_off(self.programming_noise_scale) else draws["programming"]
        state = {"conductance": self._disturbed(target, self.times[0], draw), "target": target}
        if self._coherent:
            state["deviation"] = ops.convert_to_tensor(draw, dtype="float32")
        return state

    def _disturbed(self, target: Any, time: Any, draw: Any) -> Any:
        sigma = self.deviation(target * (1.0 / self.g_max), time)
        return ops.maximum(target + self.programming_noise_scale * sigma * draw, 0.0)

    def read_draws(self, shape: tuple[int, ...], seed: int | None) -> dict[str, Any]:
        """Return the standard-normal draw "read" of independent relaxation; nothing if it is coherent."""
        if self._coherent:
            return {}
        if seed is None:
            raise InvalidArgumentError(
                "A reading of ReRAM with independent relaxation needs a seed. Received: seed=None. Pass seed=0 (and "
                "another number for every further reading), or use relaxation='coherent'."
            )
        return {"read": normal(shape, seed, "read")}

    def read_with(self, state: Mapping[str, Any], time: Any, draws: Mapping[str, Any]) -> Any:
        """Return the conductances in uS at `time` (seconds, duration text or a scalar tensor of seconds)."""
        target = ops.convert_to_tensor(state["target"], dtype="float32")
        draw = ops.convert_to_tensor(state["deviation"] if self._coherent else draws["read"], dtype="float32")
        return self._disturbed(target, seconds(time), draw)

    def get_config(self) -> dict[str, Any]:
        """Return the settings as plain data; `from_config` gives back an equal device."""
        return {**super().get_config(), "fits": [list(fit) for fit in self.fits]}
