"""Learning on devices beside aihwkit: the same network, first weights, batches and rule in both, in one run.

python -m benchmarks.on_device_peer [--batch 100 10] [--rounds 15] [--steps 200] [--epochs 3] --result FILE

Needs aihwkit and torch in the environment of analognets. The network is the 784-250-10 perceptron with sigmoid units on
MNIST, half the sum of squared errors and SGD; biases are digital in both.

`speed`: a round is `--steps` steps of each variant in turn, after `--warm` pictures of training at the rate `--rate`;
Keras trains with `fit`, torch with the plain loop over batches that lie ready. Each on-device step stands against the
plain step of its own framework, and aihwkit's against ours. `test_accuracy` shows what had been learned by the end:
a network that is stuck sends fewer pulses. `learning`: test accuracy after each of `--epochs` epochs of all training
pictures in batches of `--learning-batch`, at all `--learning-rates`: 2.0 is that of the recipe `mnist_mlp`, the others
were best for aihwkit's two granularities, ours and its own, on coarse grids (0.1 to 2.0 and 0.05 to 0.5; one seed,
2,000 steps, judged by 5,000 training pictures left out there). Ours were not tuned here.

aihwkit learns with `MixedPrecisionCompound` on `PCMPresetUnitCell`, products perfect, one tile a layer. A pulse stands
for the same change of weight as ours (epsilon), in `aihwkit_own_granularity` for what the preset takes by itself. The
preset checks all pairs for a refresh in every step; the two others of aihwkit do it every 100 steps, as ours.
`analognets_pulsed_step_pcm` has the preset's mean steps on its scale, a weight of 1 on 8 uS, and nearly its thresholds
of a refresh. What differs in the devices: ours are read with noise and drift, the preset's exactly; the preset's steps
and limits vary between devices, ours do not; its pulses are drawn, ours counted.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from analognets.training.in_memory import MixedPrecision
from analognets.training.optimizers import HalfSquares
from analognets.zoo.networks.digits import mnist_mlp
from analognets.zoo.tasks import find_recipe
from benchmarks._aihwkit import find_peer, set_threads
from benchmarks._measure import interleave, ratios, report, untuned
from benchmarks.mnist_on_device import accuracy, load

RECIPE = find_recipe("mnist_mlp")
GIVEN: dict[str, Any] = RECIPE.on_device.settings() if RECIPE.on_device else {}
STEP_DEVICE = {"device": "pulsed_step_pcm", "conductance_range": 8.0, "refresh_above": 12.0, "refresh_below": 8.0}
OURS: dict[str, dict[str, Any] | None] = {
    "keras": None,
    "analognets_pulsed_pcm": GIVEN,
    "analognets_pulsed_step_pcm": {**GIVEN, **STEP_DEVICE},
}
THEIRS: dict[str, dict[str, Any] | None] = {
    "torch": None,
    "aihwkit": {"granularity": GIVEN["epsilon"], "refresh_every": 1},
    "aihwkit_refresh_100": {"granularity": GIVEN["epsilon"], "refresh_every": 100},
    "aihwkit_own_granularity": {"granularity": 0.0, "refresh_every": 100},
}
PLAIN = {**dict.fromkeys(OURS, "keras"), **dict.fromkeys(THEIRS, "torch")}
OTHERWISE = ", or measure analognets alone with python -m benchmarks.on_device_step"
SLOW = ("aihwkit",)  # its refresh in every step; learns as an option
Data = tuple[np.ndarray, ...]  # pictures and labels for training, pictures and labels for the test
Batches = tuple[np.ndarray, np.ndarray]  # pictures (steps, batch, 28, 28, 1), labels (steps, batch)


class KerasLearner:
    """The network in Keras, plain or on devices.

    Args:
        settings: of `MixedPrecision`; None: the plain rule.
        learning_rate: of the rule.
        seed: of the devices.
        first: weights to begin with.
        steps_per_execution: as in `compile`.
    """

    def __init__(
        self,
        settings: dict[str, Any] | None,
        learning_rate: float,
        seed: int,
        first: list[np.ndarray],
        steps_per_execution: int = 1,
    ) -> None:
        self.model = mnist_mlp()
        self.model.set_weights(first)
        optimizer: Any = keras.optimizers.SGD(learning_rate)
        if settings is not None:
            optimizer = MixedPrecision(optimizer, seed=seed, **settings)
        self.model.compile(optimizer, HalfSquares(), jit_compile=False, steps_per_execution=steps_per_execution)

    def trainer(self, batches: Batches) -> Callable[[], Any]:
        """Return a function that takes a step with each of the batches."""
        data = untuned(tf.data.Dataset.from_tensor_slices(batches))
        return lambda: self.model.fit(data, verbose=0, shuffle=False)

    def accuracy(self, pictures: np.ndarray, labels: np.ndarray) -> float:
        """Return the share of pictures it tells, with the weights as last read."""
        return accuracy(self.model, pictures, labels)


class TorchLearner:
    """The network in torch, plain or with aihwkit's mixed-precision compound.

    Args:
        settings: granularity of the compound and refresh_every of its unit cell; None: plain layers.
        learning_rate: of SGD.
        seed: of torch's draws, which construct the devices.
        first: weights of the Keras network to begin with.
    """

    def __init__(
        self, settings: dict[str, Any] | None, learning_rate: float, seed: int, first: list[np.ndarray]
    ) -> None:
        import torch

        self.torch = torch
        torch.manual_seed(seed)
        kernels, biases = ([torch.from_numpy(value.T.copy()) for value in first[start::2]] for start in (0, 1))
        layers = [_torch_layer(torch, settings, *pair) for pair in zip(kernels, biases, strict=True)]
        self.model = torch.nn.Sequential(torch.nn.Flatten(), *(part for each in layers for part in each))
        if settings is None:
            self.optimizer: Any = torch.optim.SGD(self.model.parameters(), lr=learning_rate)
        else:
            from aihwkit.optim import AnalogSGD

            self.optimizer = AnalogSGD(self.model.parameters(), lr=learning_rate)
            self.optimizer.regroup_param_groups(self.model)

    def trainer(self, batches: Batches) -> Callable[[], Any]:
        """Return a function that takes a step with each of the batches."""
        torch = self.torch
        data = list(zip(*(torch.from_numpy(np.ascontiguousarray(part)) for part in batches), strict=True))

        def train() -> None:
            self.model.train()
            for pictures, labels in data:
                self.optimizer.zero_grad()
                wanted = torch.nn.functional.one_hot(labels, 10).to(torch.float32)
                loss = 0.5 * (self.model(pictures) - wanted).square().sum(-1).mean()
                loss.backward()
                self.optimizer.step()

        return train

    def accuracy(self, pictures: np.ndarray, labels: np.ndarray) -> float:
        """Return the share of pictures it tells."""
        self.model.eval()
        with self.torch.no_grad():
            found = self.model(self.torch.from_numpy(pictures)).argmax(-1).numpy()
        return float(np.mean(found == labels))


def _torch_layer(torch: Any, settings: dict[str, Any] | None, kernel: Any, bias: Any) -> tuple[Any, Any]:
    """Return a dense layer that begins with a kernel (outputs, inputs) and a bias, and its sigmoid."""
    outputs, inputs = kernel.shape
    if settings is None:
        layer = torch.nn.Linear(inputs, outputs)
        with torch.no_grad():
            layer.weight.copy_(kernel)
            layer.bias.copy_(bias)
    else:
        from aihwkit.nn import AnalogLinear

        layer = AnalogLinear(inputs, outputs, rpu_config=_compound(**settings))
        layer.set_weights(kernel, bias)
    return layer, torch.nn.Sigmoid()


def _compound(granularity: float, refresh_every: int) -> Any:
    """Return aihwkit's configuration of a layer; granularity 0 is the preset's own.

    The compound asks its devices for a change of `granularity`, which is several pulses where it is larger than their
    mean step; `transfer_lr` takes that back, so that one is left in the mean. Pulse trains stay stochastic, as by
    default: deterministic ones take far longer.
    """
    from aihwkit.simulator.configs import DigitalRankUpdateRPUConfig
    from aihwkit.simulator.configs.compounds import MixedPrecisionCompound
    from aihwkit.simulator.parameters.enums import RPUDataType
    from aihwkit.simulator.presets.compounds import PCMPresetUnitCell

    cell = PCMPresetUnitCell(refresh_every=refresh_every)
    own = cell.as_bindings(RPUDataType.FLOAT).calc_weight_granularity()
    compound = MixedPrecisionCompound(device=cell, granularity=granularity, transfer_lr=own / (granularity or own))
    config = DigitalRankUpdateRPUConfig(device=compound)
    config.forward.is_perfect = config.backward.is_perfect = True
    config.mapping.max_input_size = config.mapping.max_output_size = 1024
    return config


def learners(names: Sequence[str], rate: float, seed: int, steps_per_execution: int = 1) -> dict[str, Any]:
    """Return the variants of these names, all with the same first weights."""
    keras.utils.set_random_seed(seed)
    first = [np.array(weights) for weights in mnist_mlp().get_weights()]
    return {
        name: KerasLearner(OURS[name], rate, seed, first, steps_per_execution)
        if name in OURS
        else TorchLearner(THEIRS[name], rate, seed, first)
        for name in names
    }


def cut(pictures: np.ndarray, labels: np.ndarray, batch: int) -> Batches:
    """Return whole batches."""
    steps = len(labels) // batch
    shape = (steps, batch)
    return pictures[: steps * batch].reshape(*shape, *pictures.shape[1:]), labels[: steps * batch].reshape(shape)


def speed(options: argparse.Namespace, batch: int, data: Data, names: Sequence[str]) -> dict[str, Any]:
    """Return milliseconds a step of each variant, and the median ratios within a round."""
    found = learners(names, options.rate, 0, options.steps_per_execution)
    x, y, x_test, y_test = data
    warm, shown = cut(x[: options.warm], y[: options.warm], batch), cut(x, y, batch)
    shown = shown[0][: options.steps], shown[1][: options.steps]
    for learner in found.values():
        learner.trainer(warm)()
    times = interleave({name: learner.trainer(shown) for name, learner in found.items()}, options.rounds)
    against = {base: ratios(times, base) for base in found}
    table: dict[str, Any] = {}
    for name, learner in found.items():
        row, plain = against[name][name], against[PLAIN[name]][name]
        table[name] = {f"ms_{kind}": 1000 * row[f"{kind}_seconds"] / len(shown[1]) for kind in ("wall", "cpu")}
        table[name] |= {"to_plain": plain["wall_ratio"], "to_plain_cpu": plain["cpu_ratio"]}
        table[name]["test_accuracy"] = learner.accuracy(x_test, y_test)
    direct = {
        f"{theirs} / {ours}": {kind: against[ours][theirs][f"{kind}_ratio"] for kind in ("wall", "cpu")}
        for theirs in names
        for ours in names
        if theirs.startswith("aihwkit") and ours.startswith("analognets")
    }
    return {"steps": len(shown[1]), "variants": table, "direct": direct}


def learning(options: argparse.Namespace, rate: float, data: Data, names: Sequence[str]) -> dict[str, Any]:
    """Return the test accuracy of each variant after each epoch: mean over the seeds, and each seed's."""
    x, y, x_test, y_test = data
    curves: dict[str, dict[str, list[float]]] = {}
    for seed in options.seeds:
        for name, learner in learners(names, rate, seed, options.steps_per_execution).items():
            curve: list[float] = []
            for epoch in range(options.epochs):
                order = np.random.default_rng([seed, epoch]).permutation(len(y))
                learner.trainer(cut(x[order], y[order], options.learning_batch))()
                curve.append(learner.accuracy(x_test, y_test))
            print(f"{name}, rate {rate:g}, seed {seed}: {curve}", file=sys.stderr, flush=True)
            curves.setdefault(name, {})[str(seed)] = curve
    return {
        name: {"by_epoch": [statistics.mean(row) for row in zip(*seeds.values(), strict=True)], "seeds": seeds}
        for name, seeds in curves.items()
    }


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="on_device_peer", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch", type=int, nargs="+", default=[100, 10], help="sizes whose speed is measured")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=200, help="in a round; a multiple of 100 has whole refreshes")
    parser.add_argument("--warm", type=int, default=30_000, help="pictures learned before the speed is measured")
    parser.add_argument("--steps-per-execution", type=int, default=1, help="of Keras, plain and on devices")
    parser.add_argument("--epochs", type=int, default=3, help="of the accuracies; 0 leaves them out")
    parser.add_argument("--pictures", type=int, default=60_000, help="to train on, the first of the file")
    parser.add_argument("--learning-batch", type=int, default=RECIPE.batch_size)
    parser.add_argument("--rate", type=float, default=0.3, help="learning rate while the speed is measured")
    parser.add_argument("--learning-rates", type=float, nargs="+", default=[2.0, 0.3, 0.1], help="of the accuracies")
    every = [*OURS, *THEIRS]
    fast = [name for name in every if name not in SLOW]
    parser.add_argument("--learning-variants", nargs="+", choices=every, default=fast, help="of the accuracies")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the accuracies")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mnist", type=Path, help="folder of mnist.npz; else where the loader looks by itself")
    parser.add_argument("--result", type=Path, help="where to write the result too")
    return parser


