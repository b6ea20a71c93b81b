"""What every fit gives: its table of constants, its pictures as files, and what the device keeps of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analognets.core.figures import saved
from analognets.core.files import make_folder
from analognets.devices.base import Device
from analognets.devices.fitting.bootstrap import Draws

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["constants_table", "facts_of", "kept", "rounded", "written"]

KEPT_DRAWS = 64
"""Replicates that the device keeps."""
DIGITS = 6


def rounded(value: float) -> float:
    """Return a number as a device file holds it."""
    return float(f"{float(value):.{DIGITS}g}")


def kept(draws: Draws, method: str, cells: int) -> dict[str, Any]:
    """Return the uncertainty that a device holds.

    Args:
        draws: replicates.
        method: how they were made.
        cells: that they come from.
    """
    low, high = draws.interval()
    return {
        "level": 0.95,
        "method": method,
        "cells": cells,
        "names": list(draws.names),
        "low": [rounded(value) for value in low],
        "high": [rounded(value) for value in high],
        "draws": [[rounded(value) for value in row] for row in draws.values[:KEPT_DRAWS]],
    }


def constants_table(device: Device, draws: Draws, told: frozenset[str], part_of: Callable[[str], str]) -> pd.DataFrame:
    """Return the constants, one row each: part, value, low and high of the 95 % interval, told.

    Args:
        device: that has them.
        draws: replicates.
        told: names of those that the data determine.
        part_of: the part of the device that a constant belongs to.
    """
    import pandas as pd

    low, high = draws.interval()
    rows = [
        (part_of(name), name, _value(device, name), low[place], high[place], name in told)
        for place, name in enumerate(draws.names)
    ]
    return pd.DataFrame(rows, columns=["part", "constant", "value", "low", "high", "told"]).set_index("constant")


def _value(device: Device, name: str) -> float:
    field, _, place = name.partition("[")
    value = getattr(device, field)
    return float(value[int(place.rstrip("]"))] if place else value)


def facts_of(fit: Any) -> dict[str, Any]:
    """Return what all fits say as plain data: source, sizes, laws, constants, residuals, verdict."""
    rows = fit.constants.reset_index()
    return {
        "source": fit.device.source,
        "cells": len(fit.measurements),
        "readings": fit.measurements.readings,
        "g_max_us": fit.device.g_max,
        "laws": dict(fit.laws),
        "alternatives": [dict(zip(("part", "law", "excess_aic"), one, strict=True)) for one in fit.alternatives],
        "constants": [{**row, "told": bool(row["told"])} for row in rows.to_dict("records")],
        "residuals": fit.residuals.to_dict(),
        "verdict": list(fit.verdict),
    }


def written(drawings: Mapping[str, tuple[Any, str]], folder: str | os.PathLike[str]) -> list[Path]:
    """Write figures into a folder as PNG, and return the paths.

    Args:
        drawings: figure and caption by name.
        folder: it is made.

    Raises:
        RunError: a file can't be written.
    """
    target = make_folder(Path(folder), "folder for the figures")
    paths = {target / f"{name}.png": figure for name, (figure, _) in drawings.items()}
    for path, figure in paths.items():
        saved(figure, path)
    return list(paths)
