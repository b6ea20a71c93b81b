"""An analog layer applied to every step of a sequence."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from analognets.layers.base import AnalogLayer

__all__ = ["AnalogTimeDistributed"]


@keras.saving.register_keras_serializable(package="analognets")
class AnalogTimeDistributed(keras.layers.TimeDistributed):
    """`keras.layers.TimeDistributed` around an analog layer: one crossbar, read once for each step.

    y[:, t] = layer(x[:, t])

    Time is folded into the batch, so that all steps of a batch see the same training noise, as they would see the same
    programmed weights. Around any other layer it does what `keras.layers.TimeDistributed` does.

    Args:
        layer: the analog layer.

    Source: our reconstruction.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not isinstance(self.layer, AnalogLayer):
            return super().call(inputs, training=training, mask=mask)
        shape = ops.shape(inputs)
        outputs = self.layer(ops.reshape(inputs, (-1, *shape[2:])), training=training)
        return ops.reshape(outputs, (-1, shape[1], *ops.shape(outputs)[1:]))
