"""Spike trains, their scores and the figures of both."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets.devices import CuSiO2Memristor
from analognets.errors import InvalidArgumentError
from analognets.spiking import SpikeTrains, chance_share, figures, score_spikes
from analognets.spiking.trains import check_step

FEW = settings(max_examples=40, deadline=None, derandomize=True)
TIMES = st.lists(st.floats(0, 99.9), max_size=6)


def trains(*lists, duration=100.0):
    return SpikeTrains.from_lists(lists, duration)


def test_spikes_are_sorted_and_kept() -> None:
    found = SpikeTrains(np.array([5.0, 1.0, 1.0]), np.array([0, 2, 1]), 4, 10.0)
    assert found.times.tolist() == [1.0, 1.0, 5.0] and found.channels.tolist() == [1, 2, 0]
    assert [part.tolist() for part in found.lists()] == [[5.0], [1.0], [1.0], []]
    assert found.counts().tolist() == [1, 1, 1, 0] and found.rates()[0] == 100.0 and len(found) == 3


@FEW
@given(st.integers(1, 5), st.integers(1, 40), st.sampled_from([0.1, 0.5, 1.0, 0.3]), st.integers(0, 99))
def test_dense_spikes_come_back(channels, steps, dt, seed) -> None:
    dense = (np.random.default_rng(seed).random((steps, channels)) < 0.2).astype("float32")
    np.testing.assert_array_equal(SpikeTrains.from_dense(dense, dt).to_dense(dt), dense)


def best_matching(wanted, found, tolerance) -> int:
    """Return the size of the largest matching by trying all of them."""
    if not wanted or not found:
        return 0
    best = 0
    for order in itertools.permutations(range(max(len(wanted), len(found))), len(wanted)):
        met = sum(j < len(found) and abs(wanted[i] - found[j]) <= tolerance + 1e-6 for i, j in enumerate(order))
        best = max(best, met)
    return best


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.floats(0, 99.9), min_size=1, max_size=5), st.lists(st.floats(0, 99.9), max_size=5), st.floats(0, 40))
def test_no_matching_meets_more_spikes(wanted, found, tolerance) -> None:
    score = score_spikes(trains(wanted), trains(found), tolerance)
    assert score.met == best_matching(wanted, found, tolerance)
    assert score.false_spikes == len(found) - score.met


@FEW
@given(st.lists(st.floats(0, 99.9), min_size=1, max_size=6), TIMES, st.floats(0, 30), st.floats(0, 30))
def test_scores_grow_with_the_tolerance(wanted, found, tolerance, more) -> None:
    target, observed = trains(wanted, []), trains(found, [3.0])
    low, high = (score_spikes(target, observed, t).share for t in (tolerance, tolerance + more))
    assert 0 <= low <= high <= 1


def test_a_spike_counts_for_one_target_of_its_own_channel() -> None:
    assert score_spikes(trains([10.0, 12.0], []), trains([11.0], []), 5).share == 0.5
    assert score_spikes(trains([10.0], []), trains([], [10.0]), 25).met == 0, "another channel"
    assert score_spikes(trains([99.0], []), trains([], [0.5]), 99).met == 0, "another channel, end to beginning"
    assert score_spikes(trains([10.0]), trains([35.0]), 25).met == 1, "the tolerance itself counts"
    both = score_spikes(trains([10.0]), trains([10.0, 50.0]), 5) + score_spikes(trains([20.0]), trains([]), 5)
    assert (both.share, both.false_share, both.observed) == (0.5, 0.5, 2)


def test_chance_is_what_unrelated_spikes_would_meet() -> None:
    rng = np.random.default_rng(0)
    target = trains(*np.sort(rng.uniform(0, 1000, (20, 5))), duration=1000.0)
    assert chance_share(target, target, 1.0) < 0.05
    many = trains(*np.sort(rng.uniform(0, 1000, (20, 400))), duration=1000.0)
    assert chance_share(target, many, 25.0) > 0.95, "a neuron that fires all the time meets everything"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trains([100.0]), r"Times of spikes must lie in \[0, 100\) ms. Received: 100 to 100"),
        (lambda: SpikeTrains([1.0], [3], 3, 10.0), "Channels of spikes must be 0 to 2. Received: 3"),
        (lambda: SpikeTrains([1.0], [0.5], 3, 10.0), "must be whole numbers"),
        (lambda: SpikeTrains([1.0, 2.0], [0], 3, 10.0), "one-dimensional and of one length"),
        (lambda: SpikeTrains.from_dense(np.zeros(3), 0.1), r"must have the axes \(steps, channels\)"),
        (lambda: score_spikes(trains([]), trains([1.0]), 5), "The target of a score must hold at least one spike"),
        (lambda: score_spikes(trains([1.0]), trains([1.0], []), 5), "the same channels and window"),
        (lambda: check_step(5.0, 2.0), "The time step must not be longer than the refractory time"),
    ],
)
def test_bad_trains_are_refused(call, message) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        call()


def test_figures_draw_what_they_are_given(tmp_path) -> None:
    import pandas as pd

    one = trains([1.0, 50.0], [20.0])
    drawn = figures.raster_figure([one, one], ["a", "b"], tmp_path / "raster.png")
    assert (tmp_path / "raster.png").stat().st_size > 1000 and len(drawn.axes) == 2
    assert drawn.axes[0].lines[0].get_xdata().tolist() == [1.0, 20.0, 50.0]
    assert len(figures.outputs_figure([(one, one)], ["a"]).axes[0].lines) == 2
    window = figures.window_figure(CuSiO2Memristor())
    heights = [line.get_ydata() for line in window.axes[0].lines[:-1]]
    assert all(np.all(after > 0) for after in heights[1::2]) and all(np.all(before < 0) for before in heights[::2])
    fields = figures.receptive_fields_figure(np.eye(5, 16), (4, 4), labels=np.array([1, 0, 0, 1, 0]))
    sheet = fields.axes[0].images[0].get_array()
    assert np.nansum(sheet) == 5 and sheet.shape == (11, 16)
    table = pd.DataFrame({"seconds": [0.0, 10.0] * 2, "scaled": [True, True, False, False], "tolerance_25": 0.5})
    assert "with array-level scaling" in str(figures.drift_figure(table).axes[0].get_legend_handles_labels())
    assert not [*tmp_path.glob(".*")]
