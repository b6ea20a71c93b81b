"""Laws of the devices that learn pulse by pulse."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets import devices
from analognets.errors import InvalidArgumentError

# Mean and spread in uS after so many SET pulses: the recurrence of the source run apart from this package, 200,000
# devices from 0.1 uS, limit 20 uS.
PCM_CURVE = {
    1: (2.05, 1.5), 2: (3.43, 2.0), 3: (4.47, 2.2), 4: (5.28, 2.3), 5: (5.92, 2.4), 8: (7.25, 2.4),
    10: (7.84, 2.5), 12: (8.30, 2.5), 16: (8.97, 2.6), 20: (9.42, 2.7),
}  # fmt: skip
FITS = {"mean_fit": (-0.084, 0.880, 1.40), "spread_fit": (0.091, 0.260, 2.15)}  # the source's
STEP_CURVE = {1: 0.286, 2: 0.429, 3: 0.532, 5: 0.683, 10: 0.925, 20: 1.218}  # in aihwkit's units, without noise
KINDS = [devices.PulsedPCM(), devices.PulsedStepPCM(), devices.PulsedLinear(), devices.PulsedPCM(monotonic=False)]
FEW = settings(max_examples=15, deadline=None, derandomize=True)


def fresh(device, count=1000, seed=0):
    return device.reset((count,), seed=seed)


@pytest.mark.parametrize("monotonic", [True, False])
def test_the_pulse_curve_of_pcm_is_the_published_one(monotonic) -> None:
    device = devices.PulsedPCM(g_max=20, monotonic=monotonic)
    state, found = fresh(device, 100_000), {}
    for number in range(1, 21):
        state = device.pulse(state, seed=number)
        if number in PCM_CURVE:
            g = np.asarray(state["conductance"])
            found[number] = (g.mean(), g.std())
    for number, (mean, spread) in PCM_CURVE.items():
        assert found[number][0] == pytest.approx(mean, rel=0.02), number
        assert found[number][1] == pytest.approx(spread, rel=0.05), number


def test_at_the_default_limit_both_laws_of_pcm_stay_close() -> None:
    curves = []
    for monotonic in (True, False):
        device = devices.PulsedPCM(monotonic=monotonic)
        state, found = fresh(device, 100_000), []
        for number in range(1, 21):
            state = device.pulse(state, seed=number)
            found.append((np.mean(state["conductance"]), np.std(state["conductance"])))
        curves.append(np.array(found))
    ratio = curves[0] / curves[1] - 1
    assert np.abs(ratio).max(0) == pytest.approx([0.025, 0.094], abs=0.006)


def test_the_step_device_has_aihwkits_curve() -> None:
    device = devices.PulsedStepPCM(spread=0, reset_spread=0)
    curve = device.pulse_curve(20) / device.unit
    for number, mean in STEP_CURVE.items():
        assert curve[number] == pytest.approx(mean, rel=0.005), number


def test_the_granularity_of_pcm_is_the_published_one() -> None:
    assert devices.PulsedPCM(g_max=20).mean_step == pytest.approx(0.773, rel=0.01)


def test_a_device_near_its_limit_is_stopped_there() -> None:
    for device in KINDS:
        state = device.pulse(fresh(device), 60, seed=1)
        assert np.max(state["conductance"]) <= device.g_max
        assert np.min(state["conductance"]) >= device.g_min
    assert np.all(np.asarray(device.pulse(fresh(devices.PulsedLinear()), 60, seed=1)["pulses"]) == 60)


@pytest.mark.parametrize("device", [devices.PulsedLinear(), devices.PulsedPCM()])
@FEW
@given(counts=st.lists(st.integers(0, 6), min_size=20, max_size=20), seed=st.integers(0, 2**40))
def test_without_negative_steps_no_pulse_lowers_a_device(device, counts, seed) -> None:
    state = device.pulse(fresh(device, 20), 2, seed=seed)
    after = device.pulse(state, np.array(counts), seed=seed + 1)
    assert np.all(np.asarray(after["conductance"]) >= np.asarray(state["conductance"]))
    reset = np.asarray(fresh(device, 20, seed)["conductance"])
    assert np.all(reset < 2 * device.g_min)


@pytest.mark.parametrize("state", [(0.1, 1.0), (1.0, 2.0), (4.0, 3.0), (8.0, 12.0), (9.0, 20.0)])
def test_steps_that_never_fall_have_the_mean_and_spread_of_those_that_may(state) -> None:
    count, found = 400_000, {}
    g, pulses = (np.full(count, value, "float32") for value in state)
    before = {"conductance": g, "pulses": pulses - 1, "pulsed_at": 0 * g}
    for monotonic in (False, True):
        device = devices.PulsedPCM(g_max=60, monotonic=monotonic, **FITS)
        after = device.pulse_with(before, device.pulse_draws(g.shape, 3), time=0.0)
        found[monotonic] = np.asarray(after["conductance"], "float64") - g
    assert found[True].min() >= 0
    assert abs(found[True].mean() - found[False].mean()) < 6 * found[False].std() / np.sqrt(count)
    assert found[True].std() == pytest.approx(found[False].std(), rel=0.05)
    full = {"conductance": 0 * g + 12, "pulses": 0 * g + 100, "pulsed_at": 0 * g}
    still = device.pulse_with(full, device.pulse_draws(g.shape, 4), time=0.0)["conductance"]
    np.testing.assert_array_equal(still, full["conductance"])


def test_the_mean_step_of_pcm_rises_up_to_its_asymptote() -> None:
    device = devices.PulsedPCM(g_max=20, monotonic=False)
    g = np.linspace(device.g_min, 0.880 / 0.084 - 0.01, 50, dtype="float32")
    for pulses in (1.0, 3.0, 50.0):
        assert np.all(np.asarray(device.step_moments(g, np.full_like(g, pulses))[0]) > 0)
    assert device.step_moments(np.float32(12), np.float32(50))[0] < 0


@pytest.mark.parametrize("device", KINDS[:3], ids=lambda device: type(device).__name__)
def test_zero_pulses_and_zero_amplitude_change_nothing(device) -> None:
    state = device.pulse(fresh(device), 3, seed=1, time=5.0)
    for options in ({"count": 0}, {"count": 4, "amplitude": 0.0}):
        after = device.pulse(state, seed=2, time=9.0, **options)
        for name in state:
            np.testing.assert_array_equal(after[name], state[name])


def test_amplitude_scales_the_mean_step() -> None:
    device = devices.PulsedPCM(spread_fit=(0.0, 0.0, 0.0), reset_spread=0.0, memory=1e6)
    steps = [
        float(np.mean(device.pulse(fresh(device), amplitude=a, seed=1)["conductance"])) - 0.1 for a in (0.25, 0.5, 1.0)
    ]
    np.testing.assert_allclose(np.array(steps) / steps[2], [0.25, 0.5, 1.0], rtol=1e-4)


def test_drift_starts_anew_with_every_pulse() -> None:
    device = devices.PulsedPCM(read_noise_share=0, read_noise_floor=0)
    state = device.pulse(fresh(device, 4), np.array([1, 1, 0, 0]), seed=1, time=100.0)
    g = np.asarray(state["conductance"])
    since = np.array([900.0, 900.0, 1000.0, 1000.0]) / 38.6
    np.testing.assert_allclose(device.read(state, 1000.0), g * since**-0.04, rtol=1e-5)
    np.testing.assert_array_equal(device.read(state, 38.6), g)
    np.testing.assert_allclose(device.read(state, "1y"), device.read(state, 31_536_000.0))


def test_read_noise_has_the_published_size() -> None:
    device = devices.PulsedPCM(drift_exponent=0)
    for g in (1.0, 5.0, 10.0):
        values = np.full(40_000, g, "float32")
        state = {"conductance": values, "pulses": values, "pulsed_at": 0 * values}
        read = np.asarray(device.read(state, 0, seed=3))
        assert read.mean() == pytest.approx(g, abs=5 * (0.03 * g + 0.13) / 200)
        assert read.std() == pytest.approx(0.03 * g + 0.13, rel=0.02)
        assert np.any(read != np.asarray(device.read(state, 0, seed=4)))


def test_the_same_seed_gives_the_same_pulses() -> None:
    device = devices.PulsedPCM()
    first, again, other = (device.pulse(fresh(device), 3, seed=seed)["conductance"] for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert np.mean(np.asarray(first) == np.asarray(other)) < 0.3


def test_a_verified_write_reaches_its_targets() -> None:
    device = devices.PulsedPCM()
    targets = np.linspace(1, 9, 2000, dtype="float32")
    error = np.asarray(device.program(targets, 1)["conductance"]) - targets
    assert abs(error.mean()) < 4 * 0.3 / np.sqrt(2000)
    assert error.std() == pytest.approx(0.3, rel=0.06)


def test_pulses_for_inverts_the_curve() -> None:
    for device in KINDS:
        curve = device.pulse_curve(8)
        np.testing.assert_array_equal(device.pulses_for(curve - curve[0], 8), np.arange(9))
    np.testing.assert_array_equal(
        devices.PulsedLinear().pulses_for(np.array([[0.0, 0.8], [1.6, 99.0]]), 5), [[0, 1], [2, 5]]
    )


@pytest.mark.parametrize("device", KINDS, ids=lambda device: type(device).__name__)
def test_devices_survive_their_config(device) -> None:
    assert devices.deserialize(devices.serialize(device)) == device


def test_names() -> None:
    assert devices.get("pulsed_pcm") == devices.PulsedPCM()
    assert {"pulsed_linear", "pulsed_step_pcm"} <= set(devices.list_devices())


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: devices.PulsedPCM(g_max=0.05), "`g_min` of PulsedPCM must be less than its g_max"),
        (lambda: devices.PulsedPCM(t_0=0), "`t_0` of PulsedPCM"),
        (lambda: devices.PulsedPCM(mean_fit=(1.0, 2.0)), "length of mean_fit"),
        (lambda: devices.PulsedLinear(step=0), "`step` of PulsedLinear"),
        (lambda: devices.PulsedLinear().pulse(fresh(devices.PulsedLinear()), -1, seed=0), "whole numbers from 0"),
        (lambda: devices.PulsedLinear().pulse(fresh(devices.PulsedLinear()), 0.5, seed=0), "whole numbers from 0"),
        (
            lambda: devices.PulsedLinear().pulse(fresh(devices.PulsedLinear()), amplitude=-1.0, seed=0),
            "must not be negative",
        ),
        (lambda: devices.PulsedPCM().read(fresh(devices.PulsedPCM()), 0), "needs a seed"),
        (lambda: devices.PulsedPCM().read({"conductance": np.ones(2)}, 0, seed=1), "lacks pulses, pulsed_at"),
    ],
)
def test_what_is_wrong_is_said(action, message) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        action()


def test_the_arithmetic_can_be_traced() -> None:
    import tensorflow as tf

    device = dataclasses.replace(devices.PulsedPCM(), drift_exponent=0.05)
    generator = keras.random.SeedGenerator(1)
    state = fresh(device, 50)

    @tf.function(reduce_retracing=True)
    def step(state, time):
        draws = device.pulse_draws((tf.size(state["conductance"]),), generator)
        return device.pulse_with(state, draws, time=time)

    after = step(state, tf.constant(7.0))
    assert np.all(np.asarray(after["pulses"]) == 1)
    assert np.all(np.asarray(after["pulsed_at"]) == 7.0)
    assert np.mean(after["conductance"]) == pytest.approx(2.05, abs=0.9)
