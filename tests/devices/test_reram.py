"""Laws of the resistive memory, and of the readings of the PCM model that differ between paper and aihwkit."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from analognets import devices
from analognets.devices import PCM, ReRAM
from analognets.errors import InvalidArgumentError, UnknownNameError

N, SIGMAS = 60_000, 5.0
FEW = settings(max_examples=25, deadline=None, derandomize=True)
# of the supplement of arXiv 2302.08469, constant term first; the last digits of the second from aihwkit
PUBLISHED = {
    1.0: (0.348, 16.030, -43.853, 45.393, -16.815),
    86_400.0: (0.701, 22.086, -50.773, 47.095, -16.458),
}


def published(r, time):
    return sum(c * r**i for i, c in enumerate(PUBLISHED[time]))


def targets(*levels):
    return np.repeat(np.array(levels)[:, None] * 40, N, axis=1).astype("float32")


@pytest.mark.parametrize("relaxation", ["coherent", "independent"])
@pytest.mark.parametrize("time", sorted(PUBLISHED))
def test_deviations_have_the_published_size(relaxation, time) -> None:
    levels = np.array([0.2, 0.5, 0.9])
    device = ReRAM(relaxation=relaxation)
    g = ops.convert_to_numpy(device.read(device.program(targets(*levels), 1), time, seed=2)).astype("float64")
    sigma = published(levels, time)
    assert np.all(np.abs(g.mean(1) - 40 * levels) < SIGMAS * sigma / math.sqrt(N))
    assert np.all(np.abs(g.std(1) / sigma - 1) < SIGMAS / math.sqrt(2 * N))


def test_the_device_right_after_programming_is_the_first_reading() -> None:
    device = ReRAM()
    state = device.program(targets(0.1, 0.7), 3)
    for time in (0, 0.5, "1s", device.first_reading):
        np.testing.assert_array_equal(device.read(state, time), state["conductance"])
    np.testing.assert_array_equal(device.read(state, "2d"), device.read(state, "1y"))


@FEW
@given(st.floats(0, 1), st.floats(1, 1e6), st.floats(1, 10))
def test_sigma_lies_between_the_measured_times(r, time, later) -> None:
    device = ReRAM(times=(1.0, 86_400.0), fits=tuple(PUBLISHED.values()))
    low, high = (float(device.deviation(np.float32(r), t)) for t in (1.0, 86_400.0))
    early, late = (float(device.deviation(np.float32(r), t)) for t in (time, time * later))
    assert low - 1e-5 <= early <= late + 1e-5 <= high + 2e-5 or not low < high
    half = float(device.deviation(np.float32(r), math.sqrt(86_400.0)))
    assert half == pytest.approx((low + high) / 2, rel=1e-5, abs=1e-6)


@FEW
@given(st.integers(0, 2**63 - 1), st.floats(0, 1), st.floats(0, 1e10))
def test_conductances_are_physical_and_reproducible(seed, share, time) -> None:
    for device in (ReRAM(), ReRAM(30.0, relaxation="independent")):
        target = np.full((2, 3, 4), share * device.g_max, "float32")
        g = np.asarray(device.read(device.program(target, seed), time, seed=1))
        assert g.shape == target.shape and g.dtype == np.float32
        assert np.all(np.isfinite(g)) and np.all(g >= 0)
        np.testing.assert_array_equal(g, device.read(device.program(target, seed), time, seed=1))


def test_without_noise_it_is_ideal_and_noise_scales() -> None:
    ideal = ReRAM(programming_noise_scale=0)
    target = targets(0.0, 0.4)
    np.testing.assert_array_equal(ideal.read(ideal.program(target, 0), "1d"), target)
    target = targets(0.9)
    kinds = (ReRAM(), ReRAM(programming_noise_scale=0.5))
    spread = [ops.convert_to_numpy(kind.read(kind.program(target, 0), "1d")).std() for kind in kinds]
    assert spread[1] == pytest.approx(spread[0] / 2, rel=1e-4)
    smaller = ReRAM(20.0)
    found = ops.convert_to_numpy(smaller.read(smaller.program(target / 2, 0), "1d")).std()
    assert found == pytest.approx(spread[0] / 2, rel=1e-4)


def test_coherent_readings_go_one_way_and_independent_ones_do_not() -> None:
    target = targets(0.5)
    for relaxation, wanted in (("coherent", 1.0), ("independent", 0.0)):
        device = ReRAM(relaxation=relaxation)
        state = device.program(target, 0)
        second, day = (np.asarray(device.read(state, t, seed=i))[0] for i, t in enumerate(("1s", "1d")))
        assert np.corrcoef(second, day)[0, 1] == pytest.approx(wanted, abs=SIGMAS / math.sqrt(N))


def test_names_and_serialization() -> None:
    assert devices.get("reram") == ReRAM()
    for device in (ReRAM(), ReRAM(30, relaxation="independent", times=(1, 9), fits=((1, 2), [3.0]))):
        data = json.loads(json.dumps(devices.serialize(device)))
        assert devices.get(data) == device
        assert hash(devices.get(data)) == hash(device)
    assert devices.get("pcm", t_0=20.0, drift_scale=2) == PCM(t_0=20.0, drift_scale=2)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: ReRAM(0), "`g_max` of ReRAM must be a number from 1e-06"),
        (lambda: ReRAM(programming_noise_scale=-1), "`programming_noise_scale` of ReRAM"),
        (lambda: ReRAM(times=(5.0, 5.0, 6.0)), "`times` of ReRAM must be rising seconds"),
        (lambda: ReRAM(times=(1.0,)), "one list of coefficients for each of the 1 times"),
        (lambda: ReRAM(times=(1.0,), fits=((),)), "one list of coefficients for each of the 1 times"),
        (lambda: ReRAM(relaxation="none"), "`relaxation` of ReRAM must be one of 'coherent', 'independent'"),
        (lambda: ReRAM(relaxation="independent").read_draws((3,), None), "ReRAM with independent relaxation needs a"),
        (lambda: ReRAM().read(devices.PCM().program(np.ones(2), 0), 1), "does not fit ReRAM: it lacks target"),
        (lambda: ReRAM().program([41.0], 0), r"must lie in \[0, 40\] uS"),
        (lambda: devices.get(PCM(), t_0=3.0), "Settings of a device go with its name"),
        (lambda: PCM(read_noise_scaling="both"), "`read_noise_scaling` of PCM must be one of 'drifted', 'target'"),
    ],
)
def test_what_is_wrong_is_one_sentence(call, sentence) -> None:
    with pytest.raises(InvalidArgumentError, match=sentence):
        call()


def test_unknown_settings_name_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Unknown setting of device 'pcm'. Did you mean 'drift_scale'"):
        devices.get("pcm", drift_scal=2)


def test_pcm_by_the_letter_of_rasch() -> None:
    """Read noise in proportion to the target and growing from `time`; drift counted from the end of programming."""
    device = PCM.like_rasch(programming_noise_scale=0)
    time, share = 86_400.0, 0.4
    target = np.full(N, share * 25, "float32")
    state = device.program(target, 0)
    assert np.all(np.asarray(device.read(state, 0.0, 1)) == target), "neither drift nor read noise at 0 s"
    drifted = np.asarray(PCM.like_rasch(programming_noise_scale=0, read_noise_scale=0).read(state, time), "float64")
    nu = np.asarray(state["drift_exponent"], "float64")
    np.testing.assert_allclose(drifted, target * ((time + 20) / 20) ** -nu, rtol=2e-6)
    noise = np.asarray(device.read(state, time, seed=1), "float64") - drifted
    wanted = share * 25 * 0.0088 * share**-0.65 * math.sqrt(math.log((time + 250e-9) / 500e-9))
    assert abs(noise.std() / wanted - 1) < SIGMAS / math.sqrt(2 * N)


def test_exponents_may_be_negative_only_where_they_are_signed() -> None:
    target = np.full(N, 1e-4 * 25, "float32")
    signed, positive = (np.asarray(PCM(drift_exponent=kind).program(target, 0)["drift_exponent"]) for kind in (
        "signed", "non_negative"))  # fmt: skip
    assert signed.min() < 0 <= positive.min()
    np.testing.assert_array_equal(np.abs(signed), positive)
