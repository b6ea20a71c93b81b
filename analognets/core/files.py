"""Files and folders that are whole or not there: written aside and renamed; checksums, and a lock on a folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import stat
import time
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from analognets.core.drafts import MARK, draft_folder, put, recover, remove_abandoned
from analognets.errors import AnalogNetsError, RunError, reason, shortened

__all__ = [
    "MAX_FILE",
    "MAX_JSON",
    "file_sha256",
    "json_of",
    "locked",
    "make_folder",
    "new_folder",
    "open_plain",
    "read_json",
    "read_plain",
    "recover",
    "remove_leftovers",
    "write_atomically",
    "write_json",
]

MAX_JSON = 64 * 2**20
MAX_FILE = 2**40
DEPTH = 200
"""Levels of lists and dicts in a file of JSON."""


def write_atomically(
    path: Path, content: bytes | str | Callable[[Path], object], *, error: type[AnalogNetsError] = RunError
) -> None:
    """Write a file under a temporary name in the same folder and rename it, so that no reader sees half of it.

    Args:
        path: the file; its folder must exist.
        content: bytes, text, or a function that writes the file at the path it is given (with the same suffix).
        error: what to raise if the file can't be written, for example because the disk is full.
    """
    try:
        with draft_folder(path.parent) as draft:
            part = draft / path.name
            if callable(content):
                content(part)
            else:
                part.write_bytes(content.encode() if isinstance(content, str) else content)
            _flush(part)
            os.replace(part, path)
        _flush_names(path.parent)
    except Exception as problem:
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
    kinds = (OSError, SafetensorError)
    odd_name = isinstance(problem, ValueError) and "embedded null" in str(problem)  # in words of each Python
    return (isinstance(problem, kinds) or odd_name) and not isinstance(problem, AnalogNetsError)


def _flush(path: Path) -> None:
    """Make sure that a file's content, or a folder's list of names, has reached the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_names(folder: Path) -> None:
    """Flush a folder's list of names where its file system can; what was written is in its place already."""
    with contextlib.suppress(OSError):
        _flush(folder)


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
    at = Path(os.path.abspath(target))
    recover(at)
    if place is None:
        _refuse_taken(target, what, error, overwrite, index)
    made = [parent for parent in at.parents if not os.path.exists(parent)]
    done = False
    try:
        if made:
            at.parent.mkdir(parents=True, exist_ok=True)
        with draft_folder(at.parent) as draft:
            folder = draft / at.name
            folder.mkdir()
            yield folder
            for path in [*folder.rglob("*"), folder]:
                _flush(path)
            (place or (put if overwrite else os.rename))(folder, at)
            done = True
        _flush_names(at.parent)
    except Exception as problem:
        if _is_of_the_disk(problem):
            raise error(
                f"The {what} can't be written to '{target}': {reason(problem)}. What was there before is kept."
            ) from problem
        raise
    finally:
        with contextlib.suppress(OSError):
            for parent in [] if done else made:
                parent.rmdir()


def _refuse_taken(target: Path, what: str, error: type[AnalogNetsError], overwrite: bool, index: str | None) -> None:
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise error(
            f"{what[0].upper()}{what[1:]} are not written over existing data. Received: '{target}'. Say overwrite=True "
            "(--overwrite) to replace them, or choose a new folder."
        )
    if index is not None and not os.path.isfile(target / index):
        raise error(f"Only {what} are overwritten, and '{target}' holds none. Choose another folder.")


