"""Putting measured conductances beside the targets of a lab export."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analognets import crossbar as crossbars
from analognets.core.files import file_sha256, new_folder, write_json
from analognets.deploy.lab import format as form
from analognets.deploy.lab.files import TOO_HIGH, check_names, check_unit, read_array, read_targets, tile_shape
from analognets.deploy.lab.orientation import check_orientation
from analognets.deploy.lab.plain import read_plain_readings
from analognets.deploy.lab.targets import check_model, tile_part
from analognets.devices import derive_seed
from analognets.errors import ChipFileError, InvalidArgumentError, check_integer, check_number
from analognets.units import parse_duration

if TYPE_CHECKING:
    from analognets.deploy.chips.chips import Chips

__all__ = ["record_arrays", "record_measurement", "record_simulated"]


def record_measurement(
    folder: Any,
    tiles: Mapping[str, Any],
    *,
    seconds: float,
    chip: int = 0,
    reference: str | Mapping[str, Any] | None = None,
) -> Path:
    """Put the conductances measured on one chip into a folder that `Chips.export_targets` made.

    Args:
        folder: with the targets.
        tiles: conductances in uS by name of the tile, of the shape of its target: (G+ and G-, devices of a polarity,
            rows, columns).
        seconds: since programming, >= 0.
        chip: its number, >= 0; a chip may be measured at several times.
        reference: drift-compensation read-out right after programming: for each layer and row block one number per
            column block, or per column, in units of weight_max; "targets" (what the targets would give) or
            "first_reading". None keeps what the chip has, "targets" if it is new.

    Returns:
        The folder of the new files.

    Raises:
        ChipFileError: a tile is missing, has another shape or is out of range, or the chip was measured at that time.
        InvalidArgumentError: a number is out of range.
        UnknownNameError: there is no such tile.

    Examples:
        >>> folder = analognets.deploy.lab.targets.export_targets(analog, "targets")
        >>> tiles = form.read_index(folder).tiles
        >>> measured = {tile.name: 0.9 * np.load(folder / tile.file) for tile in tiles}
        >>> path = record_measurement(folder, measured, seconds=86_400)
        >>> len(analognets.deploy.Chips.import_measured(folder, analog))
        1
    """
    source = Path(folder)
    index = form.read_index(source)
    number = check_integer("record_measurement", "chip", chip, 0, 999_999)
    at = check_number("record_measurement", "seconds", seconds, 0.0, 1e12, unit="s")
    where = f"chip {number} at {at:g} s"
    check_names([tile.name for tile in index.tiles], tiles, where)
    found = form.read_measurements(source)
    dies = {die.number: die for die in found.chips} if found else {}
    before = dies.get(number)
    if before and any(reading.seconds == at for reading in before.readings):
        raise ChipFileError(f"There is a reading of {where} already, which is not overwritten.")
    place = f"measured/chip_{number:04d}_{at:g}s"
    files = store(source, place, index, tiles, where)
    kept = reference if reference is not None else before.reference if before else "targets"
    if isinstance(kept, Mapping):
        kept = {layer: np.asarray(values, float).tolist() for layer, values in kept.items()}
    readings = [*(before.readings if before else ()), form.Measurement(seconds=at, tiles=files)]
    try:
        dies[number] = form.MeasuredDie(number=number, reference=kept, readings=readings)  # type: ignore[arg-type]
    except ValueError as error:
        shutil.rmtree(source / place, ignore_errors=True)
        raise InvalidArgumentError(
            "`reference` of record_measurement must be 'targets', 'first_reading' or rows of positive numbers by "
            f"layer. Received: {reference!r}."
        ) from error
    chips = [dies[key] for key in sorted(dies)]
    made = form.Measurements(format=1, fingerprint=index.fingerprint, chips=chips)
    write_json(source / form.MEASURED, made.model_dump(mode="json"))
    return source / place


def store(
    source: Path, place: str, index: form.Handover, tiles: Mapping[str, Any], where: str
) -> dict[str, form.MeasuredFile]:
    """Write the arrays of a reading, all or none, after checking them as a later import will."""
    high = TOO_HIGH * index.chip.g_max_us / index.chip.devices_per_polarity
    files, checked = {}, {}
    # What stands there was left by a process that was killed before it wrote the index.
    with new_folder(source / place, f"files of {where}", ChipFileError, overwrite=True) as draft:
        for number, tile in enumerate(index.tiles):
            name = f"{number:04d}_{re.sub(r'[^A-Za-z0-9_.-]', '_', tile.layer)[:60]}.npy"
            np.save(draft / name, np.asarray(tiles[tile.name]), allow_pickle=False)
            checked[tile.name] = read_array(draft / name, tile.name, tile_shape(index, tile), high, None)
            files[tile.name] = form.MeasuredFile(file=f"{place}/{name}", sha256=file_sha256(draft / name))
        targets = read_targets(source, index)
        check_unit(index, targets, checked, where)
        check_orientation(index, targets, checked, where)
    return files


def record_arrays(
    folder: Any, source: Any, *, seconds: float | str | None = None, unit: str | None = None, reference: Any = None
) -> list[Path]:
    """Put plain measured arrays, .npy or CSV, into a folder that `Chips.export_targets` made.

    Args:
        folder: with the targets.
        source: a folder with a file per tile, or one file; see `analognets.deploy.lab.plain.read_plain_readings`.
        seconds: since programming, or a duration such as "1d"; where files name the time themselves, None.
        unit: of arrays that don't say it: "S", "mS", "uS" (the default), "nS" or "pS".
        reference: as `record_measurement` takes it.

    Returns:
        The folders of the new files, one for each chip and time.

    Raises:
        ChipFileError: a file can't be read, a tile or rows of it are missing, or it is transposed, has its polarities
            swapped or another unit; nothing of that reading is kept.
        InvalidArgumentError: the time is not known, or given twice.

    Examples:
        >>> folder = chips.export_targets("targets")
        >>> index = form.read_index(folder)
        >>> Path("measured").mkdir()
        >>> for tile in index.tiles:
        ...     np.save(f"measured/{tile.name.replace('/', '_')}.npy", 0.9 * np.load(folder / tile.file))
        >>> len(record_arrays(folder, "measured", seconds="1d"))
        1
    """
    target, place = Path(folder), Path(source)
    index = form.read_index(target)
    readings = read_plain_readings(place, index, read_targets(target, index), unit)
    told = [reading for reading in readings if reading.seconds is not None]
    if told and seconds is not None:
        raise InvalidArgumentError(f"The files of '{place}' name the time of each reading: leave `seconds` out.")
    if len(told) < len(readings) and seconds is None:
        raise InvalidArgumentError(
            f"When were the arrays in '{place}' read? Give the time since programming: seconds='1d' (--measured-at "
            "1d), a column time_s, or folders such as chip_0_1d. Received: none."
        )
    at = None if seconds is None else parse_duration(seconds)
    return [
        record_measurement(
            target,
            reading.tiles,
            seconds=float(at if reading.seconds is None else reading.seconds),  # type: ignore[arg-type]
            chip=reading.chip,
            reference=reference,
        )
        for reading in readings
    ]


def record_simulated(folder: Any, chips: Chips, *, at: str | float = "25s") -> None:
    """Put simulated chips into a folder as if a lab had programmed and measured them; a rehearsal of the whole loop.

    Args:
        folder: that `chips.export_targets` made.
        chips: programmed by `analognets.deploy.program`.
        at: time of the reading since programming.

    Raises:
        ChipFileError: the folder is of another network, or holds such a reading already.

    Examples:
        >>> folder = chips.export_targets("targets")
        >>> record_simulated(folder, chips, at="1d")
        >>> len(analognets.deploy.Chips.import_measured(folder, analog))
        3
    """
    source, seconds = Path(folder), parse_duration(at)
    index = form.read_index(source)
    check_model(index, chips.model, source)
    devices = index.chip.devices_per_polarity
    for chip in chips:
        whole = {}
        for position, (layer, stored) in enumerate(zip(chips.layers, chip.layers, strict=True)):
            seed = derive_seed(chip.seed, position, "read", repr(float(seconds)))
            draws = layer.crossbar.device.read_draws((2, *layer.crossbar_shape()), seed)
            conductances = crossbars.read_conductances_with(layer.crossbar, stored.state, seconds, draws)
            whole[layer.name] = np.asarray(conductances, np.float64)
        tiles = {tile.name: tile_part(whole[tile.layer], tile, devices) for tile in index.tiles}
        references = {layer.name: stored.reference for layer, stored in zip(chips.layers, chip.layers, strict=True)}
        record_measurement(source, tiles, seconds=seconds, chip=chip.number, reference=references)
