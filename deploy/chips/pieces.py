"""Large kernels programmed and read in pieces, with the numbers of the whole, and little more than one in memory.

Every device is computed by itself, so a piece of a kernel needs its own random draws and nothing else. TensorFlow draws
float32 numbers with the Philox generator, in groups of four with a counter that is one more for each group: a piece
starts at the counter of its first group.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from analognets.core.stored_arrays import StoredArray
from analognets.crossbar import Crossbar, Tiling, program_with, programming_draws, read_draws, read_with
from analognets.deploy.chips.compiled import compiled
from analognets.devices.draws import drawn_by
from analognets.layers import AnalogLayer

__all__ = ["PIECE", "KernelPieces", "Piece", "computes_in_pieces", "state_arrays"]

PIECE = 1 << 18
"""Devices per polarity that are computed at once."""
ALIGNED = 16
"""Pieces hold a multiple of so many numbers: vector instructions then meet the same numbers as in the whole kernel."""
GROUP = 4
"""Numbers that the generator draws with one value of its counter."""
WORD = 1 << 64

Put = Callable[[str, tuple[int, ...], "Piece", np.ndarray], None]


@dataclasses.dataclass(frozen=True)
class Piece:
    """Some rows of a kernel, as a matrix with one column for each output; or all of it, in its own shape.

    Args:
        kernel: shape (..., inputs, outputs) of the kernel.
        first: first row.
        last: row after the last one.
        whole: whether it is computed in the kernel's own shape.
    """

    kernel: tuple[int, ...]
    first: int
    last: int
    whole: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in which it is computed."""
        return self.kernel if self.whole else (self.last - self.first, self.kernel[-1])

    @property
    def start(self) -> int:
        """Its first number in the kernel, in C order."""
        return self.first * self.kernel[-1]

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return (self.last - self.first) * self.kernel[-1]

    def of(self, array: Any) -> np.ndarray:
        """Return what belongs to it of an array, in memory or in a file, whose last axes are those of the kernel."""
        lead = tuple(array.shape[: len(array.shape) - len(self.kernel)])
        size, rows = math.prod(self.kernel), math.prod(lead)
        if isinstance(array, StoredArray):
            found = np.stack([array.read(row * size + self.start, self.count) for row in range(rows)])
        else:
            found = np.asarray(array).reshape(rows, size)[:, self.start : self.start + self.count]
        return found.reshape(*lead, *self.shape)

    def spread(self, gamma: np.ndarray, tiling: Tiling) -> Any:
        """Return gamma (of the layer, of each tile or of each column) for its devices."""
        if gamma.ndim == 0:
            return np.float32(gamma)
        inputs = tiling.expand(gamma)
        return inputs if self.whole else inputs[np.arange(self.first, self.last) % self.kernel[-2]]

    def draw(self, kind: str, shape: tuple[int, ...], seed: int) -> Any:
        """Return its part of the draws of the whole kernel's devices; see `analognets.devices.draws.drawn_by`."""
        lead = shape[: len(shape) - len(self.shape)]
        size = math.prod(self.kernel)
        spans = [drawn_span(kind, seed, row * size + self.start, self.count) for row in range(math.prod(lead))]
        return ops.reshape(ops.concatenate(spans, axis=0), (*lead, *self.shape))


