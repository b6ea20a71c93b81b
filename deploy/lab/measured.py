"""Chips made of conductances that a lab measured."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from analognets.crossbar import tile_responses
from analognets.deploy.chips.chip import Chip
from analognets.deploy.chips.programming import ProgrammedLayer, drift_correction
from analognets.deploy.lab import format as form
from analognets.deploy.lab.files import check_names, read_targets, read_tiles
from analognets.deploy.lab.targets import (
    assembled,
    check_fits,
    check_model,
    devices_per_polarity,
    layer_targets,
    tile_part,
)
from analognets.devices import Device
from analognets.errors import ChipFileError, DataWarning, InvalidArgumentError
from analognets.layers import AnalogLayer
from analognets.layers.noise_realization import NoiseRealization
from analognets.units import format_duration, parse_duration

__all__ = ["MeasuredChip", "Reading", "import_measured"]

ROUNDING = 1e-4


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

    def read(self, layers: Sequence[AnalogLayer], time: str | float) -> list[NoiseRealization]:
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
            scales, input_scales = drift_correction(layer.crossbar, stored.reference, response)
            weights = keras.ops.convert_to_tensor((kernel * stored.weight_max).astype(np.float32))
            reads.append(NoiseRealization(weights, scales=scales, input_scales=input_scales, seed=0))
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
    """Read measured chips; see `Chips.import_measured`.

    Warns:
        DataWarning: the folder holds targets alone, so the chip has those in place of measured conductances.

    Examples:
        >>> from analognets.deploy.lab.recording import record_simulated
        >>> folder = chips.export_targets("targets")
        >>> record_simulated(folder, chips, at="1d")
        >>> [type(chip).__name__ for chip in import_measured(folder, analog)]
        ['MeasuredChip', 'MeasuredChip', 'MeasuredChip']
    """
    source = Path(folder)
    index = form.read_index(source)
    layers = check_model(index, model, source)
    found = form.read_measurements(source)
    of_model = model_targets(index, layers)
    if found is None:
        tiles = read_targets(source, index)
        check_targets(index, tiles, of_model, source)
        warnings.warn(
            f"'{source}' holds no {form.MEASURED}: the chip has its targets exactly, and no measured conductances. Add "
            "yours with analognets.deploy.lab.recording.record_measurement.",
            DataWarning,
            stacklevel=4,
        )
        targets = assembled(index, tiles)
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
            Reading(item.seconds, tuple(assembled(index, read_tiles(source, index, die.number, item, of_model))))
            for item in times
        ]
        chips.append(measured_chip(die.number, index, layers, die.reference, readings))
    return chips


def model_targets(index: form.Handover, layers: Sequence[AnalogLayer]) -> dict[str, np.ndarray]:
    """Return the target conductances of every tile, as they follow from the model.

    Raises:
        ChipFileError: the tiles of the index do not make up the layers.
    """
    names = [tile.name for tile in index.tiles]
    if len(set(names)) < len(names):
        raise ChipFileError("Each tile of a hand-over index must have a name of its own. Export the targets again.")
    if index.chip.devices_per_polarity != devices_per_polarity(layers[0].crossbar):
        raise ChipFileError(
            f"The devices of a polarity must be {devices_per_polarity(layers[0].crossbar)}, as in the model. Received: "
            f"{index.chip.devices_per_polarity} in the hand-over index. Export the targets again."
        )
    whole = {layer.name: layer_targets(layer) for layer in layers}
    for tile in index.tiles:
        if tile.layer not in whole:
            raise ChipFileError(
                f"Tile '{tile.name}' is of no layer of the model: '{tile.layer}'. Export the targets again."
            )
        check_fits(tile, whole[tile.layer].shape[1:])
    tiles = {tile.name: tile_part(whole[tile.layer], tile, index.chip.devices_per_polarity) for tile in index.tiles}
    assembled(index, tiles)  # refuses what overlaps or is missing
    return tiles


def check_targets(
    index: form.Handover, found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], source: Path
) -> None:
    """Raise unless the targets in a folder are those of the model, whose weights its index names."""
    for name, values in wanted.items():
        away = float(np.abs(found[name] - values).max(initial=0.0))
        if not away <= ROUNDING * index.chip.g_max_us:
            raise ChipFileError(
                f"The targets of tile '{name}' in '{source}' are not those of the model they name: they are up to "
                f"{away:g} uS away. Export the targets again."
            )


def measured_chip(
    number: int, index: form.Handover, layers: Sequence[AnalogLayer], reference: Any, readings: Sequence[Reading]
) -> MeasuredChip:
    """Return a chip with its drift-compensation references."""
    stored = []
    if isinstance(reference, dict):
        check_names([layer.name for layer in layers], reference, f"the reference of chip {number}")
    for position, (layer, entry) in enumerate(zip(layers, index.layers, strict=True)):
        first = readings[0].conductances[position]
        values = found = readout(layer, (first[0] - first[1]) / layer.crossbar.device.g_max)
        if reference != "first_reading":
            given = entry.target_readout if reference == "targets" else reference[layer.name]
            values = np.asarray(given, np.float32)
        if values.shape != found.shape:
            raise ChipFileError(
                f"The reference of layer '{layer.name}' must have the shape {found.shape} of what its drift "
                "compensation reads: for each row block one number per column block or per column. Received: shape "
                f"{values.shape}."
            )
        state = {"conductance": readings[0].conductances[position]}
        stored.append(ProgrammedLayer(state, float(layer.weight_range()), values))
    return MeasuredChip(number, 0, stored, tuple(readings))
