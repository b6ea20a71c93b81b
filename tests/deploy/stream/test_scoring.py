"""False alarms and misses: the rule in plain words, and the sweep is what the detector reports."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets.deploy.stream import Detector, DetectorSettings
from analognets.deploy.stream.scoring import Truth, match, sweep_thresholds

CLASSES = ("yes", "no", "silence", "unknown")


def truth(*words: tuple[float, int], hours: float = 0.5) -> Truth:
    return Truth.of([(begin, begin + 1, label, "") for begin, label in words], CLASSES, hours)


@pytest.mark.parametrize(
    ("detections", "heard", "false"),
    [
        ([], [0, 0], []),
        ([(5.0, 0)], [1, 0], [0]),
        ([(6.75, 0)], [1, 0], [0]),
        ([(6.76, 0)], [0, 0], [1]),
        ([(4.99, 0)], [0, 0], [1]),
        ([(5.5, 1)], [0, 0], [1]),
        ([(5.5, 0), (6.5, 0)], [1, 0], [0, 1]),
        ([(5.5, 0), (9.0, 1), (20.0, 1)], [1, 1], [0, 0, 1]),
    ],
)
def test_the_rule(detections: list[tuple[float, int]], heard: list[int], false: list[int]) -> None:
    times, labels = (np.array([one[i] for one in detections]) for i in (0, 1))
    found = match(times, labels, truth((5.0, 0), (7.0, 3), (8.5, 1)), 0.75)
    assert found[0].astype(int).tolist() == heard and found[1].astype(int).tolist() == false


def plain_match(times: list[float], labels: list[int], said: Truth, tolerance: float) -> tuple[list[bool], list[bool]]:
    heard, false = [False] * len(said.labels), []
    for time, label in zip(times, labels, strict=True):
        fits = [
            word
            for word in range(len(heard))
            if not heard[word]
            and said.labels[word] == label
            and said.begins[word] <= time <= said.ends[word] + tolerance
        ]
        if fits:
            heard[fits[0]] = True
        false.append(not fits)
    return heard, false


@given(
    st.lists(st.tuples(st.floats(0, 60), st.integers(0, 3)), max_size=20),
    st.lists(st.tuples(st.floats(0, 60), st.integers(0, 1)), max_size=30),
    st.floats(0, 3),
)
@settings(max_examples=80)
def test_it_is_the_plain_loop(
    words: list[tuple[float, int]], detections: list[tuple[float, int]], tolerance: float
) -> None:
    said = truth(*sorted(words))
    detections = sorted(detections)
    times, labels = [time for time, _ in detections], [label for _, label in detections]
    found = match(np.array(times), np.array(labels, int), said, tolerance)
    assert (found[0].tolist(), found[1].tolist()) == plain_match(times, labels, said, tolerance)
    assert found[0].sum() + found[1].sum() == len(detections)


def test_the_sweep_is_what_the_detector_reports() -> None:
    rng = np.random.default_rng(0)
    logits = 4 * rng.normal(size=(2000, 4))
    posteriors = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)
    times = 1 + 0.1 * np.arange(2000)
    said = truth(*[(float(begin), int(rng.integers(0, 4))) for begin in np.arange(3, 190, 3)], hours=201 / 3600)
    sweep = sweep_thresholds(posteriors, times, Detector(CLASSES, 0.1), said, thresholds=(0.3, 0.5, 0.8, 0.9))
    for number, threshold in enumerate(sweep.thresholds):
        found = Detector(CLASSES, 0.1, DetectorSettings(threshold)).push(posteriors, times)
        heard, false = match(np.array([one.time for one in found]), np.array([one.label for one in found]), said)
        assert sweep.false_alarms[number] == false.sum()
        np.testing.assert_array_equal(sweep.heard[number], heard)
        assert sweep.miss_rate[number] == pytest.approx(1 - heard.mean())
        rates = sweep.miss_rates(threshold)
        assert set(rates) == {0, 1} and rates[0] == pytest.approx(1 - heard[said.labels == 0].mean())
    assert np.all(np.diff(sweep.false_alarms_per_hour) <= 0) and sweep.false_alarms[0] > 0
    quiet = sweep_thresholds(posteriors, times, Detector(CLASSES, 0.1), truth(), thresholds=(0.5,))
    assert np.isnan(quiet.miss_rate[0]) and quiet.miss_rates(0.5) == {}
