"""What keeps a crossbar from the exact product, by name: bits of converters, noises of devices, non-idealities."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from analognets.crossbar.converters import MAX_BITS, MIN_BITS
from analognets.crossbar.nonideality import DEVIATIONS, NonIdeality
from analognets.crossbar.registry import list_nonidealities, registered_kind
from analognets.devices.strengths import Strength, with_tensors
from analognets.errors import InvalidArgumentError, UnknownNameError, check_number

if TYPE_CHECKING:
    from analognets.crossbar.hardware import Crossbar
    from analognets.devices import Device

__all__ = ["Effect", "describe", "device_noises", "find_effect", "list_effects", "possible_effects", "present_effects"]

MULTIPLES = (1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0)


@dataclasses.dataclass(frozen=True)
class Effect(abc.ABC):
    """One thing that keeps a crossbar from the exact product. It has a strength, and is off at some value of it.

    Args:
        name: in lists, sweeps and tables.
        title: what its strength is, for axes.
        unit: of the strength; "" where the title says it.
        scan: strengths that a sweep tries where the hardware does not have it, from weak to strong.

    Examples:
        >>> hardware = analognets.crossbar.get("aimc_standard")
        >>> effect = hardware.effect("ir_drop")
        >>> effect.label, effect.strength(hardware), effect.default_scan(hardware)[:3]
        ('IR drop, 1 as published', 1.0, [1.25, 1.5, 2.0])
        >>> effect.strength(effect.with_strength(hardware, 3.0))
        3.0
    """

    name: str
    title: str
    unit: str = ""
    scan: Sequence[float] = DEVIATIONS
    fewer_is_worse: ClassVar[bool] = False
    adjustable: ClassVar[bool] = True
    """Whether its strength may be an argument of a compiled function."""

    @property
    def label(self) -> str:
        """Title and unit, for an axis."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    def severity(self, value: float) -> float:
        """Return a number that grows with the harm it does: the strength, or minus the bits."""
        return -value if self.fewer_is_worse else value

    def check(self, crossbar: Crossbar) -> None:  # noqa: B027, all hardware has most of them
        """Refuse hardware that can't have it.

        Raises:
            InvalidArgumentError: the device can't have it.
        """

    @abc.abstractmethod
    def strength(self, crossbar: Crossbar) -> Any:
        """Return how strong it is on this hardware: 0 if it is not there, None for an ideal converter."""

    def present(self, crossbar: Crossbar) -> bool:
        """Whether this hardware has it, at whatever strength."""
        return self.strength(crossbar) is not None

    @abc.abstractmethod
    def with_strength(self, crossbar: Crossbar, value: Any) -> Crossbar:
        """Return a copy of the hardware in which it has this strength.

        Raises:
            InvalidArgumentError: the value is out of range, or the device can't have it.
        """

    def without(self, crossbar: Crossbar) -> Crossbar:
        """Return a copy of the hardware in which it is off."""
        return self.scaled(crossbar, 0.0)

    def scaled(self, crossbar: Crossbar, factor: float) -> Crossbar:
        """Return a copy of the hardware in which it is `factor` times as strong; where it is not there, it stays away.

        Raises:
            InvalidArgumentError: it can't be scaled, the device can't have it, or the strength gets out of range.
        """
        factor = check_number("scaled", "factor", factor, 0.0)
        self.check(crossbar)
        return self.with_strength(crossbar, self.strength(crossbar) * factor) if self.present(crossbar) else crossbar

    def with_tensor(self, crossbar: Crossbar, strength: Strength) -> Crossbar:
        """Return a copy of the hardware that computes with a tensor as the strength of what is there, unchecked."""
        raise NotImplementedError(f"{self.name} is no argument of a compiled function.")

    def default_scan(self, crossbar: Crossbar) -> list[Any]:
        """Return strengths to scan it with, from just above that of the hardware to far beyond any use.

        Multiples of what the hardware has, up to 100; else `scan`; of bits all fewer ones.

        Raises:
            InvalidArgumentError: the device can't have it.
        """
        self.check(crossbar)
        standard = self.strength(crossbar)
        values = [float(f"{standard * factor:.6g}") for factor in MULTIPLES] if standard else self.scan
        possible = []
        for value in values:
            try:
                self.with_strength(crossbar, value)
            except InvalidArgumentError:
                break
            possible.append(value)
        return possible


