"""A user's own recordings in folders named after their words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analognets.datasets.audio_io import ON_LONG, note_remarks, rate_remark, read_clips, read_recording
from analognets.datasets.base import CLIP_SAMPLES, SAMPLE_RATE, Split, TaskData, check_disjoint
from analognets.datasets.clip_cache import ClipCache, cache_folder
from analognets.datasets.contents import note_contents
from analognets.datasets.file_reader import Progress
from analognets.datasets.folders import (
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
from analognets.datasets.kws_rules import SilenceRule, cut_silence, region
from analognets.datasets.noise import recordings
from analognets.datasets.notes import Notes, readable
from analognets.datasets.speech_layout import NOISE_FOLDER, SILENCE, UNKNOWN
from analognets.errors import DataError, InvalidArgumentError, check_choice, check_integer

__all__ = ["SUFFIXES", "load_audio_folder"]

SUFFIXES = (".wav", ".flac")
"""Endings of the files that count as recordings."""

_NOISE_SECONDS = 30


def load_audio_folder(
    data_dir: Path | str | None = None,
    *,
    classes: Sequence[str] | None = None,
    unknown: bool = False,
    silence: bool = False,
    validation_share: float = 0.1,
    test_share: float = 0.1,
    split_by: str | None = None,
    seed: int = 0,
    source: str = "",
    licence: str = "",
    citation: str = "",
    homepage: str = "",
    on_corrupt: str = "error",
    on_long: str = "loudest",
    cache_dir: Path | str | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> TaskData:
    """Return recordings from DIR/<word>/ or DIR/{train,validation,test}/<word>/ as int16 clips of 1 s at 16 kHz.

    Short clips stand in the middle of zeros, of long ones the loudest second is kept, other rates are resampled,
    channels averaged. A split that has no folder is cut from the training clips by a hash of the speaker
    (<speaker>_nohash_<n>) or of the file name, the same on every machine. Recordings in DIR/_background_noise_/ are
    noise to mix in; without any, noise is generated. What looks wrong with the recordings (silent, saturated, of an
    unusual scale, left out, the same in two splits or classes) stands in `info.notes` and is warned of.

    Args:
        data_dir: the folder; "val" stands for "validation".
        classes: names of the word folders to use; the position is the label. None: all that don't start with "_",
            sorted.
        unknown: add the class `unknown`: the words that `classes` does not name, and the folder _unknown_.
        silence: add the class `silence`, as many clips as the other classes have on average, cut from the noise, and
            those of the folder _silence_.
        validation_share: of the clips for validation where there is no such folder, 0.01 to 0.5.
        test_share: the same for testing.
        split_by: "speaker", "file" or None: "speaker" if every file names one.
        seed: 0 to 2^32 - 1; decides which silence is cut.
        source: what the clips are and where they come from, one sentence; stands first in the statement.
        licence: of the clips.
        citation: how to cite them.
        homepage: address.
        on_corrupt: "error", or "skip" to leave out and note clips that can't be read.
        on_long: of a clip of more than 1 s keep the "loudest" or the "middle" second, or "error" to refuse it.
        cache_dir: where to cache what was read; None for $ANALOGNETS_CACHE or the system's cache folder.
        cache: False to write nothing to disk.
        progress: called with (clips done, clips in all).

    Raises:
        DataError: a folder, class or clip is missing or broken, or a split is empty.
        InvalidArgumentError: an argument is not allowed.

    Warns:
        DataWarning: something about the recordings is likely not as it should be.
    """
    if data_dir is None:
        raise DataError(
            "audio_folder reads your own recordings: name a folder that holds one folder a word, such as on/ and off/, "
            "with data_dir (--data)."
        )
    _check(seed, on_corrupt, on_long, unknown, silence)
    rule = SplitRule(validation_share, test_share, split_by)
    folders = read_folders(data_dir, SUFFIXES, what="recordings")
    found = Notes("clips", cut=on_long, endings=" or ".join(SUFFIXES))
    folders.note(found)
    noise_files = [item for items in folders.items.values() for item in items if item.folder == NOISE_FOLDER]
    names = find_classes(folders, classes, what="recordings")
    labels = _labels(folders, names, unknown, silence)
    used, left_out = _used(folders, labels)
    chosen, made = split_items(used, rule, what="recordings")
    missing = require_all(_renamed(chosen, labels), tuple(dict.fromkeys(labels.values())), what="recordings")
    store = ClipCache(cache_folder(cache_dir) / "clips") if cache else None
    final = (*names, *(["silence"] if silence else []), *(["unknown"] if unknown else []))
    reader = _Reader(folders.root, store, on_corrupt, on_long, progress, found)
    splits, notes = reader.splits(chosen, labels, final)
    note_contents(splits, final, found, quiet=("silence", SILENCE))
    noise, how = _noise(noise_files, seed, reader)
    if silence:
        splits = {name: _with_silence(split, name, noise, final, seed) for name, split in splits.items()}
    first = source or f"Recordings of a folder named {readable(folders.root.absolute().name)!r}."
    statement = " ".join([f"{first} {len(final)} classes: {describe_splits(splits, what='clips')}.", *made, how])
    told = (*left_out, *missing, *found.sentences(), *notes)
    info = folder_info(folders.root, statement, told, licence=licence, citation=citation, homepage=homepage)
    share = SilenceRule().train_share
    background = [sound[region(len(sound), "train", share)] for _, sound in sorted(noise.items())]
    data = TaskData(info.name, splits["train"], splits["validation"], splits["test"], final, background, info)
    check_disjoint(data, speakers=False)
    found.warn()
    return data


def _check(seed: int, on_corrupt: str, on_long: str, unknown: bool, silence: bool) -> None:
    owner = "load_audio_folder"
    check_integer(owner, "seed", seed, 0, 2**32 - 1)
    check_choice(owner, "on_corrupt", on_corrupt, ("error", "skip"))
    check_choice(owner, "on_long", on_long, ON_LONG)
    for name, value in (("unknown", unknown), ("silence", silence)):
        if not isinstance(value, bool):
            raise InvalidArgumentError(f"`{name}` of {owner} must be True or False. Received: {name}={value!r}.")


def _labels(folders: Folders, names: tuple[str, ...], unknown: bool, silence: bool) -> dict[str, str]:
    """Return the class of each folder that is used."""
    for made, asked in (("unknown", unknown), ("silence", silence)):
        if asked and made in names:
            raise InvalidArgumentError(
                f"The class {made!r} is a folder already; leave `{made}=True` out, or rename the folder to _{made}_. "
                f"Received: classes={list(names)!r}."
            )
    labels = {name: name for name in names}
    if unknown:
        rest = [name for name in folders.classes if name not in names and (name[0] != "_" or name == UNKNOWN)]
        if not rest:
            raise DataError(
                f"{folders.root} holds no recordings for the class `unknown`. Name fewer words with `classes`, add a "
                f"folder {UNKNOWN}, or leave `unknown` out. Received: classes={list(names)!r}."
            )
        labels |= {name: "unknown" for name in rest}
    if silence and SILENCE in folders.classes:
        labels[SILENCE] = "silence"
    return labels


def _used(folders: Folders, labels: Mapping[str, str]) -> tuple[Folders, list[str]]:
    kept = {
        split: tuple(item for item in items if item.folder in labels)
        for split, items in folders.items.items()
        if any(item.folder in labels for item in items)
    }
    out = [*folders.others, *(name for name in folders.classes if name not in labels and name != NOISE_FOLDER)]
    notes = [f"Folders that are no class here were left out: {', '.join(out)}."] if out else []
    return Folders(folders.root, kept, folders.others), notes


def _renamed(chosen: Mapping[str, Sequence[Item]], labels: Mapping[str, str]) -> dict[str, list[Item]]:
    return {split: [item._replace(folder=labels[item.folder]) for item in items] for split, items in chosen.items()}


@dataclass(frozen=True)
class _Reader:
    """Reads recordings with one progress count over all of them."""

    root: Path
    cache: ClipCache | None
    on_corrupt: str
    on_long: str
    progress: Progress | None
    notes: Notes

    def splits(
        self, chosen: Mapping[str, Sequence[Item]], labels: Mapping[str, str], classes: Sequence[str]
    ) -> tuple[dict[str, Split], list[str]]:
        """Return the clips of each split, and what is to be told about the cache."""
        total, done = sum(map(len, chosen.values())), 0
        splits: dict[str, Split] = {}
        told: list[str] = []
        for split, items in chosen.items():

            def report(now: int, _: int, before: int = done) -> None:
                if self.progress:
                    self.progress(before + now, total)

            found = read_clips(
                [item.path for item in items],
                root=self.root,
                on_corrupt=self.on_corrupt,
                on_long=self.on_long,
                cache=self.cache,
                progress=report,
                notes=self.notes,
            )
            done += len(items)
            told += found.notes
            kept = [items[i] for i in found.kept]
            if not kept:
                raise DataError(f"No recording of the {split} split can be read. Received: {len(items)} files.")
            numbers = np.array([classes.index(labels[item.folder]) for item in kept], np.int32)
            names, speakers = tuple(item.name for item in kept), tuple(item.speaker for item in kept)
            splits[split] = Split(found.inputs, numbers, names, speakers)
        return splits, list(dict.fromkeys(told))

    def noise(self, item: Item) -> np.ndarray | None:
        """Return a recording of noise, float32 in [-1, 1], or None if it can't be read and may be skipped."""
        try:
            found = read_recording(item.path)
        except DataError:
            if self.on_corrupt == "error":
                raise
            self.notes.add("skipped", item.name)
            return None
        note_remarks(self.notes, item.name, {**rate_remark(found), **found.remarks})
        return found.samples.astype(np.float32) / 32768


