"""Ageing predicted from mean network and gradients: equal to the mean network, close to many chips, or flagged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from analognets.conversion import to_analog
from analognets.deploy import predict_ageing, program
from analognets.layers import calibrate, freeze_weight_range

TIMES = ["25s", "1h", "1d", "30d", "1y"]
SHAPE = (6, 4, 1)


def trained(net: keras.Model, inputs: np.ndarray, labels: np.ndarray, hardware: Any = "aon_cim_8bit") -> keras.Model:
    """Return an analog network that has learned samples in a few steps."""
    net.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    net.fit(inputs, labels, epochs=3, batch_size=50, verbose=0)
    model = to_analog(net, hardware)
    freeze_weight_range(model)
    calibrate(model, inputs[:300])
    return model


@pytest.fixture(scope="module")
def drawn() -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Return a function of a seed that draws samples of four classes that overlap."""
    centres = np.random.default_rng(0).normal(size=(4, *SHAPE))

    def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(seed)
        labels = random.integers(0, 4, 600)
        return (centres[labels] + 1.6 * random.normal(size=(600, *SHAPE))).astype(np.float32), labels

    return draw


def convolutional() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(4),
        ]
    )


@pytest.fixture(scope="module")
def network(drawn: Callable[[int], Any]) -> keras.Model:
    return trained(convolutional(), *drawn(1))


def test_mean_and_spread_are_those_of_two_hundred_chips(network: keras.Model, drawn: Callable[[int], Any]) -> None:
    samples = drawn(2)
    found = predict_ageing(network, samples, TIMES, samples=300, seed=3)
    chips = program(network, chips=200, seed=0).evaluate(samples, at=TIMES).groupby("seconds")["accuracy"]
    mean, std = chips.mean().to_numpy(), chips.std().to_numpy()
    print(found.to_string())
    print(mean, std)
    assert list(found["at"]) == TIMES and (found["flag"] == "").all()
    assert np.abs(found["mean"].to_numpy() - mean).max() < 1e-3
