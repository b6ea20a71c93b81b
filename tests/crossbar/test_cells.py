"""Weights in devices: what is programmed is read back; stuck and inactive devices keep what they have."""

from __future__ import annotations

import math

import numpy as np
import pytest
from keras import ops
from safetensors.numpy import load_file, save_file

from analognets import crossbar
from analognets.crossbar import Crossbar, column_scales, product_error, program, programming_draws, read
from analognets.devices import PCM, ReRAM
from analognets.errors import InvalidArgumentError

STANDARD = crossbar.get("aimc_standard")
IDEAL = STANDARD.replace(device="ideal")


def weights(shape=(40, 30), seed=0):
    return np.random.default_rng(seed).normal(0, 0.3, shape).astype("float32")


def number(values):
    return ops.convert_to_numpy(values)


def test_an_ideal_device_gives_the_weights_back_with_any_scale() -> None:
    w = weights((3, 3, 4, 5)) * np.array([1, 2, 0.1, 0, 5], "float32")
    scales = column_scales(w)
    np.testing.assert_allclose(number(scales), np.where(np.arange(5) == 3, 1, np.abs(w).max((0, 1, 2))))
    state = program(IDEAL, w, weight_scale=scales, seed=0)
    assert number(state["conductance"]).max() == 25.0
    np.testing.assert_allclose(number(read(IDEAL, state, "1y", weight_scale=scales)), w, rtol=1e-5, atol=1e-6)


def test_inactive_devices_are_zero_or_noisy_as_asked() -> None:
    w = weights()
    for device in (PCM(), PCM.like_rasch(), ReRAM(), ReRAM(relaxation="independent")):
        off = STANDARD.replace(device=device)
        for seed, time in enumerate(("25s", "1d")):
            w[:, 3] = 0
            found = number(read(off, program(off, w, seed=0), time, seed=seed))
            assert np.all(found[:, 3] == 0)
            assert np.all(found * w >= 0), "an inactive device can't turn the sign"
            both = off.replace(inactive_device="programmed")
            assert np.any(number(read(both, program(both, w, seed=0), time, seed=seed))[:, 3] != 0)


def test_programming_is_that_of_the_device_bit_for_bit() -> None:
    hardware, w = crossbar.get("aon_cim_8bit"), weights()
    device = hardware.device
    pair = np.maximum(np.stack([w, -w]) * np.float32(25 / 1.5), 0)
    wanted = device.program(pair, 5)
    state = program(hardware, w, weight_scale=np.float32(1.5), seed=5)
    assert state.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_allclose(state[name], wanted[name], rtol=1e-6, err_msg=name)
    assert programming_draws(hardware, w.shape, 5).keys() == device.programming_draws(pair.shape, 5).keys()


@pytest.mark.parametrize(("at", "level"), [("zero", 0.0), ("g_max", 1.0), ("random", None)])
@pytest.mark.parametrize("inactive", ["off", "programmed"])
def test_the_share_of_stuck_devices(at, level, inactive) -> None:
    share, w = 0.07, np.full((200, 150), 0.37, "float32")
    hardware = STANDARD.replace(inactive_device=inactive).with_strength(f"stuck_at_{at}", share)
    state = program(hardware, w, seed=2)
    pinned = number(state["pinned"])
    free = pinned[0] < 0
    n = free.size
    assert abs(np.mean(~free) - share) < 5 * math.sqrt(share * (1 - share) / n)
    if inactive == "off":
        assert np.all(pinned[1] == 0)
    else:
        assert abs(np.mean(pinned[1] >= 0) - share) < 5 * math.sqrt(share * (1 - share) / n)
    held = pinned[0][~free] / 25
    if level is None:
        assert abs(held.mean() - 0.5) < 5 * math.sqrt(1 / 12 / held.size)
        assert 0 <= held.min() < 0.05 and 0.95 < held.max() <= 1
    else:
        np.testing.assert_array_equal(held, level)
    if inactive == "off":
        early, late = (number(read(hardware, state, time, seed=1)) for time in ("25s", "1y"))
        np.testing.assert_array_equal(early[~free], late[~free])
        np.testing.assert_allclose(early[~free], held, rtol=1e-6)
        assert np.all(early[free] > late[free] * 1.05)
    more = number(program(hardware.scaled(f"stuck_at_{at}", 2), w, seed=2)["pinned"])[0] >= 0
    assert np.all(more[~free]), "stuck devices of a chip stay stuck as the share grows"


def test_a_stored_state_is_read_again_as_it_was(tmp_path) -> None:
    hardware, w = STANDARD.with_strength("stuck_at_random", 0.1), weights()
    state = program(hardware, w, seed=4)
    save_file({name: number(values) for name, values in state.items()}, tmp_path / "cells.safetensors")
    stored = load_file(tmp_path / "cells.safetensors")
    np.testing.assert_array_equal(read(hardware, stored, "1d", seed=1), read(hardware, state, "1d", seed=1))
    again = program(hardware, w, seed=4)
    for name in state:
        np.testing.assert_array_equal(again[name], state[name])
    assert np.mean(number(program(hardware, w, seed=5)["conductance"]) == number(state["conductance"])) < 0.6


def test_a_small_product_error() -> None:
    """All off: only float32 is left; and what is wrong is one sentence."""
    ideal = IDEAL.without("dac_bits", "adc_bits", "ir_drop", "short_term_noise", "output_noise")
    result = product_error(ideal, size=64, vectors=50, chips=2)
    assert result.error < 1e-6
    assert result.chips == 2
    assert math.isnan(product_error(ideal, size=8, vectors=5, chips=1).standard_error)
    with pytest.raises(InvalidArgumentError, match="`size` of product_error must be a whole number from 1 to 512"):
        product_error(STANDARD, size=1000)
    with pytest.raises(InvalidArgumentError, match="'aon_cim_8bit' has no fixed bound"):
        product_error(crossbar.get("aon_cim_8bit"), size=8)
    assert product_error(crossbar.get("aon_cim_8bit"), size=64, adc_bound=10.0, chips=1).error < 0.3
    assert product_error(Crossbar(rows=10, cols=20, adc_bits=None), vectors=9, chips=1).error < 1
