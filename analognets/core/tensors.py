"""Arrays from safetensors files that are not trusted: the header is checked before numbers are read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analognets.errors import AnalogNetsError, shortened

__all__ = ["MAX_HEADER", "entries_of", "metadata_of", "tensors_of"]

MAX_HEADER = 16 * 2**20
DTYPES = {"F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}


def tensors_of(content: bytes, path: Path, error: type[AnalogNetsError], *, hint: str = "") -> dict[str, np.ndarray]:
    """Return the arrays in the content of a safetensors file.

    Args:
        content: of the file.
        path: of the file, for messages.
        error: what to raise if the header is too long or not of this format, or an array holds NaN or infinity.
        hint: a sentence at the end of some messages: what to do.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        entries_of(content[: 8 + MAX_HEADER], len(content), path, error)
        arrays: dict[str, np.ndarray] = load(content)
    except error:
        raise
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as problem:
        raise error(f"'{path}' can't be read: {problem}. {hint}".rstrip()) from None
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise error(f"'{path}' holds NaN or infinity in '{name}', so it is of no use. {hint}".rstrip())
    return arrays


def entries_of(start: bytes, size: int, path: Path, error: type[AnalogNetsError]) -> tuple[dict[str, Any], int]:
    """Return what the header of a safetensors file says of its arrays, and where their numbers begin.

    Args:
        start: of the file, its header at least.
        size: of the file in bytes.
        path: of the file, for messages.
        error: what to raise if the header is too long or doesn't fit the size.
    """
    length = int.from_bytes(start[:8], "little")
    allowed = min(MAX_HEADER, max(size - 8, 0))
    if not 2 <= length <= allowed:
        raise error(
            f"'{path}' is no safetensors file: its header may have 2 to {allowed:,} bytes. Received: {length:,}."
        )
    header = json.loads(start[8 : 8 + length])
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    expected = sum(_bytes_of(path, name, entry, error) for name, entry in entries.items())
    if expected != size - 8 - length:
        raise error(f"'{path}' must hold {expected:,} bytes of numbers. Received: {size - 8 - length:,}.")
    return entries, 8 + length


def _bytes_of(path: Path, name: str, entry: Mapping[str, Any], error: type[AnalogNetsError]) -> int:
    kind, shape = entry["dtype"], entry["shape"]
    if kind not in DTYPES:
        raise error(f"'{path}' may hold numbers of type {', '.join(sorted(DTYPES))}. Received: {shortened(kind)}.")
    if not all(isinstance(axis, int) and axis >= 0 for axis in shape):
        raise error(f"'{path}' must give '{name}' a shape of whole numbers. Received: {shortened(shape)}.")
    return math.prod(shape) * (1 if kind == "BOOL" else int(kind[1:]) // 8)


def metadata_of(content: bytes) -> dict[str, Any]:
    """Return the texts in the header of a safetensors file that `tensors_of` has read; none if there are none."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return dict(header.get("__metadata__") or {})
