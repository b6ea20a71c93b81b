"""What the simulation from spike to spike saves: the same layer in a dense NumPy loop over time steps, in one run.

python -m benchmarks.spiking_speed [--pictures 100] [--rounds 5] [--data FOLDER] > results/spiking_speed.json

`DenseLoop` is the textbook form: every step multiplies all inputs with all weights, decays membranes and input traces,
and on a spike updates the winner's synapses. It takes the same spikes, draws and device law and gives the same output
spikes (the benchmark checks that), so only the way of simulating differs. With --peer the same pictures also go through
BindsNET or snnTorch, where installed: their inference of a layer of that size, without learning, which is kept in
results/spiking_peers.json (--peer --neurons 100 400 --dt 1.0 --pictures 30 --rounds 3).
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from analognets.datasets.registry import load_dataset
from analognets.spiking import MemristorRows, WinnerTakeAll, WinnerTakeAllRules
from analognets.spiking.winner_take_all import poisson_spikes
from benchmarks._measure import interleave, ratios, report

STREAM = "learn"


def raster(picture: np.ndarray, rules: WinnerTakeAllRules, rng: np.random.Generator, dtype: Any = "float32") -> Any:
    """Return how many spikes each input has in each step, (steps, inputs)."""
    dense = np.zeros((rules.steps, len(picture)), dtype)
    np.add.at(dense, poisson_spikes(picture, rules, rng), 1)
    return dense


class DenseLoop:
    """A winner-take-all layer, step by step: see `WinnerTakeAll` for the equations.

    Args:
        rows: synapses (outputs, inputs).
        rules: as there.
        seed: as there.
    """

    def __init__(self, rows: Any, rules: WinnerTakeAllRules, *, seed: int = 0) -> None:
        self.rows, self.rules, self.seed = rows, rules, seed
        self.neurons, self.inputs = rows.weights.shape
        self.theta = np.zeros(self.neurons, rows.weights.dtype)

    def show(self, dense: np.ndarray, rng: np.random.Generator, *, learn: bool) -> list[tuple[int, int]]:
        """Run all steps of one picture, dense spikes (steps, inputs); returns (step, neuron)."""
        rules, kind = self.rules, self.theta.dtype.type
        decay, fade = kind(np.exp(-rules.dt / rules.membrane)), kind(np.exp(-rules.dt / self.rows.window))
        v, trace, wait, found = np.zeros_like(self.theta), np.zeros(self.inputs, kind), 0, []
        for step, now in enumerate(dense):
            if learn:
                trace *= fade
                trace[now > 0] = 1.0
            drive = self.rows.weights @ now
            if wait:
                wait -= 1
                continue
            v = v * decay + drive
            over = v - (self.theta + kind(rules.threshold))
            winner = int(over.argmax())
            if over[winner] < 0:
                continue
            found.append((step, winner))
            if learn:
                self.rows.learn(winner, trace - kind(rules.offset), rng)
                self.theta[winner] += kind(rules.threshold_step)
            v, wait = np.zeros_like(self.theta), rules.hold_steps
        if learn:
            self.theta *= kind(np.exp(-rules.duration / rules.threshold_decay))
        return found

    def present(self, pictures: np.ndarray, *, learn: bool = False) -> np.ndarray:
        """Show pictures as `WinnerTakeAll.present` does, with the same draws, from number 0 on."""
        counts = np.zeros((len(pictures), self.neurons), "int32")
        key = [self.seed, *STREAM.encode()]
        for number, picture in enumerate(pictures):
            rng = np.random.default_rng([*key, number])
            if number % self.rules.read_every == 0:
                self.rows.read_all(np.random.default_rng([*key, 1, number // self.rules.read_every]))
            dense = raster(picture, self.rules, rng, self.theta.dtype)
            for _, winner in self.show(dense, rng, learn=learn):
                counts[number, winner] += 1
        return counts


def compare(neurons: int, dt: float, warm: np.ndarray, shown: np.ndarray, rounds: int, peer: bool) -> dict[str, Any]:
    rules = WinnerTakeAllRules(dt=dt)
    first = WinnerTakeAll(MemristorRows((neurons, warm.shape[1])), rules)
    first.present(warm, learn=True)
    state = {name: values.copy() for name, values in first.rows.state.items()}  # type: ignore[attr-defined]

    def caller(kind: type, learn: bool) -> Callable[[], np.ndarray]:
        layer = kind(MemristorRows((neurons, warm.shape[1])), rules)

        def call() -> np.ndarray:
            """Begin where the first layer ended, and show the pictures."""
            for name, values in state.items():
                layer.rows.state[name][...] = values
            layer.theta[...] = first.theta
            return layer.present(shown, learn=learn)

        return call

    result = {}
    for learn in (True, False):
        calls: dict[str, Callable[[], Any]] = {
            "event_driven": caller(WinnerTakeAll, learn),
            "dense_loop": caller(DenseLoop, learn),
        }
        same = float(np.mean(calls["event_driven"]() == calls["dense_loop"]()))
        if peer and not learn:
            calls |= peers(neurons, shown, rules)
        table = ratios(interleave(calls, rounds), "event_driven")
        for row in table.values():
            row["pictures_per_second"] = len(shown) / row["wall_seconds"]
        result["learning" if learn else "inference"] = {"counts_that_agree": same, **table}
    return result


def peers(neurons: int, shown: np.ndarray, rules: WinnerTakeAllRules) -> dict[str, Any]:
    """Return calls of other simulators on the same spikes, for those that are installed."""
    found: dict[str, Any] = {}
    if importlib.util.find_spec("snntorch"):
        import snntorch
        import torch

        weights = torch.rand(neurons, shown.shape[1])
        neuron = snntorch.Leaky(beta=float(np.exp(-rules.dt / rules.membrane)), threshold=20.0, inhibition=True)

        def run() -> None:
            rng = np.random.default_rng(0)
            with torch.no_grad():
                for picture in shown:
                    dense = raster(picture, rules, rng)
                    membrane = neuron.init_leaky()
                    for now in torch.from_numpy(dense):
                        _, membrane = neuron((weights @ now)[None], membrane)

        found["snntorch"] = run
    if importlib.util.find_spec("bindsnet"):
        import torch
        from bindsnet.models import DiehlAndCook2015

        network = DiehlAndCook2015(n_inpt=shown.shape[1], n_neurons=neurons, dt=rules.dt, inpt_shape=(1, 28, 28))
        network.train(False)

        def simulate() -> None:
            rng = np.random.default_rng(0)
            for picture in shown:
                dense = raster(picture, rules, rng).reshape(rules.steps, 1, 1, 28, 28)
                network.run(inputs={"X": torch.from_numpy(dense)}, time=int(rules.duration))
                network.reset_state_variables()

        found["bindsnet"] = simulate
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--warm", type=int, default=2000, help="pictures learned before the measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--neurons", type=int, nargs="+", default=[100, 400])
    parser.add_argument("--dt", type=float, nargs="+", default=[0.1, 0.5, 1.0], help="steps of the loop in ms")
    parser.add_argument("--peer", action="store_true", help="also run BindsNET and snnTorch, where installed")
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    train = load_dataset("mnist", options.data).train.inputs
    pictures = (train[: options.warm + options.pictures].reshape(-1, 784) / 255).astype("float32")
    warm, shown = pictures[: options.warm], pictures[options.warm :]
    layers = {
        f"{neurons} neurons, {dt:g} ms": compare(neurons, dt, warm, shown, options.rounds, options.peer)
        for neurons in options.neurons
        for dt in options.dt
    }
    report({"benchmark": "spiking_speed", "about": __doc__, "pictures": len(shown), "layers": layers})


if __name__ == "__main__":
    main()
