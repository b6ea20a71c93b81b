"""Chips on disk: a folder with one safetensors file per chip and an index; written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
from pydantic import Field
from safetensors.numpy import save_file

from analognets import crossbar as crossbars
from analognets.core.checked import Section, checking_file
from analognets.core.files import file_sha256, new_folder, read_json, read_plain, recover
from analognets.core.provenance import json_sha256, sha256_of
from analognets.core.tensors import tensors_of
from analognets.deploy.chips.calibration_files import (
    calibration_file,
    devices_sha256,
    load_calibrations,
    save_calibrations,
)
from analognets.deploy.chips.calibrations import Calibration, Calibrations
from analognets.deploy.chips.checks import check_stored
from analognets.deploy.chips.chip import Chip
from analognets.deploy.chips.programming import ProgrammedLayer
from analognets.errors import AnalogNetsError, ChipFileError
from analognets.layers import AnalogLayer, analog_layers

__all__ = ["StoredChips", "load_chips", "model_fingerprint", "same_chips", "save_chips"]

FORMAT = 1
INDEX = "chips.json"
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


class Index(Section):
    """The index of a folder of chips.

    Args:
        format: of these files.
        seed: the chips were programmed from.
        model: name of the network.
        fingerprint: of its kernels.
        layers: names of its analog layers.
        crossbar: Keras config of the hardware.
        chips: what lies where.
        sha256: of all the rest.
    """

    format: int
    seed: Whole
    model: str
    fingerprint: Sha256
    layers: list[str]
    crossbar: dict[str, Any]
    chips: Annotated[list[Entry], Field(min_length=1)]
    sha256: Sha256


def model_fingerprint(model: keras.Model) -> str:
    """Return the sha256 of names, shapes and values of the kernels that get programmed."""
    parts: list[Any] = []
    for layer in analog_layers(model):
        kernel = keras.ops.convert_to_numpy(layer.kernel_variable.value).astype(np.float32)
        parts += [f"{layer.name}{kernel.shape}", kernel]
    return sha256_of(*parts)


def save_chips(
    folder: Any,
    model: keras.Model,
    chips: Sequence[Chip],
    seed: int,
    *,
    calibrations: Calibrations,
    overwrite: bool,
) -> None:
    """Write the chips of a model, programmed from a seed, and their calibrations; see `Chips.save`."""
    target, layers = Path(folder), analog_layers(model)
    with new_folder(target, "chips", ChipFileError, overwrite=overwrite, index=INDEX) as draft:
        entries = []
        for chip in chips:
            name = f"chip_{chip.number:04d}.safetensors"
            save_file(_arrays(chip), draft / name)
            if found := calibrations.of(chip.number):
                save_calibrations(draft, chip, found)
            entries.append(
                {"file": name, "number": chip.number, "seed": chip.seed, "sha256": file_sha256(draft / name)}
            )
        index = {
            "format": FORMAT,
            "seed": seed,
            "model": model.name,
            "fingerprint": model_fingerprint(model),
            "layers": [layer.name for layer in layers],
            "crossbar": keras.saving.serialize_keras_object(layers[0].crossbar),
            "chips": entries,
        }
        (draft / INDEX).write_text(json.dumps({**index, "sha256": _index_sha256(index)}, indent=1), "utf-8")


def _index_sha256(index: dict[str, Any]) -> str:
    return json_sha256({name: value for name, value in index.items() if name != "sha256"}, finite=False)


def _arrays(chip: Chip) -> dict[str, np.ndarray]:
    arrays = {}
    for index, layer in enumerate(chip.layers):
        for name, value in layer.state.items():
            arrays[f"{index}/state/{name}"] = np.ascontiguousarray(value)
        arrays[f"{index}/reference"] = np.ascontiguousarray(layer.reference)
        gamma = np.asarray(layer.weight_max)
        arrays[f"{index}/weight_max"] = gamma if gamma.ndim else np.asarray([gamma], np.float64)
        for block, numbers in enumerate(layer.periphery):
            for name, value in numbers.items():
                arrays[f"{index}/readout/{block}/{name}"] = np.ascontiguousarray(value)
    return arrays


class StoredChips(Sequence[Chip]):
    """Chips in a folder, each read when it is asked for; only the last one stays in memory.

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
            self._last = entry, _load_chip(self._source, entry, self._layers)
        return self._last[1]


