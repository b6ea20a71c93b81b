"""What an analog layer multiplies by now, and the seeds of the products in a loop over time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
from keras import ops

from analognets.crossbar import Tile

__all__ = ["NoiseRealization", "StepSeeds"]

SEEDS_A_STEP = 1024
_ARRAYS = ("kernel", "gamma", "scales", "input_scales", "adc_ranges", "periphery")


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseRealization:
    """What an analog layer multiplies by now: its kernel with one draw of the noise, and all that belongs to it.

    y = sum over row blocks of b * ADC( F( DAC(a x), W ) ), see `analognets.crossbar.Tile`

    Args:
        kernel: W, of `crossbar_shape()`; of the shape of the kernel variable if `whole`.
        kind: "chip": W was read from devices, and every product has all non-idealities; "training": W has training
            noise, and the gradient is that of the plain product; "inference": no noise and only converters.
        whole: whether W is not cut into row blocks, as on plain hardware where the layer has but one, and before
            calibration.
        gamma: weight range, of the shape of `w_max`; None: the layer's.
        scales: b of each tile, (row blocks, column blocks), or of each column, (row blocks, outputs), as of drift
            compensation; None: 1.
        input_scales: a of each row block; None: 1.
        adc_ranges: on plain hardware for each row block a scalar or one number per column, in the unit of the outputs;
            None: the layer's range, once it is calibrated.
        periphery: for each row block what `analognets.crossbar.draw_periphery` returned; None: drawn from `seed`.
        seed: of the noise of the products: a SeedGenerator, from which each product draws anew, or a whole number,
            which gives all the same noise.
        tiles: made of all this in front of a loop; None: they are made at each call.
        bfloat16: of "chip" on hardware with non-idealities: whether all products are computed in bfloat16.
        one_pass: likewise, whether many outputs are computed in one pass behind the products, see `Tile`.
    """

    kernel: Any
    kind: Literal["chip", "training", "inference"] = "chip"
    whole: bool = False
    gamma: Any = None
    scales: Any = None
    input_scales: Any = None
    adc_ranges: Sequence[Any] | None = None
    periphery: Sequence[Mapping[str, Any]] | None = None
    seed: Any = None
    tiles: Sequence[Tile] | None = None
    bfloat16: bool = False
    one_pass: bool = False

    @property
    def arrays(self) -> dict[str, Any]:
        """The fields that are numbers, by name, such as a compiled function takes."""
        return {name: getattr(self, name) for name in _ARRAYS}

    def replace(self, **changes: Any) -> NoiseRealization:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)


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
