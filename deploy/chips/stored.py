"""Chips in files: read when they are asked for, large ones piece by piece, and written while they are programmed."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
from pydantic import Field
from safetensors.numpy import save_file

from analognets.core.checked import Section
from analognets.core.drafts import temporary_folder
from analognets.core.files import file_sha256, read_plain
from analognets.core.memory import free_memory
from analognets.core.provenance import sha256_of
from analognets.core.stored_arrays import ArrayFile, Identity, written_arrays
from analognets.core.tensors import tensors_of
from analognets.crossbar import Crossbar
from analognets.deploy.chips.calibration_files import calibration_file, load_calibrations
from analognets.deploy.chips.calibrations import Calibration
from analognets.deploy.chips.checks import check_stored
from analognets.deploy.chips.chip import Chip
from analognets.deploy.chips.pieces import PIECE, Piece, computes_in_pieces, state_arrays
from analognets.deploy.chips.programming import ProgrammedLayer, arithmetic, peripheries
from analognets.devices import derive_seed
from analognets.errors import ChipFileError
from analognets.layers import AnalogLayer

__all__ = [
    "Entry",
    "StoredChips",
    "arrays_of",
    "chip_file",
    "is_too_large",
    "room_for",
    "temporary_chips",
    "write_chip",
    "written_entry",
]

LARGE_FILE = 1 << 27
"""Size in bytes from which the devices of a chip stay in its file, and are read piece by piece."""
ROOM_OF_CELL = 24
"""Numbers that programming a device pair takes for a while: targets, draws, state and what comes between."""
Whole = Annotated[int, Field(ge=0, lt=2**63)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Entry(Section):
    """What the index says of one chip.

    Args:
        file: its name in the folder.
        number: of the chip.
        seed: what its devices were drawn from.
        sha256: of the file.
    """

    file: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    number: Whole
    seed: Whole
    sha256: Sha256


class StoredChips(Sequence[Chip]):
    """Chips in a folder, each read when it is asked for; only the last one stays in memory, or open if it is large.

    Args:
        source: the folder.
        entries: of its index.
        layers: the analog layers they were programmed from.
    """

    def __init__(self, source: Path, entries: Sequence[Entry], layers: Sequence[AnalogLayer]) -> None:
        self._source = source
        self._entries = list(entries)
        self._layers = list(layers)
        self._last: tuple[Entry, Chip] | None = None
        self._checked: dict[str, Identity] = {}
        """The large files whose sha256 was right."""

    def __len__(self) -> int:
        return len(self._entries)

    def calibrations(self, model: keras.Model) -> list[Calibration]:
        """Return what the chips measured of a model's batch-norms, as far as there are files of it.

        Raises:
            ChipFileError: a file is cut short or changed, or belongs to another chip or model.
        """
        return [
            one
            for place, entry in enumerate(self._entries)
            if os.path.lexists(path := calibration_file(self._source, entry.number))
            for one in load_calibrations(path, model, self[place])
        ]

    def __iter__(self) -> Iterator[Chip]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        entry = self._entries[index]
        if self._last is None or self._last[0] is not entry:
            self._last = None
            self._last = entry, self._read(entry)
        return self._last[1]

    def is_large(self, place: int) -> bool:
        """Whether the devices of a chip stay in its file."""
        return os.path.getsize(self._source / self._entries[place].file) >= LARGE_FILE

    def copy(self, place: int, path: Path) -> None:
        """Copy the file of a chip.

        Raises:
            OSError: it can't be written.
        """
        shutil.copyfile(self._source / self._entries[place].file, path)

    def _read(self, entry: Entry) -> Chip:
        path = self._source / Path(entry.file).name
        if not os.path.exists(path):
            raise ChipFileError(f"Chip {entry.number} is missing: '{path}' does not exist. Programme the chips again.")
        if os.path.getsize(path) < LARGE_FILE:
            content = read_plain(path, "chip", error=ChipFileError)
            self._check_sha256(path, entry, sha256_of(content))
            return _chip(tensors_of(content, path, ChipFileError), path, entry, self._layers)
        file = ArrayFile(path, ChipFileError)
        if self._checked.get(entry.file) == file.identity:
            return _chip(file.arrays(), path, entry, self._layers, check=False)
        self._check_sha256(path, entry, file.sha256())
        chip = _chip(file.arrays(), path, entry, self._layers)
        self._checked[entry.file] = file.identity
        return chip

    def _check_sha256(self, path: Path, entry: Entry, found: str) -> None:
        if found != entry.sha256:
            raise ChipFileError(
                f"'{path}' is not the file that was written: it was cut short or changed (sha256 differs). "
                "Programme the chips again."
            )


def _chip(
    arrays: Mapping[str, Any], path: Path, entry: Entry, layers: Sequence[AnalogLayer], *, check: bool = True
) -> Chip:
    try:
        programmed = [_layer(arrays, index, layer) for index, layer in enumerate(layers)]
    except KeyError as error:
        raise ChipFileError(f"'{path}' can't be read as a chip: it lacks {error}. Programme the chips again.") from None
    for layer, stored in zip(layers, programmed, strict=True):
        if check:
            check_stored(layer, stored, f"layer '{layer.name}' in '{path}'")
    return Chip(entry.number, entry.seed, programmed)


def _layer(arrays: Mapping[str, Any], index: int, layer: AnalogLayer) -> ProgrammedLayer:
    def under(prefix: str) -> dict[str, Any]:
        return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}

    gamma = np.asarray(arrays[f"{index}/weight_max"])
    blocks = 0 if layer.crossbar.plain else layer.tiling.shape[0]
    return ProgrammedLayer(
        under(f"{index}/state/"),
        float(gamma[0]) if gamma.shape == (1,) else gamma,
        np.asarray(arrays[f"{index}/reference"]),
        [
            {name: np.asarray(value) for name, value in under(f"{index}/readout/{block}/").items()}
            for block in range(blocks)
        ],
    )


def chip_file(number: int) -> str:
    """Return the name of the file of a chip."""
    return f"chip_{number:04d}.safetensors"


def arrays_of(chip: Chip) -> dict[str, np.ndarray]:
    """Return the arrays of the file of a chip."""
    arrays = {}
    for index, layer in enumerate(chip.layers):
        for name, value in layer.state.items():
            arrays[f"{index}/state/{name}"] = np.ascontiguousarray(value)
        arrays |= _small_arrays(index, layer)
    return arrays


def _small_arrays(index: int, layer: ProgrammedLayer) -> dict[str, np.ndarray]:
    """Return what a file holds of a layer beside its devices."""
    gamma = np.asarray(layer.weight_max)
    arrays = {
        f"{index}/reference": np.ascontiguousarray(layer.reference),
        f"{index}/weight_max": gamma if gamma.ndim else np.asarray([gamma], np.float64),
    }
    for block, numbers in enumerate(layer.periphery):
        for name, value in numbers.items():
            arrays[f"{index}/readout/{block}/{name}"] = np.ascontiguousarray(value)
    return arrays


def room_for(layer: AnalogLayer) -> int:
    """Return about how many bytes of memory programming or reading a layer takes: its kernel, and a piece of it."""
    size = math.prod(layer.crossbar_shape())
    cells = 4 * max(1, getattr(layer.crossbar.device, "copies", 1))
    in_pieces = computes_in_pieces(layer.crossbar)
    return 4 * size + ROOM_OF_CELL * cells * (min(size, PIECE) if in_pieces else size)


def is_too_large(layers: Sequence[AnalogLayer], chips: int) -> bool:
    """Whether chips go to files: one of them is large, or all of them are much of the free memory."""
    size = bytes_of_chip(layers)
    return size > LARGE_FILE or chips * size > (free_memory() or math.inf) / 4


def bytes_of_chip(layers: Sequence[AnalogLayer]) -> int:
    """Return the size of the devices of a chip; 0 if they can't be programmed in pieces."""
    total = 0
    known: list[tuple[Crossbar, int]] = []
    for layer in layers:
        if not computes_in_pieces(layer.crossbar):
            return 0
        size = next((size for crossbar, size in known if crossbar == layer.crossbar), 0)
        if not size:
            size = 4 * sum(math.prod(shape) for shape in state_arrays(layer.crossbar, (1, 1)).values())
            known.append((layer.crossbar, size))
        total += size * math.prod(layer.crossbar_shape())
    return total


