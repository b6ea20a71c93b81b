"""A small analog network and its preset, shared by the tests of this folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest


def tiny_network() -> Any:
    """Return a functional network with a shared layer and batch-norm, as a user may bring it."""
    import keras

    inputs = keras.Input((6, 5, 1), name="picture")
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    twice = keras.layers.Dense(4, activation="relu", name="twice")
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(twice(twice(x))), name="tiny")


@pytest.fixture(scope="session")
def analog() -> Any:
    """Return a calibrated analog network; not to be changed."""
    import keras
    import numpy as np

    from analognets.conversion import to_analog
    from analognets.layers import calibrate, freeze_weight_range

    keras.utils.set_random_seed(1)
    network = to_analog(tiny_network(), "aon_cim_6bit", weight_noise=0.05)
    network.get_layer("norm").moving_mean.assign([0.1, -0.2, 0.3, 0.0])
    freeze_weight_range(network)
    calibrate(network, np.random.default_rng(0).normal(size=(64, 6, 5, 1)).astype("float32"))
    return network


@pytest.fixture(scope="session")
def saved(analog: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the analog network's preset; not to be changed."""
    from analognets.zoo.presets.saving import save_to_preset

    folder = tmp_path_factory.mktemp("saved") / "tiny.analog"
    save_to_preset(analog, folder, classes=["a", "b", "c"], data={"name": "made up", "statement": "Noise."})
    return folder


@pytest.fixture
def preset_copy(saved: Path, tmp_path: Path) -> Path:
    """Return a copy of that folder that a test may spoil."""
    return Path(shutil.copytree(saved, tmp_path / "tiny.analog"))
