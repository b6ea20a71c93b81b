"""Phase-change memory of the 14-nm HERMES project chip."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import keras
from keras import ops

from analognets.devices.pcm import PCM, clipped_line, polynomial
from analognets.errors import check_integer, check_number

__all__ = ["PCM14nm"]


class _Branch(NamedTuple):
    """clip(slope ln g + offset, low, high) below the knee, a polynomial in g from there on."""

    knee: float
    line: tuple[float, float, float, float]
    coefficients: tuple[float, ...]

    def __call__(self, g: Any, log_g: Any) -> Any:
        return ops.where(g < self.knee, clipped_line(log_g, self.line), polynomial(g, self.coefficients))


_DRIFT_MEAN = _Branch(0.0945, (-0.0387, -0.0182, 0.072, 0.13), (0.0736, -0.0126, -0.0436))
_DRIFT_SPREAD = {
    1: _Branch(0.3039, (-0.0120, -0.0023, 0.0124, 0.04), (0.0104, 0.0116, -0.0165)),
    2: _Branch(0.3055, (-0.0117, -0.0057, 0.0091, 0.04), (0.0073, 0.0093, -0.0118)),
}
_READ_NOISE = {
    1: _Branch(0.1591, (-0.0078, 0.0038, 0.0179, 0.04), (0.0088, 0.0768, -0.1352, 0.0664)),
    2: _Branch(0.16, (-0.0117, -0.0069, 0.015, 0.04), (0.0123, 0.0211, -0.0280, 0.0069)),
}
_PROGRAMMING = {
    1: (0.15781817, 2.32443916, -2.16310839, 0.68841818),
    2: (0.16603222, 4.71806468, -8.48101252, 4.68961419),
}
_G_MAX = {1: 10.35, 2: 20.7}
_T_0 = {1: 200.0, 2: 300.0}


@keras.saving.register_keras_serializable(package="analognets")
@dataclasses.dataclass(frozen=True)
class PCM14nm(PCM):
    """Phase-change memory of the IBM HERMES project chip (14 nm): the equations of `PCM` with its own fits.

    With g = G_target / g_max, two devices a polarity (one device: constants in the code):

        sigma_prog = (0.16603222 + 4.71806468 g - 8.48101252 g^2 + 4.68961419 g^3) * g_max / 20.7   [uS]
        mu         = clip(-0.0387 ln g - 0.0182, 0.072, 0.13) if g < 0.0945 else 0.0736 - 0.0126 g - 0.0436 g^2
        sigma      = clip(-0.0117 ln g - 0.0057, 0.0091, 0.04) if g < 0.3055 else 0.0073 + 0.0093 g - 0.0118 g^2
        Q          = clip(-0.0117 ln g - 0.0069, 0.015, 0.04) if g < 0.16
                     else 0.0123 + 0.0211 g - 0.0280 g^2 + 0.0069 g^3

    Two devices of one polarity are one device of this model, taken to host the same conductance, as in aihwkit.

    Args:
        g_max: largest conductance of a polarity in uS; None: the largest one that was measured, 20.7 with two devices
            and 10.35 with one. Not more than that.
        devices_per_polarity: 1 or 2.
        t_0: seconds from programming to the first reading; None: 300 with two devices and 200 with one. With the
            "absolute" clock nothing drifts before, so 25 s reads as programmed; aihwkit counts "since_programming".
        t_read: width of the read pulse in seconds.
        programming_noise_scale: as in `PCM`, like all the other arguments.

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> PCM14nm().g_max, PCM14nm(devices_per_polarity=1).g_max
        (20.7, 10.35)
        >>> device = PCM14nm(read_noise_scale=0.0)
        >>> state = device.program(np.full(1000, 10.0), seed=0)
        >>> print(device.read(state, "1y").numpy().mean().round(1))
        5.2

    Source: the fits are verified in IBM/aihwkit, inference/noise/hermes.py; devices of Le Gallo et al., Nat.
    Electron. 2023 and Khaddam-Aljameh et al., JSSC 2022. The clock and the reference of Q default as in `PCM`;
    `PCM14nm.like_aihwkit()` has aihwkit's.
    """

    g_max: float | None = None  # type: ignore[assignment]
    _: dataclasses.KW_ONLY
    devices_per_polarity: int = 2
    t_0: float | None = None  # type: ignore[assignment]
    t_read: float = 512e-9
    programming_fit: Sequence[float] = dataclasses.field(init=False, repr=False, default=())
    programming_fit_g_max: float = dataclasses.field(init=False, repr=False, default=0.0)
    drift_mean_fit: Sequence[float] = dataclasses.field(init=False, repr=False, default=(0.0,) * 4)
    drift_spread_fit: Sequence[float] = dataclasses.field(init=False, repr=False, default=(0.0,) * 4)
    read_noise_fit: Sequence[float] = dataclasses.field(init=False, repr=False, default=(0.0,) * 3)

    _like_aihwkit: ClassVar[dict[str, Any]] = {
        "drift_clock": "since_programming",
        "read_noise_reference": "programmed",
    }

    def __post_init__(self) -> None:
        count = check_integer("PCM14nm", "devices_per_polarity", self.devices_per_polarity, 1, 2)
        self._set("programming_fit", _PROGRAMMING[count])
        self._set("programming_fit_g_max", _G_MAX[count])
        g_max = _G_MAX[count] if self.g_max is None else self.g_max
        self._set("g_max", check_number("PCM14nm", "g_max", g_max, 1e-6, _G_MAX[count], unit="uS"))
        self._set("t_0", _T_0[count] if self.t_0 is None else self.t_0)
        super().__post_init__()

    def drift_moments(self, g: Any, log_g: Any) -> tuple[Any, Any]:
        """Return mu and sigma of the drift exponent of devices with the target g = G / g_max."""
        return _DRIFT_MEAN(g, log_g), _DRIFT_SPREAD[self.devices_per_polarity](g, log_g)

    def read_amplitude(self, g: Any, log_g: Any) -> Any:
        """Return Q of devices with the reference conductance g = G / g_max."""
        return _READ_NOISE[self.devices_per_polarity](g, log_g)
