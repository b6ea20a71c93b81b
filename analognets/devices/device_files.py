"""A device as a YAML file: its name and its settings, as hardware presets hold them too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analognets.core.config import read_yaml, write_yaml
from analognets.core.files import write_atomically
from analognets.errors import InvalidArgumentError, shortened

__all__ = ["read_device_file", "write_device_file"]

KEYS = ("device", "device_settings")


def read_device_file(path: str | os.PathLike[str]) -> tuple[str | dict[str, Any], dict[str, Any]]:
    """Return the name (or the config) of a device and its settings from a YAML file.

    Raises:
        InvalidArgumentError: the file can't be read, or holds something else.
    """
    data = read_yaml(os.fspath(path), source=f"The device file '{path}'")
    known = isinstance(data, dict) and "device" in data and set(data) <= set(KEYS)
    if not known or not isinstance(data["device"], (str, dict)) or not isinstance(data.get(KEYS[1], {}), dict):
        raise InvalidArgumentError(
            f"The device file '{path}' must hold the key `device`, the name or config of a device, and may hold "
            f"`device_settings`, a mapping. Received: {shortened(data)}. `analognets device fit` writes such files."
        )
    return data["device"], {str(key): value for key, value in data.get(KEYS[1], {}).items()}


def write_device_file(
    path: str | os.PathLike[str], device: str | Mapping[str, Any], settings: Mapping[str, Any] | None = None
) -> None:
    """Write the name (or the config) of a device and its settings as a YAML file.

    Raises:
        RunError: the file can't be written.
    """
    data: dict[str, Any] = {"device": device if isinstance(device, str) else dict(device)}
    if settings:
        data["device_settings"] = dict(settings)
    write_atomically(Path(path), write_yaml(data))
