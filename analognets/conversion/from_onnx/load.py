"""From an ONNX file to a Keras model."""

from __future__ import annotations

from pathlib import Path

import keras

from analognets.conversion.from_onnx import arithmetic, loops, products, recurrent, shapes, windows
from analognets.conversion.from_onnx.checking import check_batch, refuse_other
from analognets.conversion.from_onnx.importing import OPERATORS, Importer
from analognets.conversion.from_onnx.opening import opened_onnx
from analognets.errors import AnalogNetsError, DataError, reason

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
