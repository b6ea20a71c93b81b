"""Settings of training on devices."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from analognets.devices import PulsedDevice
from analognets.errors import check_number
from analognets.synapses.settings import Settings, real, whole

__all__ = ["MixedPrecisionRules"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixedPrecisionRules(Settings):
    """How weights lie in devices, how they are updated, read and refreshed; keywords of `MixedPrecision`.

    Args:
        devices_per_polarity: N, 1 to 64. The pulsed device is chosen cyclically, by one counter for each variable.
        weight_range: weight that maps to `conductance_range` on all N devices of a polarity, > 0; or "auto" for each
            variable, the larger of its largest initial weight and `weight_range_sigma` standard deviations.
        weight_range_sigma: of the initial weights, > 0; 8 leaves room to grow, less makes pulses and noise of readings
            smaller (our choice).
        conductance_range: in uS; None: two thirds of the device's g_max (8 uS of 12, from memory).
        initial_conductance: what both devices of a pair get above g_min in the initial writing, in uS, >= 0. More than
            0 leaves the first and largest step of PCM behind; up to half of the device's range.
        epsilon: step of a weight that counts as one pulse, > 0; "auto": the device's mean step. It is rounded to 16
            significant bits, which makes chi exact. 0.096 at weight_range 1 is the paper's (verified).
        max_pulses: most pulses a synapse gets in a step, 1 to 255; what is left stays in chi. The paper's is 1
            (verified). More follow large steps sooner.
        accumulate: False is the direct stochastic update: pulses with probability dW / epsilon, nothing is kept.
        refresh_every: steps between refreshes, 1 or more; None: never.
        refresh_above: pairs with a device above this are refreshed, in uS; None: `conductance_range`.
        refresh_below: if their devices differ by less than this, in uS; None: 3/4 of `conductance_range`.
        refresh_pulses: most pulses for re-writing a difference, 1 to 20.
        refresh_feedback: whether chi takes what a refresh misses of the weight as it was read before; else it is lost
            (ours; the sources rewrite blindly).
        read_every: steps between readings of all devices, 1 or more; None: only pulsed synapses are read.
        seconds_per_step: time that passes in a training step, for drift, >= 0.

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> rules = MixedPrecisionRules(devices_per_polarity=2, refresh_every=None)
        >>> rules.on(analognets.devices.get("pulsed_pcm")).conductance_range
        8.0

    Source: Nandakumar et al., Front. Neurosci. 14:406 (2020), arXiv 2001.11773; the scheme and its thresholds as far
    as other sources report them, the rest is our reconstruction.
    """

    owner: ClassVar[str] = "MixedPrecision"

    devices_per_polarity: int = whole(1, 1, 64)
    weight_range: float | str = real("auto", 1e-9, 1e9, free=("auto",))
    weight_range_sigma: float = real(8.0, 1e-3, 1e3)
    conductance_range: float | None = real(None, 1e-6, 1e6, "uS", free=(None,))
    initial_conductance: float = real(0.0, 0.0, 1e6, "uS")
    epsilon: float | str = real("auto", 1e-12, 1e9, free=("auto",))
    max_pulses: int = whole(10, 1, 255)
    accumulate: bool = True
    refresh_every: int | None = whole(100, 1, 1 << 30, free=(None,))
    refresh_above: float | None = real(None, 0.0, 1e9, "uS", free=(None,))
    refresh_below: float | None = real(None, 0.0, 1e9, "uS", free=(None,))
    refresh_pulses: int = whole(5, 1, 20)
    refresh_feedback: bool = False
    read_every: int | None = whole(100, 1, 1 << 30, free=(None,))
    seconds_per_step: float = real(0.0, 0.0, 1e9, "s")

    def on(self, device: PulsedDevice) -> MixedPrecisionRules:
        """Return the rules with numbers in place of None where the device decides.

        Raises:
            InvalidArgumentError: the device's conductances don't reach that far.
        """
        most, half = device.g_max, (device.g_max - device.g_min) / 2
        reach = most * 2 / 3 if self.conductance_range is None else self.conductance_range
        check_number(self.owner, "initial_conductance", self.initial_conductance, 0.0, half, unit="uS")
        return dataclasses.replace(
            self,
            conductance_range=check_number(self.owner, "conductance_range", reach, 1e-6, most, unit="uS"),
            refresh_above=reach if self.refresh_above is None else self.refresh_above,
            refresh_below=0.75 * reach if self.refresh_below is None else self.refresh_below,
        )
