"""Phase-change memory under SET pulses: the statistics of single updates, with two sets of constants."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops

from analognets.devices.pulsed import PulsedDevice
from analognets.errors import check_number

__all__ = ["PulsedPCM", "PulsedStepPCM"]

_SOURCE_FITS = ((-0.084, 0.880, 1.40), (0.091, 0.260, 2.15))
_MONOTONIC_FITS = ((-0.088, 0.890, 1.40), (0.105, 0.260, 2.15))
"""Of mean and spread of a step: (slope, constant, share of the programming memory)."""


@keras.saving.register_keras_serializable(package="analognets")
@dataclasses.dataclass(frozen=True)
class PulsedPCM(PulsedDevice):
    """Phase-change memory under partial SET pulses, the statistical model of Nandakumar et al. 2018.

    SET:   P = exp(-n / memory),  mu = m1 G + c1 + A1 P,  sd = m2 G + c2 + A2 P   [uS]
    read:  drift with nu = 0.04 from t_0 = 38.6 s after the last pulse on; noise of 0.03 G + 0.13 uS

    P is the programming memory: 1 after RESET, less by a factor exp(-1 / 2.6) with every SET pulse, this one counted.
    The first step is 1.95 uS in the mean, the tenth 0.4; the mean ends near 10.5 uS.

    The source's steps are normal, with m1, c1, A1 = -0.084, 0.880, 1.40 and m2, c2, A2 = 0.091, 0.260, 2.15, and
    scatter so much that many lower the device: `monotonic=False`. A partial SET crystallises and can't do that, so by
    default no step is negative. Devices above 10.5 uS then have no way down, which bends both curves; m1, c1 and m2 of
    the default, -0.088, 0.890 and 0.105, were fitted anew so that mean and spread of 1 to 20 pulses are the source's
    again within 2 and 5 %, at its g_max of 20 uS (our reconstruction). At 12 uS, where the limit cuts both laws, the
    default's mean is up to 3 % higher and its spread up to 10 % smaller.

    Args:
        g_max: limit of the conductance in uS (20 redraws the pulse curves of the source).
        monotonic: whether no SET pulse ever lowers a device, as in `PulsedDevice`.
        mean_fit: (m1, c1, A1); None: as above.
        spread_fit: (m2, c2, A2); None: as above.
        memory: pulses in which the programming memory falls by e, > 0.
        drift_exponent: as in `PulsedDevice`, like all the other arguments.
        write_spread: 0.3 uS, our assumption (a third of a smallest step).

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> curve = PulsedPCM().pulse_curve(10)
        >>> print(curve.round(1))
        [0.1 2.1 3.4 4.5 5.2 5.8 6.3 6.7 7.1 7.4 7.6]

    Source: Nandakumar et al., J. Appl. Phys. 124, 152135 (2018); constants verified in YigitDemirag/srnn-pcm, xbar.py,
    which also drifts before t_0 (upwards) and cuts readings at 0.1 uS; we do neither.
    """

    reset_spread: float = 0.1
    drift_exponent: float = 0.04
    t_0: float = 38.6
    read_noise_share: float = 0.03
    read_noise_floor: float = 0.13
    write_spread: float = 0.3
    monotonic: bool = True
    mean_fit: tuple[float, float, float] | None = None
    spread_fit: tuple[float, float, float] | None = None
    memory: float = 2.6

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("memory", check_number("PulsedPCM", "memory", self.memory, 1e-3, 1e6))
        for name in ("mean_fit", "spread_fit"):
            if getattr(self, name) is None:
                continue
            values = tuple(check_number("PulsedPCM", name, value, -1e3, 1e3) for value in getattr(self, name))
            if len(values) != 3:
                check_number("PulsedPCM", f"length of {name}", len(values), 3, 3)
            self._set(name, values)

    def step_moments(self, conductance: Any, pulses: Any) -> tuple[Any, Any]:
        """Return mu and sd in uS."""
        memory = ops.exp(pulses * (-1.0 / self.memory))
        mean_fit, spread_fit = _MONOTONIC_FITS if self.monotonic else _SOURCE_FITS
        (m1, c1, a1), (m2, c2, a2) = self.mean_fit or mean_fit, self.spread_fit or spread_fit
        return m1 * conductance + c1 + a1 * memory, m2 * conductance + c2 + a2 * memory


@keras.saving.register_keras_serializable(package="analognets")
@dataclasses.dataclass(frozen=True)
class PulsedStepPCM(PulsedDevice):
    """Phase-change memory as aihwkit's `PCMPresetDevice` has it: exponential steps, no programming memory.

    With w = G / unit:  mu = unit * dw (1 + A exp(-gamma w)),  sd = spread * (mu + unit * (additive + slope w))

    The mean after 1, 2, 3, 5, 10, 20 pulses from w = 0.01 is 0.286, 0.429, 0.532, 0.683, 0.925, 1.218 without the
    noise. The spread between devices of that preset (of the steps 20 %, of the limit 10 %) is left out. Its steps are
    normal, so some are negative, unless `monotonic=True`.

    Args:
        g_max: limit in uS: 2 units.
        unit: uS a unit of aihwkit's weight. About 8 makes the curves of both models alike (our reconstruction).
        smallest_step: dw, > 0.
        rise: (A, gamma).
        spread: of a step, >= 0.
        spread_offset: (additive, slope).

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> print(PulsedStepPCM().pulse_curve(5).round(1))
        [0.1 2.3 3.6 4.5 5.1 5.7]

    Source: constants verified in IBM/aihwkit, simulator/presets/devices.py. Drift and read noise are those of
    `PulsedPCM`; the preset has none.
    """

    g_max: float = 16.0
    _: dataclasses.KW_ONLY
    g_min: float = 0.08
    reset_spread: float = 2.0
    drift_exponent: float = 0.04
    t_0: float = 38.6
    read_noise_share: float = 0.03
    read_noise_floor: float = 0.13
    write_spread: float = 0.3
    unit: float = 8.0
    smallest_step: float = 0.01
    rise: tuple[float, float] = (27.235, 2.5)
    spread: float = 0.6
    spread_offset: tuple[float, float] = (0.042, 0.108)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, low in (("unit", 1e-6), ("smallest_step", 1e-9), ("spread", 0.0)):
            self._set(name, check_number("PulsedStepPCM", name, getattr(self, name), low, 1e6))
        for name in ("rise", "spread_offset"):
            first, second = getattr(self, name)
            self._set(name, (check_number("PulsedStepPCM", name, first), check_number("PulsedStepPCM", name, second)))

    def step_moments(self, conductance: Any, pulses: Any) -> tuple[Any, Any]:
        """Return mu and sd in uS; `pulses` has no part in them."""
        w = conductance * (1.0 / self.unit)
        height, decay = self.rise
        mean = self.smallest_step * (1.0 + height * ops.exp(-decay * w))
        additive, slope = self.spread_offset
        return self.unit * mean, self.unit * self.spread * (mean + additive + slope * w)
