"""The compiled arithmetic of chips belongs to all layers of a model, not to its first one."""

from __future__ import annotations

import keras
import numpy as np

from analognets.deploy.chips.chips import program
from analognets.layers import ADCGain, AnalogDense, calibrate


def test_models_that_share_their_first_layer_have_chips_of_their_own_shapes() -> None:
    inputs = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
    first, gain = AnalogDense(4), ADCGain()
    for units in (3, 5):
        source = keras.Input((6,))
        model = keras.Model(source, AnalogDense(units, adc_gain=gain)(first(source)))
        calibrate(model, inputs)
        chips = program(model, 1)
        assert chips.chips[0].layers[1].state["conductance"].shape == (2, 4, units)
        assert chips.predict(inputs).shape == (20, units)
