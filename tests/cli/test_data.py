"""`analognets data`: what is there, what it holds, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from analognets.datasets import coco, speech_commands

Call = Callable[..., Any]


def test_list(call: Call) -> None:
    answer = call("data", "list")
    assert answer.code == 0
    assert "speech_commands" in answer.out and "synthetic_speech" in answer.out
    assert set(json.loads(call("data", "list", "--json").out)) == {
        "audio_folder",
        "cifar10",
        "mnist",
        "coco_vww",
        "image_folder",
        "speech_commands",
        "synthetic_persons",
        "synthetic_speech",
        "visual_wake_words",
    }


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
        (("prepare", "imagenet"), "Unknown data set"),
        (("info", "--data", "nowhere"), "which does not exist"),
        (("info", "--classes", "10"), "`classes` of load_speech_commands must be one of 12, 35"),
        (("info", "--classes", "many"), "`classes` of load_speech_commands must be one of 12, 35"),
        (("info", "synthetic_speech", "--classes", "35"), "Unknown option of synthetic_speech"),
        (("info", "synthetic_persons", "--set", "sise=32"), "Unknown option of synthetic_persons. Did you mean 'size'"),
        (("info", "synthetic_persons", "--set", "size"), "a dotted key, '=' and a value"),
        (("info", "visual_wake_words"), "needs a folder that holds person/ and non_person/"),
        (("info", "coco_vww", "--data", "nowhere"), "`analognets data prepare coco_vww`"),
        (("prepare", "image_folder"), "name a folder that holds one folder a class"),
        (("info", "synthetic_speech", "--data", "nowhere"), "is generated and reads no folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_input_is_one_sentence(call: Call, words: tuple[str, ...], says: str) -> None:
    answer = call("data", *words)
    assert (answer.code, answer.out) == (1, "")
    assert says in answer.error


def test_usage_errors_exit_2(call: Call) -> None:
    assert call("data", "shred").code == 2
    assert call("data").code == 2


def test_pictures_in_folders(call: Call, recordings: ModuleType, tmp_path: Path) -> None:
    root = recordings.build_pictures(tmp_path / "yard", {"person": 30, "non_person": 30, "dog": 9})
    answer = call("data", "prepare", "visual_wake_words", "--data", root)
    assert answer.code == 0, answer.err
    rows = {line.split()[0]: line.split()[1:] for line in answer.out.splitlines() if line.strip()}
    assert sum(map(int, rows["all"])) == 60
    assert "don't take them for COCO's" in answer.out and "Licence: not stated" in answer.out
    assert "left out: dog" in answer.err
    assert answer.out.splitlines()[-1] == f"Next: analognets train vww --data {root}"
    own = (
        "data",
        "info",
        "image_folder",
        "--data",
        root,
        "--classes",
        "dog,person",
        "--set",
        "size=[16, 20]",
        "--json",
    )
    found = json.loads(call(*own, "--quiet").out)
    assert found["clips"]["dog"]["train"] + found["clips"]["person"]["train"] == found["clips"]["all"]["train"]
    assert found["name"] == "yard"
    wrong = call("data", "info", "image_folder", "--data", root, "--classes", "cat,person")
    assert "holds no class 'cat' with pictures. Classes there: dog, non_person, person." in wrong.error


def test_words_in_folders(call: Call, recordings: ModuleType, tmp_path: Path) -> None:
    for word in ("on", "off", "cat"):
        for number in range(12):
            recordings.write(tmp_path / "own" / word / f"{number}.wav", recordings.tone(f"{word}{number}"))
    words = (
        "data",
        "prepare",
        "audio_folder",
        "--data",
        tmp_path / "own",
        "--classes",
        "on,off",
        "--set",
        "unknown=true",
    )
    answer = call(*words)
    assert answer.code == 0, answer.err
    assert [line.split()[0] for line in answer.out.splitlines() if "   " in line.strip()][:4] == [
        "class",
        "on",
        "off",
        "unknown",
    ]


def test_drawn_persons_and_what_next(call: Call) -> None:
    options = ("--set", "pictures_per_class=3", "--set", "held_out_per_class=1", "--set", "size=16")
    answer = call("data", "prepare", "synthetic_persons", *options)
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[-1] == "Next: analognets train vww --data synthetic"


def test_coco_is_downloaded_with_its_year(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(*, progress: Callable[[int, int], None], **options: Any) -> None:
        progress(1, 1)
        asked.append(options)

    monkeypatch.setenv("ANALOGNETS_CACHE", str(tmp_path))
    monkeypatch.setattr(coco, "download", download)
    answer = call("data", "prepare", "coco_vww", "--set", "year=2014", "--set", "size=64")
    assert asked == [{"year": 2014}]
    assert "coco_2014, which has no annotations/instances_train2014.json" in answer.error


def test_every_data_set_that_names_a_recipe_names_one_that_is_there() -> None:
    from analognets.cli.data import DOWNLOADS, RECIPES
    from analognets.datasets.registry import list_datasets
    from analognets.zoo.tasks import list_recipes

    assert {*RECIPES, *DOWNLOADS} <= set(list_datasets())
    assert {words.split()[0] for words in RECIPES.values()} <= set(list_recipes())


def test_what_looks_wrong_is_printed_once(call: Call, recordings: ModuleType, tmp_path: Path) -> None:
    for word in ("on", "off"):
        for number in range(8):
            recordings.write(tmp_path / word / f"{number}.wav", recordings.tone(f"{word}{number}"))
    recordings.write(tmp_path / "on" / "3.wav", 0 * recordings.tone(""))
    (tmp_path / "off" / "x.mp3").write_bytes(b"?")
    answer = call("data", "info", "audio_folder", "--data", tmp_path)
    assert answer.code == 0, answer.err
    warned = [line for line in answer.err.splitlines() if "Warning" in line]
    assert len(warned) == 2
    assert "1 files were left out" in warned[0] and "off/x.mp3" in warned[0]
    assert "1 clips hold next to no sound" in warned[1] and "on/3.wav" in warned[1]
