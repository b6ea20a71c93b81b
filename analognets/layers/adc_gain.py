"""The ADC gain S that the layers of a model share."""

from __future__ import annotations

from typing import Any

import keras

from analognets.errors import check_number

__all__ = ["ADCGain"]


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
        self.built = True

    def call(self, inputs: Any) -> Any:
        return inputs

    def get_config(self) -> dict[str, Any]:
        """Return the configuration as plain data."""
        return {**super().get_config(), "initial": self.initial}
