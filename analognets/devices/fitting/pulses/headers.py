"""What a column of a table of pulse curves holds, read from its name."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping

from analognets.devices.fitting.headers import (
    CONDUCTANCE,
    RESISTANCE,
    ROLES,
    TIME,
    WORDS,
    TableColumn,
    check_unit,
    check_units,
)
from analognets.errors import DataError, shortened

__all__ = ["DIRECTIONS", "PulseColumn", "is_pulsed", "pulse_columns"]

DIRECTIONS = {
    "potentiation": ("ltp", "potentiation", "potentiate", "pot", "p", "set", "up", "+", "+1", "1", "1.0"),
    "depression": ("ltd", "depression", "depress", "dep", "d", "reset", "down", "-", "-1", "-1.0", "0", "0.0"),
}
"""Words for a direction, in a column of directions; in names of columns only those of three letters and more count."""
WORDS_OF = {
    "pulse": ("pulse", "pulses", "pulse#", "#pulse", "pulsenumber", "pulseno", "pulsenum", "npulse", "npulses", "state",
              "states", "level", "levels"),
    "cycle": ("cycle", "cycles", "loop", "repeat", "repetition", "run", "sweep"),
    "direction": ("direction", "polarity", "operation", "kind", "type"),
    "cell": ROLES["cell"],
}  # fmt: skip
ORDER = ("pulse", "cycle", "direction", "cell")
UNITS = {**CONDUCTANCE, **RESISTANCE}
EXAMPLES = "cell, pulse, direction, conductance_uS; or pulse, LTP_uS, LTD_uS; or cell, LTP_uS@0, LTP_uS@1, ..."

_AT = re.compile(r"@\s*(\d+)\s*(?:p|pulses?)?\s*\)?(?=[\s_\[(/,]|$)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class PulseColumn:
    """One column.

    Args:
        name: as the table has it.
        role: "cell", "pulse", "cycle", "direction", "conductance"; None for a column that is not used.
        unit: of conductances.
        direction: that its name says.
        number: of pulses, that its name says.
        label: words of a column of conductances that say neither unit nor direction: the cell it belongs to.
    """

    name: str
    role: str | None
    unit: str | None = None
    direction: str | None = None
    number: int | None = None
    label: str = ""


def is_pulsed(names: Iterable[str]) -> bool:
    """Return whether columns are those of pulse curves: they count pulses, or name a direction, and have no target.

    Examples:
        >>> is_pulsed(["cell", "pulse", "conductance_uS"]), is_pulsed(["target_uS", "conductance_uS@1s"])
        (True, False)
    """
    names = [str(name) for name in names]
    words = [{word.lower() for word in WORDS.split(name) if word} for name in names]
    if any({*ROLES["target"]} & one for one in words):
        return False
    columns = [_column(name, {}) for name in names]
    return any(one.role == "pulse" or (one.role == "conductance" and (one.direction or one.number is not None))
               for one in columns)  # fmt: skip


def pulse_columns(names: Iterable[str], units: Mapping[str, str]) -> list[PulseColumn]:
    """Return what the columns of a table of pulse curves hold.

    Args:
        names: of the columns.
        units: units by role (conductance) or by column, for columns whose names don't tell.

    Raises:
        DataError: conductances have no unit, or the columns are not those of pulse curves.
    """
    names = [str(name) for name in names]
    check_units(units, names)
    columns = [_column(name, units) for name in names]
    readings = [column for column in columns if column.role == "conductance"]
    for column in readings:
        check_unit(TableColumn(column.name, "conductance", column.unit))
    if not readings:
        raise DataError(
            "The table has no column with read conductances, such as conductance_uS or LTP_uS. Received: the columns "
            f"{shortened(', '.join(column.name for column in columns), 200)}. Name columns: {EXAMPLES}."
        )
    for role in ("cell", "cycle", "direction"):
        found = [column.name for column in columns if column.role == role]
        if len(found) > 1:
            raise DataError(
                f"A table of pulse curves may have one column with the {role} of a row. Received: {', '.join(found)}. "
                "Rename or remove all but one."
            )
    wide = [column for column in readings if column.number is not None]
    if wide and (len(wide) < len(readings) or any(column.role == "pulse" for column in columns)):
        raise DataError(
            "A table of pulse curves has the pulse numbers either in a column, or in the name of every column of "
            f"conductances. Received: {shortened(', '.join(column.name for column in columns), 200)}."
        )
    if len(readings) > 1 and not wide and any(column.role == "direction" for column in columns):
        named = [column.name for column in readings if column.direction]
        if named:
            raise DataError(
                "The direction of pulses is said either by a column or by names of columns of conductances. Received: "
                f"a column of directions, and {', '.join(named)}."
            )
    return columns


def _column(name: str, units: Mapping[str, str]) -> PulseColumn:
    at = _AT.search(name.strip())
    plain = f"{name.strip()[: at.start()]} {name.strip()[at.end() :]}" if at else name
    words = [word for word in WORDS.split(plain) if word]
    unit = next((word for word in reversed(words) if word in UNITS), None)
    lower = [word.lower() for word in words if word != unit]
    joined = {"".join(pair) for pair in zip(lower[:-1], lower[1:], strict=True)}
    direction = next(
        (one for one, known in DIRECTIONS.items() for word in lower if len(word) > 2 and word in known), None
    )
    role = next((role for role in ORDER if {*lower, *joined} & {*WORDS_OF[role]}), None)
    reads = bool({*lower, *joined} & {*ROLES["conductance"]})
    timed = any(word in TIME and word not in UNITS for word in words) and bool({*lower} & {*ROLES["time"]})
    if role in ("pulse", "cycle", "direction") and not (unit or reads):
        return PulseColumn(name, role, direction=direction)
    if timed or not (unit or reads or direction or at):
        return PulseColumn(name, "cell" if role == "cell" and not at else None)
    said = {word for words_ in DIRECTIONS.values() for word in words_ if len(word) > 2} | {*ROLES["conductance"]}
    said |= {*ROLES["cell"]} | {"in", "conductances"}
    label = " ".join(word for word in lower if word not in said)
    number = int(at[1]) if at else None
    return PulseColumn(
        name, "conductance", units.get(name) or unit or units.get("conductance"), direction, number, label
    )
