"""From an ONNX file to a Keras model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from analognets.conversion.from_onnx import arithmetic, loops, products, recurrent, shapes, windows
from analognets.conversion.from_onnx.checking import refuse_other
from analognets.conversion.from_onnx.importing import OPERATORS, Importer
from analognets.conversion.from_onnx.opening import opened_onnx
from analognets.errors import AnalogNetsError, ConversionError, DataError, reason

__all__ = ["load_onnx"]

ROOMS = (arithmetic, loops, products, recurrent, shapes, windows)
"""Modules that say what each operator becomes."""


def load_onnx(path: Path | str, *, channels_last: bool = True) -> keras.Model:
    """Import an ONNX network as a Keras model of ordinary layers, which can be trained, saved and made analog.

    Convolutions, dense and recurrent layers, batch normalisation and pooling become the Keras layers of that kind;
    products of two tensors, shapes and arithmetic become operations of `keras.ops`. A batch normalisation that the
    exporter has fused into a kernel stays fused, one of its own stays one. Float weights become float32. The batch is
    open, also where the file fixes it. No code is run. Other lengths must be fixed. Model and file answer random
    inputs, the file by ONNX Runtime, and must agree.

    Args:
        path: of the `.onnx` file.
        channels_last: an image or a sequence that the network takes with channels first (PyTorch) is taken with
            channels last by the model, as Keras layers want it, and a map of features that it gives likewise; False:
            the layout of the file, with a transposition at the input.

    Returns:
        The model, not compiled.

    Raises:
        DataError: the file is missing or broken, or leaves a length other than the batch open.
        ConversionError: its opset or an operator can't be imported; names the operator and the node. Or the model
            answers otherwise than the file.
        MissingExtraError: the package onnx is not installed.

    Source: operators as in the ONNX specification, opset 7 to that of the installed package.
    """
    path = Path(path).expanduser()
    file = opened_onnx(path, OPERATORS)
    try:
        run = Importer(file, channels_last)
        model = run.model()
        if any(one.batch for one in file.inputs):
            check_batch(path, model)
        refuse_other(file, run, model)
        return model
    except AnalogNetsError:
        raise
    except Exception as error:  # arrays that are not whole, and what Keras raises for a graph that is none
        raise DataError(f"The network in '{path}' can't be made. Received: {reason(error)}.") from error


def check_batch(path: Path, model: keras.Model) -> None:
    """Raise a ConversionError if examples of a batch don't stay apart.

    In a file with a fixed batch of 1 it is not said which of several axes of length 1 the batch is.
    """
    pairs = [examples(one, number) for number, one in enumerate(model.inputs)]
    try:
        both, last = (called(model, given) for given in (pairs, [pair[1:] for pair in pairs]))
        apart = all(np.allclose(two[1:], one, rtol=1e-3, atol=1e-4) for two, one in zip(both, last, strict=True))
    except Exception:  # shapes that don't fit together, of which TensorFlow has its own kinds
        apart = False
    if not apart:
        raise ConversionError(
            f"'{path}' fixes its batch to 1 in a way that can't be opened: examples would mix. Export it with an open "
            "batch: dynamic_shapes or dynamic_axes of torch.onnx.export."
        )


def examples(tensor: Any, seed: int) -> np.ndarray:
    """Return two random examples for an input; zeros where it takes whole numbers."""
    shape = (2, *tensor.shape[1:])
    if "float" not in str(tensor.dtype):
        return np.zeros(shape, str(tensor.dtype))
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def called(model: keras.Model, given: list[np.ndarray]) -> list[np.ndarray]:
    """Return the outputs of a model."""
    found = model(given if len(given) > 1 else given[0])
    return [np.asarray(one) for one in keras.tree.flatten(found)]
