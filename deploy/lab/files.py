"""Reading the files that a hand-over index names: nothing outside of the folder, nothing but plain numbers."""

from __future__ import annotations

import io
from pathlib import Path, PurePosixPath

import numpy as np

from analognets.core.files import file_sha256
from analognets.errors import ChipFileError

__all__ = ["read_array", "whole_path"]


def whole_path(folder: Path, file: str, tile: str) -> Path:
    """Return the path of a file named in an index.

    Raises:
        ChipFileError: the name leads out of the folder, or there is no such file.
    """
    parts = PurePosixPath(file)
    path = folder.joinpath(*parts.parts)
    inside = not parts.is_absolute() and ".." not in parts.parts and "\\" not in file
    if not inside or not path.resolve().is_relative_to(folder.resolve()):
        raise ChipFileError(f"The file of tile '{tile}' leads out of '{folder}', which is refused. Received: {file!r}.")
    if not path.is_file():
        raise ChipFileError(f"Tile '{tile}' is missing: there is no file '{path}'.")
    return path


def read_array(path: Path, tile: str, shape: tuple[int, ...], high: float, sha256: str | None) -> np.ndarray:
    """Read the conductances of a tile.

    Args:
        path: a .npy file of numbers; none with Python objects is opened.
        tile: its name, for messages.
        shape: that it must have.
        high: largest conductance of a device in uS that is allowed.
        sha256: of the file, or None if it is not known.

    Returns:
        A float64 array.

    Raises:
        ChipFileError: the file is changed, is no such array, or a conductance is not finite or out of range.
    """
    if sha256 is not None and file_sha256(path) != sha256:
        raise ChipFileError(
            f"The file of tile '{tile}', '{path}', was cut short or changed since it was written (sha256 differs). "
            "Write it again, or take its sha256 out of the index if the change is wanted."
        )
    try:
        values = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ChipFileError(f"The file of tile '{tile}', '{path}', is no .npy file of numbers: {error}.") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu" or values.shape != shape:
        received = f"{values.dtype} of shape {values.shape}" if isinstance(values, np.ndarray) else "an archive"
        raise ChipFileError(
            f"Tile '{tile}' must be numbers of shape {shape}: G+ and G-, devices of a polarity, rows, columns. "
            f"Received: {received} in '{path}'."
        )
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise ChipFileError(f"Tile '{tile}' must hold finite conductances. Received: {count} that are not in '{path}'.")
    if values.size and (values.min() < 0 or values.max() > high):
        raise ChipFileError(
            f"Conductances of tile '{tile}' must lie from 0 to {high:g} uS. Received: {values.min():g} to "
            f"{values.max():g} in '{path}'."
        )
    return values
