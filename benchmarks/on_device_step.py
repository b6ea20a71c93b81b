"""One training step on devices against the plain Keras step: same network, batch, rule and data.

python -m benchmarks.on_device_step [--batch 100] [--rounds 15] [--steps 100] [--result FILE]

Networks: the MNIST perceptron (SGD, as its recipe) and the small convolutional network (Adam, as its recipe), on
MNIST. A round is a `fit` of `--steps` steps for each variant in turn, on batches that are drawn anew from all training
pictures. `late` is measured after `--warm` steps, when few synapses are pulsed in a step; `early`, with a third of the
rounds, after 60 steps, when many are. `idle` has an epsilon that no step reaches: what it costs to keep chi.
`all_touched` pulses every synapse in every step, which no training does. Refresh and reading of all devices come as
often as in the recipes.

`memory` is counted on the optimizer's variables: devices, chi and counters, without the weights themselves and without
the moments of the base rule, which plain Keras has too.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from analognets.core.files import write_json
from analognets.datasets.mnist import load_mnist
from analognets.training.in_memory import MixedPrecision
from analognets.training.optimizers import make_loss
from analognets.training.recipe import Recipe
from analognets.zoo.tasks import build_model, find_recipe
from benchmarks._measure import facts, interleave, ratios, untuned

EARLY = 60
NETWORKS = ("mnist_mlp", "mnist_cnn")


def rule(recipe: Recipe) -> keras.optimizers.Optimizer:
    stage = recipe.float_stage
    if stage.optimizer == "sgd":
        return keras.optimizers.SGD(stage.learning_rate)
    return keras.optimizers.Adam(stage.learning_rate)


def fitter(recipe: Recipe, settings: dict[str, Any] | None) -> keras.Model:
    """Return a fresh compiled model, on devices if there are settings."""
    keras.utils.set_random_seed(0)
    model = build_model(recipe, classes=10, input_shape=(28, 28, 1))
    optimizer = rule(recipe)
    if settings is not None:
        given = recipe.on_device.settings() if recipe.on_device else {}
        optimizer = MixedPrecision(optimizer, **{**given, **settings})
    model.compile(optimizer, make_loss(recipe.float_stage, True), jit_compile=False)
    return model


def batches(pictures: tf.Tensor, labels: tf.Tensor, steps: int) -> tf.data.Dataset:
    """Return so many of the batches, others in every pass."""
    count = len(labels)
    numbers = tf.data.Dataset.range(count).shuffle(count, seed=0).repeat().take(steps)
    return untuned(numbers.map(lambda number: (pictures[number], labels[number])))


def timed(models: dict[str, keras.Model], data: tf.data.Dataset, steps: int, rounds: int) -> dict[str, Any]:
    """Return the ratios of a stage of training and how many pulses a step took."""
    before = pulses(models["on_device"])
    calls: dict[str, Callable[[], Any]] = {name: partial(model.fit, data, verbose=0) for name, model in models.items()}
    variants = ratios(interleave(calls, rounds), "plain_keras")
    return {
        "ratio": variants["on_device"]["wall_ratio"],
        "ratio_cpu": variants["on_device"]["cpu_ratio"],
        "pulses_per_step": (pulses(models["on_device"]) - before) / (rounds + 1) / steps,
        "variants": variants,
    }


def measure(name: str, options: argparse.Namespace, pictures: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    recipe, size = find_recipe(name), options.batch
    count = len(labels) // size
    pairs = [tf.constant(part[: count * size].reshape(count, size, *part.shape[1:])) for part in (pictures, labels)]
    data = batches(*pairs, options.steps)
    models = {"plain_keras": fitter(recipe, None), "on_device": fitter(recipe, {})}
    for model in models.values():
        model.fit(batches(*pairs, EARLY), verbose=0)
    early = timed(models, data, options.steps, max(1, options.rounds // 3))
    models |= {"idle": fitter(recipe, {"epsilon": 1e6})}
    models |= {"all_touched": fitter(recipe, {"epsilon": 1e-9, "max_pulses": 1})}
    for kind in ("plain_keras", "on_device"):
        models[kind].fit(batches(*pairs, options.warm), verbose=0)
    late = timed(models, data, options.steps, options.rounds)
    optimizer = models["on_device"].optimizer
    synapses = sum(array.size for array in optimizer.synapses)
    return {
        "early": early,
        "late": late,
        "synapses": synapses,
        "floats_per_synapse_and_pair": memory(models["on_device"]) / synapses / 4,
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
    parser.add_argument("--warm", type=int, default=1500)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--mnist", type=Path, help="folder of mnist.npz; else where the loader looks by itself")
    parser.add_argument("--result", type=Path, help="where to write the result too")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    split = load_mnist(options.mnist).train
    pictures, labels = split.inputs.astype("float32") / 255, split.labels
    table = {name: measure(name, options, pictures, labels) for name in options.networks}
    settings = {name: getattr(options, name) for name in ("batch", "rounds", "steps", "warm", "threads")}
    result = {"benchmark": "on_device_step", **settings, "networks": table, "machine": facts()}
    print(json.dumps(result, indent=2))
    if options.result:
        write_json(options.result, result)


if __name__ == "__main__":
    main()
