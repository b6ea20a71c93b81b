"""Chips at any strength from one set of compiled functions: the same numbers as hardware made for the purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from analognets.crossbar import Crossbar
from analognets.deploy.chips import bfloat16, runtime
from analognets.deploy.chips.programming import ChipArithmetic
from analognets.deploy.chips.runtime import Runner
from analognets.deploy.studies.sensitivity.adjustable import Machine
from analognets.deploy.studies.sensitivity.study import hardware_of
from analognets.errors import ConversionError
from analognets.layers import analog_layers, set_hardware

EFFECTS = {
    "noises": {"output_noise": 0.5, "short_term_noise": 0.1, "ir_drop": 11.7, "read_noise": 0.0},
    "devices": {"programming_noise": 2.5, "drift": 3.0, "adc_bits": 5.0, "stuck_at_zero": 0.05, "output_noise": 0.0},
    "read-out": {"adc_nonlinearity": 0.25, "polarity_asymmetry": 0.3, "adc_gain_spread": 0.1, "adc_offset_spread": 0.2},
    "stuck": {"stuck_at_g_max": 0.02, "stuck_at_random": 0.05, "device_noise": 2.0, "dac_bits": 4.0},
}


def plainly(model: keras.Model, hardware: dict[str, Crossbar], inputs: np.ndarray, seed: int, seconds: float) -> Any:
    """Return a chip's outputs as `Chips` computes them, on hardware that is nothing but itself."""
    set_hardware(model, hardware)
    layers = analog_layers(model)
    arithmetic = ChipArithmetic(layers)
    runner = Runner(model)
    runner.load(arithmetic.read(arithmetic.program(layers, seed), seconds, seed))
    return runner.predict(inputs)


@pytest.mark.parametrize("effects", EFFECTS.values(), ids=list(EFFECTS))
def test_a_machine_equals_hardware_made_for_the_purpose(
    build: Callable[..., keras.Model], standard: Crossbar, samples: np.ndarray, effects: dict[str, float]
) -> None:
    model = build()
    layers = [layer.name for layer in analog_layers(model)]
    changed = standard
    for name, value in effects.items():
        changed = changed.with_strength(name, value)
    hardware = dict.fromkeys(layers, changed)
    machine = Machine(model, hardware)
    ours = machine.predict(samples, hardware, chip_seed=5, seconds=3600.0)
    theirs = plainly(build(), hardware, samples, 5, 3600.0)
    step = np.abs(theirs).max() / 127
    assert np.abs(ours - theirs).mean() < 0.02 * step, "a rare value may fall to the other side of an ADC step"
    assert ours.std() > 10 * step


def test_one_machine_serves_all_strengths_without_retracing(
    build: Callable[..., keras.Model], standard: Crossbar, samples: np.ndarray
) -> None:
    model = build()
    layers = [layer.name for layer in analog_layers(model)]
    outputs = []
    machine = None
    for strength in (0.0, 0.04, 1.0):
        hardware = dict.fromkeys(layers, standard.with_strength("output_noise", strength))
        machine = machine or Machine(model, hardware)
        assert machine.fits(hardware)
        outputs.append(machine.predict(samples, hardware, chip_seed=1, seconds=20.0))
    assert machine.runner.traces == 1
    spreads = [np.abs(one - outputs[0]).mean() for one in outputs]
    assert 0 < spreads[1] < spreads[2]
    assert not machine.fits(dict.fromkeys(layers, standard.with_strength("adc_bits", 6)))
    assert len(machine._reads) == 1, "the chip is programmed once: noise at the ADC leaves its cells alone"
    noisier = dict.fromkeys(layers, standard.with_strength("read_noise", 3.0))
    machine.predict(samples, noisier, chip_seed=1, seconds=20.0)
    assert len(machine._reads) == 2


def test_a_machine_multiplies_in_bfloat16_where_that_is_good_enough(
    build: Callable[..., keras.Model], standard: Crossbar, samples: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(bfloat16, "LARGEST_CHANGE", 0.2)
    model = build()
    hardware = dict.fromkeys([layer.name for layer in analog_layers(model)], standard)
    exact, rough = (Machine(model, hardware, precision=one) for one in ("float32", "auto"))
    assert exact.fits(hardware)
    assert not rough.fits(hardware)
    assert rough.fits(hardware, "auto")
    one, two = (machine.predict(samples, hardware, chip_seed=5, seconds=3600.0) for machine in (exact, rough))
    assert (rough.runner.precision, rough.runner.precision_note) == ("bfloat16", "")
    step = np.abs(one).max() / 127
    assert 0 < np.abs(one - two).mean() < 2 * step


def test_layers_may_differ(build: Callable[..., keras.Model], standard: Crossbar) -> None:
    base = dict.fromkeys(["conv_1", "conv_2", "hidden", "logits"], standard)
    point = {"nonideality": "device_noise", "value": 15.0, "layers": '["hidden"]', "rest": 0.0}
    hardware = hardware_of(base, point)
    scales = {name: (one.device.programming_noise_scale, one.device.drift_scale) for name, one in hardware.items()}
    assert scales["hidden"] == (15.0, 1.0)
    assert {scales[name] for name in ("conv_1", "conv_2", "logits")} == {(0.0, 0.0)}
    assert hardware_of(base, {"nonideality": None, "value": None, "layers": None, "rest": None}) == base


def test_tiles_of_another_size_are_refused(build: Callable[..., keras.Model], standard: Crossbar) -> None:
    model = build()
    names = [layer.name for layer in analog_layers(model)]
    with pytest.raises(ConversionError, match="rows=16 instead of 512"):
        Machine(model, dict.fromkeys(names, standard.replace(rows=16)))
