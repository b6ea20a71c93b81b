"""Long audio with words at known times, made of clips and background noise, to judge what listens without a pause."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from analognets.core.seeds import generator
from analognets.datasets.audio_io import to_int16
from analognets.datasets.base import SAMPLE_RATE, Split, TaskData
from analognets.datasets.noise import recordings
from analognets.errors import DataError, InvalidArgumentError, check_choice, check_integer, check_number

__all__ = ["QUIET_CLASSES", "RunningAudio", "SpokenWord"]

QUIET_CLASSES = ("silence", "_silence_", "_background_noise_")
"""Classes whose clips are background."""

_SEGMENT = (5.0, 20.0)
_FADE = 800  # samples: 50 ms
_EDGE = 160  # samples: 10 ms
_REST = 2.0
_LEAST_GAP = 0.5
_MADE_SECONDS = 10.0


class SpokenWord(NamedTuple):
    """A clip in running audio.

    Args:
        begin: of the clip in seconds.
        end: of the clip in seconds.
        label: number of its class.
        name: of the clip.
    """

    begin: float
    end: float
    label: int
    name: str


class _Segment(NamedTuple):
    """Background of one loudness: from one sample to another, and its root mean square."""

    begin: int
    end: int
    loudness: float


class RunningAudio:
    """Hours of background noise with clips of words at known times, the same for the same seed.

    Every clip of a word, unknown words included, comes once before any comes again, as loud as it was recorded, with a
    pause of at least 0.5 s between clips. The background are the split's clips of silence, joined with crossfades, in
    pieces of 5 to 20 s; the loudness of each piece is drawn log-uniformly. A split without such clips gets generated
    noise (white, pink, brown, hum). Sound is made piece by piece, so that hours take no memory.

    Args:
        data: clips at 16 kHz and their classes.
        split: "train", "validation" or "test".
        hours: length, 0.002 to 1000.
        seed: of the order, the times and the noise, >= 0.
        words_per_minute: mean number of clips, 0 to 30.
        noise_rms: least and greatest root mean square of the background, shares of full scale, 1e-6 to 1.

    Attributes:
        words: the clips, by time.
        samples: length.
        generated_noise: whether the background was generated.

    Raises:
        InvalidArgumentError: a setting is not allowed, or the data are no sound.
        DataError: the split has no clip of a word.

    Examples:
        >>> data = analognets.datasets.load_dataset("speech_commands", speech)
        >>> audio = RunningAudio(data, "test", hours=0.01, seed=0)
        >>> audio.samples, len(audio.words) > 0
        (576000, True)

    Source: our own; how often words come and how loud the background is follows no recording.
    """

    def __init__(
        self,
        data: TaskData,
        split: str = "test",
        *,
        hours: float = 1.0,
        seed: int = 0,
        words_per_minute: float = 10.0,
        noise_rms: tuple[float, float] = (1e-4, 1e-2),
    ) -> None:
        check_choice("RunningAudio", "split", split, tuple(data.splits))
        check_number("RunningAudio", "hours", hours, 0.002, 1000)
        check_integer("RunningAudio", "seed", seed, 0, 2**31 - 1)
        check_number("RunningAudio", "words_per_minute", words_per_minute, 0, 30)
        check_number("RunningAudio", "noise_rms[0]", noise_rms[0], 1e-6, 1)
        check_number("RunningAudio", "noise_rms[1]", noise_rms[1], noise_rms[0], 1)
        if data.kind != "audio":
            raise InvalidArgumentError(f"Running audio is made of clips of sound. Received: {data.name}, of pictures.")
        self._clips: Split = data.splits[split]
        self._seed, self._split = seed, split
        self.samples = round(hours * 3600 * SAMPLE_RATE)
        quiet = [label for label, name in enumerate(data.classes) if name in QUIET_CLASSES]
        is_quiet = np.isin(self._clips.labels, quiet)
        if is_quiet.all():
            raise DataError(f"The {split} split of {data.name} has no clip of a word to put into running audio.")
        self._plan = self._words(np.flatnonzero(~is_quiet), words_per_minute)
        self.words = tuple(self._described(start, clip) for start, clip in self._plan)
        self._noise = self._background(np.flatnonzero(is_quiet))
        self._segments = self._pieces(noise_rms)

    @property
    def seconds(self) -> float:
        """Its length in seconds."""
        return self.samples / SAMPLE_RATE

    def _words(self, clips: np.ndarray, per_minute: float) -> list[tuple[int, int]]:
        """Return (first sample, number) of each clip."""
        rng = generator(self._seed, "words", self._split)
        length = self._clips.inputs.shape[1]
        least = length + round(_LEAST_GAP * SAMPLE_RATE)
        last = self.samples - length - round(_REST * SAMPLE_RATE)
        plan: list[tuple[int, int]] = []
        order: list[int] = []
        if not per_minute:
            return plan
        pause = max(0.0, 60.0 * SAMPLE_RATE / per_minute - least)
        start = SAMPLE_RATE + round(rng.exponential(pause))
        while start <= last:
            order = order or rng.permutation(clips).tolist()
            plan.append((start, order.pop()))
            start += least + round(rng.exponential(pause))
        return plan

    def _described(self, start: int, clip: int) -> SpokenWord:
        end = start + self._clips.inputs.shape[1]
        label, name = int(self._clips.labels[clip]), self._clips.names[clip]
        return SpokenWord(start / SAMPLE_RATE, end / SAMPLE_RATE, label, name)

    def _background(self, clips: np.ndarray) -> list[np.ndarray]:
        """Return sounds to make the background of, each of unit power."""
        sounds = [self._clips.inputs[clip].astype(np.float32) / 32768 for clip in clips]
        powers = [float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))) for sound in sounds]
        found = [sound / np.float32(power) for sound, power in zip(sounds, powers, strict=True) if power > 1e-5]
        self.generated_noise = not found
        if found:
            return found
        made = recordings(_MADE_SECONDS, self._seed).values()
        return [sound / np.float32(np.sqrt(np.mean(sound**2))) for sound in made]

    def _pieces(self, noise_rms: tuple[float, float]) -> list[_Segment]:
        rng = generator(self._seed, "loudness", self._split)
        pieces, begin = [], 0
        while begin < self.samples:
            end = min(self.samples, begin + round(rng.uniform(*_SEGMENT) * SAMPLE_RATE))
            pieces.append(_Segment(begin, end, float(np.exp(rng.uniform(*np.log(noise_rms))))))
            begin = end
        return pieces

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the sound as int16 blocks of 5 to 20 s; each iteration gives the same."""
        tail: np.ndarray = np.zeros(0, np.float32)
        first = 0
        for number, piece in enumerate(self._segments):
            length = piece.end - piece.begin
            noise = piece.loudness * self._filled(number, length + _FADE)
            if number:
                noise[:_FADE] *= _RISING
            noise[length:] *= _RISING[::-1]
            noise[: len(tail)] += tail[: len(noise)]
            tail, sound = noise[length:], noise[:length]
            first = self._add_words(sound, piece.begin, first)
            yield to_int16(sound)

    def _filled(self, number: int, length: int) -> np.ndarray:
        """Return background of unit power: one sound after the other, crossfaded."""
        rng = generator(self._seed, "noise", self._split, str(number))
        sound, done = np.zeros(length, np.float32), 0
        while done < length:
            part = self._noise[rng.integers(len(self._noise))].copy()
            if done:
                part[:_FADE] *= _RISING
            part[-_FADE:] *= _RISING[::-1]
            here = part[: length - done]
            sound[done : done + len(here)] += here
            done += len(part) - _FADE
        return sound

    def _add_words(self, sound: np.ndarray, begin: int, first: int) -> int:
        """Add the clips that stand in a piece; returns the number of the first that reaches behind it."""
        end, length = begin + len(sound), self._clips.inputs.shape[1]
        for number in range(first, len(self._plan)):
            start, clip = self._plan[number]
            if start >= end:
                return number
            low, high = max(start, begin), min(start + length, end)
            word = self._clips.inputs[clip].astype(np.float32) / 32768
            word[:_EDGE] *= np.linspace(0, 1, _EDGE, dtype=np.float32)
            word[-_EDGE:] *= np.linspace(1, 0, _EDGE, dtype=np.float32)
            sound[low - begin : high - begin] += word[low - start : high - start]
            if start + length > end:
                return number
        return len(self._plan)


_RISING = np.sqrt(np.linspace(0, 1, _FADE, dtype=np.float32))
"""Two sounds that fade with this and its mirror image keep their power."""
