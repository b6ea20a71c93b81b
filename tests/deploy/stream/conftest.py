"""A network that hears loud sound, digital and on a chip, and a stream with bursts."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
import pytest

from analognets.conversion import to_analog
from analognets.datasets.frontend import MFCC
from analognets.deploy.chips.chips import Chips, program
from analognets.layers import calibrate

CLASSES = ("silence", "loud", "unknown")


class Toy(NamedTuple):
    """A network for `CLASSES` and its front end."""

    model: keras.Model
    frontend: MFCC
    classes: tuple[str, ...]


def toy_model() -> keras.Model:
    """Return a network that says "loud" where the mean of the first coefficient is above -20."""
    inputs = keras.Input((49, 10, 1))
    mean = keras.layers.GlobalAveragePooling2D()(keras.layers.Cropping2D(((0, 0), (0, 9)))(inputs))
    dense = keras.layers.Dense(3, name="logits")
    model = keras.Model(inputs, dense(mean), name="toy")
    dense.set_weights([np.array([[0.0, 0.5, 0.0]]), np.array([0.0, 10.0, -5.0])])
    return model


def stream_with_bursts(seconds: float, starts: tuple[float, ...], rate: int = 16_000) -> np.ndarray:
    """Return faint noise with a loud second at each start, float32."""
    rng = np.random.default_rng(1)
    sound = 1e-4 * rng.normal(size=round(seconds * rate))
    for start in starts:
        part = slice(round(start * rate), round((start + 1) * rate))
        sound[part] = 0.1 * rng.normal(size=len(sound[part]))
    return sound.astype(np.float32)


@pytest.fixture(scope="session")
def toy() -> Toy:
    return Toy(toy_model(), MFCC(), CLASSES)


@pytest.fixture(scope="session")
def toy_chips(toy: Toy) -> Chips:
    """Return two chips of the network."""
    analog = to_analog(toy.model, "aon_cim_8bit")
    sound = stream_with_bursts(20, (3.0, 9.0, 12.0)).reshape(20, 16_000)
    calibrate(analog, np.asarray(toy.frontend(sound)))
    return program(analog, chips=2)


@pytest.fixture(scope="session")
def bursts() -> np.ndarray:
    """Return 12 s with loud seconds from 3 s and from 7 s on."""
    return stream_with_bursts(12, (3.0, 7.0))
