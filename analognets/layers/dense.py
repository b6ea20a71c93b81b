"""Dense layer on a crossbar."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from analognets.layers.base import AnalogLayer

__all__ = ["AnalogDense"]


@keras.saving.register_keras_serializable(package="analognets")
class AnalogDense(AnalogLayer, keras.layers.Dense):
    """Dense layer computed on crossbar tiles: y = activation(bias + ADC(DAC(x) W)).

    Takes every argument of `keras.layers.Dense` and those of `analognets.layers.base.AnalogLayer`
    (crossbar, weight_noise, adc_gain, calibrated, seed). Input (..., inputs), output (..., units); a row of the tile
    is an input, a column a unit. With ideal converters and no noise it equals `keras.layers.Dense`.

    Raises:
        InvalidArgumentError: an argument is out of range.

    Source: as `AnalogLayer`.

    Examples:
        >>> layer = AnalogDense(10, crossbar="aon_cim_8bit", weight_noise=0.05)
        >>> print(layer(np.ones((2, 8))).shape)
        (2, 10)
    """

    def product(self, inputs: Any, kernel: Any) -> Any:
        return ops.matmul(inputs, kernel)

    def adapter_product(self, inputs: Any, a: Any, b: Any) -> Any:
        """Return (x A) B, which is cheaper than x (A B)."""
        return ops.matmul(ops.matmul(inputs, a), b)
