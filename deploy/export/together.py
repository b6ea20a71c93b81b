"""Files of one export, written all or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from analognets.core.drafts import draft_folder
from analognets.core.files import new_folder
from analognets.errors import DataError, reason

__all__ = ["refuse_existing", "write_together"]


def refuse_existing(folder: Path, files: Iterable[str], overwrite: bool) -> None:
    """Raise a DataError if one of the files is there and must not be replaced."""
    there = [file for file in files if os.path.exists(folder / file)]
    if there and not overwrite:
        raise DataError(
            f"'{folder}' holds {', '.join(there)} already. Choose another folder or name, or pass overwrite=True "
            "(--overwrite)."
        )
    for file in there:
        if os.path.isdir(folder / file):
            raise DataError(f"'{folder / file}' is a folder. Choose another folder or name for the files.")


def write_together(folder: Path, contents: Mapping[str, bytes], *, overwrite: bool) -> None:
    """Write files into a folder, which is made if need be and may hold others; the last one is there last.

    Args:
        folder: where.
        contents: of each file, by its name.
        overwrite: replace files of these names.

    Raises:
        DataError: one is there already, or they can't be written; what was there before is then as it was.
    """
    refuse_existing(folder, contents, overwrite)
    if not os.path.exists(folder):
        with new_folder(folder, "exported files", DataError) as draft:
            write_all(draft, contents)
        return
    try:
        with draft_folder(folder) as draft:
            new, old = draft / "new", draft / "old"
            new.mkdir()
            old.mkdir()
            write_all(new, contents)
            exchange(new, old, folder, list(contents))
    except OSError as problem:
        if isinstance(problem, DataError):
            raise
        raise DataError(f"The files can't be written to '{folder}': {reason(problem)}.") from problem


def write_all(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into a folder that nobody reads yet."""
    for name, content in contents.items():
        with (folder / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def exchange(new: Path, old: Path, folder: Path, names: Iterable[str]) -> None:
    """Move files from a draft to their folder; if one can't be moved, all is put back.

    None of them is ever missing: each is there as it was until the new one takes its name.

    Args:
        new: with the files.
        old: an empty folder beside it, for what was there.
        folder: where they belong.
        names: of the files.
    """
    moved: list[str] = []
    try:
        for name in names:
            if os.path.exists(folder / name):
                shutil.copy2(folder / name, old / name)
            moved.append(name)
            os.replace(new / name, folder / name)
    except BaseException:
        for name in moved:
            with contextlib.suppress(OSError):
                if os.path.exists(old / name):
                    os.replace(old / name, folder / name)
                elif not os.path.exists(new / name):
                    (folder / name).unlink(missing_ok=True)
        raise
