"""Whether outputs are probabilities: told from the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from analognets.deploy.export.output_kind import gives_probabilities

L = keras.layers


def sequential(*layers: Any) -> keras.Model:
    return keras.Sequential([keras.Input((6,)), *layers])


def merged(kind: type) -> keras.Model:
    inputs = keras.Input((6,))
    return keras.Model(inputs, kind()([L.Dense(3, activation="softmax")(inputs) for _ in range(2)]))


def operations() -> keras.Model:
    inputs = keras.Input((6,))
    return keras.Model(inputs, keras.ops.reshape(keras.ops.softmax(L.Dense(4)(inputs)), (-1, 2, 2)))


def behind(step: Callable[[Any], Any]) -> keras.Model:
    inputs = keras.Input((6,))
    return keras.Model(inputs, step(L.Dense(3, activation="softmax")(inputs)))


class Own(keras.Model):
    """A network without a graph."""

    def __init__(self, activation: str | None) -> None:
        super().__init__()
        self.hidden, self.head = L.Dense(4), L.Dense(3, activation=activation)

    def call(self, inputs: Any) -> Any:
        return self.head(self.hidden(inputs))


def own(activation: str | None) -> keras.Model:
    model = Own(activation)
    model(np.zeros((1, 6)))
    return model


def nested() -> keras.Model:
    head = keras.Sequential([keras.Input((5,)), L.Dense(3), L.Softmax()])
    return sequential(L.Dense(5), head, L.Reshape((3, 1)))


@pytest.mark.parametrize(
    ("build", "wanted"),
    [
        (lambda: sequential(L.Dense(3)), False),
        (lambda: sequential(L.Dense(3, activation="softmax")), True),
        (lambda: sequential(L.Dense(3), L.Activation("softmax"), L.Flatten(), L.Dropout(0.5)), True),
        (lambda: sequential(L.Dense(1, activation="sigmoid"), L.Activation("linear")), True),
        (lambda: sequential(L.Dense(3, activation="softmax"), L.Dense(3)), False),
        (lambda: sequential(L.Dense(3, activation="softmax"), L.ReLU()), False),
        (nested, True),
        (lambda: merged(L.Average), True),
        (lambda: merged(L.Add), False),
        (operations, True),
        (lambda: sequential(L.Reshape((2, 3)), L.TimeDistributed(L.Dense(3, activation="softmax"))), True),
        (lambda: sequential(L.Reshape((2, 3)), L.TimeDistributed(L.Dense(3))), False),
        (lambda: sequential(L.Reshape((2, 3)), L.Dense(3, activation="softmax"), L.GlobalAveragePooling1D()), True),
        (lambda: behind(lambda x: keras.ops.cast(x, "float32")), True),
        (lambda: behind(lambda x: x[:, 0]), True),
        (lambda: behind(lambda x: keras.ops.squeeze(x[:, :1], 1)), True),
        (lambda: behind(lambda x: 2 * x), False),
        (lambda: own("softmax"), True),
        (lambda: own(None), False),
    ],
)
def test_probabilities_are_told_from_logits(build: Callable[[], keras.Model], wanted: bool) -> None:
    assert gives_probabilities(build()) == wanted
