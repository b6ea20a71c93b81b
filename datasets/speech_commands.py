"""Google Speech Commands v0.02: one-second recordings of 35 words, as a 12-class or a 35-class task."""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analognets.core.seeds import generator
from analognets.datasets.audio_io import Progress, note_remarks, rate_remark, read_clips, read_recording
from analognets.datasets.base import (
    KWS_CLASSES,
    DatasetInfo,
    Split,
    TaskData,
    check_disjoint,
    shared_speakers,
)
from analognets.datasets.clip_cache import ClipCache, cache_folder
from analognets.datasets.fetch import Archive, install
from analognets.datasets.kws_rules import SilenceRule, UnknownRule, as_rule, cut_silence, draw_evenly
from analognets.datasets.notes import Notes
from analognets.datasets.speech_layout import (
    KEYWORDS,
    TEST_FOLDER,
    TRAIN_FOLDER,
    WORDS,
    Clip,
    Layout,
    find_folders,
    official_split,
)
from analognets.errors import DataError, check_choice, check_integer

__all__ = ["ARCHIVES", "SilenceRule", "UnknownRule", "download", "load_speech_commands"]

HOMEPAGE = "https://arxiv.org/abs/1804.03209"
CITATION = "P. Warden, Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, arXiv:1804.03209 (2018)"
OFFICIAL_RECORDINGS = 105_829
"""Word recordings in the complete archive (Warden 2018)."""

# Sizes and sha256 as TensorFlow Datasets publishes them (url_checksums/speech_commands.txt).
ARCHIVES = (
    Archive(
        "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
        "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
        2_428_923_189,
        TRAIN_FOLDER,
    ),
    Archive(
        "http://download.tensorflow.org/data/speech_commands_test_set_v0.02.tar.gz",
        "cc2a00c1147c2254e9be3fa0f779d8c17421dc349b86366567a8edfa9acd51df",
        112_563_277,
        TEST_FOLDER,
    ),
)


def download(
    cache_dir: Path | str | None = None,
    *,
    progress: Progress | None = None,
    archives: Sequence[Archive] = ARCHIVES,
) -> Path:
    """Fetch both official archives (2.5 GB), check their sha256, unpack them, and return the folder that holds both.

    What is there already is not fetched again.

    Args:
        cache_dir: where to; None for $ANALOGNETS_CACHE or the system's cache folder.
        progress: called with (bytes done, bytes in all).
        archives: what to fetch.

    Raises:
        ChecksumError: an archive is not the published one.
        DataError: no network, no room on the disk, or an archive that can't be unpacked.
    """
    target = cache_folder(cache_dir) / "speech_commands"
    install(archives, target, progress=progress)
    return target


