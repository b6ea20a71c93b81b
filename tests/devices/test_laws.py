"""Laws that hold for any targets, times and seeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from analognets import devices

KINDS = [
    devices.PCM(),
    devices.PCM.like_aihwkit(),
    devices.PCM(read_noise="coherent"),
    devices.PCM14nm(),
    devices.PCM14nm(devices_per_polarity=1),
]
SEEDS = st.integers(0, 2**63 - 1)
TIMES = st.floats(0, 1e10)
FEW = settings(max_examples=25, deadline=None, derandomize=True)


def shares():
    """Targets as shares of g_max, in the shape of a small tile of pairs; TensorFlow flushes subnormals to 0."""
    return hnp.arrays("float32", (2, 3, 4), elements=st.floats(0, 1, width=32, allow_subnormal=False))


def read(device, state, time, seed=0):
    return np.asarray(device.read(state, time, seed=seed))


@pytest.mark.parametrize("device", KINDS, ids=lambda device: f"{type(device).__name__}-{device.read_noise}")
@FEW
@given(share=shares(), time=TIMES, seed=SEEDS)
def test_state_and_readings_are_physical(device, share, time, seed) -> None:
    state = device.program(share * device.g_max, seed)
    for name, values in state.items():
        values = np.asarray(values)
        assert values.dtype == np.float32
        assert np.all(np.isfinite(values)), name
        if name == "read_noise_path":
            assert values.shape == (len(device.coherent_knots), *share.shape)
        else:
            assert values.shape == share.shape
            assert np.all(values >= 0), name
    g = read(device, state, time, seed)
    assert g.shape == share.shape
    assert g.dtype == np.float32
    assert np.all(np.isfinite(g))
    assert np.all(g >= 0)


@FEW
@given(share=shares(), times=st.lists(TIMES, min_size=2, max_size=5), seed=SEEDS)
def test_without_read_noise_conductances_only_fall(share, times, seed) -> None:
    for kind in (devices.PCM, devices.PCM14nm):
        device = kind(read_noise_scale=0)
        state = device.program(share * device.g_max, seed)
        readings = [np.asarray(state["conductance"])] + [np.asarray(device.read(state, t)) for t in sorted(times)]
        for before, after in zip(readings[:-1], readings[1:], strict=True):
            assert np.all(after <= before * (1 + 1e-6))


@FEW
@given(share=shares(), time=TIMES, seed=SEEDS)
def test_scales_of_zero_are_exact(share, time, seed) -> None:
    target = share * np.float32(25)
    noisy, still = devices.PCM(), devices.PCM(drift_scale=0, read_noise_scale=0)
    state = noisy.program(target, seed)
    np.testing.assert_array_equal(still.read(state, time), state["conductance"])
    exact = devices.PCM(programming_noise_scale=0, drift_scale=0, read_noise_scale=0)
    np.testing.assert_array_equal(exact.read(exact.program(target, seed), time), target)
    np.testing.assert_array_equal(devices.PCM(programming_noise_scale=0).program(target, seed)["conductance"], target)


@FEW
@given(share=shares(), seed=SEEDS)
def test_no_drift_until_t_0_on_the_absolute_clock(share, seed) -> None:
    device = devices.PCM(read_noise_scale=0)
    state = device.program(share * 25, seed)
    for time in (0, "1s", 25.0, "25s"):
        np.testing.assert_array_equal(device.read(state, time), state["conductance"])
    np.testing.assert_array_equal(devices.PCM().read(state, 0, seed=1), state["conductance"])


@FEW
@given(share=shares(), seed=SEEDS)
def test_the_two_clocks_meet(share, seed) -> None:
    absolute = devices.PCM(read_noise_scale=0, t_0=20.0)
    since = devices.PCM(read_noise_scale=0, t_0=20.0, drift_clock="since_programming")
    state = absolute.program(share * 25, seed)
    for time in (0.0, 5.0, 3600.0):
        np.testing.assert_array_equal(absolute.read(state, time + 20.0), since.read(state, time))


@FEW
@given(share=shares(), seed=SEEDS, order=st.permutations([0, 1, 2]))
def test_a_chip_does_not_depend_on_what_was_read_before(share, seed, order) -> None:
    for device in KINDS:
        state = device.program(share * device.g_max, seed)
        again = device.program(share * device.g_max, seed)
        for name in state:
            np.testing.assert_array_equal(state[name], again[name])
        times, wanted = ("25s", "1h", "1y"), {}
        for i in range(3):
            wanted[i] = read(device, state, times[i], seed=i)
        for i in order:
            np.testing.assert_array_equal(read(device, again, times[i], seed=i), wanted[i])


@FEW
@given(seeds=st.lists(SEEDS, min_size=2, max_size=2, unique=True))
def test_other_seeds_are_other_chips_and_other_readings(seeds) -> None:
    device, target = devices.PCM(), np.full((2, 50), 15.0)
    first, second = (device.program(target, seed) for seed in seeds)
    for name in ("conductance", "drift_exponent"):
        assert np.mean(np.asarray(first[name]) == np.asarray(second[name])) < 0.1
    assert np.mean(read(device, first, "1d", seeds[0]) == read(device, first, "1d", seeds[1])) < 0.1


@FEW
@given(share=shares(), time=TIMES, seeds=st.tuples(SEEDS, SEEDS))
def test_coherent_readings_ignore_the_seed(share, time, seeds) -> None:
    device = devices.PCM(read_noise="coherent")
    state = device.program(share * 25, 0)
    readings = [np.asarray(device.read(state, time, seed)) for seed in (None, *seeds)]
    for reading in readings[1:]:
        np.testing.assert_array_equal(reading, readings[0])


@FEW
@given(seed=SEEDS, names=st.lists(st.text(max_size=5), min_size=1, max_size=3))
def test_derived_seeds(seed, names) -> None:
    derived = devices.derive_seed(seed, *names)
    assert 0 <= derived < 2**31
    assert derived == devices.derive_seed(seed, *names)
    assert derived != devices.derive_seed(seed, *names, "more")


def test_derived_seeds_never_change() -> None:
    found = [devices.derive_seed(0), devices.derive_seed(0, "read"), devices.derive_seed(2**63 - 1, "a", 1)]
    assert found == [1417401841, 931757165, 850667339]
