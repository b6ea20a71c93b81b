"""Trains a network for 8 bit with tensorflow-model-optimization, in a process of its own.

    python -m analognets.deploy.export.qat_worker FOLDER

tfmot works on `tf_keras` models only and changes what TensorFlow calls Keras, so nothing of it may enter the process
that called. FOLDER holds job.json, weights.npz and the training arrays; model.tflite is written there. Progress goes to
stdout, one JSON object a line. The process ends when its standard input does, so it never outlives its caller.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

__all__ = ["main"]

EMA_DECAY = 0.999  # of tfmot's moving averages of activation ranges
CALIBRATION = 512


class Refused(Exception):
    """What the caller should be told in one sentence."""


def build_twin(job: dict[str, Any], weights: list[np.ndarray]) -> Any:
    """Build the `tf_keras` network that `describe_network` described."""
    import tf_keras

    layers = []
    for record in job["layers"]:
        config = {key: tuple(value) if isinstance(value, list) else value for key, value in record["config"].items()}
        layers.append(getattr(tf_keras.layers, record["kind"])(name=record["name"], **config))
    tensors = [tf_keras.Input(tuple(entry["shape"]), name=entry["name"]) for entry in job["inputs"]]
    inputs = list(tensors)
    for call in job["calls"]:
        taken = [tensors[number] for number in call["inputs"]]
        tensors.append(layers[call["layer"]](taken if len(taken) > 1 else taken[0]))
    model = tf_keras.Model(inputs if len(inputs) > 1 else inputs[0], tensors[job["output"]], name="twin")
    remaining = iter(weights)
    for layer, record in zip(layers, job["layers"], strict=True):
        layer.set_weights([next(remaining) for _ in range(record["weights"])])
    return model


def check_twin(twin: Any, features: list[np.ndarray], expected: np.ndarray) -> None:
    """Refuse to go on with a network that does not compute what the given one does."""
    found = np.asarray(twin(tensors_of(features), training=False))
    scale = max(float(np.abs(expected).max()), 1e-6)
    worst = float(np.abs(found - expected).max()) / scale
    if not worst < 1e-3:
        raise Refused(f"The tf_keras copy of the network computes something else (relative difference {worst:.2g}).")


def tensors_of(features: list[np.ndarray]) -> Any:
    """Return features as a model takes them."""
    return features if len(features) > 1 else features[0]


def set_ranges(model: Any, features: list[np.ndarray]) -> None:
    """Start the activation ranges from data, one layer after the other.

    tfmot starts all ranges at +-6 and moves them by a thousandth a batch, too slow for a short training. A forward pass
    in training mode moves each range to 0.999 old + 0.001 seen, from which `seen` follows; a range is right once those
    before it are, so there are as many passes as layers.
    """
    ranges = [v for v in model.non_trainable_variables if is_activation_range(v.name)]
    inputs = [v for v in model.non_trainable_variables if is_input_range(v.name)]
    for variable in inputs:  # with several inputs they share the widest range
        edge = min if variable.name.split(":")[0].endswith("min") else max
        variable.assign(edge(0.0, *(float(getattr(array, edge.__name__)()) for array in features)))
    norms = [layer for layer in model._flatten_layers() if type(layer).__name__ == "BatchNormalization"]
    for layer in norms:
        layer.trainable = False  # in Keras 2 it then uses its stored statistics in training mode too
    for _ in range(len(ranges) // 2 + 1):
        before = [variable.numpy() for variable in ranges]
        model(tensors_of(features), training=True)
        for variable, old in zip(ranges, before, strict=True):
            variable.assign((variable.numpy().astype(np.float64) - EMA_DECAY * old) / (1 - EMA_DECAY))
    for layer in norms:
        layer.trainable = True


def is_input_range(name: str) -> bool:
    """Whether a variable of tfmot is the smallest or largest value of the inputs."""
    return name.startswith("quantize_layer") and name.split(":")[0].endswith(("_min", "_max"))


def is_activation_range(name: str) -> bool:
    """Whether a variable of tfmot is the moving average of an activation's smallest or largest value."""
    last = name.split("/")[-1].split(":")[0]
    return last.endswith(("_min", "_max")) and "kernel" not in last and not is_input_range(name)


def batches(folder: Path, job: dict[str, Any], epoch: int) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
    """Yield the shuffled batches of an epoch; what does not fill a batch is left for another epoch."""
    number = epoch % job["sets"]
    features = [np.load(folder / f"x{number}_{i}.npy", mmap_mode="r") for i in range(len(job["inputs"]))]
    labels = np.load(folder / f"y{number}.npy")
    order = np.random.default_rng([job["seed"], epoch]).permutation(len(labels))
    size = min(job["batch_size"], len(labels))
    for start in range(0, len(order) - size + 1, size):
        chosen = np.sort(order[start : start + size])
        yield [np.ascontiguousarray(array[chosen]) for array in features], labels[chosen]


