"""From a Keras model to a .tflite file that a microcontroller can run: the int8 baseline of a chip."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from analognets.core.agreement import FLOAT_LIMIT, INT8_LIMIT, largest_difference, relative_error
from analognets.core.backend import check_backend
from analognets.core.drafts import temporary_folder
from analognets.core.files import write_atomically
from analognets.deploy.export.inputs import (
    NetworkInput,
    answers,
    flat_outputs,
    fresh_states,
    input_name,
    network_inputs,
    packed,
    probe,
    representative_inputs,
)
from analognets.deploy.export.litert_file import LiteRTFile, read_litert
from analognets.deploy.export.worker import WorkerDied, command_of, run_job
from analognets.errors import ConversionError, DataError, check_choice, reason
from analognets.zoo.trained import digital_twin

__all__ = ["check_target", "digital_model", "to_litert"]

IO_TYPES = ("int8", "float32")
WORKER = command_of("litert_worker")
COMPARED = 32
"""Samples on which the file is compared with the network; fewer if that takes too long."""
UNROLLED = 512
"""Longest sequence whose steps are written one after the other."""


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
    biases are 32-bit; batch-norms are folded into the weights; the steps of recurrent layers are written one after the
    other. Inputs of whole numbers, such as token numbers, stay so. An analog model is written as its digital twin.

    The conversion runs in a worker process. Before anything is written, the file runs on samples, and its outputs are
    compared with the network's; the result says how far they are apart.

    Args:
        model: a built Keras model, analog or not; or a run or preset.
        path: the file to write; its folder must exist.
        representative: inputs as the network meets them (100 to 1000 samples): array (samples, ...), or a list or
            dict of them for several inputs. Needed for "int8"; else the file is compared on random inputs without them.
        quantize: "int8" (post-training quantisation) or "none" (float32).
        io: type of the float inputs and outputs of an int8 file: "int8", or "float32" with the conversions inside.
        overwrite: replace a file that is there.

    Returns:
        The facts of the file: size, operators, scales, multiply-accumulates, error.

    Raises:
        ConversionError: the model is not built, has inputs of unknown size, needs operators LiteRT doesn't have, ends
            the converter, or computes something else as a file (8 bit: a relative error above 0.25, float: a
            difference above 1e-4 of the largest output).
        InvalidArgumentError: an option is not allowed, or `representative` doesn't fit the model.
        DataError: the file exists, or its folder doesn't.

    Examples:
        >>> found = to_litert(model, "net.tflite", representative=x)
        >>> found.path.name, found.size < 4000
        ('net.tflite', True)

    Source: the LiteRT 8-bit quantisation specification.
    """
    check_backend("LiteRT files are written", "tensorflow")
    check_choice("to_litert", "quantize", quantize, ("int8", "none"))
    check_choice("to_litert", "io", io, IO_TYPES)
    path = check_target(path, overwrite=overwrite)
    network = digital_model(model)
    inputs = network_inputs(network)
    eight_bit = quantize == "int8"
    samples = None
    if eight_bit or representative is not None:
        samples = representative_inputs(network, inputs, representative)
    content, error = convert(network, inputs, samples, io if eight_bit else None)
    write_atomically(path, content, error=DataError)
    return dataclasses.replace(read_litert(path), error=error)


def check_target(path: str | Path, *, overwrite: bool) -> Path:
    """Return `path` if a file may be written there.

    Raises:
        DataError: a file is there already, or the folder isn't.
    """
    path = Path(path)
    if os.path.exists(path) and not (overwrite and os.path.isfile(path)):
        raise DataError(f"'{path}' exists already. Choose another name, or pass overwrite=True (--overwrite).")
    if not os.path.isdir(path.parent):
        raise DataError(f"The folder '{path.parent}' for the file '{path.name}' does not exist. Make it first.")
    return path


def convert(
    network: keras.Model, inputs: Sequence[NetworkInput], samples: list[np.ndarray] | None, io: str | None
) -> tuple[bytes, float]:
    """Return the .tflite file of a digital model, and how far its outputs are from the network's.

    Args:
        network: to convert.
        inputs: its inputs.
        samples: of these; None: random ones, with which it is compared only.
        io: type of the ends of an int8 file; None: a float file.

    Raises:
        ConversionError: it can't be converted, or the file computes something else.
    """
    tried = [array[:COMPARED] for array in samples] if samples is not None else probe(network, inputs)
    try:
        expected = answers(network, tried)
    except Exception as error:  # foreign layers raise anything
        raise ConversionError(
            f"Model '{network.name}' can't be run on the samples given: {reason(error)}. Give it inputs it takes."
        ) from error
    names = [input_name(entry.name, number if len(inputs) > 1 else None) for number, entry in enumerate(inputs)]
    with temporary_folder() as folder:
        job = {"model": network.name, "names": names, "quantize": io is not None, "io": io}
        (folder / "job.json").write_text(json.dumps(job), "utf-8")
        np.savez(folder / "probe.npz", **dict(zip(names, tried, strict=True)))  # type: ignore[arg-type]
        if io is not None and samples is not None:
            np.savez(folder / "samples.npz", **dict(zip(names, samples, strict=True)))  # type: ignore[arg-type]
        write_saved_model(network, inputs, names, folder / "model", unroll=io is not None)
        said: list[str] = []
        try:
            run_job(WORKER, folder, keep=True, progress=lambda message: said.append(message["event"]))
        except WorkerDied as death:
            part = "runtime" if "converted" in said else "converter"
            raise ConversionError(died(network, io, part, death)) from death
        content = (folder / "model.tflite").read_bytes()
        with np.load(folder / "found.npz") as stored:
            found = {name: stored[name] for name in stored.files}
    return content, compared(network, content, found, expected, inputs, eight_bit=io is not None)


