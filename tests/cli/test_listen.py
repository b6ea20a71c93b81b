"""`analognets listen` and `analognets stream-eval`: lines, documents, files, and one sentence for what is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a stereo recording of 4 s at 22,050 Hz."""
    path = tmp_path_factory.mktemp("wav") / "noise.wav"
    sound = 0.1 * np.random.default_rng(0).normal(size=(4 * 22_050, 2))
    soundfile.write(path, sound.clip(-1, 1), 22_050, subtype="PCM_16")
    return path


EASY = ("--threshold", 0, "--suppression", 1, "--smoothing", 0)
"""Each second the word with the largest posterior is detected."""


def test_a_recording(first_training: tuple[Path, Any], call: Call, wav: Path) -> None:
    words = ("listen", first_training[0], "--wav", wav, "--at", "1d", "--seed", 2, *EASY)
    answer = call(*words)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert len(lines) == 4 and lines[0].startswith("0:00:01.000  ")
    assert "4 detections in 4.0 s (tiny, chip at 1d)" in answer.err
    assert "resampled to 16000 Hz" in answer.err
    found = json.loads(call(*words, "--json").out)
    assert [f"{one['word']}" for one in found["detections"]] == [line.split()[1] for line in lines]
    assert [one["time"] for one in found["detections"]] == [1.0, 2.0, 3.0, 4.0]
    assert (found["on"], found["at"], found["seconds"], found["threshold"]) == ("chip", "1d", 4.0, 0.0)
    for place in ("digital", "float"):
        other = json.loads(call(*words, "--on", place, "--json", "--seconds", 2.2).out)
        assert (other["on"], other["at"], other["seconds"]) == (place, None, pytest.approx(2.2, abs=1e-3))


