"""Arrays as text for the page's scripts: base85 of gzip, with the bytes of half-precision numbers sorted."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["pack", "pack_tensors", "tensor_index"]


def pack(content: bytes) -> str:
    """Return bytes as base85 of gzip; equal bytes give equal text.

    Examples:
        >>> pack(b"one")[:10]
        'ABzY800000'
    """
    return base64.b85encode(gzip.compress(content, 6, mtime=0)).decode("ascii")


def tensor_index(tensors: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Return what the page is told of packed tensors: name, whether in half precision, how many numbers.

    Args:
        tensors: float16 or float32, by name, in the order in which they are packed.
    """
    return [
        {"name": name, "half": values.dtype == np.float16, "count": int(values.size)}
        for name, values in tensors.items()
    ]


def pack_tensors(tensors: Mapping[str, np.ndarray]) -> str:
    """Return tensors as text: of float16 first the low bytes of all numbers, then the high ones, which are alike.

    Args:
        tensors: float16 or float32, by name.
    """
    parts = []
    for values in tensors.values():
        if values.dtype == np.float16:
            parts.append(np.ascontiguousarray(values, "<f2").view(np.uint8).reshape(-1, 2).T.tobytes())
        else:
            parts.append(np.ascontiguousarray(values, "<f4").tobytes())
    return pack(b"".join(parts))
