"""A reading depends on model, chip, time and inputs alone: not on readings before it, nor on the size of batches."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from analognets.conversion import to_analog
from analognets.deploy.chips.chips import program
from analognets.deploy.evaluation import accuracy
from analognets.layers import calibrate, freeze_weight_range
from analognets.layers.kept_state import state_variables

L = keras.layers
INPUTS = np.random.default_rng(0).normal(size=(45, 9, 6)).astype("float32")


@keras.saving.register_keras_serializable(package="tests_readings")
class Counts(L.Layer):
    """Adds how often it has been called, and some noise of its own."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.calls = self.add_weight(name="calls", shape=(), initializer="zeros", trainable=False)
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, inputs: Any) -> Any:
        self.calls.assign_add(1.0)
        return inputs + self.calls + 0.1 * keras.random.normal(keras.ops.shape(inputs), seed=self.seeds)


def stateful() -> keras.Model:
    return keras.Sequential([keras.Input((9, 6), batch_size=10), L.GRU(8, stateful=True), L.Dense(3)])


def both_ways() -> keras.Model:
    middle = L.Bidirectional(L.LSTM(4, stateful=True, return_sequences=True))
    start = keras.Input((9, 6), batch_size=10)
    return keras.Sequential([start, L.Dense(5, activation="relu"), middle, L.Flatten(), L.Dense(3)])


def counting() -> keras.Model:
    return keras.Sequential([keras.Input((9, 6)), L.Dense(5), Counts(), L.Flatten(), L.Dense(3)])


def still_learning() -> keras.Model:
    inputs = keras.Input((9, 6))
    x = L.BatchNormalization()(L.Dense(5)(inputs), training=True)
    return keras.Model(inputs, L.Dense(3)(L.Flatten()(x)))


def ready(net: keras.Model, hardware: str = "aon_cim_8bit") -> keras.Model:
    model = to_analog(net, hardware)
    freeze_weight_range(model)
    calibrate(model, INPUTS[:40], batch_size=10)
    return model


@pytest.mark.parametrize("net", [stateful, both_ways, counting, still_learning])
def test_readings_do_not_disturb_each_other_nor_the_model(net: Any) -> None:
    keras.utils.set_random_seed(0)
    model = ready(net())
    for variable in state_variables(model):
        if "rnn_state" in variable.path:
            variable.assign(np.full(variable.shape, 0.2))
    before = [np.array(one) for one in state_variables(model)]
    used, fresh = program(model, 2), program(model, 2)
    used.predict(INPUTS, chip=0, at="1d")
    first, again = (used.predict(INPUTS, chip=1, at="1d") for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, fresh.predict(INPUTS, chip=1, at="1d"))
    labels = first.argmax(1)
    table = used.evaluate((INPUTS, labels), at=["25s", "1d"])
    assert table.query("chip == 1 and at == '1d'")["accuracy"].item() == accuracy(labels, first) == 1.0
    if net is not stateful:
        used.evaluate((INPUTS[:10], labels[:10]), at="1d", batch_norm_calibration=INPUTS[:10])
    for now, old in zip(state_variables(model), before, strict=True):
        np.testing.assert_array_equal(now, old)


def test_a_padded_last_batch_changes_no_other_sample() -> None:
    keras.utils.set_random_seed(0)
    chips = program(ready(stateful()), 1)
    whole = chips.predict(INPUTS[:40])
    np.testing.assert_array_equal(chips.predict(INPUTS[:33]), whole[:33])
    assert chips.predict(INPUTS[:3], batch_size=7).shape == (3, 3)


@pytest.mark.parametrize("recurrent", [False, True])
def test_the_noise_of_a_sample_does_not_depend_on_the_batch_it_is_in(recurrent: bool) -> None:
    keras.utils.set_random_seed(0)
    middle = [L.LSTM(4)] if recurrent else [L.Dense(5, activation="relu"), L.Flatten()]
    model = ready(keras.Sequential([keras.Input((9, 6)), *middle, L.Dense(3)]), "aimc_standard")
    chips = program(model, 2)
    inputs = np.tile(INPUTS, (3, 1, 1))
    whole = chips.predict(inputs, at="1d")
    assert not np.array_equal(whole[:45], whole[45:90]), "each sample has noise of its own"
    for size in (1, 7, 100, 1000):
        np.testing.assert_array_equal(chips.predict(inputs, at="1d", batch_size=size), whole)
    for count in (1, 49, 50, 51):
        np.testing.assert_array_equal(chips.predict(inputs[:count], at="1d"), whole[:count])
    changed = inputs.copy()
    changed[1:] *= 0.5
    np.testing.assert_array_equal(chips.predict(changed, at="1d")[0], whole[0])
    runner = chips.runner()
    runner.load(chips.chips[0].read(chips.layers, "1d"))
    np.testing.assert_array_equal(runner.predict(inputs), whole)
    np.testing.assert_array_equal(runner.predict(inputs), whole)
    assert not np.array_equal(chips.predict(inputs, chip=1, at="1d"), whole)
    assert not np.array_equal(chips.predict(inputs, at="1h"), whole)
