"""From posteriors to detections: smoothing, thresholds, suppression. The C++ of exports computes the same."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analognets.errors import InvalidArgumentError, UnknownNameError, check_number, shortened

__all__ = ["NEVER", "NOT_REPORTED", "Detection", "Detector", "DetectorSettings"]

NOT_REPORTED = frozenset({"silence", "unknown", "_silence_", "_unknown_", "_background_noise_"})
"""Classes that are no words: they are never detected."""

NEVER = 2.0
"""Threshold of a class that is never reported: no posterior reaches it."""


@dataclasses.dataclass(frozen=True)
class Detection:
    """A word that was heard.

    Args:
        time: end of the window it was decided in, seconds from the start of the stream.
        word: name of the class.
        score: smoothed posterior, 0 to 1.
        label: number of the class.

    Examples:
        >>> Detection(time=1.25, word="yes", score=0.93, label=2).to_dict()
        {'time': 1.25, 'word': 'yes', 'score': 0.93, 'label': 2}
    """

    time: float
    word: str
    score: float
    label: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class DetectorSettings:
    """What makes a detection of posteriors.

    The defaults were chosen on running audio of validation clips, where the digital analognet_kws.hwa_8bit has about 5
    false alarms per hour with them; another network has its own best ones.

    Args:
        threshold: least smoothed posterior, 0 to 1; or a mapping of words to such numbers, where words that it leaves
            out have `DEFAULT`.
        smoothing: time over which posteriors are averaged, 0 to 60 s.
        suppression: least time from one detection to the next, of any word, 0 to 3600 s.

    Raises:
        InvalidArgumentError: a number is out of range.

    Examples:
        >>> settings = DetectorSettings(threshold={"yes": 0.9}, suppression=0.5)
        >>> settings.thresholds(("silence", "yes", "no"))
        array([2. , 0.9, 0.7], dtype=float32)
    """

    DEFAULT = 0.7

    threshold: float | Mapping[str, float] = DEFAULT
    smoothing: float = 0.5
    suppression: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.threshold, Mapping):
            for word, value in self.threshold.items():
                check_number("DetectorSettings", f"threshold[{word!r}]", value, 0, 1)
        else:
            check_number("DetectorSettings", "threshold", self.threshold, 0, 1)
        check_number("DetectorSettings", "smoothing", self.smoothing, 0, 60, unit="s")
        check_number("DetectorSettings", "suppression", self.suppression, 0, 3600, unit="s")

    def thresholds(self, classes: Sequence[str]) -> np.ndarray:
        """Return the threshold of each class, float32; `NEVER` for silence and unknown.

        Raises:
            UnknownNameError: a mapping names a class that there is not.
            InvalidArgumentError: a mapping names silence or unknown, or there is no word among the classes.
        """
        words = [name for name in classes if name not in NOT_REPORTED]
        if not words:
            raise InvalidArgumentError(
                "A detector needs a class that is a word; silence and unknown are never reported. Received: the "
                f"classes {shortened(list(classes))}."
            )
        named = self.threshold if isinstance(self.threshold, Mapping) else {}
        for name in named:
            if name in NOT_REPORTED:
                raise InvalidArgumentError(f"'{name}' is never reported, so it has no threshold. Leave it out.")
            if name not in words:
                raise UnknownNameError("word in `threshold` of DetectorSettings", str(name), words)
        usual = self.DEFAULT if isinstance(self.threshold, Mapping) else self.threshold
        values = [NEVER if name in NOT_REPORTED else named.get(name, usual) for name in classes]
        return np.array(values, np.float32)


class Detector:
    """Tells words from a sequence of posteriors, one vector every `step` seconds.

        s_k = (p_(k-n+1) + ... + p_k) / n,     p = 0 in front of the stream

    The word with the largest s_k among those that reach their threshold is detected, the first of equal ones, unless
    the last detection was less than the suppression time ago. All of it is computed in float32 in this order, so that
    the C++ of an export gives the same detections, bit for bit.

    Args:
        classes: names of the classes; silence and unknown are never reported.
        step: seconds from one vector to the next, 0.0001 to 3600.
        settings: threshold, smoothing and suppression; None: the defaults.

    Attributes:
        thresholds: of each class, float32.
        window: n, how many vectors are averaged.
        hold: vectors from one detection to the next, at least.

    Raises:
        InvalidArgumentError: a setting is not allowed.
        UnknownNameError: a threshold is for a word that is no class.

    Examples:
        >>> settings = DetectorSettings(threshold=0.6, smoothing=0.2)
        >>> detector = Detector(["silence", "unknown", "yes", "no"], step=0.1, settings=settings)
        >>> posteriors = np.tile([0.1, 0.0, 0.9, 0.0], (5, 1)).astype("float32")
        >>> [(found.time, found.word) for found in detector.push(posteriors, times=[1.0, 1.1, 1.2, 1.3, 1.4])]
        [(1.1, 'yes')]
    """

    def __init__(self, classes: Sequence[str], step: float, settings: DetectorSettings | None = None) -> None:
        self.classes = tuple(classes)
        self.step = check_number("Detector", "step", step, 1e-4, 3600, unit="s")
        self.settings = settings or DetectorSettings()
        self.thresholds = self.settings.thresholds(self.classes)
        self.window = max(1, round(self.settings.smoothing / step))
        self.hold = max(1, math.ceil(self.settings.suppression / step - 1e-6))
        self.reset()

    def reset(self) -> None:
        """Forget what was heard, as before the first vector."""
        self._past = np.zeros((self.window - 1, len(self.classes)), np.float32)
        self._silent = 0  # vectors for which nothing may be reported

    def push(self, posteriors: Any, times: Sequence[float] | np.ndarray) -> list[Detection]:
        """Return what is detected in the next vectors.

        Args:
            posteriors: (vectors, classes), 0 to 1.
            times: of each vector, in seconds.

        Raises:
            InvalidArgumentError: the posteriors have another shape, or are no numbers from 0 to 1.
        """
        found = np.asarray(posteriors, np.float32)
        if found.ndim != 2 or found.shape[1] != len(self.classes) or len(found) != len(times):
            raise InvalidArgumentError(
                f"Posteriors must have the shape (vectors, {len(self.classes)}), with a time for each vector. "
                f"Received: shape {found.shape}, {len(times)} times."
            )
        if not np.all((found >= 0) & (found <= 1 + 1e-5)):
            raise InvalidArgumentError(
                f"Posteriors must lie from 0 to 1. Received: {found.min():g} to {found.max():g}. Take the softmax of "
                "the outputs first."
            )
        scores = self.smoothed(found)
        places, labels = self.places(scores, self.thresholds, self._silent)
        self._silent = max(0, (places[-1] + self.hold if len(places) else self._silent) - len(found))
        return [
            Detection(float(times[place]), self.classes[label], float(scores[place, label]), int(label))
            for place, label in zip(places, labels, strict=True)
        ]

    def smoothed(self, posteriors: np.ndarray) -> np.ndarray:
        """Return the moving averages of the next vectors, and keep what later ones need."""
        rows = np.concatenate([self._past, posteriors])
        total = rows[: len(posteriors)].copy()
        for age in range(1, self.window):
            total += rows[age : age + len(posteriors)]
        self._past = rows[len(rows) - self.window + 1 :]
        return total / np.float32(self.window)

    def places(self, scores: np.ndarray, thresholds: np.ndarray, silent: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return where words are detected in smoothed posteriors, and which.

        Args:
            scores: float32 (vectors, classes).
            thresholds: float32 (classes,).
            silent: vectors at the start for which nothing may be reported.
        """
        reached = np.where(scores >= thresholds, scores, np.float32(-1))
        labels = reached.argmax(axis=1)
        candidates = np.flatnonzero(reached.max(axis=1, initial=-1) >= 0)
        chosen, free = [], silent
        while (at := int(np.searchsorted(candidates, free))) < len(candidates):
            chosen.append(candidates[at])
            free = int(candidates[at]) + self.hold
        places = np.array(chosen, int)
        return places, labels[places]
