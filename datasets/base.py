"""What every data set looks like: three splits of labelled clips, class names, background noise, and its origin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from analognets.errors import DataError, InvalidArgumentError

__all__ = [
    "CLIP_SAMPLES",
    "KWS_CLASSES",
    "SAMPLE_RATE",
    "DatasetInfo",
    "Split",
    "TaskData",
    "check_disjoint",
    "shared_names",
    "shared_speakers",
]

SAMPLE_RATE = 16_000
"""Samples a second of every keyword-spotting clip."""

CLIP_SAMPLES = 16_000
"""Samples a clip: one second."""

KWS_CLASSES = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "silence", "unknown")
"""The 12 keyword-spotting classes in the order of MLPerf Tiny; the position is the label."""


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set.

    Args:
        inputs: clips x ...; keyword spotting has int16 (clips, 16000) at 16 kHz, pictures are uint8 (pictures, height,
            width, 3). May be a read-only memory map.
        labels: int32 (clips,), positions in `TaskData.classes`.
        names: one identifier a clip, the same wherever the clip stands, such as "bed/060cd039_nohash_0.wav".
        speakers: one identifier a clip; "" where there is no speaker, as in silence.

    Raises:
        InvalidArgumentError: the four differ in length.
    """

    inputs: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...] = ()
    speakers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "labels", np.asarray(self.labels, np.int32))
        set_(self, "names", tuple(self.names) or tuple(str(i) for i in range(len(self.labels))))
        set_(self, "speakers", tuple(self.speakers) or ("",) * len(self.labels))
        lengths = (len(self.inputs), len(self.labels), len(self.names), len(self.speakers))
        if len(set(lengths)) != 1:
            raise InvalidArgumentError(
                "`inputs`, `labels`, `names` and `speakers` of a Split must have one entry a clip. "
                f"Received lengths: {lengths}."
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def kind(self) -> str:
        """What the inputs are: "image" if they have four axes, else "audio"."""
        return "image" if self.inputs.ndim == 4 else "audio"

    def select(self, which: Sequence[int] | np.ndarray | slice) -> Split:
        """Return the clips at these positions, in this order; a slice copies no audio."""
        positions = np.arange(len(self))[which]
        return Split(
            self.inputs[which],
            self.labels[which],
            tuple(self.names[i] for i in positions),
            tuple(self.speakers[i] for i in positions),
        )


@dataclass(frozen=True)
class DatasetInfo:
    """Where a data set comes from and what may be said about it.

    Args:
        name: registry name, or the name of the folder where the data are a user's own.
        version: version of the data set itself.
        homepage: address.
        licence: licence of the data.
        citation: how to cite it.
        statement: what this copy holds, as the loader saw it; fit for a model card.
        synthetic: True when no human voice or photograph is in it.
        notes: what the loader changed or left out while reading (resampled, skipped, ...), one sentence each.
    """

    name: str
    version: str
    homepage: str
    licence: str
    citation: str
    statement: str
    synthetic: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class TaskData:
    """A data set ready for a task: train, validation and test splits and what goes with them.

    Args:
        name: as in `DatasetInfo`.
        train: split to learn from.
        validation: split to choose by.
        test: split to report; nothing of it stands in the other two.
        classes: class names; the position is the label.
        background: float32 noise recordings in [-1, 1] to mix into training clips; never used for validation or test.
        info: origin, licence and notes.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    background: list[np.ndarray] = field(default_factory=list)
    info: DatasetInfo = field(default_factory=lambda: DatasetInfo("", "", "", "", "", "", True))

    @property
    def kind(self) -> str:
        """What the inputs are: "audio" or "image"."""
        return self.train.kind

    @property
    def splits(self) -> dict[str, Split]:
        """The three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def shared_names(one: Split, other: Split) -> set[str]:
    """Return the identifiers of clips that stand in both splits."""
    return set(one.names) & set(other.names)


def shared_speakers(one: Split, other: Split) -> set[str]:
    """Return the speakers that are heard in both splits; clips without a speaker do not count."""
    return (set(one.speakers) & set(other.speakers)) - {""}


def check_disjoint(data: TaskData, *, speakers: bool = True) -> None:
    """Check that no clip name stands twice, within a split or across splits, and no speaker in two splits.

    Args:
        data: what to check.
        speakers: False to allow a speaker in two splits.

    Raises:
        DataError: one does; the message names an example.
    """
    splits = list(data.splits.items())
    for name, split in splits:
        twice = [clip for clip, count in Counter(split.names).items() if count > 1]
        if twice:
            raise DataError(f"{len(twice)} clips stand twice in the {name} split of {data.name}, such as {twice[0]!r}.")
    for i, (name, split) in enumerate(splits):
        for other_name, other in splits[i + 1 :]:
            where = f"both in the {name} and in the {other_name} split of {data.name}"
            clips = sorted(shared_names(split, other))
            if clips:
                raise DataError(f"{len(clips)} clips stand {where}, such as {clips[0]!r}.")
            voices = sorted(shared_speakers(split, other)) if speakers else []
            if voices:
                raise DataError(f"{len(voices)} speakers are heard {where}, such as {voices[0]!r}.")
