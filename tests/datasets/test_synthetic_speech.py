from __future__ import annotations

import importlib.metadata
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from analognets.datasets import espeak
from analognets.datasets.base import KWS_CLASSES, check_disjoint
from analognets.datasets.espeak import ACCENTS, VARIANTS, Utterance, speak, split_voices
from analognets.datasets.noise import LOUDNESS, coloured, hum, recordings
from analognets.datasets.synthetic_speech import load_synthetic_speech
from analognets.errors import DataError, InvalidArgumentError, MissingExtraError

needs_speech = pytest.mark.skipif(
    not any(found.name == "espeakng-loader" for found in importlib.metadata.distributions()),
    reason="needs the extra `speech`",
)
SMALL = {"clips_per_class": 4, "held_out_per_class": 2, "voices": 20}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory):
    return load_synthetic_speech(**SMALL, cache_dir=tmp_path_factory.mktemp("cache"))


@needs_speech
def test_what_it_is(small) -> None:
    assert small.name == "synthetic_speech" and small.info.synthetic and "Synthetic" in small.info.statement
    assert small.classes == KWS_CLASSES
    for name, split in small.splits.items():
        assert np.bincount(split.labels).tolist() == [4 if name == "train" else 2] * 12
        assert split.inputs.shape == (len(split), 16_000) and split.inputs.dtype == np.int16
    assert small.info.notes == ()
    assert len(small.background) == 6 and all(sound.dtype == np.float32 for sound in small.background)


@needs_speech
def test_no_timbre_is_heard_in_two_splits(small) -> None:
    check_disjoint(small)
    timbres = [{voice.partition("+")[2] for voice in split.speakers} - {""} for split in small.splits.values()]
    assert sum(map(len, timbres)) == len(set.union(*timbres))


@needs_speech
def test_words_stand_out_of_their_noise(small) -> None:
    spoken = small.train.select(small.train.labels != KWS_CLASSES.index("silence"))
    power = np.square(spoken.inputs / 32768.0).reshape(len(spoken), 50, 320).mean(axis=2)
    assert np.all(power.max(axis=1) > 4 * np.median(power[:, [0, 1, -2, -1]], axis=1))


@needs_speech
def test_the_same_seed_gives_the_same_bits_with_and_without_cache(small, tmp_path: Path) -> None:
    again = load_synthetic_speech(**SMALL, cache=False)
    cached = [load_synthetic_speech(**SMALL, cache_dir=tmp_path) for _ in range(2)]
    for other in (again, *cached):
        for one, two in zip(small.splits.values(), other.splits.values(), strict=True):
            np.testing.assert_array_equal(one.inputs, two.inputs)
            assert one.names == two.names and one.speakers == two.speakers
    assert len(list((tmp_path / "clips").glob("*.npy"))) == 3


@needs_speech
def test_another_seed_gives_other_clips(small) -> None:
    other = load_synthetic_speech(**SMALL, seed=1, cache=False)
    assert not {clip.tobytes() for clip in small.train.inputs} & {clip.tobytes() for clip in other.train.inputs}


