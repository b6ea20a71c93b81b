"""Tables of measured cells: read from CSV files or data frames, long or wide, checked, in uS and seconds."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analognets.core.files import read_plain
from analognets.core.provenance import sha256_of
from analognets.devices.fitting.headers import CONDUCTANCE, RESISTANCE, TEMPERATURE, TIME, TableColumn, columns_of
from analognets.errors import DataError, reason, shortened

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "MIN_CELLS",
    "Counted",
    "Measurements",
    "frame_of",
    "in_microsiemens",
    "numbers_of",
    "others",
    "read_measurements",
]

MIN_CELLS = 20
"""So few cells tell no law."""
MAX_BYTES = 2**29
SEPARATORS = (",", ";", "\t")
FAR = 30.0
"""Readings are not so many times the targets, or a unit is wrong."""


class Counted:
    """What tables of cells with readings have in common: their length in cells, and the count of readings."""

    cells: tuple[str, ...]
    conductance: np.ndarray

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def readings(self) -> int:
        """Count of all readings."""
        return int(np.isfinite(self.conductance).sum())


@dataclasses.dataclass(frozen=True)
class Measurements(Counted):
    """Cells that were programmed to a target each and read at one or more times.

    Args:
        cells: what the table calls each cell.
        target: target conductances in uS, shape (cells,).
        time: seconds since programming, rising, shape (cells, readings); NaN where a cell has fewer readings.
        conductance: read conductances in uS, the same shape.
        temperature: of each cell in K, shape (cells,), or None.
        source: what to call the data, with their sha256.
        notes: what about the table a reader should know, one sentence each.
    """

    cells: tuple[str, ...]
    target: np.ndarray
    time: np.ndarray
    conductance: np.ndarray
    temperature: np.ndarray | None = None
    source: str = ""
    notes: tuple[str, ...] = ()

    def only(self, chosen: np.ndarray) -> Measurements:
        """Return some of the cells, chosen by a mask."""
        return dataclasses.replace(
            self,
            cells=tuple(cell for cell, wanted in zip(self.cells, chosen, strict=True) if wanted),
            target=self.target[chosen],
            time=self.time[chosen],
            conductance=self.conductance[chosen],
            temperature=None if self.temperature is None else self.temperature[chosen],
        )


def read_measurements(table: Any, *, units: Mapping[str, str] | None = None) -> Measurements:
    """Return the measured cells of a table.

    Long: a row a reading, with the columns cell, target_uS, conductance_uS, time_s (and temperature_K). Wide: a row a
    cell, with the columns cell, target_uS, conductance_uS@25s, conductance_uS@1h and so on. A column's name says what
    it holds and its unit; conductances may be given as resistances in ohm, kohm or Mohm. Without a column of cells, a
    row of a wide table is a cell, and so is one of a long table with a single time.

    Args:
        table: path of a CSV file (separated by commas, semicolons or tabs; lines that begin with # are left out), a
            pandas table, or arrays by name of column.
        units: units by role (target, conductance, time, temperature) or by column, where names don't say them.

    Raises:
        DataError: the table can't be read, has no units, or holds what can't be measured.
    """
    frame, source = frame_of(table)
    columns = columns_of(frame.columns, {str(key): str(value) for key, value in (units or {}).items()})
    wide = any(column.time is not None for column in columns)
    long = _from_wide(frame, columns) if wide else _from_long(frame, columns)
    long["row"] = frame.index.to_numpy()[long.pop("place")]
    _check_values(long)
    unused = [column.name for column in columns if column.role is None]
    notes = [f"Columns that were not used: {', '.join(unused)}."] if unused else []
    empty = ~np.isfinite(long["conductance"])
    if empty.any():
        notes.append(f"{int(empty.sum())} readings are empty and were left out.")
    kept = {key: values[~empty] for key, values in long.items()}
    found = dataclasses.replace(_by_cell(kept), source=source, notes=tuple(notes))
    _check_cells(found)
    return found


def frame_of(table: Any) -> tuple[pd.DataFrame, str]:
    """Return a table as a data frame whose index counts rows as people do, and what to call it.

    Raises:
        DataError: it can't be read, or is none.
    """
    import pandas as pd

    if isinstance(table, (str, os.PathLike)):
        content = read_plain(Path(table), "table of measured cells", limit=MAX_BYTES, error=DataError)
        return _parsed(content, os.fspath(table)), f"{os.path.basename(table)}, sha256 {sha256_of(content)}"
    if isinstance(table, pd.DataFrame):
        frame = table.reset_index(drop=True)
    elif isinstance(table, Mapping):
        try:
            frame = pd.DataFrame({str(name): np.asarray(values).ravel() for name, values in table.items()})
        except ValueError as error:
            raise DataError(f"The columns of a table must be equally long. Received: {reason(error)}.") from None
    else:
        raise DataError(
            "Measured cells come as the path of a CSV file, a pandas table or arrays by name of column. Received: "
            f"{shortened(table)}."
        )
    if frame.empty:
        raise DataError("The table of measured cells is empty. Received: no rows.")
    frame.index = frame.index + 1
    text = frame.to_csv(index=False)
    return frame, f"a table of {len(frame)} rows, sha256 {sha256_of(text)}"


def _parsed(content: bytes, path: str) -> pd.DataFrame:
    import pandas as pd

    begin = f"The table of measured cells '{path}' can't be read"
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{begin}: it is no UTF-8 text ({reason(error)}). Save it as CSV in UTF-8.") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) < 2:
        raise DataError(f"{begin}: it needs a line of names and at least one of values. Received: {len(lines)} lines.")
    separator = max(SEPARATORS, key=lines[0].count)
    try:
        frame = pd.read_csv(io.StringIO("\n".join(lines)), sep=separator, dtype=str, skipinitialspace=True,
                            keep_default_na=False, index_col=False, on_bad_lines="error")  # fmt: skip
    except (ValueError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise DataError(f"{begin}: {reason(error)}.") from None
    names = [name.strip() for name in lines[0].split(separator)]
    if len({*names}) < len(names):
        raise DataError(f"{begin}: two columns have the same name. Received: {shortened(lines[0], 200)}.")
    frame.columns = [str(name).strip() for name in frame.columns]
    numbers = [n for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.lstrip().startswith("#")]
    frame.index = pd.Index(numbers[1 : len(frame) + 1]) if len(frame) < len(numbers) else frame.index + 2
    return frame


def numbers_of(frame: pd.DataFrame, column: TableColumn, *, may_be_empty: bool = False) -> np.ndarray:
    """Return the numbers of a column; NaN for empty fields where there may be some.

    Raises:
        DataError: a field holds something else.
    """
    import pandas as pd

    values = frame[column.name]
    if values.dtype == bool:
        values = values.astype(str)
    text = values.astype(str).str.strip()
    empty = values.isna().to_numpy() | text.str.lower().isin(["", "nan", "na", "none", "<na>"]).to_numpy()
    found = pd.to_numeric(values if values.dtype != object else text, errors="coerce").to_numpy(dtype=np.float64)
    wrong = ~np.isfinite(found) & ~(empty & may_be_empty)
    if wrong.any():
        at = int(np.argmax(wrong))
        received = "an empty field" if empty[at] else shortened(text.iloc[at])
        raise DataError(
            f"The column '{column.name}' must hold finite numbers. Received: {received} in row {frame.index[at]}"
            f"{others(wrong)}. Correct the row or leave it out."
        )
    return np.where(empty, np.nan, found)


def others(wrong: np.ndarray) -> str:
    """Return how many more rows are wrong, as words, or nothing."""
    count = int(wrong.sum()) - 1
    return f" (and in {count} more)" if count else ""


def in_microsiemens(values: np.ndarray, unit: str) -> np.ndarray:
    """Return conductances or resistances of a unit as conductances in uS."""
    if unit in CONDUCTANCE:
        return values * CONDUCTANCE[unit]
    with np.errstate(divide="ignore"):
        return 1e6 / (values * RESISTANCE[unit])


def _shared(frame: pd.DataFrame, columns: list[TableColumn]) -> dict[str, Any]:
    """Return what each row says of its cell: name, target and temperature."""
    by_role = {column.role: column for column in columns if column.role and column.time is None}
    target = by_role["target"]
    found: dict[str, Any] = {"target": in_microsiemens(numbers_of(frame, target), str(target.unit))}
    if np.isinf(found["target"]).any():
        raise DataError(f"The column '{target.name}' has a resistance of 0. Received: an infinite conductance.")
    if "cell" in by_role:
        found["cell"] = frame[by_role["cell"].name].astype(str).str.strip().to_numpy(dtype=object)
    if "temperature" in by_role:
        column = by_role["temperature"]
        found["temperature"] = numbers_of(frame, column) + TEMPERATURE[str(column.unit)]
    return found


def _from_long(frame: pd.DataFrame, columns: list[TableColumn]) -> dict[str, np.ndarray]:
    reading = next(column for column in columns if column.role == "conductance")
    time = next(column for column in columns if column.role == "time")
    found = _shared(frame, columns)
    values = numbers_of(frame, reading, may_be_empty=True)
    found["conductance"] = in_microsiemens(values, str(reading.unit))
    found["time"] = numbers_of(frame, time) * TIME[str(time.unit)]
    if "cell" not in found:
        if len(np.unique(found["time"])) > 1:
            raise DataError(
                "A long table with several times needs a column that says which cell a row belongs to, such as cell. "
                f"Received: the columns {shortened(', '.join(map(str, frame.columns)), 200)}."
            )
        found["cell"] = np.arange(len(frame)).astype(str).astype(object)
    found["place"] = np.arange(len(frame))
    return found


def _from_wide(frame: pd.DataFrame, columns: list[TableColumn]) -> dict[str, np.ndarray]:
    shared = _shared(frame, columns)
    shared.setdefault("cell", np.arange(len(frame)).astype(str).astype(object))
    names, counts = np.unique(shared["cell"].astype(str), return_counts=True)
    if (counts > 1).any():
        raise DataError(
            f"A wide table has one row a cell. Received: {counts.max()} rows of the cell "
            f"{shortened(names[counts.argmax()])}."
        )
    readings = [column for column in columns if column.time is not None]
    values = [in_microsiemens(numbers_of(frame, one, may_be_empty=True), str(one.unit)) for one in readings]
    found = {key: np.tile(value, len(readings)) for key, value in shared.items()}
    found["conductance"] = np.concatenate(values)
    found["time"] = np.repeat([float(one.time or 0.0) for one in readings], len(frame))
    found["place"] = np.tile(np.arange(len(frame)), len(readings))
    return found


def _check_values(long: dict[str, np.ndarray]) -> None:
    checks = (
        ("time", long["time"] > 0, "s", "Times since programming must be greater than 0, since drift counts in their "
         "logarithm", "Give the time at which the first reading was made, such as 25 s"),
        ("target", long["target"] >= 0, "uS", "Target conductances must be at least 0", "Correct or drop the rows"),
        ("conductance", ~(long["conductance"] < 0), "uS", "Read conductances must be at least 0",
         "Subtract the instrument's offset, or leave out the rows"),
        ("conductance", ~np.isinf(long["conductance"]), "uS", "Read conductances must be finite",
         "Leave out resistances of 0"),
    )  # fmt: skip
    for name, fine, unit, rule, advice in checks:
        if not fine.all():
            at = int(np.argmin(fine))
            raise DataError(
                f"{rule}. Received: {long[name][at]:g} {unit} in row {long['row'][at]}{others(~fine)}. {advice}."
            )
    if "temperature" in long and not (long["temperature"] > 0).all():
        raise DataError(f"Temperatures must be above 0 K. Received: {np.min(long['temperature']):g} K.")


def _by_cell(long: dict[str, np.ndarray]) -> Measurements:
    """Return the readings of each cell side by side, in the order of their times."""
    names, first, number = np.unique(long["cell"].astype(str), return_index=True, return_inverse=True)
    order = np.lexsort((long["time"], number))
    number = number[order]
    counts = np.bincount(number, minlength=len(names))
    place = np.arange(len(number)) - np.repeat(np.cumsum(counts) - counts, counts)
    time, conductance = (np.full((len(names), int(counts.max(initial=0))), np.nan) for _ in range(2))
    time[number, place] = long["time"][order]
    conductance[number, place] = long["conductance"][order]
    for name, unit in (("target", "uS"), ("temperature", "K")):
        if name not in long:
            continue
        differs = long[name][order] != long[name][first][number]
        if differs.any():
            at = int(np.argmax(differs))
            raise DataError(
                f"All rows of a cell must have the same {name}. Received: {long[name][first][number[at]]:g} and "
                f"{long[name][order][at]:g} {unit} for the cell {shortened(str(names[number[at]]))}. Give a cell that "
                "was programmed again another name."
            )
    temperature = long["temperature"][first] if "temperature" in long else None
    return Measurements(tuple(map(str, names)), long["target"][first], time, conductance, temperature)


def _check_cells(found: Measurements) -> None:
    if len(found) < MIN_CELLS:
        raise DataError(
            f"A fit needs at least {MIN_CELLS} cells; a few hundred tell a law. Received: {len(found)} cells. Measure "
            "more cells, at several targets and times."
        )
    top = found.target.max()
    if top <= 0:
        raise DataError("At least one cell must have a target above 0. Received: targets of 0 uS only.")
    high = found.target >= 0.5 * top
    ratio = float(np.median(found.conductance[high, 0] / found.target[high]))
    if not 1 / FAR < ratio < FAR:
        raise DataError(
            "Targets and readings don't fit together: one of their units is likely wrong. Received: first readings "
            f"that are {ratio:.3g} times their targets in the median. Check the units in the names of the columns."
        )
