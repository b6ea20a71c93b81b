"""Programming a model's analog layers into devices, and reading their weights back at a later time."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

from analognets.crossbar import Crossbar, Tiling, conductances_to_weights, weights_to_conductances
from analognets.deploy.compiled import compiled
from analognets.devices import derive_seed
from analognets.layers import AnalogLayer

__all__ = ["ChipArithmetic", "ProgrammedLayer", "ReadLayer", "arithmetic"]


@dataclasses.dataclass
class ProgrammedLayer:
    """The stored state of one layer on one chip.

    Args:
        state: the device's arrays, each with the differential pair as first axis of the device shape (uS, exponents).
        weight_max: the weight that maps to g_max.
        reference: response of each tile right after programming, shape (row blocks, column blocks).
    """

    state: dict[str, np.ndarray]
    weight_max: float
    reference: np.ndarray


@dataclasses.dataclass
class ReadLayer:
    """The weights of one layer as read at one time.

    Args:
        kernel: float32 tensor of the layer's `crossbar_shape()`, in units of the digital weights.
        scale: the drift compensation of each tile, shape (row blocks, column blocks); ones if there is none.
    """

    kernel: Any
    scale: np.ndarray


def pair_shapes(layers: Sequence[AnalogLayer]) -> list[tuple[int, ...]]:
    """Return the shape of each layer's devices: the differential pair, then the kernel as it lies on the crossbar."""
    return [(2, *layer.crossbar_shape()) for layer in layers]


class ChipArithmetic:
    """The compiled arithmetic of programming and reading a chip; random draws and stored state come in as arguments."""

    def __init__(self, layers: Sequence[AnalogLayer]) -> None:
        self.hardware = [layer.crossbar for layer in layers]
        self.tilings = [layer.tiling for layer in layers]
        self.shapes = pair_shapes(layers)
        self._program = compiled(self._programmed)
        self._read = compiled(self._as_read)

    def _programmed(self, kernels: list[Any], weight_maxes: list[Any], draws: list[Any]) -> list[dict[str, Any]]:
        states = []
        for hardware, kernel, weight_max, drawn in zip(self.hardware, kernels, weight_maxes, draws, strict=True):
            targets = weights_to_conductances(kernel, weight_max, hardware.device.g_max)
            states.append(dict(hardware.device.program_with(targets, drawn)))
        return states

    def _as_read(
        self, states: list[Any], weight_maxes: list[Any], seconds: Any, draws: list[Any]
    ) -> list[tuple[Any, Any]]:
        """Return each kernel, and the read-out of each of its tiles that drift compensation goes by."""
        results = []
        for index, (hardware, tiling) in enumerate(zip(self.hardware, self.tilings, strict=True)):
            conductances = hardware.device.read_with(states[index], seconds, draws[index])
            kernel = conductances_to_weights(conductances, 1.0, hardware.device.g_max)
            results.append((kernel * weight_maxes[index], tile_responses(hardware, tiling, kernel)))
        return results

    def program(self, layers: Sequence[AnalogLayer], seed: int) -> list[ProgrammedLayer]:
        """Write the kernels into differential pairs of devices, and take the drift-compensation references."""
        maxes = [np.float32(ops.convert_to_numpy(layer.weight_range())) for layer in layers]
        draws = [
            hardware.device.programming_draws(shape, derive_seed(seed, index, "program"))
            for index, (hardware, shape) in enumerate(zip(self.hardware, self.shapes, strict=True))
        ]
        states = self._program([layer.crossbar_kernel() for layer in layers], maxes, draws)
        programmed = [
            ProgrammedLayer({name: value.numpy() for name, value in state.items()}, float(weight_max), np.ones(()))
            for state, weight_max in zip(states, maxes, strict=True)
        ]
        first = [hardware.device.first_reading for hardware in self.hardware]
        for layer, (_, responses) in zip(
            programmed, self._read_at(programmed, max(first), seed, "reference"), strict=True
        ):
            layer.reference = responses
        return programmed

    def read(self, programmed: Sequence[ProgrammedLayer], seconds: float, seed: int) -> list[ReadLayer]:
        """Read all layers of a chip at a time: alpha = reference response / response now, one a tile."""
        reads = []
        for hardware, layer, (kernel, responses) in zip(
            self.hardware, programmed, self._read_at(programmed, seconds, seed, "read"), strict=True
        ):
            scale = np.ones_like(responses)
            if hardware.drift_compensation is not None:
                scale = np.asarray(hardware.drift_compensation.scale(layer.reference, responses))
            reads.append(ReadLayer(kernel, scale))
        return reads

    def _read_at(
        self, programmed: Sequence[ProgrammedLayer], seconds: float, seed: int, purpose: str
    ) -> list[tuple[Any, np.ndarray]]:
        draws = [
            hardware.device.read_draws(shape, derive_seed(seed, index, purpose, repr(float(seconds))))
            for index, (hardware, shape) in enumerate(zip(self.hardware, self.shapes, strict=True))
        ]
        for hardware, layer in zip(self.hardware, programmed, strict=True):
            hardware.device.check_state(layer.state)
        maxes = [np.float32(layer.weight_max) for layer in programmed]
        results = self._read([layer.state for layer in programmed], maxes, tf.constant(seconds, tf.float32), draws)
        return [(kernel, responses.numpy()) for kernel, responses in results]


def tile_responses(hardware: Crossbar, tiling: Tiling, kernel: Any) -> Any:
    """Return the read-out of each tile of a kernel in units of W_max, shape (row blocks, column blocks)."""
    if hardware.drift_compensation is None:
        return tf.ones(tiling.shape)
    tiles = [kernel[..., rows, cols] for _, _, (rows, cols) in tiling.blocks()]
    responses = [hardware.drift_compensation.response(ops.reshape(tile, (-1, tile.shape[-1]))) for tile in tiles]
    return tf.reshape(tf.stack(responses), tiling.shape)


_arithmetic: weakref.WeakKeyDictionary[AnalogLayer, ChipArithmetic] = weakref.WeakKeyDictionary()


def arithmetic(layers: Sequence[AnalogLayer]) -> ChipArithmetic:
    """Return the compiled arithmetic of a model's analog layers; it is traced once however many chips there are."""
    compiled = _arithmetic.get(layers[0])
    made_for = [layer.crossbar for layer in layers], pair_shapes(layers)
    if compiled is None or (compiled.hardware, compiled.shapes) != made_for:
        compiled = _arithmetic[layers[0]] = ChipArithmetic(layers)
    return compiled
