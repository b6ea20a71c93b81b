"""How good a trained network is at listening: false alarms per hour and misses over drift time, on running audio."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from analognets.datasets.base import TaskData
from analognets.datasets.running_audio import RunningAudio
from analognets.deploy.chips.chips import Chips, program
from analognets.deploy.stream.detector import Detector, DetectorSettings
from analognets.deploy.stream.frontend import StreamingMFCC
from analognets.deploy.stream.listener import EVERY, stream_frontend
from analognets.deploy.stream.network import ChipNetwork, DigitalNetwork, StreamNetwork, network_for
from analognets.deploy.stream.scoring import THRESHOLDS, TOLERANCE, Sweep, Truth, sweep_thresholds
from analognets.deploy.studies.evaluate import network_on_chips
from analognets.errors import check_integer, check_number
from analognets.units import format_duration, parse_durations
from analognets.zoo.trained import TrainedNetwork

__all__ = ["Reading", "StreamEvaluation", "stream_evaluation"]

CHOSEN_AT = "25s"
"""Time since programming at which the threshold is chosen, on validation audio."""

Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class Reading:
    """What one network made of the test audio.

    Args:
        network: "chip", or a digital reference: "float" or "digital".
        chip: its number; None for a reference.
        at: time since programming; None for a reference.
        seconds: likewise, in seconds.
        threshold: chosen on validation audio.
        sweep: false alarms and misses at each threshold.
        took: seconds that posteriors and scoring took.
    """

    network: str
    chip: int | None
    at: str | None
    seconds: float | None
    threshold: float
    sweep: Sweep
    took: float

    def row(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return false alarms and misses at the chosen threshold as plain data."""
        place = self.sweep.at(self.threshold)
        misses = {classes[label]: rate for label, rate in self.sweep.miss_rates(self.threshold).items()}
        return {
            "network": self.network,
            "chip": self.chip,
            "at": self.at,
            "seconds": self.seconds,
            "threshold": self.threshold,
            "false_alarms": int(self.sweep.false_alarms[place]),
            "false_alarms_per_hour": float(self.sweep.false_alarms_per_hour[place]),
            "words": len(self.sweep.truth.labels),
            "miss_rate": _plain(self.sweep.miss_rate[place]),
            **{f"miss_rate {word}": rate for word, rate in misses.items()},
        }


@dataclasses.dataclass(frozen=True)
class StreamEvaluation:
    """What `stream_evaluation` returns; `analognets.deploy.stream.report` writes it into a folder.

    Args:
        name: of the network.
        classes: names of its classes.
        readings: the references first, then chips and times.
        settings: what was asked for, and what came of it: plain data.
        words: of the test audio: (begin, end, label, name).
        seconds: length of the test audio.
        features_took: seconds that making the test audio and its features took.
        target: false alarms per hour that the thresholds were chosen for.
        reached: whether validation audio had a threshold with so few.

    Examples:
        >>> [(reading.network, reading.at) for reading in listened.readings]
        [('digital', None), ('chip', '25s')]
        >>> listened.classes[:2], round(listened.seconds)
        (('down', 'go'), 18)
    """

    name: str
    classes: tuple[str, ...]
    readings: tuple[Reading, ...]
    settings: dict[str, Any]
    words: tuple[Any, ...]
    seconds: float
    features_took: float
    target: float
    reached: bool

    @property
    def ratio(self) -> float:
        """Time that one hour of audio takes on one chip at one time, features included, over that hour."""
        return (self.features_took + float(np.mean([one.took for one in self.readings]))) / self.seconds


@dataclasses.dataclass(frozen=True)
class _Heard:
    """Features of one running audio, and what was said in it."""

    features: list[np.ndarray]
    times: np.ndarray
    truth: Truth
    words: tuple[Any, ...]
    took: float
    generated_noise: bool


