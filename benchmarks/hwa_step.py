"""Hardware-aware training step against the plain Keras step, same network, batch and optimizer.

python -m benchmarks.hwa_step [--batch 100] [--rounds 15] [--hardware aon_cim_8bit] [--network analognet_kws]

On hardware with non-idealities (aimc_standard) the noise is that of the devices. Variants between the plain and the
full step show where its time goes: only the noise of the weights, converters besides, and each non-ideality with these.
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


def converted(plain: keras.Model, hardware: crossbars.Crossbar, inputs: np.ndarray) -> dict[str, keras.Model]:
    """Return the network on the hardware, and on parts of what the hardware does, each with noise in its weights."""
    noise = {"weight_noise": 0.05} if hardware.plain else {"weight_noise": 3.0, "noise_model": "device"}
    parts = {"noise_only": hardware}
    if not hardware.plain:
        parts["converters"] = hardware.replace(nonidealities=())
        parts |= {one.name: hardware.replace(nonidealities=(one,)) for one in hardware.nonidealities}
    parts["hardware_aware"] = hardware
    networks = {}
    for name, crossbar in parts.items():
        networks[name] = to_analog(plain, crossbar, **noise)
        freeze_weight_range(networks[name])
        if name != "noise_only":
            calibrate(networks[name], inputs)
    return networks


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
    variants = {"plain_keras": plain, **converted(plain, crossbars.get(options.hardware), inputs)}
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
