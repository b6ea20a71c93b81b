"""Running a model with the weights read from a chip: one compiled function, weights exchanged between calls."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from analognets.deploy.chips.compiled import compiled
from analognets.deploy.chips.fused import fused_twin
from analognets.deploy.evaluation import samples_in
from analognets.errors import InvalidArgumentError, check_choice, check_integer
from analognets.layers import AnalogLayer, analog_layers
from analognets.layers.noise_realization import NoiseRealization

__all__ = ["Runner", "compensated"]


def adc_ranges(layer: AnalogLayer, adc_range: float, scale: np.ndarray) -> np.ndarray:
    """Return the ADC ranges behind the drift compensation: a row for each row block, one number or one per column."""
    columns = scale if scale.shape[1] == 1 else layer.tiling.expand(scale)[[a for a, _ in layer.tiling.row_blocks]]
    return (adc_range * columns).astype(np.float32)


def switched(read: NoiseRealization, drift_compensation: bool) -> NoiseRealization:
    """Return the weights as read with their drift compensation, or with factors of 1 in its place."""
    if drift_compensation:
        return read
    inputs = read.input_scales
    return read.replace(scales=np.ones_like(read.scales), input_scales=None if inputs is None else np.ones_like(inputs))


def compensated(layer: AnalogLayer, read: NoiseRealization, drift_compensation: bool) -> NoiseRealization:
    """Return what a layer multiplies by: the weights as read, with the digital drift compensation or without.

    On plain hardware the compensation is folded in: alpha * ADC(y; r) = ADC(alpha * y; alpha * r), so the scale of a
    tile or column goes into its weights and its ADC range.
    """
    read = switched(read, drift_compensation)
    if read.input_scales is not None:
        read = read.replace(input_scales=tf.constant(read.input_scales, tf.float32))
    if not layer.crossbar.plain:
        return read.replace(scales=tf.constant(read.scales, tf.float32), seed=keras.random.SeedGenerator(read.seed))
    adc_range = float(keras.ops.convert_to_numpy(layer.adc_range()))
    ranges = [tf.constant(row[0] if row.size == 1 else row) for row in adc_ranges(layer, adc_range, read.scales)]
    return read.replace(kernel=read.kernel * layer.tiling.expand(read.scales), scales=None, adc_ranges=ranges)


def padded(piece: Any, size: int) -> Any:
    """Return a batch as a tensor of `size` samples, the last one repeated as often as needed."""
    missing = size - len(piece)
    if missing:
        piece = np.concatenate([piece, np.repeat(piece[-1:], missing, axis=0)])
    return tf.convert_to_tensor(piece)


class Runner:
    """Computes a model's outputs with programmed weights, without retracing from chip to chip.

    Args:
        model: a model with calibrated analog layers.
        mode: "auto", "fused" (ADC, batch-norm, ReLU and the next DAC as one pass; functional models) or "plain" (the
            layers as they are; any model).
        precision: "float32", or "bfloat16" for the products behind the converters (faster where the processor has
            bfloat16 arithmetic; about one ADC step of difference; fused mode only).
        batch_size: largest number of samples per call; batches are made equal, the last one is padded.

    Raises:
        InvalidArgumentError: the model can't be run fused but `mode` asks for it.
    """

    def __init__(
        self, model: keras.Model, *, mode: str = "auto", precision: str = "float32", batch_size: int = 100
    ) -> None:
        check_choice("Runner", "mode", mode, ("auto", "fused", "plain"))
        check_choice("Runner", "precision", precision, ("float32", "bfloat16"))
        self.model = model
        self.layers = analog_layers(model)
        self.batch_size = check_integer("Runner", "batch_size", batch_size, 1, 1 << 20)
        self.twin = None if mode == "plain" else fused_twin(model, precision)
        if self.twin is None and (mode == "fused" or precision != "float32"):
            raise InvalidArgumentError(
                "Fused evaluation needs a functional or Sequential model, not nested, in float32 policy, whose analog "
                "layers have finite converters, no split rows and no activation but ReLU. "
                f"Received: model '{model.name}', mode={mode!r}, precision={precision!r}. Use mode='plain'."
            )
        self._weights: list[Any] = []
        self._seeds = [keras.random.SeedGenerator(0) for _ in self.layers]
        self._adc_ranges: list[float] = []
        self._function = compiled(self._run)

    def _run(self, inputs: Any, weights: list[Any]) -> Any:
        if self.twin is not None:
            return self.twin.model(inputs, training=False)
        with contextlib.ExitStack() as stack:
            for layer, arrays, seed in zip(self.layers, weights, self._seeds, strict=True):
                stack.enter_context(layer.fixed_noise(NoiseRealization(**arrays, seed=seed)))
            return self.model(inputs, training=False)

    @property
    def mode(self) -> str:
        """The way the model is run: "fused" or "plain"."""
        return "plain" if self.twin is None else "fused"

    def load(self, reads: Sequence[NoiseRealization], *, drift_compensation: bool = True, refresh: bool = True) -> None:
        """Take the weights of one chip at one time.

        Args:
            reads: what `Chip.read` returned, one for each analog layer.
            drift_compensation: scale each tile back to its level after programming.
            refresh: take the model's present digital numbers too; False if they are those of the last call.
        """
        pairs = list(zip(self.layers, reads, strict=True))
        if self.twin is None:
            self._weights = [compensated(layer, read, drift_compensation).arrays for layer, read in pairs]
            for generator, (_, read) in zip(self._seeds, pairs, strict=True):
                generator.state.assign(np.array([read.seed, 0], generator.state.dtype))
            return
        if refresh or not self._adc_ranges:
            self._adc_ranges = [float(keras.ops.convert_to_numpy(layer.adc_range())) for layer in self.layers]
            for stage, adc_range in zip(self.twin.stages, self._adc_ranges, strict=True):
                stage.refresh(adc_range)
        now = [switched(read, drift_compensation) for read in reads]
        ranges = [
            adc_ranges(layer, adc_range, read.scales)[0]
            for layer, read, adc_range in zip(self.layers, now, self._adc_ranges, strict=True)
        ]
        self.twin.load([read.kernel for read in now], ranges, [read.input_scales for read in now])

    def predict(self, inputs: Any) -> Any:
        """Return the model's outputs for all samples of an array, or of a list, tuple or dict of arrays.

        The outputs come in the structure of the model's outputs.

        Raises:
            InvalidArgumentError: there is no sample, or the inputs differ in their number of samples.
        """
        pieces = list(self.batches(inputs))
        return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *pieces)

    def batches(self, inputs: Any) -> Iterator[Any]:
        """Yield the outputs batch by batch; every call has the same shape.

        Raises:
            InvalidArgumentError: there is no sample, or the inputs differ in their number of samples.
        """
        count = samples_in(inputs)
        if count == 0:
            shapes = [np.shape(leaf) for leaf in keras.tree.flatten(inputs)]
            raise InvalidArgumentError(
                f"A prediction needs at least one sample. Received: shape {', '.join(map(str, shapes))}."
            )
        size = -(-count // -(-count // self.batch_size))
        for first in range(0, count, size):
            kept = min(size, count - first)
            piece = keras.tree.map_structure(lambda leaf, i=first: padded(leaf[i : i + size], size), inputs)
            outputs = self._function(piece, self._weights)
            yield keras.tree.map_structure(lambda leaf, n=kept: leaf.numpy()[:n], outputs)

    @property
    def traces(self) -> int:
        """How often the function has been traced."""
        return int(self._function.experimental_get_tracing_count())
