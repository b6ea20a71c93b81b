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
    there = [file for file in files if (folder / file).exists()]
    if there and not overwrite:
        raise DataError(
            f"'{folder}' holds {', '.join(there)} already. Choose another folder or name, or pass overwrite=True "
            "(--overwrite)."
        )
    for file in there:
        if (folder / file).is_dir():
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
    if not folder.exists():
        with new_folder(folder, "exported files", DataError) as draft:
            write_all(draft, contents)
        return
    try:
        with draft_folder(folder) as draft:
            write_all(draft, contents)
            exchange(draft, folder, list(contents))
    except OSError as problem:
        raise DataError(f"The files can't be written to '{folder}': {reason(problem)}.") from problem


def write_all(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into a folder that nobody reads yet."""
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def exchange(draft: Path, folder: Path, names: Iterable[str]) -> None:
    """Move files from a draft to their folder, each in one step; if one can't be moved, all is put back."""
    old = draft / "before"
    old.mkdir()
    moved: list[str] = []
    try:
        for name in names:
            if (folder / name).exists():
                shutil.copy2(folder / name, old / name)
            moved.append(name)
            os.replace(draft / name, folder / name)
    except BaseException:
        for name in moved:
            with contextlib.suppress(OSError):
                if (old / name).exists():
                    os.replace(old / name, folder / name)
                elif not (draft / name).exists():
                    (folder / name).unlink(missing_ok=True)
        raise
