"""Quantisation-aware training of the int8 baseline, by tensorflow-model-optimization in a process of its own."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from analognets.core.backend import check_backend
from analognets.core.drafts import temporary_folder
from analognets.core.files import write_atomically
from analognets.deploy.export.inputs import answers, network_inputs, representative_inputs
from analognets.deploy.export.litert import IO_TYPES, check_target, digital_model
from analognets.deploy.export.litert_file import LiteRTFile, read_litert
from analognets.deploy.export.output_kind import output_kind
from analognets.deploy.export.qat_graph import describe_network
from analognets.deploy.export.worker import WorkerDied, command_of, run_job
from analognets.errors import (
    AnalogNetsError,
    DataError,
    InvalidArgumentError,
    MissingExtraError,
    check_choice,
    check_integer,
    check_number,
)
from analognets.zoo.tasks import Task

__all__ = ["has_tfmot", "to_litert_qat", "train_for_int8"]

PACKAGES = ("tensorflow_model_optimization", "tf_keras")
WORKER = command_of("qat_worker")
PROBE = 32
Progress = Callable[[int, int, dict[str, float]], None]


def has_tfmot() -> bool:
    """Whether the packages of the extra "tfmot" are installed; none of them is imported."""
    return all(importlib.util.find_spec(name) is not None for name in PACKAGES)


def to_litert_qat(
    model: Any,
    path: str | Path,
    data: Any,
    *,
    epochs: int = 3,
    learning_rate: float = 2e-4,
    batch_size: int = 100,
    seed: int = 0,
    io: str = "int8",
    timeout: float | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> LiteRTFile:
    """Train a network with 8-bit weights and activations in the loop, and write it as an int8 .tflite file.

    The network is built anew in `tf_keras` in another process, checked to compute the same, given activation ranges
    from the first samples, checked again in 8 bit, trained with Adam (cosine schedule) on the cross-entropy, converted,
    and the file is compared with what was trained. This process imports neither `tf_keras` nor
    tensorflow-model-optimization. One seed and one machine give one file.

    Args:
        model: a Sequential or functional Keras model, analog or not; or a run or preset.
        path: the .tflite file to write; its folder must exist.
        data: (features, labels), or a sequence of such pairs, one an epoch, used in turn; labels are class numbers.
        epochs: 1 to 10000.
        learning_rate: at the start, above 0.
        batch_size: 1 to 65536.
        seed: of the shuffling and of dropout, 0 to 2^31 - 1.
        io: type of inputs and outputs: "int8", or "float32" with the conversions inside the file.
        timeout: seconds after which the training is given up; None: never.
        progress: called with (batches done, batches in all, {"epoch", "loss", "accuracy"}).
        overwrite: replace a file that is there.

    Returns:
        The facts of the file.

    Raises:
        MissingExtraError: the extra "tfmot" is not installed.
        ConversionError: the network has layers that tfmot can't train (all of them are named), inputs of whole numbers,
            or computes something else in 8 bit.
        InvalidArgumentError: an option is not allowed, or the data don't fit the network.
        DataError: the file exists, or its folder doesn't.
        AnalogNetsError: the other process failed or took too long.

    Source: Jacob et al., arXiv 1712.05877, as tensorflow-model-optimization does it.
    """
    check_backend("LiteRT files are written", "tensorflow")
    owner = "to_litert_qat"
    check_integer(owner, "epochs", epochs, 1, 10_000)
    check_number(owner, "learning_rate", learning_rate, 1e-12, 10.0)
    check_integer(owner, "batch_size", batch_size, 1, 65536)
    check_integer(owner, "seed", seed, 0, 2**31 - 1)
    check_choice(owner, "io", io, IO_TYPES)
    if not has_tfmot():
        raise MissingExtraError("Quantisation-aware training", "tfmot")
    path = check_target(path, overwrite=overwrite)
    network = digital_model(model)
    record, weights = describe_network(network)
    settings = {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size, "seed": seed, "io": io}
    with temporary_folder() as folder:
        record |= {**settings, "sets": write_data(folder, network, data), **output_kind(network)}
        probe = [np.array(np.load(folder / f"x0_{i}.npy", mmap_mode="r")[:PROBE]) for i in range(len(record["inputs"]))]
        (expected,) = answers(network, probe).values()
        named = {f"w{number}": value for number, value in enumerate(weights)}
        np.savez(folder / "weights.npz", expected=expected, **named)  # type: ignore[arg-type]
        (folder / "job.json").write_text(json.dumps(record), "utf-8")
        error = run_worker(folder, timeout, progress)
        write_atomically(path, (folder / "model.tflite").read_bytes(), error=DataError)
    return dataclasses.replace(read_litert(path), error=error)


def train_for_int8(
    network: keras.Model,
    task: Task,
    path: str | Path,
    *,
    epochs: int,
    seed: int,
    io: str = "int8",
    progress: Callable[[str, int, int], None] = lambda *what: None,
) -> LiteRTFile:
    """Train a network with `to_litert_qat` on the batches of its recipe, augmented as there.

    Args:
        network: a plain Keras model.
        task: its data.
        path: as of `to_litert_qat`.
        epochs: likewise.
        seed: likewise.
        io: likewise.
        progress: called with (what is done, steps done, steps in all).

    Raises:
        ConversionError: the network can't be trained for 8 bit.
    """
    describe_network(network)
    sets = []
    for epoch in range(epochs):
        features, labels = zip(*task.training.train_batches(epoch), strict=True)
        sets.append((np.concatenate(features), np.concatenate(labels)))
        progress("Features to train on", epoch + 1, epochs)
    return to_litert_qat(
        network,
        path,
        sets,
        epochs=epochs,
        batch_size=task.recipe.batch_size,
        seed=seed,
        io=io,
        progress=lambda done, total, values: progress("Quantisation-aware training", done, total),
    )


def write_data(folder: Path, network: keras.Model, data: Any) -> int:
    """Write the training arrays for the worker and return how many sets there are.

    Raises:
        InvalidArgumentError: the data don't fit the network.
    """
    one = isinstance(data, tuple) and len(data) == 2 and not isinstance(data[0], tuple)
    sets: Sequence[Any] = [data] if one else list(data)
    if not sets:
        raise InvalidArgumentError("`data` must hold at least one pair of (features, labels). Received: none.")
    inputs = network_inputs(network)
    classes = max(int(network.output_shape[-1]), 2)
    for number, pair in enumerate(sets):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise InvalidArgumentError(f"`data` must be pairs of (features, labels). Received: {type(pair).__name__}.")
        arrays = representative_inputs(network, inputs, pair[0])
        labels = np.asarray(pair[1])
        if labels.ndim > 1:
            labels = labels[..., 0] if labels.shape[-1] == 1 else labels.argmax(-1)
        if labels.shape != (len(arrays[0]),) or labels.min() < 0 or labels.max() >= classes:
            raise InvalidArgumentError(
                f"`data` needs one label from 0 to {classes - 1} a sample. Received: {len(arrays[0])} samples, "
                f"labels of shape {labels.shape} from {labels.min()} to {labels.max()}."
            )
        for position, array in enumerate(arrays):
            np.save(folder / f"x{number}_{position}.npy", array)
        np.save(folder / f"y{number}.npy", labels.astype(np.int32))
    return len(sets)


def run_worker(folder: Path, timeout: float | None, progress: Progress | None) -> float | None:
    """Run the worker on a folder to its end; it is ended too if anything is raised here, Ctrl-C included.

    Returns:
        How far the file's outputs are from those of the network it was made from.
    """

    def report(message: dict[str, Any]) -> None:
        if message["event"] == "step" and progress is not None:
            values = {key: message[key] for key in ("epoch", "loss", "accuracy")}
            progress(message["done"], message["total"], values)

    try:
        error = run_job(WORKER, folder, timeout=timeout, progress=report).get("error")
    except TimeoutError:
        raise AnalogNetsError(
            f"Quantisation-aware training did not end within {timeout:g} s. Give it more time or fewer epochs."
        ) from None
    except WorkerDied as death:
        raise AnalogNetsError(
            f"Quantisation-aware training failed: its process {death.cause}. Received: {death.said}"
        ) from death
    return None if error is None else float(error)
