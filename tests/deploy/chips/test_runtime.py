"""Running a model with weights read from a chip: plain and fused, any kind of model, no retracing."""

from __future__ import annotations

import importlib
import re
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from analognets.core.one_pass import one_pass
from analognets.crossbar.nonidealities import IRDrop, OutputNoise, ShortTermNoise
from analognets.deploy.chips import bfloat16, runtime
from analognets.deploy.chips.chips import program
from analognets.deploy.chips.runtime import Runner
from analognets.devices import IdealDevice
from analognets.errors import InvalidArgumentError

forward = importlib.import_module("analognets.crossbar.forward")
"""The module, whose name in the package is that of its function."""


def ideal(make: Any, **settings: Any) -> keras.Model:
    return make(IdealDevice(), dac_bits=None, adc_bits=None, **settings)


@pytest.mark.parametrize("settings", [{}, {"rows": 20, "cols": 3}])
def test_ideal_devices_and_converters_give_the_model_outputs(make, samples, settings) -> None:
    model = ideal(make, **settings)
    outputs = program(model, 1).predict(samples)
    np.testing.assert_allclose(outputs, model.predict(samples, verbose=0), rtol=1e-4, atol=1e-5)


def test_ideal_devices_with_converters_give_the_model_outputs_but_for_ties(make, samples) -> None:
    model = make(IdealDevice())
    expected = model.predict(samples, verbose=0)
    for mode in ("plain", "fused"):
        outputs = program(model, 1).predict(samples, mode=mode)
        close = np.abs(outputs - expected).max(axis=1) < 1e-4
        assert close.mean() > 0.9


def test_plain_and_fused_agree_within_a_converter_step(make, nets, samples) -> None:
    model = make("pcm")
    chips = program(model, 2)
    for chip in range(2):
        for at in ("25s", "1y"):
            plain = chips.predict(samples, chip=chip, at=at, mode="plain")
            fused = chips.predict(samples, chip=chip, at=at, mode="fused")
            difference = np.abs(plain - fused).max(axis=1)
            assert np.mean(difference < 1e-4) > 0.9, "more than the rare value at the edge of two steps differs"
            assert difference.max() < 3 * nets.adc_step(model)
            assert np.mean(plain.argmax(1) == fused.argmax(1)) >= 0.98


def test_auto_takes_the_fused_way_where_it_can(make, nets) -> None:
    assert Runner(make("pcm")).mode == "fused"
    assert Runner(make("pcm", rows=20, cols=3)).mode == "plain"
    assert Runner(make("pcm", adc_bits=None)).mode == "plain"
    assert Runner(make("pcm", net=nets.subclassed)).mode == "plain"


def test_fused_where_it_can_not_be_is_one_sentence(make) -> None:
    model = make("pcm", rows=20)
    for settings in ({"mode": "fused"}, {"precision": "bfloat16"}):
        with pytest.raises(InvalidArgumentError, match="Fused evaluation needs a functional or Sequential model"):
            Runner(model, **settings)
    with pytest.raises(InvalidArgumentError, match="`mode` of Runner must be one of"):
        Runner(model, mode="quick")
    with pytest.raises(InvalidArgumentError, match="`batch_size` of Runner must be a whole number from 1"):
        Runner(model, batch_size=0)


def test_bfloat16_products_keep_the_labels(make, nets, samples) -> None:
    model = make("pcm")
    chips = program(model, 3)
    labels = model.predict(samples, verbose=0).argmax(1)
    for chip in range(3):
        exact = chips.predict(samples, chip=chip, at="25s", mode="fused")
        rough = chips.predict(samples, chip=chip, at="25s", precision="bfloat16")
        assert not np.array_equal(exact, rough)
        assert np.abs(exact - rough).max() < 4 * nets.adc_step(model)
        assert np.mean(exact.argmax(1) == rough.argmax(1)) > 0.9
        accuracies = [np.mean(outputs.argmax(1) == labels) for outputs in (exact, rough)]
        assert abs(accuracies[0] - accuracies[1]) <= 0.05


@pytest.mark.parametrize(("mode", "settings"), [("plain", {}), ("fused", {}), ("auto", {"rows": 20, "cols": 3})])
def test_one_trace_for_all_chips_and_times(make, samples, mode, settings) -> None:
    chips = program(make("pcm", **settings), 3)
    labels = np.zeros(len(samples), int)
    chips.evaluate((samples, labels), at=["25s", "1d", "1y"], drift_compensation="both", mode=mode, batch_size=64)
    assert chips.runner(mode=mode, batch_size=64).traces == 1


def test_batches_do_not_change_the_outputs(make, nets, samples) -> None:
    chips = program(make("pcm"), 1)
    together = chips.predict(samples, mode="plain")
    for size in (1, 33, 199):
        part = samples[:10] if size == 1 else samples
        np.testing.assert_allclose(
            chips.predict(part, mode="plain", batch_size=size),
            together[: len(part)],
            rtol=1e-5,
            atol=2 * nets.adc_step(chips.model),
        )
    with pytest.raises(InvalidArgumentError, match="A prediction needs at least one sample"):
        chips.predict(samples[:0])


