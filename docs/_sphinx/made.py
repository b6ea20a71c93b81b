"""Folders of pages that are made: what did not change is not written, so that Sphinx does not read it again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["fill"]


def fill(folder: Path, contents: Mapping[str, str | bytes]) -> None:
    """Let a folder hold these files and no others.

    Args:
        folder: made if need be.
        contents: text or bytes by file name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_file() and path.name not in contents:
            path.unlink()
    for name, content in contents.items():
        data, path = content.encode() if isinstance(content, str) else content, folder / name
        if not path.is_file() or path.read_bytes() != data:
            path.write_bytes(data)