def stream_evaluation(
    trained: TrainedNetwork,
    data: TaskData,
    *,
    hours: float = 1.0,
    at: Sequence[str | float] = ("25s", "1d", "1y"),
    chips: int | Chips = 3,
    seed: int = 0,
    settings: DetectorSettings | None = None,
    target: float = 5.0,
    validation_hours: float | None = None,
    every: float = EVERY,
    tolerance: float = TOLERANCE,
    words_per_minute: float = 10.0,
    noise_rms: tuple[float, float] = (1e-4, 1e-2),
    compensation: str | None = None,
    split: str = "test",
    progress: Progress | None = None,
) -> StreamEvaluation:
    """Measure false alarms per hour and misses of a trained network on running audio, over drift time.

    Features are made once of the whole audio, and serve all chips and times. One threshold for all words is chosen on
    running audio of the validation split, where the chips are read after 25 s: the lowest one from which on no higher
    one has more than `target` false alarms per hour, on average over the chips. It stays as it is at all times. A
    digital reference, the float network where it is known, has a threshold of its own, chosen alike. What counts as
    false alarm and miss is told by `analognets.deploy.stream.scoring.match`.

    Args:
        trained: from `open_trained`; a network that was not trained for hardware gets its reference alone.
        data: clips with the classes of the network; validation and `split` are used.
        hours: length of the test audio, 0.002 to 1000; its features take 70 MB an hour.
        at: times since programming.
        chips: how many to programme, 1 to 1000; or programmed chips of this network, with what they have stored.
        seed: of audio and chips, >= 0.
        settings: of the detector, whose smoothing and suppression count; None: the defaults.
        target: false alarms per hour on validation audio, 0.001 to 1e6.
        validation_hours: length of the validation audio; None: as long as the test audio.
        every: seconds from one inference to the next.
        tolerance: seconds after the end of a word's clip in which it may be detected, 0 to 10.
        words_per_minute: clips a minute, see `RunningAudio`.
        noise_rms: loudness of the background, see `RunningAudio`.
        compensation: name of a drift compensation in place of the hardware's.
        split: "test", or "validation" for choices.
        progress: called with (what, done, total).

    Raises:
        ConversionError: the network has no MFCC front end or names no classes.
        InvalidArgumentError: a setting is not allowed.
        DataError: the data have no words.

    Examples:
        >>> trained = analognets.zoo.trained.open_trained("analognet_kws.float")
        >>> data = analognets.datasets.load_dataset("speech_commands", speech)
        >>> found = stream_evaluation(trained, data, hours=0.005, target=1e4)
        >>> [reading.network for reading in found.readings]
        ['digital']
    """
    times = parse_durations(list(at))
    count = len(chips) if isinstance(chips, Chips) else check_integer("stream_evaluation", "chips", chips, 1, 1000)
    check_number("stream_evaluation", "target", target, 1e-3, 1e6, unit="1/h")
    check_number("stream_evaluation", "tolerance", tolerance, 0, 10, unit="s")
    report: Progress = progress or (lambda what, done, total: None)
    front = stream_frontend(trained, every)
    detector = Detector(trained.classes, front.step, settings)
    sound: dict[str, Any] = {"seed": seed, "words_per_minute": words_per_minute, "noise_rms": noise_rms}
    lengths = {"validation": hours if validation_hours is None else validation_hours, split: hours}
    made = {
        which: _heard(RunningAudio(data, which, hours=length, **sound), front, which, detector, report)
        for which, length in lengths.items()
    }
    judge = _Judge(detector, made["validation"], made[split], target, tolerance)
    networks: list[tuple[str, StreamNetwork]] = [(name, _digital(trained, name)) for name in _reference(trained)]
    on_chips = chips if isinstance(chips, Chips) else _chips(trained, compensation, count, seed, report)
    readings = judge.all(networks, on_chips, times, report)
    asked = {**sound, "noise_rms": list(noise_rms), "hours": hours, "validation_hours": lengths["validation"]}
    asked |= {"split": split, "step": front.step, "tolerance": tolerance, "target": target, "chips": count}
    asked |= {"smoothing": detector.settings.smoothing, "suppression": detector.settings.suppression}
    asked |= {"compensation": compensation, "data": data.info.name, "generated_noise": made[split].generated_noise}
    return StreamEvaluation(
        trained.name,
        trained.classes,
        tuple(readings),
        asked,
        made[split].words,
        hours * 3600,
        made[split].took,
        target,
        judge.reached,
    )


def _reference(trained: TrainedNetwork) -> list[str]:
    """Return the name of the digital network that chips are compared with."""
    return list(trained.references())[:1]


