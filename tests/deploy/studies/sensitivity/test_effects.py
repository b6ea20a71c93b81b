"""Which effects there are, what a scan goes through, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets import crossbar as crossbars
from analognets import devices
from analognets.crossbar import Crossbar, list_effects, list_nonidealities, possible_effects, product_error
from analognets.deploy.studies.sensitivity import find_strength
from analognets.errors import InvalidArgumentError, UnknownNameError

STANDARD = crossbars.get("aimc_standard")
BITS = [name for name in list_effects() if STANDARD.effect(name).fewer_is_worse]
QUICK = {"size": 64, "vectors": 60, "chips": 1}


def strength(crossbar: Crossbar, name: str) -> Any:
    return crossbar.effect(name).strength(crossbar)


def test_every_effect_has_a_standard_and_a_scan_from_weak_to_strong() -> None:
    assert set(possible_effects(STANDARD)) == set(list_effects()) >= {*BITS, "device_noise", *list_nonidealities()}
    for name in list_effects():
        standard, scan = strength(STANDARD, name), STANDARD.effect(name).default_scan(STANDARD)
        order = [STANDARD.effect(name).severity(value) for value in [standard, *scan]]
        assert order == sorted(set(order)) and len(scan) >= 6
        assert STANDARD.with_strength(name, standard).strengths() == STANDARD.strengths() or standard == 0
        assert strength(STANDARD.with_strength(name, scan[-1]), name) in (scan[-1], 1.0)


@settings(max_examples=30)
@given(st.sampled_from([name for name in list_effects() if name not in BITS]), st.floats(0.001, 0.9))
def test_what_is_set_is_what_is_there(name: str, value: float) -> None:
    changed = STANDARD.with_strength(name, value)
    if name != "device_noise":
        assert strength(changed, name) == pytest.approx(value)
    others = [other for other in list_effects() if other != name and name != "device_noise"]
    for other in others[:6]:
        if other != "device_noise":
            assert strength(changed, other) == strength(STANDARD, other)


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("ir_dorp", 1.0, UnknownNameError, "ir_drop"),
        ("output_noise", -1.0, InvalidArgumentError, "`deviation` of OutputNoise"),
        ("stuck_at_zero", 1.5, InvalidArgumentError, "Received: .*1.5"),
        ("adc_bits", 1, InvalidArgumentError, "2 to 16"),
        ("adc_nonlinearity.spreed", 0.1, UnknownNameError, "setting of adc_nonlinearity. Did you mean 'spread'"),
    ],
)
def test_bad_strengths(name: str, value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        STANDARD.with_strength(name, value)


def test_a_device_that_cannot_have_an_effect_says_what_it_has() -> None:
    ideal = STANDARD.replace(device=devices.IdealDevice())
    assert not {"drift", "read_noise", "programming_noise", "device_noise"} & set(possible_effects(ideal))
    with pytest.raises(InvalidArgumentError, match="IdealDevice has nothing that could be scaled. Received: 'drift'"):
        ideal.with_strength("drift", 2.0)
    reram = crossbars.get("aimc_reram")
    with pytest.raises(InvalidArgumentError, match="ReRAM has .*Received: 'read_noise'"):
        reram.with_strength("read_noise", 2.0)


@pytest.mark.parametrize("name", ["output_noise", "ir_drop", "device_noise", "stuck_at_zero", "polarity_asymmetry"])
def test_strengths_reach_the_error_that_was_asked_for(name: str) -> None:
    found = find_strength(STANDARD, name, 0.22, **QUICK)
    assert found["standard_product_error"] < 0.22
    own = product_error(STANDARD.with_strength(name, found["strength"]), **QUICK, at="1h", seed=0)
    assert own.error == pytest.approx(0.22, rel=5e-3)
    assert found["low"] == found["high"] == found["strength"] > found["standard"]


@pytest.mark.parametrize("name", BITS)
def test_bits_enclose_the_error(name: str) -> None:
    found = find_strength(STANDARD, name, 0.22, **QUICK)
    errors = [product_error(STANDARD.with_strength(name, int(found[end])), **QUICK).error for end in ("low", "high")]
    assert errors[0] < 0.22 <= errors[1]
    assert found["low"] == found["high"] + 1 and 0 < found["share"] <= 1
    assert found["strength"] == pytest.approx(found["low"] - found["share"])


def test_errors_that_are_there_already_or_out_of_reach() -> None:
    with pytest.raises(InvalidArgumentError, match=r"is 1\d\.\d % already"):
        find_strength(STANDARD, "ir_drop", 0.05, **QUICK)
    with pytest.raises(InvalidArgumentError, match="No strength of stuck_at_zero"):
        find_strength(STANDARD, "stuck_at_zero", 5.0, **QUICK)


def test_hardware_without_a_fixed_bound_is_tested_with_that_of_the_standard() -> None:
    found = find_strength(Crossbar(), "output_noise", 0.3, **QUICK)
    assert found["standard"] == 0.0 and found["strength"] > 0
