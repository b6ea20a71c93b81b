"""Programming one analog layer into devices, and reading its weights back at a later time."""

from __future__ import annotations

import dataclasses
import functools
import weakref
from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

from analognets.crossbar import conductances_to_weights, weights_to_conductances
from analognets.devices import derive_seed
from analognets.layers import AnalogLayer

__all__ = ["ProgrammedLayer", "ReadLayer", "program_layer", "read_layer"]


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


class LayerArithmetic:
    """The compiled arithmetic of programming and reading one layer; random draws and state come in as arguments."""

    def __init__(self, layer: AnalogLayer) -> None:
        self.device = layer.crossbar.device
        self.compensation = layer.crossbar.drift_compensation
        self.tiling = layer.tiling
        self.shape = (2, *layer.crossbar_shape())
        # TensorFlow counts traces for its warning by code object; a partial of its own keeps the layers apart.
        self.program = tf.function(functools.partial(self._program), autograph=False)
        self.read = tf.function(functools.partial(self._read), autograph=False)

    def _program(self, kernel: Any, weight_max: Any, draws: dict[str, Any]) -> dict[str, Any]:
        targets = weights_to_conductances(kernel, weight_max, self.device.g_max)
        return dict(self.device.program_with(targets, draws))

    def _read(self, state: dict[str, Any], seconds: Any, draws: dict[str, Any]) -> tuple[Any, Any]:
        """Return the kernel in units of W_max, and the read-out of each tile that drift compensation goes by."""
        conductances = self.device.read_with(state, seconds, draws)
        kernel = conductances_to_weights(conductances, 1.0, self.device.g_max)
        if self.compensation is None:
            return kernel, tf.ones(self.tiling.shape)
        tiles = [kernel[..., rows, cols] for _, _, (rows, cols) in self.tiling.blocks()]
        responses = [self.compensation.response(ops.reshape(tile, (-1, tile.shape[-1]))) for tile in tiles]
        return kernel, tf.reshape(tf.stack(responses), self.tiling.shape)

    def read_at(self, state: dict[str, Any], seconds: float, seed: int) -> tuple[Any, np.ndarray]:
        """Read at a time; one seed for one reading."""
        draws = self.device.read_draws(self.shape, seed)
        kernel, responses = self.read(state, tf.constant(seconds, tf.float32), draws)
        return kernel, responses.numpy()


_arithmetic: weakref.WeakKeyDictionary[AnalogLayer, tuple[Any, LayerArithmetic]] = weakref.WeakKeyDictionary()


def arithmetic(layer: AnalogLayer) -> LayerArithmetic:
    """Return the layer's compiled arithmetic; it is traced once however many chips there are."""
    hardware, compiled = _arithmetic.get(layer, (None, None))
    if compiled is None or hardware != layer.crossbar:
        compiled = LayerArithmetic(layer)
        _arithmetic[layer] = (layer.crossbar, compiled)
    return compiled


def first_reading(device: Any) -> float:
    """Return the time in seconds at which the reference for drift compensation is read."""
    return float(device.t_0) if getattr(device, "drift_clock", None) == "absolute" else 0.0


def program_layer(layer: AnalogLayer, seed: int) -> ProgrammedLayer:
    """Write a layer's kernel into differential pairs of devices, and take the drift-compensation reference.

    Args:
        layer: a built analog layer.
        seed: one seed gives one set of devices.
    """
    compiled = arithmetic(layer)
    weight_max = float(ops.convert_to_numpy(layer.weight_range()))
    draws = compiled.device.programming_draws(compiled.shape, derive_seed(seed, "program"))
    state = compiled.program(layer.crossbar_kernel(), tf.constant(weight_max, tf.float32), draws)
    seconds = first_reading(compiled.device)
    _, reference = compiled.read_at(state, seconds, derive_seed(seed, "reference"))
    return ProgrammedLayer({name: value.numpy() for name, value in state.items()}, weight_max, reference)


def read_layer(layer: AnalogLayer, programmed: ProgrammedLayer, seconds: float, seed: int) -> ReadLayer:
    """Read a layer's weights at a time after programming.

    alpha = reference response / response now, one a tile.

    Args:
        layer: the layer the state belongs to.
        programmed: its stored state.
        seconds: time of the read in seconds.
        seed: of the chip's layer; the same seed and time give the same read noise.
    """
    kernel, responses = arithmetic(layer).read_at(programmed.state, seconds, derive_seed(seed, "read", repr(seconds)))
    compensation = layer.crossbar.drift_compensation
    scale = np.ones_like(responses)
    if compensation is not None:
        scale = np.asarray(compensation.scale(programmed.reference, responses))
    return ReadLayer(kernel * np.float32(programmed.weight_max), scale)
