"""Ranges under averaging optimizers, freezing, dtype policies, masks, shapes, and backends and strategies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from analognets import deploy
from analognets.conversion import to_analog, to_digital
from analognets.errors import ConversionError, InvalidArgumentError
from analognets.layers import (
    AnalogDense,
    AnalogGRU,
    AnalogMultiHeadAttention,
    AnalogTimeDistributed,
    analog_layers,
    freeze_weight_range,
)

L = keras.layers
HERE = Path(__file__).parent
X = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")
S = np.random.default_rng(0).normal(size=(4, 5, 8)).astype("float32")


def network() -> keras.Model:
    return keras.Sequential([keras.Input((8,)), L.Dense(8, activation="relu"), L.Dense(4)])


def test_weights_beyond_the_frozen_range_count_as_at_its_end() -> None:
    analog = to_analog(network(), calibrate_on=X)
    analog.compile(keras.optimizers.Adam(0.2, use_ema=True), "mse", jit_compile=False)
    analog.fit(X, np.ones((32, 4)), epochs=5, verbose=0)
    layer = analog_layers(analog)[0]
    largest = float(layer.w_max.numpy())
    kernel = layer.kernel_variable.numpy()
    kernel[0, :2] = [1.02 * largest, -1.02 * largest]
    layer.kernel_variable.assign(kernel)  # as averages are written back, past the constraint
    outputs, programmed = analog.predict(X, verbose=0), deploy.program(analog, 1).predict(X)
    assert np.abs(keras.ops.convert_to_numpy(layer.crossbar_kernel())).max() <= largest
    assert np.abs(keras.ops.convert_to_numpy(layer.effective_kernel(training=True))).max() <= largest
    layer.kernel_variable.assign(np.clip(kernel, -largest, largest))
    np.testing.assert_array_equal(analog.predict(X, verbose=0), outputs)
    np.testing.assert_array_equal(deploy.program(analog, 1).predict(X), programmed)


def test_the_gain_is_frozen_with_all_layers_only() -> None:
    analog = to_analog(network())
    first, second = analog_layers(analog)
    gain = first.adc_gain.gain
    first.trainable = False
    names = {id(variable) for variable in analog.trainable_variables}
    assert id(gain) in names
    assert not names & {id(first.kernel_variable), id(first.bias), id(first.input_range)}
    second.trainable = False
    assert not analog.trainable_variables
    analog.trainable = True
    first.adc_gain.trainable = False
    analog.trainable = True
    assert id(gain) not in {id(variable) for variable in analog.trainable_variables}


@pytest.mark.parametrize("policy", ["int8_from_float32", "int4_from_float32", "float8_from_float32"])
def test_a_quantised_policy_is_refused(policy: str) -> None:
    for make in (lambda: AnalogDense(3, dtype=policy), lambda: AnalogGRU(3, dtype=policy)):
        with pytest.raises(InvalidArgumentError, match="float policy"):
            make()
    with pytest.raises(ConversionError, match="can't be quantised"):
        analog_layers(to_analog(network()))[0].quantize("int8")


@pytest.mark.parametrize("mode", ["float8", "int8"])
@pytest.mark.parametrize("late", [False, True])
def test_quantised_layers_elsewhere_stay_as_they_are(mode: str, late: bool) -> None:
    first = L.Dense(8) if late else L.Dense(8, dtype=f"{mode}_from_float32")
    model = keras.Sequential([keras.Input((8,)), first, L.Dense(4)])
    if late:
        first.quantize(mode)
    analog = to_analog(model)
    np.testing.assert_array_equal(analog.predict(X, verbose=0), model.predict(X, verbose=0))
    np.testing.assert_array_equal(to_digital(analog).predict(X, verbose=0), model.predict(X, verbose=0))


def test_attention_checks_its_shapes() -> None:
    layer = AnalogMultiHeadAttention(2, 3)
    with pytest.raises(InvalidArgumentError, match="must be equal"):
        layer.build((2, 5, 8), (2, 4, 8), (2, 6, 8))


@pytest.mark.parametrize("mask", [np.ones((4,)), np.ones((4, 6)), np.ones((3, 5))])
def test_masks_of_another_shape_are_refused(mask: np.ndarray) -> None:
    layer = AnalogTimeDistributed(AnalogDense(3))
    layer(S, mask=keras.ops.ones((4, 5), "bool"))
    with pytest.raises(InvalidArgumentError, match="samples and steps"):
        layer(S, mask=keras.ops.convert_to_tensor(mask.astype(bool)))


def test_a_wrapper_has_the_dtype_of_its_policy() -> None:
    layer = AnalogTimeDistributed(AnalogDense(3, dtype="float32"), dtype="mixed_bfloat16")
    assert layer(keras.KerasTensor((4, 5, 8))).dtype == keras.backend.standardize_dtype(layer(S).dtype) == "bfloat16"


@pytest.mark.parametrize("layer", [lambda: L.Bidirectional(L.LSTM(3)), lambda: L.TimeDistributed(L.Dense(3))])
def test_wrappers_are_refused_on_backends_they_are_not_tested_on(layer: Any, monkeypatch) -> None:
    model = keras.Sequential([keras.Input((5, 8)), layer(), L.Flatten(), L.Dense(2)])
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(ConversionError, match="backend 'torch'"):
        to_analog(model)


def test_chips_are_refused_on_other_backends(monkeypatch) -> None:
    analog = to_analog(network(), calibrate_on=X)
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(InvalidArgumentError, match="tensorflow and jax alone. Received: backend 'torch'"):
        deploy.program(analog, 1)


def test_everything_works_in_the_scope_of_a_strategy() -> None:
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    command = [sys.executable, str(HERE / "run_in_strategy.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "mirrored" in done.stdout


def test_range_of_a_layer_shared_by_columns_is_spread_on_any_backend() -> None:
    analog = to_analog(network(), "aimc_standard")
    freeze_weight_range(analog)
    layer = analog_layers(analog)[0]
    spread = keras.ops.convert_to_numpy(layer.range_on_kernel(keras.ops.convert_to_tensor(layer.w_max)))
    np.testing.assert_array_equal(spread, np.broadcast_to(layer.w_max.numpy(), (8, 8)))
