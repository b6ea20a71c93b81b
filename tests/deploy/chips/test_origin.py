"""Chips and the model they were made of: what may change in it, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from analognets.deploy.chips.chips import Chips, program
from analognets.devices import DriftCompensation, GlobalDriftCompensation, get_drift_compensation
from analognets.errors import ChipFileError, InvalidArgumentError
from analognets.layers import analog_layers, set_hardware

Make = Callable[..., keras.Model]


def ruled(model: keras.Model, rule: Any) -> None:
    """Give all layers of a model another drift compensation."""
    set_hardware(model, analog_layers(model)[0].crossbar.replace(drift_compensation=rule))


@pytest.mark.parametrize("mode", ["plain", "auto"])
def test_hardware_and_adapters_that_change_act_at_once(make: Make, samples: np.ndarray, mode: str) -> None:
    model = make("pcm")
    chips = program(model, 1)
    before = chips.predict(samples, mode=mode)
    set_hardware(model, model.get_layer("logits").crossbar.replace(adc_bits=4, dac_bits=4))
    coarse = chips.predict(samples, mode=mode)
    assert not np.allclose(before, coarse)
    np.testing.assert_array_equal(coarse, Chips(model, chips.chips, chips.seed).predict(samples, mode=mode))
    head = model.get_layer("logits")
    head.enable_lora(2)
    head.lora_kernel_b.assign(np.ones(head.lora_kernel_b.shape))
    adapted = chips.predict(samples, mode=mode)
    assert not np.allclose(coarse, adapted)
    np.testing.assert_array_equal(adapted, Chips(model, chips.chips, chips.seed).predict(samples, mode=mode))


def test_weights_that_were_not_programmed_are_refused(make: Make, samples: np.ndarray, tmp_path: Path) -> None:
    model = make("pcm")
    chips = program(model, 1)
    labels = np.arange(len(samples)) % 3
    old = model.get_weights()
    kernel = model.get_layer("hidden").kernel_variable
    kernel.assign(0.9 * kernel)
    for call in (
        lambda: chips.predict(samples),
        lambda: chips.evaluate((samples, labels)),
        lambda: chips.decide((samples, labels)),
    ):
        with pytest.raises(InvalidArgumentError, match="hold the weights that it had when they were programmed"):
            call()
    chips.save(tmp_path / "chips")
    with pytest.raises(ChipFileError, match="programmed from other weights"):
        Chips.load(tmp_path / "chips", model)
    model.set_weights(old)
    again = Chips.load(tmp_path / "chips", model)
    np.testing.assert_array_equal(again.predict(samples), chips.predict(samples))
    model.get_layer("hidden").bias.assign_add(np.ones(6))  # digital: it may be trained on for the chips there are
    assert chips.evaluate((samples, labels), at="1d")["accuracy"].notna().all()


def test_a_reference_serves_the_rules_that_read_alike(make: Make, samples: np.ndarray, tmp_path: Path) -> None:
    model = make("pcm")
    chips = program(model, 1)
    chips.save(tmp_path / "chips")
    ruled(model, "input")
    assert chips.predict(samples, at="1y").shape == Chips.load(tmp_path / "chips", model).predict(samples).shape
    ruled(model, GlobalDriftCompensation(readout="all_ones"))
    refused = "reference of layer 'conv_1' was taken by another drift compensation than .*all_ones.*Received: .*one_hot"
    with pytest.raises(InvalidArgumentError, match=refused):
        chips.predict(samples)
    chips.save(tmp_path / "other")
    for folder in ("chips", "other"):
        with pytest.raises(ChipFileError, match=refused):
            Chips.load(tmp_path / folder, model)
    ruled(model, None)
    assert Chips.load(tmp_path / "chips", model).predict(samples, at="1y").shape == (200, 3)
    ruled(model, "global")
    np.testing.assert_array_equal(
        Chips.load(tmp_path / "other", model).predict(samples, at="1y"), chips.predict(samples, at="1y")
    )


def test_rules_are_compared_by_what_they_read() -> None:
    rule, other = get_drift_compensation("global"), get_drift_compensation("input")
    assert rule is not None and other is not None and rule.reads_like(other) and other.reads_like(rule)
    for different in (
        GlobalDriftCompensation(floor=1e-3),
        GlobalDriftCompensation(readout="all_ones"),
        get_drift_compensation("column"),
    ):
        assert different is not None and not rule.reads_like(different)


@dataclasses.dataclass(frozen=True)
class OfFewRows(DriftCompensation):
    """A rule of one's own that reads six rows, and nothing but NaN from zeros."""

    rows: int = 6

    def response(self, weights: Any) -> Any:
        six = keras.ops.matmul(keras.ops.ones((1, self.rows)), weights[: self.rows])
        return keras.ops.sum(keras.ops.square(six)) / keras.ops.max(keras.ops.abs(weights))


def test_a_rule_is_like_itself() -> None:
    assert OfFewRows().reads_like(OfFewRows()) and not OfFewRows().reads_like(OfFewRows(5))
    assert not OfFewRows(3).reads_like(GlobalDriftCompensation())