def test_a_microphone_until_it_is_enough(
    first_training: tuple[Path, Any], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = SimpleNamespace(start=lambda: None, close=lambda: None, reads=0)

    def read(frames: int) -> tuple[np.ndarray, bool]:
        stream.reads += 1
        if stream.reads > 25:
            raise KeyboardInterrupt
        return np.full((frames, 1), 100, np.int16), False

    stream.read = read
    fake = SimpleNamespace(
        query_devices=lambda device, kind: {"default_samplerate": 16_000.0},
        check_input_settings=lambda **settings: None,
        InputStream=lambda **settings: stream,
    )
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    answer = call("listen", first_training[0], "--on", "digital", *EASY)
    assert answer.code == 0, answer.err
    assert len(answer.out.splitlines()) == 2 and "Ctrl-C ends it" in answer.err
    assert "2 detections in 2.5 s" in answer.err


def test_what_can_not_be_listened_to(
    first_training: tuple[Path, Any], call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wav: Path
) -> None:
    run = first_training[0]
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert "analognets[microphone]" in call("listen", run).error
    assert "none.wav: No such file" in call("listen", run, "--wav", tmp_path / "none.wav").error
    soundfile.write(tmp_path / "short.wav", np.zeros(8000), 16_000)
    assert (
        "at least one window of 1 s long. Received: 0.5 s" in call("listen", run, "--wav", tmp_path / "short.wav").error
    )
    soundfile.write(tmp_path / "odd.wav", np.zeros(8000), 300_007)
    assert "can't be resampled to 16,000 Hz" in call("listen", run, "--wav", tmp_path / "odd.wav").error
    assert "MFCC front end" in call("listen", "analognet_vww.float", "--wav", wav).error
    assert "`threshold` of DetectorSettings must be" in call("listen", run, "--wav", wav, "--threshold", 7).error
    assert "Did you mean 'stop'" in call("listen", run, "--wav", wav, "--threshold", "stob=0.5").error
    assert "A duration must be" in call("listen", run, "--wav", wav, "--at", "soon").error
    assert "Unknown preset. Did you mean" in call("listen", "analognet_kws.hwa_8bits", "--wav", wav).error
    assert "must be one of 'chip', 'digital', 'float'" in call("listen", run, "--wav", wav, "--on", "moon").error
    for words in (("--threshold", "high"), ("--wav", wav, "--device", 1)):
        assert call("listen", run, *words).code == 2


def test_the_help_names_the_defaults_of_the_detector(call: Call) -> None:
    from analognets.deploy.stream.detector import DetectorSettings

    usual = DetectorSettings()
    text = " ".join(call("listen", "--help").out.replace("│", " ").split())
    for value in (usual.threshold, usual.smoothing, usual.suppression):
        assert f"by default {value:g}." in text


@pytest.fixture(scope="module")
def measured(first_training: tuple[Path, Any], call: Call, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the answer and the folder of the one evaluation that tests share."""
    folder = tmp_path_factory.mktemp("stream")
    words = ("--hours", 0.02, "--chips", 2, "--at", "25s", "1y", "--target", 100, "--out", folder / "out")
    answer = call("stream-eval", first_training[0], *words, "--save-audio", folder / "audio.wav")
    assert answer.code == 0, answer.err
    return answer, folder


def test_the_evaluation_is_shown_and_written(measured: Any) -> None:
    answer, folder = measured
    assert "tiny: 0.02 h of audio with" in answer.out
    for text in (
        "float network",
        "25s",
        "1y",
        "false alarms/h",
        "Missed clips of each word",
        "uW mean power",
        "Not counted",
    ):
        assert text in answer.out, text
    assert "of its time." in answer.out
    assert answer.out.splitlines()[-1].startswith(f"Written to {folder / 'out'}: stream.csv")
    page = (folder / "out" / "stream.html").read_text("utf-8")
    assert "How many false alarms per hour" in page and page.count('<svg role="img"') == 1
    table = pd.read_csv(folder / "out" / "stream.csv")
    assert list(table["at"].dropna()) == ["25s", "1y"] * 2
    record = json.loads((folder / "out" / "stream.json").read_text("utf-8"))
    assert [row["title"] for row in record["rows"]] == ["float network", "25s", "1y"]
    assert record["power"]["inferences_per_second"] == pytest.approx(10)


def test_the_audio_is_that_of_the_words(measured: Any, first_training: tuple[Path, Any], call: Call) -> None:
    folder = measured[1]
    sound, rate = soundfile.read(folder / "audio.wav", dtype="int16")
    assert (rate, len(sound)) == (16_000, 72 * 16_000)
    words = pd.read_csv(folder / "out" / "words.csv")
    assert len(words) > 3
    loud = [np.abs(sound[int(16_000 * (begin + 0.3)) :][:6000]).mean() for begin in words["begin"]]
    assert min(loud) > 1000, "the tones of the tiny data set"
    heard = call("listen", first_training[0], "--wav", folder / "audio.wav", *EASY, "--json")
    assert len(json.loads(heard.out)["detections"]) == 72


def test_a_document(first_training: tuple[Path, Any], call: Call, tmp_path: Path) -> None:
    import analognets as an
    from analognets.zoo.trained import open_trained

    an.deploy.program(open_trained(first_training[0]).model, 1, seed=7).save(tmp_path / "chips")
    words = ("--hours", 0.01, "--load-chips", tmp_path / "chips", "--at", "1d", "--out", tmp_path, "--idle-uw", 5)
    words = (*words, "--json", "-q")
    answer = call("stream-eval", first_training[0], *words)
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found["results"] == str(tmp_path) and found["synthetic"] is False
    assert found["power"]["idle_uw"] == 5.0 and [row["at"] for row in found["rows"]] == [None, "1d"]
    assert [row["chips"] for row in found["rows"]] == [0, 1]


def test_what_can_not_be_evaluated(first_training: tuple[Path, Any], call: Call, tmp_path: Path) -> None:
    run = first_training[0]
    assert "MFCC front end" in call("stream-eval", "analognet_vww.float").error
    assert "`hours` of RunningAudio must be" in call("stream-eval", run, "--hours", 0, "--out", tmp_path).error
    assert "A duration must be" in call("stream-eval", run, "soon").error
    assert "`every` of a stream must be" in call("stream-eval", run, "--every", 9).error
    assert call("stream-eval", run, "--save-audio", tmp_path / "x.mp3", "--out", tmp_path).code == 2
    assert "neither a run nor a preset" in call("stream-eval", tmp_path).error
