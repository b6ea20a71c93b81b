"""Digital low-rank adapters (LoRA) beside frozen analog kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from analognets import deploy
from analognets.conversion import to_analog, to_digital
from analognets.deploy.accelerator.workload import workload
from analognets.layers import AnalogDense, AnalogEinsumDense, analog_layers

L = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 8)).astype("float32")
S = RNG.normal(size=(8, 5, 6)).astype("float32")


def adapted(model: keras.Model, rank: int = 2, **settings: Any) -> keras.Model:
    for layer in analog_layers(model):
        layer.enable_lora(rank, **settings)
        layer.lora_kernel_b.assign(np.random.default_rng(1).normal(size=layer.lora_kernel_b.shape))
    return model


def network() -> keras.Model:
    return keras.Sequential([keras.Input((8,)), L.Dense(8, activation="relu"), L.Dense(4)])


@pytest.mark.parametrize(
    ("layer", "equation"),
    [
        (AnalogDense(7), "abc,cd->abd"),
        (AnalogEinsumDense("abc,cd->abd", (None, 7)), "abc,cd->abd"),
        (AnalogEinsumDense("abc,cde->abde", (None, 2, 7), bias_axes="de"), "abc,cde->abde"),
        (AnalogEinsumDense("abc,dbce->ade", (3, 7)), "abc,dbce->ade"),
    ],
)
def test_outputs_are_those_of_kernel_and_adapter(layer: Any, equation: str) -> None:
    before = keras.ops.convert_to_numpy(layer(S))
    layer.enable_lora(2, lora_alpha=6)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(S)), before)  # B is zero at first
    layer.lora_kernel_b.assign(RNG.normal(size=layer.lora_kernel_b.shape))
    delta = np.einsum("...r,rz->...z", layer.lora_kernel_a.numpy(), layer.lora_kernel_b.numpy())
    wanted = before + 3 * np.einsum(equation, S, delta)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(S)), wanted, rtol=1e-4, atol=1e-4)


def test_adapters_are_trained_and_the_array_is_not() -> None:
    analog = to_analog(network(), weight_noise=0.02, calibrate_on=X)
    for layer in analog_layers(analog):
        layer.enable_lora(2)
    kernels = [layer.kernel_variable.numpy() for layer in analog_layers(analog)]
    analog.trainable = False
    analog.trainable = True  # Keras unfreezes all variables by this
    analog.compile(keras.optimizers.Adam(0.05), "mse")
    losses = analog.fit(X, np.ones((32, 4)), epochs=10, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    for before, layer in zip(kernels, analog_layers(analog), strict=True):
        np.testing.assert_array_equal(layer.kernel_variable.numpy(), before)
        assert np.abs(layer.lora_kernel_b.numpy()).max() > 0


def sequences() -> keras.Model:
    inputs = keras.Input((5, 6))
    x = L.MultiHeadAttention(2, 3)(inputs, inputs)
    x = L.GRU(3, reset_after=False, return_sequences=True)(x)
    x = L.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de")(x)
    return keras.Model(inputs, L.Conv2D(3, 2, groups=3)(x))


@pytest.mark.filterwarnings("ignore:Skipping nested container")  # Keras, where a layer refuses a file
@pytest.mark.parametrize(("make", "data"), [(network, X), (sequences, S)])
def test_files_and_digital_twins_hold_the_adapters(make: Any, data: Any, tmp_path: Path) -> None:
    model = make()
    analog = adapted(to_analog(model), lora_alpha=6)
    wanted = analog.predict(data, verbose=0)
    assert np.abs(wanted - model.predict(data, verbose=0)).max() > 0.1
    analog.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    np.testing.assert_array_equal(loaded.predict(data, verbose=0), wanted)
    analog.save_weights(tmp_path / "a.weights.h5")
    plain = to_analog(model)
    with pytest.raises(ValueError, match="enable_lora"):
        plain.load_weights(tmp_path / "a.weights.h5")
    plain = adapted(to_analog(model), lora_alpha=6)
    plain.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(plain.predict(data, verbose=0), wanted)
    np.testing.assert_allclose(to_digital(analog).predict(data, verbose=0), wanted, rtol=1e-4, atol=1e-4)


def test_weights_from_before_the_adapters_open(tmp_path: Path) -> None:
    model = network()
    analog = to_analog(model, calibrate_on=X)
    analog.save_weights(tmp_path / "a.weights.h5")
    again = adapted(to_analog(model))
    again.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(again.predict(X, verbose=0), analog.predict(X, verbose=0))
    assert np.abs(analog_layers(again)[0].lora_kernel_a.numpy()).max() > 0  # or it could not be trained


def test_programmed_chips_use_the_adapters_and_costs_name_them() -> None:
    analog = to_analog(network(), calibrate_on=X)
    chips = deploy.program(analog, 1)
    alone = chips.predict(X)
    adapted(analog)
    chips = deploy.program(analog, 1)
    both = chips.predict(X)
    assert chips.runner().mode == "plain"
    assert np.abs(both - alone).max() > 0.1
    for layer in analog_layers(analog):
        layer.lora_kernel_b.assign(np.zeros(layer.lora_kernel_b.shape))
    np.testing.assert_allclose(
        chips.predict(X), alone, atol=0.1
    )  # a step of a converter: the fused pass rounds otherwise
    assert [entry[0] for entry in workload(analog).unmodelled] == [f"{one.name}_lora" for one in analog_layers(analog)]
