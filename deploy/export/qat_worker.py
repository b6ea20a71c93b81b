"""Trains a network for 8 bit with tensorflow-model-optimization, in a process of its own.

    python -m analognets.deploy.export.qat_worker

tfmot works on `tf_keras` models only and changes what TensorFlow calls Keras, so nothing of it may enter the process
that called. The folder of a job holds job.json, weights.npz and the training arrays; model.tflite is written there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from analognets.core.agreement import INT8_LIMIT, relative_error
from analognets.deploy.export.litert_worker import answers_of
from analognets.deploy.export.worker_child import end_with_caller, serve
from analognets.errors import ConversionError

__all__ = ["end_with_caller", "main"]

EMA_DECAY = 0.999  # of tfmot's moving averages of activation ranges
CALIBRATION = 512


def build_twin(job: dict[str, Any], weights: list[np.ndarray], guarded: frozenset[str] = frozenset()) -> Any:
    """Build the `tf_keras` network that `describe_network` described.

    Args:
        job: its description.
        weights: of all layers, in order.
        guarded: names of layers that take their inputs through layers of their own, which change nothing.
    """
    import tf_keras

    layers = []
    for record in job["layers"]:
        config = {key: tuple(value) if isinstance(value, list) else value for key, value in record["config"].items()}
        layers.append(getattr(tf_keras.layers, record["kind"])(name=record["name"], **config))
    tensors = [tf_keras.Input(tuple(entry["shape"]), name=entry["name"]) for entry in job["inputs"]]
    inputs = list(tensors)
    for call in job["calls"]:
        taken = [tensors[number] for number in call["inputs"]]
        if layers[call["layer"]].name in guarded:
            name = layers[call["layer"]].name
            taken = [
                tf_keras.layers.Activation("linear", name=f"{name}__from{number}")(tensor)
                for number, tensor in enumerate(taken)
            ]
        tensors.append(layers[call["layer"]](taken if len(taken) > 1 else taken[0]))
    model = tf_keras.Model(inputs if len(inputs) > 1 else inputs[0], tensors[job["output"]], name="twin")
    remaining = iter(weights)
    for layer, record in zip(layers, job["layers"], strict=True):
        layer.set_weights([next(remaining) for _ in range(record["weights"])])
    return model


def sources(model: Any) -> dict[str, list[str]]:
    """Return, of each Concatenate layer by name, the names of the layers it takes its inputs from, without tfmot's."""
    found = {}
    for layer in model.layers:
        inner = getattr(layer, "layer", layer)  # what tfmot wraps
        if type(inner).__name__ == "Concatenate":
            tensors = layer.input if isinstance(layer.input, list) else [layer.input]
            found[inner.name] = [origin(tensor) for tensor in tensors]
    return found


def origin(tensor: Any) -> str:
    """Return the name of the layer that made a tensor; of the input, if tfmot quantises it first."""
    layer = tensor._keras_history.layer
    if type(layer).__name__ == "QuantizeLayer":
        layer = layer.input._keras_history.layer
    return str(layer.name.removeprefix("quant_"))


def quantized(job: dict[str, Any], weights: list[np.ndarray], twin: Any) -> Any:
    """Return the network with 8-bit weights and activations in the loop.

    tfmot wires a Concatenate layer anew, its inputs in the order in which their layers stand in the model. That is
    another one after layers were joined: then the inputs come through layers of their own, which keep the order.
    """
    import tensorflow_model_optimization as tfmot

    try:
        model = tfmot.quantization.keras.quantize_model(twin)
        before, after = sources(twin), sources(model)
        mixed = frozenset(name for name, taken in before.items() if after.get(name, taken) != taken)
        if mixed:
            model = tfmot.quantization.keras.quantize_model(build_twin(job, weights, mixed))
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise ConversionError(
            f"tensorflow-model-optimization can't quantise the network: {str(error).splitlines()[0]}"
        ) from error
    return model


def check_start(model: Any, features: list[np.ndarray], expected: np.ndarray) -> None:
    """Refuse to train a network that 8 bit alone have made another one."""
    found = np.asarray(model(tensors_of(features), training=False))
    error = relative_error([found], [expected])
    if not error <= INT8_LIMIT:
        raise ConversionError(
            f"tensorflow-model-optimization makes another network of this one before it trains: a relative error of "
            f"{error:.2g} on {len(expected)} samples, where {INT8_LIMIT:g} is allowed. Use post-training quantisation, "
            "or replace the layers whose numbers don't fit into 8 bit."
        )


def check_twin(twin: Any, features: list[np.ndarray], expected: np.ndarray) -> None:
    """Refuse to go on with a network that does not compute what the given one does."""
    found = np.asarray(twin(tensors_of(features), training=False))
    scale = max(float(np.abs(expected).max()), 1e-6)
    worst = float(np.abs(found - expected).max()) / scale
    if not worst < 1e-3:
        raise ConversionError(
            f"The tf_keras copy of the network computes something else (relative difference {worst:.2g})."
        )


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
                raise ConversionError(f"The loss is {seen[-1][0]} in epoch {epoch + 1}. Lower the learning rate.")
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


def check_file(content: bytes, model: Any, features: list[np.ndarray]) -> float:
    """Return how far a file's outputs are from those of the network it was made from; refuse if they are too far."""
    (found,) = answers_of(content, features).values()
    given = [array[: len(found)] for array in features]
    error = relative_error([found], [np.asarray(model(tensors_of(given), training=False))])
    if not error <= INT8_LIMIT:
        raise ConversionError(
            f"The int8 file computes something else than the network it was made from: a relative error of {error:.2g} "
            f"on {len(found)} samples, where {INT8_LIMIT:g} is allowed. Use post-training quantisation."
        )
    return error


def work(folder: Path, say: Callable[..., None]) -> dict[str, Any]:
    """Do the job of a folder."""
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
    first = [np.ascontiguousarray(array) for array in first]
    probe = [array[: len(expected)] for array in first]
    check_twin(twin, probe, expected)
    model = quantized(job, weights, twin)
    set_ranges(model, first)
    check_start(model, probe, expected)
    train(model, folder, job, say)
    content = convert(model, job)
    error = check_file(content, model, probe)
    (folder / "model.tflite").write_bytes(content)
    versions = {"tensorflow": tf.__version__, "tf-keras": tf_keras.__version__, "tfmot": tfmot.__version__}
    return {"error": error, "versions": versions}


def main() -> None:
    """Do the jobs that come; `qat.py` sends one."""
    serve(work)


if __name__ == "__main__":
    main()
