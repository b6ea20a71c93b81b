"""Measured arrays without an index: a .npy or CSV file per tile in a folder, or one CSV file with a row per cell."""

from __future__ import annotations

import dataclasses
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analognets.core.files import read_plain
from analognets.deploy.lab import format as form
from analognets.devices.fitting.headers import CONDUCTANCE, RESISTANCE, TIME
from analognets.errors import ChipFileError, check_choice, reason, shortened
from analognets.units import parse_duration

__all__ = ["PlainReading", "is_plain", "read_plain_readings"]

MAX_BYTES = 1 << 31
"""Of a file of measured arrays."""
SUFFIXES = (".npy", ".csv")
POLARITIES = ("_plus", "_minus")
CHIP_FOLDER = re.compile(r"chip_?(\d+)(?:_(.+))?")
ROLES = {
    "tile": ("tile",),
    "row": ("row", "wordline"),
    "col": ("col", "column", "bitline"),
    "device": ("device",),
    "chip": ("chip", "die"),
    "time": ("time", "seconds", "t", "timesinceprogramming"),
    "plus": ("gplus", "g+", "gpos", "gp", "plus"),
    "minus": ("gminus", "g-", "gneg", "gm", "minus"),
}
"""Names of the columns of a table of cells, without underscores and unit."""
UPPER, NEAR = 0.95, 0.8
"""Quantile whose size tells the unit, and by how many decades it may be off: drift takes up to 0.6 in a year."""
NEEDED = "Needed: tile, row, col, g_plus_uS, g_minus_uS (also: device, chip, time_s)"
UNITS = {unit.lower(): unit for unit in CONDUCTANCE}


@dataclasses.dataclass(frozen=True)
class PlainReading:
    """All tiles of a chip as read at one time.

    Args:
        chip: its number.
        seconds: since programming; None where the files don't say.
        tiles: conductances in uS by tile, (2, devices, rows, columns).
        unit: that the files had.
    """

    chip: int
    seconds: float | None
    tiles: dict[str, np.ndarray]
    unit: str = "uS"


def is_plain(source: Path) -> bool:
    """Return whether this is a file or folder of measured arrays, and no folder with an index."""
    if not os.path.isdir(source):  # as a path that can't be one, such as a too long name
        return source.suffix.lower() in SUFFIXES
    if (source / form.INDEX).exists():
        return False
    return any(
        CHIP_FOLDER.fullmatch(path.name) if path.is_dir() else path.suffix.lower() in SUFFIXES
        for path in source.iterdir()
    )


def read_plain_readings(
    source: Path, index: form.Handover, targets: Mapping[str, np.ndarray], unit: str | None = None
) -> list[PlainReading]:
    """Read measured arrays.

    Args:
        source: a folder with a file per tile, named as the tile with "_" for "/": `conv_1_0.npy`, `conv_1_0.csv`, or
            `conv_1_0_plus.csv` and `conv_1_0_minus.csv`; or with a folder per chip, `chip_0`, or per reading,
            `chip_0_1d`; or one CSV file with a row per cell and the columns tile, row, col, g_plus_uS, g_minus_uS, and
            where there are several, device, chip and time_s. A network of one tile may also be one .npy or CSV file of
            that tile.
        index: of the hand-over, which names the tiles.
        targets: of each tile in uS, to tell a wrong unit.
        unit: of arrays that don't say it: "S", "mS", "uS" (the default), "nS" or "pS".

    Returns:
        One reading for each chip and time.

    Raises:
        ChipFileError: a file can't be read, a tile or rows of it are missing, a tile is transposed, or the unit is
            wrong.
        InvalidArgumentError: there is no such unit.

    Examples:
        >>> folder = chips.export_targets("targets")
        >>> index = form.read_index(folder)
        >>> targets = {tile.name: np.load(folder / tile.file) for tile in index.tiles}
        >>> Path("measured").mkdir()
        >>> for name, target in targets.items():
        ...     np.save(f"measured/{name.replace('/', '_')}.npy", 0.9 * target)
        >>> len(read_plain_readings(Path("measured"), index, targets))
        1
    """
    if unit is not None:
        check_choice("measured arrays", "unit", unit, tuple(CONDUCTANCE))
    if not os.path.exists(source):
        raise ChipFileError(f"There are no measured arrays at '{source}': no such file or folder.")
    readings = list(_of_folder(source, index, unit) if source.is_dir() else _of_file(source, index, unit))
    for reading in readings:
        for name, values in reading.tiles.items():
            _check_scale(name, targets[name], values, reading.unit)
    return readings


