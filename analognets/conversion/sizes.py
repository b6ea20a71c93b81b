"""How large a model is, or would be, known before it is built."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable
from typing import Any

import keras

__all__ = ["bytes_by_layer", "declared_bytes"]


def declared_bytes(make: Callable[[], Any]) -> int:
    """Return how many bytes the variables of a model take; nothing of that size is allocated.

    The model is made where variables have a shape but no values, in a thread of its own, so that names and scopes of
    the caller's are left as they were.

    Args:
        make: builds the model.

    Returns:
        0 if it can't be made there; what is wrong with it is said when it is made.
    """
    found = [0]

    def count() -> None:
        try:
            with keras.StatelessScope(initialize_variables=False):
                found[0] = sum(_bytes(variable) for variable in make().variables)
        except Exception:
            found[0] = 0

    drawn = random.getstate()
    worker = threading.Thread(target=count)
    worker.start()
    worker.join()
    random.setstate(drawn)
    return found[0]


def bytes_by_layer(model: keras.Model) -> dict[str, int]:
    """Return how many bytes the variables of each layer of a built model take, by the layer's path."""
    sizes: dict[str, int] = {}
    for variable in model.variables:
        layer = variable.path.rpartition("/")[0]
        sizes[layer] = sizes.get(layer, 0) + _bytes(variable)
    return sizes


def _bytes(variable: Any) -> int:
    kind = keras.backend.standardize_dtype(variable.dtype).partition("_")[0]
    bits = int("".join(filter(str.isdigit, kind)) or 8)
    return math.prod(int(size) for size in variable.shape) * max(1, bits // 8)