def drawn_span(kind: str, seed: int, start: int, count: int) -> Any:
    """Return some of the numbers that `keras.random` draws with a seed for a larger array, from number `start` on."""
    import tensorflow as tf

    group = start // GROUP
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=tf.constant([seed, 0], tf.int32))
    low, high = (int(word) for word in counter.numpy())
    low, high = (low + group) % WORD, (high + (low + group) // WORD) % WORD
    draw = tf.raw_ops.StatelessRandomNormalV2 if kind == "normal" else tf.raw_ops.StatelessRandomUniformV2
    skipped = start - group * GROUP
    numbers = draw(
        shape=[skipped + count],
        key=key,
        counter=tf.constant([low, high], tf.uint64),
        alg=tf.raw_ops.StatelessRandomGetAlg(),
        dtype=tf.float32,
    )
    return numbers[skipped:]


def computes_in_pieces(crossbar: Crossbar) -> bool:
    """Whether all devices are known to be computed one by one: those of this package, on TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        return False
    device = crossbar.device
    parts = (device, getattr(device, "device", device), *crossbar.nonidealities)
    return all(type(one).__module__.startswith("analognets.") for one in parts)


def pieces(crossbar: Crossbar, kernel: tuple[int, ...]) -> Iterator[Piece]:
    """Yield the pieces of a kernel, in order."""
    rows, columns = math.prod(kernel[:-1]), kernel[-1]
    if not computes_in_pieces(crossbar):
        yield Piece(kernel, 0, rows, whole=True)
        return
    unit = ALIGNED // math.gcd(ALIGNED, columns)
    most = PIECE // max(1, getattr(crossbar.device, "copies", 1))
    step = max(1, most // (columns * unit)) * unit
    for first in range(0, rows, step):
        yield Piece(kernel, first, min(first + step, rows))


def state_arrays(crossbar: Crossbar, kernel: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the arrays that programming a kernel gives, for devices computed in pieces."""
    cell = (1,) * len(kernel)
    state = program_with(crossbar, np.zeros(cell, np.float32), 1.0, programming_draws(crossbar, cell, 0))
    return {name: (*value.shape[: -len(kernel)], *kernel) for name, value in state.items()}


class KernelPieces:
    """Programmes and reads the kernels of some hardware piece by piece; compiled once for each shape of a piece.

    Args:
        crossbar: the hardware.
    """

    def __init__(self, crossbar: Crossbar) -> None:
        self.crossbar = crossbar
        self._programs: dict[tuple[int, ...], Any] = {}
        self._reads: dict[tuple[int, ...], Any] = {}
        self._tiles: dict[tuple[int, ...], Any] = {}

    def program(self, layer: AnalogLayer, gamma: np.ndarray, seed: int, put: Put, *, at: float, reading: int) -> Any:
        """Programme a layer, and read it at once; returns what drift compensation refers to.

        Args:
            layer: its kernel is programmed.
            gamma: its weight range.
            seed: of the devices.
            put: called with the name and the shape of an array of the state, a piece, and what is in it.
            at: seconds of the reading.
            reading: its seed.
        """
        shape = layer.crossbar_shape()
        matrix = Kernel(layer)
        held = np.empty(shape, np.float32)
        for piece in pieces(self.crossbar, shape):
            with self._drawing(piece):
                draws = programming_draws(self.crossbar, piece.shape, seed)
            program = self._function(self._programs, piece.shape, self._programmed)
            state = program(matrix.of(piece), piece.spread(gamma, layer.tiling), draws)
            del draws
            for name, value in state.items():
                put(name, (*value.shape[: -len(piece.shape)], *shape), piece, ops.convert_to_numpy(value))
            if self.crossbar.drift_compensation is not None:
                self._read_piece(state, piece, at, reading, held)
        return self._responses(layer.tiling, held)

    def read(
        self, state: Mapping[str, Any], gamma: np.ndarray, tiling: Tiling, seconds: float, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a kernel as its devices hold it at a time, and what the drift compensation reads out of its tiles."""
        held = np.empty(tiling.kernel_shape, np.float32)
        for piece in pieces(self.crossbar, tiling.kernel_shape):
            part = {name: piece.of(value) for name, value in state.items()}
            self._read_piece(part, piece, seconds, seed, held)
        responses = self._responses(tiling, held)
        held *= np.float32(gamma) if gamma.ndim == 0 else tiling.expand(gamma)
        return held, responses

    def _responses(self, tiling: Tiling, held: np.ndarray) -> np.ndarray:
        """Return what `analognets.crossbar.tile_responses` does of W / gamma, tile by tile."""
        rule = self.crossbar.drift_compensation
        if rule is None:
            return np.ones(tiling.shape, np.float32)
        rows: list[list[np.ndarray]] = [[] for _ in tiling.row_blocks]
        for row_block, _, (inputs, outputs) in tiling.blocks():
            tile = np.ascontiguousarray(held[..., inputs, outputs])
            respond = self._function(self._tiles, tile.shape, self._response)
            rows[row_block].append(ops.convert_to_numpy(respond(ops.convert_to_tensor(tile))))
        return np.stack([np.concatenate(row) for row in rows])

    def _read_piece(self, state: Mapping[str, Any], piece: Piece, seconds: float, seed: int, held: np.ndarray) -> None:
        with self._drawing(piece):
            draws = read_draws(self.crossbar, piece.shape, seed)
        read = self._function(self._reads, piece.shape, self._as_read)
        values = read(dict(state), ops.convert_to_tensor(seconds, "float32"), draws)
        held.reshape(-1)[piece.start : piece.start + piece.count] = ops.convert_to_numpy(values).reshape(-1)

    def _drawing(self, piece: Piece) -> Any:
        return contextlib.nullcontext() if piece.whole else drawn_by(piece.draw)

    def _function(self, known: dict[tuple[int, ...], Any], shape: tuple[int, ...], method: Any) -> Any:
        if shape not in known:
            known[shape] = compiled(method)
        return known[shape]

    def _programmed(self, kernel: Any, gamma: Any, draws: Any) -> dict[str, Any]:
        return dict(program_with(self.crossbar, kernel, gamma, draws))

    def _as_read(self, state: Any, seconds: Any, draws: Any) -> Any:
        return read_with(self.crossbar, state, seconds, draws)

    def _response(self, tile: Any) -> Any:
        rule: Any = self.crossbar.drift_compensation
        return ops.reshape(rule.response(ops.reshape(tile, (-1, tile.shape[-1]))), (-1,))


class Kernel:
    """The kernel of a layer as `AnalogLayer.crossbar_kernel` gives it, piece by piece.

    Args:
        layer: whose it is.
    """

    def __init__(self, layer: AnalogLayer) -> None:
        self.tiling = layer.tiling
        self.values = np.asarray(layer.to_crossbar(ops.convert_to_tensor(layer.kernel_variable, "float32")))
        self.limit = np.asarray(ops.convert_to_numpy(ops.convert_to_tensor(layer.w_max)), np.float32)

    def of(self, piece: Piece) -> np.ndarray:
        """Return a piece of it, inside of +-gamma where gamma is frozen."""
        values, limit = piece.of(self.values), piece.spread(self.limit, self.tiling)
        return np.where(limit > 0, np.clip(values, -limit, limit), values)
