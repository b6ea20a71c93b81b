"""Hardware with one effect at another strength: which effects there are, in what unit, and what a scan goes through."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from analognets.crossbar import Crossbar, list_nonidealities
from analognets.crossbar.hardware import check_device_effect, device_effects
from analognets.errors import InvalidArgumentError, UnknownNameError

__all__ = [
    "BITS",
    "DEVICE_NOISE",
    "check_effect",
    "default_scan",
    "list_effects",
    "possible_effects",
    "standard_strength",
    "toughness",
    "with_effect",
]

BITS = ("dac_bits", "adc_bits")
DEVICE_NOISE = "device_noise"
DEVICE_EFFECTS = ("programming_noise", "read_noise", "drift")
MULTIPLES = (1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0)
SHARES = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2)
DEVIATIONS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)


def list_effects() -> list[str]:
    """Return all names that a sweep takes: bits, noises of the device, then the non-idealities as they act.

    "device_noise" is a factor on programming noise and read noise together; a setting of a non-ideality that is not
    its main one is named with a dot, such as "adc_nonlinearity.spread".
    """
    return [*BITS, DEVICE_NOISE, *DEVICE_EFFECTS, *list_nonidealities()]


def possible_effects(crossbar: Crossbar) -> list[str]:
    """Return those of `list_effects` that this hardware can have."""
    own = device_effects(crossbar.device)
    noisy = any(name != "drift" for name in own)
    return [
        name
        for name in list_effects()
        if name not in (DEVICE_NOISE, *DEVICE_EFFECTS) or name in own or name == DEVICE_NOISE and noisy
    ]


def check_effect(crossbar: Crossbar, name: str) -> None:
    """Refuse an effect that does not exist, or that the hardware's device can't have.

    Raises:
        UnknownNameError: there is none of that name.
        InvalidArgumentError: the device can't have it.
    """
    if name.partition(".")[0] not in list_effects():
        raise UnknownNameError("non-ideality", name, list_effects())
    if name not in possible_effects(crossbar) and name in (DEVICE_NOISE, *DEVICE_EFFECTS):
        check_device_effect(crossbar.device, name)


def with_effect(crossbar: Crossbar, name: str, value: Any) -> Crossbar:
    """Return hardware that has one effect at one strength.

    Args:
        crossbar: what it starts from; all else stays.
        name: of `list_effects`, or a setting of a non-ideality.
        value: bits from 2 to 16 or None for an ideal converter; else the strength in its own unit, see the
            non-idealities. That of noises of the device is a factor, 1 as published.

    Raises:
        UnknownNameError: there is no such effect.
        InvalidArgumentError: the value is out of range, or the device can't have the effect.
    """
    check_effect(crossbar, name)
    if name == DEVICE_NOISE:
        return crossbar.scaled(name, value)
    if name in BITS and isinstance(value, float) and value.is_integer():
        value = int(value)
    return crossbar.with_strength(name, value)


def standard_strength(crossbar: Crossbar, name: str) -> Any:
    """Return how strong an effect is on this hardware as it stands: 0 if it is not there, None for ideal converters.

    Raises:
        UnknownNameError: there is no such effect.
        InvalidArgumentError: the device can't have it.
    """
    check_effect(crossbar, name)
    if name == DEVICE_NOISE:
        return 1.0
    if name in BITS:
        return getattr(crossbar, name)
    if name in DEVICE_EFFECTS:
        return check_device_effect(crossbar.device, name)
    name, _, setting = name.partition(".")
    present = crossbar.nonideality(name)
    if present is None:
        return 0.0
    return getattr(present, setting) if setting else present.strength


def toughness(name: str, value: float) -> float:
    """Return a number that grows with how much of an effect a network bears: the strength, or minus the bits."""
    return -value if name in BITS else value


def default_scan(crossbar: Crossbar, name: str) -> list[Any]:
    """Return strengths to scan an effect with, from just above that of the hardware to far beyond any use.

    Multiples of what the hardware has, up to 100; else fixed grids; of bits all fewer ones.

    Raises:
        UnknownNameError: there is no such effect.
        InvalidArgumentError: the device can't have it.
    """
    standard = standard_strength(crossbar, name)
    if name in BITS:
        return list(range((standard or 17) - 1, 1, -1))
    values: Iterable[float] = SHARES if name.startswith("stuck_at") else DEVIATIONS
    if standard:
        values = [float(f"{standard * factor:.6g}") for factor in MULTIPLES]
    possible = []
    for value in values:
        try:
            with_effect(crossbar, name, value)
        except InvalidArgumentError:
            break
        possible.append(value)
    return possible
