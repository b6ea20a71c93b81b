"""Outputs that fall silent when a perceptron is learned on devices: how many, by devices and pulses a step.

python -m benchmarks.saturation_study [--data DIR] [--seeds 8] [--epochs 2] [--threads 1]

The 784-250-10 perceptron has sigmoid outputs and squared errors. Early in training all 250 hidden units are near 0.5,
so the synapses of one output collect nearly equal updates and are pulsed at nearly the same time: the output's input
moves by up to 250 * 0.5 * epsilon for each pulse. Far below zero the slope of the sigmoid vanishes, and the gradient
with it: the output stays silent. The study counts outputs that no picture raises above 0.05, and the accuracy, on
5,000 training pictures that are held out. Test pictures are not looked at.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from analognets.core.files import write_json
from benchmarks import mnist_on_device as learning
from benchmarks._measure import facts

RESULT = Path(__file__).parents[1] / "results" / "saturation.json"
HELD_OUT = 5000
SILENT = 0.05


def several(devices: int, most: int) -> dict[str, Any]:
    """Return the settings of so many devices a polarity, with `most` pulses of one device in a step."""
    epsilon = learning.EPSILON / devices
    return {"devices_per_polarity": devices, "epsilon": epsilon, "max_pulses": most * devices}


VARIANTS = {
    f"{devices} device{'s' if devices > 1 else ''}, {most} pulse{'s' if most > 1 else ''}": several(devices, most)
    for devices in (1, 4, 8)
    for most in (10, 1)
}


def epochs_of(settings: dict[str, Any], seed: int, epochs: int, data: tuple[np.ndarray, ...]) -> list[dict[str, Any]]:
    """Train and return accuracy and silent outputs on the held-out pictures after each epoch."""
    pictures, labels = data[0], data[1]
    used = np.arange(len(labels) - HELD_OUT)
    model = learning.network("device", seed, learning.LEARNING_RATE, settings)
    images, classes = tf.constant(pictures), tf.constant(labels)
    rows = []
    for epoch in range(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(used)
        model.fit(learning.batches(images, classes, learning.BATCH, order), epochs=1, verbose=0, shuffle=False)
        outputs = model.predict(pictures[len(used) :], batch_size=2000, verbose=0)
        right = float(np.mean(outputs.argmax(-1) == labels[len(used) :]))
        rows.append({"accuracy": right, "silent_outputs": int((outputs.max(axis=0) < SILENT).sum())})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of mnist.npz; else where the loader looks by itself")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    data = learning.load(options.data)
    table: dict[str, Any] = {}
    for name, settings in VARIANTS.items():
        runs = [epochs_of(settings, seed, options.epochs, data) for seed in range(options.seeds)]
        by_epoch = list(zip(*runs, strict=True))
        table[name] = {
            "settings": settings,
            "seeds_with_silent_outputs": [
                sum(run[e]["silent_outputs"] > 0 for run in runs) for e in range(options.epochs)
            ],
            "accuracy_mean": [statistics.mean(row["accuracy"] for row in rows) for rows in by_epoch],
            "runs": runs,
        }
        print(name, table[name]["seeds_with_silent_outputs"], table[name]["accuracy_mean"], flush=True)
    found = {"benchmark": "saturation", "about": __doc__, "seeds": options.seeds, "variants": table, **facts()}
    write_json(RESULT, found)
    print(f"wrote {RESULT}")


if __name__ == "__main__":
    main()
