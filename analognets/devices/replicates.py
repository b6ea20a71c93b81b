"""What a fit knows of a device's constants, kept inside of the device: intervals and replicates of a bootstrap."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar

from analognets.devices.base import Device
from analognets.errors import InvalidArgumentError, check_integer, shortened

__all__ = ["KnownConstants", "check_known", "plain", "replicate", "replicate_count"]

Known = TypeVar("Known", bound=Device)


class KnownConstants:
    """What devices with a field `uncertainty` have in common; goes in front of the device in the list of bases."""

    uncertainty: Mapping[str, Any]

    def drawn(self, number: int) -> Self:
        """Return the device with the constants of one replicate of the bootstrap: one that the data allow as well.

        Args:
            number: whole number >= 0; replicates are taken in turn.

        Raises:
            InvalidArgumentError: the device holds no replicates, or the number is none.
        """
        return replicate(self, number)  # type: ignore[type-var]

    def get_config(self) -> dict[str, Any]:
        """Return the settings as plain data; `from_config` gives back an equal device."""
        return {**super().get_config(), "uncertainty": plain(self.uncertainty)}  # type: ignore[misc]


def check_known(device: Device, constants: Sequence[str]) -> None:
    """Refuse a `source` or an `uncertainty` of a device that are none.

    Args:
        device: with both fields.
        constants: names of the fields that a fit determines.

    Raises:
        InvalidArgumentError: they are none, or name other constants.
    """
    owner = type(device).__name__
    source, known = device.source, device.uncertainty  # type: ignore[attr-defined]
    if not isinstance(source, str) or not isinstance(known, Mapping):
        raise InvalidArgumentError(
            f"`source` of {owner} must be text and `uncertainty` a mapping. Received: "
            f"{shortened(source)} and {shortened(known)}."
        )
    names = list(known.get("names", ()))
    rows = [known.get(key, names) for key in ("low", "high")] + list(known.get("draws", ()))
    fitting = all(isinstance(name, str) and name.partition("[")[0] in constants for name in names)
    if not fitting or any(len(row) != len(names) for row in rows):
        raise InvalidArgumentError(
            f"`uncertainty` of {owner} must name constants of it, and hold one number for each in `low`, in "
            f"`high` and in every list of `draws`. Received: {shortened(names)}."
        )


def replicate_count(device: Any) -> int:
    """Return how many replicates of its constants a device holds."""
    return len(getattr(device, "uncertainty", {}).get("draws", ()))


def replicate(device: Known, number: int) -> Known:
    """Return a device with the constants of one of its replicates.

    Args:
        device: that holds some.
        number: whole number >= 0; replicates are taken in turn.

    Raises:
        InvalidArgumentError: the device holds no replicates, or the number is none.
    """
    owner = type(device).__name__
    number = check_integer(f"{owner}.drawn", "number", number, 0, 2**62)
    if not replicate_count(device):
        raise InvalidArgumentError(
            f"The device holds no replicates of a bootstrap. Received: a {owner} without uncertainty['draws']. "
            "Fit it with analognets.devices.fit."
        )
    known: Mapping[str, Any] = device.uncertainty  # type: ignore[attr-defined]
    draws = list(known["draws"])
    values: dict[str, Any] = {}
    for name, value in zip(known["names"], draws[number % len(draws)], strict=True):
        field, _, place = name.partition("[")
        if place:
            values.setdefault(field, list(getattr(device, field)))[int(place.rstrip("]"))] = float(value)
        else:
            values[field] = float(value)
    fitted: Any = device
    return dataclasses.replace(fitted, uncertainty={}, **values)


def plain(data: Any) -> Any:
    """Return nested data with dicts and lists only."""
    if isinstance(data, Mapping):
        return {str(key): plain(value) for key, value in data.items()}
    return [plain(value) for value in data] if isinstance(data, (list, tuple)) else data