@needs_speech
def test_progress_reaches_the_end(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    for _ in range(2):
        seen.clear()
        load_synthetic_speech(**SMALL, cache_dir=tmp_path, progress=lambda done, total: seen.append((done, total)))
        assert seen[-1] == (88, 88) and seen == sorted(seen)


@needs_speech
def test_breathy_voices_are_the_same_in_another_second() -> None:
    words = [Utterance(f"en-us+{variant}", "down", 170, 50, 50) for variant in ("f2", "victor", "m1")]
    first = [sound for sound, _ in speak(words)]
    time.sleep(1.1)  # the library seeds its breath from the clock, in whole seconds, unless it is told a seed
    for one, other in zip(first, (sound for sound, _ in speak(words)), strict=True):
        np.testing.assert_array_equal(one, other)


@needs_speech
def test_every_voice_can_speak() -> None:
    words = [Utterance(f"{ACCENTS[i % len(ACCENTS)]}+{timbre}", "go", 170, 50, 50) for i, timbre in enumerate(VARIANTS)]
    words += [Utterance(f"{accent}+m1", "go", 170, 50, 50) for accent in ACCENTS]
    for word, (sound, rate) in zip(words, speak(words), strict=True):
        assert rate == 22_050 and np.abs(sound).max() > 0.1 and len(sound) > 0.1 * rate, word


@needs_speech
def test_an_unknown_voice_is_named() -> None:
    with pytest.raises(DataError, match=r"does not know the voice 'tlh\+nobody'"):
        list(speak([Utterance("tlh+nobody", "go", 170, 50, 50)]))


@needs_speech
def test_a_crash_of_the_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    worker = tmp_path / "crash.py"
    worker.write_text("import os, sys\nsys.stderr.write('ouch')\nsys.stderr.flush()\nos.kill(os.getpid(), 11)\n")
    monkeypatch.setattr(espeak, "_WORKER", worker)
    with pytest.raises(DataError, match="espeak-ng stopped with exit code -11 while speaking: ouch"):
        list(speak([Utterance("en", "go", 170, 50, 50)]))


@needs_speech
def test_stopping_half_way_leaves_no_process() -> None:
    words = speak([Utterance("en", "go", 170, 50, 50)] * 500)
    next(words)
    words.close()  # a process that still runs would be reported as a ResourceWarning, which is an error here


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'analognets\[speech\]'"):
        load_synthetic_speech(cache=False)


@pytest.mark.parametrize(
    ("option", "value"), [("clips_per_class", 0), ("voices", 3), ("held_out_per_class", 0), ("seed", -1)]
)
def test_bad_arguments(option: str, value: int) -> None:
    with pytest.raises(InvalidArgumentError, match=f"`{option}` of load_synthetic_speech"):
        load_synthetic_speech(**{option: value})


@pytest.mark.parametrize("voices", [20, 100, 300])
def test_voices_are_split_by_timbre(voices: int) -> None:
    parts = split_voices(voices, 5)
    every = [voice for part in parts.values() for voice in part]
    assert len(every) == len(set(every)) == voices
    timbres = [{voice.partition("+")[2] for voice in part} for part in parts.values()]
    assert sum(map(len, timbres)) == len(set.union(*timbres))
    if voices == 100:
        assert {voice.partition("+")[0] for voice in parts["train"]} == set(ACCENTS)
    assert split_voices(voices, 5) == parts != split_voices(voices, 6)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_noise_falls_as_its_exponent_says(exponent: float) -> None:
    sound = coloured(2**18, exponent, np.random.default_rng(0))
    assert np.sqrt(np.mean(sound**2)) == pytest.approx(1)
    power = np.abs(np.fft.rfft(sound)) ** 2
    edges = np.geomspace(100, 7000, 9)
    frequency = np.arange(len(power)) * 16_000 / 2**18
    levels = [power[(frequency >= a) & (frequency < b)].mean() for a, b in zip(edges, edges[1:], strict=False)]
    slope = np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(levels), 1)[0]
    assert slope == pytest.approx(-exponent, abs=0.1)


def test_hum_is_loudest_at_the_mains() -> None:
    power = np.abs(np.fft.rfft(hum(16_000, 60.0, np.random.default_rng(1))))
    assert np.argmax(power) in range(60, 721, 60) and power[60] > 100 * np.median(power)


def test_recordings() -> None:
    made, again = recordings(2.0, 4), recordings(2.0, 4)
    for name, sound in made.items():
        assert len(sound) == 32_000 and np.abs(sound).max() <= 1
        assert np.sqrt(np.mean(sound**2)) == pytest.approx(LOUDNESS, rel=0.02)
        np.testing.assert_array_equal(sound, again[name])
    assert not np.array_equal(made["white"], recordings(2.0, 5)["white"])
