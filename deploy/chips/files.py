"""Chips on disk: a folder with one safetensors file per chip and an index; written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from analognets import crossbar as crossbars
from analognets.core.files import file_sha256, new_folder
from analognets.core.provenance import json_sha256, sha256_of
from analognets.deploy.chips.chip import Chip
from analognets.deploy.chips.programming import ProgrammedLayer
from analognets.errors import ChipFileError
from analognets.layers import AnalogLayer, analog_layers

__all__ = ["load_chips", "model_fingerprint", "save_chips"]

FORMAT = 1
INDEX = "chips.json"


def model_fingerprint(model: keras.Model) -> str:
    """Return the sha256 of names, shapes and values of the kernels that get programmed."""
    parts: list[Any] = []
    for layer in analog_layers(model):
        kernel = keras.ops.convert_to_numpy(layer.kernel_variable.value).astype(np.float32)
        parts += [f"{layer.name}{kernel.shape}", kernel]
    return sha256_of(*parts)


def save_chips(folder: Any, model: keras.Model, chips: Sequence[Chip], seed: int, *, overwrite: bool) -> None:
    """Write the chips of a model, programmed from a seed; see `Chips.save`."""
    target, layers = Path(folder), analog_layers(model)
    with new_folder(target, "chips", ChipFileError, overwrite=overwrite, index=INDEX) as draft:
        entries = []
        for chip in chips:
            name = f"chip_{chip.number:04d}.safetensors"
            save_file(_arrays(chip), draft / name)
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


def load_chips(folder: Any, model: keras.Model) -> tuple[list[Chip], int]:
    """Read the chips of a folder; see `Chips.load`."""
    source = Path(folder)
    index = _read_index(source)
    if index["fingerprint"] != model_fingerprint(model):
        raise ChipFileError(
            f"The chips in '{source}' were programmed from other weights than those of model '{model.name}'. Load the "
            "model they belong to, or programme this one."
        )
    layers = analog_layers(model)
    stored, ours = crossbars.get(index["crossbar"]), layers[0].crossbar
    if (stored.rows, stored.cols, type(stored.device), stored.device.g_max) != (
        ours.rows, ours.cols, type(ours.device), ours.device.g_max,
    ):  # fmt: skip
        raise ChipFileError(
            f"The chips in '{source}' are of other hardware ({stored.name}: {stored.rows} x {stored.cols}, "
            f"{type(stored.device).__name__}) than model '{model.name}' ({ours.name}: {ours.rows} x {ours.cols}, "
            f"{type(ours.device).__name__}). Load the model they belong to, or programme this one."
        )
    return [_load_chip(source, entry, layers) for entry in index["chips"]], int(index["seed"])


def _read_index(source: Path) -> dict[str, Any]:
    """Return the checked index of a folder of chips."""
    try:
        index = json.loads((source / INDEX).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ChipFileError(
            f"'{source}' holds no chips: '{INDEX}' is missing. Save chips there with Chips.save."
        ) from None
    except ValueError as error:
        raise ChipFileError(f"'{source / INDEX}' is not a chip index: it was cut short or changed. ({error})") from None
    if not isinstance(index, dict) or index.get("sha256") != _index_sha256(index):
        raise ChipFileError(f"'{source / INDEX}' was changed since it was written. Programme the chips again.")
    if index["format"] != FORMAT:
        raise ChipFileError(f"'{source}' has chip format {index['format']}, this version reads {FORMAT}.")
    return index


def _load_chip(source: Path, entry: dict[str, Any], layers: Sequence[AnalogLayer]) -> Chip:
    path = source / Path(entry["file"]).name
    if not path.is_file():
        raise ChipFileError(f"Chip {entry['number']} is missing: '{path}' does not exist. Programme the chips again.")
    if file_sha256(path) != entry["sha256"]:
        raise ChipFileError(
            f"'{path}' is not the file that was written: it was cut short or changed (sha256 differs). "
            "Programme the chips again."
        )
    try:
        arrays = load_file(path)
        programmed = [_layer(arrays, index, layer) for index, layer in enumerate(layers)]
    except (SafetensorError, KeyError) as error:
        raise ChipFileError(f"'{path}' can't be read as a chip. ({error})") from None
    return Chip(int(entry["number"]), int(entry["seed"]), programmed)


def _layer(arrays: dict[str, np.ndarray], index: int, layer: AnalogLayer) -> ProgrammedLayer:
    def under(prefix: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}

    gamma = arrays[f"{index}/weight_max"]
    blocks = 0 if layer.crossbar.plain else layer.tiling.shape[0]
    return ProgrammedLayer(
        under(f"{index}/state/"),
        float(gamma[0]) if gamma.ndim == 1 else gamma,
        arrays[f"{index}/reference"],
        [under(f"{index}/readout/{block}/") for block in range(blocks)],
    )
