"""False alarms and misses: which detections are of which word, at one threshold and over all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from analognets.deploy.stream.detector import NEVER, NOT_REPORTED, Detector

__all__ = ["THRESHOLDS", "TOLERANCE", "Sweep", "Truth", "match", "sweep_thresholds"]

TOLERANCE = 0.75
"""Seconds after the end of a word's clip in which it may still be detected."""

THRESHOLDS = tuple(
    float(value)
    for value in np.round([*np.arange(0.2, 0.9, 0.02), *np.arange(0.9, 0.99, 0.005), 0.99, 0.995, 0.999], 4)
)
"""Thresholds of a DET curve."""


@dataclasses.dataclass(frozen=True)
class Truth:
    """What was said in a stream, keywords only, by time; other words and noise are what must not be detected.

    Args:
        begins: start of each clip in seconds.
        ends: end of each clip in seconds.
        labels: its class.
        hours: length of the stream.

    Examples:
        >>> truth = Truth(np.array([1.0, 4.0]), np.array([2.0, 5.0]), np.array([2, 3]), hours=0.01)
        >>> heard, false = match(np.array([1.5, 3.0]), np.array([2, 2]), truth)
        >>> heard.tolist(), false.tolist()
        ([True, False], [False, True])
    """

    begins: np.ndarray
    ends: np.ndarray
    labels: np.ndarray
    hours: float

    @classmethod
    def of(cls, words: Sequence[tuple[float, float, int, str]], classes: Sequence[str], hours: float) -> Truth:
        """Return the keywords among spoken words.

        Args:
            words: (begin, end, label, name), such as `RunningAudio.words`.
            classes: names of the classes.
            hours: length of the stream.
        """
        keywords = [word for word in words if classes[word[2]] not in NOT_REPORTED]
        columns = list(zip(*keywords, strict=True)) or [(), (), (), ()]
        return cls(np.array(columns[0], float), np.array(columns[1], float), np.array(columns[2], int), hours)


def match(
    times: np.ndarray, labels: np.ndarray, truth: Truth, tolerance: float = TOLERANCE
) -> tuple[np.ndarray, np.ndarray]:
    """Return which words were heard, and which detections are false alarms.

    A detection is of a word if it names it and comes between the start of the word's clip and `tolerance` after the end
    of the clip. Detections are taken by time, each for the earliest such word that has none yet. A detection of no word
    is a false alarm: one of another word, a second one of the same word, one out of unknown words or noise. A word
    without a detection is missed.

    Args:
        times: of the detections, ascending, in seconds.
        labels: their classes.
        truth: what was said.
        tolerance: in seconds, at least 0.

    Returns:
        Whether each word was heard, and whether each detection is a false alarm.

    Examples:
        >>> truth = Truth(np.array([1.0, 4.0]), np.array([2.0, 5.0]), np.array([2, 3]), hours=0.01)
        >>> heard, false = match(np.array([1.5, 3.0]), np.array([2, 2]), truth)
        >>> heard.tolist(), false.tolist()
        ([True, False], [False, True])
    """
    heard = np.zeros(len(truth.labels), bool)
    false = np.ones(len(times), bool)
    firsts = np.searchsorted(truth.ends + tolerance, times)
    lasts = np.searchsorted(truth.begins, times, side="right")
    for number, (label, first, last) in enumerate(zip(labels, firsts, lasts, strict=True)):
        for word in range(first, last):
            if truth.labels[word] == label and not heard[word]:
                heard[word], false[number] = True, False
                break
    return heard, false


@dataclasses.dataclass(frozen=True)
class Sweep:
    """False alarms and misses of one stream at each threshold.

    Args:
        thresholds: one for all words, ascending.
        false_alarms: how many, at each threshold.
        heard: which words were heard, (thresholds, words).
        truth: what was said.
    """

    thresholds: np.ndarray
    false_alarms: np.ndarray
    heard: np.ndarray
    truth: Truth

    @property
    def false_alarms_per_hour(self) -> np.ndarray:
        """At each threshold."""
        return self.false_alarms / self.truth.hours

    @property
    def miss_rate(self) -> np.ndarray:
        """Share of the words that were missed, at each threshold; NaN without words."""
        return 1 - self.heard.mean(axis=1) if self.heard.shape[1] else np.full(len(self.thresholds), np.nan)

    def at(self, threshold: float) -> int:
        """Return the place of a threshold of the sweep."""
        return int(np.argmin(np.abs(self.thresholds - threshold)))

    def miss_rates(self, threshold: float) -> dict[int, float]:
        """Return the share of each word's clips that was missed, by the label of the word."""
        heard = self.heard[self.at(threshold)]
        return {
            int(label): float(1 - heard[self.truth.labels == label].mean()) for label in np.unique(self.truth.labels)
        }


def sweep_thresholds(
    posteriors: np.ndarray,
    times: np.ndarray,
    detector: Detector,
    truth: Truth,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    tolerance: float = TOLERANCE,
) -> Sweep:
    """Return what a detector would report of a whole stream at each threshold.

    Args:
        posteriors: of all windows, (windows, classes).
        times: end of each window in seconds.
        detector: gives smoothing and suppression; its own thresholds don't count.
        truth: what was said.
        thresholds: one for all words, each in turn.
        tolerance: see `match`.
    """
    detector.reset()
    scores = detector.smoothed(np.asarray(posteriors, np.float32))
    is_word = detector.thresholds < NEVER
    alarms, heard = [], []
    for threshold in thresholds:
        of_class = np.where(is_word, threshold, NEVER).astype(np.float32)
        places, labels = detector.places(scores, of_class)
        found, false = match(times[places], labels, truth, tolerance)
        alarms.append(int(false.sum()))
        heard.append(found)
    detector.reset()
    return Sweep(np.array(thresholds, float), np.array(alarms), np.stack(heard), truth)
