"""The crossbar: array size, device, converters and scaling of one analog chip, as frozen data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import lru_cache
from importlib import resources
from typing import Any

import keras
import yaml

from analognets import devices
from analognets.crossbar.converters import check_bits
from analognets.errors import InvalidArgumentError, UnknownNameError, check_choice, check_integer

__all__ = ["Crossbar", "get", "list_presets"]


@keras.saving.register_keras_serializable(package="analognets")
@dataclasses.dataclass(frozen=True)
class Crossbar:
    """The settings of y = bias + alpha * gamma * ADC(F(DAC(x / alpha), W / gamma)) for one chip.

    Args:
        rows: word lines of a tile; taller products are cut and summed digitally. At least 1.
        cols: bit lines of a tile (differential pairs). At least 1.
        device: the memory cell, an `analognets.devices.Device`, its name or its config.
        dac_bits: resolution of the DACs, 2 to 16; None is an ideal DAC.
        adc_bits: resolution of the ADCs, 2 to 16; None is an ideal ADC.
        adc_gain: "shared": one ADC gain S for all layers of a model, r_ADC = S * r_DAC * W_max (AnalogNets);
            "per_layer": every layer has its own.
        drift_compensation: a `GlobalDriftCompensation` (one digital scalar a tile), or None.
        name: what to call it in reports.
        source: where the figures come from.

    Raises:
        InvalidArgumentError: a figure is out of range.

    Source: the defaults are AON-CiM's of AnalogNets (arXiv 2111.06503): PCM and 8-bit activations verified in its
    abstract, 1024 x 512 differential cells from memory.
    """

    rows: int = 1024
    cols: int = 512
    device: devices.Device = dataclasses.field(default_factory=devices.PCM)
    dac_bits: int | None = 8
    adc_bits: int | None = 8
    adc_gain: str = "shared"
    drift_compensation: devices.GlobalDriftCompensation | None = dataclasses.field(
        default_factory=devices.GlobalDriftCompensation
    )
    name: str = "custom"
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("rows", "cols"):
            object.__setattr__(self, name, check_integer("Crossbar", name, getattr(self, name), 1, 1 << 20))
        for name in ("dac_bits", "adc_bits"):
            object.__setattr__(self, name, check_bits("Crossbar", name, getattr(self, name)))
        check_choice("Crossbar", "adc_gain", self.adc_gain, ("shared", "per_layer"))
        object.__setattr__(self, "device", devices.get(self.device))
        compensation = self.drift_compensation
        if isinstance(compensation, dict):
            compensation = keras.saving.deserialize_keras_object(compensation)
            object.__setattr__(self, "drift_compensation", compensation)
        if not (compensation is None or isinstance(compensation, devices.GlobalDriftCompensation)):
            raise InvalidArgumentError(
                "`drift_compensation` of Crossbar must be a GlobalDriftCompensation, its config or None. "
                f"Received: drift_compensation={compensation!r}."
            )

    def replace(self, **changes: Any) -> Crossbar:
        """Return a copy with some settings changed: `crossbar.replace(adc_bits=6)`.

        Raises:
            UnknownNameError: a setting of that name does not exist.
        """
        _check_settings(changes)
        return dataclasses.replace(self, **changes)

    def get_config(self) -> dict[str, Any]:
        """Return the settings as plain data; `from_config` gives back an equal crossbar."""
        config = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        config["device"] = devices.serialize(self.device)
        config["drift_compensation"] = (
            None if self.drift_compensation is None else keras.saving.serialize_keras_object(self.drift_compensation)
        )
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Crossbar:
        """Build a crossbar from `get_config`'s data.

        Raises:
            UnknownNameError: a setting of some name does not exist.
        """
        _check_settings(config)
        return cls(**config)

    @classmethod
    def from_preset(cls, name: str) -> Crossbar:
        """Return a published chip by name, such as "aon_cim_8bit"; `list_presets()` names them all.

        Raises:
            UnknownNameError: no preset has that name.
        """
        return _load_preset(name)


def _check_settings(names: Iterable[str]) -> None:
    known = [field.name for field in dataclasses.fields(Crossbar)]
    for name in names:
        if name not in known:
            raise UnknownNameError("crossbar setting", name, known)


def list_presets() -> list[str]:
    """Return the names of the hardware presets."""
    folder = resources.files("analognets.crossbar") / "presets"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


@lru_cache
def _load_preset(name: str) -> Crossbar:
    if name not in list_presets():
        raise UnknownNameError("hardware preset", name, list_presets())
    text = (resources.files("analognets.crossbar") / "presets" / f"{name}.yaml").read_text("utf-8")
    settings = yaml.safe_load(text)
    settings["device"] = devices.get(settings["device"])
    return Crossbar(name=name, **settings)


def get(identifier: Any) -> Crossbar:
    """Return a crossbar from an object, a preset's name or a config.

    Raises:
        InvalidArgumentError: the identifier is none of these.
        UnknownNameError: no preset has that name.
    """
    if isinstance(identifier, Crossbar):
        return identifier
    if isinstance(identifier, str):
        return Crossbar.from_preset(identifier)
    if isinstance(identifier, dict):
        if "class_name" not in identifier:
            return Crossbar.from_config(identifier)
        crossbar = keras.saving.deserialize_keras_object(identifier)
        if isinstance(crossbar, Crossbar):
            return crossbar
    raise InvalidArgumentError(
        f"Hardware must be a Crossbar, the name of a preset ({', '.join(list_presets())}) or a config. "
        f"Received: {identifier!r}."
    )
