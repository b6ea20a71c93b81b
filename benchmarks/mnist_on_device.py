"""MNIST learned on memory devices: the 784-250-10 network of the mixed-precision paper, ablations and float baseline.

python -m benchmarks.mnist_on_device --work RUNS [--data DIR] [--epochs 30] [--seeds 0 1 2] [--variants ...]

The committed results have 30 epochs of `device` and `float`. The ablations in mnist_on_device_ablations.json are of
an earlier version, with up to ten pulses a step; the learning rate is constant, so the 10th epoch of their `device` is
what those of 10 epochs compare with (`by_epoch`).

Every finished training leaves RUNS/<variant>-<seed>/record.json and is not repeated; an interrupted one goes on from
its last whole epoch. At the end, and with --collect at any time, the records become
results/mnist_on_device.json.

Set-up as far as known (arXiv 2001.11773): epsilon 0.096 and a single pulse for what exceeds it (verified); sigmoid
units, half the sum of squared errors, weights from -1 to 1 on 8 uS, 30 epochs, refresh every 100 images (from memory).
Departures: batches of 10 at a learning rate of 2.0
(0.2 an image) in place of single images at 0.4, output biases that begin at the prior of a class, refresh and reading
of all devices every 100 batches, no 8-bit converters, a batch takes one simulated second (our assumption), biases are
digital.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from analognets import devices
from analognets.core.files import write_json
from analognets.core.provenance import git_commit
from analognets.datasets.mnist import load_mnist
from analognets.training.checkpoints import Checkpoints
from analognets.training.in_memory import MixedPrecision
from analognets.training.optimizers import HalfSquares
from analognets.zoo.networks.digits import mnist_mlp

COMMIT = git_commit()  # of the code that is loaded now
RESULT = Path(__file__).parents[1] / "results" / "mnist_on_device.json"
EPSILON = 0.096
SETTINGS: dict[str, Any] = {
    "device": "pulsed_pcm",
    "weight_range": 1.0,
    "epsilon": EPSILON,
    "max_pulses": 1,
    "refresh_every": 100,
    "read_every": 100,
    "seconds_per_step": 1.0,
}
NORMAL_STEPS = {"class_name": "analognets>PulsedPCM", "config": {"monotonic": False}}
VARIANTS: dict[str, dict[str, Any] | None] = {
    "float": None,
    "device": {},
    "linear": {"device": "pulsed_linear"},
    "no_refresh": {"refresh_every": None},
    "epsilon_half": {"epsilon": EPSILON / 2},
    "epsilon_double": {"epsilon": EPSILON * 2},
    "no_accumulation": {"accumulate": False},
    "ten_pulses": {"max_pulses": 10},
    "devices_4": {"devices_per_polarity": 4, "epsilon": EPSILON / 4, "max_pulses": 4},
    "devices_8": {"devices_per_polarity": 8, "epsilon": EPSILON / 8, "max_pulses": 8},
    "step_device": {"device": "pulsed_step_pcm"},
    "normal_steps": {"device": NORMAL_STEPS},
}
BATCH, LEARNING_RATE = 10, 2.0
LATER = {"1h": 3600.0, "1d": 86_400.0, "30d": 2_592_000.0}


def load(folder: Path | None) -> tuple[np.ndarray, ...]:
    """Return all 60,000 training and 10,000 test pictures, from 0 to 1, and their labels."""
    data = load_mnist(folder)
    names = np.array([*data.train.names, *data.validation.names])
    order = np.argsort(names)  # as in the file
    pictures = np.concatenate([data.train.inputs, data.validation.inputs])[order]
    labels = np.concatenate([data.train.labels, data.validation.labels])[order]
    x, x_test = (part.astype("float32") / 255 for part in (pictures, data.test.inputs))
    return x, labels.astype("int64"), x_test, data.test.labels.astype("int64")


def network(variant: str, seed: int, learning_rate: float, changes: dict[str, Any] | None = None) -> keras.Model:
    """Return the compiled 784-250-10 network of a variant, with further settings of its devices."""
    keras.utils.set_random_seed(seed)
    model = mnist_mlp()
    optimizer = keras.optimizers.SGD(learning_rate)
    settings = VARIANTS[variant]
    if settings is not None:
        optimizer = MixedPrecision(optimizer, seed=seed, **{**SETTINGS, **settings, **(changes or {})})
    model.compile(optimizer, HalfSquares(), metrics=["accuracy"], jit_compile=False, steps_per_execution=100)
    optimizer.build(model.trainable_variables)
    return model


def batches(images: tf.Tensor, labels: tf.Tensor, batch: int, order: np.ndarray) -> tf.data.Dataset:
    """Return an epoch in a given order, without tf.data's autotuning."""
    steps = len(order) // batch // 100 * 100
    data = tf.data.Dataset.from_tensor_slices(order[: steps * batch].reshape(steps, batch))
    data = data.map(lambda index: (tf.gather(images, index), tf.gather(labels, index)))
    tuning = tf.data.Options()
    tuning.autotune.enabled = False
    return data.prefetch(50).with_options(tuning)


def accuracy(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(model.predict(images, batch_size=2000, verbose=0).argmax(-1) == labels))


