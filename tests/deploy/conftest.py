from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from analognets import devices
from analognets.conversion import to_analog
from analognets.crossbar import Crossbar
from analognets.layers import calibrate

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def numpy_reference() -> ModuleType:
    """Return the forward path in plain NumPy."""
    spec = importlib.util.spec_from_file_location("deploy_numpy_reference", HERE / "chips" / "numpy_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def settle(model: keras.Model, seed: int = 0) -> None:
    """Give the batch-norms and biases values that matter."""
    rng = np.random.default_rng(seed)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.gamma.assign(rng.uniform(0.5, 1.5, shape))
            layer.beta.assign(rng.normal(0, 0.3, shape))
            layer.moving_mean.assign(rng.normal(0, 0.2, shape))
            layer.moving_variance.assign(rng.uniform(0.3, 1.0, shape))
        elif getattr(layer, "use_bias", False):
            layer.bias.assign(rng.normal(0, 0.2, layer.bias.shape))


def small_net(seed: int = 0) -> keras.Model:
    """Return two convolutions with batch-norm and ReLU, a dense layer with ReLU and the logits."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    inputs = keras.Input((7, 5, 2))
    x = layers.Conv2D(4, 3, padding="same", name="conv_1")(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(5, (3, 2), strides=2, use_bias=False, name="conv_2")(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(6, activation="relu", name="hidden")(x)
    model = keras.Model(inputs, layers.Dense(3, name="logits")(x), name="small_net")
    settle(model, seed)
    return model


@keras.saving.register_keras_serializable(package="tests_deploy")
class Branches(keras.Model):
    """A subclassed model: a nested block, a residual connection, a layer in a list."""

    def __init__(self, width: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.stem = keras.layers.Conv2D(width, 3, padding="same", name="stem")
        self.block = keras.Sequential(
            [keras.layers.Conv2D(width, 3, padding="same", name="inner"), keras.layers.ReLU()], name="block"
        )
        self.heads = [keras.layers.Dense(3, name="head")]
        self.pool = keras.layers.GlobalAveragePooling2D()

    def call(self, inputs: Any) -> Any:
        x = self.stem(inputs)
        return self.heads[0](self.pool(x + self.block(x)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width}


def subclassed() -> keras.Model:
    keras.utils.set_random_seed(1)
    model = Branches()
    model(np.zeros((1, 7, 5, 2), np.float32))
    return model


def adc_step(model: keras.Model) -> float:
    """Return the logits' ADC step."""
    last = model.get_layer("logits")
    return float(last.adc_range()) / (2 ** (last.crossbar.adc_bits - 1) - 1)


@pytest.fixture(scope="session")
def samples() -> np.ndarray:
    return np.random.default_rng(7).normal(size=(200, 7, 5, 2)).astype(np.float32)


@pytest.fixture(scope="session")
def make(samples: np.ndarray) -> Callable[..., keras.Model]:
    """Return a function that makes a calibrated analog net for a device and other settings of the crossbar."""

    def build(device: Any = "pcm", net: Callable[[], keras.Model] = small_net, **settings: Any) -> keras.Model:
        model = to_analog(net(), Crossbar(device=device, **settings))
        if settings.get("dac_bits", 8) is not None or settings.get("adc_bits", 8) is not None:
            calibrate(model, samples)
        else:
            for layer in model.layers:
                if hasattr(layer, "calibrated"):
                    layer.calibrated = True
        return model

    return build


@pytest.fixture(scope="session")
def nets() -> SimpleNamespace:
    """Return nets and helpers that several test files use."""
    return SimpleNamespace(small_net=small_net, subclassed=subclassed, adc_step=adc_step)


@pytest.fixture(scope="session")
def quiet_pcm() -> devices.Device:
    """Return PCM without read noise, so that a reading follows from the stored state alone."""
    return devices.PCM(read_noise_scale=0)