@pytest.mark.parametrize(
    ("fast", "limit", "value", "precision", "note"),
    [
        (True, "LARGEST_CHANGE", 0.2, "bfloat16", ""),
        (False, "LARGEST_CHANGE", 0.2, "float32", "the processor does not multiply bfloat16"),
        (True, "LARGEST_STEPS", -1, "float32", "a product in bfloat16 differs by [01] ADC steps"),
        (True, "LARGEST_CHANGE", -1, "float32", "products in bfloat16 change [0-9.]+ points of the decisions"),
    ],
)
def test_auto_takes_bfloat16_where_the_first_reading_allows_it(
    make, samples, monkeypatch, fast, limit, value, precision, note
) -> None:
    monkeypatch.setattr(runtime, "multiplies_bfloat16", lambda: fast)
    monkeypatch.setattr(bfloat16, limit, value)
    model = make("pcm")
    chips = program(model, 1)
    labels = model.predict(samples, verbose=0).argmax(1)
    table = chips.evaluate((samples, labels), at=["25s", "1d"], precision="auto")
    pd.testing.assert_frame_equal(table, chips.evaluate((samples, labels), at=["25s", "1d"], precision=precision))
    runner = chips.runner(precision="auto")
    assert runner.precision == precision
    assert runner.traces == 1
    assert re.search(note, runner.precision_note)
    both = [chips.predict(samples, at="1y", precision=one) for one in ("auto", precision)]
    np.testing.assert_array_equal(*both)
    plain = Runner(make("pcm", rows=20, cols=3), precision="auto")
    assert (plain.precision, plain.mode) == ("float32", "plain")
    assert "cut into several row blocks" in plain.precision_note


def test_products_in_bfloat16_are_compared_stage_by_stage(make, samples) -> None:
    chips = program(make("pcm"), 1)
    runner = chips.runner()
    runner.load(chips.chips[0].read(chips.layers, "1d"))
    assert 0 < bfloat16.largest_difference(runner.twin, samples) <= 1
    outputs = runner.predict(samples)
    one_of_many = outputs[:, :1] - np.median(outputs[:, :1])
    changed = one_of_many.copy()
    changed[:3] = 1 - np.sign(one_of_many[:3])
    share = np.mean((one_of_many > 0.5) != (changed > 0.5))
    assert str(round(100 * share, 2)) in bfloat16.why_not_bfloat16(1, None, one_of_many, changed)


def test_tiles_with_noise_multiply_in_bfloat16_too(make, samples, monkeypatch) -> None:
    monkeypatch.setattr(runtime, "multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(bfloat16, "LARGEST_CHANGE", 0.2)
    model = make("pcm", rows=20, cols=3, nonidealities=[IRDrop(), ShortTermNoise(), OutputNoise()])
    chips = program(model, 1)
    outputs = {one: chips.predict(samples, at="1d", precision=one) for one in ("float32", "bfloat16", "auto")}
    runner = chips.runner(precision="auto")
    assert (runner.mode, runner.precision, runner.precision_note) == ("plain", "bfloat16", "")
    np.testing.assert_array_equal(outputs["auto"], outputs["bfloat16"])
    apart = np.abs(outputs["float32"] - outputs["bfloat16"])
    assert 0 < apart.max() < 0.5 * outputs["float32"].std()
    exact, reads = chips.runner(), chips.chips[0].read(chips.layers, "1d")
    exact.load(reads)
    now = exact._realizations()
    assert 0 < bfloat16.largest_difference_of_layers(model, chips.layers, now, samples) <= 1


@pytest.mark.parametrize("settings", [{}, {"rows": 20, "cols": 3}])
def test_many_samples_are_computed_in_one_pass_where_it_agrees(make, samples, monkeypatch, settings) -> None:
    monkeypatch.setattr(runtime, "PASS_SAMPLES", 150)
    monkeypatch.setattr(forward, "PASS_FROM", 30)
    monkeypatch.setattr(runtime, "LARGEST_CHANGE", 0.02)
    compiled_passes = []

    def counted(function: Any) -> Any:
        compiled_passes.append(function)
        return one_pass(function)

    monkeypatch.setattr(forward, "one_pass", counted)
    chips = program(make("pcm", nonidealities=[IRDrop(), ShortTermNoise(), OutputNoise()], **settings), 2)
    plain = [chips.predict(samples[:149], chip=chip, at="1d") for chip in range(2)]
    assert not compiled_passes, "few samples are computed as the layers do"
    fast = [chips.predict(samples, chip=chip, at="1d") for chip in range(2)]
    passes = len(compiled_passes)
    assert passes
    for one, other in zip(plain, fast, strict=True):
        apart = np.abs(one - other[:149]).max(axis=1)
        assert np.mean(apart < 1e-4) > 0.9 and np.mean(one.argmax(1) == other[:149].argmax(1)) > 0.98
    np.testing.assert_array_equal(chips.predict(samples[:149], at="1d"), plain[0])
    np.testing.assert_array_equal(chips.predict(samples, at="1d"), fast[0])
    assert len(compiled_passes) == passes, "it is compiled once"
    monkeypatch.setattr(runtime, "LARGEST_CHANGE", -1)
    again = program(chips.model, 1)
    slow = again.predict(samples, at="1d")
    np.testing.assert_array_equal(slow[:100], again.predict(samples[:100], at="1d"))
    assert len(compiled_passes) > passes
    passes = len(compiled_passes)
    again.predict(samples, at="1h")
    assert len(compiled_passes) == passes, "where it does not agree it is not tried again"
