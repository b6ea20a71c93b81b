"""Hidden folders that writers fill before what they made takes its place; those of killed writers are found again."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import re
import shutil
import tempfile
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path

from analognets.errors import AnalogNetsError, RunError, reason

__all__ = [
    "MARK",
    "draft_folder",
    "exchange",
    "put",
    "recover",
    "remove_abandoned",
    "temporary_folder",
    "temporary_room",
]

MARK = ".part-"
_REPLACED = "replaced"
"""Folder in a draft with what was at the target, for the moment between the two renames of `put`."""
_HOST = f"{zlib.crc32(platform.node().encode()):08x}"
_DRAFT = re.compile(r"\.part-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}")
"""Name of a draft: the machine and process that write it, and a number."""
_EXCHANGE, _HERE = 2, -100  # of renameat2 in linux/fs.h and fcntl.h
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.ENOENT}
_NO_EXCHANGE = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM}


@contextlib.contextmanager
def draft_folder(parent: Path) -> Iterator[Path]:
    """Yield a new hidden folder in `parent`, locked while it is in use and removed at the end.

    What killed writers left in `parent` is removed first, and what they had taken away is put back.

    Raises:
        OSError: it can't be made.
    """
    with contextlib.suppress(OSError):
        remove_abandoned(parent)
    draft, handle = _new(parent)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        os.close(handle)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a new folder among the system's temporary ones; those that killed processes left are removed first.

    Raises:
        RunError: it can't be made, or is full.
    """
    with temporary_room(), draft_folder(Path(tempfile.gettempdir())) as draft:
        yield draft


@contextlib.contextmanager
def temporary_room() -> Iterator[None]:
    """Say in one sentence that the system's folder for temporary files can't be written to, if so.

    Raises:
        RunError: it is full, read-only or missing.
    """
    place = tempfile.gettempdir()
    try:
        yield
    except OSError as problem:
        if isinstance(problem, AnalogNetsError) or problem.errno not in _NO_ROOM:
            raise
        raise RunError(
            f"The folder for temporary files, '{place}', can't be written to: {reason(problem)}. Make room there, or "
            "name another one by TMPDIR."
        ) from problem


def _new(parent: Path) -> tuple[Path, int]:
    """Make a draft and take its lock, which the system drops when the process ends."""
    while True:
        draft = parent / f"{MARK}{_HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        draft.mkdir(mode=0o700)
        try:
            handle = _open(draft)
        except FileNotFoundError:
            continue  # another writer took it for abandoned before it was locked
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another writer is about to remove it
            os.close(handle)
            continue
        except OSError:  # a file system without locks on folders
            pass
        with contextlib.suppress(OSError):
            if os.stat(draft).st_ino == os.fstat(handle).st_ino:
                return draft, handle
        os.close(handle)


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def remove_abandoned(parent: Path) -> None:
    """Remove the drafts in a folder whose writers were killed, and put back what one of them had taken away.

    Raises:
        OSError: the folder is there and can't be listed.
    """
    for draft in _drafts(parent):
        with contextlib.suppress(OSError), _abandoned(draft) as free:
            if free:
                _put_back(draft)
                shutil.rmtree(draft, ignore_errors=True)


def recover(target: Path) -> None:
    """Put a folder back that a killed writer had taken away to replace it; to be called before it is opened."""
    if os.path.lexists(target):
        return
    with contextlib.suppress(OSError):
        for draft in _drafts(target.parent):
            with _abandoned(draft) as free:
                if free and os.path.lexists(draft / _REPLACED / target.name):
                    _put_back(draft)
                    return


def _drafts(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            return [Path(entry.path) for entry in entries if _DRAFT.fullmatch(entry.name) and not entry.is_symlink()]
    except (FileNotFoundError, ValueError):  # a name may hold a null byte
        return []


@contextlib.contextmanager
def _abandoned(draft: Path) -> Iterator[bool]:
    """Yield whether nobody uses a draft; while the block runs nobody else finds it so."""
    handle = _open(draft)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        except OSError:  # a file system without locks on folders
            host, process = _DRAFT.fullmatch(draft.name).groups()  # type: ignore[union-attr]
            free = host == _HOST and not _is_running(int(process))
        yield free
    finally:
        os.close(handle)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _put_back(draft: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(draft / _REPLACED):
            if not os.path.lexists(draft.parent / name):
                os.rename(draft / _REPLACED / name, draft.parent / name)


def put(made: Path, target: Path) -> None:
    """Move a finished folder out of its draft to its place, in one step; what was there goes into the draft.

    Where the file system can't exchange two names in one step, it takes two, and `recover` mends what a kill between
    them leaves.

    Args:
        made: in a draft beside the target, and called like it.
        target: its place.

    Raises:
        OSError: it can't be moved; what was there is back in its place.
    """
    if not os.path.lexists(target):
        os.rename(made, target)
        return
    if exchange(made, target):
        return
    aside = made.parent / _REPLACED / target.name
    aside.parent.mkdir()
    os.replace(target, aside)
    try:
        os.replace(made, target)
    except BaseException:
        os.replace(aside, target)
        raise


def exchange(one: Path, other: Path) -> bool:
    """Exchange what two names stand for in one step; False where the system can't.

    Raises:
        OSError: one of them is missing, or may not be moved.
    """
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        return False
    if library.renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(other))
