"""Hardware that differs between the layers of a model: which crossbar each one lies on, or that it stays digital."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from analognets.crossbar.hardware import Crossbar, get
from analognets.errors import InvalidArgumentError, shortened

__all__ = ["HardwareByLayer", "names_layers"]

DEFAULT = "default"
DIGITAL = "digital"


def names_layers(identifier: Any) -> bool:
    """Whether hardware is given as a dict by layer name, and not as one crossbar's config."""
    return isinstance(identifier, Mapping) and "class_name" not in identifier and not {"rows", "cols"} & set(identifier)


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
            identifier: a `Crossbar`, the name of a preset or a config, for all layers; or a dict of these by layer
                name, in which "default" is for all others and "digital" leaves a layer digital.

        Raises:
            InvalidArgumentError: the dict has no "default", or a value is none of these.
            UnknownNameError: no preset has that name.

        Examples:
            >>> HardwareByLayer.of({"default": "aon_cim_6bit", "logits": "aon_cim_8bit"}).name
            'aon_cim_6bit, aon_cim_8bit in 1 layer'
        """
        if isinstance(identifier, cls):
            return identifier
        if not names_layers(identifier):
            return cls(get(identifier))
        if DEFAULT not in identifier:
            raise InvalidArgumentError(
                f"Hardware by layer needs '{DEFAULT}', for all layers it does not name. Received: "
                f"{shortened(dict(identifier))}."
            )
        layers = {name: None if one == DIGITAL else get(one) for name, one in identifier.items() if name != DEFAULT}
        return cls(get(identifier[DEFAULT]), layers)

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
