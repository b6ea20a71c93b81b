"""Chips of one structure at any strengths: these are arguments of the compiled functions, so nothing is retraced."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras

from analognets.crossbar import Crossbar
from analognets.crossbar.effects import present_effects
from analognets.crossbar.nonidealities import StuckDevices
from analognets.deploy.chips.chip import Chip
from analognets.deploy.chips.compiled import compiled
from analognets.deploy.chips.programming import ChipArithmetic
from analognets.deploy.chips.runtime import Runner
from analognets.layers import AnalogLayer, analog_layers, set_hardware
from analognets.layers.noise_realization import NoiseRealization

__all__ = ["Machine", "structure_of"]

HELD_BYTES = 1 << 26
"""Most memory for the weights of chips that a machine has read and may need at other strengths."""

Numbers = dict[str, Any]


def numbers_of(crossbar: Crossbar) -> Numbers:
    """Return the strengths that can change without another structure: those of the device and the non-idealities."""
    return {effect.name: effect.strength(crossbar) for effect in present_effects(crossbar) if effect.adjustable}


def structure_of(crossbar: Crossbar) -> Crossbar:
    """Return the crossbar with all its strengths 1; crossbars with one structure share compiled functions."""
    return crossbar.with_tensors(dict.fromkeys(numbers_of(crossbar), 1.0))


def cells_of(crossbar: Crossbar) -> Crossbar:
    """Return what matters to programming and reading: no converters, and of the non-idealities the stuck devices."""
    stuck = tuple(one for one in crossbar.nonidealities if isinstance(one, StuckDevices))
    return crossbar.replace(dac_bits=None, adc_bits=None, nonidealities=stuck)


def as_tensors(numbers: Sequence[Numbers]) -> list[Numbers]:
    """Return numbers as arguments of compiled functions."""
    return [{name: keras.ops.convert_to_tensor(value, "float32") for name, value in one.items()} for one in numbers]


def tuned(hardware: Sequence[Crossbar], numbers: Sequence[Numbers]) -> list[Crossbar]:
    """Return crossbars that compute with the arguments of a compiled function."""
    return [one.with_tensors(values) for one, values in zip(hardware, numbers, strict=True)]


class TunedArithmetic(ChipArithmetic):
    """Programming and reading with strengths that come in as arguments; never in pieces, whose strengths are fixed."""

    large_from = 1 << 62

    def __init__(self, layers: Sequence[AnalogLayer]) -> None:
        super().__init__(layers)
        self.hardware = [cells_of(one) for one in self.hardware]
        self.numbers: list[Numbers] = []
        self._program = self._with_numbers(self._programmed)
        self._read = self._with_numbers(self._as_read)

    def _with_numbers(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def run(numbers: list[Numbers], *arguments: Any) -> Any:
            plain = self.hardware
            self.hardware = tuned(plain, numbers)
            try:
                return method(*arguments)
            finally:
                self.hardware = plain

        function = compiled(run)
        return lambda *arguments: function(self.numbers, *arguments)


class TunedRunner(Runner):
    """Inference with strengths that come in as arguments."""

    numbers: list[Numbers] = []  # noqa: RUF012

    def _run(self, inputs: Any, weights: Any) -> Any:
        arrays, numbers = weights
        with computing_with(self.layers, numbers):
            return super()._run(inputs, arrays)

    def load(self, *arguments: Any, **settings: Any) -> None:
        """Take the weights of one chip at one time, and the strengths in `numbers`."""
        if isinstance(self._rough, TunedRunner):
            self._rough.numbers = self.numbers
        super().load(*arguments, **settings)
        self._weights = ([] if self.twin is not None else self._weights, self.numbers)  # type: ignore[assignment]

    def _realizations(self) -> Any:
        arrays = self._weights[0] if self.twin is None else []
        return [NoiseRealization(**one, seed=0) for one in arrays]


@contextlib.contextmanager
def computing_with(layers: Sequence[AnalogLayer], numbers: Sequence[Numbers]) -> Iterator[None]:
    """While active, the layers have strengths that are arguments of the function that is being traced."""
    before = [layer.crossbar for layer in layers]
    try:
        for layer, crossbar in zip(layers, tuned(before, numbers), strict=True):
            layer.crossbar = crossbar
        yield
    finally:
        for layer, crossbar in zip(layers, before, strict=True):
            layer.crossbar = crossbar


class Machine:
    """A model's chips on hardware of one structure; made once, used for all strengths.

    Args:
        model: a calibrated analog model; its layers get the structure as their crossbar.
        hardware: the crossbar of each analog layer by name.
        batch_size: largest number of samples per call.
        precision: of the products, as `Runner` takes it.
        others: machines of the same model; one whose cells have the same structure lends its compiled arithmetic.

    Raises:
        ConversionError: the hardware has other tiles or scales than the model's.
    """

    def __init__(
        self,
        model: keras.Model,
        hardware: Mapping[str, Crossbar],
        *,
        batch_size: int = 100,
        precision: str = "float32",
        others: Sequence[Machine] = (),
    ) -> None:
        self.model = model
        self.layers = analog_layers(model)
        self.structure = {name: structure_of(one) for name, one in hardware.items()}
        self.enter()
        cells = [cells_of(self.structure[layer.name]) for layer in self.layers]
        lent = [other.arithmetic for other in others if other.arithmetic.hardware == cells]
        self.arithmetic: TunedArithmetic = lent[0] if lent else TunedArithmetic(self.layers)
        self.precision = precision
        self.runner = TunedRunner(model, batch_size=batch_size, precision=precision)
        self._reads: dict[Any, Any] = {}
        self._held = 0

    def fits(self, hardware: Mapping[str, Crossbar], precision: str = "float32") -> bool:
        """Whether hardware differs from this in nothing but strengths, and the products are of this precision."""
        return precision == self.precision and self.structure == {
            name: structure_of(one) for name, one in hardware.items()
        }

    def enter(self) -> None:
        """Give the model's layers this structure."""
        if any(layer.crossbar != self.structure[layer.name] for layer in self.layers):
            set_hardware(self.model, self.structure)

    def predict(
        self,
        inputs: Any,
        hardware: Mapping[str, Crossbar],
        *,
        chip_seed: int,
        seconds: float,
        drift_compensation: bool = True,
        labels: Any = None,
    ) -> Any:
        """Return the outputs of one chip.

        Args:
            inputs: as for `Runner.predict`.
            hardware: the crossbar of each analog layer by name; one that `fits`.
            chip_seed: of the chip.
            seconds: since programming.
            drift_compensation: whether to scale the outputs back.
            labels: as for `Runner.predict`.
        """
        self.enter()
        own = [hardware[layer.name] for layer in self.layers]
        self.arithmetic.numbers = as_tensors([numbers_of(cells_of(one)) for one in own])
        self.runner.numbers = as_tensors([numbers_of(one) for one in own])
        reads = self._read([numbers_of(cells_of(one)) for one in own], chip_seed, seconds)
        self.runner.load(reads, drift_compensation=drift_compensation)
        return self.runner.predict(inputs, labels)

    def _read(self, cells: Sequence[Numbers], chip_seed: int, seconds: float) -> Any:
        """Return what a chip's devices hold; a chip whose cells have been the same before is not programmed again."""
        key = (chip_seed, seconds, tuple(tuple(sorted(one.items())) for one in cells))
        if key not in self._reads:
            chip = Chip(0, chip_seed, self.arithmetic.program(self.layers, chip_seed))
            reads = self.arithmetic.read(chip.layers, seconds, chip_seed)
            size = sum(4 * math.prod(layer.crossbar_shape()) for layer in self.layers)
            if self._held + size > HELD_BYTES:
                return reads
            self._reads[key] = reads
            self._held += size
        return self._reads[key]
