"""Programming a model's analog layers into devices, and reading their weights back at a later time."""

from __future__ import annotations

import dataclasses
import math
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from analognets.core.stored_arrays import StoredArray
from analognets.crossbar import Crossbar, program_with, programming_draws, read_draws, read_with, tile_responses
from analognets.deploy.chips.compiled import compiled
from analognets.deploy.chips.pieces import KernelPieces, Piece, Put
from analognets.devices import Correction, derive_seed
from analognets.layers import AnalogLayer
from analognets.layers.noise_realization import NoiseRealization
from analognets.layers.ranges import over_kernel

__all__ = ["ChipArithmetic", "ProgrammedLayer", "arithmetic"]


@dataclasses.dataclass
class ProgrammedLayer:
    """The stored state of one layer on one chip.

    Args:
        state: the device's arrays, each with the differential pair as first axis of the device shape (uS, exponents);
            those of a large chip in a file are `analognets.core.stored_arrays.StoredArray`.
        weight_max: the weight that maps to g_max: a number, or an array with one per tile or per column of each row
            block.
        reference: what the drift compensation read right after programming, shape (row blocks, column blocks), or (row
            blocks, columns) if it goes by columns.
        periphery: of each row block, `analognets.crossbar.draw_periphery`.
    """

    state: dict[str, Any]
    weight_max: Any
    reference: np.ndarray
    periphery: list[dict[str, np.ndarray]] = dataclasses.field(default_factory=list)


def pair_shapes(layers: Sequence[AnalogLayer]) -> list[tuple[int, ...]]:
    """Return the shape of each layer's devices: the differential pair, then the kernel as it lies on the crossbar."""
    return [(2, *layer.crossbar_shape()) for layer in layers]


