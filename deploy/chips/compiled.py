"""Compiling a method once for each object."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

__all__ = ["compiled"]


def compiled(method: Callable[..., Any]) -> Any:
    """Return a `tf.function` of a bound method that traces by itself, without counting those of other objects.

    TensorFlow warns of frequent retracing by code object; a partial of its own keeps objects of one class apart.
    """
    return tf.function(functools.partial(method), autograph=False, reduce_retracing=True)
