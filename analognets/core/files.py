"""Files and folders that are whole or not there: written aside and renamed; checksums, and a lock on a folder."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError

from analognets.errors import AnalogNetsError, RunError, reason

__all__ = [
    "file_sha256",
    "locked",
    "make_folder",
    "new_folder",
    "open_plain",
    "remove_leftovers",
    "write_atomically",
    "write_json",
]

_MARK = ".part-"


def write_atomically(
    path: Path, content: bytes | str | Callable[[Path], object], *, error: type[AnalogNetsError] = RunError
) -> None:
    """Write a file under a temporary name in the same folder and rename it, so that no reader sees half of it.

    Args:
        path: the file; its folder must exist.
        content: bytes, text, or a function that writes the file at the path it is given (with the same suffix).
        error: what to raise if the file can't be written, for example because the disk is full.
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
    except (Exception, KeyboardInterrupt) as problem:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        if _is_of_the_disk(problem):
            raise error(f"'{path}' can't be written: {reason(problem)}. What was there before is kept.") from problem
        if isinstance(problem, ValueError) and "before 1980" in str(problem):  # in the words of zipfile
            raise error(
                f"'{path}' can't be written: the clock of this machine stands before 1980, which no zip can hold. Set "
                "it, and try again. What was there before is kept."
            ) from problem
        raise


def _is_of_the_disk(problem: BaseException) -> bool:
    """Whether an error comes from writing; one of this package's own says better what is wrong, and passes through."""
    return isinstance(problem, (OSError, SafetensorError)) and not isinstance(problem, AnalogNetsError)


def _flush(path: Path) -> None:
    """Make sure that a file's content, or a folder's list of names, has reached the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, data: Any, *, error: type[AnalogNetsError] = RunError) -> None:
    """Write plain data as indented JSON, whole or not at all.

    Args:
        path: the file; its folder must exist.
        data: without NaN and infinity.
        error: what to raise if the file can't be written.
    """
    write_atomically(path, json.dumps(data, indent=2, allow_nan=False) + "\n", error=error)


@contextlib.contextmanager
def new_folder(
    target: Path,
    what: str,
    error: type[AnalogNetsError],
    *,
    overwrite: bool = False,
    index: str | None = None,
    place: Callable[[Path, Path], object] | None = None,
) -> Iterator[Path]:
    """Yield a hidden folder beside `target` to write into; it becomes `target` when the block ends without an error.

    After an error or an interrupt what was at `target` is as before, and nothing else is left.

    Args:
        target: the folder to make, with its parents.
        what: is written, as a plural: "chips".
        error: what to raise if the target is taken or can't be written.
        overwrite: replace what is there.
        index: a file that every folder of this kind has; a folder without it is never replaced.
        place: called with the folder and the target in place of the renaming; it then also decides about `overwrite`.
    """
    if place is None:
        _refuse_taken(target, what, error, overwrite, index)
    draft = target.with_name(f".{target.name}-{uuid.uuid4().hex[:8]}")
    made: list[Path] = []
    done = False
    try:
        made = [parent for parent in draft.parents if not parent.exists()]
        draft.mkdir(parents=True)
        yield draft
        (place or (_replace if overwrite else os.replace))(draft, target)
        done = True
    except Exception as problem:
        if _is_of_the_disk(problem):
            raise error(
                f"The {what} can't be written to '{target}': {reason(problem)}. What was there before is kept."
            ) from problem
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        with contextlib.suppress(OSError):
            for parent in [] if done else made:
                parent.rmdir()


def _refuse_taken(target: Path, what: str, error: type[AnalogNetsError], overwrite: bool, index: str | None) -> None:
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise error(
            f"{what[0].upper()}{what[1:]} are not written over existing data. Received: '{target}'. Say overwrite=True "
            "(--overwrite) to, or choose a new folder."
        )
    if index is not None and not (target / index).is_file():
        raise error(f"Only {what} are overwritten, and '{target}' holds none. Choose another folder.")


def _replace(draft: Path, target: Path) -> None:
    """Move a finished folder to its place; what was there is removed last, so nothing is lost on the way."""
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


def make_folder(folder: Path, what: str = "folder", *, error: type[AnalogNetsError] = RunError) -> Path:
    """Make a folder and its parents if need be and return it.

    Args:
        folder: to make.
        what: to call it in a message.
        error: what to raise if it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise error(f"The {what} '{folder}' can't be made: {reason(problem)}.") from problem
    return folder


def open_plain(
    path: Path | str, what: str = "file", *, limit: int, error: type[AnalogNetsError] = RunError, hint: str = ""
) -> BinaryIO:
    """Open a regular file for reading; a FIFO, device or folder is refused at once instead of waited for.

    Args:
        path: the file; a link is followed, and where it leads counts.
        what: to call it in a message.
        limit: largest size in bytes that is opened.
        error: what to raise.
        hint: a sentence at the end of the message: what to do.

    Raises:
        AnalogNetsError: `error`, if the file is missing, no regular file or larger than the limit.
    """
    begin, end = f"Can't read the {what} {path}", f" {hint}" if hint else ""
    handle = -1
    try:
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode):
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            status = os.fstat(handle)
    except (OSError, ValueError) as problem:
        raise error(f"{begin}: {reason(problem)}.{end}") from problem
    why = ""
    if handle < 0 or not stat.S_ISREG(status.st_mode):
        why = "it is a folder" if stat.S_ISDIR(status.st_mode) else "it is no regular file (a pipe, device or socket)"
    elif status.st_size > limit:
        why = f"it may have at most {limit:,} bytes. Received: {status.st_size:,}"
    if why:
        if handle >= 0:
            os.close(handle)
        raise error(f"{begin}: {why}.{end}")
    return os.fdopen(handle, "rb")


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_leftovers(folder: Path, *, older_than: float = 0.0) -> None:
    """Remove the temporary files that a killed process left in a folder that no other process is writing to.

    Args:
        folder: to look in.
        older_than: keep files that were changed in the last so many seconds, for a folder that others write to.
    """
    for part in folder.glob(f"{_MARK}*"):
        if not older_than or time.time() - part.stat().st_mtime > older_than:
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