class ChipArithmetic:
    """The compiled arithmetic of programming and reading a chip; random draws and stored state come in as arguments.

    Small models are computed by one function each. The layers of larger ones come one after the other and in pieces,
    see `analognets.deploy.chips.pieces`, with the same numbers.
    """

    large_from = 1 << 22
    """Weights of a model from which it counts as large."""

    def __init__(self, layers: Sequence[AnalogLayer]) -> None:
        self.hardware = [layer.crossbar for layer in layers]
        self.tilings = [layer.tiling for layer in layers]
        self.shapes = pair_shapes(layers)
        large = sum(math.prod(shape[1:]) for shape in self.shapes) >= self.large_from
        self.is_large = large and keras.backend.backend() == "tensorflow"
        self._pieces: list[KernelPieces] = []
        self._program: Callable[..., Any] = compiled(self._programmed)
        self._read: Callable[..., Any] = compiled(self._as_read)

    def _programmed(self, kernels: list[Any], weight_maxes: list[Any], draws: list[Any]) -> list[dict[str, Any]]:
        states = []
        for hardware, kernel, weight_max, drawn in zip(self.hardware, kernels, weight_maxes, draws, strict=True):
            states.append(dict(program_with(hardware, kernel, weight_max, drawn)))
        return states

    def _as_read(
        self, states: list[Any], weight_maxes: list[Any], seconds: Any, draws: list[Any]
    ) -> list[tuple[Any, Any]]:
        """Return each kernel, and the read-out of each of its tiles that drift compensation goes by."""
        results = []
        for index, (hardware, tiling) in enumerate(zip(self.hardware, self.tilings, strict=True)):
            kernel = read_with(hardware, states[index], seconds, draws[index])
            results.append((kernel * weight_maxes[index], tile_responses(hardware, tiling, kernel)))
        return results

    def program(self, layers: Sequence[AnalogLayer], seed: int) -> list[ProgrammedLayer]:
        """Write the kernels into differential pairs of devices, and take the drift-compensation references."""
        if self.is_large:
            return [self._held(index, layer, seed) for index, layer in enumerate(layers)]
        maxes = [np.asarray(ops.convert_to_numpy(layer.weight_range()), np.float32) for layer in layers]
        seeds = [derive_seed(seed, index, "program") for index in range(len(layers))]
        draws = [
            programming_draws(hardware, shape[1:], own)
            for hardware, shape, own in zip(self.hardware, self.shapes, seeds, strict=True)
        ]
        states = self._program([layer.crossbar_kernel() for layer in layers], self._spread(maxes), draws)
        programmed = [
            ProgrammedLayer(
                {name: ops.convert_to_numpy(value) for name, value in state.items()},
                weight_max if weight_max.ndim else float(weight_max),
                np.ones(()),
                peripheries(layer, own),
            )
            for layer, state, weight_max, own in zip(layers, states, maxes, seeds, strict=True)
        ]
        self._refer(programmed, seed)
        return programmed

    def _held(self, index: int, layer: AnalogLayer, seed: int) -> ProgrammedLayer:
        """Programme one layer of a large model into memory."""
        state: dict[str, np.ndarray] = {}

        def put(name: str, shape: tuple[int, ...], piece: Piece, values: np.ndarray) -> None:
            array = state.setdefault(name, np.empty(shape, values.dtype))
            lead = math.prod(shape[: len(shape) - len(piece.kernel)])
            array.reshape(lead, -1)[:, piece.start : piece.start + piece.count] = values.reshape(lead, -1)

        return dataclasses.replace(self.program_layer(index, layer, seed, put), state=state)

    def program_layer(self, index: int, layer: AnalogLayer, seed: int, put: Put) -> ProgrammedLayer:
        """Programme one layer piece by piece; returns all that is known of it but its state, which is `put` somewhere.

        Args:
            index: of the layer.
            layer: itself.
            seed: of the chip.
            put: as for `KernelPieces.program`.
        """
        gamma = np.asarray(ops.convert_to_numpy(layer.weight_range()), np.float32)
        own, first = derive_seed(seed, index, "program"), self.first_reading
        reading = derive_seed(seed, index, "reference", repr(float(first)))
        reference = self._in_pieces(index).program(layer, gamma, own, put, at=first, reading=reading)
        return ProgrammedLayer({}, gamma if gamma.ndim else float(gamma), reference, peripheries(layer, own))

    def _in_pieces(self, index: int) -> KernelPieces:
        """Return what computes a layer's kernel in pieces; layers on equal hardware share it."""
        for known in self._pieces:
            if known.crossbar == self.hardware[index]:
                return known
        self._pieces.append(KernelPieces(self.hardware[index]))
        return self._pieces[-1]

    @property
    def first_reading(self) -> float:
        """Seconds from programming to the reading that drift compensation refers to."""
        return max(hardware.device.first_reading for hardware in self.hardware)

    def take_references(self, layers: Sequence[AnalogLayer], programmed: Sequence[ProgrammedLayer], seed: int) -> None:
        """Draw the periphery of a chip whose devices are given, and take its drift-compensation references."""
        for index, (layer, chip) in enumerate(zip(layers, programmed, strict=True)):
            chip.periphery = peripheries(layer, derive_seed(seed, index, "program"))
        self._refer(programmed, seed)

    def _refer(self, programmed: Sequence[ProgrammedLayer], seed: int) -> None:
        results = self._read_at(programmed, self.first_reading, seed, "reference")
        for layer, (_, responses) in zip(programmed, results, strict=True):
            layer.reference = responses

    def read(self, programmed: Sequence[ProgrammedLayer], seconds: float, seed: int) -> list[NoiseRealization]:
        """Read all layers of a chip at a time, with what the drift compensation corrects then."""
        reads = []
        results = self._read_at(programmed, seconds, seed, "read")
        for index, (hardware, layer, (kernel, responses)) in enumerate(
            zip(self.hardware, programmed, results, strict=True)
        ):
            scales, input_scales = drift_correction(hardware, layer.reference, responses)
            own = derive_seed(seed, index, "products", repr(float(seconds)))
            reads.append(
                NoiseRealization(kernel, scales=scales, input_scales=input_scales, periphery=layer.periphery, seed=own)
            )
        return reads

    def _spread(self, maxes: Sequence[Any]) -> list[Any]:
        """Return each gamma as a number, or with one number per input and output of the kernel."""
        return [
            np.float32(gamma) if np.ndim(gamma) == 0 else ops.convert_to_numpy(over_kernel(gamma, tiling))
            for gamma, tiling in zip(maxes, self.tilings, strict=True)
        ]

    def _read_at(
        self, programmed: Sequence[ProgrammedLayer], seconds: float, seed: int, purpose: str
    ) -> Iterable[tuple[Any, np.ndarray]]:
        for hardware, layer in zip(self.hardware, programmed, strict=True):
            hardware.device.check_state(layer.state)
        stored = any(isinstance(one, StoredArray) for layer in programmed for one in layer.state.values())
        if (self.is_large or stored) and all(one.drift_compensation is not None for one in self.hardware):
            return (self._read_layer(index, layer, seconds, seed, purpose) for index, layer in enumerate(programmed))
        draws = [
            read_draws(hardware, shape[1:], derive_seed(seed, index, purpose, repr(float(seconds))))
            for index, (hardware, shape) in enumerate(zip(self.hardware, self.shapes, strict=True))
        ]
        maxes = self._spread([layer.weight_max for layer in programmed])
        time = ops.convert_to_tensor(seconds, "float32")
        # Where nothing but the product reads W / gamma, TensorFlow chooses the order of factors by the whole function.
        states = [{name: whole(value) for name, value in layer.state.items()} for layer in programmed]
        results = self._read(states, maxes, time, draws)
        return [(kernel, ops.convert_to_numpy(responses)) for kernel, responses in results]

    def _read_layer(
        self, index: int, layer: ProgrammedLayer, seconds: float, seed: int, purpose: str
    ) -> tuple[Any, np.ndarray]:
        """Read one layer piece by piece."""
        own, arithmetic = derive_seed(seed, index, purpose, repr(float(seconds))), self._in_pieces(index)
        gamma = np.asarray(layer.weight_max, np.float32)
        held, responses = arithmetic.read(layer.state, gamma, self.tilings[index], seconds, own)
        return ops.convert_to_tensor(held), responses