def write_chip(path: Path, layers: Sequence[AnalogLayer], number: int, seed: int) -> None:
    """Programme a chip into a file, layer by layer, as `analognets.deploy.Chips.save` would write it.

    Args:
        path: of the new file.
        layers: the analog layers.
        number: of the chip.
        seed: of the chip.

    Raises:
        OSError: the file can't be written.
    """
    arithmetic_of = arithmetic(layers)
    if not all(computes_in_pieces(layer.crossbar) for layer in layers):
        save_file(arrays_of(Chip(number, seed, arithmetic_of.program(layers, seed))), path)
        return
    small = [_shapes_of_small_arrays(index, layer, seed) for index, layer in enumerate(layers)]
    large = {
        f"{index}/state/{name}": ("float32", shape)
        for index, layer in enumerate(layers)
        for name, shape in state_arrays(layer.crossbar, layer.crossbar_shape()).items()
    }
    with written_arrays(path, {**large, **{name: one for part in small for name, one in part.items()}}) as writer:
        for index, layer in enumerate(layers):

            def put(name: str, shape: tuple[int, ...], piece: Piece, values: np.ndarray, own: int = index) -> None:
                size = math.prod(piece.kernel)
                for row, part in enumerate(values.reshape(-1, piece.count)):
                    writer.write(f"{own}/state/{name}", row * size + piece.start, part)

            for name, value in _small_arrays(index, arithmetic_of.program_layer(index, layer, seed, put)).items():
                writer.write(name, 0, value)