class ConverterBits(Effect):
    """The resolution of the DACs or ADCs; None is ideal."""

    fewer_is_worse: ClassVar[bool] = True
    adjustable: ClassVar[bool] = False

    def strength(self, crossbar: Crossbar) -> int | None:
        return getattr(crossbar, self.name)

    def with_strength(self, crossbar: Crossbar, value: Any) -> Crossbar:
        whole = isinstance(value, float) and value.is_integer()
        return crossbar.replace(**{self.name: int(value) if whole else value})

    def without(self, crossbar: Crossbar) -> Crossbar:
        return self.with_strength(crossbar, None)

    def scaled(self, crossbar: Crossbar, factor: float) -> Crossbar:
        raise InvalidArgumentError(
            f"Bits can't be scaled. Received: {self.name!r}. Use with_strength({self.name!r}, 6), or "
            f"without({self.name!r}) for an ideal converter."
        )

    def default_scan(self, crossbar: Crossbar) -> list[Any]:
        return list(range((self.strength(crossbar) or MAX_BITS + 1) - 1, MIN_BITS - 1, -1))


class DeviceNoise(Effect):
    """A noise of the device that has a scale: the field `<name>_scale`, 1 as published."""

    @property
    def field(self) -> str:
        """The device's setting."""
        return f"{self.name}_scale"

    def check(self, crossbar: Crossbar) -> None:
        if not hasattr(crossbar.device, self.field):
            raise InvalidArgumentError(_has(crossbar.device, self.name))

    def strength(self, crossbar: Crossbar) -> Strength | None:
        return getattr(crossbar.device, self.field, None)

    def with_strength(self, crossbar: Crossbar, value: Any) -> Crossbar:
        self.check(crossbar)
        return crossbar.replace(device=dataclasses.replace(crossbar.device, **{self.field: value}))

    def with_tensor(self, crossbar: Crossbar, strength: Strength) -> Crossbar:
        return with_tensors(crossbar, device=with_tensors(crossbar.device, **{self.field: strength}))


class AllDeviceNoise(Effect):
    """Programming noise and read noise together; its strength is the factor on what the hardware has."""

    adjustable: ClassVar[bool] = False

    def check(self, crossbar: Crossbar) -> None:
        if not any(one in SCALED_TOGETHER for one in device_noises(crossbar.device)):
            raise InvalidArgumentError(_has(crossbar.device, self.name))

    def strength(self, crossbar: Crossbar) -> float:
        return 1.0

    def present(self, crossbar: Crossbar) -> bool:
        """Nowhere by itself: its members are."""
        return False

    def with_strength(self, crossbar: Crossbar, value: Any) -> Crossbar:
        self.check(crossbar)
        return self.scaled(crossbar, value)

    def scaled(self, crossbar: Crossbar, factor: float) -> Crossbar:
        """Return a copy of the hardware with both noises times a factor; at 0 drift is off too."""
        factor = check_number("scaled", "factor", factor, 0.0)
        for one in device_noises(crossbar.device):
            if one in SCALED_TOGETHER or not factor:
                crossbar = one.scaled(crossbar, factor)
        return crossbar


@dataclasses.dataclass(frozen=True)
class NonIdealityEffect(Effect):
    """A non-ideality, or with a dot in its name another setting of one.

    Args:
        kind: class of the non-ideality.
        name, title, unit, scan: as in `Effect`.
    """

    kind: type[NonIdeality] = NonIdeality  # type: ignore[type-abstract]

    @property
    def owner(self) -> str:
        """Name of the non-ideality."""
        return self.name.partition(".")[0]

    @property
    def setting(self) -> str:
        """Name of the setting."""
        return self.name.partition(".")[2] or self.kind.strength_field

    def check(self, crossbar: Crossbar) -> None:
        """Refuse a setting that does not exist.

        Raises:
            UnknownNameError: there is none of that name.
        """
        settings = [field.name for field in dataclasses.fields(self.kind)]
        if "." in self.name and self.setting not in settings:
            raise UnknownNameError(f"setting of {self.owner}", self.setting, settings)

    def strength(self, crossbar: Crossbar) -> Strength:
        found = self._in(crossbar)
        return 0.0 if found is None else getattr(found, self.setting)

    def present(self, crossbar: Crossbar) -> bool:
        return self._in(crossbar) is not None

    def with_strength(self, crossbar: Crossbar, value: Any) -> Crossbar:
        found = self._in(crossbar)
        if found is None:
            return crossbar.with_nonideality(self.owner, **{self.setting: value})
        return crossbar.with_nonideality(found.replace(**{self.setting: value}))

    def without(self, crossbar: Crossbar) -> Crossbar:
        if "." in self.name:
            return self.scaled(crossbar, 0.0)
        return crossbar.replace(nonidealities=tuple(one for one in crossbar.nonidealities if one.name != self.name))

    def with_tensor(self, crossbar: Crossbar, strength: Strength) -> Crossbar:
        ones = [
            with_tensors(one, **{self.setting: strength}) if one.name == self.owner else one
            for one in crossbar.nonidealities
        ]
        return with_tensors(crossbar, nonidealities=tuple(ones))

    def _in(self, crossbar: Crossbar) -> NonIdeality | None:
        return next((one for one in crossbar.nonidealities if one.name == self.owner), None)


