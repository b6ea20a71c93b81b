"""Phase-change memory for inference: programming noise, drift and 1/f read noise fitted to 90-nm devices."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from analognets.devices.base import Device, State, normal, seconds
from analognets.devices.strengths import is_off
from analognets.errors import InvalidArgumentError, check_choice, check_number

__all__ = ["PCM"]

LOWEST = 1e-7
"""Floor of G / g_max inside of logarithms, as in aihwkit."""


@keras.saving.register_keras_serializable(package="analognets")
@dataclasses.dataclass(frozen=True)
class PCM(Device):
    """Phase-change memory, the statistical model of Nandakumar et al. 2019 / Joshi et al. 2020.

    With g = G_target / g_max, N independent standard-normal draws of each device and ln the natural logarithm:

        programming  G_prog = max(0, G_target + s * sigma_prog * N1)
                     sigma_prog = max(0, 0.26348 + 1.9650 g - 1.1731 g^2) * g_max / 25      [uS]
        drift        G_drift(t) = G_prog * D(t)^(-d * nu),  nu = |mu + sigma * N2|
                     mu = clip(-0.0155 ln g + 0.0244, 0.049, 0.1),  sigma = clip(-0.0125 ln g - 0.0059, 0.008, 0.045)
        read noise   G(t) = max(0, G_drift(t) * (1 + r * Q * X(t))),  var X(t) = ln((t + t_read) / (2 t_read))
                     Q = min(0.0088 / g^0.65, 0.2)

    where s, d, r are the three scales: 0 switches a source off. `state` keeps G_prog, nu and Q of every device, so a
    chip is read again without drawing anything anew. d and r act in `read`: the same chip can be read by
    `PCM(read_noise_scale=0)`.

    State: `conductance` (G_prog, uS), `drift_exponent` (nu), `read_noise_amplitude` (Q), each with the shape of the
    targets; for coherent read noise also `read_noise_path` with a leading axis of one array a knot.

    Args:
        g_max: largest conductance in uS, > 0. sigma_prog grows in proportion.
        programming_noise_scale: s >= 0.
        drift_scale: d >= 0.
        read_noise_scale: r >= 0.
        t_0: seconds from programming to the reading at which G_prog was measured, > 0. 25 s is the first time of
            the AnalogNets grid and of the IBM-Zurich scripts (verified in Buechel et al.'s code); aihwkit has 20 s
            (verified).
        drift_clock: what `time` means. "absolute": seconds since programming, D = max(t, t_0) / t_0; nothing drifts
            before t_0, so at 25 s there is no drift (the papers; the reading "first time = t_0" is verified in
            Buechel et al.'s code, for AnalogNets itself from memory). "since_programming": time counts from the
            end of a programming that took t_0, D = (time + t_0) / t_0 and t = time + t_0 in the read noise
            (aihwkit, verified).
        t_read: width of the read pulse in seconds, > 0 (verified: aihwkit).
        read_noise_reference: the conductance in Q. "target": as documented (verified: aihwkit documentation, Buechel
            et al.); "programmed": as aihwkit's code computes (verified; aihwkit issue 436).
        read_noise_log_divisor: 2.0 as above (verified: aihwkit code and documentation), 1.0 for
            ln((t + t_read) / t_read) (verified: appendix of Buechel et al.). Less than 2 % in sigma.
        read_noise_scaling: what Q multiplies. "drifted": the conductance of the moment, as above (aihwkit, verified);
            "target": the target, G(t) = max(0, G_drift(t) + r * Q * G_target * X(t)) (Rasch et al. 2023, eq. 10,
            verified), and `read_noise_amplitude` is Q * G_target in uS.
        read_noise_clock: the t of the read noise. "drift": that of the drift clock; "time": `time` as it is given
            (Rasch et al. 2023, verified).
        drift_exponent: "non_negative": nu = |mu + sigma * N2| (aihwkit, verified); "signed": mu + sigma * N2 (Rasch et
            al. 2023, verified).
        read_noise: "independent": every reading draws X anew from its seed, as in aihwkit. "coherent": X(t) is one
            stored path of each device (our reconstruction): Brownian motion in L(t) = var X(t), drawn at programming.
            Readings a second apart at an hour are nearly alike, corr = sqrt(L1 / L2) at knots, and the variance is
            the published one at every time. `read` then needs no seed.
        coherent_knots: times in seconds, rising, between which the path is X_i + sqrt(u) (X_i+1 - X_i) with u the
            fraction of L gone: exact variance, correlation a little above the exact one. The last piece goes on.
        programming_fit: coefficients of sigma_prog in powers of g, in uS.
        programming_fit_g_max: g_max of that fit in uS.
        drift_mean_fit: (slope, offset, low, high) of mu.
        drift_spread_fit: (slope, offset, low, high) of sigma.
        read_noise_fit: (factor, exponent, high) of Q.

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> state = PCM(read_noise_scale=0.0).program([5.0, 20.0], seed=0)
        >>> PCM(read_noise_scale=0.0).read(state, "1y").shape
        TensorShape([2])

    Source: Nandakumar et al., ICECS 2019; Joshi et al., Nat. Commun. 11:2473 (2020); every constant verified in
    IBM/aihwkit, inference/noise/pcm.py and docs/source/pcm_inference.rst. That AnalogNets (arXiv 2111.06503) used
    this model with 25 uS is from memory.
    """

    _: dataclasses.KW_ONLY
    programming_noise_scale: float = 1.0
    drift_scale: float = 1.0
    read_noise_scale: float = 1.0
    t_0: float = 25.0
    drift_clock: str = "absolute"
    t_read: float = 250e-9
    read_noise_reference: str = "target"
    read_noise_log_divisor: float = 2.0
    read_noise_scaling: str = "drifted"
    read_noise_clock: str = "drift"
    drift_exponent: str = "non_negative"
    read_noise: str = "independent"
    coherent_knots: Sequence[float] = (25.0, 300.0, 3600.0, 86_400.0, 2_592_000.0, 31_536_000.0, 315_360_000.0)
    programming_fit: Sequence[float] = (0.26348, 1.9650, -1.1731)
    programming_fit_g_max: float = 25.0
    drift_mean_fit: Sequence[float] = (-0.0155, 0.0244, 0.049, 0.1)
    drift_spread_fit: Sequence[float] = (-0.0125, -0.0059, 0.008, 0.045)
    read_noise_fit: Sequence[float] = (0.0088, 0.65, 0.2)

    _like_aihwkit: ClassVar[dict[str, Any]] = {
        "t_0": 20.0,
        "drift_clock": "since_programming",
        "read_noise_reference": "programmed",
    }

    _like_rasch: ClassVar[dict[str, Any]] = {
        "t_0": 20.0,
        "drift_clock": "since_programming",
        "read_noise_scaling": "target",
        "read_noise_clock": "time",
        "drift_exponent": "signed",
    }

    def __post_init__(self) -> None:
        ranges = {
            "g_max": (1e-6, 1e6, "uS"),
            "programming_noise_scale": (0.0, 1e3, ""),
            "drift_scale": (0.0, 1e3, ""),
            "read_noise_scale": (0.0, 1e3, ""),
            "t_0": (1e-9, 1e9, "s"),
            "t_read": (1e-15, 1e3, "s"),
            "programming_fit_g_max": (1e-6, 1e6, "uS"),
        }
        for name, (low, high, unit) in ranges.items():
            self._set(name, check_number(type(self).__name__, name, getattr(self, name), low, high, unit=unit))
        choices = {
            "drift_clock": ("absolute", "since_programming"),
            "read_noise_reference": ("target", "programmed"),
            "read_noise_log_divisor": (2.0, 1.0),
            "read_noise_scaling": ("drifted", "target"),
            "read_noise_clock": ("drift", "time"),
            "drift_exponent": ("non_negative", "signed"),
            "read_noise": ("independent", "coherent"),
        }
        for name, allowed in choices.items():
            check_choice(type(self).__name__, name, getattr(self, name), allowed)
        self._set("coherent_knots", self._check_knots())
        lengths = {"programming_fit": None, "drift_mean_fit": 4, "drift_spread_fit": 4, "read_noise_fit": 3}
        for name, length in lengths.items():
            self._set(name, self._check_fit(name, length))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_fit(self, name: str, length: int | None) -> tuple[float, ...]:
        values, allowed = getattr(self, name), range(1, 21) if length is None else (length,)
        if isinstance(values, str) or not isinstance(values, Sequence) or len(values) not in allowed:
            raise InvalidArgumentError(
                f"`{name}` of {type(self).__name__} must hold {length or '1 to 20'} numbers. "
                f"Received: {name}={values!r}."
            )
        return tuple(check_number(type(self).__name__, name, value, -1e6, 1e6) for value in values)

    def _check_knots(self) -> tuple[float, ...]:
        knots = tuple(self.coherent_knots)
        edges = (self.t_read, *knots)
        if not knots or any(not low < high for low, high in zip(edges[:-1], edges[1:], strict=True)):
            raise InvalidArgumentError(
                f"`coherent_knots` of {type(self).__name__} must be rising times in seconds, all above t_read. "
                f"Received: coherent_knots={self.coherent_knots!r}."
            )
        return tuple(float(knot) for knot in knots)

    @classmethod
    def like_aihwkit(cls, **settings: Any) -> PCM:
        """Return the device with every named option as aihwkit 1.2 has it, and further `settings`.

        Source: IBM/aihwkit, inference/noise/pcm.py and hermes.py (verified).
        """
        return cls(**{**cls._like_aihwkit, **settings})

    @classmethod
    def like_rasch(cls, **settings: Any) -> PCM:
        """Return the device with every named option as the equations of Rasch et al. have it, and further `settings`.

        Source: Rasch et al., Nat. Commun. 14:5282 (2023), eq. 7 to 12 (verified).
        """
        return cls(**{**cls._like_rasch, **settings})

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the arrays of a state that reading needs."""
        names = ["conductance"]
        if not is_off(self.drift_scale):
            names.append("drift_exponent")
        if not is_off(self.read_noise_scale):
            names += ["read_noise_amplitude"] + ["read_noise_path"] * (self.read_noise == "coherent")
        return tuple(names)

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuse a state that lacks an array or whose read-noise path has other knots.

        Args:
            state: what `program` returned, or the same arrays from a file.

        Raises:
            InvalidArgumentError: the state does not fit.
        """
        super().check_state(state)
        if "read_noise_path" not in self.state_names:
            return
        pieces = int(state["read_noise_path"].shape[0])
        if pieces != len(self.coherent_knots):
            raise InvalidArgumentError(
                f"The state does not fit {type(self).__name__}: its read-noise path has {pieces} pieces, the device "
                f"{len(self.coherent_knots)} knots. Received: coherent_knots={self.coherent_knots!r}. Read it with the "
                "settings it was programmed with."
            )

    @property
    def first_reading(self) -> float:
        """t_0 on the absolute clock, 0 on the one that starts at the end of programming; nothing has drifted then."""
        return self.t_0 if self.drift_clock == "absolute" else 0.0

    def programming_deviation(self, g: Any) -> Any:
        """Return sigma_prog in uS of devices with the target g = G / g_max.

        sigma_prog = max(0, sum_i c_i g^i) * g_max / g_max_fit
        """
        scale = self.g_max / self.programming_fit_g_max
        return ops.maximum(polynomial(g, [c * scale for c in self.programming_fit]), 0.0)

    def programming_mean(self, g_target: Any, g: Any) -> Any:
        """Return what devices with the target G (uS), g = G / g_max, are programmed to in the mean: the target."""
        return g_target

    def drift_moments(self, g: Any, log_g: Any) -> tuple[Any, Any]:
        """Return mu and sigma of the drift exponent of devices with the target g = G / g_max."""
        return clipped_line(log_g, self.drift_mean_fit), clipped_line(log_g, self.drift_spread_fit)

    def read_amplitude(self, g: Any, log_g: Any) -> Any:
        """Return Q of devices with the reference conductance g = G / g_max."""
        factor, exponent, high = self.read_noise_fit
        return ops.minimum(factor * ops.exp(-exponent * log_g), high)

    def first_deviation(self, g: Any) -> Any:
        """Return sqrt((s sigma_prog / g_max)^2 + (r g Q)^2 L), L that of the first reading."""
        log_g = ops.log(ops.maximum(g, LOWEST))
        written = self.programming_deviation(g) * (self.programming_noise_scale / self.g_max)
        read = self.read_amplitude(g, log_g) * g * (self.read_noise_scale * self._deviation(self.first_reading))
        return ops.sqrt(ops.square(written) + ops.square(read))

    def programming_draws(self, shape: tuple[int, ...], seed: int) -> dict[str, Any]:
        """Return standard-normal draws "programming", "drift" and, for coherent noise, "path"."""
        draws = {"drift": normal(shape, seed, "drift")}
        if not is_off(self.programming_noise_scale):
            draws["programming"] = normal(shape, seed, "programming")
        if self.read_noise == "coherent":
            draws["path"] = normal((len(self.coherent_knots), *shape), seed, "path")
        return draws

    def program_with(self, g_target: Any, draws: Mapping[str, Any]) -> State:
        """Return the state of devices programmed to `g_target` (uS, in [0, g_max]) with the given draws."""
        g_target = ops.clip(ops.convert_to_tensor(g_target, dtype="float32"), 0.0, self.g_max)
        g = g_target * (1.0 / self.g_max)
        log_g = ops.log(ops.maximum(g, LOWEST))
        conductance = g_target
        if not is_off(self.programming_noise_scale):
            deviation = self.programming_deviation(g)
            mean = self.programming_mean(g_target, g)
            conductance = mean + self.programming_noise_scale * deviation * draws["programming"]
            conductance = ops.maximum(conductance, 0.0)
        mean, spread = self.drift_moments(g, log_g)
        exponent = mean + spread * draws["drift"]
        exponent = exponent if self.drift_exponent == "signed" else ops.abs(exponent)
        state = {"conductance": conductance, "drift_exponent": exponent}
        if self.read_noise_reference == "programmed":
            g = conductance * (1.0 / self.g_max)
            log_g = ops.log(ops.maximum(g, LOWEST))
        amplitude = self.read_amplitude(g, log_g)
        state["read_noise_amplitude"] = amplitude if self.read_noise_scaling == "drifted" else amplitude * g_target
        if self.read_noise == "coherent":
            state["read_noise_path"] = ops.convert_to_tensor(draws["path"], dtype="float32")
        return state

    def read_draws(self, shape: tuple[int, ...], seed: int | None) -> dict[str, Any]:
        """Return standard-normal draws "read" of independent read noise; nothing if it is off or coherent."""
        if is_off(self.read_noise_scale) or self.read_noise == "coherent":
            return {}
        if seed is None:
            raise InvalidArgumentError(
                f"A reading of {type(self).__name__} with independent read noise needs a seed. Received: seed=None. "
                "Pass seed=0 (and another number for every further reading), or use read_noise='coherent'."
            )
        return {"read": normal(shape, seed, "read")}

    def read_with(self, state: Mapping[str, Any], time: Any, draws: Mapping[str, Any]) -> Any:
        """Return the conductances in uS at `time` (seconds, duration text or a scalar tensor of seconds)."""
        time = seconds(time)
        conductance = ops.convert_to_tensor(state["conductance"], dtype="float32")
        if not is_off(self.drift_scale):
            nu = ops.convert_to_tensor(state["drift_exponent"], dtype="float32")
            conductance = conductance * ops.exp(nu * (-self.drift_scale * self.drift_log_time(time)))
        if not is_off(self.read_noise_scale):
            noise = self._path(state, time) if self.read_noise == "coherent" else draws["read"] * self._deviation(time)
            q = ops.convert_to_tensor(state["read_noise_amplitude"], dtype="float32")
            if self.read_noise_scaling == "drifted":
                conductance = conductance * (1.0 + self.read_noise_scale * q * noise)
            else:
                conductance = conductance + self.read_noise_scale * q * noise
            conductance = ops.maximum(conductance, 0.0)
        return conductance

    def drift_log_time(self, time: Any) -> Any:
        """Return ln D(t), the logarithm of how many times t_0 has passed; 0 at t_0 and before."""
        since = self._since(time)
        if isinstance(since, float):
            return math.log(max(since / self.t_0, 1.0))
        return ops.log(ops.maximum(since * (1.0 / self.t_0), 1.0))

    def read_noise_variance(self, time: Any) -> Any:
        """Return L(t) = max(0, ln((t + t_read) / (2 t_read))), the variance of the read noise in units of Q^2."""
        since = time if self.read_noise_clock == "time" else self._since(time)
        scale = 1.0 / (self.read_noise_log_divisor * self.t_read)
        if isinstance(since, float):
            return math.log(max((since + self.t_read) * scale, 1.0))
        return ops.log(ops.maximum((since + self.t_read) * scale, 1.0))

    def _since(self, time: Any) -> Any:
        return time + self.t_0 if self.drift_clock == "since_programming" else time

    def _deviation(self, time: Any) -> Any:
        variance = self.read_noise_variance(time)
        return math.sqrt(variance) if isinstance(variance, float) else ops.sqrt(variance)

    def _path(self, state: Mapping[str, Any], time: Any) -> Any:
        """Return X(t) = sum over pieces of sqrt(share of L that lies in the piece) * N_piece."""
        scale = 1.0 / (self.read_noise_log_divisor * self.t_read)
        edges = np.array([0.0, *(math.log((knot + self.t_read) * scale) for knot in self.coherent_knots)])
        widths = np.append(np.diff(edges)[:-1], np.inf)
        gone = ops.convert_to_tensor(self.read_noise_variance(time), dtype="float32") - edges[:-1].astype("float32")
        weights = ops.sqrt(ops.clip(gone, 0.0, widths.astype("float32")))
        path = ops.convert_to_tensor(state["read_noise_path"], dtype="float32")
        flat = ops.matmul(ops.reshape(weights, (1, -1)), ops.reshape(path, (len(widths), -1)))
        return ops.reshape(flat, path.shape[1:])


def polynomial(x: Any, coefficients: Sequence[float]) -> Any:
    """Return sum_i c_i x^i (Horner)."""
    total = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


def clipped_line(x: Any, fit: Sequence[float]) -> Any:
    """Return clip(slope x + offset, low, high)."""
    slope, offset, low, high = fit
    return ops.clip(slope * x + offset, low, high)