def whole(array: Any) -> Any:
    """Return an array as it is, or read from its file."""
    return np.asarray(array) if isinstance(array, StoredArray) else array


def peripheries(layer: AnalogLayer, seed: int) -> list[dict[str, np.ndarray]]:
    """Draw the periphery of each row block of a chip."""
    if layer.crossbar.plain:
        return []
    drawn = layer.draw_periphery([derive_seed(seed, "chip", block) for block in range(layer.tiling.shape[0])])
    return [{name: np.asarray(ops.convert_to_numpy(value)) for name, value in one.items()} for one in drawn]


def drift_correction(hardware: Crossbar, reference: np.ndarray, responses: np.ndarray) -> Correction:
    """Return what the drift compensation corrects by: ones where there is none."""
    rule = hardware.drift_compensation
    return Correction(np.ones_like(responses)) if rule is None else rule.correction(reference, responses)


_arithmetic: weakref.WeakKeyDictionary[AnalogLayer, ChipArithmetic] = weakref.WeakKeyDictionary()


def arithmetic(layers: Sequence[AnalogLayer]) -> ChipArithmetic:
    """Return the compiled arithmetic of a model's analog layers; it is traced once however many chips there are."""
    compiled = _arithmetic.get(layers[0])
    made_for = [layer.crossbar for layer in layers], pair_shapes(layers)
    if compiled is None or (compiled.hardware, compiled.shapes) != made_for:
        compiled = _arithmetic[layers[0]] = ChipArithmetic(layers)
    return compiled