def aged(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> dict[str, dict[str, float]]:
    """Return test accuracies some time after the last step, as read and with one scale an array."""
    optimizer, table = model.optimizer, {}
    by_path = {array.path: array.variable for array in optimizer.synapses}
    kept = {path: variable.numpy() for path, variable in by_path.items()}
    for name, seconds in {"now": 0.0, **LATER}.items():
        row = {}
        for kind in ("as_read", "compensated"):
            weights = optimizer.read(optimizer.time + seconds, seed=1, compensate=kind == "compensated")
            for path, values in weights.items():
                by_path[path].assign(values)
            row[kind] = accuracy(model, images, labels)
        table[name] = row
    for path, variable in by_path.items():
        variable.assign(kept[path])
    return table


def train(variant: str, seed: int, options: argparse.Namespace, data: tuple[np.ndarray, ...]) -> None:
    """Train one variant to the end, from its last whole epoch on, and write its record."""
    settings = {"variant": variant, "seed": seed, "epochs": options.epochs, "batch": options.batch}
    settings["learning_rate"] = options.learning_rate
    if variant != "float":
        chosen = {**SETTINGS, **VARIANTS[variant]}  # type: ignore[dict-item]
        # The device in full: a name alone would take records of other constants for done.
        settings["mixed_precision"] = {**chosen, "device": devices.serialize(devices.get(chosen["device"]))}
    folder = options.work / f"{variant}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    record_file, curve_file = folder / "record.json", folder / "curve.json"
    if record_file.is_file() and json.loads(record_file.read_text("utf-8"))["settings"] == settings:
        return
    x, y, x_test, y_test = data
    images, labels = tf.constant(x), tf.constant(y)
    model = network(variant, seed, options.learning_rate)
    variables = [*model.variables, *model.optimizer.variables]
    checkpoints = Checkpoints(folder, fingerprint=json.dumps(settings, sort_keys=True))
    last = checkpoints.latest()
    curve = []
    if last is not None:
        checkpoints.restore(last.now, variables)
        curve = json.loads(curve_file.read_text("utf-8"))[: last.epoch]
    for epoch in range(len(curve), options.epochs):
        started, worked = time.perf_counter(), time.process_time()
        order = np.random.default_rng([seed, epoch]).permutation(len(y))
        fitted = model.fit(batches(images, labels, options.batch, order), epochs=1, verbose=0, shuffle=False)
        row = {"epoch": epoch + 1, "train_accuracy": fitted.history["accuracy"][-1]}
        row |= {"test_accuracy": accuracy(model, x_test, y_test), "wall_seconds": time.perf_counter() - started}
        row["cpu_seconds"] = time.process_time() - worked
        if variant != "float":
            row["devices"] = {
                path: {key: value for key, value in found.items() if key not in ("edges", "g_plus", "g_minus")}
                for path, found in model.optimizer.statistics().items()
            }
        curve.append(row)
        write_json(curve_file, curve)
        checkpoints.save(variables, stage="float", epoch=epoch + 1, rows=epoch + 1)
        print(variant, seed, {key: value for key, value in row.items() if key != "devices"}, flush=True)
    record = {"settings": settings, "git_commit": COMMIT, "test_accuracy": curve[-1]["test_accuracy"]}
    if variant != "float":
        record["statistics"] = model.optimizer.statistics()
        record["after"] = aged(model, x_test, y_test)
    write_json(record_file, {**record, "curve": curve})


def _curve(record: dict[str, Any]) -> list[float]:
    return [row["test_accuracy"] for row in record["curve"]]


def slim(record: dict[str, Any], histograms: bool) -> dict[str, Any]:
    """Return a record with what happened to the devices epoch by epoch in two numbers an array."""
    record = dict(record)
    record["curve"] = [
        {key: value for key, value in row.items() if key != "devices"}
        | {
            name: {path: round(found[name], 6) for path, found in row["devices"].items()}
            for name in ("pulses_per_weight", "saturated_pairs")
            if "devices" in row
        }
        for row in record["curve"]
    ]
    if "statistics" in record and not histograms:
        left_out = ("edges", "g_plus", "g_minus")
        record["statistics"] = {
            path: {key: value for key, value in found.items() if key not in left_out}
            for path, found in record["statistics"].items()
        }
    return record


def collect(folders: list[Path], ink_share: float) -> dict[str, Any]:
    """Return the table of all records in some folders; `ink_share` is that of the pixels that are not black."""
    found = [path for folder in folders for path in sorted(folder.glob("*/record.json"))]
    records = [json.loads(path.read_text("utf-8")) for path in found]
    table: dict[str, Any] = {}
    for variant in VARIANTS:
        found = [record for record in records if record["settings"]["variant"] == variant]
        if not found:
            continue
        scores = [record["test_accuracy"] for record in found]
        table[variant] = {
            "test_accuracy_mean": statistics.mean(scores),
            "test_accuracy_spread": statistics.stdev(scores) if len(scores) > 1 else None,
            "seeds": {str(record["settings"]["seed"]): record["test_accuracy"] for record in found},
            "epochs": found[0]["settings"]["epochs"],
            "by_epoch": [statistics.mean(row) for row in zip(*map(_curve, found), strict=True)],
            "records": [slim(record, histograms=number == 0) for number, record in enumerate(found)],
        }
    return {
        "benchmark": "mnist_on_device",
        "network": "784-250-10",
        "data": "MNIST: 60,000 training pictures, 10,000 test pictures; no training looks at the latter",
        "about": __doc__,
        "ink_share": ink_share,
        "variants": table,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--data", type=Path, help="folder of mnist.npz; else where the loader looks by itself")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--collect", nargs="*", type=Path, help="train nothing, write the table of --work and these")
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    data = load(options.data)
    if options.collect is None:
        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        tf.config.threading.set_inter_op_parallelism_threads(options.threads)
        for seed in options.seeds:
            for variant in options.variants:
                train(variant, seed, options, data)
    write_json(options.result, collect([options.work, *(options.collect or [])], float((data[0] > 0).mean())))
    print(f"wrote {options.result}")


if __name__ == "__main__":
    main()
