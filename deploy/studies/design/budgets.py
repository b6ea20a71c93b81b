"""Budgets of a design: text with a unit, such as 5uJ, 3mm2 or 1 point, and what is left to make small."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from analognets.errors import InvalidArgumentError

__all__ = ["COLUMNS", "SHOWN", "budgets_of", "excess", "objectives_of", "parse_budget", "text_of"]

COLUMNS = {"energy": "energy_uj", "area": "area_mm2", "loss": "loss"}
"""The column of a table that each budget is about."""
SHOWN = {"energy": "uJ", "area": "mm^2", "loss": "points"}
"""Units of the columns."""
UNITS = {
    "energy": {"pJ": 1e-6, "nJ": 1e-3, "uJ": 1.0, "\N{MICRO SIGN}J": 1.0, "\N{GREEK SMALL LETTER MU}J": 1.0,
               "mJ": 1e3, "J": 1e6},
    "area": {"um2": 1e-6, "um^2": 1e-6, "mm2": 1.0, "mm^2": 1.0, "mm\N{SUPERSCRIPT TWO}": 1.0, "cm2": 100.0,
             "cm^2": 100.0},
    "loss": {"": 1.0, "points": 1.0, "point": 1.0, "%": 1.0},
}  # fmt: skip
EXAMPLES = {"energy": "5uJ", "area": "3mm2", "loss": "1"}
WHAT = {
    "energy": "an energy for each inference with a unit (pJ, nJ, uJ, mJ or J)",
    "area": "an area with a unit (um2, mm2 or cm2)",
    "loss": "points of accuracy against the digital network, at least 0",
}
_TEXT = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S*)\s*")


def parse_budget(name: str, value: Any) -> float:
    """Return a budget in uJ, mm^2 or points.

    Args:
        name: "energy", "area" or "loss".
        value: text with a unit, or a number in uJ, mm^2 or points; text of a loss needs no unit.

    Raises:
        InvalidArgumentError: it is no such text or number, its unit is missing or another one, or it is not positive.

    Examples:
        >>> parse_budget("energy", "5000nJ"), parse_budget("area", "3mm2"), parse_budget("loss", "0.5")
        (5.0, 3.0, 0.5)
    """
    problem = InvalidArgumentError(
        f"The budget `{name}` is {WHAT[name]}, such as {EXAMPLES[name]}. Received: {value!r}."
    )
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise problem
    if isinstance(value, str):
        found = _TEXT.fullmatch(value)
        if found is None or found[2] not in UNITS[name]:
            raise problem
        number = float(found[1]) * UNITS[name][found[2]]
    else:
        number = float(value)
    if not math.isfinite(number) or number < 0 or number == 0 and name != "loss":
        raise problem
    return number


def budgets_of(energy: Any = None, area: Any = None, loss: Any = None) -> dict[str, float]:
    """Return the budgets that are given, by name, in uJ, mm^2 and points.

    Raises:
        InvalidArgumentError: none is given, or one is not valid.
    """
    given = {"energy": energy, "area": area, "loss": loss}
    found = {name: parse_budget(name, value) for name, value in given.items() if value is not None}
    if not found:
        raise InvalidArgumentError(
            "A design needs a budget: an energy for each inference (--energy 5uJ), an area (--area 3mm2), or the "
            "points of accuracy that it may lose (--loss 1). Received: none."
        )
    return found


def objectives_of(budgets: Mapping[str, float], *, area_varies: bool) -> tuple[str, ...]:
    """Return what a search makes small: all that has no budget; with a budget for each, all of them.

    Args:
        budgets: by name.
        area_varies: whether hardware of different area is searched.
    """
    every = ("loss", "energy", "area") if area_varies else ("loss", "energy")
    return tuple(name for name in every if name not in budgets) or every


def excess(row: Mapping[str, Any], budgets: Mapping[str, float]) -> dict[str, float]:
    """Return by how much a point exceeds each budget, as a share of it; at most 0 where it is met.

    Args:
        row: with the columns of the budgets.
        budgets: by name.
    """
    return {name: (row[COLUMNS[name]] - limit) / max(limit, 1e-9) for name, limit in budgets.items()}


def text_of(name: str, value: float) -> str:
    """Return a figure with its unit, such as "2.91 uJ"."""
    return f"{value:.3g} {SHOWN[name]}" if name != "loss" else f"{value:.2f} {SHOWN[name]}"
