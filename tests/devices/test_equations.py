"""The devices against plain NumPy in double precision, for the same standard-normal draws."""

from __future__ import annotations

import numpy as np
import pytest

from analognets import devices

SHAPE = (2, 40, 50)
TIMES = (0.0, 1.0, 25.0, 3600.0, 86_400.0, 31_536_000.0)
SETTINGS = {
    "defaults": {},
    "aihwkit": {"t_0": 20.0, "drift_clock": "since_programming", "read_noise_reference": "programmed"},
    "no factor 2": {"read_noise_log_divisor": 1.0},
    "scales": {"programming_noise_scale": 0.5, "drift_scale": 1.7, "read_noise_scale": 2.5},
    "other g_max": {"g_max": 8.0, "t_read": 1e-6},
}


def targets(g_max, seed=0):
    """Return targets over the whole range with both ends in it."""
    g = np.random.default_rng(seed).uniform(0, 1, SHAPE) ** 2 * g_max
    g[:, 0, :5], g[:, 0, 5:10] = 0.0, g_max
    return g.astype("float32")


def draws(device, seed=1):
    rng = np.random.default_rng(seed)
    drawn = {name: rng.standard_normal(SHAPE).astype("float32") for name in ("programming", "drift", "read")}
    drawn["path"] = rng.standard_normal((len(device.coherent_knots), *SHAPE)).astype("float32")
    return drawn


def expected(reference, device, fit_g_max, statistics, drawn, g, time):
    g = g.astype("float64")
    drawn = {name: values.astype("float64") for name, values in drawn.items()}
    programmed, nu, q = reference.program(
        g, drawn, statistics, g_max=device.g_max, fit_g_max=fit_g_max,
        scale=device.programming_noise_scale, reference=device.read_noise_reference,
    )  # fmt: skip
    conductance = reference.read(
        programmed, nu, q, time, drawn["read"], t_0=device.t_0, t_read=device.t_read, clock=device.drift_clock,
        divisor=device.read_noise_log_divisor, drift=device.drift_scale, noise=device.read_noise_scale,
    )  # fmt: skip
    return {"conductance": programmed, "drift_exponent": nu, "read_noise_amplitude": q}, conductance


def check(reference, device, fit_g_max, statistics):
    g, drawn = targets(device.g_max), draws(device)
    state = device.program_with(g, drawn)
    for time in TIMES:
        wanted, conductance = expected(reference, device, fit_g_max, statistics, drawn, g, time)
        np.testing.assert_allclose(device.read_with(state, time, drawn), conductance, rtol=1e-5, atol=1e-5)
        assert sorted(state) == sorted(wanted)
        for name, values in wanted.items():
            np.testing.assert_allclose(state[name], values, rtol=5e-6, atol=5e-6, err_msg=name)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_pcm(numpy_reference, settings) -> None:
    check(numpy_reference, devices.PCM(**settings), 25.0, numpy_reference.pcm_statistics)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("settings", [{}, {"g_max": 5.0}, {"read_noise_reference": "programmed"}], ids=str)
def test_pcm_14nm(numpy_reference, count, settings) -> None:
    device = devices.PCM14nm(devices_per_polarity=count, **settings)
    constants = numpy_reference.HERMES[count]
    assert device.t_read == constants["t_read"]
    check(numpy_reference, device, constants["g_max"], lambda g, q: numpy_reference.hermes_statistics(g, q, count))


def test_defaults_are_the_published_ones(numpy_reference) -> None:
    assert (devices.PCM().g_max, devices.PCM().t_read) == (numpy_reference.PCM["g_max"], numpy_reference.PCM["t_read"])
    assert (devices.PCM().t_0, devices.PCM().drift_clock) == (25.0, "absolute")
    one, two = devices.PCM14nm(devices_per_polarity=1), devices.PCM14nm()
    assert (one.g_max, one.t_0, two.g_max, two.t_0) == (10.35, 200.0, 20.7, 300.0)


@pytest.mark.parametrize("kind", ["pcm", "pcm_14nm"])
def test_like_aihwkit_sets_every_named_option(kind) -> None:
    device = type(devices.get(kind)).like_aihwkit(read_noise_scale=2.0)
    assert device.drift_clock == "since_programming"
    assert device.read_noise_reference == "programmed"
    assert device.read_noise_log_divisor == 2.0
    assert device.read_noise == "independent"
    assert device.t_0 == (20.0 if kind == "pcm" else 300.0)
    assert device.read_noise_scale == 2.0


@pytest.mark.parametrize("time", [0.0, 1e-3, 25.0, 60.0, 3600.0, 7e4, 3e7, 1e9, 1e11])
def test_coherent_path(numpy_reference, time) -> None:
    device = devices.PCM(read_noise="coherent")
    drawn, g = draws(device), targets(25.0)
    state = device.program_with(g, drawn)
    noise = numpy_reference.brownian(drawn["path"].astype("float64"), time, device.coherent_knots, 250e-9)
    quiet = np.asarray(devices.PCM(read_noise_scale=0).read_with(state, time, {})).astype("float64")
    wanted = np.maximum(quiet * (1 + np.asarray(state["read_noise_amplitude"], "float64") * noise), 0)
    np.testing.assert_allclose(device.read_with(state, time, {}), wanted, rtol=1e-5, atol=2e-5)


def test_negative_sigma_is_no_noise() -> None:
    device = devices.PCM(programming_fit=(-1.0,))
    drawn, g = draws(device), targets(25.0)
    np.testing.assert_array_equal(device.program_with(g, drawn)["conductance"], g)


def test_own_fit_switches_off_the_spread_of_nu() -> None:
    device = devices.PCM(drift_spread_fit=(0, 0, 0, 0), drift_mean_fit=(0, 0.06, 0, 1))
    nu = device.program(targets(25.0), seed=3)["drift_exponent"]
    np.testing.assert_allclose(nu, 0.06, rtol=1e-6)
