"""No file is written that computes something else than the network, and no conversion ends this process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from analognets.core.agreement import INT8_LIMIT
from analognets.deploy.export import litert
from analognets.deploy.export.litert import to_litert
from analognets.deploy.export.litert_runtime import Interpreter
from analognets.errors import ConversionError, DataError, InvalidArgumentError

layers = keras.layers
STEPS = 5


def sequence(*blocks: Any) -> keras.Model:
    """Return a network over short sequences."""
    return keras.Sequential([keras.Input((STEPS, 4)), *blocks, layers.Dense(3)], name="steps")


def nested() -> keras.Model:
    """Return a recurrent layer inside a functional model inside a Sequential one."""
    inputs = keras.Input((STEPS, 4))
    inner = keras.Model(inputs, layers.GRU(3, return_sequences=True)(inputs))
    return sequence(keras.Sequential([inner, layers.LSTM(3)]))


RECURRENT = {
    "LSTM": lambda: sequence(layers.LSTM(3)),
    "GRU": lambda: sequence(layers.GRU(3, reset_after=False, return_sequences=True), layers.Flatten()),
    "SimpleRNN": lambda: sequence(layers.SimpleRNN(3, go_backwards=True)),
    "cells": lambda: sequence(layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)])),
    "Bidirectional": lambda: sequence(layers.Bidirectional(layers.LSTM(2))),
    "TimeDistributed": lambda: sequence(layers.TimeDistributed(layers.Dense(3)), layers.Flatten()),
    "ConvLSTM": lambda: sequence(layers.Reshape((STEPS, 4, 1)), layers.ConvLSTM1D(2, 2), layers.Flatten()),
    "masked": lambda: sequence(layers.Masking(), layers.GRU(3)),
    "nested": nested,
}


def data_for(model: keras.Model, count: int = 80) -> np.ndarray:
    """Return inputs of a network."""
    return np.random.default_rng(0).normal(size=(count, *model.input_shape[1:])).astype(np.float32)


def distance(path: Path, model: keras.Model, data: Any) -> float:
    """Return the relative error of a file's outputs, by NumPy alone."""
    expected = np.asarray(model(data, training=False))
    found = Interpreter(path).predict(data)
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("kind", RECURRENT)
def test_recurrent_networks_are_written_in_8_bit(kind: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    model = RECURRENT[kind]()
    data = data_for(model)
    before = model.get_config()
    facts = to_litert(model, tmp_path / "x.tflite", data)
    assert "WHILE" not in facts.operators
    assert distance(facts.path, model, data) < 0.12
    assert 0 < facts.error < INT8_LIMIT
    assert model.get_config() == before


@keras.saving.register_keras_serializable(package="tests_export")
class Loop(layers.Layer):
    """A loop that can't be unrolled."""

    def call(self, inputs: Any) -> Any:
        return keras.ops.fori_loop(0, 3, lambda step, x: keras.ops.tanh(keras.ops.matmul(x, keras.ops.eye(4))), inputs)


def test_a_loop_that_ends_the_converter_is_refused_in_one_sentence(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4), Loop()], name="loops")
    try:
        facts = to_litert(model, tmp_path / "x.tflite", data_for(model))
    except ConversionError as error:
        assert "'loops'" in str(error)
        assert "\n" not in str(error)
        assert list(tmp_path.iterdir()) == []
    else:
        assert distance(facts.path, model, data_for(model)) < 0.1
    small = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    assert to_litert(small, tmp_path / "y.tflite", data_for(small)).error < 0.1


