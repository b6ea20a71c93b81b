"""From a Keras model to a .tflite file that a microcontroller can run: the int8 baseline of a chip."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from analognets.core.files import write_atomically
from analognets.deploy.export.litert_file import LiteRTFile, read_litert
from analognets.deploy.export.litert_runtime import as_list
from analognets.errors import ConversionError, DataError, InvalidArgumentError, check_choice
from analognets.zoo.trained import digital_twin

__all__ = ["check_target", "digital_model", "to_litert"]

IO_TYPES = ("int8", "float32")


def digital_model(source: Any) -> keras.Model:
    """Return the plain Keras network of a model, a run or a preset: analog layers become digital ones.

    Args:
        source: a Keras model, or an object with the method `float_model()` (a `TrainedNetwork`, a `Run`) or `model()`
            (a `Preset`) that returns one.

    Raises:
        ConversionError: it is none of these, or the model can't be rebuilt.
        RunError: the run has no float network yet.
    """
    if isinstance(source, keras.Model):
        return digital_twin(source)
    made = getattr(source, "float_model", None) or getattr(source, "model", None)
    if not callable(made):
        raise ConversionError(f"What is converted must be a Keras model, a run or a preset. Received: {source!r}.")
    return digital_twin(made())


def to_litert(
    model: Any,
    path: str | Path,
    representative: Any = None,
    *,
    quantize: str = "int8",
    io: str = "int8",
    overwrite: bool = False,
) -> LiteRTFile:
    """Write a Keras model as a .tflite file for one sample at a time, with built-in operators only.

    With "int8", weights and activations become 8-bit integers, real = scale * (integer - zero_point), with a scale
    for each output channel of the weights and one for each activation, whose range is seen on `representative`;
    biases are 32-bit; batch-norms are folded into the weights. An analog model is written as its digital twin.

    Args:
        model: a built Keras model, analog or not; or a run or preset.
        path: the file to write; its folder must exist.
        representative: inputs as the network meets them (100 to 1000 samples): array (samples, ...), or a list or
            dict of them for several inputs. Needed for "int8".
        quantize: "int8" (post-training quantisation) or "none" (float32).
        io: type of inputs and outputs of an int8 file: "int8", or "float32" with the conversions inside the file.
        overwrite: replace a file that is there.

    Returns:
        The facts of the file: size, operators, scales, multiply-accumulates.

    Raises:
        ConversionError: the model is not built, has inputs of unknown size, or needs operators LiteRT doesn't have.
        InvalidArgumentError: an option is not allowed, or `representative` doesn't fit the model.
        DataError: the file exists, or its folder doesn't.

    Source: the LiteRT 8-bit quantisation specification.
    """
    check_choice("to_litert", "quantize", quantize, ("int8", "none"))
    check_choice("to_litert", "io", io, IO_TYPES)
    path = check_target(path, overwrite=overwrite)
    network = digital_model(model)
    shapes = input_shapes(network)
    samples = representative_inputs(network, shapes, representative) if quantize == "int8" else []
    write_atomically(path, convert(network, shapes, samples, io))
    return read_litert(path)


def check_target(path: str | Path, *, overwrite: bool) -> Path:
    """Return `path` if a file may be written there.

    Raises:
        DataError: a file is there already, or the folder isn't.
    """
    path = Path(path)
    if path.exists() and not (overwrite and path.is_file()):
        raise DataError(f"'{path}' exists already. Choose another name, or pass overwrite=True (--overwrite).")
    if not path.parent.is_dir():
        raise DataError(f"The folder '{path.parent}' for the file '{path.name}' does not exist. Make it first.")
    return path


def input_shapes(network: keras.Model) -> list[tuple[int, ...]]:
    """Return the shapes of the model's inputs without the batch axis.

    Raises:
        ConversionError: the model is not built, or one of its inputs has no fixed size.
    """
    if not network.built:
        raise ConversionError(f"Model '{network.name}' is not built yet. Call it once on data, or give it an Input.")
    try:
        shapes = [tuple(tensor.shape[1:]) for tensor in keras.tree.flatten(network.inputs)]
    except (AttributeError, ValueError):
        shapes = []
    if not shapes:
        raise ConversionError(
            f"Model '{network.name}' is subclassed and does not say what inputs it takes. Wrap it: "
            "keras.Model(inputs, model(inputs)) with inputs = keras.Input(shape)."
        )
    for shape in shapes:
        if None in shape:
            raise ConversionError(
                f"A microcontroller needs inputs of fixed size. Received: an input of shape {shape} in model "
                f"'{network.name}'. Rebuild it with a fixed keras.Input."
            )
    return shapes


def representative_inputs(network: keras.Model, shapes: list[tuple[int, ...]], data: Any) -> list[np.ndarray]:
    """Return the representative data as one float32 array an input, in the model's order.

    Raises:
        InvalidArgumentError: there are none, or they don't fit the model.
    """
    if data is None:
        raise InvalidArgumentError(
            "int8 needs `representative`: 100 to 1000 samples of the network's inputs, from which the ranges of its "
            "activations are taken. Received: representative=None."
        )
    names = [tensor.name for tensor in keras.tree.flatten(network.inputs)]
    arrays = [np.asarray(array, np.float32) for array in as_list(data, names)]
    found = [array.shape[1:] for array in arrays]
    if found != shapes:
        raise InvalidArgumentError(
            f"`representative` must hold samples of shape {', '.join(map(str, shapes))}. Received: samples of shape "
            f"{', '.join(map(str, found))}."
        )
    if not all(np.isfinite(array).all() for array in arrays):
        raise InvalidArgumentError("`representative` must hold finite numbers only. Received: NaN or infinity.")
    return arrays


def convert(network: keras.Model, shapes: list[tuple[int, ...]], samples: list[np.ndarray], io: str) -> bytes:
    """Return the .tflite file of a digital model; float32 if there are no samples."""
    import tensorflow as tf

    specs = [
        tf.TensorSpec((1, *shape), tf.float32, name=input_name(tensor.name, number if len(shapes) > 1 else None))
        for number, (shape, tensor) in enumerate(zip(shapes, keras.tree.flatten(network.inputs), strict=True))
    ]

    def serve(*inputs: Any) -> Any:
        return network(packed(network, inputs), training=False)

    with tempfile.TemporaryDirectory() as folder, held_back_output():
        archive = keras.export.ExportArchive()
        archive.track(network)
        archive.add_endpoint("serve", serve, input_signature=specs)
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if samples:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            names = [spec.name for spec in specs]
            converter.representative_dataset = lambda: (
                {name: values[None] for name, values in zip(names, sample, strict=True)}
                for sample in zip(*samples, strict=True)
            )
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(io)
        try:
            return converter.convert()
        except Exception as error:  # the converter raises many kinds
            raise ConversionError(
                f"Model '{network.name}' can't be written with LiteRT's built-in operators"
                f"{' in 8 bit' if samples else ''}: {reason(error)}"
            ) from error


def packed(network: keras.Model, inputs: Sequence[Any]) -> Any:
    """Return inputs, in the order of `network.inputs`, in the structure (one, list, dict) the model is called with."""
    graph = network._functional if isinstance(network, keras.Sequential) else network
    structure = getattr(graph, "_inputs_struct", None)
    if structure is None:
        return list(inputs) if len(inputs) > 1 else inputs[0]
    return keras.tree.pack_sequence_as(structure, list(inputs))


def input_name(name: str, number: int | None) -> str:
    """Return a name TensorFlow allows; numbers keep several inputs in order, since the file sorts them by name."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return plain if number is None else f"in{number:03d}_{plain}"


def reason(error: Exception) -> str:
    """Return what the converter complains about, without its log."""
    named = re.findall(r"(?:TF Select|Flex|Custom|Unsupported) ops: *([\w, ]+)", str(error))
    if named:
        return f"it needs {', '.join(sorted(set(named)))}, which they don't include. Replace the layer that uses it."
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:300]


@contextlib.contextmanager
def held_back_output() -> Iterator[None]:
    """Keep what the converter writes to stdout and stderr, and its warnings about itself, from the user's terminal."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):
            stream.flush()
    kept = [os.dup(number) for number in (1, 2)]
    with tempfile.TemporaryFile() as hole, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in (1, 2):
            os.dup2(hole.fileno(), number)
        try:
            yield
        finally:
            for number, handle in zip((1, 2), kept, strict=True):
                os.dup2(handle, number)
                os.close(handle)
