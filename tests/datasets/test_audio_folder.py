"""A user's own recordings: words of their choice, unknown and silence if asked, any rate and length."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analognets.datasets.audio_folder import load_audio_folder
from analognets.datasets.base import TaskData, shared_speakers
from analognets.datasets.registry import load_dataset
from analognets.errors import DataError, DataWarning, InvalidArgumentError

spec = importlib.util.spec_from_file_location("own_recordings", Path(__file__).with_name("conftest.py"))
assert spec is not None and spec.loader is not None
recordings = importlib.util.module_from_spec(spec)
spec.loader.exec_module(recordings)


def build(
    root: Path, words: dict[str, int], name: str = "take{number}", rate: int = 16_000, seconds: float = 1
) -> Path:
    for word, count in words.items():
        for number in range(count):
            label = f"{name.format(number=number)}.wav"
            samples = recordings.tone(f"{word}/{label}", round(rate * seconds))
            recordings.write(root / word / label, samples, rate)
    return root


def load(root: Path, **options: Any) -> TaskData:
    return load_audio_folder(root, **{"cache": False, **options})


def test_words_become_clips(tmp_path: Path) -> None:
    data = load(build(tmp_path / "mine", {"on": 15, "off": 15}))
    assert (data.kind, data.classes, data.name) == ("audio", ("off", "on"), "mine")
    assert sum(map(len, data.splits.values())) == 30
    for part in data.splits.values():
        assert part.inputs.dtype == np.int16 and part.inputs.shape[1:] == (16_000,)
        assert set(part.labels) == {0, 1}
    name = data.test.names[0]
    np.testing.assert_array_equal(data.test.inputs[0], recordings.tone(name))
    assert "Noise is generated" in data.info.statement
    assert data.background and all(sound.dtype == np.float32 for sound in data.background)


@pytest.mark.filterwarnings("ignore:12 clips hold next to no sound")
def test_other_rates_lengths_and_flac(tmp_path: Path) -> None:
    import soundfile

    root = build(tmp_path, {"on": 12, "off": 12}, rate=8000, seconds=0.5)
    long = np.zeros(48_000, np.int16)
    long[16_000:32_000] = 5000  # the middle second of three
    (root / "up").mkdir()
    for number in range(12):
        soundfile.write(root / "up" / f"{number}.flac", long, 16_000)
    data = load(root)
    assert data.classes == ("off", "on", "up")
    assert any("24 clips were resampled" in note or "resampled to 16000 Hz" in note for note in data.info.notes)
    assert (data.test.inputs[data.test.labels == 2] == 5000).all()
    short = data.train.inputs[data.train.labels == 0]
    assert not short[:, :3900].any() and short[:, 4100:11_900].any() and not short[:, 12_100:].any()


def test_speakers_stay_in_one_split(tmp_path: Path) -> None:
    root = build(tmp_path, {"on": 40, "off": 40}, "{number:04x}_nohash_0")
    data = load(root)
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not shared_speakers(data.splits[one], data.splits[other])
    assert len(set(data.train.speakers)) * 2 == len(data.train)
    assert "by a hash of the speaker" in data.info.statement
    assert shared_speakers((by_file := load(root, split_by="file")).train, by_file.test)


def test_unknown_and_silence(tmp_path: Path) -> None:
    root = build(tmp_path / "data", {"on": 20, "off": 20, "cat": 20, "dog": 12, "_unknown_": 10, "_drafts": 5})
    data = load(root, classes=["on", "off"], unknown=True, silence=True)
    assert data.classes == ("on", "off", "silence", "unknown")
    counts = np.bincount(np.concatenate([part.labels for part in data.splits.values()]), minlength=4)
    assert counts[[0, 1, 3]].tolist() == [20, 20, 42]
    assert counts[2] == pytest.approx(82 / 3, abs=3)
    words = {name.split("/")[0] for name in data.train.names}
    assert {"cat", "dog", "_silence_"} <= words and "_drafts" not in words
    assert data.info.notes == ("Folders that are no class here were left out: _drafts.",)
    again = load(root, classes=["on", "off"], unknown=True, silence=True)
    np.testing.assert_array_equal(again.test.inputs, data.test.inputs)
    other = load(root, classes=["on", "off"], unknown=True, silence=True, seed=1)
    assert (other.test.inputs != data.test.inputs).any()


def test_noise_of_the_folder_is_used(tmp_path: Path) -> None:
    root = build(tmp_path / "data", {"train/on": 12, "train/off": 12, "test/on": 2, "test/off": 2})
    for name, seconds in (("street", 12), ("click", 2)):
        recordings.write(root / "_background_noise_" / f"{name}.wav", recordings.tone(name, 16_000 * seconds))
    data = load(root, silence=True)
    assert data.classes == ("off", "on", "silence")
    assert len(data.background) == 1 and len(data.background[0]) == round(0.8 * 12 * 16_000)
    assert "Noise comes from 1 recordings in _background_noise_." in data.info.statement
    assert len(data.test) == 6
    assert all("street" in name for name in data.test.names if name.startswith("_silence_"))


def test_a_broken_recording_stops_or_is_left_out(tmp_path: Path) -> None:
    root = build(tmp_path / "data", {"on": 12, "off": 12})
    (root / "on" / "take3.wav").write_bytes(b"RIFF nothing")
    with pytest.raises(DataError, match=r"on/take3.wav"):
        load(root)
    data = load(root, on_corrupt="skip")
    assert sum(map(len, data.splits.values())) == 23
    assert any("skipped: on/take3.wav" in note for note in data.info.notes)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"classes": ["on", "of"]}, DataError, "no class 'of' with recordings. Classes there: off, on. Received"),
        ({"classes": ["on"]}, DataError, "At least two classes of recordings are needed. Received: on"),
        ({"unknown": True}, DataError, "no recordings for the class `unknown`. Name fewer words"),
        ({"unknown": "yes"}, InvalidArgumentError, "`unknown` of load_audio_folder must be True or False"),
        ({"seed": -1}, InvalidArgumentError, "`seed` of load_audio_folder"),
        ({"split_by": "word"}, InvalidArgumentError, "`split_by` of SplitRule must be one of None, 'speaker', 'file'"),
        ({"split_by": "speaker", "test_share": 0.5, "validation_share": 0.5}, DataError, "The train split has no"),
    ],
)
def test_what_can_not_be_is_said(tmp_path: Path, options: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        load(build(tmp_path / "data", {"on": 4, "off": 4}), **options)


def test_one_speaker_needs_another_split(tmp_path: Path) -> None:
    root = build(tmp_path / "data", {"on": 12, "off": 12}, "me_nohash_{number}")
    with pytest.raises(DataError, match="from more speakers if split_by is 'speaker'"):
        load(root)
    assert len(load(root, split_by="file").test) >= 2


def test_names_that_are_taken(tmp_path: Path) -> None:
    root = build(tmp_path / "data", {"on": 6, "silence": 6})
    assert load(root).classes == ("on", "silence")
    with pytest.raises(InvalidArgumentError, match="'silence' is a folder already"):
        load(root, silence=True)
    with pytest.raises(DataError, match="one folder a word"):
        load_dataset("audio_folder")


def test_noise_over_full_scale_is_named(tmp_path: Path) -> None:
    import soundfile

    root = build(tmp_path, {"on": 12, "off": 12})
    (root / "_background_noise_").mkdir()
    loud = np.random.default_rng(0).normal(0, 1.2, 16_000 * 12).astype(np.float32)
    soundfile.write(root / "_background_noise_" / "loud.wav", loud, 16_000, subtype="FLOAT")
    with pytest.warns(DataWarning, match="1 clips hold numbers over full scale.*loud.wav"):
        data = load(root, silence=True)
    assert any("over full scale" in note for note in data.info.notes)