def test_token_numbers_stay_whole(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    words, extra = keras.Input((6,), dtype="int32", name="words"), keras.Input((3,), name="extra")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(1000, 8)(words))
    model = keras.Model([words, extra], layers.Dense(3)(layers.Concatenate()([x, extra])), name="text")
    rng = np.random.default_rng(0)
    data = [rng.integers(0, 1000, (200, 6)), rng.normal(size=(200, 3)).astype(np.float32)]
    facts = to_litert(model, tmp_path / "x.tflite", data)
    assert [(entry.name, entry.dtype) for entry in facts.inputs] == [("words", "int32"), ("extra", "int8")]
    assert distance(facts.path, model, [data[0].astype("int32"), data[1]]) < 0.1
    runner = Interpreter(facts.path)
    with pytest.raises(InvalidArgumentError, match=r"'words' takes whole numbers of type int32. Received: numbers"):
        runner.predict([data[0] + 0.5, data[1]])
    with pytest.raises(InvalidArgumentError, match=r"'words' takes whole numbers of type int32"):
        to_litert(model, tmp_path / "y.tflite", [data[0] + 0.5, data[1]])
    with pytest.raises(InvalidArgumentError, match=r"'extra' takes numbers. Received: .* with NaN"):
        runner.predict([data[0], data[1] * np.nan])


def test_token_numbers_behind_a_float_input_are_refused(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((6,)), layers.Embedding(1000, 8), layers.GlobalAveragePooling1D(), layers.Dense(3)], name="text"
    )
    data = np.random.default_rng(0).integers(0, 1000, (200, 6)).astype(np.float32)
    with pytest.raises(ConversionError, match=r"something else in 8 bit: a relative error of .*dtype='int32'"):
        to_litert(model, tmp_path / "x.tflite", data)
    assert list(tmp_path.iterdir()) == []


def test_text_is_refused(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((1,), dtype="string"), layers.StringLookup(vocabulary=["a", "b"])])
    with pytest.raises(ConversionError, match=r"takes numbers. Received: the text input"):
        to_litert(model, tmp_path / "x.tflite", quantize="none")


def test_numbers_that_do_not_fit_into_8_bit_are_refused(tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(3)(layers.Subtract()([inputs + 1e6, inputs + 1e6 - inputs])))
    with pytest.raises(ConversionError, match=r"a relative error of [\d.e+]+ on 32 samples, where 0.25 is allowed"):
        to_litert(model, tmp_path / "x.tflite", data_for(model))
    assert list(tmp_path.iterdir()) == []


@keras.saving.register_keras_serializable(package="tests_export")
class Dice(layers.Layer):
    """A layer that answers something else each time."""

    def call(self, inputs: Any) -> Any:
        return inputs + keras.random.normal((1, 4), seed=None)


def test_a_float_file_that_differs_is_refused(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), Dice()], name="dice")
    with pytest.raises(ConversionError, match=r"'dice' (computes something else as a .tflite file|can't be written)"):
        to_litert(model, tmp_path / "x.tflite", quantize="none")
    assert list(tmp_path.iterdir()) == []


def test_random_inputs_are_found_for_networks_that_are_choosy(tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2)(keras.ops.log(inputs)))
    assert to_litert(model, tmp_path / "x.tflite", quantize="none").error < 1e-5


def test_nested_outputs_come_in_their_order(tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    outputs = {"b": [layers.Dense(2)(inputs), layers.Dense(3)(inputs)], "a": layers.Dense(5)(inputs)}
    facts = to_litert(keras.Model(inputs, outputs), tmp_path / "x.tflite", quantize="none")
    assert [tensor.shape[-1] for tensor in facts.outputs] == [5, 2, 3]


@pytest.mark.parametrize("kernels", ["reference", "builtin", "optimized"])
def test_sums_in_8_bit_are_right_with_all_kernels(kernels: str, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((16,)), layers.UnitNormalization(), layers.Dense(3)])
    data = data_for(model) * np.random.default_rng(1).uniform(0.5, 2, (80, 1)).astype(np.float32)
    facts = to_litert(model, tmp_path / "x.tflite", data)
    assert "SUM" in facts.operators
    expected = np.asarray(model(data))
    found = Interpreter(facts.path, kernels=kernels).predict(data)
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 0.05


def test_a_converter_that_dies_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(litert, "WORKER", (sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"))
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)], name="victim")
    with pytest.raises(ConversionError, match=r"converter was ended by SIGSEGV on model 'victim' in 8 bit, so no file"):
        to_litert(model, tmp_path / "x.tflite", data_for(model))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match=r"exists already"):
        (tmp_path / "z.tflite").write_text("kept")
        to_litert(model, tmp_path / "z.tflite", data_for(model))
