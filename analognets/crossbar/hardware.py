"""The crossbar: tile size, device, converters, scaling and non-idealities, as frozen data."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

import keras

from analognets import devices
from analognets.core.config import FILE_HINT, names_a_file, read_yaml, yaml_names
from analognets.crossbar.converters import check_bits
from analognets.crossbar.effects import Effect, find_effect, present_effects
from analognets.crossbar.nonideality import NonIdeality
from analognets.crossbar.registry import get_nonideality, in_order, list_nonidealities
from analognets.devices.strengths import Strength
from analognets.errors import (
    InvalidArgumentError,
    UnknownNameError,
    check_choice,
    check_integer,
    check_number,
    reading_config,
    shortened,
)

__all__ = ["Crossbar", "get", "list_presets"]


@keras.saving.register_keras_serializable(package="analognets")
@dataclasses.dataclass(frozen=True)
class Crossbar:
    """The settings of y = bias + alpha * gamma * ADC(F(DAC(x / alpha), W / gamma)) of one kind of hardware.

    Args:
        rows: word lines per tile; taller products are cut and summed digitally. At least 1.
        cols: bit lines per tile (differential pairs). At least 1.
        device: the memory cell, an `analognets.devices.Device`, its name or its config.
        dac_bits: resolution of the DACs, 2 to 16; None is an ideal DAC.
        adc_bits: resolution of the ADCs, 2 to 16; None is an ideal ADC.
        adc_gain: "shared": one ADC gain S for all layers of a model, r_ADC = S * r_DAC * W_max (AnalogNets);
            "per_layer": every layer has its own; "fixed": r_ADC = adc_bound * alpha * gamma, nothing to calibrate.
        drift_compensation: a `DriftCompensation`, its name ("global": one factor per tile, "column": one per column,
            "input": one per tile before its DACs), its config or None.
        name: what to call it in reports.
        source: where the figures come from.
        adc_bound: bound of the ADCs, > 0, where 1 is a full input on a full weight; only with adc_gain="fixed".
        weight_scale: what gamma belongs to: "layer", "tile" or "column".
        input_range: what alpha belongs to: "layer" or "tile".
        inactive_device: what the device of a pair does whose target is 0: "programmed": it has programming noise like
            any other (aihwkit); "off": it is exactly 0 (Rasch et al.).
        nonidealities: what makes the product differ from the plain one, `NonIdeality` objects or their configs; kept
            in the order in which they act.

    Raises:
        InvalidArgumentError: a figure is out of range, or a non-ideality is given twice.

    Examples:
        >>> hardware = Crossbar(rows=256, cols=256, device="reram", dac_bits=6, adc_bits=8)
        >>> hardware.device.g_max, hardware.replace(adc_bits=6).adc_bits
        (40.0, 6)
        >>> Crossbar.from_preset("aon_cim_8bit").rows
        1024

    Source: the defaults are AON-CiM's of AnalogNets (arXiv 2111.06503): PCM and 8-bit activations verified in its
    abstract, 1024 x 512 differential cells from memory.
    """

    rows: int = 1024
    cols: int = 512
    device: devices.Device = dataclasses.field(default_factory=devices.PCM)
    dac_bits: int | None = 8
    adc_bits: int | None = 8
    adc_gain: str = "shared"
    drift_compensation: devices.DriftCompensation | None = dataclasses.field(
        default_factory=devices.GlobalDriftCompensation
    )
    name: str = "custom"
    source: str = ""
    adc_bound: float | None = None
    weight_scale: str = "layer"
    input_range: str = "layer"
    inactive_device: str = "programmed"
    nonidealities: tuple[NonIdeality, ...] = ()

    def __post_init__(self) -> None:
        for name in ("rows", "cols"):
            object.__setattr__(self, name, check_integer("Crossbar", name, getattr(self, name), 1, 1 << 20))
        for name in ("dac_bits", "adc_bits"):
            object.__setattr__(self, name, check_bits("Crossbar", name, getattr(self, name)))
        check_choice("Crossbar", "adc_gain", self.adc_gain, ("shared", "per_layer", "fixed"))
        check_choice("Crossbar", "weight_scale", self.weight_scale, ("layer", "tile", "column"))
        check_choice("Crossbar", "input_range", self.input_range, ("layer", "tile"))
        check_choice("Crossbar", "inactive_device", self.inactive_device, ("programmed", "off"))
        self._check_bound()
        found = in_order(get_nonideality(one) for one in self.nonidealities)
        object.__setattr__(self, "nonidealities", found)
        object.__setattr__(self, "device", devices.get(self.device))
        rule = devices.get_drift_compensation(self.drift_compensation)
        object.__setattr__(self, "drift_compensation", rule)

    def _check_bound(self) -> None:
        if self.adc_bound is not None:
            object.__setattr__(self, "adc_bound", check_number("Crossbar", "adc_bound", self.adc_bound, 1e-6, 1e6))
        if (self.adc_bound is None) == (self.adc_gain == "fixed"):
            raise InvalidArgumentError(
                "Crossbar needs `adc_bound` with adc_gain='fixed', and only then. "
                f"Received: adc_gain={self.adc_gain!r}, adc_bound={self.adc_bound!r}."
            )

    def replace(self, **changes: Any) -> Crossbar:
        """Return a copy with some settings changed: `crossbar.replace(adc_bits=6)`.

        Raises:
            UnknownNameError: a setting of that name does not exist.
        """
        _check_settings(changes)
        return dataclasses.replace(self, **changes)

    def effect(self, name: str) -> Effect:
        """Return what this hardware does wrong by its name: label, strength, default scan, how to change it.

        Args:
            name: of `list_effects()` or of a non-ideality that this crossbar has; or with a dot another setting of a
                non-ideality, such as "adc_nonlinearity.spread".

        Raises:
            UnknownNameError: there is no such effect.
        """
        return find_effect(name, self)

    def strengths(self) -> dict[str, Any]:
        """Return what is there and how strong, by the names that `without`, `scaled` and `with_strength` take.

        Bits of the converters, scales of the device's noises, then the non-idealities in the order in which they act.
        """
        return {effect.name: effect.strength(self) for effect in present_effects(self)}

    def nonideality(self, name: str) -> NonIdeality | None:
        """Return the non-ideality of that name, or None if the crossbar does not have it.

        Raises:
            UnknownNameError: there is no such non-ideality.
        """
        found = {one.name: one for one in self.nonidealities}
        if name not in found and name not in list_nonidealities():
            raise UnknownNameError("non-ideality", name, {*list_nonidealities(), *found})
        return found.get(name)

    def with_nonideality(self, nonideality: Any, **settings: Any) -> Crossbar:
        """Return a copy that has this non-ideality, in place of one of the same name.

        Args:
            nonideality: an object, a config, or a name with its settings.
            **settings: as in `get_nonideality`.
        """
        new = get_nonideality(nonideality, **settings)
        others = [one for one in self.nonidealities if one.name != new.name]
        return self.replace(nonidealities=(*others, new))

    def without(self, *names: str) -> Crossbar:
        """Return a copy with some of `strengths` switched off; "device_noise" is all that the device has.

        `crossbar.without("ir_drop", "adc_bits", "drift")` has no IR drop, ideal ADCs and devices that don't drift.

        Raises:
            UnknownNameError: there is no such effect.
            InvalidArgumentError: the device can't have it.
        """
        changed = self
        for name in names:
            changed = changed.effect(name).without(changed)
        return changed

    def scaled(self, name: str, factor: float) -> Crossbar:
        """Return a copy with one effect `factor` times as strong.

        Args:
            name: of `strengths`; "device_noise" scales programming noise and read noise together (and at factor 0
                switches drift off too).
            factor: >= 0. An effect that is not there stays away.

        Raises:
            UnknownNameError: there is no such effect.
            InvalidArgumentError: the effect can't be scaled, the device can't have it or it gets out of range.
        """
        return self.effect(name).scaled(self, factor)

    def with_strength(self, name: str, value: Any) -> Crossbar:
        """Return a copy in which one effect has this strength, whether it was there before or not.

        Args:
            name: as in `effect`.
            value: its new strength in its own unit; for dac_bits and adc_bits 2 to 16 or None; for "device_noise" a
                factor.

        Raises:
            UnknownNameError: there is no such effect.
            InvalidArgumentError: the value is out of range, or the device can't have the effect.
        """
        return self.effect(name).with_strength(self, value)

    def with_tensors(self, strengths: Mapping[str, Strength]) -> Crossbar:
        """Return a copy for one computation, in which strengths are arguments of a compiled function.

        Args:
            strengths: float32 scalar tensors by names of `strengths()`, bits excepted. They are not checked.
        """
        changed = self
        for name, strength in strengths.items():
            changed = changed.effect(name).with_tensor(changed, strength)
        return changed

    @property
    def plain(self) -> bool:
        """Whether a product is DAC, exact product and ADC, all with one range per layer."""
        whole = self.weight_scale == "layer" and self.input_range == "layer" and self.adc_gain != "fixed"
        return whole and not any(one.active for one in self.nonidealities)

    def get_config(self) -> dict[str, Any]:
        """Return the settings as plain data; `from_config` gives back an equal crossbar."""
        config = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        config["device"] = devices.serialize(self.device)
        config["nonidealities"] = [keras.saving.serialize_keras_object(one) for one in self.nonidealities]
        config["drift_compensation"] = (
            None if self.drift_compensation is None else keras.saving.serialize_keras_object(self.drift_compensation)
        )
        return config

    @classmethod
    @reading_config("a crossbar")
    def from_config(cls, config: dict[str, Any]) -> Crossbar:
        """Build a crossbar from `get_config`'s data.

        Raises:
            UnknownNameError: a setting of some name does not exist.
        """
        _check_settings(config)
        config = {**config, "nonidealities": tuple(config.get("nonidealities", ()))}
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


_PRESETS = resources.files("analognets.crossbar") / "presets"


def list_presets() -> list[str]:
    """Return the names of the hardware presets.

    Examples:
        >>> "aimc_standard" in list_presets()
        True
    """
    return yaml_names(_PRESETS)


@lru_cache
def _load_preset(name: str) -> Crossbar:
    if name not in list_presets():
        raise UnknownNameError("hardware preset", name, list_presets(), FILE_HINT)
    settings = read_yaml(_PRESETS / f"{name}.yaml", source=f"The hardware preset '{name}'")
    return _from_settings(name, settings)


def _load_file(path: str) -> Crossbar:
    """Return the crossbar of a YAML file that looks as the presets do; a device file is named relative to it."""
    source = f"The hardware file '{path}'"
    settings = read_yaml(path, source=source)
    if not isinstance(settings, dict) or not settings.get("device"):
        raise InvalidArgumentError(
            f"{source} must hold settings of a crossbar, with its `device`. Received: {shortened(settings)}."
        )
    device = settings["device"]
    if isinstance(device, str) and names_a_file(device):
        settings["device"] = os.path.join(os.path.dirname(os.path.abspath(path)), device)
    _check_settings({*settings} - {"device_settings"})
    return _from_settings(settings.pop("name", os.path.basename(path).rpartition(".")[0]), settings)


def _from_settings(name: str, settings: dict[str, Any]) -> Crossbar:
    settings["device"] = devices.get(settings["device"], **settings.pop("device_settings", {}))
    effects = settings.pop("nonidealities", {})
    settings["nonidealities"] = tuple(get_nonideality(kind, **values) for kind, values in effects.items())
    return Crossbar(name=name, **settings)


@reading_config("a crossbar")
def get(identifier: Any) -> Crossbar:
    """Return a crossbar from an object, a preset's name, a YAML file that looks as presets do, or a config.

    Raises:
        InvalidArgumentError: the identifier is none of these, or the file can't be read.
        UnknownNameError: no preset has that name.

    Examples:
        >>> get("aon_cim_8bit").replace(adc_bits=6).adc_bits
        6
    """
    if isinstance(identifier, Crossbar):
        return identifier
    if isinstance(identifier, str):
        return _load_file(identifier) if names_a_file(identifier) else Crossbar.from_preset(identifier)
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
