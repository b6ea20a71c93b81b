"""Element-wise work on large arrays in one pass over memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

__all__ = ["one_pass"]


def one_pass(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of tensors that XLA makes one pass over memory, for a step that TensorFlow is compiling.

    Anywhere else it is returned as it is: compiling takes part of a second, and pays where it is done once.

    Args:
        function: element-wise, without random draws and changes of variables.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    if tf.executing_eagerly():
        return function
    compiled: Callable[..., Any] = tf.function(function, jit_compile=True, autograph=False)
    return compiled
