"""Chips made of conductances that a lab measured."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from analognets.core.files import file_sha256, new_folder, write_json
from analognets.deploy.chips.chips import Chip
from analognets.deploy.chips.programming import ProgrammedLayer, ReadLayer, tile_responses
from analognets.deploy.lab import format as form
from analognets.deploy.lab.files import read_array, whole_path
from analognets.deploy.lab.targets import assembled, check_model, layer_targets, tile_part
from analognets.devices import Device, derive_seed
from analognets.errors import ChipFileError, InvalidArgumentError, UnknownNameError, check_integer, check_number
from analognets.layers import AnalogLayer
from analognets.units import format_duration, parse_duration

if TYPE_CHECKING:
    from analognets.deploy.chips.chips import Chips

__all__ = ["MeasuredChip", "Reading", "import_measured", "record_measurement", "record_simulated"]

TOO_HIGH = 2.0
"""A measured device may pass g_max by its noise; more than this many times g_max is another unit."""
TOO_LOW = 1e-3
"""If the largest device of a whole chip is below this share of the largest target, it is another unit."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """All conductances of a chip, read at one time.

    Args:
        seconds: since programming.
        conductances: of each layer in uS, shape (2, *kernel shape), float64.
    """

    seconds: float
    conductances: tuple[np.ndarray, ...]


@dataclasses.dataclass
class MeasuredChip(Chip):
    """A chip that was measured: at the time of a reading it computes with exactly the conductances read.

    After it, each device goes on with the mean drift of the device model for a device of its conductance,

        G(t) = G(t_m) * E[R(t)] / E[R(t_m)]

    without the spread of drift exponents and further read noise, which nobody measured. Among several readings the
    latest one up to the time asked for counts. Before the first one nothing is known.

    Args:
        number: of the chip.
        seed: of nothing; 0.
        layers: the weight range of each layer, and its drift-compensation reference.
        readings: in order of time.
    """

    readings: tuple[Reading, ...] = ()

    def read(self, layers: Sequence[AnalogLayer], time: str | float) -> list[ReadLayer]:
        """Return the weights of all layers at a time.

        Raises:
            InvalidArgumentError: it lies before the first reading.
        """
        seconds = parse_duration(time)
        past = [reading for reading in self.readings if reading.seconds <= seconds * (1 + 1e-6)]
        if not past:
            first = self.readings[0].seconds
            raise InvalidArgumentError(
                f"Chip {self.number} was first measured {format_duration(first)} after programming; what it was before "
                f"is not known. Received: at={time!r}. Ask for at={first:g} or later."
            )
        reads = []
        for layer, stored, measured in zip(layers, self.layers, past[-1].conductances, strict=True):
            device = layer.crossbar.device
            conductances = drifted(device, measured, past[-1].seconds, seconds)
            kernel = (conductances[0] - conductances[1]) / device.g_max
            response = readout(layer, kernel)
            scale = np.ones_like(response)
            if layer.crossbar.drift_compensation is not None:
                scale = np.asarray(layer.crossbar.drift_compensation.scale(stored.reference, response))
            weights = tf.constant((kernel * stored.weight_max).astype(np.float32))
            reads.append(ReadLayer(weights, scale))
        return reads


def drifted(device: Device, conductances: np.ndarray, measured: float, seconds: float) -> np.ndarray:
    """Return conductances in uS measured at one time as they are on average at a later one."""
    if seconds <= measured * (1 + 1e-6):
        return conductances
    targets = np.clip(conductances, 0, device.g_max).astype(np.float32)

    def silent(draws: Mapping[str, Any]) -> dict[str, Any]:
        return {name: keras.ops.zeros_like(value) for name, value in draws.items()}

    state = device.program_with(targets, silent(device.programming_draws(targets.shape, 0)))
    then, now = (
        np.asarray(device.read_with(state, time, silent(device.read_draws(targets.shape, 0))), np.float64)
        for time in (measured, seconds)
    )
    return conductances * np.divide(now, then, out=np.ones_like(now), where=then > 0)


def readout(layer: AnalogLayer, kernel: np.ndarray) -> np.ndarray:
    """Return the drift-compensation read-out of each tile of a kernel in units of W_max."""
    return np.asarray(tile_responses(layer.crossbar, layer.tiling, kernel.astype(np.float32)))


def import_measured(folder: Any, model: keras.Model) -> list[MeasuredChip]:
    """Read measured chips; see `Chips.import_measured`."""
    source = Path(folder)
    index = form.read_index(source)
    layers = check_model(index, model, source)
    found = form.read_measurements(source)
    if found is None:
        targets = assembled(index, read_targets(source, index))
        chip = measured_chip(0, index, layers, "first_reading", [Reading(0.0, tuple(targets))])
        return [chip]
    if found.fingerprint != index.fingerprint:
        raise ChipFileError(f"The measurements in '{source}' are of other targets than those beside them.")
    numbers = [die.number for die in found.chips]
    if len(set(numbers)) != len(numbers):
        raise ChipFileError(f"Each chip must be in '{source / form.MEASURED}' once. Received: numbers {numbers}.")
    chips = []
    for die in found.chips:
        times = sorted(die.readings, key=lambda reading: reading.seconds)
        readings = [
            Reading(item.seconds, tuple(assembled(index, read_tiles(source, index, die.number, item))))
            for item in times
        ]
        chips.append(measured_chip(die.number, index, layers, die.reference, readings))
    return chips


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


def read_tiles(source: Path, index: form.Handover, number: int, item: form.Measurement) -> dict[str, np.ndarray]:
    """Return the measured conductances of every tile by its name."""
    names = [tile.name for tile in index.tiles]
    where = f"chip {number} at {item.seconds:g} s"
    check_names(names, item.tiles, where)
    high = TOO_HIGH * index.chip.g_max_us / index.chip.devices_per_polarity
    tiles = {}
    for tile in index.tiles:
        file = item.tiles[tile.name]
        path = whole_path(source, file.file, tile.name)
        tiles[tile.name] = read_array(path, tile.name, tile_shape(index, tile), high, file.sha256)
    check_unit(index, tiles, where)
    return tiles


def check_names(names: Sequence[str], given: Mapping[str, Any], where: str) -> None:
    """Raise unless every tile, and nothing else, was measured."""
    missing = [name for name in names if name not in given]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ChipFileError(f"Tile '{missing[0]}'{more} of {where} is missing: every tile must be measured.")
    for name in given:
        if name not in names:
            raise UnknownNameError("tile", name, names)


def check_unit(index: form.Handover, tiles: Mapping[str, np.ndarray], where: str) -> None:
    """Raise if the conductances of a chip are so small that they can't be in uS."""
    largest = max(float(values.max()) for values in tiles.values())
    least = TOO_LOW * index.chip.g_max_us / index.chip.devices_per_polarity
    if largest < least:
        raise ChipFileError(
            f"The largest conductance of {where} is {largest:g}, and targets go up to {index.chip.g_max_us:g} uS. "
            "Give conductances in uS, not in S."
        )


