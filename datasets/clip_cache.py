"""Clips and pictures that were read or made once, kept as plain arrays that are mapped into memory, never pickled."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from analognets.core.drafts import remove_abandoned
from analognets.core.files import remove_leftovers, write_atomically
from analognets.core.provenance import json_sha256, sha256_of
from analognets.datasets.base import CLIP_SAMPLES
from analognets.errors import reason

__all__ = ["ClipCache", "Stored", "cache_folder", "content_key"]

_FORMAT = "analognets clips 2"
_DAY = 86_400
_PIECE = 1 << 22
"""Bytes that have a checksum (CRC-32) of their own, so that threads can check an array together."""


class Stored(NamedTuple):
    """What a cache holds under a key.

    Args:
        rows: the clips or pictures, mapped and read-only.
        faults: files left out and why.
        remarks: what was odd about files.
    """

    rows: np.ndarray
    faults: Mapping[str, str]
    remarks: Mapping[str, Mapping[str, float]]


def cache_folder(named: Path | str | None = None) -> Path:
    """Return the folder for downloads and caches: `named`, or $ANALOGNETS_CACHE, or the system's cache folder."""
    named = named or os.environ.get("ANALOGNETS_CACHE")
    if named:
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("analognets"))


def content_key(files: Sequence[Path], root: Path, settings: str = str(CLIP_SAMPLES)) -> str:
    """Return a text that changes with `settings` and when a file is added, removed, renamed, resized or rewritten."""
    facts: list[str | bytes] = [f"{_FORMAT}\n", os.fsencode(root.resolve()), f"\n{settings}\n"]
    for path in files:
        facts.append(os.fsencode(path.relative_to(root)))
        try:
            status = path.stat()
            facts.append(f"\t{status.st_size}\t{status.st_mtime_ns}\n")
        except (OSError, ValueError):
            facts.append("\tmissing\n")
    return sha256_of(*facts)[:24]


@dataclass(frozen=True)
class ClipCache:
    """A folder of clip arrays. Each is written aside and renamed, so a run cut short leaves nothing that looks whole.

    Args:
        folder: where the arrays stand; made on first use.
        keep: how many arrays stay; the ones not used for longest go first.
        shape: of one clip or picture.
        dtype: of the arrays.
    """

    folder: Path
    keep: int = 8
    shape: tuple[int, ...] = (CLIP_SAMPLES,)
    dtype: str = "<i2"

    def load(self, key: str, clips: int) -> tuple[Stored | None, str]:
        """Return what was stored, or None if it is not there; and a note if it is there and was changed since."""
        array, facts = self._paths(key)
        with contextlib.suppress(OSError):
            remove_abandoned(self.folder)
        if not array.is_file() or not facts.is_file():
            return None, ""
        try:
            notes = json.loads(facts.read_text(encoding="utf-8"))
            if "rates" in notes:  # of an earlier version, without checksums
                return None, ""
            stored = np.load(array, mmap_mode="r", allow_pickle=False)
            whole = (
                stored.shape == (clips, *self.shape)
                and stored.dtype == np.dtype(self.dtype)
                and notes["sha256"] == _digest(notes)
                and _checksums(stored) == notes["crc32"]
            )
            if whole:
                with contextlib.suppress(OSError):
                    os.utime(array)
                return Stored(np.asarray(stored), notes["faults"], notes["remarks"]), ""
        except Exception:  # bytes that are no array are the same as none, whatever NumPy says to them
            stored = None
        return None, f"What was cached in {self.folder} was changed or cut short since, and was made again."

    def store(
        self,
        key: str,
        clips: int,
        batches: Iterable[np.ndarray],
        faults: Mapping[str, str],
        remarks: Mapping[str, Mapping[str, float]],
    ) -> tuple[np.ndarray | None, str]:
        """Write the clips block by block and return them mapped, or None and the reason why they can't be kept.

        Args:
            key: from `content_key`.
            clips: number of clips in all blocks.
            batches: blocks of `dtype`; errors raised while they are made pass through.
            faults: files left out and why, filled while the blocks are made.
            remarks: what is odd about files, filled while the blocks are made.
        """
        array, facts = self._paths(key)
        sums = _Checksums()

        def write(part: Path) -> None:
            with part.open("wb") as out:
                header = {"descr": self.dtype, "fortran_order": False, "shape": (clips, *self.shape)}
                np.lib.format.write_array_header_1_0(out, header)
                for block in _guarded(batches):
                    rows = np.ascontiguousarray(block, self.dtype)
                    sums.add(rows)
                    out.write(rows.data)
            notes: dict[str, Any] = {"faults": faults, "remarks": remarks, "crc32": sums.close()}
            write_atomically(facts, json.dumps({**notes, "sha256": _digest(notes)}))

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(array, write)
        except _BlockError as error:
            raise error.cause from None
        except OSError as error:
            return None, f"The clips were not cached in {self.folder}: {reason(error.__cause__ or error)}."
        self._prune()
        found, _ = self.load(key, clips)
        return (
            (found.rows, "") if found else (None, f"The clips were not cached in {self.folder}: read back otherwise.")
        )

    def _paths(self, key: str) -> tuple[Path, Path]:
        return self.folder / f"{key}.npy", self.folder / f"{key}.json"

    def _prune(self) -> None:
        with contextlib.suppress(OSError):
            arrays = sorted(self.folder.glob("*.npy"), key=lambda path: path.stat().st_mtime, reverse=True)
            for old in arrays[self.keep :]:
                old.unlink(missing_ok=True)
                old.with_suffix(".json").unlink(missing_ok=True)
            remove_leftovers(self.folder, older_than=_DAY)


def _digest(notes: Mapping[str, Any]) -> str:
    return json_sha256({name: notes[name] for name in ("faults", "remarks", "crc32")})


class _Checksums:
    """CRC-32 of each `_PIECE` bytes of what is added."""

    def __init__(self) -> None:
        self._done: list[int] = []
        self._sum = self._size = 0

    def add(self, rows: np.ndarray) -> None:
        rest = rows.reshape(-1).view(np.uint8).data
        while len(rest):
            part, rest = rest[: _PIECE - self._size], rest[_PIECE - self._size :]
            self._sum, self._size = zlib.crc32(part, self._sum), self._size + len(part)
            if self._size == _PIECE:
                self._done.append(self._sum)
                self._sum = self._size = 0

    def close(self) -> list[int]:
        return [*self._done, self._sum] if self._size else self._done


def _checksums(stored: np.ndarray) -> list[int]:
    """Return the same of an array that is there, in threads: a read of the whole file, about as fast as the disk."""
    data = np.ascontiguousarray(stored).reshape(-1).view(np.uint8).data
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda at: zlib.crc32(data[at : at + _PIECE]), range(0, len(data), _PIECE)))


class _BlockError(Exception):
    """Carries an error of the maker of blocks past the handler for errors of the disk (DataError is an OSError)."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _guarded(blocks: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    try:
        yield from blocks
    except Exception as error:
        raise _BlockError(error) from error