def safe(name: str) -> str:
    """Return the name of a tile as the name of a file."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def _of_folder(source: Path, index: form.Handover, unit: str | None) -> Iterator[PlainReading]:
    below = sorted(path for path in source.iterdir() if path.is_dir() and CHIP_FOLDER.fullmatch(path.name))
    for path in below:
        number, at = CHIP_FOLDER.findall(path.name)[0]
        yield PlainReading(int(number), parse_duration(at) if at else None, _tiles_in(path, index, unit), unit or "uS")
    if not below:
        yield PlainReading(0, None, _tiles_in(source, index, unit), unit or "uS")


def _tiles_in(folder: Path, index: form.Handover, unit: str | None) -> dict[str, np.ndarray]:
    """Return the tiles of a folder that holds a file, or two, for each."""
    files = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
    tiles, used = {}, set()
    for tile in index.tiles:
        names = {safe(tile.name), Path(tile.file).stem}
        found = [[f"{name}{suffix}".lower()] for name in names for suffix in SUFFIXES]
        found += [[f"{name}{end}{suffix}".lower() for end in POLARITIES] for name in names for suffix in SUFFIXES]
        there = [group for group in found if all(name in files for name in group)]
        if len(there) != 1:
            count = "is missing" if not there else "is there more than once"
            raise ChipFileError(
                f"Tile '{tile.name}' {count} in '{folder}'. Needed: one of {safe(tile.name)}.npy, .csv, or "
                f"{safe(tile.name)}_plus and _minus. Received: {shortened(', '.join(files) or 'no .npy or .csv file')}."
            )
        used |= set(there[0])
        arrays = [_array(files[name], tile, index, len(there[0]) == 2) for name in there[0]]
        if len({part.shape for part in arrays}) > 1:
            raise ChipFileError(
                f"G+ and G- of tile '{tile.name}' must have one shape. Received: {arrays[0].shape} and "
                f"{arrays[1].shape}."
            )
        whole = arrays[0] if len(arrays) == 1 else np.stack(arrays)
        tiles[tile.name] = _shaped(whole, tile, index) * _factor(unit)
    if left := sorted(set(files) - used):
        raise ChipFileError(f"The file '{files[left[0]]}' is of no tile. {_tile_names(index)}")
    return tiles


def _tile_names(index: form.Handover) -> str:
    names = ", ".join(safe(tile.name) for tile in index.tiles[:8])
    return f"Tiles are: {names}{', ...' if len(index.tiles) > 8 else ''}."


def _of_file(source: Path, index: form.Handover, unit: str | None) -> Iterator[PlainReading]:
    if source.suffix.lower() == ".csv" and (frame := _table(source)) is not None:
        yield from _of_table(frame, source, index, unit)
        return
    if len(index.tiles) != 1:
        raise ChipFileError(
            f"One array is no measurement of {len(index.tiles)} tiles: give a folder with a file per tile, or a CSV "
            f"file with a row per cell. {NEEDED}. Received: '{source}'."
        )
    tile = index.tiles[0]
    values = _shaped(_array(source, tile, index, False), tile, index) * _factor(unit)
    yield PlainReading(0, None, {tile.name: values}, unit or "uS")


def _factor(unit: str | None) -> float:
    return CONDUCTANCE["uS" if unit is None else unit]


def _array(path: Path, tile: form.Tile, index: form.Handover, half: bool) -> np.ndarray:
    """Return the numbers of a file of one tile, or of one polarity of it."""
    content = read_plain(path, f"file of tile '{tile.name}'", limit=MAX_BYTES, error=ChipFileError)
    if path.suffix.lower() == ".npy":
        try:
            values = np.load(io.BytesIO(content), allow_pickle=False)
        except Exception as error:  # NumPy raises many kinds for a broken header
            raise ChipFileError(f"'{path}' is no .npy file of numbers: {reason(error)}.") from error
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
            raise ChipFileError(f"'{path}' must hold real numbers. Received: {getattr(values, 'dtype', 'an archive')}.")
        return values.astype(np.float64)
    frame = None if half else _table(path)
    if frame is not None:
        readings = list(_of_table(frame, path, index, None, tile))
        if len(readings) != 1:
            raise ChipFileError(f"The file of a tile holds one reading. Received: {len(readings)} in '{path}'.")
        return readings[0].tiles[tile.name]
    values = _matrix(content, path)
    if half:
        return values
    if values.shape[0] % 2:
        raise ChipFileError(
            f"The file of tile '{tile.name}' must hold {tile.rows} rows of G+ above {tile.rows} rows of G-. Received: "
            f"{values.shape[0]} rows in '{path}'."
        )
    return values.reshape(2, values.shape[0] // 2, values.shape[1])


def _text(content: bytes, path: Path) -> list[str]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ChipFileError(f"'{path}' is no UTF-8 text ({reason(error)}). Save it as CSV in UTF-8.") from None
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _separator(line: str) -> str:
    return max(",;\t ", key=line.strip().count)


def _matrix(content: bytes, path: Path) -> np.ndarray:
    """Return the numbers of a CSV file without names of columns."""
    lines = _text(content, path)
    if not lines:
        raise ChipFileError(f"'{path}' holds no numbers.")
    separator = _separator(lines[0])
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append([float(word) if word.strip() else np.nan for word in line.strip().split(separator)])
        except ValueError as error:
            raise ChipFileError(
                f"'{path}' must hold numbers only. Received: {reason(error)} in row {number}."
            ) from None
    if len({len(row) for row in rows}) > 1:
        raise ChipFileError(
            f"All rows of '{path}' must be equally long. Received: {len(rows[0])} numbers in row 1, and "
            f"{next(len(row) for row in rows if len(row) != len(rows[0]))} in another."
        )
    return np.array(rows, np.float64)


def _table(path: Path) -> Any:
    """Return a CSV file whose first line names its columns as (names, numbers or text by column), else None."""
    lines = _text(read_plain(path, "file of measured arrays", limit=MAX_BYTES, error=ChipFileError), path)
    if not lines:
        raise ChipFileError(f"'{path}' holds no numbers.")
    separator = _separator(lines[0])
    names = [word.strip() for word in lines[0].split(separator)]
    if not any(re.search(r"[A-Za-z]{3}", name) and name.lower() not in ("nan", "inf") for name in names):
        return None
    rows = [[word.strip() for word in line.split(separator)] for line in lines[1:]]
    wrong = next((number for number, row in enumerate(rows, 2) if len(row) != len(names)), None)
    if not rows or wrong:
        received = f"{len(rows[wrong - 2])} in row {wrong}" if wrong else "no rows"
        raise ChipFileError(f"Each row of '{path}' must have {len(names)} values. Received: {received}.")
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _roles(frame: Mapping[str, Sequence[str]], source: Path) -> dict[str, tuple[str, str | None]]:
    """Return the column of each role, and the unit in its name."""
    found: dict[str, tuple[str, str | None]] = {}
    for name in frame:
        words = [word for word in re.split(r"[\s_\[\]()/]+", name.strip()) if word]
        before, last = "".join(words[:-1]).lower(), words[-1].lower() if words else ""
        timed = before in ROLES["time"]
        if timed and last not in TIME:
            if before == "t":
                continue  # a temperature, a number ...
            raise ChipFileError(
                f"Column '{name}' of '{source}' must have a unit of time: {', '.join(TIME)}. Received: '{words[-1]}'."
            )
        unit = last if timed else UNITS.get(last) if len(words) > 1 else None
        key = "".join(words[:-1] if unit else words).lower()
        role = next((role for role, names in ROLES.items() if key in names), None)
        if role in found:
            raise ChipFileError(f"Two columns of '{source}' are {role}. Received: '{found[role][0]}' and '{name}'.")
        if role is not None:
            found[role] = (name, unit)
    missing = [role for role in ("row", "col", "plus", "minus") if role not in found]
    if missing:
        raise ChipFileError(
            f"'{source}' has no column for {', '.join(missing)}. {NEEDED}. Received: {shortened(', '.join(frame))}."
        )
    return found


def _numbers(frame: Mapping[str, Sequence[str]], name: str, source: Path, *, whole: bool) -> np.ndarray:
    values = np.empty(len(frame[name]))
    for place, word in enumerate(frame[name]):
        try:
            values[place] = float(word) if word else np.nan
        except ValueError:
            raise ChipFileError(
                f"Column '{name}' of '{source}' must hold numbers. Received: {word!r} in row {place + 2}."
            ) from None
    if whole and not ((values >= 0) & (values < 1 << 40) & (values == np.round(values))).all():
        raise ChipFileError(f"Column '{name}' of '{source}' must hold whole numbers from 0.")
    return values.astype(np.int64) if whole else values


def _of_table(
    frame: Mapping[str, Sequence[str]], source: Path, index: form.Handover, unit: str | None,
    only: form.Tile | None = None,
) -> Iterator[PlainReading]:  # fmt: skip
    """Yield the readings of a table with a row per cell; with `only`, of that tile."""
    roles = _roles(frame, source)
    count = len(next(iter(frame.values())))
    tiles = [only] if only else index.tiles
    if "tile" in roles:
        named = np.array([safe(name) for name in frame[roles["tile"][0]]])
    elif len(tiles) == 1:
        named = np.full(count, safe(tiles[0].name))
    else:
        raise ChipFileError(f"'{source}' needs a column 'tile', since the network has {len(tiles)}. {NEEDED}.")
    known = {safe(tile.name) for tile in index.tiles}
    if strange := sorted(set(named) - known):
        raise ChipFileError(f"'{source}' names a tile '{strange[0]}' that does not exist. {_tile_names(index)}")
    chips, times = (
        _numbers(frame, roles[role][0], source, whole=role == "chip") if role in roles else np.zeros(count)
        for role in ("chip", "time")
    )
    if "time" in roles:
        times = times * TIME[roles["time"][1] or "s"]
        if not (np.isfinite(times).all() and (times >= 0).all()):
            raise ChipFileError(f"Column '{roles['time'][0]}' of '{source}' must hold times since programming, from 0.")
    for chip, seconds in sorted({*zip(chips.tolist(), times.tolist(), strict=True)}):
        here = (chips == chip) & (times == seconds)
        made = {tile.name: _cells(frame, roles, here & (named == safe(tile.name)), tile, index, source, unit)
                for tile in tiles}  # fmt: skip
        yield PlainReading(
            int(chip), float(seconds) if "time" in roles else None, made, roles["plus"][1] or unit or "uS"
        )


def _cells(
    frame: Mapping[str, Sequence[str]], roles: Mapping[str, tuple[str, str | None]], here: np.ndarray, tile: form.Tile,
    index: form.Handover, source: Path, unit: str | None,
) -> np.ndarray:  # fmt: skip
    """Return a tile from the rows of a table that are of it."""
    if not here.any():
        raise ChipFileError(f"Tile '{tile.name}' is missing in '{source}'.")
    row, col = (_numbers(frame, roles[role][0], source, whole=True)[here] for role in ("row", "col"))
    devices = index.chip.devices_per_polarity
    device = _numbers(frame, roles["device"][0], source, whole=True)[here] if "device" in roles else np.zeros_like(row)
    parts = devices if "device" in roles else 1
    size = (int(row.max()) + 1, int(col.max()) + 1)
    if size == (tile.cols, tile.rows) and tile.rows != tile.cols:
        raise ChipFileError(_transposed(tile, size))
    if row.min() == 1 and col.min() == 1 and size == (tile.rows + 1, tile.cols + 1):
        row, col = row - 1, col - 1  # counted from 1
    elif size[0] > tile.rows or size[1] > tile.cols or device.max() >= parts:
        raise ChipFileError(
            f"Tile '{tile.name}' has {tile.rows} rows, {tile.cols} columns and {devices} devices of a polarity, "
            f"counted from 0. Received: row {int(row.max())}, column {int(col.max())}, device {int(device.max())} in "
            f"'{source}'."
        )
    values = np.full((2, parts, tile.rows, tile.cols), np.nan)
    seen = np.zeros(values.shape[1:], int)
    np.add.at(seen, (device, row, col), 1)
    if (seen > 1).any():
        _, r, c = np.argwhere(seen > 1)[0]
        raise ChipFileError(f"Row {r}, column {c} of tile '{tile.name}' stands more than once in '{source}'.")
    for place, role in enumerate(("plus", "minus")):
        name, own = roles[role]
        factor = _factor(unit if own is None else own)
        values[place, device, row, col] = _numbers(frame, name, source, whole=False)[here] * factor
    return _shaped(values, tile, index)


def _transposed(tile: form.Tile, size: tuple[int, int]) -> str:
    return (
        f"Tile '{tile.name}' is transposed: it has {tile.rows} rows (word lines) and {tile.cols} columns, rows first. "
        f"Received: {size[0]} rows and {size[1]} columns."
    )


def _shaped(values: np.ndarray, tile: form.Tile, index: form.Handover) -> np.ndarray:
    """Return an array in the shape of its tile, finite; what is given per polarity is shared out over its devices."""
    devices, size = index.chip.devices_per_polarity, (tile.rows, tile.cols)
    if values.ndim >= 2 and values.shape[-2:] != size:
        rows, cols = values.shape[-2:]
        if (cols, rows) == size:
            raise ChipFileError(_transposed(tile, (rows, cols)))
        if cols == tile.cols and rows < tile.rows and values.ndim > 2:
            raise ChipFileError(
                f"Tile '{tile.name}' misses {tile.rows - rows} of its {tile.rows} rows. Received: {rows} rows of "
                f"{cols} columns for each polarity."
            )
    if values.shape == (2, *size):
        values = np.repeat(values[:, None] / devices, devices, axis=1)
    elif values.shape == (2, 1, *size) and devices > 1:
        values = np.repeat(values / devices, devices, axis=1)
    if values.shape != (2, devices, *size):
        raise ChipFileError(
            f"Tile '{tile.name}' must be numbers of shape {(2, devices, *size)} or {(2, *size)}: G+ above G-, "
            f"{'devices of a polarity, ' if devices > 1 else ''}rows, columns. Received: shape {values.shape}."
        )
    empty = np.isnan(values)
    if rows_missing := np.flatnonzero(empty.all(axis=(0, 1, 3))).tolist():
        shown = ", ".join(map(str, rows_missing[:5])) + (
            f" and {len(rows_missing) - 5} more" if len(rows_missing) > 5 else ""
        )
        raise ChipFileError(
            f"Tile '{tile.name}' misses {len(rows_missing)} of its {tile.rows} rows: "
            f"row{'s' if rows_missing[1:] else ''} {shown} hold no numbers."
        )
    if empty.any():
        _, _, r, c = np.argwhere(empty)[0]
        raise ChipFileError(
            f"Tile '{tile.name}' misses {int(empty.sum())} conductances, the first at row {r}, column {c}."
        )
    if not np.isfinite(values).all() or values.min() < 0:
        raise ChipFileError(
            f"Conductances of tile '{tile.name}' must be finite and at least 0. Received: {values.min():g} to "
            f"{values.max():g}. Give G+ and G- apart, not their difference."
        )
    return values


def _check_scale(name: str, targets: np.ndarray, values: np.ndarray, said: str) -> None:
    """Raise if a tile has another unit, told by its upper quantile, whatever the order of its cells."""
    if targets.size < 8 or not targets.any() or not values.any():
        return
    wanted, found = (float(np.quantile(part, UPPER)) for part in (targets, values))
    if not wanted or not found or abs(np.log10(found / wanted)) < NEAR:
        return
    given = found / CONDUCTANCE[said]
    large = targets >= 0.5 * targets.max()
    lowest = float(np.quantile(values / CONDUCTANCE[said], 1 - UPPER))
    falls = np.median(values[large]) < np.median(values[~large])
    for other, factor in RESISTANCE.items():
        if falls and lowest > 0 and other.isascii() and abs(np.log10(1e6 / (lowest * factor) / wanted)) < NEAR:
            raise ChipFileError(
                f"Tile '{name}' seems to hold resistances in {other}: devices with large targets read the smallest. "
                "Give conductances."
            )
    for other, factor in CONDUCTANCE.items():
        if other.isascii() and abs(np.log10(given * factor / wanted)) < NEAR:
            raise ChipFileError(
                f"The unit of tile '{name}' seems to be {other}, not {said}: its targets go up to {wanted:.3g} uS and "
                f"its conductances to {given:.3g}. Give unit='{other}' (--unit {other}), or name it in the column."
            )
    raise ChipFileError(
        f"Conductances of tile '{name}' are {found / wanted:.3g} times their targets, which no unit explains. Give uS."
    )
