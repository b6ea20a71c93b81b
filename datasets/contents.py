"""What samples themselves tell: dead and saturated recordings, blank pictures, and copies across splits and classes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from analognets.datasets.base import Split
from analognets.datasets.notes import Notes

__all__ = ["is_saturated", "is_silent", "note_contents"]

_QUIET = 128
_LIMIT = 32_766
_PEAK = 4_096
_FEWEST = 50
_BLOCK = 256


def is_silent(clips: np.ndarray) -> np.ndarray:
    """Return which int16 clips hold next to no sound: all within 1/256 of full scale around some offset."""
    low, high = (end.astype(np.int32) for end in (clips.min(axis=1), clips.max(axis=1)))
    return high - low < 2 * _QUIET


def is_saturated(clips: np.ndarray) -> np.ndarray:
    """Return which int16 clips are cut off at a limit.

    That is: over 1 % of the samples that are not 0 lie at full scale, or over 5 % at their own peak, if that is over an
    eighth of full scale; and at least 50 of them. A sine wave of full scale has 0.4 % there.
    """
    lowest, highest = clips.min(axis=1), clips.max(axis=1)
    low, high = lowest.astype(np.int32), highest.astype(np.int32)
    peak = np.maximum(high, -low)
    heard = np.count_nonzero(clips, axis=1)
    at_limit = np.count_nonzero(clips >= _LIMIT, axis=1) + np.count_nonzero(clips <= -_LIMIT, axis=1)
    at_peak = np.count_nonzero(clips == highest[:, None], axis=1) * (peak == high)
    at_peak += np.count_nonzero(clips == lowest[:, None], axis=1) * (peak == -low)
    full = at_limit > np.maximum(_FEWEST, 0.01 * heard)
    return full | ((peak > _PEAK) & (at_peak > np.maximum(_FEWEST, 0.05 * heard)))


def note_contents(
    splits: Mapping[str, Split], classes: Sequence[str], notes: Notes, *, quiet: Sequence[str] = ()
) -> None:
    """Note silent, saturated and blank samples, and the same sample in several splits or classes.

    Args:
        splits: clips or pictures as they were read; what was made is not to be in it.
        classes: names of the classes.
        notes: where to collect.
        quiet: classes in which silence is no fault.
    """
    places: dict[bytes, list[tuple[str, int, str]]] = {}
    for name, split in splits.items():
        for first, rows in _blocks(split.inputs):
            empty, loud = _faults(rows, split.kind)
            for i, row in enumerate(rows):
                label, sample = int(split.labels[first + i]), split.names[first + i]
                if empty[i]:
                    if classes[label] not in quiet:
                        notes.add("silent" if split.kind == "audio" else "blank", sample)
                    continue
                if loud[i]:
                    notes.add("saturated", sample)
                mark = hashlib.blake2b(np.ascontiguousarray(row).data, digest_size=16).digest()
                places.setdefault(mark, []).append((name, label, sample))
    for same in places.values():
        shown = " = ".join(sample for _, _, sample in same[:3]) + (" = ..." if len(same) > 3 else "")
        if len({split for split, _, _ in same}) > 1:
            notes.add("splits", shown)
        if len({label for _, label, _ in same}) > 1:
            notes.add("classes", shown)


def _blocks(inputs: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for first in range(0, len(inputs), _BLOCK):
        yield first, inputs[first : first + _BLOCK]


def _faults(rows: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return which samples hold nothing, and which are cut off at a limit."""
    if kind == "audio":
        return is_silent(rows), is_saturated(rows)
    flat = rows.reshape(len(rows), -1, rows.shape[-1])
    return (flat == flat[:, :1]).all(axis=(1, 2)), np.zeros(len(rows), bool)
