"""Which clip of Speech Commands v0.02 stands in which split, read from the folders of the official archives."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from analognets.core.files import open_plain
from analognets.datasets.base import KWS_CLASSES
from analognets.errors import DataError, reason

__all__ = [
    "KEYWORDS",
    "NOISE_FOLDER",
    "SILENCE",
    "TEST_FOLDER",
    "TRAIN_FOLDER",
    "UNKNOWN",
    "WORDS",
    "Clip",
    "Layout",
    "find_folders",
    "hash_percent",
    "official_split",
]

TRAIN_FOLDER = "speech_commands_v0.02"
TEST_FOLDER = "speech_commands_test_set_v0.02"
NOISE_FOLDER = "_background_noise_"
SILENCE, UNKNOWN = "_silence_", "_unknown_"
KEYWORDS = KWS_CLASSES[:10]
WORDS = tuple(
    "backward bed bird cat dog down eight five follow forward four go happy house learn left marvin nine no off on one "
    "right seven sheila six stop three tree two up visual wow yes zero".split()
)
"""The 35 words of the data set; the position is the label of the 35-class view."""

_HASH_MODULUS = 2**27
_MOST_LIST = 1 << 26


class Clip(NamedTuple):
    """A recording of one word: `name` is word/file, the same in the training and in the test archive."""

    path: Path
    word: str
    name: str

    @property
    def speaker(self) -> str:
        """The speaker's identifier; "" if the file name holds none."""
        speaker, found, _ = self.name.rpartition("/")[2].partition("_nohash_")
        return speaker if found else ""


def hash_percent(name: str) -> float:
    """Return the place that the SHA-1 of a name gives it, 0 to 100: the same on every machine, whoever else is there.

    Source: README of Speech Commands v0.02 (its rule, our code).
    """
    place = int(hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest(), 16) % _HASH_MODULUS
    return place * 100.0 / (_HASH_MODULUS - 1)


def official_split(speaker: str) -> str:
    """Return the split the data set's own rule gives a speaker: 10 % validation, 10 % test, by `hash_percent`."""
    percent = hash_percent(speaker)
    return "validation" if percent < 10 else "test" if percent < 20 else "train"


def find_folders(data_dir: Path | str) -> tuple[Path, Path | None]:
    """Return the folder of the training archive and that of the test archive, if there is one.

    Args:
        data_dir: the folder that holds both, or the one of the training archive itself.

    Raises:
        DataError: there is no training archive.
    """
    root = Path(data_dir).expanduser()
    train = root / TRAIN_FOLDER
    if not os.path.isdir(train) and os.path.isfile(root / "validation_list.txt"):
        train = root
    if not os.path.isdir(train):
        state = "which does not exist" if not os.path.isdir(root) else "which holds no such folder"
        raise DataError(
            f"Speech Commands needs a folder that holds {TRAIN_FOLDER}/ (word folders, validation_list.txt, "
            f"testing_list.txt, {NOISE_FOLDER}/) and, if at hand, {TEST_FOLDER}/. Received: {root}, {state}. "
            "Unpack the official archives there, or run `analognets data prepare speech_commands` to download them."
        )
    train = train.absolute()
    test = train.parent / TEST_FOLDER
    return train, (test if os.path.isdir(test) else None)


@dataclass(frozen=True)
class Layout:
    """The clips of Speech Commands by split, before any class is formed.

    Args:
        train: clips that neither list names.
        validation: clips of validation_list.txt.
        listed_test: clips of testing_list.txt.
        archive_test: clips of the test archive, silence and unknown words included; None without that archive.
        noise: the recordings of _background_noise_.
        notes: what was left out.
    """

    train: tuple[Clip, ...]
    validation: tuple[Clip, ...]
    listed_test: tuple[Clip, ...]
    archive_test: tuple[Clip, ...] | None
    noise: tuple[Path, ...]
    notes: tuple[str, ...]

    @classmethod
    def read(cls, train_dir: Path, test_dir: Path | None, *, missing: str = "error") -> Layout:
        """Read lists and folders.

        Args:
            train_dir: the training archive's folder.
            test_dir: the test archive's folder, or None.
            missing: "error", or "skip" to go on without clips that a list names and the folders do not hold.

        Raises:
            DataError: a list, a folder or a listed clip is missing, or both lists name the same clip.
        """
        notes: list[str] = []
        clips = {clip.name: clip for clip in _word_clips(train_dir, notes)}
        if not clips:
            raise DataError(f"{train_dir} holds no .wav clips in folders named after words, such as down/ and go/.")
        lists = {name: _read_list(train_dir / f"{name}_list.txt") for name in ("validation", "testing")}
        both = sorted(set(lists["validation"]) & set(lists["testing"]))
        if both:
            raise DataError(f"{len(both)} clips stand in both lists of {train_dir}, such as {both[0]!r}.")
        for name, listed in lists.items():
            lost = [clip for clip in listed if clip not in clips]
            if not lost:
                continue
            text = f"{len(lost)} clips of {name}_list.txt are not in {train_dir}, such as {lost[0]!r}."
            if missing == "error":
                raise DataError(f"{text} Unpack the archive again, or pass on_corrupt='skip' to go on without them.")
            notes.append(text)
            lists[name] = [clip for clip in listed if clip in clips]
        held = {*lists["validation"], *lists["testing"]}
        return cls(
            tuple(clip for name, clip in clips.items() if name not in held),
            tuple(clips[name] for name in lists["validation"]),
            tuple(clips[name] for name in lists["testing"]),
            _archive_clips(test_dir) if test_dir else None,
            tuple(_wavs(train_dir / NOISE_FOLDER)),
            tuple(notes),
        )

    @property
    def recordings(self) -> int:
        """Number of word recordings in the training archive's folder."""
        return len(self.train) + len(self.validation) + len(self.listed_test)


def _wavs(folder: Path) -> list[Path]:
    if not os.path.isdir(folder):
        raise DataError(f"Speech Commands is not complete: there is no folder {folder}. Unpack the archive again.")
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.name.lower().endswith(".wav"))
    return [folder / name for name in names if not name.startswith(".")]


def _word_clips(root: Path, notes: list[str]) -> Iterable[Clip]:
    others = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        if folder.name in WORDS:
            yield from (Clip(path, folder.name, f"{folder.name}/{path.name}") for path in _wavs(folder))
        elif not folder.name.startswith(("_", ".")):
            others.append(folder.name)
    if others:
        notes.append(f"Folders that are no word of the data set were left out: {', '.join(others)}.")


def _archive_clips(root: Path) -> tuple[Clip, ...]:
    clips = []
    for word in (*KEYWORDS, SILENCE, UNKNOWN):
        for path in _wavs(root / word):
            spoken, _, rest = path.name.partition("_")
            if word == UNKNOWN and spoken in WORDS and rest:
                clips.append(Clip(path, spoken, f"{spoken}/{rest}"))
            else:
                clips.append(Clip(path, word, f"{word}/{path.name}"))
    return tuple(clips)


def _read_list(path: Path) -> list[str]:
    try:
        with open_plain(path, limit=_MOST_LIST, error=DataError) as file:
            lines = file.read().decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"Can't read {path}, which names the clips of a split: {reason(error)}. Unpack it again."
        ) from error
    return list(dict.fromkeys(line.strip().replace("\\", "/") for line in lines if line.strip()))
