"""What the layers of a model multiply by on a chip: the weights as read with the digital drift compensation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from analognets.layers import AnalogLayer
from analognets.layers.noise_realization import NoiseRealization

if TYPE_CHECKING:
    from analognets.deploy.chips.fused import FusedTwin

__all__ = ["compensated", "load_twin"]


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
        read = read.replace(input_scales=ops.convert_to_tensor(read.input_scales, "float32"))
    if not layer.crossbar.plain:
        scales = ops.convert_to_tensor(read.scales, "float32")
        return read.replace(scales=scales, seed=keras.random.SeedGenerator(read.seed))
    adc_range = float(ops.convert_to_numpy(layer.adc_range()))
    rows = adc_ranges(layer, adc_range, read.scales)
    ranges = [ops.convert_to_tensor(row[0] if row.size == 1 else row) for row in rows]
    return read.replace(kernel=read.kernel * layer.tiling.expand(read.scales), scales=None, adc_ranges=ranges)


def load_twin(
    twin: FusedTwin,
    layers: Sequence[AnalogLayer],
    reads: Sequence[NoiseRealization],
    drift_compensation: bool,
    *,
    refresh: bool = True,
) -> None:
    """Give a fused twin the weights of one chip at one time.

    Args:
        twin: made from the model of the layers.
        layers: the analog layers of the model.
        reads: what `Chip.read` returned, one for each of them.
        drift_compensation: scale each tile or column back to its level after programming.
        refresh: take the model's present digital numbers too; False if they are those of the last call.
    """
    if refresh or not twin.adc_ranges:
        twin.adc_ranges = [float(ops.convert_to_numpy(layer.adc_range())) for layer in layers]
        for stage, adc_range in zip(twin.stages, twin.adc_ranges, strict=True):
            stage.refresh(adc_range)
    now = [switched(read, drift_compensation) for read in reads]
    ranges = [
        adc_ranges(layer, adc_range, read.scales)[0]
        for layer, read, adc_range in zip(layers, now, twin.adc_ranges, strict=True)
    ]
    twin.load([read.kernel for read in now], ranges, [read.input_scales for read in now])
