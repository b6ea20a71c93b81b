"""The files of a design: hardware as recipes write it, and the accelerator it was chosen for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analognets import crossbar as crossbars
from analognets.core.config import write_yaml
from analognets.core.files import write_atomically
from analognets.crossbar import Crossbar, HardwareByLayer
from analognets.deploy.accelerator import Accelerator
from analognets.devices import get_drift_compensation

__all__ = ["as_in_recipes", "write_hardware"]

IN_RECIPES = ("rows", "cols", "dac_bits", "adc_bits", "adc_gain", "device", "drift_compensation")
"""Settings of a crossbar that recipes can change beside a preset."""
RULES = ("global", "column", "input")
LABELS = ("name", "source")


def as_in_recipes(layers: Mapping[str, Crossbar | None], folder: Path) -> dict[str, Any]:
    """Return the hardware of layers as it stands in recipes under `hardware`: a preset, changes, and `layers`.

    Hardware that no preset with such changes gives is written into a file of its own, which is named as preset.

    Args:
        layers: the crossbar of each by its name, None for digital.
        folder: for such files.
    """
    analog = [one for one in layers.values() if one is not None]
    base = max(analog, key=analog.count)
    section = _section(base, None, folder)
    changed = {name: "digital" if one is None else _section(one, base, folder) for name, one in layers.items()}
    named = {name: one for name, one in changed.items() if one}
    return {**section, "layers": named} if named else section


def _section(one: Crossbar, base: Crossbar | None, folder: Path) -> dict[str, Any]:
    """Return settings that give a crossbar beside a base, or beside a preset."""
    if base is not None and (found := _changes(base, one)) is not None:
        return found
    if one.name in crossbars.list_presets() and (found := _changes(crossbars.get(one.name), one)) is not None:
        return {"preset": one.name, **found}
    content = write_yaml(_whole(one))
    number = 1
    while (path := folder / f"crossbar_{number}.yaml").exists() and path.read_text("utf-8") != content:
        number += 1
    write_atomically(path, content)
    return {"preset": str(path.resolve())}


def _changes(base: Crossbar, one: Crossbar) -> dict[str, Any] | None:
    """Return what differs from a base as recipes write it; None if they can't."""
    before, after = base.get_config(), one.get_config()
    different = {name: value for name, value in after.items() if name not in LABELS and before[name] != value}
    if set(different) - {*IN_RECIPES} or different.get("adc_gain") == "fixed":
        return None
    return {name: _plain(name, value, one) for name, value in different.items()}


def _plain(name: str, value: Any, one: Crossbar) -> Any:
    """Return a setting as it is written in YAML."""
    if value is None:
        return "none" if name == "drift_compensation" else "ideal"
    if name == "drift_compensation":
        rules = [rule for rule in RULES if get_drift_compensation(rule) == one.drift_compensation]
        return rules[0] if rules else json.loads(json.dumps(value))
    return json.loads(json.dumps(value))


def _whole(one: Crossbar) -> dict[str, Any]:
    """Return all settings of a crossbar as a hardware file holds them."""
    config = json.loads(json.dumps(one.get_config()))
    config["nonidealities"] = {effect.name: json.loads(json.dumps(effect.get_config())) for effect in one.nonidealities}
    return config


def write_hardware(
    folder: Path, name: str, layers: Mapping[str, Crossbar | None], accelerator: Accelerator | None = None
) -> dict[str, Any]:
    """Write NAME.yaml, and with an accelerator NAME_accelerator.yaml, and return the hardware as plain data.

    `to_analog`, recipes, `evaluate --hardware` and `cost --hardware` take NAME.yaml, `cost --accelerator` the other.

    Args:
        folder: to write into.
        name: of the files.
        layers: as of `as_in_recipes`.
        accelerator: chosen with it.
    """
    section = as_in_recipes(layers, folder)
    HardwareByLayer.of(section)  # what is written can be read
    write_atomically(folder / f"{name}.yaml", write_yaml(section))
    if accelerator is not None:
        data = accelerator.model_dump(mode="json", exclude_unset=True)
        write_atomically(folder / f"{name}_accelerator.yaml", write_yaml(data))
    return section
