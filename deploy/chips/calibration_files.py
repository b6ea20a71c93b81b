"""Stored AdaBS calibrations on disk: a safetensors file for each chip, beside that of the chip itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
from pydantic import Field
from safetensors.numpy import save_file

from analognets.core.checked import Section, checking_file
from analognets.core.files import json_of, read_plain, write_atomically
from analognets.core.provenance import json_sha256, sha256_of, sha256_of_all
from analognets.core.stored_arrays import blocks_of
from analognets.core.tensors import metadata_of, tensors_of
from analognets.deploy.chips.batch_norm import batch_norms
from analognets.deploy.chips.calibrations import Calibration
from analognets.deploy.chips.chip import Chip
from analognets.errors import ChipFileError
from analognets.units import LONGEST

__all__ = ["calibration_file", "devices_sha256", "load_calibrations", "save_calibrations"]

FORMAT = 1
RECORD = "calibrations"
"""Name of the text in the header of a file that says what its numbers are."""
AGAIN = "Delete the file and calibrate again."
Whole = Annotated[int, Field(ge=0, lt=2**63)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Entry(Section):
    """What a file says of one calibration.

    Args:
        seconds: when it was made.
        drift_compensation: whether that was on.
        samples: how many were used.
        inputs: sha256 of them.
        model: sha256 of the digital part, `digital_sha256`.
    """

    seconds: Annotated[float, Field(ge=0.0, le=LONGEST)]
    drift_compensation: bool
    samples: Annotated[int, Field(ge=1, lt=2**63)]
    inputs: Sha256
    model: Sha256


class Record(Section):
    """What the header of a file says.

    Args:
        format: of these files.
        chip: number of the chip.
        devices: sha256 of the chip's devices.
        norms: names of the batch-norms.
        entries: the calibrations, in the order of their numbers in the names of the arrays.
        sha256: of all this and the numbers.
    """

    format: int
    chip: Whole
    devices: Sha256
    norms: Annotated[list[str], Field(min_length=1)]
    entries: Annotated[list[Entry], Field(min_length=1)]
    sha256: Sha256


def calibration_file(folder: Path, chip: int) -> Path:
    """Return where the calibrations of a chip lie in the folder of its file."""
    return folder / f"calibration_{chip:04d}.safetensors"


def devices_sha256(chip: Chip) -> str:
    """Return the sha256 of the devices of a chip."""
    return sha256_of_all(_devices(chip))


def _devices(chip: Chip) -> Iterator[Any]:
    for layer in chip.layers:
        for name, value in sorted(layer.state.items()):
            yield f"{name}{value.dtype}{value.shape}"
            yield from (np.ascontiguousarray(block) for block in blocks_of(value))


def save_calibrations(folder: Path, chip: Chip, found: Sequence[Calibration]) -> None:
    """Write all calibrations of a chip into the folder of its file, whole or not at all.

    Raises:
        ChipFileError: the file can't be written.
    """
    arrays: dict[str, np.ndarray] = {}
    for number, one in enumerate(found):
        for norm, (mean, variance) in enumerate(one.statistics):
            arrays[f"{number}/{norm}/mean"] = np.ascontiguousarray(mean, np.float32)
            arrays[f"{number}/{norm}/variance"] = np.ascontiguousarray(variance, np.float32)
    record: dict[str, Any] = {
        "format": FORMAT,
        "chip": chip.number,
        "devices": devices_sha256(chip),
        "norms": list(found[0].names),
        "entries": [{name: getattr(one, name) for name in Entry.model_fields} for one in found],
    }
    text = json.dumps({**record, "sha256": _sha256(record, arrays)})
    write_atomically(
        calibration_file(folder, chip.number),
        lambda path: save_file(arrays, path, metadata={RECORD: text}),
        error=ChipFileError,
    )


def _sha256(record: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    parts: list[Any] = [json_sha256({name: value for name, value in record.items() if name != "sha256"}, finite=False)]
    for name, value in sorted(arrays.items()):
        parts += [f"{name}{value.dtype}{value.shape}", value]
    return sha256_of(*parts)


def load_calibrations(path: Path, model: keras.Model, chip: Chip) -> list[Calibration]:
    """Return the calibrations of a chip.

    Args:
        path: of `calibration_file`.
        model: the chip was programmed from.
        chip: whose they are.

    Raises:
        ChipFileError: the file is cut short or changed, or belongs to another chip or model.
    """
    content = read_plain(path, "calibration", error=ChipFileError)
    arrays = tensors_of(content, path, ChipFileError, hint=AGAIN)
    raw = json_of(str(metadata_of(content).get(RECORD, "")).encode(), path, "calibration", error=ChipFileError)
    if not isinstance(raw, dict) or raw.get("sha256") != _sha256(raw, arrays):
        raise ChipFileError(f"'{path}' was changed since it was written. {AGAIN}")
    if raw.get("format") != FORMAT:
        raise ChipFileError(f"'{path}' has calibration format {raw.get('format')!r}, this version reads {FORMAT}.")
    with checking_file(f"'{path}' is not a calibration", ChipFileError, AGAIN):
        record = Record.model_validate(raw)
    if (record.chip, record.devices) != (chip.number, devices_sha256(chip)):
        raise ChipFileError(
            f"'{path}' must be the calibration of the chip beside it, chip {chip.number}. Received: that of another "
            f"chip (number {record.chip}, other devices). {AGAIN}"
        )
    norms = batch_norms(model)
    if record.norms != [norm.name for norm in norms]:
        raise ChipFileError(
            f"'{path}' must be of the {len(norms)} batch-norms of model '{model.name}'. Received: "
            f"{len(record.norms)} batch-norms with other names. Load the model that was calibrated."
        )
    return [_calibration(path, arrays, norms, number, record) for number in range(len(record.entries))]


def _calibration(
    path: Path, arrays: dict[str, np.ndarray], norms: Sequence[Any], number: int, record: Record
) -> Calibration:
    """Return one calibration, its numbers checked."""
    found: dict[str, list[np.ndarray]] = {"mean": [], "variance": []}
    for index, norm in enumerate(norms):
        for name, values in found.items():
            array, shape = arrays.get(f"{number}/{index}/{name}"), tuple(norm.moving_mean.shape)
            if array is None or array.dtype != np.float32 or array.shape != shape:
                has = "nothing" if array is None else f"{array.dtype} of shape {array.shape}"
                raise ChipFileError(
                    f"The {name} of batch-norm '{norm.name}' in '{path}' must be float32 of shape {shape}. Received: "
                    f"{has}. {AGAIN}"
                )
            if name == "variance" and array.min(initial=0.0) < 0:
                raise ChipFileError(
                    f"The variance of batch-norm '{norm.name}' in '{path}' must not be negative. Received: "
                    f"{array.min():g}. {AGAIN}"
                )
            values.append(array)
    entry = record.entries[number].model_dump()
    means, variances = (tuple(found[name]) for name in ("mean", "variance"))
    return Calibration(chip=record.chip, names=tuple(record.norms), means=means, variances=variances, **entry)
