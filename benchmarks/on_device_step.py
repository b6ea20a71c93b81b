"""One training step on devices against the plain Keras step: same network, batch, rule and data.

python -m benchmarks.on_device_step [--batch 100] [--rounds 15] [--steps 100] [--result FILE]

Networks: the MNIST perceptron (SGD, as its recipe) and the small convolutional network (Adam, as its recipe), on
MNIST. Both have trained for `--warm` steps before, so the number of pulses is one of the middle of a training; a round
is a `fit` of `--steps` steps for each variant in turn. `idle` has an epsilon that no step reaches: what it costs to
keep chi. `all_touched` pulses every synapse in every step, which no training does. Refresh and reading of all devices
come as often as in the recipes. `memory` is counted on the optimizer's variables, the base rule's moments apart.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from analognets.datasets.mnist import load_mnist
from analognets.training.files import write_json
from analognets.training.in_memory import MixedPrecision
from analognets.training.optimizers import make_loss
from analognets.training.recipe import Recipe
from analognets.zoo.tasks import build_model, find_recipe
from benchmarks._measure import facts, interleave, ratios, untuned

NETWORKS = ("mnist_mlp", "mnist_cnn")


def rule(recipe: Recipe) -> keras.optimizers.Optimizer:
    stage = recipe.float_stage
    if stage.optimizer == "sgd":
        return keras.optimizers.SGD(stage.learning_rate)
    return keras.optimizers.Adam(stage.learning_rate)


def fitter(recipe: Recipe, data: Any, settings: dict[str, Any] | None, warm: Any) -> tuple[Any, Callable[[], Any]]:
    """Return a trained model and a function that trains it on."""
    keras.utils.set_random_seed(0)
    model = build_model(recipe, classes=10, input_shape=(28, 28, 1))
    optimizer = rule(recipe)
    if settings is not None:
        given = recipe.on_device.settings() if recipe.on_device else {}
        optimizer = MixedPrecision(optimizer, **{**given, **settings})
    model.compile(optimizer, make_loss(recipe.float_stage, True), jit_compile=False)
    model.fit(warm, verbose=0)
    return model, lambda: model.fit(data, verbose=0)


def measure(name: str, options: argparse.Namespace, pictures: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    recipe = find_recipe(name)
    pairs = tf.data.Dataset.from_tensor_slices((pictures, labels)).batch(options.batch, drop_remainder=True)
    pairs = pairs.cache()
    warm, data = untuned(pairs.take(options.warm)), untuned(pairs.take(options.steps))
    variants: dict[str, Any] = {
        "plain_keras": None,
        "on_device": {},
        "idle": {"epsilon": 1e6},
        "all_touched": {"epsilon": 1e-9, "max_pulses": 1},
    }
    models, calls = {}, {}
    for variant, settings in variants.items():
        models[variant], calls[variant] = fitter(recipe, data, settings, warm)
    before = pulses(models["on_device"])
    times = interleave(calls, options.rounds)
    model = models["on_device"]
    found = ratios(times, "plain_keras")
    synapses = sum(array.size for array in model.optimizer.synapses)
    per_step = (pulses(model) - before) / (options.rounds + 1) / options.steps
    return {
        "ratio": found["on_device"]["wall_ratio"],
        "ratio_cpu": found["on_device"]["cpu_ratio"],
        "synapses": synapses,
        "pulses_per_step": per_step,
        "floats_per_synapse_and_pair": memory(model) / synapses / 4,
        "variants": found,
    }


def pulses(model: keras.Model) -> int:
    return sum(found["set_pulses"] for found in model.optimizer.statistics().values())


def memory(model: keras.Model) -> int:
    """Return the bytes of the optimizer's own variables."""
    own = model.optimizer._variables
    return sum(int(np.prod(variable.shape)) * variable.numpy().dtype.itemsize for variable in own)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--warm", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--mnist", type=Path, help="folder of mnist.npz; else where the loader looks by itself")
    parser.add_argument("--result", type=Path, help="where to write the result too")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    split = load_mnist(options.mnist).train
    most = max(options.warm, options.steps) * options.batch
    pictures, labels = split.inputs[:most].astype("float32") / 255, split.labels[:most]
    table = {name: measure(name, options, pictures, labels) for name in options.networks}
    settings = {name: getattr(options, name) for name in ("batch", "rounds", "steps", "warm", "threads")}
    result = {"benchmark": "on_device_step", **settings, "networks": table, "machine": facts()}
    print(json.dumps(result, indent=2))
    if options.result:
        write_json(options.result, result)


if __name__ == "__main__":
    main()
