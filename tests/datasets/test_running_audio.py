"""Running audio: words stand where it says, the background is as loud as asked, and one seed is one sound."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets.datasets.base import Split, TaskData
from analognets.datasets.running_audio import RunningAudio
from analognets.errors import DataError, InvalidArgumentError

CLASSES = ("yes", "no", "silence", "unknown")


def clip_data(quiet: int = 5, classes: tuple[str, ...] = CLASSES) -> TaskData:
    """Return a data set whose words are tones of their own amplitude."""
    rng = np.random.default_rng(0)
    labels = np.array([0, 0, 1, 3, 1, 3, 0] + [2] * quiet, np.int32)
    time = np.arange(16_000) / 16_000
    clips = [8000 * np.sin(2 * np.pi * (200 + 50 * number) * time) for number in range(7)]
    clips += [rng.normal(0, 10.0 ** rng.uniform(0, 3), 16_000) for _ in range(quiet)]
    inputs = np.clip(np.stack(clips), -32768, 32767).astype(np.int16)
    split = Split(inputs, labels, tuple(f"clip{number}" for number in range(len(labels))))
    return TaskData("toy", split, split, split, classes)


@given(st.floats(0.01, 0.05), st.integers(0, 99), st.floats(1, 30))
@settings(max_examples=15)
def test_words_stand_where_it_says(hours: float, seed: int, rate: float) -> None:
    data = clip_data()
    audio = RunningAudio(data, hours=hours, seed=seed, words_per_minute=rate, noise_rms=(1e-6, 1e-6))
    sound = np.concatenate(list(audio.blocks()))
    assert len(sound) == audio.samples == round(hours * 3600 * 16_000) and audio.seconds == audio.samples / 16_000
    rest = sound.astype(float)
    for word in audio.words:
        clip = int(word.name.removeprefix("clip"))
        assert word.label == data.test.labels[clip] != 2
        start = round(16_000 * word.begin)
        middle = slice(start + 160, start + 15_840)  # its ends are faded
        np.testing.assert_allclose(sound[middle], data.test.inputs[clip][160:15_840], atol=2)
        rest[start : start + 16_000] = 0
    assert np.abs(rest).max() <= 2
    begins, ends = ([getattr(word, name) for word in audio.words] for name in ("begin", "end"))
    assert np.all(np.subtract(begins[1:], ends[:-1]) >= 0.5 - 1e-9)
    assert not ends or ends[-1] <= audio.seconds - 2


def test_every_clip_comes_once_before_one_comes_again() -> None:
    audio = RunningAudio(clip_data(), hours=0.05, words_per_minute=20)
    names = [word.name for word in audio.words]
    assert len(names) > 40
    for start in range(0, len(names) - 7, 7):
        assert len(set(names[start : start + 7])) == 7
    assert len(names) / 3 == pytest.approx(20, rel=0.25)


def test_one_seed_is_one_sound_and_splits_differ() -> None:
    def sound(**options: Any) -> np.ndarray:
        return np.concatenate(list(RunningAudio(clip_data(), hours=0.01, **options).blocks()))

    audio = RunningAudio(clip_data(), hours=0.01)
    first = np.concatenate(list(audio.blocks()))
    np.testing.assert_array_equal(np.concatenate(list(audio.blocks())), first)
    np.testing.assert_array_equal(sound(), first)
    assert not np.array_equal(sound(seed=1), first)
    assert not np.array_equal(sound(split="validation"), first)


def test_the_background_has_the_loudness_asked_for() -> None:
    for data in (clip_data(), clip_data(quiet=0)):
        audio = RunningAudio(data, hours=0.05, words_per_minute=0, noise_rms=(0.001, 0.1))
        assert audio.words == () and audio.generated_noise == (not (data.test.labels == 2).any())
        levels = [np.sqrt(np.mean((block / 32768.0) ** 2)) for block in audio.blocks()]
        assert min(levels) > 0.0007 and max(levels) < 0.13
        assert max(levels) / min(levels) > 5
        steady = RunningAudio(data, hours=0.02, words_per_minute=0, noise_rms=(0.01, 0.01))
        sound = np.concatenate(list(steady.blocks())) / 32768.0
        pieces = sound[: len(sound) // 4000 * 4000].reshape(-1, 4000)
        np.testing.assert_allclose(np.median(np.sqrt(np.mean(pieces**2, axis=1))), 0.01, rtol=0.15)


def test_what_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="`hours` of RunningAudio must be a number from 0.002 to 1000"):
        RunningAudio(clip_data(), hours=0)
    with pytest.raises(InvalidArgumentError, match="`split` of RunningAudio must be one of 'train', 'validation'"):
        RunningAudio(clip_data(), "all")
    with pytest.raises(InvalidArgumentError, match=r"`noise_rms\[1\]` of RunningAudio"):
        RunningAudio(clip_data(), noise_rms=(0.1, 0.01))
    with pytest.raises(DataError, match="test split of toy has no clip of a word"):
        RunningAudio(clip_data(classes=("silence",) * 4))
    pictures = Split(np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2, np.int32))
    with pytest.raises(InvalidArgumentError, match="made of clips of sound. Received: dogs, of pictures"):
        RunningAudio(TaskData("dogs", pictures, pictures, pictures, ("a", "b")))
