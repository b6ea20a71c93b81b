"""Hardware that differs between layers: conversion, calibration, cost, chips, presets, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import analognets as an
from analognets import crossbar
from analognets.conversion import plan, to_analog
from analognets.deploy import Chips, cost, program
from analognets.deploy.studies.other_hardware import hardware_with
from analognets.errors import ChipFileError, ConversionError, InvalidArgumentError, UnknownNameError
from analognets.layers import analog_layers, calibrate

MIXED = {"default": "aon_cim_8bit", "first": "aon_cim_4bit", "last": "digital", "lstm_recurrent": "aon_cim_6bit"}


def inputs(samples: int = 64) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(samples, 4, 3)).astype("float32")


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((4, 3)),
            layers.LSTM(4, name="lstm"),
            layers.Dense(5, name="first", activation="relu"),
            layers.Dense(4, name="second"),
            layers.Dense(3, name="last"),
        ],
        name="mixed",
    )


@pytest.fixture(scope="module")
def analog(network: keras.Model) -> keras.Model:
    return to_analog(network, MIXED, calibrate_on=inputs())


def bits(model: keras.Model) -> dict[str, Any]:
    return {layer.name: layer.crossbar.adc_bits for layer in analog_layers(model)}


WANTED = {"lstm_input": 8, "lstm_recurrent": 6, "first": 4, "second": 8}


def test_each_layer_has_its_own_hardware_and_all_share_one_gain(network: keras.Model, analog: keras.Model) -> None:
    assert bits(analog) == WANTED
    assert len({id(layer.adc_gain) for layer in analog_layers(analog)}) == 1
    planned = {row.layer: row.converted for row in plan(network, MIXED).layers}
    assert planned == {"lstm_input": True, "lstm_recurrent": True, "first": True, "second": True, "last": False}
    assert "aon_cim_8bit, aon_cim_4bit in 1 layer, aon_cim_6bit in 1 layer" in str(analog.conversion_report)


def test_the_same_hardware_for_all_is_as_before(network: keras.Model) -> None:
    outputs = []
    for hardware in ("aon_cim_6bit", {"default": "aon_cim_8bit", "lstm": "aon_cim_6bit", "first": "aon_cim_6bit",
                                      "second": "aon_cim_6bit", "last": "aon_cim_6bit"}):  # fmt: skip
        outputs.append(np.asarray(to_analog(network, hardware, calibrate_on=inputs()).predict(inputs(8), verbose=0)))
    np.testing.assert_array_equal(*outputs)


def test_of_two_that_hold_a_layer_the_inner_one_counts() -> None:
    block = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(3, name="b")])
    block.name = "block"
    model = keras.Sequential([keras.Input((3,)), block, keras.layers.Dense(2, name="c")])
    for names in (("block", "b"), ("b", "block")):
        hardware = {"default": "aon_cim_8bit"} | {name: f"aon_cim_{6 if name == 'b' else 4}bit" for name in names}
        assert bits(to_analog(model, hardware)) == {"a": 4, "b": 6, "c": 8}
    assert bits(to_analog(model, {"default": "aon_cim_8bit", "block": "digital", "b": "aon_cim_6bit"})) == {
        "b": 6,
        "c": 8,
    }


def test_tiles_and_devices_of_a_layer_are_its_own() -> None:
    model = keras.Sequential([keras.Input((40,)), keras.layers.Dense(6, name="a"), keras.layers.Dense(2, name="b")])
    small = crossbar.get("aon_cim_8bit").replace(rows=16, device="reram")
    rows = {row.layer: row.tiles for row in plan(model, {"default": "aon_cim_8bit", "a": small}).layers}
    assert rows == {"a": 3, "b": 1}
    made = to_analog(model, {"default": "aon_cim_8bit", "a": small}, calibrate_on=np.eye(40))
    kinds = {layer.name: type(layer.crossbar.device).__name__ for layer in analog_layers(made)}
    assert kinds["a"] != kinds["b"]
    assert np.isfinite(program(made, chips=2).predict(np.eye(40, dtype="float32"), at="1d")).all()


def test_files_hold_it(analog: keras.Model, tmp_path: Path) -> None:
    analog.save(tmp_path / "mixed.keras")
    assert bits(keras.models.load_model(tmp_path / "mixed.keras")) == WANTED
    an.zoo.save_to_preset(analog, tmp_path / "preset", classes=["a", "b", "c"], precision="float32")
    opened = an.zoo.load_preset(tmp_path / "preset")
    assert bits(opened.model()) == WANTED
    np.testing.assert_array_equal(opened.model()(inputs(4)), analog(inputs(4)))
    assert "hardware by layer" in (tmp_path / "preset" / "README.md").read_text("utf-8")


def test_chips_remember_the_hardware_of_each_layer(network: keras.Model, analog: keras.Model, tmp_path: Path) -> None:
    chips = program(analog, chips=2, seed=1)
    chips.save(tmp_path / "chips")
    again = Chips.load(tmp_path / "chips", analog)
    np.testing.assert_array_equal(chips.predict(inputs(4), at="1d"), again.predict(inputs(4), at="1d"))
    weak = crossbar.get("aon_cim_4bit").replace(rows=512)
    other = to_analog(network, {**MIXED, "first": weak}, calibrate_on=inputs())
    with pytest.raises(ChipFileError, match="are of other hardware"):
        Chips.load(tmp_path / "chips", other)


def test_the_cost_counts_each_layer_at_its_bits(analog: keras.Model) -> None:
    mixed = cost(analog)
    table = mixed.table().set_index("layer")
    assert mixed.resolution == "4, 6 and 8 bit"
    for name, width in WANTED.items():
        alone = cost(analog, bits=width).table().set_index("layer")
        assert table.loc[name, "bits"] == width
        assert table.loc[name, "time_us"] == pytest.approx(alone.loc[name, "time_us"])
        assert table.loc[name, "energy_uj"] == pytest.approx(alone.loc[name, "energy_uj"])
    assert cost(analog, bits={"first": 8, "lstm_recurrent": 8}).energy_uj == pytest.approx(
        cost(analog, bits=8).energy_uj
    )
    with pytest.raises(UnknownNameError, match="layer with bits of its own"):
        cost(analog, bits={"nowhere": 4})


def test_a_shared_gain_is_set_for_the_bits_of_each_layer(network: keras.Model) -> None:
    gains = {}
    for name, hardware in (("4", "aon_cim_4bit"), ("8", "aon_cim_8bit"), ("mixed", MIXED)):
        model = to_analog(network, hardware)
        calibrate(model, inputs())
        gains[name] = float(analog_layers(model)[0].adc_gain.gain.value)
    assert gains["4"] <= gains["mixed"] <= gains["8"]


@pytest.mark.parametrize(
    ("hardware", "error", "match"),
    [
        ({"first": "aon_cim_4bit"}, InvalidArgumentError, r"needs 'default'.*Received: \{'first'"),
        ({"default": "aon_cim_8bit", "frist": "aon_cim_4bit"}, UnknownNameError, "hardware of its own.*'frist'"),
        ({"default": "aon_cim_8bit", "first": 4}, InvalidArgumentError, "Received: 4"),
        ({"default": "aon_cim_8bit", "first": "aon"}, UnknownNameError, "hardware preset.*'aon'"),
        (dict.fromkeys(("default", "lstm", "first", "second", "last"), "digital"), UnknownNameError, "'digital'"),
    ],
)
def test_refusals(network: keras.Model, hardware: Any, error: type, match: str) -> None:
    with pytest.raises(error, match=match):
        to_analog(network, hardware)


def test_studies_of_bits_refuse_different_ones(analog: keras.Model) -> None:
    with pytest.raises(ConversionError, match="whose layers lie on different hardware"):
        hardware_with(analog, 6)
