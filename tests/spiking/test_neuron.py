"""The neuron and the synaptic currents against closed forms."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from analognets.errors import InvalidArgumentError
from analognets.spiking import LIF, DoubleExponential, SpikeTrains
from analognets.spiking.filters import exponential_traces

FEW = settings(max_examples=6, deadline=None, derandomize=True)


def compiled(layer, currents):
    """Return what a layer makes of currents, compiled: loops over many steps are slow otherwise."""
    currents = np.asarray(currents, dtype=layer.compute_dtype)
    entry = keras.Input(currents.shape[1:], dtype=layer.compute_dtype)
    model = keras.Model(entry, layer(entry))
    model.compile(jit_compile=True)
    return model.predict_on_batch(currents)


def run(currents, **settings_):
    layer = LIF(return_membrane=True, dtype="float64", **settings_)
    spikes, membrane = compiled(layer, np.asarray(currents)[None, :, None])
    return spikes[0, :, 0], membrane[0, :, 0]


@FEW
@given(st.floats(0, 2600), st.sampled_from([0.1, 0.5, 1.0]), st.floats(50, 500), st.floats(5, 60))
def test_the_membrane_follows_the_closed_form(current, dt, capacitance, leak) -> None:
    steps = 80
    _, membrane = run(np.full(steps, current), dt=dt, capacitance=capacitance, leak=leak, threshold=1e6)
    time = dt * np.arange(1, steps + 1)
    exact = -70.0 + current / leak * (1 - np.exp(-time * leak / capacitance))
    np.testing.assert_allclose(membrane, exact, rtol=0, atol=1e-6)


def test_the_membrane_is_exact_for_double_exponential_currents_too() -> None:
    dt, weight = 0.5, 900.0
    trains = SpikeTrains.from_lists([[2.0, 9.0, 9.5, 31.0]], 60.0)
    traces = DoubleExponential(dt=dt).traces(trains)
    _, membrane = run(weight * traces[:, 0], dt=dt, threshold=1e6)

    def slope(t, v):
        past = t - trains.times[trains.times <= t]
        current = weight * np.sum(np.exp(-past / 5.0) - np.exp(-past / 1.25))
        return (-30.0 * (v + 70.0) + current) / 300.0

    times = dt * np.arange(1, len(traces) + 1)
    solved = solve_ivp(slope, (0, 60), [-70.0], t_eval=times[:-1], rtol=1e-10, atol=1e-10, max_step=0.25)
    np.testing.assert_allclose(membrane[:-1], solved.y[0], atol=1e-5)


def test_a_single_spike_has_the_closed_form_of_three_exponentials() -> None:
    dt = 0.1
    trains = SpikeTrains.from_lists([[0.0]], 50.0)
    _, membrane = run(1000.0 * DoubleExponential(dt=dt).traces(trains)[:, 0], dt=dt)
    t = dt * np.arange(1, 501)

    def part(tau):
        return tau * 10.0 / (tau - 10.0) * (np.exp(-t / tau) - np.exp(-t / 10.0))

    np.testing.assert_allclose(membrane + 70.0, 1000.0 / 300.0 * (part(5.0) - part(1.25)), atol=1e-6)


def test_the_rate_follows_the_current() -> None:
    layer = LIF()
    currents = np.array([2000.0, 2690.0, 2750.0, 3500.0, 6000.0, 20_000.0])
    steps = 20_000
    spikes = compiled(layer, np.broadcast_to(currents, (1, steps, len(currents))))[0]
    found = spikes.sum(0) / (steps * layer.dt / 1000)
    assert np.all(found[:2] == 0) and layer.rheobase == 2700
    # Two ends of the window and the step that each interval is rounded up to.
    np.testing.assert_allclose(found[2:], layer.rate(currents)[2:], rtol=0.03)
    assert np.all(np.diff(found[1:]) > 0)
    assert layer.rate([1e9])[0] == pytest.approx(1000 / 3, rel=1e-3), "the refractory time is the limit"


def test_a_neuron_rests_for_the_refractory_time() -> None:
    spikes, membrane = run(np.full(400, 1e6), dt=0.1, refractory=3.0)
    when = np.flatnonzero(spikes)
    assert np.all(np.diff(when) == 31), "30 steps of rest and one to reach the threshold"
    assert np.all(membrane[spikes > 0] == -70)


def test_the_membrane_never_falls_below_rest() -> None:
    assert run(np.full(50, -500.0))[1].min() == -70
    assert run(np.full(50, -500.0), clamp=False)[1].min() < -70


def test_spikes_inhibit_the_others_and_not_themselves() -> None:
    strong, weak = 8000.0, 4000.0
    currents = np.broadcast_to(np.array([strong, weak], "float32"), (1, 3000, 2))
    alone = compiled(LIF(), currents)[0].sum(0)
    together = compiled(LIF(lateral_inhibition=4000.0), currents)[0].sum(0)
    assert together[1] < 0.5 * alone[1]
    one = compiled(LIF(lateral_inhibition=4000.0), currents[..., :1])[0].sum(0)
    assert one[0] == alone[0]


def test_inhibition_begins_in_the_step_after_the_spike_with_the_synapses_kernel() -> None:
    currents = np.zeros((1, 200, 2))
    currents[0, 0, 0] = 1e6
    currents[0, :, 1] = 1000.0
    layer = LIF(lateral_inhibition=300.0, return_membrane=True, dtype="float64", clamp=False)
    spikes, membrane = (part[0] for part in compiled(layer, currents))
    assert np.flatnonzero(spikes[:, 0]).tolist() == [0]
    t = 0.1 * np.arange(1, 201)
    free = 1000.0 / 30 * (1 - np.exp(-t / 10))
    since = np.maximum(t - 0.1, 0.0)

    def part(tau):
        return tau * 10.0 / (tau - 10.0) * (np.exp(-since / tau) - np.exp(-since / 10.0))

    np.testing.assert_allclose(membrane[:, 1] + 70, free - (part(5.0) - part(1.25)), atol=1e-6)


def test_traces_of_the_layer_and_of_trains_agree() -> None:
    rng = np.random.default_rng(0)
    dense = (rng.random((300, 4)) < 0.05).astype("float64")
    for membrane in (10.0, 5.0, None):
        layer = DoubleExponential(dt=0.5, membrane=membrane, dtype="float64")
        np.testing.assert_allclose(
            np.asarray(layer(dense[None]))[0], layer.traces(SpikeTrains.from_dense(dense, 0.5)), atol=1e-9
        )


def test_traces_are_sums_of_exponentials() -> None:
    trains = SpikeTrains.from_lists([[0.0, 3.0, 3.1], []], 10.0)
    found = exponential_traces(trains, 0.1, 4.0)
    grid = 0.1 * np.arange(100)
    exact = sum(np.where(grid >= t - 1e-9, np.exp(-(grid - t) / 4.0), 0.0) for t in (0.0, 3.0, 3.1))
    np.testing.assert_allclose(found[:, 0], exact, atol=1e-12)
    assert not found[:, 1].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layers_work_in_models_and_files(tmp_path, dtype) -> None:
    entry = keras.Input((None, 6), dtype=dtype)
    traces = DoubleExponential(dt=0.5, dtype=dtype)(entry)
    currents = keras.layers.Dense(3, use_bias=False, kernel_initializer="ones", dtype=dtype)(traces)
    model = keras.Model(entry, LIF(dt=0.5, lateral_inhibition=10.0, dtype=dtype)(2000.0 * currents))
    model.save(tmp_path / "model.keras")
    model.compile(jit_compile=True)
    spikes = (np.random.default_rng(0).random((2, 200, 6)) < 0.1).astype(dtype)
    found = model.predict(spikes, verbose=0)
    assert found.shape == (2, 200, 3) and 0 < found.sum() < found.size
    again = keras.models.load_model(tmp_path / "model.keras")
    again.compile(jit_compile=True)
    np.testing.assert_array_equal(again.predict(spikes, verbose=0), found)


def test_settings_survive_a_config() -> None:
    layer = LIF(dt=0.2, threshold=-50.0, lateral_inhibition=5.0, clamp=False, return_membrane=True)
    assert LIF.from_config(layer.get_config()).get_config() == layer.get_config()
    current = DoubleExponential(dt=0.2, tau_fall=8.0, membrane=None)
    assert DoubleExponential.from_config(current.get_config()).get_config() == current.get_config()


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"dt": 4.0}, "The time step must not be longer than the refractory time. Received: dt=4 ms with refractory=3"),
        ({"dt": 0.0}, "`dt` of a simulation must be a number from 1e-06"),
        ({"threshold": -80.0}, "`threshold` of LIF must be above rest"),
        ({"capacitance": -1.0}, "`capacitance` of LIF must be a number from"),
    ],
)
def test_bad_neurons_are_refused(settings_, message) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        LIF(**settings_)


def test_a_rise_slower_than_the_fall_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="`tau_fall` of DoubleExponential must be longer than tau_rise"):
        DoubleExponential(tau_fall=1.0, tau_rise=2.0)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize(("dt", "steps", "refractory"), [(0.01, 3000, 3.0), (0.1, 6000, 300.0)])
def test_low_precision_fires_as_often(dtype, dt, steps, refractory) -> None:
    currents = np.full((1, steps, 1), 6000.0, "float32")
    counts = [
        float(np.sum(np.asarray(LIF(dt=dt, refractory=refractory, dtype=one)(currents), "float32")))
        for one in ("float32", dtype)
    ]
    assert counts[0] == counts[1] >= 2
    spikes = np.zeros((1, 400, 1), "float32")
    spikes[0, ::7] = 1.0
    full, low = (np.asarray(DoubleExponential(dt=0.01, dtype=one)(spikes), "float32") for one in ("float32", dtype))
    np.testing.assert_allclose(low, full, rtol=1e-2, atol=1e-2)
