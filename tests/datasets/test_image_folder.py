"""Pictures in folders: classes, splits that stay, sizes, honest statements, and what is wrong in plain words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analognets.datasets.base import TaskData, shared_names
from analognets.datasets.folders import Item, SplitRule, read_folders, split_items
from analognets.datasets.image_folder import load_image_folder, load_visual_wake_words
from analognets.datasets.registry import load_dataset
from analognets.errors import DataError, InvalidArgumentError, UnknownNameError

Build = Callable[..., Path]


def load(root: Path, **options: Any) -> TaskData:
    return load_image_folder(root, **{"cache": False, **options})


def by_name(data: TaskData) -> dict[str, str]:
    return {name: split for split, part in data.splits.items() for name in part.names}


def test_classes_labels_and_pixels(pictures: Build) -> None:
    from PIL import Image

    root = pictures({"dog": 30, "cat": 30, "_drafts": 2})
    data = load(root)
    assert (data.kind, data.classes, data.name) == ("image", ("cat", "dog"), "data")
    assert data.train.inputs.dtype == np.uint8 and data.train.inputs.shape[1:] == (24, 32, 3)
    assert sum(len(part) for part in data.splits.values()) == 60
    for part in data.splits.values():
        assert set(part.labels) == {0, 1}
        assert all(
            data.classes[label] == name.split("/")[0] for label, name in zip(part.labels, part.names, strict=True)
        )
        np.testing.assert_array_equal(part.inputs[0], np.asarray(Image.open(root / part.names[0])))
    assert not any(name.startswith("_") for name in by_name(data))
    swapped = load(root, classes=["dog", "cat"])
    assert swapped.classes == ("dog", "cat")
    np.testing.assert_array_equal(swapped.test.labels, 1 - data.test.labels)
    assert load(root, classes=["dog", "_drafts"]).classes == ("dog", "_drafts")


def test_new_pictures_do_not_move_the_old_ones(pictures: Build) -> None:
    root = pictures({"cat": 120, "dog": 120})
    before = by_name(load(root))
    shares = np.array([list(before.values()).count(split) for split in ("validation", "test")]) / 240
    assert (np.abs(shares - 0.1) < 4 * np.sqrt(0.09 / 240)).all()
    pictures({"cat": 160, "bird": 30})
    after = by_name(load(root))
    assert len(after) == 240 + 70
    assert {name: after[name] for name in before} == before
    wider = load(root, validation_share=0.3, test_share=0.02)
    assert len(wider.validation) > 2 * len(wider.test) > 0


def test_split_folders_stay_and_what_lacks_is_cut_from_training(pictures: Build) -> None:
    root = pictures({"train/cat": 40, "train/dog": 40, "test/cat": 5, "test/dog": 6})
    data = load(root)
    assert (len(data.train) + len(data.validation), len(data.test)) == (80, 11)
    assert len(data.validation) > 1
    assert all(name.split("/")[1] == "test" for name in data.test.names)
    assert "There is no validation folder" in data.info.statement
    assert not shared_names(data.train, data.validation)
    pictures({"val/cat": 3, "val/dog": 4})
    data = load(root)
    assert [len(part) for part in data.splits.values()] == [80, 7, 11]
    assert "There is no" not in data.info.statement


def test_a_small_class_has_a_picture_in_every_split(pictures: Build) -> None:
    data = load(pictures({name: 4 for name in "abcdefgh"}))
    for part in data.splits.values():
        assert set(part.labels) == set(range(8))


def test_a_class_of_one_picture_is_noted(pictures: Build) -> None:
    data = load(pictures({"cat": 9, "dog": 1}))
    assert [note for note in data.info.notes if note.endswith("has no pictures of: dog.")]


def test_pictures_of_several_sizes_are_brought_to_one(pictures: Build) -> None:
    root = pictures({"cat": 12})
    pictures({"dog": 12}, size=(40, 20))
    data = load(root)
    assert data.train.inputs.shape[1:] == (96, 96, 3)
    assert any("several sizes; they were stretched to 96 x 96" in note for note in data.info.notes)
    assert load(root, size=16).train.inputs.shape[1:] == (16, 16, 3)
    cropped = load(root, size=[20, 30], fit="crop")
    assert cropped.train.inputs.shape[1:] == (20, 30, 3)
    assert not any("several sizes" in note for note in cropped.info.notes)


def test_a_broken_picture_stops_or_is_left_out(pictures: Build) -> None:
    root = pictures({"cat": 20, "dog": 20})
    (root / "cat" / "cat_003.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"cat_003.png: it is no picture"):
        load(root)
    data = load(root, on_corrupt="skip")
    assert sum(len(part) for part in data.splits.values()) == 39
    assert "cat/cat_003.png" not in by_name(data)
    assert any("1 pictures can't be read and were skipped: cat/cat_003.png" in note for note in data.info.notes)


def test_the_cache_gives_the_same(pictures: Build, tmp_path: Path) -> None:
    root = pictures({"cat": 12, "dog": 12})
    done: list[tuple[int, int]] = []
    first = load(root, cache=True, cache_dir=tmp_path / "cache", progress=lambda *count: done.append(count))
    assert done[-1] == (24, 24) and [count for count, _ in done] == sorted(count for count, _ in done)
    again = load(root, cache=True, cache_dir=tmp_path / "cache")
    for one, other in zip(first.splits.values(), again.splits.values(), strict=True):
        np.testing.assert_array_equal(one.inputs, other.inputs)
        assert isinstance(other.inputs.base, np.memmap) or not other.inputs.flags.writeable


def test_statement_says_what_was_said(pictures: Build) -> None:
    root = pictures(
        {"train/person": 20, "train/non_person": 20, "test/person": 4, "test/non_person": 4, "train/dog": 2}
    )
    data = load_visual_wake_words(root, cache=False)
    assert data.classes == ("non_person", "person")
    assert data.name == "data" and "COCO" in data.info.statement and "don't take them for COCO's" in data.info.statement
    assert data.info.licence == "not stated" and data.info.synthetic is False
    assert data.info.notes == ("Folders that are no class here were left out: dog.",)
    told = load_visual_wake_words(root, cache=False, source="Drawn by the tests.", licence="CC0", homepage="https://x")
    assert told.info.statement.startswith("Drawn by the tests. 2 classes: ")
    assert "COCO" not in told.info.statement
    assert (told.info.licence, told.info.homepage) == ("CC0", "https://x")


def test_without_split_folders_as_in_mlperf_tiny(pictures: Build) -> None:
    data = load_dataset("visual_wake_words", pictures({"person": 40, "non_person": 40}), cache=False)
    assert data.classes == ("non_person", "person")
    assert sum(map(len, data.splits.values())) == 80


@pytest.mark.parametrize(
    ("counts", "options", "message"),
    [
        ({"cat": 9, "dog": 9}, {"classes": ["cat", "dgo"]}, "no class 'dgo' with pictures. Classes there: cat, dog"),
        ({"cat": 9, "dog": 9}, {"classes": ["cat", "cat"]}, "name each class once"),
        ({"cat": 9}, {}, "At least two classes of pictures are needed. Received: cat"),
        (
            {"train/cat": 9, "dog": 9},
            {},
            "holds the split folder train/ and, beside it, pictures in the class folder dog/",
        ),
        ({"test/cat": 9, "test/dog": 9}, {}, "holds test but no training pictures"),
        (
            {"train/cat": 9, "train/dog": 9, "test/cat": 9, "test/bird": 9},
            {},
            "The train split has no pictures of 'bird'",
        ),
    ],
)
def test_what_can_not_be_is_said(
    pictures: Build, counts: dict[str, int], options: dict[str, Any], message: str
) -> None:
    root = pictures(counts)
    with pytest.raises(DataError, match=message):
        load(root, **options)


def test_empty_and_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pictures .*in folders named after their classes"):
        load(tmp_path)
    with pytest.raises(DataError, match="nowhere, which does not exist"):
        load(tmp_path / "nowhere")
    for loader in (load_image_folder, load_visual_wake_words):
        with pytest.raises(DataError, match="data_dir"):
            loader()
    with pytest.raises(UnknownNameError, match="Unknown option of image_folder. Did you mean 'classes'"):
        load_dataset("image_folder", tmp_path, clases=["a"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 2}, "`size` of load_image_folder"),
        ({"fit": "pad"}, "`fit` of read_pictures must be one of 'stretch', 'crop'"),
        ({"on_corrupt": "maybe"}, "`on_corrupt`"),
        ({"validation_share": 0.9}, "`validation_share` of SplitRule must be a number from 0.01 to 0.5"),
    ],
)
def test_wrong_options(pictures: Build, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        load(pictures({"cat": 9, "dog": 9}), **options)


def test_speakers_stay_together(tmp_path: Path) -> None:
    for word in ("on", "off"):
        (tmp_path / word).mkdir()
        for speaker in range(60):
            for number in range(2):
                (tmp_path / word / f"{speaker:04x}_nohash_{number}.wav").touch()
    folders = read_folders(tmp_path, (".wav",), what="clips")
    chosen, _ = split_items(folders, SplitRule(), what="clips")
    speakers = [{item.speaker for item in chosen[split]} for split in ("train", "validation", "test")]
    assert sum(map(len, speakers)) == len(set().union(*speakers)) == 60
    assert all(speakers)
    by_file, _ = split_items(folders, SplitRule(split_by="file"), what="clips")
    assert {item.speaker for item in by_file["train"]} & {item.speaker for item in by_file["test"]}
    assert Item(tmp_path, "on", "on/x.wav").speaker == ""


def test_the_real_stand_in(data_root: Path, tmp_path: Path) -> None:
    root = data_root / "people_vs_rest"
    if not root.is_dir():
        pytest.skip(f"needs people_vs_rest in {data_root}")
    data = load_visual_wake_words(root, cache_dir=tmp_path)
    assert len(data.test) == 522 and len(data.train) + len(data.validation) == 5065
    assert data.train.inputs.shape[1:] == (32, 32, 3)
    assert 400 < len(data.validation) < 610
    assert 0.45 < data.train.labels.mean() < 0.55