def died(network: keras.Model, io: str | None, part: str, death: WorkerDied) -> str:
    """Return the sentence about a converter or runtime that ended without an answer."""
    words = f"LiteRT's {part} {death.cause} on model '{network.name}'{' in 8 bit' if io else ''}"
    if death.code == -9:
        return f"{words}, as the system does when memory runs out. Free some, or export a smaller network."
    if death.code >= 0:
        return f"{words}. Received: {death.said}"
    hint = "Use other layers, or quantize='none' (--quantize none)." if io else "Use other layers."
    return f"{words}, so no file was written. {hint}"


def compared(
    network: keras.Model,
    content: bytes,
    found: dict[str, np.ndarray],
    expected: dict[str, np.ndarray],
    inputs: Sequence[NetworkInput],
    *,
    eight_bit: bool,
) -> float:
    """Return how far the file's outputs are from the network's.

    Raises:
        ConversionError: they are too far.
    """
    facts = read_litert(content)
    names = [facts.name for facts in facts.outputs]
    mine = [found[name] for name in names]
    count = len(mine[0])
    right = [array[:count] for array in (expected[name] for name in names if name in expected)]
    if eight_bit:
        error, limit = relative_error(mine, right, [tensor.scale or 0.0 for tensor in facts.outputs]), INT8_LIMIT
    else:
        error, limit = largest_difference(mine, right), FLOAT_LIMIT
    if not error <= limit:
        kind = "in 8 bit" if eight_bit else "as a .tflite file"
        hint = "Use quantize='none' (--quantize none), or replace the layers whose numbers don't fit into 8 bit."
        if eight_bit and any(entry.dtype == "float32" for entry in inputs):
            hint += " If an input holds token or class numbers, declare it: keras.Input(shape, dtype='int32')."
        raise ConversionError(
            f"Model '{network.name}' computes something else {kind}: a relative error of {error:.2g} on {count} "
            f"samples, where {limit:g} is allowed. {hint if eight_bit else 'Replace layers of your own in it.'}"
        )
    return error


def write_saved_model(
    network: keras.Model, inputs: Sequence[NetworkInput], names: Sequence[str], folder: Path, *, unroll: bool
) -> None:
    """Write a network as a SavedModel for one sample at a time.

    Raises:
        ConversionError: it can't be traced.
    """
    import tensorflow as tf

    specs = [
        tf.TensorSpec((1, *entry.shape), tf.dtypes.as_dtype(entry.dtype), name=name)
        for entry, name in zip(inputs, names, strict=True)
    ]

    def serve(*given: Any) -> Any:
        return flat_outputs(network(packed(network, given), training=False))

    with held_back_output(), fresh_states(network), unrolled(network) if unroll else contextlib.nullcontext():
        try:
            archive = keras.export.ExportArchive()
            archive.track(network)
            archive.add_endpoint("serve", serve, input_signature=specs)
            archive.write_out(str(folder), verbose=False)
        except Exception as error:  # layers raise anything for a batch of one
            raise ConversionError(
                f"Model '{network.name}' can't be written for one sample at a time: {reason(error)}."
            ) from error


@contextlib.contextmanager
def unrolled(network: keras.Model) -> Iterator[None]:
    """While active, recurrent layers write their steps one after the other: the converter can't calibrate a loop."""
    recurrent = [layer for layer in network._flatten_layers() if isinstance(layer, keras.layers.RNN)]
    changed = [layer for layer in recurrent if not layer.unroll and 0 < steps_of(layer) <= UNROLLED]
    for layer in changed:
        layer.unroll = True
    try:
        yield
    finally:
        for layer in changed:
            layer.unroll = False


def steps_of(layer: keras.layers.RNN) -> int:
    """Return the length of the sequences a recurrent layer was built for; 1 if it was built for any."""
    shapes = getattr(layer, "_build_shapes_dict", None) or {}
    shape = next(iter(shapes.values()), None)
    return int(shape[1]) if isinstance(shape, (tuple, list)) and len(shape) > 1 and shape[1] else 1


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
