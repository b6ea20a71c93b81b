"""The pulsed array that in-memory training and spiking layers share, and its policies."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import analognets as an
from analognets.devices import PulsedFitted, PulsedLinear, PulsedPCM
from analognets.errors import InvalidArgumentError
from analognets.spiking import SpikeTiming, SpikeTrains
from analognets.synapses import PulsedSynapses, SynapseRules, device_figure
from analognets.synapses.policies import Amplitude, Nearest, OwnTurn, Refresh, SharedTurn, Stochastic, Truncated
from analognets.synapses.pulsed_array import PulsedArray, spots
from analognets.training.in_memory import MixedPrecision, MixedPrecisionRules

QUIET = PulsedLinear(g_max=40.0, step=0.5)
CHANGES = tf.constant([-3.7, -0.6, -0.05, 0.0, 0.4, 0.6, 2.5])


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (Truncated(2), [-2, 0, 0, 0, 0, 0, 2]),
        (Nearest(10), [-4, -1, 0, 0, 0, 1, 2]),
        (Stochastic(10), [-4, -1, 0, 0, 0, 1, 3]),
        (Amplitude(2.0, 0.1), [-2, -0.6, 0, 0, 0.4, 0.6, 2]),
    ],
)
def test_changes_become_pulses(rule, wanted) -> None:
    found = rule.pulses(CHANGES, lambda: tf.fill(CHANGES.shape, 0.5))
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    small = np.abs(CHANGES) < rule.least
    assert not np.any(found.numpy()[small])


def array(copies, turn, refreshing, dtype="float32", flat=True):
    shape = (2 * copies * 6,) if flat else (2, copies, 6)
    kinds = {name: dtype if name == "pulses" else "float32" for name in QUIET.state_names}
    cells = {name: keras.Variable(np.zeros(shape, kind), dtype=kind, name=name) for name, kind in kinds.items()}
    made = PulsedArray(QUIET, (2, 3), copies=copies, cells=cells, turn=turn, refreshing=refreshing)
    made.program(np.zeros(6), 0)
    return made


PAIRS, WHOLE = Refresh(8.0, 4.0), Refresh(8.0, 4.0, whole=True)


def pulses(made):
    return made.cells["pulses"].numpy().astype(int).reshape(2, made.copies, 6)


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_an_array_stores_its_cells_in_any_shape(flat, dtype) -> None:
    made = array(3, OwnTurn(keras.Variable(np.zeros(12, "int32"), dtype="int32")), WHOLE, dtype, flat)
    given, most = made.give(tf.constant([0, 4], tf.int64), tf.constant([4.0, -2.0]), 1.0, lambda number: int(number))
    assert (int(given), int(most)) == (6, 4)
    assert pulses(made)[0, :, 0].tolist() == [2, 1, 1] and pulses(made)[1, :, 4].tolist() == [1, 1, 0]
    weights = made.weights(made.conductances(1.0, seed=0), 1.0)
    np.testing.assert_allclose(weights, 0.5 * np.array([4, 0, 0, 0, -2, 0]), atol=1e-5)


def test_turns_go_by_array_or_by_synapse() -> None:
    counter = tf.Variable(0, dtype=tf.int64)
    shared = array(2, SharedTurn(lambda: counter.value()), PAIRS)
    own = array(2, OwnTurn(keras.Variable(np.zeros(12, "int32"), dtype="int32")), PAIRS)
    for made in (shared, own):
        for index in ([0], [0, 1]):
            _, most = made.give(tf.constant(index, tf.int64), tf.ones(len(index)), 0.0, lambda number: 0)
            counter.assign_add(int(most) if made is shared else 0)
    assert pulses(shared)[0, :, :2].tolist() == [[1, 0], [1, 1]], "the second update goes to the second devices"
    assert pulses(own)[0, :, :2].tolist() == [[1, 1], [1, 0]], "synapse 1 begins with its first device"


@pytest.mark.parametrize("policy", [PAIRS, WHOLE])
def test_both_policies_keep_the_weights_of_full_pairs(policy) -> None:
    made = array(2, OwnTurn(keras.Variable(np.zeros(12, "int32"), dtype="int32")), policy)
    g = np.full((2, 2, 6), 9.0, "float32")
    g[1, :, :3] = 8.0
    g[1, :, 5] = 1.0  # differs too much
    made.cells["conductance"].assign(g.reshape(-1))
    before = made.conductances(0.0, seed=0)
    units, difference = made.refreshing.due(before)
    assert len(units) == (10 if policy is PAIRS else 5)
    given, resets = made.rewrite(units, difference, 1.0, seed=3)
    assert (int(given), int(resets)) == (2 * 3 * 2, 20)
    after = made.conductances(1.0, seed=0)
    np.testing.assert_allclose(made.weights(after, 1.0), made.weights(before, 1.0), atol=1e-4)
    assert after.numpy()[:, :, :5].max() < 2.0 and after.numpy()[0, 0, 5] == 9.0


def test_flat_indices_become_places() -> None:
    shape = (3, 4, 5)
    found = spots(tf.range(60, dtype=tf.int64), shape)
    np.testing.assert_array_equal(found, np.stack(np.unravel_index(np.arange(60), shape), axis=1))


def test_spiking_synapses_have_statistics_and_a_figure() -> None:
    synapses = PulsedSynapses((12, 5), device=PulsedPCM(), spread=2000.0)
    synapses.update(np.full((12, 5), 500.0), 1.0, seed=0)
    found = synapses.statistics()
    assert found["devices"] == 480 and found["set_pulses"] == synapses.pulses == 60
    assert sum(found["g_plus"]) == 240 and 0 <= found["saturated_pairs"] <= 1
    assert len(device_figure({"layer": found}).axes) > 1


def test_settings_are_named_once() -> None:
    rules = SynapseRules(refresh_every=5, rounding="nearest")
    assert SynapseRules(**rules.get_config()) == rules
    given = MixedPrecisionRules(max_pulses=3, weight_range=2)
    assert given.get_config().items() <= MixedPrecision("sgd", **given.get_config()).get_config().items()
    assert (given.conductance_range, given.on(QUIET).conductance_range) == (None, pytest.approx(80 / 3))
    with pytest.raises(TypeError, match="unexpected keyword argument 'max_pulse'"):
        MixedPrecision("sgd", max_pulse=3)
    with pytest.raises(InvalidArgumentError, match="`devices_per_polarity` of SynapseRules must be a whole number"):
        SynapseRules(devices_per_polarity=65)


def test_the_old_names_are_the_new_ones() -> None:
    assert an.spiking.PulsedSynapses is an.synapses.PulsedSynapses
    assert an.training.device_figure is an.synapses.device_figure


def test_spike_timing_is_one_rule_on_a_grid_and_from_event_to_event() -> None:
    rule, rng = SpikeTiming(window=7.0, offset=0.3, dt=0.5), np.random.default_rng(0)
    steps, inputs = np.sort(rng.integers(0, 100, 40)), rng.integers(0, 6, 40)
    dense = rule.directions(SpikeTrains(steps * 0.5, inputs, 7, 50.0))
    for now in (0, 20, 99):
        past = steps <= now
        np.testing.assert_allclose(
            rule.at_spike((steps[past] - now) * 0.5, inputs[past], 7), dense[now], atol=1e-6
        )  # fmt: skip
    observed = np.zeros((100, 2))
    observed[20, 1] = 1
    change = rule.update(dense, None, observed)
    np.testing.assert_allclose(change[:, 1], rule.rate * dense[20], rtol=1e-5)
    assert not change[:, 0].any()


@pytest.mark.parametrize("device", [
    PulsedPCM(), PulsedPCM(g_max=20.0, monotonic=True), PulsedLinear(g_max=2.0, step=0.8),
    PulsedFitted(potentiation_fit=(0.3, 0.02), potentiation_device_spreads=(0.4, 0.0), g_max=9.0),
])  # fmt: skip
def test_the_next_step_is_what_a_pulse_does(device) -> None:
    synapses = PulsedSynapses((20, 15), device=device, spread=500.0, seed=0)
    for number in range(6):
        synapses.update(np.full((20, 15), 1500.0), time=0.0, seed=number)
    found = synapses.statistics()
    state = {name: tf.constant(values) for name, values in synapses.state().items()}
    steps = np.stack([
        device.pulse(state, 1, seed=100 + seed)["conductance"].numpy() - state["conductance"].numpy()
        for seed in range(200)
    ])  # fmt: skip
    error = 4 * steps.std() / np.sqrt(30 * steps[0].size)  # of a mean over 30 draws a device
    assert found["next_step_mean"] / synapses.scale == pytest.approx(steps.mean(), abs=error + 1e-6)
    assert found["next_step_spread"] / synapses.scale == pytest.approx(steps.std(axis=0).mean(), rel=0.05, abs=1e-6)


def test_spread_of_drift_leaves_the_read_noise_alone() -> None:
    device = PulsedLinear(step=0.5, drift_exponent=0.05, read_noise_floor=0.2)
    rules = SynapseRules(drift_spread=0.05, refresh_every=0)
    synapses = PulsedSynapses((30, 20), device=device, rules=rules, spread=0.0, seed=0)
    for number in range(24):  # full pulses on each of four devices in turn
        synapses.update(np.full((30, 20), 4000.0), time=0.0, seed=number)
    high = synapses.state()["conductance"].numpy() > 3.0  # whose noise is not cut at 0
    for time in (1.0, 4e5):
        readings = np.stack([synapses.conductances(time, seed=seed) for seed in range(60)])
        spread = readings.std(axis=0, ddof=1)[high & (readings.mean(axis=0) > 1.0)]
        assert spread.mean() == pytest.approx(0.2, rel=0.03)
    assert readings.mean(axis=0)[high].std() > 0.1, "devices drift apart"
