"""Files that are whole or not there: writing under a temporary name, checksums, and a lock on a folder."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from analognets.errors import RunError

__all__ = ["file_sha256", "locked", "put_in_place", "remove_leftovers", "write_atomically", "write_json"]

_MARK = ".part-"


def write_atomically(path: Path, content: bytes | str | Callable[[Path], object]) -> None:
    """Write a file under a temporary name in the same folder and rename it, so that no reader sees half of it.

    Args:
        path: the file; its folder must exist.
        content: bytes, text, or a function that writes the file at the path it is given (with the same suffix).

    Raises:
        RunError: the file can't be written, for example because the disk is full.
    """
    part = path.with_name(f"{_MARK}{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        if callable(content):
            content(part)
        else:
            part.write_bytes(content.encode() if isinstance(content, str) else content)
        _flush(part)
        os.replace(part, path)
        _flush(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        reason = error.strerror or error
        raise RunError(f"'{path}' can't be written: {reason}. What was there before is kept.") from error


def _flush(path: Path) -> None:
    """Make sure that a file's content, or a folder's list of names, has reached the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put_in_place(draft: Path, target: Path) -> None:
    """Move a finished folder to its place; what was there is removed last, so nothing is lost on the way.

    Args:
        draft: the finished folder, beside `target`.
        target: its place; a folder that is there is replaced.
    """
    if not target.exists():
        os.replace(draft, target)
        return
    old = draft.with_name(f"{draft.name}-old")
    os.replace(target, old)
    try:
        os.replace(draft, target)
    except BaseException:
        os.replace(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_json(path: Path, data: Any) -> None:
    """Write plain data as indented JSON, whole or not at all.

    Raises:
        RunError: the file can't be written.
    """
    write_atomically(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a killed process left in a folder that no other process is writing to."""
    for part in folder.glob(f"{_MARK}*"):
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the only lock on a folder; the system drops it when the process ends, however it ends.

    Raises:
        RunError: another process (or this one) holds it already, or the folder can't be written to.
    """
    try:
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunError(f"The run folder '{folder}' can't be written to: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(handle, 64).decode("ascii", "replace").strip()
            raise RunError(
                f"The run folder '{folder}' is in use by process {owner or '(unknown)'}. Wait until it ends, or choose "
                "another folder."
            ) from None
        os.truncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(handle)
