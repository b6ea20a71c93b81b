"""Learning without labels: laws of the rule, labels from training pictures only."""

from __future__ import annotations

import numpy as np
import pytest

from analognets.devices import CuSiO2Memristor
from analognets.errors import InvalidArgumentError
from analognets.spiking import FloatRows, MemristorRows, NeuronLabels, WinnerTakeAll, WinnerTakeAllRules
from analognets.spiking.winner_take_all import poisson_spikes

RULES = WinnerTakeAllRules(threshold=1.5, threshold_step=0.1)


def bars(count, seed=0, size=8):
    """Return pictures of one lit row each with some noise, and the number of the row."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, size, count)
    pictures = 0.1 * rng.random((count, size, size)) * (rng.random((count, size, size)) < 0.3)
    pictures[np.arange(count), rows] = rng.uniform(0.7, 1.0, (count, size))
    return pictures.reshape(count, -1).astype("float32"), rows


def test_inputs_fire_as_often_as_they_should() -> None:
    rules = WinnerTakeAllRules(duration=1000.0, max_rate=50.0)
    picture = np.array([0.0, 1.0, 0.5], "float32")
    counts = np.zeros(3)
    places = []
    for seed in range(200):
        steps, inputs = poisson_spikes(picture, rules, np.random.default_rng(seed))
        counts += np.bincount(inputs, minlength=3)
        places.append(steps)
        assert np.all(np.diff(steps) >= 0) and 0 <= steps.min() and steps.max() < rules.steps
    assert counts[0] == 0
    for found, expected in ((counts[1], 10_000), (counts[2], 5000)):
        assert abs(found - expected) < 5 * np.sqrt(expected)
    middle = np.concatenate(places).mean() / rules.steps
    assert abs(middle - 0.5) < 5 / np.sqrt(12 * counts.sum())


def test_one_neuron_fires_at_a_time_and_all_rest_after_it() -> None:
    layer = WinnerTakeAll(FloatRows((6, 64)), RULES)
    picture = bars(1)[0][0]
    found = layer.show(*poisson_spikes(picture, RULES, np.random.default_rng(0)), np.random.default_rng(1), learn=False)
    steps = np.array([step for step, _ in found])
    assert len(found) > 2 and np.all(np.diff(steps) > RULES.hold_steps)


def test_the_learning_window_is_that_of_the_device() -> None:
    still = {"step_spread": 0.0, "device_spread": 0.0, "write_spread": 0.0, "read_noise_share": 0.0}
    moved = []
    for tau in (5.0, 40.0):
        device = CuSiO2Memristor(tau_potentiation=tau, **still)
        layer = WinnerTakeAll(MemristorRows((2, 1), device=device), WinnerTakeAllRules(offset=0.0))
        before = layer.rows.state["conductance"].copy()
        layer._learn(0, np.array([-10.0]), np.array([0]), np.random.default_rng(0))  # 10 ms later
        moved.append((layer.rows.state["conductance"] - before)[0, 0])
        pair = device.spike_pair({**layer.rows.state, "conductance": before}, 10.0, seed=0)["conductance"]
        assert moved[-1] == pytest.approx(float(pair[0, 0]) - before[0, 0], rel=1e-4)
    assert moved[1] / moved[0] == pytest.approx(np.exp(10 / 5 - 10 / 40), rel=1e-3)


def test_a_spike_strengthens_recent_inputs_and_weakens_the_others() -> None:
    layer = WinnerTakeAll(FloatRows((2, 5)), WinnerTakeAllRules(offset=0.3))
    before = layer.rows.weights.copy()
    steps, inputs = np.array([0, 100, 900, 990]), np.array([0, 3, 1, 0])
    layer._learn(1, 0.1 * (steps - 1000), inputs, np.random.default_rng(0))
    change = (layer.rows.weights - before)[1]
    share = np.exp(-0.1 * (1000 - np.array([990, 900, -1e9, 100, -1e9])) / 20) - 0.3
    np.testing.assert_allclose(change, 0.05 * share * np.where(share > 0, 1 - before[1], before[1]), rtol=1e-4)
    assert not (layer.rows.weights - before)[0].any(), "only the winner learns"
    assert layer.theta.tolist() == pytest.approx([0.0, 0.2])


@pytest.mark.parametrize("kind", ["memristor", "float"])
def test_neurons_come_to_stand_for_bars(kind) -> None:
    rows = MemristorRows((24, 64)) if kind == "memristor" else FloatRows((24, 64))
    layer = WinnerTakeAll(rows, RULES)
    pictures, truth = bars(1500)
    layer.present(pictures, learn=True)
    counts = layer.present(pictures[:300], stream="label")
    labels = NeuronLabels.assign(counts, truth[:300], 8)
    fresh, fresh_truth = bars(200, seed=1)
    found = labels.classify(layer.present(fresh, stream="test"))
    assert np.mean(found == fresh_truth) > 0.9
    fields = rows.weights.reshape(24, 8, 8).mean(2)
    best = fields.argmax(1)[labels.classes >= 0]
    assert np.mean(best == labels.classes[labels.classes >= 0]) > 0.8


def test_evaluation_changes_nothing() -> None:
    layer = WinnerTakeAll(MemristorRows((6, 64), device=CuSiO2Memristor(read_noise_share=0.0)), RULES)
    weights = layer.rows.weights.copy()
    counts = layer.present(bars(10)[0], stream="test")
    np.testing.assert_array_equal(layer.rows.weights, weights)
    np.testing.assert_array_equal(layer.present(bars(10)[0], stream="test"), counts)
    assert not np.array_equal(layer.present(bars(10)[0], stream="label"), counts), "streams have draws of their own"


def test_a_stored_layer_goes_on_as_if_never_interrupted() -> None:
    pictures = bars(60)[0]
    whole = WinnerTakeAll(MemristorRows((8, 64)), RULES)
    whole.present(pictures[:40], learn=True)
    whole.store()
    other = WinnerTakeAll(MemristorRows((8, 64), seed=9), RULES)
    for old, new in zip(whole.variables, other.variables, strict=True):
        new.assign(old.value)
    other.restore()
    last = [layer.present(pictures[40:], first=40, learn=True) for layer in (whole, other)]
    np.testing.assert_array_equal(*last)
    np.testing.assert_array_equal(whole.rows.weights, other.rows.weights)


def test_labels_are_those_of_the_strongest_responses() -> None:
    counts = np.array([[4, 0, 1, 0], [2, 0, 1, 0], [0, 3, 0, 0], [0, 1, 2, 0]])
    labels = NeuronLabels.assign(counts, np.array([0, 0, 1, 1]), 2)
    assert labels.classes.tolist() == [0, 1, 0, -1] and labels.responses[0].tolist() == [3, 0, 1, 0]
    assert labels.classify([[1, 0, 0, 0], [0, 1, 0, 9], [1, 3, 1, 0]]).tolist() == [0, 1, 1]
    assert labels.classify([[1, 0, 0, 0], [0, 1, 0, 9]], "weighted").tolist() == [0, 1]


@pytest.mark.parametrize("vote", ["mean", "weighted"])
def test_a_picture_without_spikes_is_no_class(vote: str) -> None:
    """Nothing fired, or only neurons that stand for nothing: no class, so that it never counts as right."""
    responses = np.array([[4.0, 0.0, 1.0, 0.0], [0.0, 3.0, 2.0, 0.0]])
    labels = NeuronLabels(responses)
    counts = np.array([[0, 0, 0, 0], [0, 0, 0, 5], [1, 0, 0, 0], [0, 1, 0, 0]])
    assert labels.classify(counts, vote).tolist() == [-1, -1, 0, 1]
    assert np.mean(labels.classify(np.zeros((5, 4)), vote) == 0) == 0
    silent = WinnerTakeAll(FloatRows((4, 64)), WinnerTakeAllRules(max_rate=0.01, duration=0.1))
    assert (labels.classify(silent.present(bars(6)[0]), vote) == -1).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: WinnerTakeAllRules(dt=6.0),
            "The time step must not be longer than the refractory time. Received: dt=6",
        ),
        (lambda: WinnerTakeAllRules(offset=2.0), "`offset` of WinnerTakeAllRules must be a number from 0 to 1"),
        (
            lambda: WinnerTakeAll(FloatRows((2, 4))).present(np.ones((3, 5))),
            r"shape \(pictures, 4\). Received: \(3, 5\)",
        ),
        (lambda: WinnerTakeAll(FloatRows((2, 4))).present(np.zeros((1, 4))), "must have a pixel above 0"),
        (lambda: NeuronLabels.assign(np.ones((2, 3)), [0, 0], 2), "Received: none of class 1"),
        (lambda: NeuronLabels.assign(np.ones((2, 3)), [0], 2), "one label a picture"),
        (lambda: NeuronLabels.assign(np.ones((3, 3)), [0, 1, 2], 2), "whole numbers from 0 to 1. Received: 2"),
        (lambda: NeuronLabels.assign(np.ones((2, 3)), [-1, 1], 2), "whole numbers from 0 to 1. Received: -1"),
        (lambda: NeuronLabels.assign(np.ones((2, 3)), ["a", "b"], 2), "whole numbers from 0 to 1. Received: 'a'"),
        (lambda: NeuronLabels.assign(np.full((2, 3), np.nan), [0, 1], 2), "Received: 6 negative or NaN ones"),
        (lambda: NeuronLabels(np.ones((2, 3))).classify(np.ones((1, 4))), r"\(pictures, 3\), one for each neuron"),
    ],
)
def test_bad_input_is_refused(call, message) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        call()
