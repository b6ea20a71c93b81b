"""Hardware that differs between the layers of a model: which crossbar each one lies on, or that it stays digital."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from analognets.core.config import names_a_file, read_yaml
from analognets.crossbar.hardware import Crossbar, get
from analognets.errors import InvalidArgumentError, shortened

__all__ = ["HardwareByLayer", "changed_as_in_recipes", "changes_as_in_recipes", "names_layers"]

DEFAULT = "default"
DIGITAL = "digital"
PRESET, LAYERS = "preset", "layers"
"""Keys of hardware as recipes and the files of `analognets design` write it."""
ABSENT = ("ideal", "none")
"""What stands for None there."""


def names_layers(identifier: Any) -> bool:
    """Whether hardware is given as a dict by layer name, and not as one crossbar's config."""
    return isinstance(identifier, Mapping) and "class_name" not in identifier and not {"rows", "cols"} & set(identifier)


def changes_as_in_recipes(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a recipe that change a crossbar, as `Crossbar.replace` takes them.

    Args:
        settings: as of `changed_as_in_recipes`; "preset" is left out.

    Examples:
        >>> changes_as_in_recipes({"preset": "aon_cim_8bit", "adc_bits": 6, "dac_bits": "ideal", "rows": None})
        {'adc_bits': 6, 'dac_bits': None}
    """
    given = {key: value for key, value in settings.items() if key != PRESET and value is not None}
    return {key: None if value in ABSENT else value for key, value in given.items()}


def changed_as_in_recipes(settings: Mapping[str, Any], base: Crossbar | None = None) -> Crossbar:
    """Return the crossbar that a recipe's settings describe: a preset and what is changed in it.

    Args:
        settings: "preset" and settings of `Crossbar.replace`; "ideal" and "none" stand for None, None for no change.
        base: what is changed where no preset is named.

    Raises:
        UnknownNameError: there is no such preset or setting.
        InvalidArgumentError: a value is not allowed.

    Examples:
        >>> found = changed_as_in_recipes({"preset": "aon_cim_8bit", "adc_bits": 6, "dac_bits": "ideal"})
        >>> found.rows, found.adc_bits, found.dac_bits
        (1024, 6, None)
    """
    preset = settings.get(PRESET)
    chosen = base if preset is None and base is not None else get(preset or "aon_cim_8bit")
    return chosen.replace(**changes_as_in_recipes(settings))


@dataclasses.dataclass(frozen=True)
class HardwareByLayer:
    """The crossbar of each layer of a model.

    Args:
        default: that of all layers not named.
        layers: by name or path of a layer, block, nested model or product: its crossbar, or None to leave it digital.
            Of two that hold a layer the inner one counts.

    Examples:
        >>> hardware = HardwareByLayer.of({"default": "aon_cim_6bit", "logits": "digital"})
        >>> hardware.default.adc_bits, hardware.digital
        (6, ('logits',))
    """

    default: Crossbar
    layers: Mapping[str, Crossbar | None] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, identifier: Any) -> HardwareByLayer:
        """Return the hardware of a conversion from what a user gives.

        Args:
            identifier: a `Crossbar`, the name of a preset or a config, for all layers; a dict of these by layer name,
                in which "default" is for all others and "digital" leaves a layer digital; or what stands in a recipe
                under `hardware`, "preset" with changes and "layers", or the path of a YAML file that holds it.

        Raises:
            InvalidArgumentError: the dict has no "default", or a value is none of these.
            UnknownNameError: no preset has that name.

        Examples:
            >>> HardwareByLayer.of({"default": "aon_cim_6bit", "logits": "aon_cim_8bit"}).name
            'aon_cim_6bit, aon_cim_8bit in 1 layer'
            >>> HardwareByLayer.of({"preset": "aon_cim_6bit", "layers": {"logits": "digital"}}).digital
            ('logits',)
        """
        if isinstance(identifier, cls):
            return identifier
        if isinstance(identifier, str) and names_a_file(identifier):
            found = read_yaml(identifier, source=f"The hardware file '{identifier}'")
            identifier = found if isinstance(found, dict) and PRESET in found else identifier
        if isinstance(identifier, Mapping) and PRESET in identifier:
            return cls._as_in_recipes(identifier)
        if not names_layers(identifier):
            return cls(get(identifier))
        if DEFAULT not in identifier:
            raise InvalidArgumentError(
                f"Hardware by layer needs '{DEFAULT}', for all layers it does not name. Received: "
                f"{shortened(dict(identifier))}."
            )
        layers = {name: None if one == DIGITAL else get(one) for name, one in identifier.items() if name != DEFAULT}
        return cls(get(identifier[DEFAULT]), layers)

    @classmethod
    def _as_in_recipes(cls, settings: Mapping[str, Any]) -> HardwareByLayer:
        whole = {key: value for key, value in settings.items() if key != LAYERS}
        default, named = changed_as_in_recipes(whole), settings.get(LAYERS) or {}
        if not isinstance(named, Mapping):
            raise InvalidArgumentError(
                f"`{LAYERS}` of hardware must be a mapping of layer names to '{DIGITAL}' or settings. Received: "
                f"{shortened(named)}."
            )
        layers: dict[str, Crossbar | None] = {}
        for name, one in named.items():
            own = {PRESET: one} if isinstance(one, str) else one
            if not isinstance(own, Mapping):
                raise InvalidArgumentError(
                    f"Hardware of layer '{name}' must be '{DIGITAL}', the name of a preset, or settings. Received: "
                    f"{shortened(one)}."
                )
            layers[name] = None if one == DIGITAL else changed_as_in_recipes(own, default)
        return cls(default, layers)

    @property
    def name(self) -> str:
        """The names of all crossbars, and in how many of the named layers each one is."""
        others: dict[str, int] = {}
        for crossbar in self.layers.values():
            if crossbar is not None and crossbar != self.default:
                others[crossbar.name] = others.get(crossbar.name, 0) + 1
        words = [f"{name} in {count} layer{'s' if count > 1 else ''}" for name, count in others.items()]
        return ", ".join([self.default.name, *words])

    @property
    def digital(self) -> tuple[str, ...]:
        """The names of what stays digital."""
        return tuple(name for name, crossbar in self.layers.items() if crossbar is None)