BITS = (ConverterBits("dac_bits", "bits of the DACs"), ConverterBits("adc_bits", "bits of the ADCs"))
DEVICE_NOISE = AllDeviceNoise("device_noise", "programming and read noise", "1 as published")
SCALED_TOGETHER = (
    DeviceNoise("programming_noise", "programming noise", "1 as published"),
    DeviceNoise("read_noise", "long-term read noise", "1 as published"),
)
DRIFT = DeviceNoise("drift", "drift", "1 as published")
_HARDWARE = {one.name: one for one in (*BITS, DEVICE_NOISE, *SCALED_TOGETHER, DRIFT)}


def device_noises(device: Device) -> list[DeviceNoise]:
    """Return which of programming noise, read noise and drift a device has a scale for."""
    return [one for one in (*SCALED_TOGETHER, DRIFT) if hasattr(device, one.field)]


def _has(device: Device, wanted: str) -> str:
    has = ", ".join(one.name for one in device_noises(device)) or "nothing that could be scaled"
    return f"The device {type(device).__name__} has {has}. Received: {wanted!r}."


def list_effects() -> list[str]:
    """Return all names that a sweep takes: bits, noises of the device, then the non-idealities as they act.

    "device_noise" is a factor on programming noise and read noise together; a setting of a non-ideality that is not
    its main one is named with a dot, such as "adc_nonlinearity.spread".

    Examples:
        >>> list_effects()[:4]
        ['dac_bits', 'adc_bits', 'device_noise', 'programming_noise']
    """
    return [*_HARDWARE, *list_nonidealities()]


def find_effect(name: str, crossbar: Crossbar | None = None) -> Effect:
    """Return the effect of a name of `list_effects`, or of an unregistered non-ideality that this hardware has.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if name in _HARDWARE:
        return _HARDWARE[name]
    base, _, setting = name.partition(".")
    own = {one.name: one for one in ([] if crossbar is None else crossbar.nonidealities)}
    if base in list_nonidealities():
        kind, fixed = registered_kind(base)
    elif base in own:
        kind, fixed = type(own[base]), own[base].get_config()
    else:
        raise UnknownNameError("non-ideality", name, {*list_effects(), *own})
    title, unit = ("", "") if setting else (kind.title.format(**fixed), kind.unit)
    return NonIdealityEffect(name, title or _words(name), unit, tuple(kind.scan), kind)


def describe(name: str) -> Effect:
    """Return the effect of a name in a table, for its label; one that this process does not know has its name only."""
    try:
        return find_effect(name)
    except UnknownNameError:
        return NonIdealityEffect(name, _words(name))


def _words(name: str) -> str:
    return name.replace("_", " ").replace(".", ", ")


def present_effects(crossbar: Crossbar) -> list[Effect]:
    """Return the effects that this hardware has: bits, noises of the device, then the non-idealities as they act."""
    own = [one for one in _HARDWARE.values() if one.present(crossbar)]
    return [*own, *(find_effect(one.name, crossbar) for one in crossbar.nonidealities)]


def possible_effects(crossbar: Crossbar) -> list[str]:
    """Return the names of the effects that this hardware can have.

    Examples:
        >>> effects = possible_effects(analognets.crossbar.get("aimc_reram"))
        >>> "programming_noise" in effects, "drift" in effects
        (True, False)
    """
    names = dict.fromkeys([*list_effects(), *(one.name for one in crossbar.nonidealities)])
    return [name for name in names if _possible(crossbar, find_effect(name, crossbar))]


def _possible(crossbar: Crossbar, effect: Effect) -> bool:
    try:
        effect.check(crossbar)
    except InvalidArgumentError:
        return False
    return True
