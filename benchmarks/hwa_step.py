"""Hardware-aware training step against the plain Keras step, same network, batch and optimizer.

python -m benchmarks.hwa_step [--batch 100] [--rounds 15] [--bits 8]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import keras
import numpy as np

from analognets.conversion import to_analog
from analognets.layers import calibrate, freeze_weight_range
from analognets.zoo.kws import analognet_kws
from benchmarks._measure import interleave, ratios, report


def stepper(model: keras.Model, inputs: np.ndarray, labels: np.ndarray) -> Callable[[], object]:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-4), loss, jit_compile=False)
    return lambda: model.train_on_batch(inputs, labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--bits", type=int, default=8, choices=(8, 6, 4))
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(options.batch, 49, 10, 1)).astype("float32")
    labels = rng.integers(0, 12, options.batch)
    plain = analognet_kws()
    noise_only = to_analog(plain, f"aon_cim_{options.bits}bit", weight_noise=0.05)
    analog = to_analog(plain, f"aon_cim_{options.bits}bit", weight_noise=0.05)
    freeze_weight_range(noise_only)
    freeze_weight_range(analog)
    calibrate(analog, inputs)
    variants = {"plain_keras": plain, "noise_only": noise_only, "hardware_aware": analog}
    times = interleave({name: stepper(model, inputs, labels) for name, model in variants.items()}, options.rounds)
    table = ratios(times, "plain_keras")
    report(
        {
            "benchmark": "hwa_step",
            "network": "analognet_kws",
            "batch": options.batch,
            "bits": options.bits,
            "rounds": options.rounds,
            "ratio": table["hardware_aware"]["wall_ratio"],
            "ratio_cpu": table["hardware_aware"]["cpu_ratio"],
            "variants": table,
        }
    )


if __name__ == "__main__":
    main()
