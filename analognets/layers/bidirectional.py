"""A recurrent layer run over a sequence in both directions."""

from __future__ import annotations

from typing import Any

import keras

from analognets.core.backend import BACKENDS
from analognets.errors import ConversionError
from analognets.layers.base import AnalogLayer

__all__ = ["AnalogBidirectional", "check_tested"]


@keras.saving.register_keras_serializable(package="analognets")
class AnalogBidirectional(keras.layers.Bidirectional):
    """`keras.layers.Bidirectional` whose two layers share their ADC gain with the layer they are made from.

    y = merge(forward(x), backward(x reversed))

    Keras makes copies of the layer, and around analog layers each copy would get a gain of its own.

    Takes every argument of `keras.layers.Bidirectional`.

    Examples:
        >>> layer = AnalogBidirectional(analognets.layers.AnalogLSTM(4, crossbar="aimc_standard"))
        >>> print(layer(np.ones((2, 5, 3))).shape)
        (2, 8)

    Source: our reconstruction.
    """

    def __init__(self, layer: Any, *args: Any, backward_layer: Any = None, **kwargs: Any) -> None:
        check_tested(type(self).__name__)
        super().__init__(layer, *args, backward_layer=backward_layer, **kwargs)
        share_gains(layer, self.forward_layer)
        if backward_layer is None:
            share_gains(layer, self.backward_layer)


def check_tested(name: str) -> None:
    """Raise a ConversionError where a wrapper around analog layers is not known to be right."""
    backend = keras.backend.backend()
    if backend not in BACKENDS:
        raise ConversionError(
            f"{name} is tested on Keras' backends {' and '.join(BACKENDS)} alone. Received: backend '{backend}'. Set "
            "KERAS_BACKEND to one of them before Keras is imported, or leave this layer digital (`exempt`)."
        )


def share_gains(source: keras.layers.Layer, copy: keras.layers.Layer) -> None:
    """Give the analog layers of a copy the ADC gains of those that they were copied from."""
    pairs = zip(source._flatten_layers(), copy._flatten_layers(), strict=True)
    for old, new in [pair for pair in pairs if isinstance(pair[0], AnalogLayer)]:
        if isinstance(new, AnalogLayer):
            new.share_gain(old.adc_gain)
