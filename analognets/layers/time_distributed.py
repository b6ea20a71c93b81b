"""An analog layer applied to every step of a sequence."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
from keras import ops

from analognets.errors import InvalidArgumentError
from analognets.layers.base import AnalogLayer
from analognets.layers.bidirectional import check_tested

__all__ = ["AnalogTimeDistributed"]


@keras.saving.register_keras_serializable(package="analognets")
class AnalogTimeDistributed(keras.layers.TimeDistributed):
    """`keras.layers.TimeDistributed` around a layer or block with analog layers: one crossbar, read for each step.

    y[:, t] = layer(x[:, t])

    All steps of a batch see the same training noise, as they would see the same programmed weights: time is folded into
    the batch or, around a block with batch normalisation, whose statistics go by step, the noise is fixed.
    Around any other layer it does what `keras.layers.TimeDistributed` does.

    Args:
        layer: the analog layer, or a block with analog layers in it.

    Examples:
        >>> layer = AnalogTimeDistributed(analognets.layers.AnalogDense(2))
        >>> print(layer(np.ones((4, 5, 3))).shape)
        (4, 5, 2)

    Source: our reconstruction.
    """

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        check_tested(type(self).__name__)
        super().__init__(layer, **kwargs)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        inner = self.layer._flatten_layers()
        analog = [layer for layer in inner if isinstance(layer, AnalogLayer)]
        if not analog:
            return super().call(inputs, training=training, mask=mask)
        if any(isinstance(layer, keras.layers.BatchNormalization) for layer in inner):
            with contextlib.ExitStack() as stack:
                for layer in analog:
                    stack.enter_context(layer.fixed_noise(layer.realization_of_loop(training)))
                return super().call(inputs, training=training, mask=mask)
        check_mask(self.name, mask, inputs)
        shape = ops.shape(inputs)
        settings: dict[str, Any] = {"training": training} if self.layer._call_has_training_arg else {}
        if mask is not None and self.layer._call_has_mask_arg:
            settings["mask"] = ops.reshape(mask, (-1, *ops.shape(mask)[2:]))
        outputs = self.layer(ops.reshape(inputs, (-1, *shape[2:])), **settings)
        outputs = ops.cast(outputs, self.compute_dtype)
        return ops.reshape(outputs, (-1, shape[1], *ops.shape(outputs)[1:]))


def check_mask(name: str, mask: Any, inputs: Any) -> None:
    """Raise an InvalidArgumentError if a mask is not one of the samples and steps of the inputs, as far as is known."""
    shape = None if mask is None else tuple(mask.shape)
    if shape is None:
        return
    pairs = zip(shape[:2], tuple(inputs.shape)[:2], strict=True) if len(shape) >= 2 else ()
    if len(shape) < 2 or any(None not in pair and pair[0] != pair[1] for pair in pairs):
        raise InvalidArgumentError(
            f"`mask` of '{name}' must have the samples and steps of the inputs as its first two axes, which are "
            f"{tuple(inputs.shape)[:2]}. Received: a mask of shape {shape}."
        )
