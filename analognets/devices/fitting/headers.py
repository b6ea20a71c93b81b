"""What a column of a table of measured cells holds, read from its name: role, unit, and the time of a wide table."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping

from analognets.errors import DataError, shortened
from analognets.units import SECONDS

__all__ = [
    "CONDUCTANCE",
    "RESISTANCE",
    "ROLES",
    "TEMPERATURE",
    "TIME",
    "WORDS",
    "TableColumn",
    "check_unit",
    "check_units",
    "columns_of",
]

CONDUCTANCE = {"S": 1e6, "mS": 1e3, "uS": 1.0, "µS": 1.0, "μS": 1.0, "nS": 1e-3, "pS": 1e-6}
"""Factors to uS."""
RESISTANCE = {"ohm": 1.0, "Ohm": 1.0, "Ω": 1.0, "kohm": 1e3, "kOhm": 1e3, "kΩ": 1e3, "Mohm": 1e6, "MOhm": 1e6,
              "MΩ": 1e6}  # fmt: skip
"""Factors to Ohm; the conductance is their inverse."""
TIME = {**SECONDS, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "sec": 1.0, "seconds": 1.0, "minutes": 60.0, "hours": 3600.0,
        "days": 86_400.0, "years": SECONDS["y"]}  # fmt: skip
"""Factors to seconds."""
TEMPERATURE = {"K": 0.0, "C": 273.15, "degC": 273.15, "°C": 273.15}
"""Offsets to K."""

ROLES = {
    "cell": ("cell", "cells", "device", "id", "cellid", "deviceid", "index"),
    "target": ("target", "targets", "gtarget", "programmed", "setpoint"),
    "conductance": (
        "conductance",
        "g",
        "read",
        "reading",
        "readout",
        "measured",
        "gread",
        "resistance",
        "r",
        "gmeasured",
    ),
    "time": ("time", "t", "elapsed", "delay"),
    "temperature": ("temperature", "temp"),
}
"""Words in the names of columns that say what they hold; the first that fits counts."""
UNITS = {
    "target": {**CONDUCTANCE, **RESISTANCE},
    "conductance": {**CONDUCTANCE, **RESISTANCE},
    "time": TIME,
    "temperature": TEMPERATURE,
}
ORDER = ("target", "temperature", "time", "conductance", "cell")
EXAMPLES = {"target": "target_uS", "conductance": "conductance_uS", "time": "time_s", "temperature": "temperature_K"}

WORDS = re.compile(r"[\s_\[\]()@/,;:=|-]+")
_DURATION = re.compile(r"([0-9]*\.?[0-9]+(?:e\+?[0-9]+)?)([a-zµ]+)")


@dataclasses.dataclass(frozen=True)
class TableColumn:
    """One column.

    Args:
        name: as the table has it.
        role: "cell", "target", "conductance", "time", "temperature"; None for a column that is not used.
        unit: of its values; None where it has none.
        time: seconds, of a reading in a wide table, or None.
    """

    name: str
    role: str | None
    unit: str | None = None
    time: float | None = None


def columns_of(names: Iterable[str], units: Mapping[str, str]) -> list[TableColumn]:
    """Return what the columns of a table hold.

    Args:
        names: of the columns.
        units: units by role or by column's name, for columns whose names don't tell.

    Raises:
        DataError: a column has no unit or one that is not known, or the columns are not those of measured cells.
    """
    names = [str(name) for name in names]
    check_units(units, names)
    columns = [_column(name, units) for name in names]
    for role in ("cell", "target", "time", "temperature"):
        found = [column.name for column in columns if column.role == role]
        if len(found) > 1:
            raise DataError(
                f"A table of measured cells may have one column with the {role} of a cell. Received: "
                f"{', '.join(found)}. Rename or remove all but one."
            )
    readings = [column for column in columns if column.role == "conductance"]
    for column in columns:
        check_unit(column)
    missing = [role for role in ("target",) if not any(column.role == role for column in columns)]
    if missing or not readings:
        what = "a target conductance" if missing else "read conductances"
        example = EXAMPLES["target" if missing else "conductance"]
        raise DataError(
            f"The table has no column with {what}, such as {example}. Received: the columns "
            f"{shortened(', '.join(column.name for column in columns), 200)}. Name columns with role and unit: cell, "
            "target_uS, conductance_uS, time_s; or wide: cell, target_uS, conductance_uS@25s, conductance_uS@1h."
        )
    _check_form(columns, readings)
    return columns


def _check_form(columns: list[TableColumn], readings: list[TableColumn]) -> None:
    """Refuse tables that are half long and half wide."""
    wide = [column for column in readings if column.time is not None]
    has_time = any(column.role == "time" for column in columns)
    if wide and (has_time or len(wide) < len(readings)):
        raise DataError(
            "A table is either long, with one column of conductances and one of times, or wide, with the time in the "
            f"name of every column of conductances. Received: {', '.join(column.name for column in readings)}"
            f"{' and a column of times' if has_time else ''}."
        )
    if not wide and len(readings) > 1:
        raise DataError(
            "A long table has one column of read conductances; a wide one has the time in each name, such as "
            f"conductance_uS@1h. Received: {', '.join(column.name for column in readings)}."
        )
    if not wide and not has_time:
        raise DataError(
            "The table says nothing about when the cells were read. Received: no column such as time_s, and no time in "
            f"the name of '{readings[0].name}'. "
            "Add a column of times since programming, or name it conductance_uS@25s."
        )


def _column(name: str, units: Mapping[str, str]) -> TableColumn:
    words = [word for word in WORDS.split(name.strip()) if word]
    given = units.get(name)
    conductance = next((word for word in reversed(words) if word in UNITS["conductance"]), None)
    rest = [word for word in words if word != conductance]
    times = [match for word in rest if (match := _DURATION.fullmatch(word)) and match[2] in TIME]
    lower = [word.lower() for word in rest]
    joined = {"".join(pair) for pair in zip(lower[:-1], lower[1:], strict=True)}
    roles = [role for role in ORDER if {*lower, *joined} & {*ROLES[role]}]
    if times and "target" not in roles and (conductance or "conductance" in roles):
        seconds = float(times[-1][1]) * TIME[times[-1][2]]
        return TableColumn(name, "conductance", conductance or given or units.get("conductance"), seconds)
    role = roles[0] if roles else None
    if role is None or role == "cell":
        return TableColumn(name, role)
    unit = next((word for word in reversed(words) if word in UNITS[role]), None)
    if role in ("target", "conductance") and unit is None and len(words) > 1 and _looks_like_unit(words[-1]):
        unit = words[-1]
    return TableColumn(name, role, given or unit or units.get(role))


def _looks_like_unit(word: str) -> bool:
    return word.lower() in {unit.lower() for unit in UNITS["conductance"]}


def check_unit(column: TableColumn) -> None:
    """Refuse a column without a unit, or with one that its role does not have.

    Raises:
        DataError: it has none that is known.
    """
    if column.role not in UNITS:
        return
    allowed = UNITS[column.role]
    if column.unit is None or column.unit not in allowed:
        received = f"'{column.name}'" if column.unit is None else f"the unit '{column.unit}' of '{column.name}'"
        raise DataError(
            f"The name of a column must say the unit of its {column.role}: one of {', '.join(allowed)}, as in "
            f"{EXAMPLES[column.role]}. Received: {received}. Rename the column, or name the unit: "
            f"{_given(column.role)}."
        )


def check_units(units: Mapping[str, str], names: Iterable[str]) -> None:
    """Refuse units of what a table has not, and units that are not known.

    Args:
        units: as `columns_of` takes them.
        names: of the columns.

    Raises:
        DataError: one of them is of no role and no column, or is none.
    """
    columns = list(names)
    for name, unit in units.items():
        if name not in UNITS and name not in columns:
            raise DataError(
                f"Units are given by role ({', '.join(UNITS)}) or by column of the table. Received: "
                f"{shortened(name)}, and the table has the columns {shortened(', '.join(columns), 200)}. Name one of "
                f"these: {_given('target')}."
            )
        allowed = list(UNITS.get(name) or dict.fromkeys(one for known in UNITS.values() for one in known))
        if unit not in allowed:
            raise DataError(
                f"The unit of '{name}' must be one of {', '.join(allowed)}. Received: {shortened(unit)}. Name one of "
                f"these: {_given(name if name in UNITS else 'target')}."
            )


def _given(role: str) -> str:
    """Return how the unit of a role is said, in Python and on the command line."""
    unit = EXAMPLES[role].rpartition("_")[2]
    return f"units={{'{role}': '{unit}'}}, or --units {role}={unit}"
