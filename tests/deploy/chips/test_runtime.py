"""Running a model with weights read from a chip: plain and fused, any kind of model, no retracing."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from analognets.deploy.chips.chips import program
from analognets.deploy.chips.runtime import Runner
from analognets.devices import IdealDevice
from analognets.errors import InvalidArgumentError


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
