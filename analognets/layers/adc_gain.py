"""The ADC gain S that the layers of a model share."""

from __future__ import annotations

import uuid
import weakref
from typing import Any

import keras

from analognets.errors import check_number

__all__ = ["ADCGain", "gain_from_config", "gain_to_config"]


class PositiveRange(keras.constraints.Constraint):
    """Keep a converter's range or gain above a small positive number."""

    smallest = 1e-6

    def __call__(self, w: Any) -> Any:
        return keras.ops.maximum(w, self.smallest)


@keras.saving.register_keras_serializable(package="analognets")
class ADCGain(keras.layers.Layer):
    """One trainable number S that ties every layer's converter ranges: r_ADC = S * r_DAC * W_max.

    The full scale of the ADCs is one fixed current on the chip, so a layer can't choose it for itself. Give the same
    object to several analog layers and they share it, in training and through `.keras` files.

    Args:
        initial: value before calibration, > 0.

    Source: AnalogNets (arXiv 2111.06503), the fixed ADC gain (from memory).
    """

    def __init__(self, initial: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initial = check_number("ADCGain", "initial", initial, PositiveRange.smallest, 1e9)
        self.gain = self.add_weight(
            name="gain",
            shape=(),
            initializer=keras.initializers.Constant(self.initial),
            constraint=PositiveRange(),
            dtype="float32",
            autocast=False,
        )
        self.identity = uuid.uuid4().int >> 65
        self.copied_for: set[int] = set()
        self.built = True

    def call(self, inputs: Any) -> Any:
        return inputs

    def get_config(self) -> dict[str, Any]:
        """Return the configuration as plain data."""
        return {**super().get_config(), "initial": self.initial}


_copies: weakref.WeakValueDictionary[int, ADCGain] = weakref.WeakValueDictionary()


def gain_to_config(gain: ADCGain, layer: keras.layers.Layer) -> dict[str, Any]:
    """Return the config of a layer's ADC gain, with a mark by which the layers that share it find each other again.

    Keras marks shared objects in files too, but not those in the layers of nested models.
    """
    config = keras.saving.serialize_keras_object(gain)
    return {**config, "shared_object_id": gain.identity, "layer": id(layer)}


def gain_from_config(config: dict[str, Any]) -> ADCGain:
    """Return the ADC gain of a config: one object for all layers that shared it.

    Inside of `keras.models.load_model` Keras knows what belongs together. In `from_config` and `clone_model` nothing
    does, so layers with the same mark get the same copy until one of them comes a second time: a new model begins.
    """
    config = dict(config)
    layer = config.pop("layer", None)
    gain = keras.saving.deserialize_keras_object(config)
    mark = config.get("shared_object_id")
    if mark is None or gain is keras.saving.deserialize_keras_object(config):
        return gain
    known = _copies.get(mark)
    if known is not None and layer not in known.copied_for:
        gain = known
    _copies[mark] = gain
    gain.copied_for.add(layer)
    return gain
