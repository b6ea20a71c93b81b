"""Programming one analog layer into devices, and reading its weights back at a later time."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from keras import ops

from analognets.crossbar import conductances_to_weights, weights_to_conductances
from analognets.layers import AnalogLayer

__all__ = ["ProgrammedLayer", "ReadLayer", "program_layer", "read_layer", "stream"]

REFERENCE_READ = 0


def stream(*numbers: int) -> int:
    """Return one 31-bit seed for a path of numbers (chips seed, chip, layer, purpose, ...)."""
    return int(np.random.SeedSequence([int(n) for n in numbers]).generate_state(1)[0]) & 0x7FFFFFFF


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
        kernel: float32 of the layer's `crossbar_shape()`, in units of the digital weights.
        scale: the drift compensation of each tile, shape (row blocks, column blocks); ones if there is none.
    """

    kernel: np.ndarray
    scale: np.ndarray


def tile_responses(layer: AnalogLayer, kernel: Any) -> np.ndarray:
    """Return the drift-compensation read-out of each tile of a kernel in units of W_max."""
    compensation = layer.crossbar.drift_compensation
    responses = np.ones(layer.tiling.shape, np.float32)
    if compensation is not None:
        for i, j, (rows, cols) in layer.tiling.blocks():
            tile = kernel[..., rows, cols]
            responses[i, j] = float(compensation.response(ops.reshape(tile, (-1, tile.shape[-1]))))
    return responses


def _read_kernel(layer: AnalogLayer, programmed: ProgrammedLayer, seconds: float, seed: int) -> Any:
    """Read the kernel in units of W_max."""
    device = layer.crossbar.device
    conductances = device.read(programmed.state, seconds, seed=seed)
    return conductances_to_weights(conductances, 1.0, device.g_max)


def program_layer(layer: AnalogLayer, seed: int) -> ProgrammedLayer:
    """Write a layer's kernel into differential pairs of devices, and take the drift-compensation reference.

    Args:
        layer: a built analog layer.
        seed: one seed gives one set of devices.
    """
    device = layer.crossbar.device
    weight_max = float(ops.convert_to_numpy(layer.weight_range()))
    targets = weights_to_conductances(layer.crossbar_kernel(), weight_max, device.g_max)
    state = {name: ops.convert_to_numpy(value) for name, value in device.program(targets, stream(seed, 1)).items()}
    programmed = ProgrammedLayer(state, weight_max, np.ones(layer.tiling.shape, np.float32))
    start = getattr(device, "t_0", 0.0) if getattr(device, "drift_clock", "") == "absolute" else 0.0
    programmed.reference = tile_responses(layer, _read_kernel(layer, programmed, start, stream(seed, 2, REFERENCE_READ)))
    return programmed


def read_layer(layer: AnalogLayer, programmed: ProgrammedLayer, seconds: float, seed: int) -> ReadLayer:
    """Read a layer's weights at a time after programming.

    alpha = reference response / response now, one a tile.

    Args:
        layer: the layer the state belongs to.
        programmed: its stored state.
        seconds: time of the read in seconds.
        seed: of the chip's layer; the same seed and time give the same read noise.
    """
    kernel = _read_kernel(layer, programmed, seconds, stream(seed, 2, 1 + round(seconds * 1000)))
    scale = np.ones(layer.tiling.shape, np.float32)
    compensation = layer.crossbar.drift_compensation
    if compensation is not None:
        now = tile_responses(layer, kernel)
        for index in np.ndindex(*scale.shape):
            scale[index] = float(compensation.scale(programmed.reference[index], now[index]))
    return ReadLayer(ops.convert_to_numpy(kernel) * np.float32(programmed.weight_max), scale)
