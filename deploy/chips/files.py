"""Chips on disk: a folder with one safetensors file per chip and an index; written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import keras
from pydantic import Field
from safetensors.numpy import save_file

from analognets import crossbar as crossbars
from analognets.core.checked import Section, checking_file
from analognets.core.files import new_folder, read_json, recover
from analognets.core.provenance import json_sha256
from analognets.deploy.chips.calibration_files import devices_sha256, save_calibrations
from analognets.deploy.chips.calibrations import Calibrations
from analognets.deploy.chips.chip import Chip
from analognets.deploy.chips.origin import Origin, check_reference, model_fingerprint
from analognets.deploy.chips.stored import (
    Entry,
    Sha256,
    StoredChips,
    Whole,
    arrays_of,
    chip_file,
    write_chip,
    written_entry,
)
from analognets.errors import AnalogNetsError, ChipFileError
from analognets.layers import AnalogLayer, analog_layers

__all__ = ["StoredChips", "load_chips", "program_chips", "same_chips", "save_chips"]

FORMAT = 1
INDEX = "chips.json"


class Index(Section):
    """The index of a folder of chips.

    Args:
        format: of these files.
        seed: the chips were programmed from.
        model: name of the network.
        fingerprint: of its kernels.
        layers: names of its analog layers.
        crossbar: Keras config of the hardware.
        crossbars: that of each layer, if they differ.
        chips: what lies where.
        sha256: of all the rest.
    """

    format: int
    seed: Whole
    model: str
    fingerprint: Sha256
    layers: list[str]
    crossbar: dict[str, Any]
    crossbars: dict[str, dict[str, Any]] | None = None
    chips: Annotated[list[Entry], Field(min_length=1)]
    sha256: Sha256


def save_chips(
    folder: Any,
    model: keras.Model,
    chips: Sequence[Chip],
    seed: int,
    *,
    origin: Origin,
    calibrations: Calibrations,
    overwrite: bool,
) -> None:
    """Write the chips of a model, programmed from a seed, and what they go by; see `Chips.save`."""
    with new_folder(Path(folder), "chips", ChipFileError, overwrite=overwrite, index=INDEX) as draft:
        entries = []
        for place, chip in enumerate(chips):
            path = draft / chip_file(chip.number)
            if isinstance(chips, StoredChips) and chips.is_large(place):
                chips.copy(place, path)
            else:
                save_file(arrays_of(chip), path)
            if found := calibrations.of(chip.number):
                save_calibrations(draft, chip, found)
            entries.append(written_entry(draft, chip.number, chip.seed))
        _write_index(draft, model, seed, entries, origin)


def program_chips(
    folder: Any,
    model: keras.Model,
    seeds: Sequence[int],
    seed: int,
    *,
    overwrite: bool,
    told: Callable[[int], object],
    first: int = 0,
) -> StoredChips:
    """Programme a chip from each seed into a folder, as `Chips.save` writes them, and open them.

    Args:
        folder: to make.
        model: to programme.
        seeds: of the chips.
        seed: that these come from.
        overwrite: replace the chips there.
        told: called with the number of chips that are done.
        first: number of the first chip.

    Raises:
        ChipFileError: the folder exists, or can't be written.
    """
    target, layers = Path(folder), analog_layers(model)
    with new_folder(target, "chips", ChipFileError, overwrite=overwrite, index=INDEX) as draft:
        entries = []
        for number, own in enumerate(seeds, start=first):
            write_chip(draft / chip_file(number), layers, number, own)
            entries.append(written_entry(draft, number, own))
            told(len(entries))
        _write_index(draft, model, seed, entries, Origin.of(model))
    return StoredChips(target, entries, layers)


def _write_index(draft: Path, model: keras.Model, seed: int, entries: Sequence[Entry], origin: Origin) -> None:
    layers = analog_layers(model)
    hardware = [
        layer.crossbar.replace(drift_compensation=rule) for layer, rule in zip(layers, origin.rules, strict=True)
    ]
    index = {
        "format": FORMAT,
        "seed": seed,
        "model": model.name,
        "fingerprint": origin.fingerprint,
        "layers": [layer.name for layer in layers],
        "crossbar": keras.saving.serialize_keras_object(hardware[0]),
        "chips": [entry.model_dump() for entry in entries],
    }
    if len(set(hardware)) > 1:
        named = zip(layers, hardware, strict=True)
        index["crossbars"] = {layer.name: keras.saving.serialize_keras_object(one) for layer, one in named}
    (draft / INDEX).write_text(json.dumps({**index, "sha256": _index_sha256(index)}, indent=1), "utf-8")


def _index_sha256(index: dict[str, Any]) -> str:
    return json_sha256({name: value for name, value in index.items() if name != "sha256"}, finite=False)


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
    for layer in layers:
        _check_hardware(source, (index.crossbars or {}).get(layer.name, index.crossbar), model, layer)
    chips = StoredChips(source, index.chips, layers)
    for _ in chips:  # what can't be read is told now, not hours later
        pass
    return chips, index.seed


def _check_hardware(source: Path, stored_config: dict[str, Any], model: keras.Model, layer: AnalogLayer) -> None:
    """Raise unless chips were programmed on arrays and devices as a layer of the model has them."""
    ours = layer.crossbar
    try:
        stored = crossbars.get(stored_config)
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
    check_reference(stored.drift_compensation, ours.drift_compensation, layer.name, ChipFileError)


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
