"""Drift compensation per column on programmed chips: plain, fused, split rows, realistic, stored and measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from analognets.conversion import to_analog
from analognets.deploy.chips.chips import Chips, program
from analognets.deploy.lab import format as form
from analognets.deploy.lab.recording import record_simulated
from analognets.devices import PCM, InputDriftCompensation, get_drift_compensation
from analognets.errors import ChipFileError
from analognets.layers import analog_layers, calibrate, set_hardware

Make = Callable[..., keras.Model]


def away(chips: Chips, samples: np.ndarray, wanted: np.ndarray, **settings: Any) -> float:
    return float(
        np.mean([np.abs(chips.predict(samples, chip=i, **settings) - wanted).mean() for i in range(len(chips))])
    )


@pytest.mark.parametrize("rule", ["global", "column", "input"])
def test_plain_and_fused_agree_within_a_converter_step(
    make: Make, nets: SimpleNamespace, samples: np.ndarray, rule: str
) -> None:
    model = make("pcm", drift_compensation=rule)
    chips = program(model, 1)
    plain, fused = (chips.predict(samples, at="1y", mode=mode) for mode in ("plain", "fused"))
    difference = np.abs(plain - fused).max(axis=1)
    assert np.mean(difference < 1e-4) > 0.9 and difference.max() < 3 * nets.adc_step(model)
    off = chips.predict(samples, at="1y", mode="plain", drift_compensation=False)
    assert np.abs(plain - off).max() > 5 * nets.adc_step(model)


@pytest.mark.parametrize("settings", [{}, {"rows": 20, "cols": 3}])
def test_drift_that_differs_by_column_is_undone(make: Make, samples: np.ndarray, settings: dict[str, Any]) -> None:
    """Devices without spread drift faster at low conductance, so columns of small weights decay more."""
    device = PCM(programming_noise_scale=0, read_noise_scale=0)
    model = make(device, dac_bits=None, adc_bits=None, drift_compensation="column", **settings)
    for layer in analog_layers(model):
        kernel = layer.kernel_variable
        kernel.assign(kernel.value * np.geomspace(0.2, 1.0, kernel.shape[-1]).astype("float32"))
    chips = program(model, 3)
    wanted = chips.predict(samples, at="20s")
    errors = {}
    for rule in (None, "global", "column"):
        set_hardware(model, analog_layers(model)[0].crossbar.replace(drift_compensation=rule))
        errors[rule] = away(program(model, 3), samples, wanted, at="1y")
    assert errors["column"] < errors["global"] < errors[None]


@pytest.mark.parametrize("settings", [{}, {"rows": 20, "cols": 3}])
def test_one_column_is_the_global_rule(samples: np.ndarray, settings: dict[str, Any]) -> None:
    keras.utils.set_random_seed(0)
    plain = keras.Sequential([keras.Input((70,)), keras.layers.Dense(1)])
    inputs = samples.reshape(len(samples), -1)
    outputs = []
    for rule in ("global", "column"):
        model = to_analog(plain, "aon_cim_8bit")
        set_hardware(model, analog_layers(model)[0].crossbar.replace(drift_compensation=rule))
        calibrate(model, inputs)
        outputs.append(program(model, 1).predict(inputs, at="1y"))
    np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-5)


def test_realistic_hardware_takes_the_column_rule(nets: SimpleNamespace, samples: np.ndarray) -> None:
    model = to_analog(nets.small_net(), "aimc_standard")
    calibrate(model, samples)
    set_hardware(model, analog_layers(model)[0].crossbar.replace(drift_compensation="column"))
    clean = model.predict(samples, verbose=0)
    chips = program(model, 2)
    assert away(chips, samples, clean, at="1y") < away(chips, samples, clean, at="1y", drift_compensation=False)


@pytest.mark.parametrize("settings", [{}, {"rows": 20, "cols": 3}])
def test_chips_are_stored_and_read_again(
    make: Make, samples: np.ndarray, tmp_path: Path, settings: dict[str, Any]
) -> None:
    chips = program(make("pcm", drift_compensation="column", **settings), 1)
    for stored, layer in zip(chips.chips[0].layers, chips.layers, strict=True):
        assert stored.reference.shape == (layer.tiling.shape[0], layer.crossbar_shape()[-1])
    chips.save(tmp_path / "chips")
    again = Chips.load(tmp_path / "chips", chips.model)
    np.testing.assert_array_equal(again.predict(samples, at="1y"), chips.predict(samples, at="1y"))
    set_hardware(chips.model, chips.layers[0].crossbar.replace(drift_compensation="global"))
    with pytest.raises(ChipFileError, match="another drift compensation than GlobalDriftCompensation"):
        Chips.load(tmp_path / "chips", chips.model)


def test_a_lab_gets_and_gives_columns(make: Make, samples: np.ndarray, tmp_path: Path) -> None:
    chips = program(make("pcm", drift_compensation="column", rows=20, cols=3), 1, seed=3)
    folder = chips.export_targets(tmp_path / "targets")
    written = form.read_index(folder)
    rule = get_drift_compensation("column")
    assert rule is not None and isinstance(written.drift_compensation, form.CompensationRule)
    assert written.drift_compensation.rule == "analognets>ColumnDriftCompensation"
    assert written.drift_compensation.settings == rule.get_config()
    assert "per column" in written.drift_compensation.statement
    for entry, layer in zip(written.layers, chips.layers, strict=True):
        assert np.shape(entry.target_readout) == (layer.tiling.shape[0], layer.crossbar_shape()[-1])
    record_simulated(folder, chips, at="1d")
    lab = Chips.import_measured(folder, chips.model)
    ours, theirs = (made.predict(samples, at="1d") for made in (chips, lab))
    assert np.mean(ours.argmax(1) == theirs.argmax(1)) > 0.95
    assert np.mean(np.abs(ours - theirs).max(axis=1) < 1e-3) > 0.9
    set_hardware(chips.model, chips.layers[0].crossbar.replace(drift_compensation="global"))
    with pytest.raises(ChipFileError, match="must have the shape .* of what its drift compensation reads"):
        Chips.import_measured(folder, chips.model)


def test_factors_before_the_dac_keep_the_levels_of_a_coarse_adc(make: Make, nets: SimpleNamespace) -> None:
    """With devices that only drift, inputs within the DAC's range give what they gave before, whatever the ADC."""
    device = PCM(programming_noise_scale=0, read_noise_scale=0)
    samples = np.random.default_rng(5).normal(scale=0.2, size=(64, 7, 5, 2)).astype("float32")
    errors = {}
    for rule in ("global", "input"):
        model = make(device, dac_bits=None, adc_bits=4, drift_compensation=rule)
        for layer in analog_layers(model):
            layer.input_range.assign(layer.input_range.value * 4)
            layer.adc_gain.gain.assign(layer.adc_gain.gain.value / 4)
        chips = program(model, 1)
        errors[rule] = away(chips, samples, chips.predict(samples, at="20s"), at="1y")
    assert errors["input"] < 0.5 * errors["global"]


