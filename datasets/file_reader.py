"""Read many files of one kind into one array: in parallel, in order, with a cache, and with a word on broken ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analognets.datasets.clip_cache import ClipCache, content_key
from analognets.datasets.notes import readable
from analognets.errors import DataError

__all__ = ["Files", "Progress", "Remark", "read_files"]

Progress = Callable[[int, int], None]
"""Called with (done, total) while something long goes on."""

Remark = Mapping[str, float]
"""What is odd about a file: kinds of `analognets.datasets.notes`, and a number to show with each."""

_BATCH = 512


@dataclass(frozen=True, eq=False)
class Files:
    """What `read_files` returns.

    Args:
        inputs: one row a file that could be read; possibly a read-only memory map.
        kept: position of each row in the list of files that was asked for.
        faults: name of each file that was left out, and why.
        remarks: what the reading of a file returned beside its row, for files where it is not empty.
        notes: a sentence if what was read could not be kept, or what had been kept was changed.
    """

    inputs: np.ndarray
    kept: np.ndarray
    faults: dict[str, str]
    remarks: dict[str, Remark]
    notes: tuple[str, ...]


def read_files(
    files: Sequence[Path],
    read: Callable[[Path], tuple[np.ndarray, Remark]],
    blank: np.ndarray,
    *,
    root: Path,
    settings: str,
    on_corrupt: str = "error",
    cache: ClipCache | None = None,
    progress: Progress | None = None,
) -> Files:
    """Return what `read` makes of each file, in the order of the files.

    Args:
        files: what to read.
        read: returns the row of a file and a remark, empty for none; raises DataError if the file is broken.
        blank: a row of zeros, of the shape and type of all others.
        root: folder the names in messages are relative to.
        settings: changes whenever `read` would give other rows.
        on_corrupt: "error" stops at a file that can't be read; "skip" leaves it out and notes its name.
        cache: keeps what was read, for the same files of the same sizes and times.
        progress: called with (done, total).

    Raises:
        DataError: a file can't be read and `on_corrupt` is "error"; the message names it.
    """
    key = content_key(files, root, settings) if cache else ""
    found, damage = cache.load(key, len(files)) if cache else (None, "")
    faults: dict[str, str] = {}
    remarks: dict[str, Remark] = {}
    extra = ""
    inputs: np.ndarray | None = None

    def blocks() -> Iterator[np.ndarray]:
        return _blocks(files, read, blank, root, on_corrupt, faults, remarks, progress)

    if found:
        inputs, faults, remarks = found.rows, dict(found.faults), dict(found.remarks)
    elif cache:
        inputs, extra = cache.store(key, len(files), blocks(), faults, remarks)
    if inputs is None:
        inputs = np.empty((len(files), *blank.shape), blank.dtype)
        for i, block in enumerate(blocks()):
            inputs[i * _BATCH : i * _BATCH + len(block)] = block
    if faults and on_corrupt == "error":
        raise DataError(next(iter(faults.values())))
    if progress:
        progress(len(files), len(files))
    names = [_name(path, root) for path in files] if faults else []
    kept = np.array([i for i, name in enumerate(names) if name not in faults], int) if faults else np.arange(len(files))
    told = tuple(text for text in (damage, extra) if text)
    return Files(inputs[kept] if faults else inputs, kept, faults, remarks, told)


def _blocks(
    files: Sequence[Path],
    read: Callable[[Path], tuple[np.ndarray, Remark]],
    blank: np.ndarray,
    root: Path,
    on_corrupt: str,
    faults: dict[str, str],
    remarks: dict[str, Remark],
    progress: Progress | None,
) -> Iterator[np.ndarray]:
    """Yield the rows in blocks, in order; `blank` stands for a file in `faults`."""

    def attempt(path: Path) -> tuple[np.ndarray, Remark, str]:
        try:
            return *read(path), ""
        except DataError as error:
            if on_corrupt == "error":
                raise
            return blank, {}, str(error)

    with ThreadPoolExecutor(min(16, 4 * (os.cpu_count() or 1))) as pool:
        for first in range(0, len(files), _BATCH):
            chosen = files[first : first + _BATCH]
            read_now = list(pool.map(attempt, chosen))
            for path, (_, remark, fault) in zip(chosen, read_now, strict=True):
                if fault:
                    faults[_name(path, root)] = fault
                if remark:
                    remarks[_name(path, root)] = remark
            if progress:
                progress(first + len(chosen), len(files))
            yield np.stack([row for row, _, _ in read_now])


def _name(path: Path, root: Path) -> str:
    return readable(path.relative_to(root).as_posix())
