"""How silence clips are made and unknown words are chosen, so that both are stated, named and the same every time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from analognets.core.seeds import generator
from analognets.datasets.audio_io import to_int16
from analognets.datasets.base import CLIP_SAMPLES, SAMPLE_RATE
from analognets.errors import DataError, InvalidArgumentError, UnknownNameError, check_number

__all__ = ["SilenceRule", "UnknownRule", "as_rule", "cut_silence", "draw_evenly", "region"]

Rule = TypeVar("Rule", "SilenceRule", "UnknownRule")


@dataclass(frozen=True)
class SilenceRule:
    """Silence is cut from noise recordings and scaled to a loudness drawn log-uniformly.

        clip = r * x / rms(x),  ln r ~ U(ln rms_low, ln rms_high), saturated at full scale

    The start of each recording serves training, what follows validation, the end testing, so no two splits share
    a sample of noise. The wide range of loudness is needed: the silence clips of the official test archive are both
    far quieter and far louder than the noise recordings that come with the training clips.

    Args:
        fraction: silence clips per keyword clip of the split, 0 to 10; 0.1 is one class's worth among ten keywords.
        rms_low: least root mean square, share of full scale, 1e-6 to 1.
        rms_high: greatest root mean square, share of full scale, rms_low to 1.
        train_share: share of each recording, from its start, that training may use, 0.1 to 0.9; validation and test
            take half of the rest each.

    Raises:
        InvalidArgumentError: a value lies outside its range.

    Source: fraction as in the data set's own training scripts; loudness range and regions are our own.
    """

    fraction: float = 0.1
    rms_low: float = 1e-4
    rms_high: float = 0.35
    train_share: float = 0.8

    def __post_init__(self) -> None:
        check_number("SilenceRule", "fraction", self.fraction, 0, 10)
        check_number("SilenceRule", "rms_low", self.rms_low, 1e-6, 1)
        check_number("SilenceRule", "rms_high", self.rms_high, self.rms_low, 1)
        check_number("SilenceRule", "train_share", self.train_share, 0.1, 0.9)


@dataclass(frozen=True)
class UnknownRule:
    """Unknown words are drawn as evenly over the other words as their numbers allow, rare words first and whole.

    Args:
        fraction: unknown clips per keyword clip of the split, 0 to 100; None takes every clip of the other words.
        per_word: most clips of one word, None for no limit.

    Raises:
        InvalidArgumentError: a value lies outside its range.

    Source: fraction as in the data set's own training scripts; the even draw is our own.
    """

    fraction: float | None = 0.1
    per_word: int | None = None

    def __post_init__(self) -> None:
        if self.fraction is not None:
            check_number("UnknownRule", "fraction", self.fraction, 0, 100)
        if self.per_word is not None:
            check_number("UnknownRule", "per_word", self.per_word, 1)


def as_rule(kind: type[Rule], value: Rule | Mapping[str, Any] | None) -> Rule:
    """Return `value` as a rule: a rule as it is, a mapping such as a recipe holds, None for the defaults.

    Raises:
        UnknownNameError: the mapping has a key that the rule does not have.
        InvalidArgumentError: it is something else, or a value is not allowed.
    """
    if value is None:
        return kind()
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        raise InvalidArgumentError(f"A {kind.__name__} or a mapping of its fields is needed. Received: {value!r}.")
    known = [field.name for field in dataclasses.fields(kind)]
    for key in value:
        if key not in known:
            raise UnknownNameError(f"field of {kind.__name__}", str(key), known)
    return kind(**value)


def draw_evenly(sizes: Sequence[int], wanted: int | None, limit: int | None = None) -> list[int]:
    """Return how many to take of each group: as even as sizes allow, `wanted` in all or everything there is.

    Args:
        sizes: how many each group has.
        wanted: how many to take in all; None for all.
        limit: most to take from one group.
    """
    room = [size if limit is None else min(size, limit) for size in sizes]
    left = sum(room) if wanted is None else min(wanted, sum(room))
    taken = [0] * len(room)
    order = sorted(range(len(room)), key=lambda i: room[i])
    for position, i in enumerate(order):
        groups = len(order) - position
        taken[i] = min(room[i], -(-left // groups))
        left -= taken[i]
    return taken


def region(samples: int, split: str, train_share: float) -> slice:
    """Return the part of a recording of `samples` samples that a split may use."""
    first = int(samples * train_share)
    second = first + (samples - first) // 2
    return {"train": slice(0, first), "validation": slice(first, second), "test": slice(second, samples)}[split]


def cut_silence(
    recordings: Mapping[str, np.ndarray], split: str, clips: int, rule: SilenceRule, seed: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return silence clips as int16 (clips, 16000), and their names.

    Args:
        recordings: float32 noise at 16 kHz by name.
        split: "train", "validation" or "test"; each has its own part of every recording.
        clips: how many.
        rule: loudness and parts.
        seed: the same seed gives the same clips.

    Raises:
        DataError: no recording is long enough to give this split a second.
    """
    parts = {name: sound[region(len(sound), split, rule.train_share)] for name, sound in recordings.items()}
    parts = {name: part for name, part in parts.items() if len(part) >= CLIP_SAMPLES}
    if clips and not parts:
        longest = max((len(sound) for sound in recordings.values()), default=0) / SAMPLE_RATE
        raise DataError(
            f"Silence for {split} needs a noise recording whose part for {split} is at least 1 s long. "
            f"Received: {len(recordings)} recordings, the longest of {longest:.1f} s. Add a longer one."
        )
    rng = generator(seed, "silence", split)
    names = sorted(parts)
    audio = np.zeros((clips, CLIP_SAMPLES), np.int16)
    labels = []
    for i in range(clips):
        name = names[rng.integers(len(names))]
        start = rng.integers(len(parts[name]) - CLIP_SAMPLES + 1)
        loudness = np.exp(rng.uniform(np.log(rule.rms_low), np.log(rule.rms_high)))
        sound = parts[name][start : start + CLIP_SAMPLES]
        own = np.sqrt(np.mean(np.square(sound, dtype=np.float64)))
        audio[i] = to_int16(sound * (loudness / own)) if own > 0 else 0
        labels.append(f"_silence_/{split}_{i:05d}_{name}")
    return audio, tuple(labels)
