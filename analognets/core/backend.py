"""The backend that Keras computes on: which there are for what, said before anything fails inside of one."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

from analognets.errors import InvalidArgumentError, MissingExtraError

__all__ = ["BACKENDS", "check_backend", "check_configured", "configured_backend", "in_steps"]

BACKENDS = ("tensorflow", "jax")
"""Backends that all of conversion, training, chips and evaluation run on."""


def check_backend(what: str, *backends: str, instead: str = "") -> None:
    """Raise unless Keras runs on one of these backends.

    Args:
        what: that needs one of them, as the beginning of a sentence, such as "LiteRT files are written".
        *backends: the names; none stands for all of `BACKENDS`.
        instead: a sentence that says what else can be done.

    Raises:
        InvalidArgumentError: it runs on another one.
    """
    import keras

    _check(keras.backend.backend(), what, backends or BACKENDS, instead)


def _check(name: str, what: str, backends: tuple[str, ...], instead: str = "") -> None:
    if name not in backends:
        one = "backend" if len(backends) == 1 else "backends"
        settings = " or ".join(f"KERAS_BACKEND={known}" for known in backends)
        raise InvalidArgumentError(
            f"{what} on Keras' {one} {' and '.join(backends)} alone. Received: backend '{name}'. Set {settings} before "
            f"Keras is imported; saved models and chips open there as they are.{f' {instead}' if instead else ''}"
        )


def configured_backend() -> str:
    """Return the backend that Keras has, or will have when it is imported, without importing it."""
    keras = sys.modules.get("keras")
    if keras is not None and hasattr(keras, "backend"):
        return str(keras.backend.backend())
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"]
    home = Path(os.environ["KERAS_HOME"]) if "KERAS_HOME" in os.environ else Path.home() / ".keras"
    try:
        settings = json.loads((home / "keras.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        settings = {}
    return str(settings.get("backend", BACKENDS[0])) if isinstance(settings, dict) else BACKENDS[0]


def check_configured() -> None:
    """Raise if Keras would be imported on a backend that is not supported, or not installed.

    Raises:
        InvalidArgumentError: it is none of `BACKENDS`.
        MissingExtraError: it is JAX, which is an extra, and not installed.
    """
    name = configured_backend()
    _check(name, "analognets runs", BACKENDS)
    if name == "jax" and importlib.util.find_spec("jax") is None:
        raise MissingExtraError("KERAS_BACKEND=jax", "jax")


def in_steps() -> str | bool:
    """Return what `jit_compile` of a training is: off where steps are graphs already, as on TensorFlow, else "auto".

    On JAX a step that is not compiled runs each operation by itself.
    """
    import keras

    return "auto" if keras.backend.backend() == "jax" else False