def make_folder(folder: Path, what: str = "folder", *, error: type[AnalogNetsError] = RunError) -> Path:
    """Make a folder and its parents if need be and return it.

    Args:
        folder: to make.
        what: to call it in a message.
        error: what to raise if it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as problem:  # a name may hold a null byte
        raise error(f"The {what} '{folder}' can't be made: {reason(problem)}.") from problem
    return folder


def open_plain(
    path: Path | str, what: str = "file", *, limit: int, error: type[AnalogNetsError] = RunError, hint: str = ""
) -> BufferedReader:
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
    return open(handle, "rb")


def read_plain(
    path: Path | str,
    what: str = "file",
    *,
    limit: int = MAX_FILE,
    error: type[AnalogNetsError] = RunError,
    hint: str = "",
) -> bytes:
    """Return the content of a regular file; see `open_plain`."""
    with open_plain(path, what, limit=limit, error=error, hint=hint) as file:
        try:
            content = file.read(min(limit, os.fstat(file.fileno()).st_size) + 1)
        except (OSError, MemoryError) as problem:
            raise error(f"Can't read the {what} {path}: {reason(problem)}. {hint}".rstrip()) from problem
    if len(content) > limit:
        raise error(f"Can't read the {what} {path}: it grew to more than {limit:,} bytes meanwhile. {hint}".rstrip())
    return content


def read_json(
    path: Path | str,
    what: str = "file",
    *,
    limit: int = MAX_JSON,
    error: type[AnalogNetsError] = RunError,
    hint: str = "",
    finite: bool = False,
) -> Any:
    """Return the data in a regular file of JSON.

    Args:
        path: the file.
        what: to call it in a message.
        limit: largest size in bytes that is read.
        error: what to raise if it can't be read, or holds no JSON.
        hint: a sentence at the end of the message: what to do.
        finite: refuse NaN and infinity.
    """
    content = read_plain(path, what, limit=limit, error=error, hint=hint)
    return json_of(content, path, what, error=error, hint=hint, finite=finite)


def json_of(
    content: bytes,
    path: Path | str,
    what: str = "file",
    *,
    error: type[AnalogNetsError] = RunError,
    hint: str = "",
    finite: bool = False,
) -> Any:
    """Return the data in the content of a file of JSON; see `read_json`."""
    try:
        data = json.loads(content.decode("utf-8"), **(_FINITE if finite else {}))
        _check_json(data)
    except (ValueError, RecursionError, MemoryError) as problem:
        article = "an" if what[0] in "aeiou" else "a"
        why = "it is nested too deeply" if isinstance(problem, RecursionError) else reason(problem)
        raise error(f"'{path}' is not {article} {what}: it was cut short or changed ({why}). {hint}".rstrip()) from None
    return data


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite_number(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(f"{shortened(text)} is too large for a number")
    return number


_FINITE: dict[str, Any] = {"parse_constant": _no_constant, "parse_float": _finite_number}


def _check_json(data: Any) -> None:
    """Refuse data nested so deeply that other functions stumble, and text with half of a character."""
    level, depth = [data], 0
    while level:
        depth += 1
        if depth > DEPTH:
            raise RecursionError
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                item.encode("utf-8")
            elif isinstance(item, dict):
                below += [*item, *item.values()]
            elif isinstance(item, list):
                below += item
        level = below


def file_sha256(path: Path) -> str:
    """Return the sha256 of a regular file as hexadecimal text.

    Raises:
        OSError: it can't be read, or is a pipe or device.
    """
    with open_plain(path, limit=MAX_FILE) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_leftovers(folder: Path, *, older_than: float = 0.0) -> None:
    """Remove the temporary files that a killed process left in a folder that no other process is writing to.

    Args:
        folder: to look in.
        older_than: keep files that were changed in the last so many seconds, for a folder that others write to.
    """
    remove_abandoned(folder)
    for part in folder.glob(f"{MARK}*"):  # of earlier versions
        if part.is_dir() and not part.is_symlink():
            continue
        if not older_than or time.time() - part.lstat().st_mtime > older_than:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the only lock on a folder; the system drops it when the process ends, however it ends.

    Raises:
        RunError: another process (or this one) holds it already, or the folder can't be written to.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(folder / ".lock", flags, 0o644)
    except OSError as error:
        why = "its .lock is a link" if error.errno == errno.ELOOP else error.strerror
        raise RunError(f"The run folder '{folder}' can't be written to: {why}.") from error
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(handle)
        raise RunError(f"The run folder '{folder}' can't be written to: its .lock is a link or no regular file.")
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