def _digital(trained: TrainedNetwork, name: str) -> DigitalNetwork:
    found = network_for(trained, name)
    return found if isinstance(found, DigitalNetwork) else DigitalNetwork(found.model, len(trained.classes))


def _chips(trained: TrainedNetwork, compensation: str | None, count: int, seed: int, report: Progress) -> Chips | None:
    """Programme chips, if the network was trained for hardware."""
    if not trained.is_analog:
        return None
    network = network_on_chips(trained, compensation)
    return program(network, count, seed, progress=lambda done, total: report("Programming chips", done, total))


def _heard(audio: RunningAudio, front: StreamingMFCC, which: str, detector: Detector, report: Progress) -> _Heard:
    """Make the features of a running audio."""
    started = time.perf_counter()
    front.reset()
    parts = []
    for block in audio.blocks():
        parts.append(front.push(block.astype(np.float32) / 32768))
        report(f"Features of {which} audio", int(front.seen), audio.samples)
    times = np.concatenate([part.times for part in parts])
    truth = Truth.of(audio.words, detector.classes, audio.seconds / 3600)
    features = [part.features for part in parts if len(part.features)]
    took = time.perf_counter() - started
    return _Heard(features, times, truth, audio.words, took, audio.generated_noise)


class _Judge:
    """Chooses thresholds on validation audio and measures on test audio.

    Args:
        detector: smoothing and suppression.
        validation: features of validation audio.
        test: features of test audio.
        target: false alarms per hour.
        tolerance: of `match`.
    """

    def __init__(self, detector: Detector, validation: _Heard, test: _Heard, target: float, tolerance: float) -> None:
        self.detector, self.validation, self.test = detector, validation, test
        self.target, self.tolerance = target, tolerance
        self.reached = True

    def all(
        self,
        networks: Sequence[tuple[str, StreamNetwork]],
        chips: Chips | None,
        times: Sequence[float],
        report: Progress,
    ) -> list[Reading]:
        """Return the readings of references, and of chips at all times."""
        count = 0 if chips is None else len(chips)
        total, done = 2 * len(networks) + count * (1 + len(times)), 0
        readings = []

        def step(steps: int = 1) -> None:
            nonlocal done
            done += steps
            report("Listening", done, total)

        for name, network in networks:
            threshold = self.threshold([self.sweep(network, self.validation)])
            readings.append(self.reading(network, name, threshold))
            step(2)
        if chips is None:
            return readings
        network = ChipNetwork(chips, len(self.detector.classes))
        sweeps = []
        for chip in range(count):
            sweeps.append(self.sweep(network.load(CHOSEN_AT, chip=chip), self.validation))
            step()
        threshold = self.threshold(sweeps)
        for chip in range(count):
            for seconds in times:
                readings.append(self.reading(network.load(seconds, chip=chip), "chip", threshold, chip, seconds))
                step()
        return readings

    def sweep(self, network: StreamNetwork, heard: _Heard) -> Sweep:
        """Return false alarms and misses at all thresholds."""
        pieces, first = [], 0
        for features in heard.features:
            pieces.append(network.posteriors(features, first))
            first += len(features)
        posteriors = np.concatenate(pieces)
        return sweep_thresholds(posteriors, heard.times, self.detector, heard.truth, tolerance=self.tolerance)

    def threshold(self, sweeps: Sequence[Sweep]) -> float:
        """Return the lowest threshold from which on the mean number of false alarms per hour meets the target."""
        alarms = np.mean([sweep.false_alarms_per_hour for sweep in sweeps], axis=0)
        too_many = np.flatnonzero(alarms > self.target)
        place = int(too_many[-1]) + 1 if len(too_many) else 0
        self.reached = self.reached and place < len(THRESHOLDS)
        return THRESHOLDS[min(place, len(THRESHOLDS) - 1)]

    def reading(
        self,
        network: StreamNetwork,
        name: str,
        threshold: float,
        chip: int | None = None,
        seconds: float | None = None,
    ) -> Reading:
        """Return what a network makes of the test audio."""
        started = time.perf_counter()
        sweep = self.sweep(network, self.test)
        at = None if seconds is None else format_duration(seconds)
        return Reading(name, chip, at, seconds, threshold, sweep, time.perf_counter() - started)


def _plain(number: float) -> float | None:
    return None if np.isnan(number) else float(number)