def measured_chip(
    number: int, index: form.Handover, layers: Sequence[AnalogLayer], reference: Any, readings: Sequence[Reading]
) -> MeasuredChip:
    """Return a chip with its drift-compensation references."""
    stored = []
    if isinstance(reference, dict):
        check_names([layer.name for layer in layers], reference, f"the reference of chip {number}")
    for position, (layer, entry) in enumerate(zip(layers, index.layers, strict=True)):
        if reference == "targets":
            values = np.asarray(entry.target_readout, np.float32)
        elif reference == "first_reading":
            first = readings[0].conductances[position]
            values = readout(layer, (first[0] - first[1]) / layer.crossbar.device.g_max)
        else:
            values = np.asarray(reference[layer.name], np.float32)
        if values.shape != layer.tiling.shape:
            raise ChipFileError(
                f"The reference of layer '{layer.name}' must have a number for each of its {layer.tiling.shape} row "
                f"and column blocks. Received: shape {values.shape}."
            )
        state = {"conductance": readings[0].conductances[position]}
        stored.append(ProgrammedLayer(state, float(layer.weight_range()), values))
    return MeasuredChip(number, 0, stored, tuple(readings))


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
        reference: drift-compensation read-out right after programming: for each layer one number a row block and column
            block in units of weight_max; "targets" (what the targets would give) or "first_reading". None keeps what
            the chip has, "targets" if it is new.

    Returns:
        The folder of the new files.

    Raises:
        ChipFileError: a tile is missing, has another shape or is out of range, or the chip was measured at that time.
        InvalidArgumentError: a number is out of range.
        UnknownNameError: there is no such tile.
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
        check_unit(index, checked, where)
    return files


def record_simulated(folder: Any, chips: Chips, *, at: str | float = "25s") -> None:
    """Put simulated chips into a folder as if a lab had programmed and measured them; a rehearsal of the whole loop.

    Args:
        folder: that `chips.export_targets` made.
        chips: programmed by `analognets.deploy.program`.
        at: time of the reading since programming.

    Raises:
        ChipFileError: the folder is of another network, or holds such a reading already.
    """
    source, seconds = Path(folder), parse_duration(at)
    index = form.read_index(source)
    check_model(index, chips.model, source)
    devices = index.chip.devices_per_polarity
    for chip in chips:
        whole = {}
        for position, (layer, stored) in enumerate(zip(chips.layers, chip.layers, strict=True)):
            device = layer.crossbar.device
            shape = layer_targets(layer).shape
            draws = device.read_draws(shape, derive_seed(chip.seed, position, "read", repr(float(seconds))))
            whole[layer.name] = np.asarray(device.read_with(stored.state, seconds, draws), np.float64)
        tiles = {tile.name: tile_part(whole[tile.layer], tile, devices) for tile in index.tiles}
        references = {layer.name: stored.reference for layer, stored in zip(chips.layers, chip.layers, strict=True)}
        record_measurement(source, tiles, seconds=seconds, chip=chip.number, reference=references)
