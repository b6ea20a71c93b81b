"""A training so small that tests can run it many times: used by the tests and by the process they kill."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from analognets.layers import analog_layers
from analognets.training import Recipe, Run, TrainingData

CLIPS = 64
BATCH = 16
RECIPE = {
    "name": "toy",
    "model": "toy",
    "dataset": "toy",
    "seed": 3,
    "batch_size": BATCH,
    "float": {"epochs": 2, "learning_rate": 0.02, "weight_decay": 0.01, "label_smoothing": 0.1},
    "hardware_aware": {"epochs": 2, "weight_noise": 0.1, "range_learning_rate_scale": 0.1, "noise_ramp_epochs": 2},
}


def recipe(**overrides: Any) -> Recipe:
    return Recipe.from_dict(RECIPE).replace({key.replace("__", "."): value for key, value in overrides.items()})


def arrays() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    labels = np.arange(CLIPS, dtype=np.int32) % 3
    inputs = rng.normal(size=(CLIPS, 6, 4, 1)) + labels[:, None, None, None] - 1
    return inputs.astype(np.float32), labels


def train_batches(epoch: int) -> tf.data.Dataset:
    inputs, labels = arrays()
    rng = np.random.default_rng([7, epoch])
    order = rng.permutation(CLIPS)
    noisy = inputs[order] + rng.normal(size=inputs.shape).astype(np.float32) * 0.1
    return tf.data.Dataset.from_tensor_slices((noisy, labels[order])).batch(BATCH)


def data(**changes: Any) -> TrainingData:
    inputs, labels = arrays()
    validation = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(32)
    settings = {"validation": validation, "calibration": inputs, "info": {"statement": "toy data"}, **changes}
    return TrainingData(train_batches, **settings)


def model() -> keras.Model:
    inputs = keras.Input((6, 4, 1))
    x = keras.layers.Conv2D(4, 3, use_bias=False, name="conv")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dropout(0.2, name="dropout")(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(x), name="toy")


def digest(net: keras.Model | None) -> str:
    total = hashlib.sha256()
    for weight in net.weights if net is not None else []:
        total.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight.value)).tobytes())
    return total.hexdigest()


def outcome(path: Path) -> dict[str, Any]:
    """Return what two equal runs must agree on: both stored models to the bit, and the metrics without the clock."""
    run = Run.open(path)
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in run.metrics()]
    analog = run.analog_model()
    flags = [] if analog is None else [[layer.calibrated, layer.nonnegative] for layer in analog_layers(analog)]
    return {"float": digest(run.float_model()), "analog": digest(analog), "flags": flags, "metrics": rows}
