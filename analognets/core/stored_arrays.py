"""Large arrays in safetensors files, written and read piece by piece instead of as a whole."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analognets.core.files import MAX_FILE, open_plain
from analognets.core.tensors import MAX_HEADER, entries_of
from analognets.errors import AnalogNetsError, reason

__all__ = ["ArrayFile", "Identity", "StoredArray", "TensorWriter", "blocks_of", "written_arrays"]

NAMES = {"float64": "F64", "float32": "F32", "float16": "F16"}
KINDS = {name: np.dtype(kind) for kind, name in NAMES.items()}
Identity = tuple[int, int, int, int]
BLOCK = 1 << 22
"""Numbers that are looked at at once."""


class StoredArray:
    """An array in an open file; `numpy.asarray` reads it whole, `read` a part of it.

    Args:
        file: the open file.
        offset: of the first byte.
        dtype: of the numbers.
        shape: of the array.
    """

    def __init__(self, file: ArrayFile, offset: int, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        self.file = file
        self.offset = offset
        self.dtype = dtype
        self.shape = shape
        self.size = math.prod(shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def read(self, first: int, count: int) -> np.ndarray:
        """Return `count` numbers from number `first` on, in C order.

        Raises:
            AnalogNetsError: the file was changed since it was opened, or can't be read.
        """
        values = np.empty(count, self.dtype)
        self.file.fill(self.offset + first * self.dtype.itemsize, values)
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        values = self.read(0, self.size).reshape(self.shape)
        return values if dtype is None else values.astype(dtype, copy=False)


class ArrayFile:
    """A safetensors file of floats that is read in parts, and must stay as it was when it was opened.

    Args:
        path: of the file.
        error: what to raise.
    """

    def __init__(self, path: Path, error: type[AnalogNetsError]) -> None:
        self.path = path
        self.error = error
        with open_plain(path, limit=MAX_FILE, error=error) as file:
            self.descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self.descriptor)
        self.identity = identity_of(self.descriptor)

    def sha256(self) -> str:
        """Return the sha256 of the file as hexadecimal text."""
        try:
            with open(os.dup(self.descriptor), "rb") as file:
                file.seek(0)
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as problem:
            raise self.error(f"Can't read '{self.path}': {reason(problem)}.") from problem

    def arrays(self) -> dict[str, StoredArray]:
        """Return its arrays by name; none of them is read."""
        from safetensors import SafetensorError, safe_open

        size = self.identity[2]
        start = np.empty(min(size, 8 + MAX_HEADER), np.uint8)
        self.fill(0, start)
        try:
            entries, begin = entries_of(start.tobytes(), size, self.path, self.error)
            with safe_open(self.path, framework="np"):
                pass  # it checks that the arrays lie one after the other
            return {
                name: StoredArray(self, begin + entry["data_offsets"][0], KINDS[entry["dtype"]], tuple(entry["shape"]))
                for name, entry in entries.items()
            }
        except self.error:
            raise
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
            raise self.error(f"'{self.path}' can't be read: {reason(problem)}.") from None

    def fill(self, offset: int, values: np.ndarray) -> None:
        """Read the bytes of an array."""
        view = memoryview(values.view(np.uint8))
        descriptor, done = self.descriptor, 0
        try:
            while done < len(view):
                count = os.preadv(descriptor, [view[done:]], offset + done)
                if not count:
                    break
                done += count
        except OSError as problem:
            raise self.error(f"Can't read '{self.path}': {reason(problem)}.") from problem
        if done < len(view) or identity_of(descriptor) != self.identity:
            raise self.error(f"'{self.path}' was changed since it was opened. Open it again.")


def identity_of(descriptor: int) -> Identity:
    """Return what tells a file, and its content, from another one."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def blocks_of(array: Any) -> Iterator[np.ndarray]:
    """Yield an array as it is, or one in a file in flat blocks that fit into memory."""
    if not isinstance(array, StoredArray):
        yield array
        return
    for first in range(0, array.size, BLOCK):
        yield array.read(first, min(BLOCK, array.size - first))


class TensorWriter:
    """Writes the arrays of a safetensors file in any order; the file is the one that `save_file` makes of them.

    Args:
        descriptor: of the new file, open for writing.
        arrays: dtype and shape of each array by name.
    """

    def __init__(self, descriptor: int, arrays: Mapping[str, tuple[Any, tuple[int, ...]]]) -> None:
        self.descriptor = descriptor
        self.places: dict[str, tuple[int, np.dtype]] = {}
        header, end = {}, 0
        for name in sorted(arrays, key=lambda one: (-np.dtype(arrays[one][0]).itemsize, one)):
            dtype, shape = np.dtype(arrays[name][0]), arrays[name][1]
            begin, end = end, end + dtype.itemsize * math.prod(shape)
            header[name] = {"dtype": NAMES[dtype.name], "shape": list(shape), "data_offsets": [begin, end]}
            self.places[name] = begin, dtype
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self.begin = 8 + len(text)
        reserve(descriptor, self.begin + end)
        self._put(len(text).to_bytes(8, "little") + text, 0)

    def write(self, name: str, first: int, values: np.ndarray) -> None:
        """Write numbers from number `first` of an array on, in C order."""
        offset, dtype = self.places[name]
        flat = np.ascontiguousarray(values, dtype).reshape(-1)
        self._put(flat.view(np.uint8), self.begin + offset + first * dtype.itemsize)

    def _put(self, content: Any, offset: int) -> None:
        view, done = memoryview(content), 0
        while done < len(view):
            done += os.pwrite(self.descriptor, view[done:], offset + done)


def reserve(descriptor: int, size: int) -> None:
    """Take the room of a file, so that a full disk is found before the work; nothing where a file system can't.

    Raises:
        OSError: there is no room.
    """
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as problem:
        if problem.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise


@contextlib.contextmanager
def written_arrays(path: Path, arrays: Mapping[str, tuple[Any, tuple[int, ...]]]) -> Iterator[TensorWriter]:
    """Yield a writer of a new safetensors file; see `TensorWriter`.

    Raises:
        OSError: the file can't be written, such as on a full disk.
    """
    with open(path, "xb", buffering=0) as file:
        yield TensorWriter(file.fileno(), arrays)