def _noise(items: Sequence[Item], seed: int, reader: _Reader) -> tuple[dict[str, np.ndarray], str]:
    """Return noise recordings by name, and a sentence that says where they come from."""
    long_enough = {}
    for item in items:
        samples = reader.noise(item)
        if samples is not None and len(samples) >= 10 * CLIP_SAMPLES:  # so that a tenth of it, for testing, is a clip
            long_enough[readable(item.path.stem)] = samples
    if long_enough:
        return long_enough, f"Noise comes from {len(long_enough)} recordings in {NOISE_FOLDER}."
    why = f"no recording of at least {10 * CLIP_SAMPLES // SAMPLE_RATE} s in {NOISE_FOLDER}"
    return recordings(_NOISE_SECONDS, seed), f"Noise is generated: there is {why}."


def _with_silence(split: Split, name: str, noise: Mapping[str, np.ndarray], classes: Sequence[str], seed: int) -> Split:
    label = classes.index("silence")
    there = int(np.sum(split.labels == label))
    count = max(0, round((len(split) - there) / (len(classes) - 1)) - there)
    audio, names = cut_silence(noise, name, count, SilenceRule(), seed)
    return Split(
        np.concatenate([split.inputs, audio]),
        np.concatenate([split.labels, np.full(count, label, np.int32)]),
        (*split.names, *names),
        (*split.speakers, *[""] * count),
    )
