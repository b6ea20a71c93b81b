"""Reading the files that the index of a lab export names: nothing outside of the folder, nothing but plain numbers."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from analognets.core.files import read_plain
from analognets.core.provenance import sha256_of
from analognets.deploy.lab import format as form
from analognets.deploy.lab.orientation import check_orientation
from analognets.errors import ChipFileError, UnknownNameError, reason

__all__ = ["TOO_HIGH", "check_names", "check_unit", "read_array", "read_targets", "read_tiles", "tile_shape"]

TOO_HIGH = 2.0
"""A measured device may pass g_max by its noise; more than this many times g_max is another unit."""
TOO_LOW = 1e-2
"""If the largest device of a tile is below this share of its largest target, it is another unit."""
JUDGED = 0.05
"""Share of g_max that the largest target of a tile must have, so that its unit can be told."""
HEADER, LARGEST_NUMBER = 1 << 16, 32
"""Bytes that a .npy file may have: a header, and those of the widest kind of number."""


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
    if not os.path.isfile(path):
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
    limit = HEADER + LARGEST_NUMBER * math.prod(shape)
    content = read_plain(path, f"file of tile '{tile}'", limit=limit, error=ChipFileError)
    if sha256 is not None and sha256_of(content) != sha256:
        raise ChipFileError(
            f"The file of tile '{tile}', '{path}', was cut short or changed since it was written (sha256 differs). "
            "Write it again, or take its sha256 out of the index if the change is wanted."
        )
    try:
        values = np.load(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # NumPy raises many kinds for a broken header, SyntaxError and tokenizer errors included
        raise ChipFileError(
            f"The file of tile '{tile}', '{path}', is no .npy file of numbers: {reason(error)}."
        ) from error
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


def tile_shape(index: form.Handover, tile: form.Tile) -> tuple[int, ...]:
    """Return the shape of a tile's array."""
    return (2, index.chip.devices_per_polarity, tile.rows, tile.cols)


def read_targets(source: Path, index: form.Handover) -> dict[str, np.ndarray]:
    """Return the target conductances of every tile by its name."""
    high = index.chip.g_max_us / index.chip.devices_per_polarity * (1 + 1e-6)
    return {
        tile.name: read_array(
            whole_path(source, tile.file, tile.name), tile.name, tile_shape(index, tile), high, tile.sha256
        )
        for tile in index.tiles
    }


def read_tiles(
    source: Path, index: form.Handover, number: int, item: form.Measurement, targets: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the measured conductances of every tile by its name; targets are those of the tiles."""
    names = [tile.name for tile in index.tiles]
    where = f"chip {number} at {item.seconds:g} s"
    check_names(names, item.tiles, where)
    high = TOO_HIGH * index.chip.g_max_us / index.chip.devices_per_polarity
    tiles = {}
    for tile in index.tiles:
        file = item.tiles[tile.name]
        path = whole_path(source, file.file, tile.name)
        tiles[tile.name] = read_array(path, tile.name, tile_shape(index, tile), high, file.sha256)
    check_unit(index, targets, tiles, where)
    check_orientation(index, targets, tiles, where)
    return tiles


def check_names(names: Sequence[str], given: Mapping[str, Any], where: str) -> None:
    """Raise unless every tile, and nothing else, was measured; a wrong name is told before those that it leaves out."""
    for name in given:
        if name not in names:
            raise UnknownNameError("tile", name, names)
    missing = [name for name in names if name not in given]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ChipFileError(f"Tile '{missing[0]}'{more} of {where} is missing: every tile must be measured.")


def check_unit(
    index: form.Handover, targets: Mapping[str, np.ndarray], tiles: Mapping[str, np.ndarray], where: str
) -> None:
    """Raise if the conductances of a tile are so small beside its targets that they can't be in uS.

    Tiles of nothing but dead devices, and those whose targets hardly differ from their noise, are not judged.
    """
    least = JUDGED * index.chip.g_max_us / index.chip.devices_per_polarity
    for name, values in tiles.items():
        highest, found = float(targets[name].max()), float(values.max())
        if highest >= least and 0 < found < TOO_LOW * highest:
            raise ChipFileError(
                f"The largest conductance of {where} in tile '{name}' is {found:g}, and its targets go up to "
                f"{highest:g} uS. Give conductances in uS, not in S."
            )
