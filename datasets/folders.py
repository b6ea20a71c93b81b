"""Data sets that lie in folders named after their classes, with or without folders for the splits above them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from analognets.datasets.base import DatasetInfo, Split
from analognets.datasets.notes import Notes, readable
from analognets.datasets.speech_layout import NOISE_FOLDER, Clip, hash_percent
from analognets.errors import DataError, check_choice, check_number, reason

__all__ = [
    "SPLITS",
    "Folders",
    "Item",
    "SplitRule",
    "describe_splits",
    "find_classes",
    "folder_info",
    "read_folders",
    "require_all",
    "split_items",
]

SPLITS = ("train", "validation", "test")
_SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}

_SIDE_FILES = ("", "thumbs", "desktop", "readme", "license", "licence")


class Item(NamedTuple):
    """A file of a class: `name` is class/file, or class/split/file where the files were split already."""

    path: Path
    folder: str
    name: str

    @property
    def speaker(self) -> str:
        """The speaker's identifier in <speaker>_nohash_<n>; "" if the file name holds none."""
        return Clip(*self).speaker


@dataclass(frozen=True)
class Folders:
    """What lies in a folder of folders.

    Args:
        root: the folder.
        items: files by split; under "" those that no split folder holds.
        others: folders that hold no file of the kind.
        endings: other files in class folders.
        loose: files of the kind in no class folder.
        links: links to folders that were not entered, and links that lead nowhere.
    """

    root: Path
    items: dict[str, tuple[Item, ...]]
    others: tuple[str, ...]
    endings: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()
    links: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The class folders, sorted."""
        return tuple(sorted({item.folder for items in self.items.values() for item in items}))

    def note(self, notes: Notes) -> None:
        """Tell what was left out while the folders were read."""
        for kind in ("endings", "loose", "links"):
            notes.extend(kind, getattr(self, kind))


@dataclass(frozen=True)
class SplitRule:
    """How files without a split get one: by the SHA-1 of a name, so that new files don't move the old ones.

    Args:
        validation_share: share for validation, 0.01 to 0.5.
        test_share: share for testing, 0.01 to 0.5.
        split_by: "speaker": all files of a speaker (<speaker>_nohash_<n>) go together; "file": each file by its own
            name; None: "speaker" if every file names one.

    Raises:
        InvalidArgumentError: a value is not allowed.

    Source: hash rule of Speech Commands (Warden, arXiv:1804.03209), our code; what follows from it is our own.
    """

    validation_share: float = 0.1
    test_share: float = 0.1
    split_by: str | None = None

    def __post_init__(self) -> None:
        check_number("SplitRule", "validation_share", self.validation_share, 0.01, 0.5)
        check_number("SplitRule", "test_share", self.test_share, 0.01, 0.5)
        check_choice("SplitRule", "split_by", self.split_by, (None, "speaker", "file"))


def read_folders(data_dir: Path | str, suffixes: Sequence[str], *, what: str) -> Folders:
    """Return the files in DIR/<class>/ or DIR/{train,validation,test}/<class>/, folders below those included.

    "val" and "valid" stand for "validation", "training" for "train", "testing" for "test". Hidden files and folders
    are left out.

    Args:
        data_dir: the folder.
        suffixes: of files that count, lower case, such as ".png".
        what: what they are, for messages: "pictures" or "recordings".

    Raises:
        DataError: there is no such folder, or no such file in it, or files stand both in and beside split folders.
    """
    root = Path(data_dir).expanduser()
    try:
        if not os.path.isdir(root):
            raise DataError(f"A folder of {what} is needed. Received: {root}, which does not exist or is no folder.")
        found = _Found(root, tuple(suffixes))
        items, split_folders = _sort(found)
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"The folder {root} can't be read: {reason(error)}. Check who may read it.") from error
    beside = [item.folder for item in items.get("", ()) if item.folder != NOISE_FOLDER]
    if split_folders and beside:
        raise DataError(
            f"{root} holds the split folder {split_folders[0].name}/ and, beside it, {what} in the class folder "
            f"{beside[0]}/. Sort all of them into splits, or none."
        )
    if not items:
        raise DataError(
            f"{root} holds no {what} ({', '.join(suffixes)}) in folders named after their classes, such as cat/ and "
            "dog/, nor in such folders below train/, validation/ and test/."
        )
    left_out = (tuple(sorted(names)) for names in (found.endings, found.loose, found.links))
    return Folders(root, items, tuple(found.others), *left_out)


class _Found:
    """Looks into folders, and keeps the names of what is left out."""

    def __init__(self, root: Path, suffixes: tuple[str, ...]) -> None:
        self.root, self.suffixes = root, suffixes
        self.others: list[str] = []
        self.endings: list[str] = []
        self.loose: list[str] = []
        self.links: list[str] = []

    def name(self, path: Path) -> str:
        """Return a path below the root as text."""
        return readable(path.relative_to(self.root).as_posix())

    def subfolders(self, folder: Path, *, tell: bool = False) -> list[Path]:
        """Return the folders in a folder, links to folders included; what else is there is told if asked for."""
        found = []
        for path in sorted(folder.iterdir()):
            if path.name.startswith("."):
                continue
            if path.is_dir():
                found.append(path)
            elif tell and path.is_symlink() and not path.exists():
                self.links.append(self.name(path))
            elif tell and path.name.lower().endswith(self.suffixes):
                self.loose.append(self.name(path))
        return found

    def files(self, folder: Path) -> list[Path]:
        """Return the files of the kind in a folder and the folders below it."""
        found = []
        for place, folders, names in os.walk(folder, onerror=_raise):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            self.links += [self.name(Path(place, name)) for name in folders if Path(place, name).is_symlink()]
            for name in names:
                if name.lower().endswith(self.suffixes) and not name.startswith("."):
                    found.append(Path(place, name))
                elif name.lower().partition(".")[0] not in _SIDE_FILES:  # which is "" for hidden files
                    self.endings.append(self.name(Path(place, name)))
        return found


def _raise(error: OSError) -> None:
    raise error


def _sort(found: _Found) -> tuple[dict[str, tuple[Item, ...]], list[Path]]:
    """Return the files by split, and the folders of splits."""
    inside: dict[str, list[Item]] = {}
    top = found.subfolders(found.root, tell=True)
    split_folders = [folder for folder in top if folder.name.lower() in _SPLIT_FOLDERS and found.subfolders(folder)]
    for folder in top:
        split = _SPLIT_FOLDERS[folder.name.lower()] if folder in split_folders else ""
        for class_folder in found.subfolders(folder, tell=True) if split else [folder]:
            files = found.files(class_folder)
            if not files and not class_folder.name.startswith("_"):
                found.others.append(found.name(class_folder))
            if files and readable(class_folder.name) != class_folder.name:
                raise DataError(
                    f"The name of a class folder must be UTF-8 without control characters. Received: "
                    f"'{found.name(class_folder)}' in {readable(str(found.root))}. Rename it."
                )
            for path in files:
                rest = readable(path.relative_to(class_folder).as_posix())
                name = f"{class_folder.name}/{folder.name}/{rest}" if split else f"{class_folder.name}/{rest}"
                inside.setdefault(split, []).append(Item(path, class_folder.name, name))
    return {split: tuple(sorted(items, key=lambda item: item.name)) for split, items in inside.items()}, split_folders


def find_classes(folders: Folders, wanted: Sequence[str] | None, *, what: str) -> tuple[str, ...]:
    """Return the class folders to use: those of `wanted` in that order, or all that don't start with "_", sorted.

    Raises:
        DataError: one that is wanted does not exist; the message names those that do. Or there are fewer than two.
    """
    there = folders.classes
    usual = tuple(name for name in there if not name.startswith("_"))
    if wanted is None:
        return usual
    names = tuple(str(name) for name in wanted)
    for name in names:
        if name not in there:
            raise DataError(
                f"{folders.root} holds no class {name!r} with {what}. Classes there: {', '.join(usual)}. "
                f"Received: classes={list(names)!r}."
            )
    if len(set(names)) < len(names):
        raise DataError(f"`classes` must name each class once. Received: classes={list(names)!r}.")
    return names


def split_items(folders: Folders, rule: SplitRule, *, what: str) -> tuple[dict[str, list[Item]], tuple[str, ...]]:
    """Return the items of each split, and one sentence on each split that had to be made.

    A split that has no folder of its own is cut from the training files by hash. By "file" no class stays without a
    file in a split that is made, if it has three files.

    Raises:
        DataError: there is no training folder beside validation/ or test/.
    """
    given = {split: list(folders.items[split]) for split in SPLITS if folders.items.get(split)}
    pool = list(folders.items.get("", ())) or given.pop("train", [])
    if not pool:
        raise DataError(f"{folders.root} holds {', '.join(given)} but no training {what}. Add a folder train/.")
    shares = {"validation": rule.validation_share, "test": rule.test_share}
    missing = {split: share for split, share in shares.items() if split not in given}
    by_speaker = rule.split_by == "speaker" or (rule.split_by is None and all(item.speaker for item in pool))
    made = _cut(pool, missing, by_speaker)
    if missing and not by_speaker:
        _even_out(made, [*missing])
    notes = tuple(
        f"There is no {split} folder: {len(made[split])} of {len(pool)} {what} were set aside for it, by a "
        f"hash of the {'speaker' if by_speaker else 'file name'}."
        for split in missing
    )
    return {split: made[split] if split in made else given[split] for split in SPLITS}, notes


def _cut(pool: list[Item], shares: dict[str, float], by_speaker: bool) -> dict[str, list[Item]]:
    made: dict[str, list[Item]] = {"train": [], **{split: [] for split in shares}}
    for item in pool:
        place = hash_percent(item.speaker or item.name if by_speaker else item.name)
        chosen = "train"
        for split, share in shares.items():
            if place < 100 * share:
                chosen = split
                break
            place -= 100 * share
        made[chosen].append(item)
    return made


def _even_out(made: dict[str, list[Item]], splits: list[str]) -> None:
    """Give each class at least one file in each of `splits`, from training: the one whose hash is the lowest."""
    for folder in sorted({item.folder for items in made.values() for item in items}):
        for split in splits:
            spare = [item for item in made["train"] if item.folder == folder]
            if len(spare) > 1 and not any(item.folder == folder for item in made[split]):
                moved = min(spare, key=lambda item: hash_percent(item.name))
                made["train"].remove(moved)
                made[split].append(moved)


def require_all(splits: dict[str, list[Item]], classes: Sequence[str], *, what: str) -> tuple[str, ...]:
    """Return one sentence on each class that a held-out split lacks.

    Raises:
        DataError: there are fewer than two classes, a split is empty, or a class has nothing to learn from.
    """
    if len(classes) < 2:
        raise DataError(f"At least two classes of {what} are needed. Received: {', '.join(classes) or 'none'}.")
    notes = []
    for split in SPLITS:
        there = {item.folder for item in splits[split]}
        lost = [name for name in classes if name not in there]
        if not there or (lost and split == "train"):
            kept = ", ".join(f"{len(items)} {name}" for name, items in splits.items())
            raise DataError(
                f"The {split} split has no {what}{'' if not there else f' of {lost[0]!r}'}. Add more (at least some "
                f"twenty of each class), from more speakers if split_by is 'speaker', or sort them into train/, "
                f"validation/ and test/ yourself. Received: {kept}."
            )
        if lost:
            notes.append(f"The {split} split has no {what} of: {', '.join(lost)}.")
    return tuple(notes)


def describe_splits(splits: Mapping[str, Sequence[Any] | Split], *, what: str) -> str:
    """Return the counts of the splits as words for a statement."""
    sizes = zip((splits[split] for split in SPLITS), ("training", "validation", "test"), strict=True)
    return ", ".join(f"{len(split):,} {name}" for split, name in sizes) + f" {what}"


def folder_info(
    root: Path, statement: str, notes: Sequence[str], *, licence: str, citation: str, homepage: str
) -> DatasetInfo:
    """Return what may be said about a user's folder: what the user said, and "not stated" for the rest."""
    return DatasetInfo(
        readable(root.absolute().name),
        "",
        homepage,
        licence or "not stated",
        citation or "not stated",
        statement,
        synthetic=False,
        notes=tuple(notes),
    )