def load_speech_commands(
    data_dir: Path | str | None = None,
    *,
    classes: int = 12,
    seed: int = 0,
    silence: SilenceRule | Mapping[str, Any] | None = None,
    unknown: UnknownRule | Mapping[str, Any] | None = None,
    on_corrupt: str = "error",
    on_overlap: str = "error",
    cache_dir: Path | str | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> TaskData:
    """Return Speech Commands v0.02 as int16 clips of one second at 16 kHz, in its official splits.

    Validation is validation_list.txt; training is what no list names. The test split is the separate test archive
    when its folder stands beside the training archive's, else testing_list.txt. With 35 classes testing_list.txt
    comes first and the archive's words stand in where that list is empty. Short clips stand in the middle of zeros (no
    official one is longer than a second; of others the loudest second is kept), other rates are resampled, channels
    averaged; `info.notes` says so.

    Args:
        data_dir: folder that holds speech_commands_v0.02/ (and speech_commands_test_set_v0.02/), or the former
            itself; None for what `download` has put into the cache.
        classes: 12 (ten keywords, silence, unknown: `KWS_CLASSES`) or 35 (all words, in alphabetical order).
        seed: 0 to 2^32 - 1; decides which unknown words are drawn and which silence is cut.
        silence: rule for silence clips of the 12-class view; the test archive brings its own silence.
        unknown: rule for unknown words of the 12-class view; the test archive's are all taken.
        on_corrupt: "error", or "skip" to leave out and note clips that can't be read or are missing.
        on_overlap: "error", or "drop" to take clips of the test split out of training and validation, and note it.
        cache_dir: where to cache what was read; None for $ANALOGNETS_CACHE or the system's cache folder.
        cache: False to write nothing to disk.
        progress: called with (clips done, clips in all).

    Raises:
        DataError: a folder, list or clip is missing or broken, or a clip stands in two splits.
        InvalidArgumentError: an argument is not allowed.

    Source: Warden, arXiv:1804.03209; class order of MLPerf Tiny.
    """
    check_choice("load_speech_commands", "classes", classes, (12, 35))
    check_integer("load_speech_commands", "seed", seed, 0, 2**32 - 1)
    check_choice("load_speech_commands", "on_corrupt", on_corrupt, ("error", "skip"))
    check_choice("load_speech_commands", "on_overlap", on_overlap, ("error", "drop"))
    rules = (as_rule(SilenceRule, silence), as_rule(UnknownRule, unknown))
    train_dir, test_dir = find_folders(data_dir if data_dir is not None else _downloaded(cache_dir))
    layout = Layout.read(train_dir, test_dir, missing=on_corrupt)
    store = ClipCache(cache_folder(cache_dir) / "clips") if cache else None
    reader = _Reader(train_dir.absolute().parent, on_corrupt, store, progress)
    if classes == 12:
        splits, background, notes = _twelve(layout, seed, *rules, reader, on_overlap)
    else:
        splits, background, notes = _thirty_five(layout, reader, on_overlap, rules[0])
    names = KWS_CLASSES if classes == 12 else WORDS
    data = TaskData("speech_commands", *splits, names, background, _info(layout, splits, names))
    check_disjoint(data, speakers=False)
    found = reader.found.sentences()
    notes = (*layout.notes, *dict.fromkeys(notes), *found, *_speaker_notes(data), *_empty_notes(data))
    reader.found.warn()
    return dataclasses.replace(data, info=dataclasses.replace(data.info, notes=notes))


def _downloaded(cache_dir: Path | str | None) -> Path:
    folder = cache_folder(cache_dir) / "speech_commands"
    if not os.path.isdir(folder / TRAIN_FOLDER):
        raise DataError(
            f"Speech Commands is not downloaded: {folder} holds no {TRAIN_FOLDER}. Run `analognets data prepare "
            f"speech_commands` to download it, or name the folder that holds {TRAIN_FOLDER}/ with data_dir (--data)."
        )
    return folder


@dataclass
class _Reader:
    """Reads lists of clips with one progress count over all of them, and collects notes."""

    root: Path
    on_corrupt: str
    cache: ClipCache | None
    progress: Progress | None
    total: int = 0
    done: int = 0

    def __post_init__(self) -> None:
        self.notes: list[str] = []
        self.found = Notes("clips", cut="loudest")

    def split(self, clips: Sequence[tuple[Clip, int]]) -> Split:
        """Return the clips with these labels, in the order given."""
        read = read_clips(
            [clip.path for clip, _ in clips],
            root=self.root,
            on_corrupt=self.on_corrupt,
            cache=self.cache,
            progress=self._report,
            notes=self.found,
        )
        self.done += len(clips)
        self.notes += read.notes
        kept = [clips[i] for i in read.kept]
        labels = np.array([label for _, label in kept], np.int32)
        return Split(read.inputs, labels, tuple(c.name for c, _ in kept), tuple(c.speaker for c, _ in kept))

    def _report(self, done: int, total: int) -> None:
        if self.progress:
            self.progress(self.done + done, self.total)

    def recordings(self, paths: Sequence[Path]) -> dict[str, np.ndarray]:
        """Return noise recordings as float32 in [-1, 1] by file name."""
        found = {}
        for path in paths:
            try:
                read = read_recording(path)
            except DataError as error:
                if self.on_corrupt == "error":
                    raise
                self.notes.append(f"Skipped: {error}")
                continue
            found[path.stem] = read.samples.astype(np.float32) / 32768
            note_remarks(self.found, path.name, {**rate_remark(read), **read.remarks})
        return found


Parts = tuple[tuple[Split, Split, Split], list[np.ndarray], tuple[str, ...]]


def _twelve(
    layout: Layout, seed: int, silence: SilenceRule, unknown: UnknownRule, reader: _Reader, on_overlap: str
) -> Parts:
    test = layout.listed_test if layout.archive_test is None else layout.archive_test
    chosen = {}
    parts = _without_test({"train": layout.train, "validation": layout.validation, "test": test}, on_overlap, reader)
    for name, clips in parts.items():
        whole = name == "test" and layout.archive_test is not None
        chosen[name] = _keywords_and_unknown(clips, UnknownRule(None) if whole else unknown, seed, name)
    reader.total = sum(map(len, chosen.values()))
    noise = reader.recordings(layout.noise)
    splits = []
    for name, labelled in chosen.items():
        split = reader.split(labelled)
        if not (name == "test" and layout.archive_test is not None):
            keywords = int(np.sum(split.labels < len(KEYWORDS)))
            count = round(silence.fraction * keywords)
            split = _joined(split, *cut_silence(noise, name, count, silence, seed), KWS_CLASSES.index("silence"))
        splits.append(split)
    return (splits[0], splits[1], splits[2]), _background(noise, silence), tuple(reader.notes)


def _thirty_five(layout: Layout, reader: _Reader, on_overlap: str, rule: SilenceRule) -> Parts:
    test = layout.listed_test or tuple(clip for clip in layout.archive_test or () if clip.word in WORDS)
    parts = _without_test({"train": layout.train, "validation": layout.validation, "test": test}, on_overlap, reader)
    reader.total = sum(map(len, parts.values()))
    noise = reader.recordings(layout.noise)
    splits = [reader.split([(clip, WORDS.index(clip.word)) for clip in clips]) for clips in parts.values()]
    return (splits[0], splits[1], splits[2]), _background(noise, rule), tuple(reader.notes)


def _background(noise: Mapping[str, np.ndarray], rule: SilenceRule) -> list[np.ndarray]:
    """Return the part of each recording that training may use."""
    return [sound[: int(len(sound) * rule.train_share)] for _, sound in sorted(noise.items())]


def _without_test(parts: dict[str, tuple[Clip, ...]], on_overlap: str, reader: _Reader) -> dict[str, tuple[Clip, ...]]:
    """Return the parts with no clip of the test split in the other two."""
    held = {clip.name for clip in parts["test"]}
    for name in ("train", "validation"):
        twice = [clip.name for clip in parts[name] if clip.name in held]
        if not twice:
            continue
        text = f"{len(twice)} clips of the test split stand in the {name} split too, such as {twice[0]!r}"
        if on_overlap == "error":
            raise DataError(f"{text}. Pass on_overlap='drop' to leave them out of {name}.")
        reader.notes.append(f"{text}; they were left out of {name}.")
        parts[name] = tuple(clip for clip in parts[name] if clip.name not in held)
    return parts


def _keywords_and_unknown(clips: Sequence[Clip], rule: UnknownRule, seed: int, split: str) -> list[tuple[Clip, int]]:
    labels = {word: i for i, word in enumerate(KEYWORDS)} | {"_silence_": 10, "_unknown_": 11}
    known = [(clip, labels[clip.word]) for clip in clips if clip.word in labels]
    others: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if clip.word not in labels:
            others[clip.word].append(clip)
    words = sorted(others)
    wanted = None if rule.fraction is None else round(rule.fraction * len(known))
    takes = draw_evenly([len(others[word]) for word in words], wanted, rule.per_word)
    for word, take in zip(words, takes, strict=True):
        order = generator(seed, "unknown", split, word).permutation(len(others[word]))
        known += [(others[word][i], 11) for i in sorted(order[:take])]
    return known


def _joined(split: Split, audio: np.ndarray, names: tuple[str, ...], label: int) -> Split:
    labels = np.concatenate([split.labels, np.full(len(audio), label, np.int32)])
    inputs = np.concatenate([split.inputs, audio])
    return Split(inputs, labels, (*split.names, *names), (*split.speakers, *("",) * len(names)))


def _speaker_notes(data: TaskData) -> list[str]:
    notes = []
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        voices = shared_speakers(data.splits[one], data.splits[other])
        if voices:
            notes.append(f"{len(voices)} speakers are heard both in {one} and in {other}, such as {min(voices)!r}.")
    return notes


def _empty_notes(data: TaskData) -> list[str]:
    notes = []
    for name, split in data.splits.items():
        there = np.bincount(split.labels, minlength=len(data.classes))
        lost = [word for word, count in zip(data.classes, there, strict=True) if not count]
        if lost:
            notes.append(f"The {name} split has no clip of: {', '.join(lost)}.")
    return notes


def _info(layout: Layout, splits: Sequence[Split], classes: Sequence[str]) -> DatasetInfo:
    counts = ", ".join(
        f"{len(split):,} {name}" for split, name in zip(splits, ("training", "validation", "test"), strict=True)
    )
    part = layout.recordings < OFFICIAL_RECORDINGS
    text = [
        f"{'A part' if part else 'All'} of Speech Commands v0.02 ({layout.recordings:,} of its {OFFICIAL_RECORDINGS:,} "
        f"word recordings at hand), {len(classes)} classes: {counts} clips."
    ]
    archive = layout.archive_test is not None and (len(classes) == 12 or not layout.listed_test)
    text.append(f"The test clips are those of {'the separate test archive' if archive else 'testing_list.txt'}.")
    learnt = (set(splits[0].speakers) | set(splits[1].speakers)) - {""}
    tested = set(splits[2].speakers) - {""}
    official = {speaker for speaker in learnt if official_split(speaker) == "test"}
    text.append(
        f"Of {len(learnt):,} training and validation speakers, {len(learnt & tested)} are heard in the test split and "
        f"{len(official)} belong to the official test split by the data set's rule."
    )
    if official:
        text.append("A model trained on this must not be scored on the complete official test set.")
    return DatasetInfo("speech_commands", "0.02", HOMEPAGE, "CC BY 4.0", CITATION, " ".join(text), synthetic=False)
