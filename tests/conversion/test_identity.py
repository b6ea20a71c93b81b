"""Copies hold the very functions and objects of the user, whatever their names and in no register."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets.conversion import to_analog, to_digital

L = keras.layers
X = np.random.default_rng(0).normal(0, 2, (8, 5, 6)).astype("float32")


def relu(values: Any) -> Any:  # one's own, named as Keras' is
    return keras.ops.clip(values, 0, 1)


def glorot_uniform(shape: Any, dtype: Any = None) -> Any:
    return keras.ops.ones(shape, dtype) / 7


class L2(keras.regularizers.Regularizer):  # no get_config
    def __call__(self, values: Any) -> Any:
        return keras.ops.sum(values)


class NonNeg(keras.constraints.Constraint):
    def __call__(self, w: Any) -> Any:
        return w * 1


class Callable:
    def __call__(self, values: Any, dtype: Any = None) -> Any:
        return keras.ops.zeros(values, dtype) if isinstance(values, tuple) else 0.5 * values


ACTIVATIONS = [relu, tf.nn.softmax, functools.partial(relu), lambda v: v * v, Callable(), tf.function(relu)]
LAYERS = {
    "dense": (lambda **own: L.Dense(6, **own), "kernel"),
    "einsum": (lambda **own: L.EinsumDense("abc,cd->abd", (5, 6), bias_axes="d", **own), "kernel"),
    "conv": (lambda **own: L.Conv1D(6, 2, **own), "kernel"),
    "depthwise": (lambda **own: L.DepthwiseConv1D(2, **own), "depthwise"),
    "separable": (lambda **own: L.SeparableConv1D(6, 2, **own), "pointwise"),
    "lstm": (lambda **own: L.LSTM(6, **own), "recurrent"),
    "gru": (lambda **own: L.GRU(6, reset_after=False, **own), "kernel"),
}


def read(layer: Any, name: str) -> Any:
    return getattr(layer, name) if hasattr(layer, name) else getattr(layer.cell, name)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(LAYERS)), st.sampled_from(ACTIVATIONS), st.booleans(), st.booleans())
def test_copies_hold_the_very_objects(kind: str, activation: Any, initializer: bool, others: bool) -> None:
    make, kernel = LAYERS[kind]
    own: dict[str, Any] = {"activation": activation}
    if initializer:
        own[f"{kernel}_initializer"] = glorot_uniform
    if others:
        own |= {f"{kernel}_regularizer": L2(), "bias_constraint": NonNeg()}
    model = keras.Sequential([keras.Input((5, 6)), make(**own), L.Activation(relu), L.Flatten(), L.Dense(2)])
    analog = to_analog(model)
    for copy in (analog, to_digital(analog)):
        for name, value in own.items():
            assert read(copy.layers[0], name) is value
        assert copy.layers[1].activation is relu
        np.testing.assert_allclose(copy(X), model(X), rtol=1e-5, atol=1e-6)


class Cell(L.Layer):  # in no register, with a function in its config
    def __init__(self, function: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function, self.dense, self.state_size = function, L.Dense(3), 3

    def build(self, input_shape: Any) -> None:
        self.dense.build(input_shape)
        self.built = True

    def call(self, inputs: Any, states: Any) -> Any:
        outputs = self.function(self.dense(inputs)) + states[0]
        return outputs, [outputs]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "function": self.function}


class Block(L.Layer):
    def __init__(self, inner: Any, activation: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner, self.activation = inner, keras.activations.get(activation)

    def call(self, inputs: Any) -> Any:
        return self.activation(self.inner(inputs))

    def get_config(self) -> dict[str, Any]:
        own = {"inner": keras.saving.serialize_keras_object(self.inner), "activation": self.activation}
        return {**super().get_config(), **own, "activation": keras.activations.serialize(self.activation)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Block:
        return cls(**{**config, "inner": keras.saving.deserialize_keras_object(config["inner"])})


def two_ways() -> Any:
    layer = L.Bidirectional(L.GRU(3))  # Keras copies the layer by its config, so own functions come later
    layer.forward_layer.cell.activation, layer.backward_layer.cell.activation = relu, tf.math.sin
    return layer


NESTED = {
    "own cell": lambda: L.RNN(Cell(relu)),
    "Keras' cell": lambda: L.RNN(L.LSTMCell(3, activation=relu)),
    "stacked cells": lambda: L.RNN([L.GRUCell(3, activation=relu), L.LSTMCell(2, activation=tf.math.sin)]),
    "time distributed": lambda: L.TimeDistributed(L.Dense(3, activation=relu)),
    "time distributed model": lambda: L.TimeDistributed(keras.Sequential([L.Dense(3, activation=relu)])),
    "both ways": two_ways,
    "own block": lambda: Block(L.Dense(3, activation=relu), activation=relu),
    "own block of a model": lambda: Block(keras.Sequential([L.Dense(3, activation=relu)]), activation=tf.math.sin),
    "attention": lambda: Attends(),
}


class Attends(L.Layer):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.attention = L.MultiHeadAttention(2, 3, kernel_regularizer=L2())

    def call(self, inputs: Any) -> Any:
        return self.attention(inputs, inputs)


@pytest.mark.filterwarnings("ignore:.*build")
@pytest.mark.parametrize("kind", NESTED)
def test_objects_inside_of_wrappers_and_blocks_are_kept(kind: str) -> None:
    model = keras.Sequential([keras.Input((5, 6)), NESTED[kind](), L.Flatten(), L.Dense(2)])
    analog = to_analog(model)
    for copy in (analog, to_digital(analog)):
        np.testing.assert_allclose(copy(X), model(X), rtol=1e-5, atol=1e-6)


def mean_squared_error(truth: Any, outputs: Any) -> Any:  # one's own
    return 7 * keras.ops.mean(keras.ops.abs(truth - outputs), axis=-1)


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step: Any) -> Any:
        return 0.01


class Adam(keras.optimizers.SGD):
    pass


def test_compilation_keeps_objects_and_shares_no_state() -> None:
    schedule = Schedule()
    model = keras.Sequential([keras.Input((6,)), L.Dense(3)])
    metric = keras.metrics.MeanMetricWrapper(mean_squared_error, name="own")
    model.compile(Adam(schedule), mean_squared_error, metrics=[metric])
    analog = to_analog(model, calibrate_on=X[:, 0])
    assert type(analog.optimizer) is Adam and analog.optimizer is not model.optimizer
    assert analog.optimizer._learning_rate is schedule
    assert analog.loss is mean_squared_error
    loss, own = analog.evaluate(X[:, 0], np.zeros((8, 3)), verbose=0)
    assert loss == pytest.approx(7 * np.abs(analog.predict(X[:, 0], verbose=0)).mean(), rel=1e-5)
    assert own == pytest.approx(loss, rel=1e-5)
    assert float(metric.result()) == 0.0


def test_a_layer_quantised_later_is_copied_by_name() -> None:
    model = keras.Sequential([keras.Input((6,)), L.Dense(6), L.Dense(3)])
    model.layers[0].quantize("float8")
    analog = to_analog(model)
    np.testing.assert_array_equal(analog.predict(X[:, 0], verbose=0), model.predict(X[:, 0], verbose=0))