def _shapes_of_small_arrays(index: int, layer: AnalogLayer, seed: int) -> dict[str, tuple[Any, tuple[int, ...]]]:
    """Return kind and shape of what a file will hold of a layer beside its devices."""
    gamma = tuple(layer.w_max.shape)
    drawn = peripheries(layer, derive_seed(seed, index, "program"))
    stored = ProgrammedLayer({}, np.zeros(gamma, np.float32) if gamma else 0.0, reference_like(layer), drawn)
    return {name: (value.dtype, value.shape) for name, value in _small_arrays(index, stored).items()}


def reference_like(layer: AnalogLayer) -> np.ndarray:
    """Return an array of the shape of what drift compensation refers to: a number a tile, or one a column."""
    rule, (rows, cols) = layer.crossbar.drift_compensation, layer.tiling.shape
    columns = layer.tiling.kernel_shape[-1]
    one_a_column = rule is not None and np.size(rule.response(keras.ops.ones((1, 2)))) == 2
    return np.empty((rows, columns if one_a_column else cols), np.float32)


def temporary_chips(
    layers: Sequence[AnalogLayer], seeds: Sequence[int], told: Callable[[int], object], *, first: int = 0
) -> StoredChips:
    """Programme chips into a folder among the system's temporary files, which goes with them.

    Args:
        layers: to programme.
        seeds: of the chips.
        told: called with the number of chips that are done.
        first: number of the first chip.

    Raises:
        RunError: there is no room.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        entries = []
        for number, seed in enumerate(seeds, start=first):
            write_chip(folder / chip_file(number), layers, number, seed)
            entries.append(written_entry(folder, number, seed))
            told(len(entries))
        chips = StoredChips(folder, entries, layers)
        weakref.finalize(chips, stack.pop_all().close)
    return chips


def written_entry(folder: Path, number: int, seed: int) -> Entry:
    """Return the index entry of a chip whose file was just written."""
    name = chip_file(number)
    return Entry(file=name, number=number, seed=seed, sha256=file_sha256(folder / name))