def steps_in(folder: Path, job: dict[str, Any], epoch: int) -> int:
    """Return the number of batches of an epoch."""
    count = len(np.load(folder / f"y{epoch % job['sets']}.npy", mmap_mode="r"))
    return count // min(job["batch_size"], count)


def train(model: Any, folder: Path, job: dict[str, Any], say: Any) -> None:
    """Train the quantised network on the epochs of the job."""
    import tf_keras

    total = sum(steps_in(folder, job, epoch) for epoch in range(job["epochs"]))
    losses = tf_keras.losses
    loss = losses.BinaryCrossentropy if job["binary"] else losses.SparseCategoricalCrossentropy
    metric = tf_keras.metrics.BinaryAccuracy if job["binary"] else tf_keras.metrics.SparseCategoricalAccuracy
    options = {"threshold": 0.0 if job["logits"] else 0.5} if job["binary"] else {}
    rate = tf_keras.optimizers.schedules.CosineDecay(job["learning_rate"], max(total, 1), alpha=0.01)
    model.compile(tf_keras.optimizers.Adam(rate), loss(from_logits=job["logits"]), metrics=[metric(**options)])
    done = 0
    for epoch in range(job["epochs"]):
        seen: list[tuple[float, float]] = []
        for features, labels in batches(folder, job, epoch):
            found = model.train_on_batch(tensors_of(features), labels)
            seen.append((float(found[0]), float(found[1])))
            done += 1
            if not np.isfinite(seen[-1][0]):
                raise Refused(f"The loss is {seen[-1][0]} in epoch {epoch + 1}. Lower the learning rate.")
            means = np.mean(seen, axis=0)
            say(event="step", done=done, total=total, epoch=epoch + 1, loss=float(means[0]), accuracy=float(means[1]))


def convert(model: Any, job: dict[str, Any]) -> bytes:
    """Return the trained network as an int8 .tflite file."""
    import tensorflow as tf

    names = [f"in{number:03d}_{entry['name']}" for number, entry in enumerate(job["inputs"])]
    specs = [
        tf.TensorSpec((1, *entry["shape"]), tf.float32, name=name if len(names) > 1 else entry["name"])
        for name, entry in zip(names, job["inputs"], strict=True)
    ]
    function = tf.function(lambda *inputs: model(tensors_of(list(inputs)), training=False))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function(*specs)], model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(job["io"])
    return bytes(converter.convert())


def work(folder: Path, say: Any) -> None:
    """Do the whole job."""
    job = json.loads((folder / "job.json").read_text("utf-8"))
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot
    import tf_keras

    tf_keras.utils.set_random_seed(job["seed"])
    tf.config.experimental.enable_op_determinism()
    with np.load(folder / "weights.npz") as stored:
        weights = [stored[f"w{number}"] for number in range(len(stored.files) - 1)]
        expected = stored["expected"]
    twin = build_twin(job, weights)
    first = [np.load(folder / f"x0_{i}.npy", mmap_mode="r")[:CALIBRATION] for i in range(len(job["inputs"]))]
    check_twin(twin, [array[: len(expected)] for array in first], expected)
    try:
        model = tfmot.quantization.keras.quantize_model(twin)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise Refused(
            f"tensorflow-model-optimization can't quantise the network: {str(error).splitlines()[0]}"
        ) from error
    set_ranges(model, [np.ascontiguousarray(array) for array in first])
    train(model, folder, job, say)
    (folder / "model.tflite").write_bytes(convert(model, job))
    versions = {"tensorflow": tf.__version__, "tf-keras": tf_keras.__version__, "tfmot": tfmot.__version__}
    say(event="done", versions=versions)


def end_with_caller() -> None:
    """End this process when standard input ends: the caller holds the other side, and is gone or wants no more."""

    def wait() -> None:
        while os.read(0, 1):  # not sys.stdin, whose lock would be held when the interpreter ends
            pass
        os._exit(3)

    threading.Thread(target=wait, daemon=True).start()


def protocol() -> TextIO:
    """Return a stream to the caller, and send everything else that is written to stdout to stderr."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    return stream


def main() -> None:
    """Do the job of the folder named on the command line and report to the caller."""
    stream = protocol()
    end_with_caller()

    def say(**message: Any) -> None:
        stream.write(json.dumps(message) + "\n")

    try:
        work(Path(sys.argv[1]), say)
    except Refused as error:
        say(event="error", message=str(error))
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
