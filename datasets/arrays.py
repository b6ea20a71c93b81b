"""Arrays in .npz files: bounded before they are read, finite, never pickled, with whole labels within the classes."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from analognets.core.files import open_plain
from analognets.errors import DataError, reason

__all__ = ["check_labelled", "read_labelled", "read_npz"]

_MOST_BYTES = 1 << 31
_MOST_RATIO = 200
_SMALL = 1 << 26


def read_npz(path: Path | str, names: Sequence[str], *, what: str = "") -> list[np.ndarray]:
    """Return arrays of numbers of a .npz file.

    Args:
        path: the file.
        names: of the arrays.
        what: the file is to be, for messages: "MNIST".

    Raises:
        DataError: the file is missing, special, damaged or too large, lacks an array, or one holds no numbers.
    """
    listed = ", ".join(f"`{name}`" for name in names)
    wanted = f"{what + ': ' if what else ''}a .npz file with the arrays {listed}"
    with open_plain(path, "arrays of", limit=_MOST_BYTES, error=DataError, hint=f"It must be {wanted}.") as file:
        try:
            _check_sizes(file, names)
            with np.load(file, allow_pickle=False) as stored:
                arrays = [np.asarray(stored[name]) for name in names]
        except Exception as error:  # zip, zlib and NumPy have many words for bytes that are no arrays
            raise DataError(f"'{path}' can't be read, and must be {wanted}: {_why(error)}.") from error
    for name, array in zip(names, arrays, strict=True):
        if array.dtype.kind not in "biuf":
            raise DataError(f"`{name}` of '{path}' must hold numbers. Received: {array.dtype} of shape {array.shape}.")
    return arrays


def _why(error: Exception) -> str:
    return "it is damaged or cut short" if isinstance(error, (EOFError, zipfile.BadZipFile)) else reason(error)


def _check_sizes(file: BinaryIO, names: Sequence[str]) -> None:
    """Raise ValueError if the arrays would unpack to more than memory should hold."""
    packed = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        for name in names:
            size = archive.getinfo(f"{name}.npy").file_size
            if size > _MOST_BYTES or (size > _SMALL and size > _MOST_RATIO * packed):
                raise ValueError(f"`{name}` would unpack to {size:,} bytes, and {_MOST_BYTES:,} are allowed")
            with archive.open(f"{name}.npy") as member:
                _check_head(name, member, size)
    file.seek(0)


def _check_head(name: str, member: object, size: int) -> None:
    version = np.lib.format.read_magic(member)  # type: ignore[arg-type]
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(member)  # type: ignore[arg-type]
    told = dtype.itemsize
    for axis in shape:
        told *= int(axis)
    if dtype.hasobject or not 0 <= told <= size:
        raise ValueError(f"`{name}` must be an array of numbers in {size:,} bytes; its head says {dtype} {shape}")


def read_labelled(path: Path | str, *, classes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return `inputs` and `labels` of a .npz file; see `check_labelled`.

    Raises:
        DataError: it can't be read, or they are not as they must be.
    """
    inputs, labels = read_npz(path, ("inputs", "labels"))
    return inputs, check_labelled(inputs, labels, f"'{path}'", classes=classes)


def check_labelled(inputs: np.ndarray, labels: np.ndarray, where: str, *, classes: int | None = None) -> np.ndarray:
    """Return labels as whole numbers if they fit the inputs.

    Args:
        inputs: one sample a row.
        labels: one a sample, or a row of them: labels of a sequence, or one class marked by 1.
        where: they come from, for messages.
        classes: how many there are; None if that is not known yet.

    Raises:
        DataError: there are none, or not as many labels as inputs; inputs are not finite; labels are no whole numbers
            from 0, or reach beyond the classes.
    """
    count = len(inputs) if inputs.ndim else 0
    if not count or not labels.size or not labels.ndim or len(labels) != count:
        raise DataError(
            f"{where} must hold as many labels as inputs, and at least one. Received: inputs {inputs.shape} and labels "
            f"{labels.shape}."
        )
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        rows = int((~np.isfinite(inputs)).reshape(count, -1).any(axis=1).sum())
        raise DataError(
            f"{where} must hold finite inputs. Received: NaN or infinity in {rows} of {count} samples. Remove them."
        )
    if labels.dtype.kind not in "biuf" or not np.isfinite(labels).all() or (labels != np.floor(labels)).any():
        raise DataError(
            f"{where} must hold labels that are whole numbers. Received: {labels.dtype} such as {labels.flat[0]}."
        )
    low, high = int(labels.min()), int(labels.max())
    most = 2**31 if classes is None else classes
    if low < 0 or high >= most:
        allowed = "0 up" if classes is None else f"0 to {classes - 1}"
        raise DataError(f"{where} must hold labels from {allowed}. Received: {low} to {high}.")
    return labels.astype(np.int64) if labels.dtype.kind == "f" else labels
