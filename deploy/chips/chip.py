"""One programmed chip: the stored state of its devices, read at any time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from analognets.deploy.chips.programming import ProgrammedLayer, arithmetic
from analognets.layers import AnalogLayer
from analognets.layers.noise_realization import NoiseRealization
from analognets.units import parse_duration

__all__ = ["Chip"]


@dataclasses.dataclass
class Chip:
    """One simulated chip: the programmed devices of every analog layer.

    Args:
        number: index of the chip among its siblings.
        seed: what its devices were drawn from; kept for the record, reading uses the stored state.
        layers: one `ProgrammedLayer` for each analog layer, in order.

    Examples:
        >>> first = next(iter(chips))
        >>> weights = first.read(analognets.layers.analog_layers(analog), "1d")
        >>> first.number, len(weights)
        (0, 2)
    """

    number: int
    seed: int
    layers: list[ProgrammedLayer]

    def read(self, layers: Sequence[AnalogLayer], time: str | float) -> list[NoiseRealization]:
        """Read the weights of all layers at a time; the same time gives the same read noise, in any order."""
        return arithmetic(layers).read(self.layers, parse_duration(time), self.seed)
