"""Compiling a method once for each object."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from analognets.errors import InvalidArgumentError

__all__ = ["compiled"]


def compiled(method: Callable[..., Any]) -> Any:
    """Return a `tf.function` of a bound method that traces by itself, without counting those of other objects.

    TensorFlow warns of frequent retracing by code object; a partial of its own keeps objects of one class apart.

    Raises:
        InvalidArgumentError: Keras does not run on TensorFlow.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise InvalidArgumentError(
            f"Chips are programmed and run on Keras' TensorFlow backend alone. Received: backend '{backend}'. Set "
            "KERAS_BACKEND=tensorflow before Keras is imported; a saved model opens there as it is."
        )
    return tf.function(functools.partial(method), autograph=False, reduce_retracing=True)
