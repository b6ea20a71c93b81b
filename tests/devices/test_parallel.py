"""Several devices that are read as one."""

from __future__ import annotations

import numpy as np
import pytest

from analognets import devices
from analognets.crossbar import Crossbar, program, read
from analognets.errors import InvalidArgumentError

FOUR = devices.ParallelDevices(device=devices.PulsedPCM(), copies=4)


def test_currents_add_and_noise_averages_out() -> None:
    one = devices.PulsedPCM()
    targets = np.full(20_000, 4.0, "float32")
    alone = np.asarray(one.read(one.program(targets, 1), 0, seed=2))
    together = np.asarray(FOUR.read(FOUR.program(4 * targets, 1), 0, seed=2))
    assert FOUR.g_max == 4 * one.g_max
    assert together.mean() == pytest.approx(4 * alone.mean(), rel=0.01)
    assert together.std() / together.mean() == pytest.approx(alone.std() / alone.mean() / 2, rel=0.05)


def test_a_state_has_an_axis_for_the_copies() -> None:
    state = FOUR.program(np.ones((2, 3, 5), "float32"), 0)
    assert {name: tuple(values.shape) for name, values in state.items()} == dict.fromkeys(
        FOUR.state_names, (4, 2, 3, 5)
    )
    assert FOUR.shape_of(state) == (2, 3, 5)
    assert tuple(FOUR.read(state, "1d", seed=1).shape) == (2, 3, 5)


def test_a_crossbar_takes_them() -> None:
    crossbar = Crossbar(device=FOUR)
    weights = np.random.default_rng(0).uniform(-1, 1, (20, 10)).astype("float32")
    found = np.asarray(read(crossbar, program(crossbar, weights, seed=1), 0, seed=2))
    assert found.shape == weights.shape
    assert np.corrcoef(found.ravel(), weights.ravel())[0, 1] > 0.99


def test_they_survive_their_config_and_say_what_is_wrong() -> None:
    assert devices.deserialize(devices.serialize(FOUR)) == FOUR
    with pytest.raises(InvalidArgumentError, match="`copies` of ParallelDevices"):
        devices.ParallelDevices(device=devices.PulsedPCM(), copies=0)
    with pytest.raises(InvalidArgumentError, match="must be a device"):
        devices.ParallelDevices(device="pulsed_pcm", copies=2)
