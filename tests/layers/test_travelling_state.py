"""Whether a layer is calibrated travels with its weights, and ranges that are not used are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from analognets import deploy
from analognets.conversion import to_analog
from analognets.errors import NotCalibratedError
from analognets.layers import analog_layers, calibrate, freeze_weight_range

L = keras.layers
X = np.random.default_rng(0).normal(size=(32, 5, 6)).astype("float32")


class Subclassed(keras.Model):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.recurrent, self.dense = L.GRU(4), L.Dense(3)

    def call(self, inputs: Any) -> Any:
        return self.dense(self.recurrent(inputs))


def subclassed() -> keras.Model:
    model = Subclassed()
    model(X[:1])
    return model


def sequential() -> keras.Model:
    return keras.Sequential([keras.Input((5, 6)), L.Conv1D(4, 2, activation="relu"), L.Flatten(), L.Dense(3)])


def attention() -> keras.Model:
    inputs = keras.Input((5, 6))
    return keras.Model(inputs, L.Dense(3)(L.Flatten()(L.MultiHeadAttention(2, 3)(inputs, inputs))))


def trained(model: keras.Model, **settings: Any) -> keras.Model:
    analog = to_analog(model, "aon_cim_4bit", **settings)
    freeze_weight_range(analog)
    calibrate(analog, X)
    for layer in analog_layers(analog):
        layer.input_range.assign(layer.input_range * 0.5)
    return analog


@pytest.mark.parametrize("make", [sequential, subclassed, attention])
def test_weights_bring_their_calibration(make: Callable[[], keras.Model], tmp_path: Path) -> None:
    model = make()
    analog = trained(model)
    analog.save_weights(tmp_path / "a.weights.h5")
    again = to_analog(model, "aon_cim_4bit")
    before = again.predict(X, verbose=0)  # its compiled function knows no converters
    again.load_weights(tmp_path / "a.weights.h5")
    after = again.predict(X, verbose=0)
    np.testing.assert_array_equal(after, analog.predict(X, verbose=0))
    assert np.abs(after - before).max() > 1e-3
    flags = [(layer.calibrated, layer.nonnegative) for layer in analog_layers(again)]
    assert flags == [(layer.calibrated, layer.nonnegative) for layer in analog_layers(analog)]
    assert [a.shape for a in again.get_weights()] == [a.shape for a in analog.get_weights()]


def without_flags(path: Path) -> None:
    """Make a file of weights one of an earlier version."""
    with h5py.File(path, "r+") as file:
        found: list[str] = []
        file.visit(lambda name: found.append(name) if name.split("/")[-1] in ("calibrated", "nonnegative") else None)
        for name in found:
            del file[name]
        assert found


def test_files_of_earlier_versions_open_and_say_what_they_do_not_hold(tmp_path: Path) -> None:
    model = sequential()
    model.layers[-1].name = "last"
    analog = trained(model, exempt="last")
    analog.save_weights(tmp_path / "a.weights.h5")
    without_flags(tmp_path / "a.weights.h5")
    again = to_analog(model, "aon_cim_4bit", exempt="last")
    with pytest.warns(UserWarning, match="ranges that are not used"):
        again.load_weights(tmp_path / "a.weights.h5")
    with pytest.raises(NotCalibratedError, match="layer.calibrated = True"):
        deploy.program(again, 1)
    with pytest.warns(UserWarning, match="ranges that are not used"):
        to_analog(again)
    for layer in analog_layers(again):
        layer.calibrated = True
    again.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(again.predict(X, verbose=0), analog.predict(X, verbose=0))


def test_get_weights_alone_is_refused_by_chips() -> None:
    model = sequential()
    again = to_analog(model, "aon_cim_4bit")
    again.set_weights(trained(model).get_weights())
    with pytest.raises(NotCalibratedError, match="not used"):
        deploy.program(again, 1)


def test_switching_converters_takes_effect_in_compiled_models() -> None:
    analog = trained(sequential())
    with_converters = analog.predict(X, verbose=0)
    for layer in analog_layers(analog):
        layer.calibrated = False
    assert np.abs(analog.predict(X, verbose=0) - with_converters).max() > 1e-3
