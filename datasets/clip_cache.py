"""Clips and pictures that were read or made once, kept as plain arrays that are mapped into memory, never pickled."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analognets.core.files import remove_leftovers, write_atomically
from analognets.core.provenance import sha256_of
from analognets.datasets.base import CLIP_SAMPLES
from analognets.errors import reason

__all__ = ["ClipCache", "cache_folder", "content_key"]

_FORMAT = "analognets clips 1"
_DAY = 86_400


def cache_folder(named: Path | str | None = None) -> Path:
    """Return the folder for downloads and caches: `named`, or $ANALOGNETS_CACHE, or the system's cache folder."""
    named = named or os.environ.get("ANALOGNETS_CACHE")
    if named:
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("analognets"))


def content_key(files: Sequence[Path], root: Path, settings: str = str(CLIP_SAMPLES)) -> str:
    """Return a text that changes with `settings` and when a file is added, removed, renamed, resized or rewritten."""
    facts = [f"{_FORMAT}\n{root.resolve()}\n{settings}\n"]
    for path in files:
        try:
            status = path.stat()
            facts.append(f"{path.relative_to(root)}\t{status.st_size}\t{status.st_mtime_ns}\n")
        except OSError:
            facts.append(f"{path.relative_to(root)}\tmissing\n")
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

    def load(self, key: str, clips: int) -> tuple[np.ndarray, dict[str, str], dict[str, int]] | None:
        """Return (clips, faults, rates) as they were stored, or None if they are not there or not whole."""
        array, facts = self._paths(key)
        try:
            stored = np.load(array, mmap_mode="r", allow_pickle=False)
            notes = json.loads(facts.read_text(encoding="utf-8"))
            if stored.shape != (clips, *self.shape) or stored.dtype != np.dtype(self.dtype):
                return None
            os.utime(array)
            return np.asarray(stored), dict(notes["faults"]), dict(notes["rates"])
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None

    def store(
        self, key: str, clips: int, batches: Iterable[np.ndarray], faults: dict[str, str], rates: dict[str, int]
    ) -> tuple[np.ndarray | None, str]:
        """Write the clips block by block and return them mapped, or None and the reason why they can't be kept.

        Args:
            key: from `content_key`.
            clips: number of clips in all blocks.
            batches: blocks of `dtype`; errors raised while they are made pass through.
            faults: files left out and why, filled while the blocks are made.
            rates: rates of the files that were resampled, filled while the blocks are made.
        """
        array, facts = self._paths(key)

        def write(part: Path) -> None:
            with part.open("wb") as out:
                header = {"descr": self.dtype, "fortran_order": False, "shape": (clips, *self.shape)}
                np.lib.format.write_array_header_1_0(out, header)
                for block in _guarded(batches):
                    out.write(np.ascontiguousarray(block, self.dtype).data)
            write_atomically(facts, json.dumps({"faults": faults, "rates": rates}))

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(array, write)
        except _BlockError as error:
            raise error.cause from None
        except OSError as error:
            return None, f"The clips were not cached in {self.folder}: {reason(error.__cause__ or error)}."
        self._prune()
        found = self.load(key, clips)
        return (found[0], "") if found else (None, f"The clips were not cached in {self.folder}: read back otherwise.")

    def _paths(self, key: str) -> tuple[Path, Path]:
        return self.folder / f"{key}.npy", self.folder / f"{key}.json"

    def _prune(self) -> None:
        with contextlib.suppress(OSError):
            arrays = sorted(self.folder.glob("*.npy"), key=lambda path: path.stat().st_mtime, reverse=True)
            for old in arrays[self.keep :]:
                old.unlink(missing_ok=True)
                old.with_suffix(".json").unlink(missing_ok=True)
            remove_leftovers(self.folder, older_than=_DAY)


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
