"""`analognets data`: what is there, what it holds, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from analognets.datasets import speech_commands

Call = Callable[..., Any]


def test_list(call: Call) -> None:
    answer = call("data", "list")
    assert answer.code == 0
    assert "speech_commands" in answer.out and "synthetic_speech" in answer.out
    assert set(json.loads(call("data", "list", "--json").out)) == {"speech_commands", "synthetic_speech"}


def test_info_counts_clips_and_says_whose_they_are(call: Call, speech: Path) -> None:
    answer = call("data", "info", "--data", speech)
    assert answer.code == 0, answer.err
    rows = {line.split()[0]: line.split()[1:] for line in answer.out.splitlines() if line.strip()}
    assert rows["yes"] == ["3", "1", "1"]
    assert "A part of Speech Commands" in answer.out
    assert "Licence: CC BY 4.0" in answer.out
    found = json.loads(call("data", "info", "--data", speech, "--json").out)
    assert found["clips"]["yes"] == {"train": 3, "validation": 1, "test": 1}
    assert found["synthetic"] is False


def test_info_of_35_classes(call: Call, speech: Path) -> None:
    found = json.loads(call("data", "info", "--data", speech, "--classes", 35, "--json", "--quiet").out)
    assert len(found["clips"]) == 36
    assert found["clips"]["zero"]["train"] == 3
    assert any("has no clip of" in note for note in found["notes"])


def test_progress_reaches_its_end_once(call: Call, speech: Path) -> None:
    for _ in range(2):
        answer = call("data", "info", "--data", speech)
        assert len([line for line in answer.err.splitlines() if line.startswith("Data: 100/100")]) == 1


def test_prepare_says_what_next(call: Call, speech: Path) -> None:
    answer = call("data", "prepare", "--data", speech)
    assert answer.code == 0
    assert answer.out.splitlines()[-1] == f"Next: analognets train kws --data {speech}"


def test_prepare_without_a_folder_downloads(
    call: Call, recordings: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(progress: Callable[[int, int], None]) -> None:
        for done in (0, 1, 250, 500, 500):
            progress(done, 500)
        recordings.build_tree(tmp_path / "speech_commands")

    monkeypatch.setenv("ANALOGNETS_CACHE", str(tmp_path))
    missing = call("data", "info")
    assert missing.code == 1
    assert "`analognets data prepare speech_commands`" in missing.error
    monkeypatch.setattr(speech_commands, "download", download)
    answer = call("data", "prepare")
    assert answer.code == 0, answer.err
    assert len([line for line in answer.err.splitlines() if line.startswith("Download: 100/100")]) == 1
    assert answer.out.splitlines()[-1] == "Next: analognets train kws"


def test_wrong_rate_and_broken_clips(call: Call, recordings: ModuleType, tmp_path: Path) -> None:
    recordings.build_tree(tmp_path)
    words = tmp_path / "speech_commands_v0.02"
    recordings.write(words / "yes" / "aa01_nohash_0.wav", recordings.tone("yes", 44_100), 44_100)
    noticed = call("data", "info", "--data", tmp_path)
    assert noticed.code == 0
    assert "1 clips were resampled to 16000 Hz, such as speech_commands_v0.02/yes/aa01_nohash_0.wav" in noticed.err
    (words / "up" / "aa01_nohash_0.wav").write_bytes(b"not a recording at all")
    stopped = call("data", "info", "--data", tmp_path)
    assert (stopped.code, stopped.out) == (1, "")
    assert "up/aa01_nohash_0.wav as audio" in stopped.error
    skipped = call("data", "info", "--data", tmp_path, "--skip-corrupt")
    assert skipped.code == 0
    assert "1 clips can't be read and were skipped: speech_commands_v0.02/up/aa01_nohash_0.wav." in skipped.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("info", "speech_comands"), "Did you mean 'speech_commands'?"),
        (("prepare", "mnist"), "Unknown data set"),
        (("info", "--data", "nowhere"), "which does not exist"),
        (("info", "--classes", "10"), "`classes` of load_speech_commands must be one of 12, 35"),
        (("info", "synthetic_speech", "--classes", "35"), "Unknown option of synthetic_speech"),
        (("info", "synthetic_speech", "--data", "nowhere"), "is generated and reads no folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_input_is_one_sentence(call: Call, words: tuple[str, ...], says: str) -> None:
    answer = call("data", *words)
    assert (answer.code, answer.out) == (1, "")
    assert says in answer.error


def test_usage_errors_exit_2(call: Call) -> None:
    assert call("data", "info", "--classes", "many").code == 2
    assert call("data", "shred").code == 2
    assert call("data").code == 2
