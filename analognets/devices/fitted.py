"""A device whose constants were fitted to measured cells, with where they come from and how well they are known."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops
from scipy.special import ndtri

from analognets.devices.base import State, normal
from analognets.devices.pcm import PCM, polynomial
from analognets.devices.replicates import KnownConstants, check_known
from analognets.errors import InvalidArgumentError, check_number

__all__ = ["BOLTZMANN", "CONSTANTS", "FittedDevice"]

BOLTZMANN = 8.617333262e-5
"""In eV/K."""

CONSTANTS = ("programming_bias_fit", "programming_fit", "drift_mean_fit", "drift_spread_fit", "read_noise_fit",
             "stuck_shares", "activation_energy")  # fmt: skip
"""The fields that a fit determines; a constant of a list is named with its place: "programming_fit[0]"."""


@keras.saving.register_keras_serializable(package="analognets")
@dataclasses.dataclass(frozen=True)
class FittedDevice(KnownConstants, PCM):
    """The laws of `PCM` with constants fitted to measured cells, a mean programming error and stuck cells.

    With g = G_target / g_max, N independent standard-normal draws and the other symbols as in `PCM`:

        programming  G_prog = max(0, G_target + s * (bias(g) + sigma_prog(g) * N1))
                     bias(g) = sum_i b_i g^i * g_max / g_max_fit                                [uS]
        drift        ln D is multiplied by exp(-E_a / k * (1 / T - 1 / T_ref))
        stuck cells  with probability p_low or p_high, G = G_low or G_high at every time, whatever the target

    Which cells are stuck is drawn at programming; on one chip those of a small share are also among those of a
    larger one.

    Args:
        g_max: largest conductance in uS, > 0.
        programming_bias_fit: b_i in uS, the mean programming error in powers of g, at the g_max of the fit.
        stuck_shares: (p_low, p_high), each 0 to 1, together at most 1.
        stuck_conductances: (G_low, G_high) in uS, 0 to 2 g_max.
        activation_energy: E_a of the drift exponent in eV; 0: drift does not depend on temperature.
        temperature: T of the cells in K.
        reference_temperature: T_ref in K, at which the drift exponents are those of the fit.
        source: which data the constants come from.
        uncertainty: what is known of the constants, as the fit wrote it: `names` of constants such as
            "programming_fit[0]", `low` and `high` ends of their 95 % intervals, and `draws`, one list of values for
            each replicate of the bootstrap.

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> device = FittedDevice(stuck_shares=(0.5, 0.0), read_noise_scale=0.0)
        >>> state = device.program(np.full(1000, 20.0), seed=0)
        >>> stuck = device.read(state, "1d").numpy() == 0
        >>> bool(0.4 < stuck.mean() < 0.6)
        True

    Source: the laws are those of `PCM`; bias, stuck cells and the Arrhenius factor on the exponent are our choice.
    """

    _: dataclasses.KW_ONLY
    programming_bias_fit: Sequence[float] = (0.0,)
    stuck_shares: Sequence[float] = (0.0, 0.0)
    stuck_conductances: Sequence[float] = (0.0, 0.0)
    activation_energy: float = 0.0
    temperature: float = 298.15
    reference_temperature: float = 298.15
    source: str = ""
    uncertainty: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("programming_bias_fit", self._check_fit("programming_bias_fit", None))
        for name, high, unit in (("stuck_shares", 1.0, ""), ("stuck_conductances", 2.0 * self.g_max, "uS")):
            values = self._check_fit(name, 2)
            checked = tuple(check_number("FittedDevice", name, value, 0.0, high, unit=unit) for value in values)
            self._set(name, checked)
        if sum(self.stuck_shares) > 1.0:
            raise InvalidArgumentError(
                "The two `stuck_shares` of FittedDevice may be 1 together at most. Received: "
                f"stuck_shares={self.stuck_shares!r}."
            )
        ranges = {"activation_energy": (-10.0, 10.0, "eV"), "temperature": (1.0, 2000.0, "K")}
        ranges["reference_temperature"] = ranges["temperature"]
        for name, (low, high, unit) in ranges.items():
            self._set(name, check_number("FittedDevice", name, getattr(self, name), low, high, unit=unit))
        check_known(self, CONSTANTS)

    def programming_mean(self, g_target: Any, g: Any) -> Any:
        """Return what devices with the target G (uS), g = G / g_max, are programmed to in the mean."""
        scale = self.programming_noise_scale * (self.g_max / self.programming_fit_g_max)
        return g_target + polynomial(g, self.programming_bias_fit) * scale

    def programming_draws(self, shape: tuple[int, ...], seed: int) -> dict[str, Any]:
        """Return the draws of `PCM`, and "stuck" where cells can be stuck."""
        draws = super().programming_draws(shape, seed)
        if any(self.stuck_shares):
            draws["stuck"] = normal(shape, seed, "stuck")
        return draws

    def program_with(self, g_target: Any, draws: Mapping[str, Any]) -> State:
        """Return the state of devices programmed to `g_target` (uS, in [0, g_max]) with the given draws."""
        state = super().program_with(g_target, draws)
        for share, value, sign in zip(self.stuck_shares, self.stuck_conductances, (1.0, -1.0), strict=True):
            if share:
                stuck = draws["stuck"] * sign < float(ndtri(share))
                state["conductance"] = ops.where(stuck, value, state["conductance"])
                for name in ("drift_exponent", "read_noise_amplitude"):
                    state[name] = ops.where(stuck, 0.0, state[name])
        return state

    def drift_log_time(self, time: Any) -> Any:
        """Return ln D(t) times the Arrhenius factor."""
        log_time = super().drift_log_time(time)
        return log_time * self.drift_factor if self.activation_energy else log_time

    @property
    def drift_factor(self) -> float:
        """exp(-E_a / k * (1 / T - 1 / T_ref)), by which drift exponents differ from those at T_ref."""
        inverse = 1.0 / self.temperature - 1.0 / self.reference_temperature
        return math.exp(min(max(-self.activation_energy / BOLTZMANN * inverse, -50.0), 50.0))
