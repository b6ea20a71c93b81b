"""Laws of the Cu/SiO2/W memristor: steps have the sign of their spikes and depend on the state."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from analognets import devices
from analognets.devices import CuSiO2Memristor
from analognets.errors import InvalidArgumentError

N, SIGMAS = 20_000, 5.0
FEW = settings(max_examples=15, deadline=None, derandomize=True)
DEVICE = CuSiO2Memristor()


def written(share, device=DEVICE, count=N, seed=0):
    quiet = dataclasses.replace(device, write_spread=0.0)
    return quiet.program(np.full(count, device.g_min + share * device.range, "float32"), seed)


def change(state, after):
    return np.asarray(ops.convert_to_numpy(after["conductance"])) - np.asarray(
        ops.convert_to_numpy(state["conductance"])
    )


@FEW
@given(st.floats(0.02, 0.98), st.floats(-150, 150, width=32, allow_subnormal=False), st.integers(0, 1000))
def test_the_sign_of_every_single_step_is_that_of_its_spikes(share, dt, seed) -> None:
    state = written(share, count=500)
    moved = change(state, DEVICE.spike_pair(state, dt, seed=seed))
    assert np.all(moved >= 0) if dt >= 0 else np.all(moved <= 0)


def test_post_before_pre_depresses_and_post_after_pre_potentiates() -> None:
    state = written(0.5)
    assert change(state, DEVICE.spike_pair(state, 5.0, seed=1)).mean() > 0.5
    assert change(state, DEVICE.spike_pair(state, -5.0, seed=1)).mean() < -0.5


@pytest.mark.parametrize("dt", [-30.0, -3.0, 3.0, 30.0])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_mean_step_is_the_law(share, dt) -> None:
    state = written(share)
    moved = change(state, DEVICE.spike_pair(state, dt, seed=2))
    room = 1 - share if dt > 0 else share
    law = np.sign(dt) * DEVICE.range * 0.05 * room * np.exp(-abs(dt) / 20)
    relative = np.hypot(DEVICE.step_spread, DEVICE.device_spread)
    assert abs(moved.mean() - law) < SIGMAS * abs(law) * relative / np.sqrt(N) + 0.004 * abs(law)
    assert DEVICE.window(dt, float(DEVICE.g_min + share * DEVICE.range)) == pytest.approx(law, rel=1e-5)


def test_steps_get_smaller_towards_the_bound_they_go_to() -> None:
    levels = DEVICE.g_min + DEVICE.range * np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    up = [float(DEVICE.window(4.0, g)) for g in levels]
    down = [float(DEVICE.window(-4.0, g)) for g in levels]
    assert np.all(np.diff(up) < 0) and np.all(np.diff(down) < 0) and min(up) > 0 > max(down)


def test_steps_fall_exponentially_with_the_time_between_spikes() -> None:
    device = CuSiO2Memristor(tau_potentiation=15.0, tau_depression=40.0)
    up, down = device.window([5.0, 20.0], 40.0), device.window([-5.0, -45.0], 40.0)
    assert up[0] / up[1] == pytest.approx(np.e) and down[0] / down[1] == pytest.approx(np.e)


def test_pulses_end_at_the_bounds() -> None:
    device = CuSiO2Memristor(potentiation=0.5, depression=0.5)
    state = written(0.5, device, 200)
    for seed in range(40):
        state = device.spike_pair(state, 0.0, seed=seed)
    assert device.g_max - 0.5 < np.min(state["conductance"]) <= np.max(state["conductance"]) <= device.g_max
    for seed in range(60):
        state = device.spike_pair(state, -1e-3, seed=seed)
    assert device.g_min <= np.min(state["conductance"]) <= np.max(state["conductance"]) < device.g_min + 0.5


def test_equal_pulses_of_both_signs_settle_in_between() -> None:
    """Soft bounds have one resting place: with equal strengths and powers 1 it is the middle."""
    for share in (0.05, 0.95):
        state = written(share, count=4000)
        for seed in range(120):
            state = DEVICE.spike_pair(state, 0.0 if seed % 2 else -1e-3, seed=seed)
        x = (np.asarray(state["conductance"]) - DEVICE.g_min) / DEVICE.range
        assert x.mean() == pytest.approx(0.5, abs=0.03)


def test_voltages_move_nothing_below_the_threshold_and_more_the_higher_they_are() -> None:
    factors = [DEVICE.voltage_factor(v) for v in (0.0, 0.09, 0.15, 0.25, 0.4, 0.5)]
    assert factors[:2] == [0.0, 0.0] and factors[3] == pytest.approx(1.0) and np.all(np.diff(factors[1:]) > 0)
    state = written(0.5, count=50)
    assert not change(state, DEVICE.spike_pair(state, 3.0, seed=0, voltage=0.05)).any()
    with pytest.raises(InvalidArgumentError, match="`voltage` of CuSiO2Memristor must be a number from 0 to 0.5 V"):
        DEVICE.spike_pair(state, 3.0, seed=0, voltage=0.6)


def test_devices_differ_for_good_and_pulses_from_time_to_time() -> None:
    state = written(0.3)
    steps = np.stack([change(state, DEVICE.spike_pair(state, 0.0, seed=seed)) for seed in range(40)])
    assert steps.mean(0).std() / steps.mean() == pytest.approx(
        np.hypot(DEVICE.device_spread, DEVICE.step_spread / np.sqrt(40)), rel=0.05
    )
    assert steps.std(0).mean() / steps.mean() == pytest.approx(DEVICE.step_spread, rel=0.05)


def test_numpy_and_keras_have_one_law() -> None:
    rng = np.random.default_rng(0)
    device = CuSiO2Memristor(potentiation_power=1.7, depression_power=0.6)
    g = rng.uniform(device.g_min, device.g_max, 300).astype("float32")
    share, up, down, draw = (rng.uniform(-1, 1, 300).astype("float32") for _ in range(4))
    arguments = (g, share, 1 + 0.1 * up, 1 + 0.1 * down, draw)
    found = device.moved(*map(ops.convert_to_tensor, arguments), factor=1.3, xp=ops)
    np.testing.assert_allclose(ops.convert_to_numpy(found), device.moved(*arguments, factor=1.3), rtol=1e-5)


def test_the_same_seed_is_the_same_device() -> None:
    for name in DEVICE.state_names:
        np.testing.assert_array_equal(written(0.4, seed=3)[name], written(0.4, seed=3)[name])
    assert not np.array_equal(written(0.4, seed=3)["up"], written(0.4, seed=4)["up"])


def test_readings_scatter_and_do_not_drift() -> None:
    state = written(0.6)
    now, later = (np.asarray(DEVICE.read(state, time, seed=1)) for time in (0.0, "1y"))
    np.testing.assert_array_equal(now, later)
    assert now.std() / now.mean() == pytest.approx(DEVICE.read_noise_share, rel=0.05)
    with pytest.raises(InvalidArgumentError, match="needs a seed"):
        DEVICE.read(state, 0.0)


def test_a_device_survives_its_config_and_has_a_name() -> None:
    device = devices.get("cu_sio2_memristor", depression=0.01)
    assert devices.deserialize(devices.serialize(device)) == device and "cu_sio2_memristor" in devices.list_devices()


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"g_min": 80.0}, "`g_min` of CuSiO2Memristor must be less than its g_max"),
        ({"v_threshold": 0.3}, "`v_threshold` of CuSiO2Memristor must be less than its v_reference"),
        ({"potentiation": 1.5}, "`potentiation` of CuSiO2Memristor must be a number from 0 to 1"),
        ({"v_reference": 0.7}, "`v_reference` of CuSiO2Memristor must be a number from 1e-06 to 0.5 V"),
        ({"tau_depression": 0.0}, "`tau_depression` of CuSiO2Memristor must be a number from"),
    ],
)
def test_bad_settings_are_refused(settings_, message) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        CuSiO2Memristor(**settings_)
