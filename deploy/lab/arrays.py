"""Chips from measured arrays alone: the model itself says where each tile lies."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import keras

from analognets.deploy.lab.measured import MeasuredChip, import_measured
from analognets.deploy.lab.plain import is_plain
from analognets.deploy.lab.recording import record_arrays
from analognets.deploy.lab.targets import export_targets
from analognets.errors import InvalidArgumentError

__all__ = ["measured_chips"]


def measured_chips(
    source: Any, model: keras.Model, *, seconds: float | str | None, unit: str | None, reference: Any
) -> list[MeasuredChip]:
    """Read measured chips from a hand-over folder or from plain arrays; see `Chips.import_measured`."""
    place = Path(source)
    if is_plain(place):
        with tempfile.TemporaryDirectory() as folder:
            targets = export_targets(model, Path(folder) / "targets")
            record_arrays(targets, place, seconds=seconds, unit=unit, reference=reference)
            return import_measured(targets, model)
    given = {"seconds": seconds, "unit": unit, "reference": reference}
    if named := [name for name, value in given.items() if value is not None]:
        raise InvalidArgumentError(
            f"`{named[0]}` is for plain arrays; the hand-over folder '{place}' says it itself. Leave it out."
        )
    return import_measured(place, model)
