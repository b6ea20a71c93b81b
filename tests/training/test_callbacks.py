from __future__ import annotations

from types import ModuleType

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analognets.conversion import to_analog
from analognets.errors import ConversionError, InvalidArgumentError
from analognets.layers import analog_layers, calibrate
from analognets.training import EpochSeeds, NoiseRamp, WeightRangeRefresh
from analognets.training.callbacks import reseed


class Watch(keras.callbacks.Callback):
    def __init__(self, read: object) -> None:
        super().__init__()
        self.read = read
        self.seen: list[object] = []

    def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
        if batch == 0:
            self.seen.append(self.read(self.model))


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 120))
def test_noise_grows_by_equal_steps_from_none_to_full(start: int, length: int, epoch: int) -> None:
    ramp = NoiseRamp(start, start + length)
    assert 0 <= ramp.scale(epoch) <= ramp.scale(epoch + 1) <= 1
    assert (ramp.scale(epoch) == 0) == (epoch < start)
    assert (ramp.scale(epoch) == 1) == (epoch >= start + max(length - 1, 0))
    if start <= epoch < start + length:
        assert ramp.scale(epoch) == pytest.approx((epoch - start + 1) / length)


@pytest.mark.parametrize("arguments", [(-1, 2), (3, 2), (0.5, 2), (0, "4")])
def test_ramp_refuses_what_makes_no_sense(arguments: tuple) -> None:
    with pytest.raises(InvalidArgumentError, match=r"of NoiseRamp must .* Received: "):
        NoiseRamp(*arguments)


def test_refresh_refuses_what_makes_no_sense() -> None:
    with pytest.raises(InvalidArgumentError, match="sigma"):
        WeightRangeRefresh(-1.0)
    with pytest.raises(InvalidArgumentError, match="until_epoch"):
        WeightRangeRefresh(2.0, until_epoch=-1)


def test_callbacks_in_a_fit_of_an_analog_model(toy: ModuleType) -> None:
    analog = to_analog(toy.model(), weight_noise=0.1)
    calibrate(analog, toy_inputs())
    analog.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    scales = Watch(lambda model: [float(layer.noise_scale.value) for layer in analog_layers(model)])
    ranges = Watch(lambda model: [float(layer.w_max.value) for layer in analog_layers(model)])
    deviations = Watch(lambda model: [float(np.std(layer.kernel_variable.numpy())) for layer in analog_layers(model)])
    callbacks = [NoiseRamp(1, 3), WeightRangeRefresh(1.5, until_epoch=2), scales, ranges, deviations]
    analog.fit(toy.train_batches(0), epochs=4, verbose=0, shuffle=False, callbacks=callbacks)
    assert scales.seen == [[0, 0], [0.5, 0.5], [1, 1], [1, 1]]
    assert ranges.seen[0] != ranges.seen[1]
    assert ranges.seen[1] == ranges.seen[2] == ranges.seen[3]
    for layer in analog_layers(analog):
        assert np.abs(layer.kernel_variable.numpy()).max() <= float(layer.w_max.value)


@pytest.mark.parametrize("callback", [NoiseRamp(0, 2), WeightRangeRefresh()])
def test_callbacks_need_an_analog_model(toy: ModuleType, callback: keras.callbacks.Callback) -> None:
    callback.set_model(toy.model())
    with pytest.raises(ConversionError, match="has no analog layer"):
        callback.on_epoch_begin(0)


def noisy(model: keras.Model) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(toy_inputs(), training=True))


def toy_inputs() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(4, 6, 4, 1)).astype("float32")


def test_reseeding_decides_all_noise_of_nested_layers(toy: ModuleType) -> None:
    inner = to_analog(toy.model(), weight_noise=0.2)
    inputs = keras.Input((6, 4, 1))
    model = keras.Model(inputs, keras.layers.GaussianNoise(0.1)(inner(inputs)))
    outputs = {}
    for seed in (1, 2, 1):
        reseed(model, seed)
        # Batch-norm's running averages move, its output in training does not depend on them.
        outputs.setdefault(seed, []).append((noisy(model), noisy(model)))
    (first, again), (other,) = outputs[1], outputs[2]
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.allclose(first[0], first[1])
    assert not np.allclose(first[0], other[0])


def test_every_generator_gets_a_state_of_its_own(toy: ModuleType) -> None:
    model = to_analog(toy.model())
    reseed(model, 5)
    states = [tuple(v.numpy()) for v in model.variables if v.name == "seed_generator_state"]
    assert len(states) == 3
    assert len(set(states)) == 3


def test_fits_with_epoch_seeds_repeat(toy: ModuleType) -> None:
    kernels = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        model = toy.model()
        model.compile(optimizer="sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        np.random.default_rng().normal()
        model.fit(toy.train_batches(0), epochs=2, verbose=0, shuffle=False, callbacks=[EpochSeeds(3)])
        kernels.append(toy.digest(model))
    assert kernels[0] == kernels[1]
