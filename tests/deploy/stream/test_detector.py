"""The detector: a plain loop gives the same, blocks don't matter, and what it never reports."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets.deploy.stream import Detection, Detector, DetectorSettings
from analognets.errors import InvalidArgumentError, UnknownNameError

CLASSES = ("yes", "silence", "no", "unknown", "stop")


def plain_detector(posteriors: np.ndarray, thresholds: list[float], window: int, hold: int) -> list[tuple[int, int]]:
    """Return (place, label) of each detection, one number after the other."""
    found, last = [], None
    for place in range(len(posteriors)):
        best, score = -1, np.float32(-1)
        for label, threshold in enumerate(thresholds):
            total = np.float32(0)
            for age in range(window - 1, -1, -1):
                total = np.float32(total + (posteriors[place - age, label] if place >= age else np.float32(0)))
            mean = np.float32(total / np.float32(window))
            if mean >= np.float32(threshold) and mean > score:
                best, score = label, mean
        if best >= 0 and (last is None or place - last >= hold):
            found.append((place, best))
            last = place
    return found


def random_posteriors(seed: int, count: int, sharpness: float) -> np.ndarray:
    logits = sharpness * np.random.default_rng(seed).normal(size=(count, len(CLASSES)))
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


@given(
    st.integers(0, 9999),
    st.lists(st.integers(0, 30), min_size=1, max_size=6),
    st.floats(0, 1),
    st.floats(0, 0.6),
    st.floats(0, 2),
)
@settings(max_examples=60)
def test_it_is_the_plain_loop_whatever_the_blocks(
    seed: int, blocks: list[int], threshold: float, smoothing: float, suppression: float
) -> None:
    posteriors = random_posteriors(seed, sum(blocks), 3.0)
    times = 0.1 * np.arange(len(posteriors))
    detector = Detector(CLASSES, 0.1, DetectorSettings(threshold, smoothing, suppression))
    found: list[Detection] = []
    for part, at in zip(np.split(posteriors, np.cumsum(blocks)), np.split(times, np.cumsum(blocks)), strict=True):
        found += detector.push(part, at)
    thresholds = [threshold, 2.0, threshold, 2.0, threshold]
    wanted = plain_detector(posteriors, thresholds, detector.window, detector.hold)
    assert [(round(one.time / 0.1), one.label) for one in found] == wanted
    assert all(one.word == CLASSES[one.label] and one.score >= np.float32(threshold) for one in found)
    assert not {one.word for one in found} & {"silence", "unknown"}
    gaps = np.diff([one.time for one in found])
    assert np.all(gaps >= suppression - 1e-6)


def test_a_word_is_told_once_in_the_suppression_time_and_again_behind_it() -> None:
    detector = Detector(CLASSES, 0.1, DetectorSettings(0.7, 0.2, 1.0))
    posteriors = np.tile(np.array([[0.9, 0.1, 0, 0, 0]], np.float32), (25, 1))
    found = detector.push(posteriors, 0.1 * np.arange(25))
    assert [one.word for one in found] == ["yes"] * 3
    np.testing.assert_allclose([one.time for one in found], [0.1, 1.1, 2.1])
    assert found[0].score == pytest.approx(0.9)
    assert found[0].to_dict() == {"time": 0.1, "word": "yes", "score": found[0].score, "label": 0}


def test_thresholds_of_single_words() -> None:
    thresholds = DetectorSettings({"yes": 0.3}).thresholds(CLASSES)
    np.testing.assert_allclose(thresholds, [0.3, 2.0, DetectorSettings.DEFAULT, 2.0, DetectorSettings.DEFAULT])


@pytest.mark.parametrize("bad", [-0.1, 1.5, float("nan"), "high", None, True])
def test_wrong_thresholds(bad: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"`threshold` of DetectorSettings must be a number from 0 to 1"):
        DetectorSettings(bad)
    with pytest.raises(InvalidArgumentError, match=r"`threshold\['yes'\]` of DetectorSettings must be a number from"):
        DetectorSettings({"yes": bad})


def test_wrong_words_and_classes() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown word in `threshold`.*Did you mean 'stop'"):
        Detector(CLASSES, 0.1, DetectorSettings({"stob": 0.5}))
    with pytest.raises(InvalidArgumentError, match="'silence' is never reported"):
        Detector(CLASSES, 0.1, DetectorSettings({"silence": 0.5}))
    with pytest.raises(InvalidArgumentError, match="needs a class that is a word"):
        Detector(("silence", "unknown"), 0.1)
    with pytest.raises(InvalidArgumentError, match="`suppression` of DetectorSettings must be .* 0 to 3600 s"):
        DetectorSettings(suppression=-1)
    with pytest.raises(InvalidArgumentError, match="`step` of Detector"):
        Detector(CLASSES, 0)


@pytest.mark.parametrize(
    ("posteriors", "message"),
    [
        (np.zeros((2, 4)), r"shape \(vectors, 5\), with a time for each vector. Received: shape \(2, 4\)"),
        (np.full((2, 5), np.nan), r"must lie from 0 to 1"),
        (np.full((2, 5), -3.0), r"must lie from 0 to 1. Received: -3 to -3. Take the softmax"),
    ],
)
def test_what_is_no_posterior(posteriors: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Detector(CLASSES, 0.1).push(posteriors, [0.0, 0.1])