@pytest.mark.parametrize("settings", [{}, {"rows": 20, "cols": 3}])
def test_without_converters_it_does_not_matter_where_the_factor_stands(
    make: Make, samples: np.ndarray, settings: dict[str, Any]
) -> None:
    outputs = []
    for rule in ("global", "input"):
        model = make("pcm", dac_bits=None, adc_bits=None, drift_compensation=rule, **settings)
        for layer in analog_layers(model):
            layer.input_range.assign(layer.input_range.value * 100)
            layer.adc_gain.gain.assign(layer.adc_gain.gain.value * 100)
        outputs.append(program(model, 2, seed=4).predict(samples, at="1y"))
    np.testing.assert_allclose(*outputs, rtol=2e-3, atol=2e-4)


def test_what_is_beyond_the_limit_is_scaled_after_the_adc(make: Make, samples: np.ndarray) -> None:
    reads = []
    for limit in (4.0, 1.1):
        rule = InputDriftCompensation(limit=limit)
        chips = program(make("pcm", drift_compensation=rule, rows=20, cols=3), 1)
        reads.append(chips.chips[0].read(chips.layers, "1y"))
    for free, limited in zip(*reads, strict=True):
        assert free.input_scales.max() > 1.5 and limited.input_scales.max() == pytest.approx(1.1)
        products = [np.asarray(one.scales) * np.asarray(one.input_scales)[:, None] for one in (free, limited)]
        np.testing.assert_allclose(*products, rtol=1e-5)
        np.testing.assert_allclose(np.asarray(free.scales).mean(), 1.0, atol=0.1)


def test_realistic_hardware_takes_factors_before_the_dac(nets: SimpleNamespace, samples: np.ndarray) -> None:
    model = to_analog(nets.small_net(), "aimc_standard")
    calibrate(model, samples)
    set_hardware(model, analog_layers(model)[0].crossbar.replace(drift_compensation="input"))
    clean = model.predict(samples, verbose=0)
    chips = program(model, 2)
    assert away(chips, samples, clean, at="1y") < away(chips, samples, clean, at="1y", drift_compensation=False)


def test_a_lab_gets_the_rule_and_gives_the_same_outputs(make: Make, samples: np.ndarray, tmp_path: Path) -> None:
    chips = program(make("pcm", drift_compensation="input", rows=20, cols=3), 1, seed=3)
    chips.save(tmp_path / "chips")
    again = Chips.load(tmp_path / "chips", chips.model)
    np.testing.assert_array_equal(again.predict(samples, at="1y"), chips.predict(samples, at="1y"))
    folder = chips.export_targets(tmp_path / "targets")
    written = form.read_index(folder)
    assert isinstance(written.drift_compensation, form.CompensationRule)
    assert written.drift_compensation.settings == InputDriftCompensation().get_config()
    assert "before the DAC" in written.drift_compensation.statement
    record_simulated(folder, chips, at="1d")
    ours, theirs = (made.predict(samples, at="1d") for made in (chips, Chips.import_measured(folder, chips.model)))
    assert np.mean(np.abs(ours - theirs).max(axis=1) < 1e-3) > 0.9
