"""Pictures in folders named after their classes: a user's own, or Visual Wake Words as MLPerf Tiny lays it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from analognets.datasets.base import Split, TaskData, check_disjoint
from analognets.datasets.clip_cache import ClipCache, cache_folder
from analognets.datasets.contents import note_contents
from analognets.datasets.file_reader import Progress
from analognets.datasets.folders import (
    SPLITS,
    Folders,
    Item,
    SplitRule,
    describe_splits,
    find_classes,
    folder_info,
    read_folders,
    require_all,
    split_items,
)
from analognets.datasets.image_io import DEFAULT_SIZE, check_size, common_size, read_pictures
from analognets.datasets.notes import Notes, readable
from analognets.errors import DataError

__all__ = ["SUFFIXES", "VWW_CLASSES", "load_image_folder", "load_visual_wake_words", "read_splits"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
"""Endings of the files that count as pictures."""

VWW_CLASSES = ("non_person", "person")
"""The classes of Visual Wake Words in MLPerf Tiny's order: `person` is label 1."""

KEEP = 8
"""How many arrays of pictures stay in the cache."""


def load_image_folder(
    data_dir: Path | str | None = None,
    *,
    classes: Sequence[str] | None = None,
    size: int | Sequence[int] | None = None,
    fit: str = "stretch",
    validation_share: float = 0.1,
    test_share: float = 0.1,
    source: str = "",
    licence: str = "",
    citation: str = "",
    homepage: str = "",
    on_corrupt: str = "error",
    cache_dir: Path | str | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> TaskData:
    """Return pictures from DIR/<class>/ or DIR/{train,validation,test}/<class>/ as uint8 RGB of one size.

    A split that has no folder is cut from the training pictures by a hash of the file name, the same on every machine.

    Args:
        data_dir: the folder; "val" stands for "validation".
        classes: names of the class folders to use; the position is the label. None: all of them, sorted.
        size: pixels, 8 to 1024, one number or height and width; None: the pictures' own size if all have the same,
            else 96 x 96.
        fit: "stretch" keeps all of a picture, so that what it shows stays in it; "crop" takes the largest middle part
            of the right shape.
        validation_share: of the pictures for validation where there is no such folder, 0.01 to 0.5.
        test_share: the same for testing.
        source: what the pictures are and where they come from, one sentence; stands first in the statement.
        licence: of the pictures.
        citation: how to cite them.
        homepage: address.
        on_corrupt: "error", or "skip" to leave out and note pictures that can't be read.
        cache_dir: where to cache what was read; None for $ANALOGNETS_CACHE or the system's cache folder.
        cache: False to write nothing to disk.
        progress: called with (pictures done, pictures in all).

    Raises:
        DataError: a folder, class or picture is missing or broken, or a split is empty.
        InvalidArgumentError: an argument is not allowed.

    Warns:
        DataWarning: something about the pictures is likely not as it should be.
    """
    if data_dir is None:
        raise DataError(
            "image_folder reads your own pictures: name a folder that holds one folder a class, such as cat/ and dog/, "
            "with data_dir (--data)."
        )
    rule = SplitRule(validation_share, test_share, "file")
    folders = read_folders(data_dir, SUFFIXES, what="pictures")
    about = {"licence": licence, "citation": citation, "homepage": homepage}
    store = (cache_folder(cache_dir) if cache else None, on_corrupt, progress)
    first = source or f"Pictures of a folder named {readable(folders.root.absolute().name)!r}."
    names = find_classes(folders, classes, what="pictures")
    return _load(folders, names, rule, (size, fit), store, first, about)


def load_visual_wake_words(
    data_dir: Path | str | None = None,
    *,
    size: int | Sequence[int] | None = None,
    fit: str = "stretch",
    validation_share: float = 0.1,
    test_share: float = 0.1,
    source: str = "",
    licence: str = "",
    citation: str = "",
    homepage: str = "",
    on_corrupt: str = "error",
    cache_dir: Path | str | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> TaskData:
    """Return pictures with and without a person, from a folder laid out as MLPerf Tiny's Visual Wake Words set.

    That is DIR/person/ and DIR/non_person/, or the same below train/, validation/ (or val/) and test/. The loader can't
    see where the pictures come from: unless `source` says so, nothing claims that they are those of COCO. To make the
    set from COCO itself, use "coco_vww".

    Args:
        data_dir: the folder.
        size: pixels, 8 to 1024, one number or height and width; None: the pictures' own size if all have the same,
            else 96 x 96.
        fit: "stretch" keeps all of a picture, so that no person is cut off; "crop" takes the largest middle part of the
            right shape.
        validation_share: of the pictures for validation where there is no such folder, 0.01 to 0.5.
        test_share: the same for testing.
        source: what the pictures are and where they come from, one sentence; stands first in the statement.
        licence: of the pictures.
        citation: how to cite them.
        homepage: address.
        on_corrupt: "error", or "skip" to leave out and note pictures that can't be read.
        cache_dir: where to cache what was read; None for $ANALOGNETS_CACHE or the system's cache folder.
        cache: False to write nothing to disk.
        progress: called with (pictures done, pictures in all).

    Raises:
        DataError: a folder or picture is missing or broken, or a split is empty.
        InvalidArgumentError: an argument is not allowed.

    Warns:
        DataWarning: something about the pictures is likely not as it should be.

    Source: layout and labels: Banbury et al., MLPerf Tiny Benchmark, arXiv:2106.07597; Chowdhery et al., Visual Wake
    Words Dataset, arXiv:1906.05721.
    """
    if data_dir is None:
        raise DataError(
            "visual_wake_words needs a folder that holds person/ and non_person/ (also below train/, validation/ and "
            "test/): name it with data_dir (--data). `analognets data prepare coco_vww` makes the set from COCO; "
            "synthetic_persons needs no data (--data synthetic)."
        )
    rule = SplitRule(validation_share, test_share, "file")
    folders = read_folders(data_dir, SUFFIXES, what="pictures")
    about = {"licence": licence, "citation": citation, "homepage": homepage}
    store = (cache_folder(cache_dir) if cache else None, on_corrupt, progress)
    first = source or (
        f"Pictures of a folder named {readable(folders.root.absolute().name)!r} in the layout of MLPerf Tiny's Visual "
        "Wake Words set; where they come from was not stated, so don't take them for COCO's."
    )
    names = find_classes(folders, VWW_CLASSES, what="pictures")
    return _load(folders, names, rule, (size, fit), store, first, about)


def _load(
    folders: Folders,
    classes: tuple[str, ...],
    rule: SplitRule,
    shape: tuple[int | Sequence[int] | None, str],
    store: tuple[Path | None, str, Progress | None],
    first: str,
    about: Mapping[str, str],
) -> TaskData:
    """Return the pictures of these classes; `store` holds cache folder, on_corrupt and progress."""
    used = Folders(
        folders.root,
        {split: tuple(i for i in items if i.folder in classes) for split, items in folders.items.items()},
        folders.others,
    )
    found = Notes("pictures", endings=" or ".join(SUFFIXES))
    folders.note(found)
    chosen, made = split_items(used, rule, what="pictures")
    missing = require_all(chosen, classes, what="pictures")
    left_out = [*folders.others, *(name for name in folders.classes if name not in classes)]
    notes = [f"Folders that are no class here were left out: {', '.join(left_out)}."] if left_out else []
    files = [item.path for split in SPLITS for item in chosen[split]]
    wanted = check_size("load_image_folder", shape[0])
    if wanted is None and (wanted := common_size(files)) is None:
        wanted = DEFAULT_SIZE
        how = "stretched" if shape[1] == "stretch" else "cropped and resized"
        notes.append(f"The pictures have several sizes; they were {how} to {wanted[0]} x {wanted[1]}.")
    splits, read_notes = read_splits(chosen, classes, folders.root, wanted, shape[1], *store, found)
    note_contents(splits, classes, found)
    statement = f"{first} {len(classes)} classes: {describe_splits(splits, what='pictures')}."
    info = folder_info(
        folders.root, " ".join([statement, *made]), (*notes, *missing, *found.sentences(), *read_notes), **about
    )
    data = TaskData(info.name, splits["train"], splits["validation"], splits["test"], classes, info=info)
    check_disjoint(data, speakers=False)
    found.warn(2)
    return data


def read_splits(
    chosen: Mapping[str, Sequence[Item]],
    classes: Sequence[str],
    root: Path,
    size: tuple[int, int],
    fit: str,
    folder: Path | None,
    on_corrupt: str,
    progress: Progress | None,
    told: Notes,
) -> tuple[dict[str, Split], list[str]]:
    """Return the pictures of each split, labelled by the position of their folder in `classes`, and notes on the cache.

    Args:
        chosen: items by split.
        classes: names of classes.
        root: folder the names in notes are relative to.
        size: height and width of the result.
        fit: "stretch" or "crop".
        folder: of all caches, or None to keep nothing.
        on_corrupt: "error" or "skip".
        progress: called with (done, total) over all splits.
        told: collects what is noticed.

    Raises:
        DataError: a picture can't be read and `on_corrupt` is "error", or none of a split can.
    """
    cache = ClipCache(folder / "pictures", KEEP, (*size, 3), "|u1") if folder else None
    total, done = sum(map(len, chosen.values())), 0
    splits: dict[str, Split] = {}
    notes: list[str] = []
    for split, items in chosen.items():

        def report(now: int, _: int, before: int = done) -> None:
            if progress:
                progress(before + now, total)

        files = [item.path for item in items]
        found = read_pictures(
            files,
            root=root,
            size=size,
            fit=fit,
            on_corrupt=on_corrupt,
            cache=cache,
            progress=report,
            notes=told,
        )
        done += len(items)
        notes += found.notes
        kept = [items[i] for i in found.kept]
        if not kept:
            raise DataError(f"No picture of the {split} split can be read. Received: {len(items)} files.")
        labels = np.array([classes.index(item.folder) for item in kept], np.int32)
        splits[split] = Split(found.inputs, labels, tuple(item.name for item in kept))
    return splits, list(dict.fromkeys(notes))
