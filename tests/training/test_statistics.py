"""Batch-norms that keep their statistics: what is trained, what stays, and runs that resume to the same bits."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pytest

from analognets.training import Progress, Run, train
from analognets.training.statistics import steady_statistics


def net() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = keras.layers.Dense(5, use_bias=False)(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    outputs = keras.layers.Dense(2)(x)
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "mse")
    return model


def test_statistics_stay_while_scale_and_offset_learn() -> None:
    model, rng = net(), np.random.default_rng(0)
    data = 3 * rng.normal(size=(64, 6)).astype("float32"), rng.normal(size=(64, 2)).astype("float32")
    model.fit(*data, verbose=0)
    norm, names = model.get_layer("norm"), [variable.path for variable in model.trainable_variables]
    before = [np.array(one) for one in norm.get_weights()]
    with steady_statistics(model):
        assert [variable.path for variable in model.trainable_variables] == names
        model.fit(*data, verbose=0)
        gamma, beta, mean, variance = (np.array(one) for one in norm.get_weights())
    assert np.abs(gamma - before[0]).max() > 0 and np.abs(beta - before[1]).max() > 0
    np.testing.assert_array_equal(mean, before[2])
    np.testing.assert_array_equal(variance, before[3])
    model.fit(*data, verbose=0)
    assert np.abs(norm.get_weights()[2] - mean).max() > 0 and norm.trainable


def test_training_sees_what_a_chip_computes() -> None:
    """Inside, the loss of a training step is that of inference; outside it is that of the batch's own statistics."""
    model, rng = net(), np.random.default_rng(1)
    x, y = 5 + rng.normal(size=(32, 6)).astype("float32"), rng.normal(size=(32, 2)).astype("float32")
    wanted = model.evaluate(x, y, verbose=0)
    assert model.train_on_batch(x, y) != pytest.approx(wanted, rel=1e-3)
    model = net()
    with steady_statistics(model):
        assert model.train_on_batch(x, y) == pytest.approx(wanted, rel=1e-5)


def test_layers_that_are_not_trained_stay_so() -> None:
    model = net()
    model.get_layer("norm").trainable = False
    with steady_statistics(model):
        assert len(model.trainable_variables) == 3
    assert not model.get_layer("norm").trainable


@pytest.mark.usefixtures("op_by_op")
def test_a_run_resumes_to_the_same_bits_behind_the_change(toy: ModuleType, tmp_path: Path) -> None:
    recipe = toy.recipe(hardware_aware__epochs=3, hardware_aware__steady_after=1)
    whole = train(Run.create(tmp_path / "whole", recipe), model=toy.model, data=toy.data())
    plain = train(
        Run.create(tmp_path / "plain", toy.recipe(hardware_aware__epochs=3)), model=toy.model, data=toy.data()
    )
    assert toy.digest(whole.analog_model) != toy.digest(plain.analog_model)

    def stop(event: Progress) -> None:
        if event.kind == "epoch" and event.stage == "hardware_aware" and event.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Run.create(tmp_path / "cut", recipe), model=toy.model, data=toy.data(), progress=stop)
    train(Run.open(tmp_path / "cut"), model=toy.model, data=toy.data())
    assert toy.outcome(tmp_path / "cut") == toy.outcome(tmp_path / "whole")
