"""Pulse curves of cells: read from tables in several forms, checked, in uS."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from analognets.devices.fitting.headers import RESISTANCE, TableColumn
from analognets.devices.fitting.measurements import Counted, frame_of, in_microsiemens, numbers_of, others
from analognets.devices.fitting.pulses.headers import DIRECTIONS, EXAMPLES, PulseColumn, pulse_columns
from analognets.errors import DataError, shortened

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MIN_PULSED_CELLS", "PulseCurves", "read_pulse_curves"]

MIN_PULSED_CELLS = 10
"""So few cells tell no spread between devices."""
LEAST_READINGS = 10
"""Of all cells in a direction."""
TURN = 0.5
"""A curve that falls by this share of its rise after its highest place has turned to depression there."""
UP, DOWN = "potentiation", "depression"


@dataclasses.dataclass(frozen=True)
class PulseCurves(Counted):
    """Conductances of cells after so many pulses: a row a curve, of one cell, one direction and one cycle.

    Args:
        cells: what the table calls each cell.
        owner: place in `cells` of the cell of each curve, (curves,).
        down: whether pulses depress, (curves,).
        number: pulses before each reading, rising, (curves, readings); NaN where a curve has fewer readings.
        conductance: in uS, the same shape.
        single: whether the table is one curve that stands for all cells.
        source: what to call the data, with their sha256.
        notes: what about the table a reader should know, one sentence each.
    """

    cells: tuple[str, ...]
    owner: np.ndarray
    down: np.ndarray
    number: np.ndarray
    conductance: np.ndarray
    single: bool
    source: str = ""
    notes: tuple[str, ...] = ()

    def of(self, direction: str) -> PulseCurves:
        """Return the curves of one direction, without columns that none of them has."""
        chosen = self.down == (direction == DOWN)
        kept = np.isfinite(self.number[chosen]).any(0)
        return dataclasses.replace(
            self, owner=self.owner[chosen], down=self.down[chosen], number=self.number[chosen][:, kept],
            conductance=self.conductance[chosen][:, kept],
        )  # fmt: skip

    def pulses(self, direction: str) -> int:
        """Return the most pulses of a curve in a direction, from its first reading to its last; 0 if there are none."""
        found = self.number[self.down == (direction == DOWN)]
        return int(np.max(np.nanmax(found, axis=1) - np.nanmin(found, axis=1))) if found.size else 0


def read_pulse_curves(table: Any, *, units: Mapping[str, str] | None = None) -> PulseCurves:
    """Return the pulse curves of a table.

    Long: a row a reading, with the columns cell, pulse, conductance_uS, and direction (LTP or LTD) and cycle where
    there are several. Wide: a row a pulse number with a column a cell (pulse, cell_1_uS, cell_2_uS, ...) or a direction
    (pulse, LTP_uS, LTD_uS), or a row a cell with the pulse numbers in names (cell, LTP_uS@0, LTP_uS@1, ...).
    A table without cells is one curve. Without directions, a curve that rises and then falls turns at its highest
    place.

    Args:
        table: path of a CSV file, a pandas table, or arrays by name of column, as for `read_measurements`.
        units: {"conductance": "uS"} or units by column, where names don't say them.

    Raises:
        DataError: the table can't be read, has no units, or holds what no pulse curves are.
    """
    frame, source = frame_of(table)
    columns = pulse_columns(frame.columns, {str(key): str(value) for key, value in (units or {}).items()})
    wide = any(column.number is not None for column in columns)
    rows = _from_names(frame, columns) if wide else _from_rows(frame, columns)
    rows = {key: value[np.isfinite(rows["conductance"])] for key, value in rows.items()}
    _check_values(rows)
    notes = []
    unused = [column.name for column in columns if column.role is None]
    if unused:
        notes.append(f"Columns that were not used: {', '.join(unused)}.")
    if not any(column.role == "pulse" for column in columns) and not wide:
        notes.append("The table has no pulse numbers: its rows count as pulses 0, 1, 2, ...")
    curves = _curves(rows, source)
    if not rows["said"].any():
        curves, turned = _turned(curves)
        notes += turned
    _check_curves(curves)
    return dataclasses.replace(curves, notes=tuple(notes))


def _reading(frame: pd.DataFrame, column: PulseColumn) -> np.ndarray:
    values = numbers_of(frame, TableColumn(column.name, "conductance", column.unit), may_be_empty=True)
    if column.unit in RESISTANCE and (values == 0).any():
        raise DataError(f"The column '{column.name}' has a resistance of 0. Received: an infinite conductance.")
    return in_microsiemens(values, str(column.unit))


def _labels(frame: pd.DataFrame, columns: list[PulseColumn], role: str) -> np.ndarray | None:
    column = next((one for one in columns if one.role == role), None)
    return None if column is None else frame[column.name].astype(str).str.strip().to_numpy(dtype=object)


def _directions(frame: pd.DataFrame, columns: list[PulseColumn]) -> np.ndarray | None:
    """Return for each row whether it depresses."""
    found = _labels(frame, columns, "direction")
    if found is None:
        return None
    words = {word: one == DOWN for one, known in DIRECTIONS.items() for word in known}
    wrong = np.array([str(one).lower() not in words for one in found])
    if wrong.any():
        at = int(wrong.argmax())
        raise DataError(
            "A column of directions must hold LTP or LTD (or potentiation, depression, set, reset, 1, -1). Received: "
            f"{shortened(found[at])} in row {frame.index[at]}{others(wrong)}."
        )
    return np.array([words[str(one).lower()] for one in found])


def _numbers(frame: pd.DataFrame, columns: list[PulseColumn], direction: str | None) -> np.ndarray:
    """Return the pulse number of each row: of the column that names the direction, or of the only one."""
    named = [one for one in columns if one.role == "pulse"]
    mine = [one for one in named if one.direction == direction and direction] or [
        one for one in named if one.direction is None
    ]
    if len(mine) > 1 or (named and not mine):
        raise DataError(
            "A table of pulse curves has one column of pulse numbers, or one for each direction. Received: "
            f"{', '.join(one.name for one in named)}."
        )
    if not mine:
        return np.arange(len(frame), dtype=np.float64)
    return numbers_of(frame, TableColumn(mine[0].name, "pulse"), may_be_empty=True)


def _from_rows(frame: pd.DataFrame, columns: list[PulseColumn]) -> dict[str, np.ndarray]:
    readings = [column for column in columns if column.role == "conductance"]
    cells, cycles, down = _labels(frame, columns, "cell"), _labels(frame, columns, "cycle"), _directions(frame, columns)
    keys = {(one.label, one.direction) for one in readings}
    several = len({one.label for one in readings}) > 1
    if len(keys) < len(readings) or (several and cells is not None):
        raise DataError(
            "Columns of conductances must differ in the cell or the direction that they name, and there may be several "
            f"cells only where no column holds the cell. Received: {', '.join(one.name for one in readings)}. Name "
            f"columns: {EXAMPLES}."
        )
    parts = []
    for column in readings:
        values = _reading(frame, column)
        number = _numbers(frame, columns, column.direction)
        number = np.where(np.isfinite(values), number, np.nan)
        said = column.direction is not None or down is not None
        falls = np.full(len(frame), column.direction == DOWN) if down is None else down
        name = cells if cells is not None else np.full(len(frame), column.label if several else "1", dtype=object)
        parts.append(_part(frame, name, cycles, falls, said, number, values))
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _part(
    frame: pd.DataFrame, cell: Any, cycle: Any, down: np.ndarray, said: bool, number: np.ndarray, values: np.ndarray
) -> dict[str, np.ndarray]:
    count = len(frame)
    return {
        "cell": cell, "cycle": np.full(count, "1", dtype=object) if cycle is None else cycle, "down": down,
        "said": np.full(count, said), "number": number, "conductance": values, "row": frame.index.to_numpy(),
    }  # fmt: skip


def _from_names(frame: pd.DataFrame, columns: list[PulseColumn]) -> dict[str, np.ndarray]:
    cells, cycles, down = _labels(frame, columns, "cell"), _labels(frame, columns, "cycle"), _directions(frame, columns)
    cells = np.arange(len(frame)).astype(str).astype(object) if cells is None else cells
    parts = []
    for column in sorted((one for one in columns if one.role == "conductance"), key=lambda one: one.number or 0):
        said = column.direction is not None or down is not None
        falls = np.full(len(frame), column.direction == DOWN) if down is None else down
        number = np.full(len(frame), float(column.number or 0))
        parts.append(_part(frame, cells, cycles, falls, said, number, _reading(frame, column)))
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _check_values(rows: dict[str, np.ndarray]) -> None:
    checks = (
        ("conductance", rows["conductance"] >= 0, "Read conductances must be at least 0",
         "Subtract the instrument's offset, or leave out the rows"),
        ("conductance", rows["conductance"] < np.inf, "Read conductances must be finite", "Correct the rows"),
        ("number", (rows["number"] >= 0) & (rows["number"] == np.round(rows["number"])),
         "Pulse numbers must be whole numbers from 0 on", "Count the pulses that a cell has had before the reading"),
    )  # fmt: skip
    for name, fine, rule, advice in checks:
        if not fine.all():
            at = int(np.argmin(fine))
            unit = " uS" if name == "conductance" else ""
            raise DataError(
                f"{rule}. Received: {rows[name][at]:g}{unit} in row {rows['row'][at]}{others(~fine)}. {advice}."
            )


def _curves(rows: dict[str, np.ndarray], source: str) -> PulseCurves:
    """Return the readings of each curve side by side, in the order of the rows."""
    keys = list(zip(rows["cell"].astype(str), rows["cycle"].astype(str), rows["down"], strict=True))
    known: dict[Any, list[int]] = {}
    for place, key in enumerate(keys):
        known.setdefault(key, []).append(place)
    if not known:
        raise DataError("The table of pulse curves holds no readings. Received: empty fields only.")
    width = max(map(len, known.values()))
    number, conductance = (np.full((len(known), width), np.nan) for _ in range(2))
    for row, (key, places) in enumerate(known.items()):
        mine = rows["number"][places]
        wrong = np.flatnonzero(np.diff(mine) <= 0)
        if wrong.size:
            at = int(wrong[0])
            raise DataError(
                "Pulse numbers must rise from row to row of a curve. Received: "
                f"{mine[at + 1]:g} after {mine[at]:g} for the cell {shortened(key[0])} in row "
                f"{rows['row'][places[at + 1]]}. Sort the rows; where pulses are counted anew, add a column `direction`"
                " (LTP, LTD) or `cycle`."
            )
        number[row, : len(places)], conductance[row, : len(places)] = mine, rows["conductance"][places]
    cells = tuple(dict.fromkeys(key[0] for key in known))
    owner = np.array([cells.index(key[0]) for key in known])
    return PulseCurves(cells, owner, np.array([key[2] for key in known]), number, conductance, len(cells) == 1, source)


def _turned(curves: PulseCurves) -> tuple[PulseCurves, list[str]]:
    """Return curves without directions, parted where their mean is highest if they fall from there."""
    times = np.unique(curves.number[np.isfinite(curves.number)])
    mean = np.array([curves.conductance[curves.number == one].mean() for one in times])
    top = int(mean.argmax())
    rise, fall = mean[top] - mean[0], mean[top] - mean[-1]
    if not 1 <= top < len(times) - 2 or fall < TURN * rise:
        return curves, []
    turn = times[top]
    before, after = curves.number <= turn, curves.number >= turn
    number = np.concatenate([np.where(before, curves.number, np.nan), np.where(after, curves.number - turn, np.nan)])
    conductance = np.where(np.isfinite(number), np.concatenate([curves.conductance] * 2), np.nan)
    order = np.argsort(np.where(np.isfinite(number), number, np.inf), axis=1, kind="stable")
    down = np.repeat([False, True], len(curves.owner))
    made = dataclasses.replace(
        curves, owner=np.tile(curves.owner, 2), down=down, number=np.take_along_axis(number, order, 1),
        conductance=np.take_along_axis(conductance, order, 1),
    )  # fmt: skip
    return made, [f"The table names no directions: its curves are highest after {turn:g} pulses and are depression "
                  "from there."]  # fmt: skip


def _check_curves(curves: PulseCurves) -> None:
    count = len(curves.cells)
    if 1 < count < MIN_PULSED_CELLS:
        raise DataError(
            f"A fit of pulse curves needs at least {MIN_PULSED_CELLS} cells, which tell how devices differ, or one "
            f"curve, which leaves that open. Received: {count} cells. Measure more cells, or fit one of these curves."
        )
    for direction, word in ((UP, "raise"), (DOWN, "lower")):
        mine = curves.of(direction)
        if not len(mine.owner):
            continue
        there = np.isfinite(mine.conductance)
        if (there.sum(1) >= 3).sum() == 0 or there.sum() < LEAST_READINGS:
            raise DataError(
                f"A fit of {direction} needs at least {LEAST_READINGS} readings, three or more a curve. Received: "
                f"{int(there.sum())} readings of {len(there)} curves."
            )
        first = np.array([row[ok][0] for row, ok in zip(mine.conductance, there, strict=True) if ok.sum() > 1])
        last = np.array([row[ok][-1] for row, ok in zip(mine.conductance, there, strict=True) if ok.sum() > 1])
        if np.median(last - first) * (-1.0 if direction == DOWN else 1.0) <= 0:
            raise DataError(
                f"Pulses of {direction} must {word} the conductance. Received: curves that go from "
                f"{np.median(first):.3g} to {np.median(last):.3g} uS in the median. Correct the direction, or the "
                "order of the rows."
            )
    if curves.down.all():
        raise DataError(
            "A pulsed device needs curves of potentiation, which learning gives its pulses in. Received: depression "
            "only. Add the curves of potentiation."
        )
