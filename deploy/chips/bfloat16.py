"""Whether products in bfloat16 are good enough for a model: both precisions run the samples that it is used for."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from analognets.deploy.evaluation import accuracy
from analognets.errors import InvalidArgumentError
from analognets.layers import AnalogLayer
from analognets.layers.calibration import run_observed
from analognets.layers.noise_realization import NoiseRealization

if TYPE_CHECKING:
    from analognets.deploy.chips.fused import FusedTwin

__all__ = [
    "CHECKED_SAMPLES",
    "LARGEST_CHANGE",
    "STEP_SAMPLES",
    "changed_decisions",
    "largest_difference",
    "largest_difference_of_layers",
    "why_not_bfloat16",
]

CHECKED_SAMPLES = 5000
"""Most samples that both precisions run."""
STEP_SAMPLES = 64
"""Samples whose products are compared ADC step by ADC step."""
LARGEST_STEPS = 1
LARGEST_CHANGE = 0.001
"""Of the accuracy: 0.1 points."""


def why_not_bfloat16(steps: float, labels: Any, exact: Any, rough: Any) -> str:
    """Return why a model should not be run with products in bfloat16, or "".

    No product may be more than one ADC step away from that in float32, for the same inputs. The accuracy may change by
    0.1 points; where there are no labels, that many decisions may.

    Args:
        steps: by how many ADC steps products differ at most.
        labels: of the samples as `analognets.deploy.accuracy` takes them, or None.
        exact: outputs with products in float32.
        rough: outputs with products in bfloat16.
    """
    if not steps <= LARGEST_STEPS:
        return f"a product in bfloat16 differs by {steps:.0f} ADC steps"
    change = _change(labels, exact, rough)
    if not change <= LARGEST_CHANGE + 1e-9:
        return f"products in bfloat16 change {100 * change:.2f} points of the decisions"
    return ""


def largest_difference(twin: FusedTwin, inputs: Any) -> float:
    """Return by how many ADC steps products in bfloat16 differ at most, each stage having the inputs of float32.

    Args:
        twin: the float32 form, with the weights of a chip.
        inputs: samples.
    """
    to_stages = keras.Model(list(twin.model.inputs), [stage.input for stage in twin.stages])
    reached = to_stages(keras.tree.flatten(inputs), training=False)
    found = [0.0]
    for stage, own in zip(twin.stages, keras.tree.flatten(reached), strict=True):
        exact, rough = (ops.convert_to_numpy(stage.adc_steps(own, kind)) for kind in ("float32", "bfloat16"))
        found.append(float(np.abs(exact - rough).max(initial=0.0)))
    return max(found)


def largest_difference_of_layers(
    model: keras.Model, layers: Sequence[AnalogLayer], now: Sequence[NoiseRealization], inputs: Any
) -> float:
    """Return the same of layers on hardware with non-idealities, with one draw of their noise for both precisions.

    Args:
        model: that has the layers.
        layers: its analog layers.
        now: what they multiply by, with whole numbers as seeds.
        inputs: samples.
    """
    found = [0.0]

    def both(layer: AnalogLayer, inputs: Any) -> Any:
        own = by_layer[id(layer)]
        total: Any = 0.0
        edges = [first for first, _ in layer.tiling.row_blocks[1:]]
        parts = ops.split(inputs, edges, axis=layer.channel_axis) if edges else [inputs]
        pairs = zip(parts, layer.tiles(own), layer.tiles(own.replace(bfloat16=True)), strict=True)
        for part, exact, rough in pairs:
            values = exact(part)
            apart = exact.in_adc_steps(values - rough(part))
            found.append(float(np.rint(np.abs(ops.convert_to_numpy(apart)).max(initial=0.0))))  # whole but for rounding
            total = total + values
        return total

    rough = [layer for layer in layers if not layer.crossbar.plain]
    by_layer = {id(layer): one for layer, one in zip(layers, now, strict=True)}
    with contextlib.ExitStack() as stack:
        for layer in layers:
            stack.enter_context(layer.fixed_noise(by_layer[id(layer)]))
        run_observed(model, rough, both, iter([inputs]))
    return max(found)


def _change(labels: Any, exact: Any, rough: Any) -> float:
    if labels is not None:
        try:
            return abs(accuracy(labels, exact) - accuracy(labels, rough))
        except InvalidArgumentError:  # several outputs, or none that are classes
            pass
    return changed_decisions(exact, rough)


def changed_decisions(exact: Any, rough: Any) -> float:
    """Return the largest share, over a model's outputs, of samples that two forms of it decide otherwise about.

    Args:
        exact: outputs of one form.
        rough: those of the other one.
    """
    pairs = zip(keras.tree.flatten(exact), keras.tree.flatten(rough), strict=True)
    return max(float(np.mean(_decided(one) != _decided(two))) for one, two in pairs)


def _decided(outputs: np.ndarray) -> np.ndarray:
    single = outputs.ndim < 2 or outputs.shape[-1] == 1
    chosen: np.ndarray = outputs > 0.5 if single else outputs.argmax(-1)
    return chosen
