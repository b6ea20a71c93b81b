"""Whether products in bfloat16 are good enough for a model: both precisions run the samples that it is used for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from analognets.deploy.evaluation import accuracy
from analognets.errors import InvalidArgumentError

if TYPE_CHECKING:
    from analognets.deploy.chips.fused import FusedTwin

__all__ = ["CHECKED_SAMPLES", "largest_difference", "why_not_bfloat16"]

CHECKED_SAMPLES = 5000
"""Most samples that both precisions run."""
STEP_SAMPLES = 64
"""Samples whose products are compared ADC step by ADC step."""
LARGEST_STEPS = 1
LARGEST_CHANGE = 0.001
"""Of the accuracy: 0.1 points."""


def why_not_bfloat16(twin: FusedTwin, inputs: Any, labels: Any, exact: Any, rough: Any) -> str:
    """Return why a model should not be run with products in bfloat16, or "".

    No product may be more than one ADC step away from that in float32, for the same inputs. The accuracy may change by
    0.1 points; where there are no labels, that many decisions may.

    Args:
        twin: the float32 form, with the weights of a chip.
        inputs: samples.
        labels: of the samples as `analognets.deploy.accuracy` takes them, or None.
        exact: outputs with products in float32.
        rough: outputs with products in bfloat16.
    """
    some = keras.tree.map_structure(lambda leaf: leaf[:STEP_SAMPLES], inputs)
    steps = largest_difference(twin, some)
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


def _change(labels: Any, exact: Any, rough: Any) -> float:
    if labels is not None:
        try:
            return abs(accuracy(labels, exact) - accuracy(labels, rough))
        except InvalidArgumentError:  # several outputs, or none that are classes
            pass
    pairs = zip(keras.tree.flatten(exact), keras.tree.flatten(rough), strict=True)
    return max(float(np.mean(_decided(one) != _decided(two))) for one, two in pairs)


def _decided(outputs: np.ndarray) -> np.ndarray:
    single = outputs.ndim < 2 or outputs.shape[-1] == 1
    chosen: np.ndarray = outputs > 0.5 if single else outputs.argmax(-1)
    return chosen
