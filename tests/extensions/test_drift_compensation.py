"""Rules of drift compensation that this file alone knows: nothing inside the package names them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from analognets.conversion import to_analog
from analognets.crossbar import Crossbar, product_error
from analognets.deploy.chips.chips import Chips, program
from analognets.deploy.studies.sensitivity import sweep_nonideality
from analognets.devices import DriftCompensation, IdealDevice
from analognets.errors import DataWarning
from analognets.layers import analog_layers, calibrate, set_hardware


@keras.saving.register_keras_serializable(package="my_lab")
@dataclasses.dataclass(frozen=True)
class MedianCompensation(DriftCompensation):
    """One factor per tile from its median |weight| of those that are not small."""

    least: float = 0.05

    def response(self, weights: Any) -> Any:
        size = ops.abs(ops.convert_to_tensor(weights, "float32"))
        return ops.maximum(ops.quantile(size, 0.5), self.least)


@keras.saving.register_keras_serializable(package="my_lab")
@dataclasses.dataclass(frozen=True)
class RowBlockCompensation(DriftCompensation):
    """One factor per row block, from the mean response of its tiles."""

    def response(self, weights: Any) -> Any:
        return ops.maximum(ops.mean(ops.abs(weights)), 1e-4)

    def scale(self, reference: Any, now: Any) -> Any:
        return np.mean(reference, axis=1, keepdims=True) / np.mean(now, axis=1, keepdims=True)


@keras.saving.register_keras_serializable(package="my_lab")
@dataclasses.dataclass(frozen=True)
class InputRangeCompensation(DriftCompensation):
    """The DAC's range becomes smaller, so that inputs grow as weights decay; nothing is scaled after the ADC."""

    def response(self, weights: Any) -> Any:
        return ops.maximum(ops.mean(ops.abs(weights)), 1e-4)

    def scale(self, reference: Any, now: Any) -> Any:
        return np.ones_like(now)

    def input_scale(self, reference: Any, now: Any) -> Any:
        return np.mean(reference, axis=1) / np.mean(now, axis=1)


RULES = [MedianCompensation(0.02), RowBlockCompensation(), InputRangeCompensation()]
SPLIT = {"rows": 40, "cols": 6}


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(100, 64)).astype("float32")


def network(inputs: np.ndarray, hardware: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(20, activation="relu"), keras.layers.Dense(10)]
    model = to_analog(keras.Sequential([keras.Input((64,)), *layers]), hardware)
    calibrate(model, inputs)
    return model


def away(model: keras.Model, inputs: np.ndarray, wanted: np.ndarray, **settings: Any) -> float:
    chips = program(model, 3, seed=1)
    return float(
        np.mean([np.abs(chips.predict(inputs, chip=i, at="1y", **settings) - wanted).mean() for i in range(3)])
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize("hardware", ["aon_cim_8bit", "split", "aimc_standard"])
def test_it_corrects_drift_on_any_hardware(rule: DriftCompensation, hardware: str, inputs: np.ndarray) -> None:
    chosen = Crossbar(**SPLIT) if hardware == "split" else Crossbar.from_preset(hardware)
    model = network(inputs, chosen.replace(drift_compensation=rule))
    wanted = model.predict(inputs, verbose=0)
    assert away(model, inputs, wanted) < 0.7 * away(model, inputs, wanted, drift_compensation=False)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_plain_and_fused_evaluation_agree(rule: DriftCompensation, inputs: np.ndarray) -> None:
    model = network(inputs, Crossbar(drift_compensation=rule))
    chips = program(model, 1)
    plain, fused = (chips.predict(inputs, at="1y", mode=mode) for mode in ("plain", "fused"))
    assert np.mean(np.abs(plain - fused).max(axis=1) < 1e-4) > 0.9
    table = chips.evaluate((inputs, plain.argmax(1)), at=["1d", "1y"], drift_compensation="both")
    assert len(table) == 4 and table.query("at == '1y' and drift_compensation")["accuracy"].item() > 0.95


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_models_and_chips_are_stored_and_opened(rule: DriftCompensation, inputs: np.ndarray, tmp_path: Path) -> None:
    model = network(inputs, Crossbar(drift_compensation=rule, **SPLIT))
    config = analog_layers(model)[0].crossbar.get_config()
    assert Crossbar.from_config(config).drift_compensation == rule
    assert Crossbar(drift_compensation=config["drift_compensation"]).drift_compensation == rule
    chips = program(model, 1)
    chips.save(tmp_path / "chips")
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert analog_layers(again)[0].crossbar.drift_compensation == rule
    opened = Chips.load(tmp_path / "chips", again)
    np.testing.assert_array_equal(opened.predict(inputs, at="1y"), chips.predict(inputs, at="1y"))


def test_a_sweep_and_a_lab_export_take_it(inputs: np.ndarray, tmp_path: Path) -> None:
    rule = RULES[0]
    model = network(inputs, Crossbar.from_preset("aimc_standard").replace(drift_compensation=rule))
    labels = model.predict(inputs, verbose=0).argmax(1)
    table = sweep_nonideality(model, "output_noise", [0.0, 0.04], tmp_path / "sweep", data=(inputs, labels), chips=2)
    assert set(table["status"]) == {"ok"} and table["accuracy"].min() > 0.5
    plain = program(network(inputs, Crossbar(drift_compensation=rule, **SPLIT)), 1)
    plain.export_targets(tmp_path / "targets")
    with pytest.warns(DataWarning, match="holds no measured"):
        lab = Chips.import_measured(tmp_path / "targets", plain.model)
    assert lab.predict(inputs).shape == (100, 10)
    text = (tmp_path / "targets" / "index.json").read_text("utf-8")
    assert "my_lab>MedianCompensation" in text and "median |weight|" in text


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_the_error_of_a_product_falls(rule: DriftCompensation) -> None:
    hardware = Crossbar.from_preset("aimc_standard").replace(drift_compensation=rule)
    on, off = (
        product_error(hardware, at="1y", size=64, vectors=100, chips=2, drift_compensation=way).error
        for way in (True, False)
    )
    assert on < off


def test_input_and_output_factors_are_the_same_where_converters_are_ideal(inputs: np.ndarray) -> None:
    outputs = []
    for rule in (RowBlockCompensation(), InputRangeCompensation()):
        model = network(inputs, Crossbar(drift_compensation=rule, dac_bits=None, adc_bits=None, **SPLIT))
        outputs.append(program(model, 1).predict(inputs, at="1y"))
    np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-5)


def test_without_drift_nothing_is_changed(inputs: np.ndarray) -> None:
    model = network(inputs, Crossbar(device=IdealDevice(), drift_compensation=None))
    plain = program(model, 1).predict(inputs)
    for rule in RULES:
        set_hardware(model, analog_layers(model)[0].crossbar.replace(drift_compensation=rule))
        np.testing.assert_array_equal(program(model, 1).predict(inputs), plain)