def load_chips(folder: Any, model: keras.Model) -> tuple[StoredChips, int]:
    """Return the chips of a folder, each of which was checked; see `Chips.load`."""
    source = Path(folder)
    index = _read_index(source)
    if index.fingerprint != model_fingerprint(model):
        raise ChipFileError(
            f"The chips in '{source}' were programmed from other weights than those of model '{model.name}'. Load the "
            "model they belong to, or programme this one."
        )
    layers = analog_layers(model)
    ours = layers[0].crossbar
    try:
        stored = crossbars.get(index.crossbar)
    except AnalogNetsError as error:
        raise ChipFileError(f"'{source / INDEX}' names hardware that can't be read. {error}") from error
    if (stored.rows, stored.cols, type(stored.device), stored.device.g_max) != (
        ours.rows, ours.cols, type(ours.device), ours.device.g_max,
    ):  # fmt: skip
        raise ChipFileError(
            f"The chips in '{source}' are of other hardware ({stored.name}: {stored.rows} x {stored.cols}, "
            f"{type(stored.device).__name__}) than model '{model.name}' ({ours.name}: {ours.rows} x {ours.cols}, "
            f"{type(ours.device).__name__}). Load the model they belong to, or programme this one."
        )
    chips = StoredChips(source, index.chips, layers)
    for _ in chips:  # what can't be read is told now, not hours later
        pass
    return chips, index.seed


def same_chips(folder: Any, model: keras.Model, chips: Sequence[Chip]) -> StoredChips:
    """Return the chips of a folder, if they are these very ones.

    Raises:
        ChipFileError: it holds others, or none.
    """
    stored, _ = load_chips(folder, model)
    if [(chip.number, devices_sha256(chip)) for chip in stored] != [(one.number, devices_sha256(one)) for one in chips]:
        raise ChipFileError(
            f"Calibrations are stored beside the chips they belong to. Received: '{folder}', which holds other chips. "
            "Save these chips to a new folder first."
        )
    return stored


def _read_index(source: Path) -> Index:
    """Return the checked index of a folder of chips."""
    recover(source)
    path = source / INDEX
    if not os.path.exists(path):
        raise ChipFileError(f"'{source}' holds no chips: '{INDEX}' is missing. Save chips there with Chips.save.")
    raw = read_json(path, "chip index", error=ChipFileError)
    if not isinstance(raw, dict) or raw.get("sha256") != _index_sha256(raw):
        raise ChipFileError(f"'{path}' was changed since it was written. Programme the chips again.")
    if raw.get("format") != FORMAT:
        raise ChipFileError(f"'{source}' has chip format {raw.get('format')!r}, this version reads {FORMAT}.")
    with checking_file(f"'{path}' is not a chip index", ChipFileError, "Programme the chips again."):
        index = Index.model_validate(raw)
    for name in ("number", "file"):
        values = [getattr(entry, name) for entry in index.chips]
        if len(set(values)) < len(values):
            raise ChipFileError(f"'{path}' must name each chip and each file once. Programme the chips again.")
    return index


def _load_chip(source: Path, entry: Entry, layers: Sequence[AnalogLayer]) -> Chip:
    path = source / Path(entry.file).name
    if not os.path.exists(path):
        raise ChipFileError(f"Chip {entry.number} is missing: '{path}' does not exist. Programme the chips again.")
    content = read_plain(path, "chip", error=ChipFileError)
    if sha256_of(content) != entry.sha256:
        raise ChipFileError(
            f"'{path}' is not the file that was written: it was cut short or changed (sha256 differs). "
            "Programme the chips again."
        )
    arrays = tensors_of(content, path, ChipFileError)
    try:
        programmed = [_layer(arrays, index, layer) for index, layer in enumerate(layers)]
    except KeyError as error:
        raise ChipFileError(f"'{path}' can't be read as a chip: it lacks {error}. Programme the chips again.") from None
    for layer, stored in zip(layers, programmed, strict=True):
        check_stored(layer, stored, f"layer '{layer.name}' in '{path}'")
    return Chip(entry.number, entry.seed, programmed)


def _layer(arrays: dict[str, np.ndarray], index: int, layer: AnalogLayer) -> ProgrammedLayer:
    def under(prefix: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}

    gamma = arrays[f"{index}/weight_max"]
    blocks = 0 if layer.crossbar.plain else layer.tiling.shape[0]
    return ProgrammedLayer(
        under(f"{index}/state/"),
        float(gamma[0]) if gamma.shape == (1,) else gamma,
        arrays[f"{index}/reference"],
        [under(f"{index}/readout/{block}/") for block in range(blocks)],
    )
