"""What a layer computes with while a chip is in it, or while a loop over time holds its noisy kernel."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops

__all__ = ["Held", "Programmed", "StepSeeds"]

SEEDS_A_STEP = 1024


@dataclasses.dataclass
class Programmed:
    """What a layer computes with while a chip is in it.

    Args:
        kernel: the weights as read, of `crossbar_shape()`.
        adc_ranges: for each row block a scalar or a vector over columns, or None without ADC; on plain hardware.
        scales: what the outputs of each tile are multiplied by, (row blocks, column blocks); on hardware that is not
            plain, None is 1.
        chips: for each row block what `analognets.crossbar.draw_chip` returned; None draws another chip at each call.
        seed: SeedGenerator of the noise of each product.
    """

    kernel: Any
    adc_ranges: list[Any] | None = None
    scales: Any = None
    chips: list[Any] | None = None
    seed: Any = None


class StepSeeds(keras.random.SeedGenerator):
    """Seeds of the products inside a loop over time, other ones at each step, computed instead of counted.

    seed = (a, b + 1024 * step + draw),  with a, b drawn from the layer's own generator before the loop

    A `SeedGenerator` counts in a variable, which the loops of JAX can't write and those of TensorFlow write slowly.

    Args:
        source: the generator to draw a and b from.
    """

    def __init__(self, source: keras.random.SeedGenerator) -> None:  # without the variable of the base class
        self.state = source.state
        self.first = keras.random.randint((2,), 0, 1 << 30, dtype="int32", seed=source)
        self.step: Any = 0
        self.drawn = 0

    def at(self, step: Any) -> None:
        """Set the step of the loop, a whole number or a scalar tensor."""
        self.step, self.drawn = ops.cast(step, "int32"), 0

    def next(self, ordered: bool = True) -> Any:
        """Return the seed of the next draw of this step."""
        index = self.step * SEEDS_A_STEP + self.drawn
        self.drawn += 1
        return ops.cast(ops.stack([self.first[0], self.first[1] + index]), self.state.dtype)


@dataclasses.dataclass
class Held:
    """What a layer computes with inside a loop.

    Args:
        kernel: the noisy kernel in the shape of the kernel variable; None while a chip is in the layer.
        chips: what the read-out of each row block differs by from that of other chips; None draws it at each call.
        gamma: the weight range.
        seeds: of the noise of each product; None if products have none.
        tiles: one for each row block; None on plain hardware.
    """

    kernel: Any
    chips: list[Any] | None
    gamma: Any
    seeds: StepSeeds | None
    tiles: list[Any] | None = None
