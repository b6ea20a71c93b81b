"""Hardware-aware training step against the plain Keras step, same network, batch and optimizer.

python -m benchmarks.hwa_step [--batch 100] [--rounds 15] [--hardware aon_cim_8bit] [--network analognet_kws]

On hardware with non-idealities (aimc_standard) the noise is that of the devices.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable

import keras
import numpy as np

from analognets import crossbar as crossbars
from analognets.conversion import to_analog
from analognets.layers import calibrate, freeze_weight_range
from analognets.zoo.tasks import MODELS
from benchmarks._measure import interleave, ratios, report


def stepper(model: keras.Model, inputs: np.ndarray, labels: np.ndarray) -> Callable[[], object]:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-4), loss, jit_compile=False)
    return lambda: model.train_on_batch(inputs, labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--hardware", default="aon_cim_8bit")
    parser.add_argument("--network", default="analognet_kws", choices=sorted(MODELS))
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(options.batch, 49, 10, 1)).astype("float32")
    labels = rng.integers(0, 12, options.batch)
    plain = getattr(importlib.import_module(MODELS[options.network]), options.network)()
    hardware = crossbars.get(options.hardware)
    noise = {"weight_noise": 0.05} if hardware.plain else {"weight_noise": 3.0, "noise_model": "device"}
    noise_only = to_analog(plain, hardware, **noise)
    analog = to_analog(plain, hardware, **noise)
    freeze_weight_range(noise_only)
    freeze_weight_range(analog)
    calibrate(analog, inputs)
    variants = {"plain_keras": plain, "noise_only": noise_only, "hardware_aware": analog}
    times = interleave({name: stepper(model, inputs, labels) for name, model in variants.items()}, options.rounds)
    table = ratios(times, "plain_keras")
    report(
        {
            "benchmark": "hwa_step",
            "network": options.network,
            "hardware": options.hardware,
            "batch": options.batch,
            "rounds": options.rounds,
            "ratio": table["hardware_aware"]["wall_ratio"],
            "ratio_cpu": table["hardware_aware"]["cpu_ratio"],
            "variants": table,
        }
    )


if __name__ == "__main__":
    main()
