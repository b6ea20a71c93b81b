"""Calibration sets the ranges from data and switches the converters on."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from analognets.conversion import to_analog
from analognets.crossbar import Crossbar
from analognets.errors import ConversionError, DataWarning, InvalidArgumentError
from analognets.layers import analog_layers, calibrate
from analognets.layers.calibration import best_gain, conversion_error

DATA = np.random.default_rng(0).normal(size=(400, 10)).astype(np.float32)


def plain() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((10,)), keras.layers.Dense(20, name="a"), keras.layers.ReLU(), keras.layers.Dense(3, name="b")]
    )


def analog(**settings) -> keras.Model:
    return to_analog(plain(), Crossbar(**settings))


def test_ranges_are_percentiles_of_the_inputs() -> None:
    model = analog()
    calibrate(model, DATA, percentile=99, batches=None)
    hidden = np.maximum(DATA @ model.get_layer("a").kernel.numpy(), 0)
    for name, values in (("a", DATA), ("b", hidden)):
        expected = np.percentile(np.abs(values), 99)
        assert float(model.get_layer(name).input_range.numpy()) == pytest.approx(expected, rel=1e-5)


def test_the_gain_has_the_least_error_of_all() -> None:
    model = analog(adc_bits=6)
    calibrate(model, DATA, batches=None)
    layers = analog_layers(model)
    hidden = np.maximum(DATA @ layers[0].kernel.numpy(), 0)
    products = [
        np.abs(x @ layer.kernel.numpy()) / float(layer.input_range * layer.weight_range())
        for layer, x in zip(layers, (DATA, hidden), strict=True)
    ]

    def error(gain: float) -> float:
        return sum(conversion_error(p, gain, 6) for p in products)

    gain = float(layers[0].adc_gain.gain.numpy())
    assert all(error(gain) <= 1.02 * error(factor * gain) for factor in np.geomspace(0.1, 10, 80))


def test_the_best_gain_of_ideal_converters_is_the_largest_product() -> None:
    products = [np.array([0.1, 0.4]), np.array([0.2, 0.7])]
    assert best_gain(products, None) == 0.7
    assert best_gain([np.zeros(3)], 8) > 0


def test_converters_are_off_before_and_on_after() -> None:
    model = analog(dac_bits=3, adc_bits=3)
    model.compile("sgd", "mse")
    before = model.predict(DATA, verbose=0)
    np.testing.assert_allclose(before, plain().predict(DATA, verbose=0), rtol=1e-5, atol=1e-6)
    calibrate(model, DATA)
    after = model.predict(DATA, verbose=0)
    assert not np.allclose(before, after), "a compiled predict function must be dropped"
    assert all(len(np.unique(np.round(column, 5))) <= 7 for column in after.T)


def test_at_8_bit_the_outputs_change_little_and_again_from_the_same_data_not_at_all() -> None:
    model = analog()
    calibrate(model, DATA)
    outputs, expected = model.predict(DATA, verbose=0), plain().predict(DATA, verbose=0)
    assert np.sqrt(np.mean((outputs - expected) ** 2)) < 0.04 * expected.std()
    weights = model.get_weights()
    calibrate(model, DATA)
    for one, two in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_every_kind_of_data() -> None:
    models = [analog() for _ in range(4)]
    labels = np.zeros(400)
    dataset = tf.data.Dataset.from_tensor_slices((DATA, labels)).batch(100)
    for model, data in zip(
        models, (DATA, dataset, dataset.map(lambda x, y: x), list(DATA.reshape(4, 100, 10))), strict=True
    ):
        calibrate(model, data)
    for model in models[1:]:
        for layer, first in zip(analog_layers(model), analog_layers(models[0]), strict=True):
            assert layer.calibrated
            assert float(layer.input_range.numpy()) == float(first.input_range.numpy())


def test_only_so_many_batches_are_used() -> None:
    model = analog()
    loud = np.concatenate([DATA[:100], 100 * DATA[100:]])
    calibrate(model, loud, batches=1)
    assert float(model.get_layer("a").input_range.numpy()) < 10


def test_split_rows_are_calibrated_on_partial_products() -> None:
    whole, split = analog(), analog(rows=3)
    for model in (whole, split):
        calibrate(model, DATA)
    assert analog_layers(split)[0].tiling.shape == (4, 1)
    assert analog_layers(split)[0].adc_gain.gain.numpy() < analog_layers(whole)[0].adc_gain.gain.numpy()


@pytest.mark.parametrize("data", [DATA[:0], [], iter(())])
def test_no_data_is_one_sentence(data) -> None:
    model = analog()
    with pytest.raises(
        InvalidArgumentError, match="Calibration data must reach every analog layer. Received: layer 'a'"
    ):
        calibrate(model, data)
    assert not any(layer.calibrated for layer in analog_layers(model))
    assert float(model.get_layer("a").input_range.numpy()) == 1
    assert model.get_layer("a")._observer is None


def test_data_that_is_not_finite_is_one_sentence() -> None:
    model = analog()
    with pytest.raises(InvalidArgumentError, match="finite inputs at every analog layer. Received: NaN or infinity"):
        calibrate(model, np.where(DATA > 2, np.nan, DATA))
    assert not any(layer.calibrated for layer in analog_layers(model))


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"percentile": 101}, "percentile"), ({"percentile": 0.99}, "percentile"), ({"batch_size": 0}, "batch_size")],
)
def test_wrong_settings_are_one_sentence(settings, name) -> None:
    with pytest.raises(InvalidArgumentError, match=f"`{name}` of calibrate must be"):
        calibrate(analog(), DATA, **settings)


def test_a_plain_model_is_one_sentence() -> None:
    with pytest.raises(ConversionError, match="has no analog layer. Make it analog first: to_analog"):
        calibrate(plain(), DATA)


def test_a_failure_leaves_no_observer_behind() -> None:
    model = analog()
    with pytest.raises(ValueError, match="incompatible"):
        calibrate(model, DATA[:, :3])
    assert all(layer._observer is None for layer in analog_layers(model))


@pytest.mark.parametrize("rule", ["percentile", "least_error"])
def test_inputs_that_are_mostly_zeros_keep_their_range(rule: str) -> None:
    analog = to_analog(keras.Sequential([keras.Input((25_000,)), keras.layers.Dense(3)]))
    words = np.zeros((8, 25_000), "float32")
    words[np.arange(8), np.arange(8) * 7] = 2.0
    calibrate(analog, words, rule=rule)
    assert float(analog_layers(analog)[0].input_range.value) == pytest.approx(2.0, rel=0.21)


def test_one_number_among_very_many_zeros_is_the_range() -> None:
    analog = to_analog(keras.Sequential([keras.Input((4000,)), keras.layers.Dense(3)]))
    inputs = np.zeros((1000, 4000), "float32")
    inputs[3, 7] = 2.0
    calibrate(analog, inputs, batch_size=1000, rule="least_error")
    assert float(analog_layers(analog)[0].input_range.value) == pytest.approx(2.0, rel=0.21)


def test_layers_that_see_nothing_are_named() -> None:
    net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dead", activation="relu")])
    net.add(keras.layers.Dense(2, name="after"))
    net.layers[0].bias.assign(np.full(3, -1e6))
    analog = to_analog(net)
    with pytest.warns(DataWarning, match="nothing but zeros at layer 'after'.*its input range is set to 1"):
        calibrate(analog, np.eye(4, dtype="float32"))
    assert float(analog.get_layer("after").input_range.value) == 1.0
