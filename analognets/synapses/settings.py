"""Settings as frozen data: named once, checked when they are made, and returned as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from analognets.errors import UnknownNameError, check_choice, check_integer, check_number

__all__ = ["ArrayRules", "Settings", "SynapseRules"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of settings: a subclass is a frozen dataclass that says in class variables what its fields may be.

    Args:
        numbers: lowest and highest value and unit of each number.
        integers: lowest and highest value of each whole number.
        choices: values of each choice.
        free: fields with a value that leaves the choice to the user of the settings, such as None or "auto".
        owner: whose settings these are, for messages; empty: the class itself.

    Raises:
        InvalidArgumentError: a setting is out of range.
    """

    numbers: ClassVar[Mapping[str, tuple[float, float, str]]] = {}
    integers: ClassVar[Mapping[str, tuple[int, int]]] = {}
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    free: ClassVar[Mapping[str, Any]] = {}
    owner: ClassVar[str] = ""

    def __post_init__(self) -> None:
        owner = self.owner or type(self).__name__
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            if name in self.free and value == self.free[name]:
                continue
            if name in self.numbers:
                low, high, unit = self.numbers[name]
                value = check_number(owner, name, value, low, high, unit=unit)
            elif name in self.integers:
                value = check_integer(owner, name, value, *self.integers[name])
            elif name in self.choices:
                check_choice(owner, name, value, self.choices[name])
            object.__setattr__(self, name, value)

    @classmethod
    def make(cls, **settings: Any) -> Any:
        """Return settings from keywords.

        Raises:
            UnknownNameError: there is no such setting.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in settings:
            if name not in known:
                raise UnknownNameError(f"setting of {cls.owner or cls.__name__}", name, known)
        return cls(**settings)

    def get_config(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArrayRules(Settings):
    """How weights lie in pairs of pulsed devices, and when pairs are refreshed: what all such arrays have.

    Args:
        devices_per_polarity: N, 1 to 64.
        weight_range: weight that `conductance_range` on all N devices of a polarity stands for, > 0.
        conductance_range: in uS, > 0.
        refresh_every: updates between refreshes.
        refresh_above: pairs with a device above this conductance are refreshed, in uS >= 0 ...
        refresh_below: ... if their devices differ by less than this, in uS >= 0.

    Raises:
        InvalidArgumentError: a setting is out of range.
    """

    devices_per_polarity: int
    weight_range: Any
    conductance_range: Any
    refresh_every: Any
    refresh_above: Any
    refresh_below: Any

    numbers: ClassVar[Mapping[str, tuple[float, float, str]]] = {
        "weight_range": (1e-9, 1e9, ""),
        "conductance_range": (1e-6, 1e6, "uS"),
        "refresh_above": (0.0, 1e9, "uS"),
        "refresh_below": (0.0, 1e9, "uS"),
    }
    integers: ClassVar[Mapping[str, tuple[int, int]]] = {
        "devices_per_polarity": (1, 64),
        "refresh_every": (0, 1 << 30),
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class SynapseRules(ArrayRules):
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

    Source: 4 + 4 devices a synapse from the published number of devices (arithmetic), cyclic choice and amplitudes
    from memory of arXiv 1905.11929; the arithmetic of amplitudes and the refresh are our reconstruction.
    """

    devices_per_polarity: int = 4
    weight_range: float = 8000.0
    conductance_range: float = 8.0
    programming: str = "amplitude"
    granularity: float = 0.1
    largest: float = 2.0
    rounding: str = "stochastic"
    refresh_every: int = 10
    refresh_above: float = 8.0
    refresh_below: float = 4.0
    drift_spread: float = 0.0

    numbers: ClassVar[Mapping[str, tuple[float, float, str]]] = {
        **ArrayRules.numbers,
        "granularity": (1e-6, 1e3, ""),
        "largest": (1.0, 255.0, ""),
        "drift_spread": (0.0, 1.0, ""),
    }
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "programming": ("amplitude", "pulses"),
        "rounding": ("stochastic", "nearest"),
    }
