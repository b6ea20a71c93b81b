"""Analog layers in `fit`: gradients to the ranges, mixed precision, custom loops."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from analognets.crossbar import Crossbar
from analognets.layers import ADCGain, AnalogConv2D, AnalogDense, AnalogDepthwiseConv2D, analog_layers, calibrate


def network(policy: str | None = None, **settings) -> keras.Model:
    keras.utils.set_random_seed(0)
    gain = ADCGain(0.2)
    common = {"adc_gain": gain, "weight_noise": 0.03, "dtype": policy, **settings}
    inputs = keras.Input((8, 8, 1))
    x = AnalogConv2D(6, 3, strides=2, use_bias=False, name="conv", **common)(inputs)
    x = keras.layers.BatchNormalization(dtype=policy)(x)
    x = keras.layers.ReLU(dtype=policy)(x)
    x = AnalogDepthwiseConv2D(2, activation="relu", name="depth", **common)(x)
    x = keras.layers.Flatten(dtype=policy)(x)
    return keras.Model(inputs, AnalogDense(3, name="out", **common)(x))


@pytest.fixture(scope="module")
def task() -> tuple[np.ndarray, np.ndarray]:
    """Return pictures of 3 classes: a bright patch in one of three places."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    pictures = rng.normal(0, 0.3, (300, 8, 8, 1)).astype(np.float32)
    for picture, label in zip(pictures, labels, strict=True):
        picture[1 + 2 * label : 3 + 2 * label, 2:6] += 1.0
    return pictures, labels


def test_fit_learns_with_noise_and_converters(task) -> None:
    model = network()
    calibrate(model, task[0])
    ranges = [float(layer.input_range.numpy()) for layer in analog_layers(model)]
    gain = float(analog_layers(model)[0].adc_gain.gain.numpy())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    model.fit(*task, epochs=8, batch_size=50, verbose=0)
    assert model.evaluate(*task, verbose=0)[1] > 0.95
    assert float(analog_layers(model)[0].adc_gain.gain.numpy()) != gain
    assert all(float(layer.input_range.numpy()) != old for layer, old in zip(analog_layers(model), ranges, strict=True))


def test_gain_and_ranges_get_gradients_where_something_saturates(task) -> None:
    model = network()
    calibrate(model, task[0])
    for layer in analog_layers(model):
        layer.input_range.assign(layer.input_range * 0.5)
    gain = analog_layers(model)[0].adc_gain.gain
    gain.assign(gain * 0.3)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(task[0][:50], training=True)[:, 0])
    variables = [gain, *(layer.input_range for layer in analog_layers(model))]
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    assert all(np.isfinite(gradient.numpy()) and gradient.numpy() != 0 for gradient in gradients)


def test_the_gradient_to_the_gain_is_that_of_the_saturated_outputs() -> None:
    layer = AnalogDense(1, use_bias=False, crossbar=Crossbar(dac_bits=None), calibrated=True)
    layer.build((None, 1))
    layer.kernel.assign([[2.0]])
    inputs = tf.constant([[0.1], [0.9], [5.0], [-7.0], [9.0]])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(inputs))
    to_gain, to_range, to_kernel = tape.gradient(
        loss, [layer.adc_gain.gain.value, layer.input_range.value, layer.kernel.value]
    )
    assert to_gain.numpy() == pytest.approx(2.0 * (1 - 1 + 1)), "r_ADC = S * 1 * 2; three outputs saturate"
    assert to_range.numpy() == pytest.approx(2.0), "r_DAC enters through r_ADC = S * r_DAC * W_max"
    assert to_kernel.numpy().item() == pytest.approx(0.1 + 0.9)


def test_ranges_stay_positive_however_large_the_step(task) -> None:
    model = network()
    calibrate(model, task[0])
    for layer in analog_layers(model):
        layer.input_range.assign(layer.input_range * 0.5)
    model.compile(keras.optimizers.SGD(1e4, clipnorm=1.0), "mse")
    model.fit(task[0], np.zeros((300, 3)), epochs=1, batch_size=100, verbose=0)
    assert all(float(layer.input_range.numpy()) > 0 for layer in analog_layers(model))
    assert float(analog_layers(model)[0].adc_gain.gain.numpy()) > 0


@pytest.mark.parametrize(("policy", "tile"), [("mixed_float16", {}), ("mixed_bfloat16", {"rows": 24})])
def test_mixed_precision_trains_a_step(task, policy, tile) -> None:
    model = network(policy, crossbar=Crossbar(**tile))
    calibrate(model, task[0])
    for layer in analog_layers(model):
        assert keras.backend.standardize_dtype(layer.input_range.dtype) == "float32"
        assert keras.backend.standardize_dtype(layer.adc_gain.gain.dtype) == "float32"
    assert keras.backend.standardize_dtype(model(task[0][:2]).dtype) == policy.removeprefix("mixed_")
    before = [variable.numpy() for variable in model.trainable_variables]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    history = model.fit(*task, epochs=2, batch_size=100, verbose=0).history["loss"]
    assert np.all(np.isfinite(history)) and history[-1] < history[0]
    changed = [not np.array_equal(a, b.numpy()) for a, b in zip(before, model.trainable_variables, strict=True)]
    assert np.mean(changed) > 0.7


def test_mixed_precision_computes_nearly_the_same(task) -> None:
    half, full = network("mixed_float16"), network()
    half.set_weights(full.get_weights())
    for model in (half, full):
        calibrate(model, task[0])
    agree = np.mean(half.predict(task[0], verbose=0).argmax(1) == full.predict(task[0], verbose=0).argmax(1))
    assert agree > 0.9


def test_a_custom_training_loop(task) -> None:
    model, optimizer = network(), keras.optimizers.Adam(0.01)
    calibrate(model, task[0])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def step(pictures: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = loss(labels, model(pictures, training=True))
        variables = [variable.value for variable in model.trainable_variables]
        optimizer.apply(tape.gradient(value, variables), model.trainable_variables)
        return value

    values = [float(step(*task)) for _ in range(15)]
    assert values[-1] < 0.8 * values[0]
