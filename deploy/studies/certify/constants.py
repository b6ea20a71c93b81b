"""Chips whose devices have constants of their own: for each chip those of one replicate of a fit's bootstrap."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from analognets.crossbar import Crossbar
from analognets.deploy.chips.chip import Chip
from analognets.deploy.chips.programming import ChipArithmetic
from analognets.devices import derive_seed
from analognets.devices.replicates import replicate, replicate_count
from analognets.layers import AnalogLayer
from analognets.layers.noise_realization import NoiseRealization
from analognets.units import parse_duration

__all__ = ["DrawnChip", "program_drawn", "replicates"]


def replicates(layers: Sequence[AnalogLayer]) -> int:
    """Return how many replicates of constants the devices of a network hold; 0 if none does."""
    devices = [layer.crossbar.device for layer in layers]
    return max(map(replicate_count, devices), default=0)


def drawn(crossbar: Crossbar, number: int) -> Crossbar:
    """Return a crossbar with the constants of one replicate; one whose device holds none as it is."""
    device = crossbar.device
    return crossbar.replace(device=replicate(device, number)) if replicate_count(device) else crossbar


class DrawnArithmetic(ChipArithmetic):
    """Programming and reading with the constants of one replicate, not compiled: each chip has others."""

    def __init__(self, layers: Sequence[AnalogLayer], number: int) -> None:
        super().__init__(layers)
        self.hardware = [drawn(one, number) for one in self.hardware]
        self._program, self._read = self._programmed, self._as_read


@dataclasses.dataclass
class DrawnChip(Chip):
    """A chip with constants of its own.

    Args:
        arithmetic: that it was programmed with.
    """

    arithmetic: ChipArithmetic

    def read(self, layers: Sequence[AnalogLayer], time: str | float) -> list[NoiseRealization]:
        """Read the weights of all layers at a time."""
        return self.arithmetic.read(self.layers, parse_duration(time), self.seed)


def program_drawn(layers: Sequence[AnalogLayer], number: int, seed: int) -> DrawnChip:
    """Programme a chip whose constants are drawn from the replicates.

    Args:
        layers: of the network.
        number: of the chip.
        seed: of all chips.
    """
    replicate = derive_seed(seed, "constants", number) % replicates(layers)
    arithmetic = DrawnArithmetic(layers, replicate)
    chip_seed = derive_seed(seed, "chip", number)
    return DrawnChip(number, chip_seed, arithmetic.program(layers, chip_seed), arithmetic)
