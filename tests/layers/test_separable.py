"""Separable convolutions as two products, against Keras'."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from analognets.conversion import to_analog, to_digital
from analognets.crossbar import Crossbar
from analognets.deploy.chips.chips import program
from analognets.devices import IdealDevice
from analognets.layers import AnalogSeparableConv1D, AnalogSeparableConv2D, analog_layers, calibrate

L = keras.layers
IDEAL = Crossbar(dac_bits=None, adc_bits=None)
TWINS = {
    AnalogSeparableConv1D: (L.SeparableConv1D, (3, 9, 4)),
    AnalogSeparableConv2D: (L.SeparableConv2D, (3, 8, 7, 4)),
}


@pytest.mark.parametrize("kind", TWINS)
@pytest.mark.parametrize(
    "settings", [{}, {"padding": "same", "strides": 2, "activation": "relu"}, {"dilation_rate": 2, "use_bias": False}]
)
def test_equal_to_keras(kind, settings) -> None:
    plain_class, shape = TWINS[kind]
    settings = {"filters": 5, "kernel_size": 3, "depth_multiplier": 2, **settings}
    made, plain = kind(**settings, crossbar=IDEAL, calibrated=True), plain_class(**settings)
    inputs = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    made(inputs), plain(inputs)
    made.load_from(plain)
    for training in (False, True):
        np.testing.assert_allclose(made(inputs, training=training), plain(inputs), rtol=1e-5, atol=1e-6)
    assert made.compute_output_shape(shape) == plain.compute_output_shape(shape)
    again = kind.from_config(made.get_config())
    again(inputs)
    again.load_from(plain)
    np.testing.assert_allclose(again(inputs), plain(inputs), rtol=1e-5, atol=1e-6)


def test_converted_programmed_and_one_product_left_digital(tmp_path) -> None:
    inputs = keras.Input((8, 8, 3))
    x = L.SeparableConv2D(6, 3, activation="relu", name="sep")(inputs)
    model = keras.Model(inputs, L.Dense(2, name="out")(L.GlobalAveragePooling2D()(x)))
    data = np.random.default_rng(0).normal(size=(10, 8, 8, 3)).astype(np.float32)
    hardware = Crossbar(dac_bits=14, adc_bits=14, device=IdealDevice())
    for exempt, names in (
        ((), {"sep_depthwise", "sep_pointwise"}),
        ("sep_depthwise", {"sep_pointwise"}),
        ("sep", set()),
    ):
        analog = to_analog(model, hardware, exempt=exempt)
        assert {layer.name for layer in analog_layers(analog)} - {"dense"} == names | {model.layers[-1].name} - {
            "dense"
        }
        calibrate(analog, data)
        np.testing.assert_allclose(program(analog, 1).predict(data), model(data), atol=2e-3)
        analog.save(tmp_path / "model.keras")
        np.testing.assert_allclose(keras.models.load_model(tmp_path / "model.keras")(data), analog(data), rtol=1e-5)
        np.testing.assert_allclose(to_digital(analog)(data), model(data), rtol=1e-5, atol=1e-6)