def check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with one sentence and status 2 if a number is out of range."""
    names = ("rounds", "steps", "warm", "steps_per_execution", "pictures", "learning_batch", "threads")
    given = [(name, getattr(options, name)) for name in names] + [("batch", size) for size in options.batch]
    for name, value in given:
        if value < 1:
            parser.error(f"--{name.replace('_', '-')} must be 1 or more. Received: {value}.")
    if options.epochs < 0:
        parser.error(f"--epochs must be 0 or more. Received: {options.epochs}.")
    rates = [options.rate, *options.learning_rates]
    if min(rates) <= 0:
        parser.error(f"--rate and --learning-rates must be more than 0. Received: {min(rates):g}.")
    fewest = min(options.pictures, options.warm)
    if max(options.batch) > fewest or options.learning_batch > options.pictures:
        parser.error(
            "A batch must not be larger than --pictures and --warm. "
            f"Received: {max(*options.batch, options.learning_batch)} with {options.pictures} and {options.warm}."
        )


def main() -> None:
    parser = arguments()
    options = parser.parse_args()
    check(parser, options)
    set_threads(options.threads)
    versions = find_peer(parser, OTHERWISE)
    import torch

    torch.set_num_threads(options.threads)
    x, y, *test = load(options.mnist)
    data = (x[: options.pictures], y[: options.pictures], *test)
    table = {f"batch {size}": speed(options, size, data, [*OURS, *THEIRS]) for size in options.batch}
    settings = {name: value for name, value in vars(options).items() if name not in ("mnist", "result", "batch")}
    result = {
        "benchmark": "on_device_peer",
        "about": __doc__,
        **settings,
        "variants": {name: value for name, value in {**OURS, **THEIRS}.items() if value is not None},
        "speed": table,
        "learning": {
            f"rate {rate:g}": learning(options, rate, data, options.learning_variants)
            for rate in (options.learning_rates if options.epochs else [])
        },
    }
    report(result, options.result, **versions)


if __name__ == "__main__":
    main()
