"""Settings as frozen data: each is named once, with its default and its range, and checked when it is given."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from analognets.errors import check_choice, check_integer, check_number

__all__ = ["Settings", "SynapseRules", "choice", "real", "whole"]


def real(default: Any, low: float, high: float, unit: str = "", *, free: tuple[Any, ...] = ()) -> Any:
    """Return a field for a number from `low` to `high`, or one of the `free` values such as None."""
    return _field(default, free, lambda owner, name, value: check_number(owner, name, value, low, high, unit=unit))


def whole(default: Any, low: int, high: int, *, free: tuple[Any, ...] = ()) -> Any:
    """Return a field for a whole number from `low` to `high`, or one of the `free` values such as None."""
    return _field(default, free, lambda owner, name, value: check_integer(owner, name, value, low, high))


def choice(default: str, *others: str) -> Any:
    """Return a field for one of several words."""
    return _field(default, (), lambda owner, name, value: check_choice(owner, name, value, (default, *others)))


def _field(default: Any, free: tuple[Any, ...], check: Any) -> Any:
    return dataclasses.field(default=default, metadata={"check": check, "free": free})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of settings: a frozen dataclass of `real`, `whole`, `choice` and plain fields.

    Raises:
        InvalidArgumentError: a setting is out of range.
    """

    owner: ClassVar[str] = ""
    """Whose settings these are, for messages; empty: the class itself."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if "check" in field.metadata and value not in field.metadata["free"]:
                value = field.metadata["check"](self.owner or type(self).__name__, field.name, value)
                object.__setattr__(self, field.name, value)

    def get_config(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SynapseRules(Settings):
    """How the weights of a spiking layer lie in pulsed devices and how they are updated.

    Args:
        devices_per_polarity: N, 1 to 64.
        weight_range: weight in pA that `conductance_range` on all N devices of a polarity stands for, > 0.
        conductance_range: in uS, > 0.
        programming: "amplitude": one pulse whose amplitude is the wanted step in units of the device's mean step;
            "pulses": a whole number of pulses of amplitude 1.
        granularity: smallest step that is programmed, in units of the device's mean step, > 0. With "amplitude",
            smaller changes are left out; with "pulses", one pulse stands for this step.
        largest: largest amplitude, or most pulses for one update, >= 1.
        rounding: of "pulses": "stochastic" keeps the mean, "nearest" loses what is smaller than half a step.
        refresh_every: updates between refreshes, or 0 for none.
        refresh_above: synapses with a device above this conductance are refreshed, in uS ...
        refresh_below: ... if their sums differ by less than this, in uS a device.
        drift_spread: standard deviation of the drift exponent from device to device, >= 0; our addition, the source's
            statistics have one exponent for all.

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> rules = SynapseRules(devices_per_polarity=2, programming="pulses", rounding="nearest")
        >>> synapses = analognets.synapses.PulsedSynapses((3, 2), rules=rules)
        >>> synapses.device_count
        24

    Source: 4 + 4 devices a synapse from the published number of devices (arithmetic), cyclic choice and amplitudes
    from memory of arXiv 1905.11929; the arithmetic of amplitudes and the refresh are our reconstruction.
    """

    devices_per_polarity: int = whole(4, 1, 64)
    weight_range: float = real(8000.0, 1e-6, 1e9, "pA")
    conductance_range: float = real(8.0, 1e-6, 1e6, "uS")
    programming: str = choice("amplitude", "pulses")
    granularity: float = real(0.1, 1e-6, 1e3)
    largest: float = real(2.0, 1.0, 255.0)
    rounding: str = choice("stochastic", "nearest")
    refresh_every: int = whole(10, 0, 10**9)
    refresh_above: float = real(8.0, 0.0, 1e6, "uS")
    refresh_below: float = real(4.0, 0.0, 1e6, "uS")
    drift_spread: float = real(0.0, 0.0, 1.0)
