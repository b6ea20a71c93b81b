"""Laws of training at drifted times: the devices of training are those of chips, and compensation keeps the scale."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from analognets import crossbar, to_analog
from analognets.crossbar import Tiling, tile_responses
from analognets.devices import PCM
from analognets.errors import InvalidArgumentError
from analognets.layers import AnalogDense, calibrate, freeze_weight_range
from analognets.layers.aged_weights import aged, drawn_time
from analognets.training.callbacks import reseed
from analognets.training.validation import noisy_weights
from analognets.units import parse_duration

SHAPE = (60, 40)


def hardware(rule: str | None = "input", **settings: object) -> crossbar.Crossbar:
    return crossbar.get("aon_cim_8bit").replace(drift_compensation=rule, **settings)


def kernel(seed: int = 0) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(0, 0.4, SHAPE), -1, 1).astype(np.float32)


def drawn(rule: str | None, at: str, *, strength: float = 1.0, seed: int = 0, **settings: object) -> tuple:
    hw = hardware(rule, **settings)
    found = aged(
        ops.convert_to_tensor(kernel()),
        1.0,
        hw,
        Tiling(SHAPE, hw.rows, hw.cols),
        time=ops.convert_to_tensor(parse_duration(at), "float32"),
        strength=strength,
        seed=keras.random.SeedGenerator(seed),
    )
    return tuple(None if one is None else ops.convert_to_numpy(one) for one in found)


@pytest.mark.parametrize("rule", ["input", "global", "column"])
@pytest.mark.parametrize("at", ["25s", "1d", "1y"])
def test_compensated_weights_have_the_scale_of_the_clean_ones(rule: str, at: str) -> None:
    """Regression of b a W(t) on W: 1 within five standard errors, but for the share that rectified noise takes."""
    weights, slopes = kernel(), []
    for seed in range(12):
        old, scales, inputs = drawn(rule, at, seed=seed)
        factor = scales[0] if rule == "column" else scales[0, 0]
        total = old * factor * (1.0 if inputs is None else inputs[0])
        slopes.append(float((total * weights).sum() / (weights**2).sum()))
    assert abs(np.mean(slopes) - 1) < 0.04


def test_the_devices_are_those_of_chips() -> None:
    """Mean and spread of the devices of a weight after a day: two-sample comparison with `crossbar.program`, `read`."""
    flat = np.full((200, 50), 0.5, np.float32)
    hw = hardware(None)
    state = crossbar.program(hw, flat, seed=3)
    chip = ops.convert_to_numpy(crossbar.read(hw, state, "1d", seed=4)).ravel()
    own = aged(
        ops.convert_to_tensor(flat),
        1.0,
        hw,
        Tiling(flat.shape, hw.rows, hw.cols),
        time=ops.convert_to_tensor(86400.0),
        strength=1.0,
        seed=keras.random.SeedGenerator(5),
    )
    training = ops.convert_to_numpy(own.kernel).ravel()
    error = np.sqrt(chip.var() / chip.size + training.var() / training.size)
    assert abs(chip.mean() - training.mean()) < 5 * error
    assert abs(chip.std() / training.std() - 1) < 5 / np.sqrt(chip.size)


def test_without_strength_drift_shrinks_all_weights_alike() -> None:
    old, scales, inputs = drawn("input", "1y", strength=0.0)
    shares = old[np.abs(kernel()) > 1e-3] / kernel()[np.abs(kernel()) > 1e-3]
    assert np.ptp(shares) < 1e-5 and 0.4 < shares[0] < 0.8
    np.testing.assert_allclose(inputs * scales[0], 1 / shares[0], rtol=0.06)


def test_ideal_devices_leave_the_kernel() -> None:
    still = PCM(programming_noise_scale=0, drift_scale=0, read_noise_scale=0)
    old, scales, inputs = drawn("input", "1y", device=still)
    np.testing.assert_allclose(old, kernel(), atol=1e-6)
    np.testing.assert_allclose((scales[0, 0], inputs[0]), 1.0, atol=1e-6)


def test_the_gradient_is_the_share_that_is_left() -> None:
    hw = hardware("input")
    w = tf.Variable(kernel())
    with tf.GradientTape() as tape:
        old = aged(
            tf.convert_to_tensor(w), 1.0, hw, Tiling(SHAPE, hw.rows, hw.cols), time=tf.constant(3.15e7), strength=1.0,
            seed=keras.random.SeedGenerator(1),
        )  # fmt: skip
        total = tf.reduce_sum(old.kernel)
    gradient = tape.gradient(total, w).numpy()
    assert np.ptp(gradient) == 0 and 0.4 < gradient[0, 0] < 0.8


def test_times_are_log_uniform() -> None:
    seed = keras.random.SeedGenerator(0)
    logs = np.log([float(drawn_time(25.0, 3.1536e7, seed)) for _ in range(400)])
    low, high = np.log(25.0), np.log(3.1536e7)
    shares = np.sort((logs - low) / (high - low))
    assert 0 <= shares[0] and shares[-1] <= 1
    assert np.max(np.abs(shares - (np.arange(400) + 0.5) / 400)) < 1.63 / np.sqrt(400)  # Kolmogorov-Smirnov, 1 %


def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12,))
    x = keras.layers.Dense(16, activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.Dense(3)(x))


def ready(**settings: object) -> keras.Model:
    analog = to_analog(model(), hardware("input"), weight_noise=1.0, noise_model="drift", **settings)
    freeze_weight_range(analog)
    calibrate(analog, np.random.default_rng(0).normal(size=(64, 12)).astype("float32"))
    return analog


def test_all_layers_are_read_at_one_time_in_a_step_and_after_reseeding() -> None:
    analog = ready()
    layers = [layer for layer in analog.layers if isinstance(layer, AnalogDense)]
    analog.compile("sgd", "mse", jit_compile=False)
    x = np.random.default_rng(1).normal(size=(32, 12)).astype("float32")
    for _ in range(2):
        analog.fit(x, np.zeros((32, 3), "float32"), batch_size=8, verbose=0)
        states = [layer.time_generator.state.numpy().tolist() for layer in layers]
        assert states[0] == states[1] and states[0][1] > 0
        reseed(analog, 7)
    noise = [layer.seed_generator.state.numpy().tolist() for layer in layers]
    assert noise[0] != noise[1]


def test_it_trains_saves_and_comes_back_equal(tmp_path: object) -> None:
    analog = ready(drift_until="30d", range_gradient="step")
    analog.save(tmp_path / "a.keras")
    again = keras.models.load_model(tmp_path / "a.keras")
    layer = analog.layers[1]
    assert AnalogDense.from_config(layer.get_config()).get_config() == layer.get_config()
    assert again.layers[1].drift_until == parse_duration("30d") and again.layers[1].time_generator is not None
    x = np.random.default_rng(1).normal(size=(8, 12)).astype("float32")
    np.testing.assert_array_equal(again.predict(x, verbose=0), analog.predict(x, verbose=0))


def test_noisy_copies_carry_the_compensation() -> None:
    analog = ready()
    before = analog.layers[1].kernel.numpy()
    with noisy_weights(analog, 1.0, np.random.default_rng(0)):
        now = np.asarray(analog.layers[1].realization(training=False).kernel)
    slope = (now * before).sum() / (before**2).sum()
    assert 0.85 < slope < 1.15 and not np.allclose(now, before, atol=1e-3)
    np.testing.assert_array_equal(analog.layers[1].kernel.numpy(), before)


def test_a_wrong_time_is_one_sentence() -> None:
    with pytest.raises(InvalidArgumentError, match="Received"):
        to_analog(model(), "aon_cim_8bit", noise_model="drift", drift_until="soon")


def test_responses_of_tiles_without_a_rule_are_ones() -> None:
    hw = hardware(None)
    assert ops.convert_to_numpy(tile_responses(hw, Tiling(SHAPE, hw.rows, hw.cols), kernel())).tolist() == [[1.0]]
