"""The training noise has the law it claims, and the frozen weight range holds while training."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from analognets.conversion import to_analog
from analognets.crossbar import Crossbar
from analognets.errors import ConversionError, InvalidArgumentError
from analognets.layers import (
    AnalogConv2D,
    AnalogDense,
    AnalogDepthwiseConv2D,
    WeightClip,
    analog_layers,
    calibrate,
    freeze_weight_range,
)

ETA = 0.07


def layer_with_noise(kind: type = AnalogDense, **settings) -> AnalogDense:
    shape = {AnalogDense: (None, 60), AnalogConv2D: (None, 9, 9, 12), AnalogDepthwiseConv2D: (None, 9, 9, 120)}[kind]
    size = 50 if kind is AnalogDense else (30, 3) if kind is AnalogConv2D else 3
    layer = kind(*np.atleast_1d(size).tolist(), weight_noise=ETA, seed=3, **settings)
    layer.build(shape)
    return layer


def assert_deviation(noise: np.ndarray, expected: float) -> None:
    """Check zero mean, the deviation within 99.99 % bounds of chi-squared, and the shape of a normal."""
    n = noise.size
    low, high = np.sqrt(stats.chi2.ppf([5e-5, 1 - 5e-5], n) / n) * expected
    assert low < np.sqrt(np.mean(noise**2)) < high
    assert abs(noise.mean()) < 4 * expected / np.sqrt(n)
    assert stats.kstest(noise.ravel() / expected, "norm").pvalue > 1e-4


@pytest.mark.parametrize("kind", [AnalogDense, AnalogConv2D, AnalogDepthwiseConv2D])
@pytest.mark.parametrize("frozen", [None, 0.3])
def test_noise_has_deviation_eta_times_w_max(kind, frozen) -> None:
    layer = layer_with_noise(kind)
    if frozen is not None:
        layer.w_max.assign(frozen)
    kernel = layer.kernel_variable.numpy()
    w_max = np.abs(kernel).max() if frozen is None else frozen
    assert float(layer.weight_range()) == pytest.approx(w_max)
    assert_deviation(layer.effective_kernel(training=True).numpy() - kernel, ETA * w_max)


def test_noise_is_fresh_each_batch_and_independent() -> None:
    layer = layer_with_noise()
    kernel = layer.kernel.numpy()
    draws = [(layer.effective_kernel(training=True).numpy() - kernel).ravel() for _ in range(3)]
    for i in range(3):
        for j in range(i):
            assert abs(stats.pearsonr(draws[i], draws[j])[0]) < 4 / np.sqrt(len(draws[0]))
    inputs = np.ones((2, 60), np.float32)
    one, two = layer(inputs, training=True).numpy(), layer(inputs, training=True).numpy()
    assert not np.array_equal(one, two)
    np.testing.assert_allclose(one[0], one[1], rtol=1e-6), "one kernel for the whole batch"


def test_noise_is_fresh_each_step_of_a_compiled_function() -> None:
    inputs = keras.Input((60,))
    model = keras.Model(inputs, layer_with_noise(calibrated=True)(inputs))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    data = np.ones((4, 60), np.float32), np.zeros((4, 50), np.float32)
    assert len({model.train_on_batch(*data) for _ in range(4)}) == 4
    assert len({model.test_on_batch(*data) for _ in range(3)}) == 1


def test_no_noise_at_inference_and_same_seed_same_noise() -> None:
    one, two = layer_with_noise(), layer_with_noise()
    inputs = np.ones((2, 60), np.float32)
    np.testing.assert_array_equal(one.effective_kernel(training=False), one.kernel)
    np.testing.assert_array_equal(one(inputs), one(inputs, training=False))
    two.kernel.assign(one.kernel)
    np.testing.assert_array_equal(one(inputs, training=True), two(inputs, training=True))


@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0])
def test_noise_scale_scales_it(scale) -> None:
    layer = layer_with_noise()
    layer.noise_scale.assign(scale)
    noise = layer.effective_kernel(training=True).numpy() - layer.kernel.numpy()
    if scale == 0:
        assert np.all(noise == 0)
    else:
        assert_deviation(noise, ETA * scale * np.abs(layer.kernel.numpy()).max())


def test_the_gradient_goes_to_the_clean_kernel() -> None:
    import tensorflow as tf

    layer = layer_with_noise(crossbar=Crossbar(dac_bits=None, adc_bits=None))
    inputs = tf.random.normal((8, 60))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(inputs, training=True))
    gradient = tape.gradient(loss, layer.kernel.value)
    expected = np.repeat(inputs.numpy().sum(0)[:, None], 50, axis=1)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-4)


def model_with_wide_weights() -> keras.Model:
    inputs = keras.Input((6, 6, 2))
    x = AnalogConv2D(8, 3, activation="relu", weight_noise=0.05, calibrated=True, name="conv")(inputs)
    x = AnalogDepthwiseConv2D(3, calibrated=True, name="depth")(x)
    return keras.Model(inputs, AnalogDense(2, calibrated=True, name="out")(keras.layers.Flatten()(x)))


@pytest.mark.parametrize("sigma", [2.0, 1.0, None])
def test_frozen_range_clips_now_and_keeps_the_kernels_inside_while_training(sigma) -> None:
    model = model_with_wide_weights()
    layers = [model.get_layer(name) for name in ("conv", "depth", "out")]
    before = [layer.kernel_variable.numpy() for layer in layers]
    freeze_weight_range(model, sigma=sigma)
    for layer, kernel in zip(layers, before, strict=True):
        largest = np.abs(kernel).max()
        limit = largest if sigma is None else min(largest, sigma * kernel.std())
        np.testing.assert_allclose(layer.w_max.numpy(), limit, rtol=1e-6)
        np.testing.assert_allclose(layer.kernel_variable.numpy(), np.clip(kernel, -limit, limit), rtol=1e-6)
    rng = np.random.default_rng(0)
    model.compile(keras.optimizers.SGD(5.0), "mse")
    model.fit(rng.normal(size=(64, 6, 6, 2)), rng.normal(size=(64, 2)), epochs=2, verbose=0)
    for layer in layers:
        kernel, limit = layer.kernel_variable.numpy(), layer.w_max.numpy()
        assert np.abs(kernel).max() <= limit
        assert np.mean(np.abs(kernel) == limit) > 0.01, "such large steps must have reached the limit"


def test_freezing_needs_analog_layers_and_a_positive_sigma() -> None:
    with pytest.raises(InvalidArgumentError, match="`sigma` of freeze_weight_range must be a number from 0.001"):
        freeze_weight_range(model_with_wide_weights(), sigma=-1)
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="plain")
    with pytest.raises(ConversionError, match="Model 'plain' has no analog layer. Make it analog first"):
        freeze_weight_range(plain)


def test_the_users_constraint_stays_with_the_frozen_range() -> None:
    layer = AnalogDense(4, kernel_constraint=keras.constraints.NonNeg())
    layer.build((None, 5))
    layer.w_max.assign(0.2)
    constrained = layer.kernel.constraint(layer.kernel.value).numpy()
    assert constrained.min() >= 0 and constrained.max() <= np.float32(0.2)
    assert isinstance(AnalogDense.from_config(layer.get_config()).kernel_constraint, keras.constraints.NonNeg)


@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_weight_clip_follows_the_kernel(sigma) -> None:
    values = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)
    clipped = np.asarray(WeightClip(sigma)(keras.ops.convert_to_tensor(values)))
    limit = sigma * values.std()
    np.testing.assert_allclose(clipped, np.clip(values, -limit, limit), rtol=1e-5)
    config = keras.saving.serialize_keras_object(WeightClip(sigma))
    assert keras.saving.deserialize_keras_object(config).sigma == sigma
    with pytest.raises(InvalidArgumentError, match="`sigma` of WeightClip must be a number from 0.001"):
        WeightClip(0)


@pytest.mark.parametrize("hardware", ["aon_cim_8bit", "aimc_standard"])
@pytest.mark.parametrize("range_gradient", ["saturated", "step"])
def test_a_layer_that_reads_data_learns_its_range_as_any_other(
    hardware: str, range_gradient: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    samples = rng.normal(size=(6, 9, 8, 2)).astype("float32")
    entry = keras.Input((9, 8, 2))
    x = keras.layers.Conv2D(5, 3, activation="relu")(keras.layers.ZeroPadding2D(1)(entry))
    x = keras.layers.Conv2D(4, 3)(x)
    net = keras.Model(entry, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    model = to_analog(net, hardware, range_gradient=range_gradient)
    freeze_weight_range(model)
    calibrate(model, samples)
    layers = analog_layers(model)
    assert [layer.reads_data() for layer in layers] == [True, False, False]
    for layer in layers:
        layer.input_range.assign(0.5 * keras.ops.convert_to_tensor(layer.input_range))
        layer.crossbar = layer.crossbar.replace(nonidealities=())
    found = []
    for short in (True, False):
        monkeypatch.setattr(type(layers[0]), "reads_data", lambda self, short=short: short and self is layers[0])
        with tf.GradientTape() as tape:
            loss = keras.ops.mean(keras.ops.square(model(samples, training=True)))
        found.append([loss, *tape.gradient(loss, [one.value for one in model.trainable_variables])])
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    place = [id(one) for one in model.trainable_variables].index(id(layers[0].input_range)) + 1
    assert abs(float(found[0][place])) > 1e-3
