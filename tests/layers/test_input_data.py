"""Inputs for calibration out of whatever holds them: labels are never taken for inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from analognets.conversion import to_analog
from analognets.errors import InvalidArgumentError
from analognets.layers import analog_layers, calibrate
from analognets.layers.input_data import all_inputs

RNG = np.random.default_rng(0)
X, OTHER = (RNG.normal(size=(40, 8)).astype("float32") for _ in range(2))
LOUD = 100 * np.eye(8, dtype="float32")[np.arange(40) % 8]
CLASSES = np.arange(40)


class Batches(keras.utils.PyDataset):
    """Batches of ten, in whatever structure."""

    def __init__(self, pack: Callable[[slice], Any]) -> None:
        super().__init__()
        self.pack = pack

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return self.pack(slice(10 * index, 10 * index + 10))


def one_input() -> keras.Model:
    keras.utils.set_random_seed(0)
    return to_analog(keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, name="a")]))


def two_inputs() -> keras.Model:
    keras.utils.set_random_seed(0)
    left, right = keras.Input((8,), name="left"), keras.Input((8,), name="right")
    x = keras.layers.Dense(8, name="a")(left) + keras.layers.Dense(8, name="b")(right)
    return to_analog(keras.Model({"left": left, "right": right}, x))


def ranges(model: keras.Model, data: Any) -> list[float]:
    assert calibrate(model, data, batch_size=10) == 40
    return [float(layer.input_range.numpy()) for layer in analog_layers(model)]


def parts(*arrays: Any) -> list[tuple[Any, ...]]:
    return [tuple(array[i : i + 10] for array in arrays) for i in range(0, 40, 10)]


@pytest.mark.parametrize("labels", [LOUD, CLASSES, 100 * X, LOUD[:, :1]], ids=["hot", "classes", "inputs", "column"])
def test_labels_are_no_inputs_of_a_model_with_one(labels: Any) -> None:
    wanted = ranges(one_input(), X)
    pairs = parts(X, labels)
    for data in (
        (X, labels),
        (X, labels, np.ones(40)),
        tuple(pairs),
        pairs,
        [list(pair) for pair in pairs],
        (pair for pair in pairs),
        iter(parts(X)),
        [part for (part,) in parts(X)],
        tf.data.Dataset.from_tensor_slices((X, labels)).batch(10),
        tf.data.Dataset.from_tensor_slices((X, labels, np.ones(40))).batch(10),
        Batches(lambda i: (X[i], labels[i])),
        Batches(lambda i: (X[i],)),
        tf.constant(X),
    ):
        assert ranges(one_input(), data) == wanted


def test_a_model_with_two_inputs_takes_dicts_and_lists() -> None:
    wanted = ranges(two_inputs(), [{"left": X, "right": OTHER}])
    both = {"left": X, "right": OTHER}
    pairs = [({"left": a, "right": b}, c) for a, b, c in parts(X, OTHER, LOUD)]
    for data in (
        both,
        (both, LOUD),
        (both, CLASSES),
        pairs,
        [dict(pair[0]) for pair in pairs],
        tf.data.Dataset.from_tensor_slices((both, LOUD)).batch(10),
        tf.data.Dataset.from_tensor_slices(both).batch(10),
        Batches(lambda i: ({"left": X[i], "right": OTHER[i]}, LOUD[i])),
    ):
        assert ranges(two_inputs(), data) == pytest.approx(wanted, rel=0.2)
    left, right = keras.Input((8,), name="left"), keras.Input((8,), name="right")
    plain = keras.Model([left, right], keras.layers.Dense(8)(left) + keras.layers.Dense(8)(right))
    wanted = ranges(to_analog(plain), [[X, OTHER]])
    for data in ([X, OTHER], (X, OTHER), ([X, OTHER], LOUD), ((X, OTHER), LOUD), parts(X, OTHER)):
        assert ranges(to_analog(plain), data) == pytest.approx(wanted, rel=0.2)
    labelled = [([a, b], c) for a, b, c in parts(X, OTHER, LOUD)]
    assert ranges(to_analog(plain), labelled) == pytest.approx(wanted, rel=0.2)
    assert ranges(to_analog(plain), tf.data.Dataset.from_tensor_slices((X, OTHER)).batch(10)) == pytest.approx(
        wanted, rel=0.2
    )


def test_calibrate_on_takes_the_same() -> None:
    plain = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8)])
    for data in (X, (X, LOUD), [(X, LOUD)]):
        analog = to_analog(plain, calibrate_on=data)
        assert float(analog.layers[0].input_range.numpy()) < 10


@pytest.mark.parametrize(
    ("make", "data", "message"),
    [
        (one_input, 3, "Received: int"),
        (one_input, "data.npz", "Received: str"),
        (one_input, None, "Received: NoneType"),
        (one_input, (X, X, X, X), "Received: tuple of ndarray for a model with 1 input"),
        (one_input, {"left": X, "right": X}, "Received: dict for a model with 1 input"),
        (one_input, [3, 4], "Received: int for a model with 1 input"),
        (two_inputs, X, "Received: ndarray for a model with 2 inputs"),
        (two_inputs, (X, CLASSES, LOUD), "Received: tuple of ndarray for a model with 2 inputs"),
        (two_inputs, ({"left": X}, LOUD), "Received: tuple of dict for a model with 2 inputs"),
        (two_inputs, {"left": X, "right": OTHER[:5]}, r"as many samples. Received: \[5, 40\]"),
    ],
)
def test_what_holds_no_inputs_is_one_sentence(make: Any, data: Any, message: str) -> None:
    model = make()
    with pytest.raises(InvalidArgumentError, match=message):
        calibrate(model, data)
    assert not any(layer.calibrated for layer in analog_layers(model))


def test_all_at_once() -> None:
    model = one_input()
    for data in (X, (X, LOUD), parts(X, LOUD), tf.data.Dataset.from_tensor_slices((X, LOUD)).batch(7)):
        np.testing.assert_array_equal(all_inputs(model, data), X)
    with pytest.raises(InvalidArgumentError, match="Received: none"):
        all_inputs(model, [])


def test_calibration_leaves_states_as_they_were() -> None:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    plain = keras.Sequential(
        [keras.Input((9, 6), batch_size=10), layers.GRU(8, stateful=True), layers.Dropout(0.5), layers.Dense(3)]
    )
    model = to_analog(plain)
    inputs = RNG.normal(size=(40, 9, 6)).astype("float32")
    state = next(layer for layer in model.layers if hasattr(layer, "states")).states[0]
    state.assign(np.full(state.shape, 0.25))
    calibrate(model, inputs, batch_size=10)
    np.testing.assert_array_equal(state, np.full(state.shape, 0.25))
