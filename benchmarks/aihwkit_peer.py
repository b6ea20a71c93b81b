"""Hardware-aware training and ageing chips beside aihwkit: the same networks, weights and hardware, in one run.

python -m benchmarks.aihwkit_peer --data DIR [--networks ...] [--chips 10] [--at 1h 1d 1y] [--rounds 7]
    [--result results/aihwkit_peer.json]

Needs aihwkit and torch in the environment of analognets. The networks are presets, trained here; aihwkit gets them by
`to_aihwkit`, with the trained input ranges.

`accuracy`: of test clips, on chips that each toolkit programs, mean and 95 % interval over chips. `digital` has the
same weights and no hardware. `analognets` is the hardware that the preset was trained for, `analognets_as_aihwkit` the
one with the choices of aihwkit's PCM model: read noise in proportion to the programmed conductance, both devices of a
pair programmed, time counted from the start of programming, one factor against drift behind the ADC of each tile.

`speed`: `training` is a step of SGD with normal noise in the weights, `ageing` programs one chip and reads it at all
times. Each stands against the plain network of its own framework (Keras; torch, by aihwkit's `convert_to_digital`), and
aihwkit's against ours. aihwkit's tiles are those of its presets, in C++, and for hardware without IR drop those in
PyTorch, too.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from analognets.conversion import to_analog, to_digital
from analognets.crossbar import Crossbar
from analognets.deploy import program, to_aihwkit
from analognets.deploy.studies.other_hardware import on_hardware
from analognets.devices import PCM
from analognets.layers import analog_layers
from analognets.metrics import mean_interval
from analognets.units import parse_duration
from analognets.zoo import load_preset
from analognets.zoo.tasks import prepare
from benchmarks import _aihwkit
from benchmarks._measure import interleave, ratios, report

NETWORKS = ("resnet8_kws.hwa_standard", "analognet_kws.hwa_8bit")
WEIGHT_NOISE = 0.05
"""Of the training steps, in shares of the largest weight."""
Samples = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Pair:
    """A network here, and what aihwkit makes of it.

    Args:
        model: analog, trained.
        samples: of the test split.
        folder: of `to_aihwkit`.
    """

    model: keras.Model
    samples: Samples
    folder: Path

    @property
    def hardware(self) -> Crossbar:
        """The hardware of all its layers."""
        return analog_layers(self.model)[0].crossbar

    @property
    def tiles(self) -> tuple[str, ...]:
        """Kinds of aihwkit's tiles that have the hardware."""
        return ("aihwkit", "aihwkit_torch_tiles") if self.hardware.plain else ("aihwkit",)

    def theirs(self, kind: str, weight_noise: float = 0.0) -> Any:
        """Return the module on aihwkit's tiles."""
        layers, hardware = analog_layers(self.model), self.hardware
        if hardware.plain:
            bound = float(np.asarray(layers[0].adc_gain.gain.value))
            size = {"rows": hardware.rows, "cols": hardware.cols}
            config = _aihwkit.pcm_8bit(**size, out_bound=bound, in_torch=kind.endswith("torch_tiles"))
        else:
            config = _aihwkit.standard()
        if weight_noise:
            config = _aihwkit.with_weight_noise(config, weight_noise)
        ranges = {layer.name: float(np.asarray(layer.input_range.value)) for layer in layers}
        return _aihwkit.rebuilt(self.folder, config, ranges)

    def as_aihwkit(self) -> keras.Model:
        """Return our network on hardware with the choices of aihwkit's model."""
        chosen = {"inactive_device": "programmed", "drift_compensation": "global"}
        return on_hardware(self.model, self.hardware.replace(device=PCM.like_aihwkit(), **chosen), ranges="kept")[0]


def accuracies(pair: Pair, options: argparse.Namespace) -> dict[str, Any]:
    """Return what chips of each toolkit decide rightly at each time."""
    inputs, labels = pair.samples
    plain = to_digital(pair.model).predict(inputs, verbose=0)
    found: dict[str, Any] = {"digital": float(np.mean(plain.argmax(-1) == labels))}

    def of_chips(rows: list[dict[str, Any]]) -> dict[str, Any]:
        table = {}
        for at in options.at:
            values = [row["accuracy"] for row in rows if row["at"] == at]
            interval = mean_interval(values)
            table[at] = {"mean": interval.mean, "low": interval.low, "high": interval.high, "chips": values}
        return table

    for name, model in (("analognets", pair.model), ("analognets_as_aihwkit", pair.as_aihwkit())):
        readings = program(model, options.chips, seed=0).evaluate((inputs, labels), at=options.at)
        found[name] = of_chips(readings[["at", "accuracy"]].to_dict("records"))
    chip, rows = _aihwkit.Chip(pair.theirs(pair.tiles[-1])), []
    for number in range(options.chips):
        chip.program(number)
        for at in options.at:
            chosen = chip.outputs(inputs, parse_duration(at)).argmax(-1)
            rows.append({"at": at, "accuracy": float(np.mean(chosen == labels))})
    found["aihwkit"] = of_chips(rows)
    return found


def keras_step(model: keras.Model, batch: Samples) -> Callable[[], object]:
    """Return a training step of a Keras network."""
    model.compile(keras.optimizers.SGD(1e-4), "sparse_categorical_crossentropy", jit_compile=False)
    return lambda: model.train_on_batch(*batch)


def torch_step(module: Any, batch: Samples) -> Callable[[], object]:
    """Return a training step of a torch module, with aihwkit's rule where it has tiles."""
    import torch
    from aihwkit.optim import AnalogSGD

    module.train()
    inputs, labels = torch.from_numpy(batch[0]), torch.from_numpy(batch[1].astype("int64"))
    optimizer = AnalogSGD(module.parameters(), lr=1e-4)
    optimizer.regroup_param_groups(module)

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(inputs), labels).backward()
        optimizer.step()

    return step


def plain_torch(pair: Pair) -> Any:
    """Return the network with torch's own layers."""
    from aihwkit.nn.conversion import convert_to_digital

    return convert_to_digital(pair.theirs("aihwkit"))


def training(pair: Pair, options: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """Return a training step of each variant."""
    batch = tuple(part[: options.batch] for part in pair.samples)
    plain = to_digital(pair.model)
    ours = to_analog(plain, pair.hardware, weight_noise=WEIGHT_NOISE, calibrate_on=batch[0])
    theirs = {kind: torch_step(pair.theirs(kind, WEIGHT_NOISE), batch) for kind in pair.tiles}
    return {
        "keras": keras_step(keras.models.clone_model(plain), batch),
        "analognets": keras_step(ours, batch),
        "torch": torch_step(plain_torch(pair), batch),
        **theirs,
    }


def ageing(pair: Pair, options: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """Return what programs a chip of each toolkit and reads it at all times, and as many passes of plain networks."""
    inputs, labels = (part[: options.samples] for part in pair.samples)
    times = [parse_duration(at) for at in options.at]
    plain, chips = to_digital(pair.model), program(pair.model, chips=1)

    def ours() -> None:
        chips.chips = program(pair.model, chips=1, seed=1).chips
        chips.evaluate((inputs, labels), at=options.at, batch_size=options.batch)

    def of(module: Any, programmed: bool) -> Callable[[], object]:
        chip = _aihwkit.Chip(module, options.batch)

        def call() -> None:
            if programmed:
                chip.program(1)
            for seconds in times:
                chip.outputs(inputs, seconds if programmed else None)

        return call

    return {
        "keras": lambda: [plain.predict(inputs, batch_size=options.batch, verbose=0) for _ in times],
        "analognets": ours,
        "torch": of(plain_torch(pair), False),
        **{kind: of(pair.theirs(kind), True) for kind in pair.tiles},
    }


def compared(variants: dict[str, Callable[[], object]], rounds: int) -> dict[str, Any]:
    """Return milliseconds of each variant, its ratio to the plain network of its framework, and aihwkit's to ours."""
    times = interleave(variants, rounds)
    against = {base: ratios(times, base) for base in ("keras", "torch", "analognets")}
    table: dict[str, Any] = {}
    for name in variants:
        base = "keras" if name in ("keras", "analognets") else "torch"
        row = {f"ms_{kind}": 1000 * against[base][name][f"{kind}_seconds"] for kind in ("wall", "cpu")}
        row |= {f"to_plain_{kind}": against[base][name][f"{kind}_ratio"] for kind in ("wall", "cpu")}
        row |= {f"to_analognets_{kind}": against["analognets"][name][f"{kind}_ratio"] for kind in ("wall", "cpu")}
        table[name] = row
    return table


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="aihwkit_peer", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", help="folder of Speech Commands")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--chips", type=int, default=10, help="of the accuracies")
    parser.add_argument("--at", nargs="+", default=["1h", "1d", "1y"], help="times since programming")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--samples", type=int, default=500, help="read by a chip while its speed is measured")
    parser.add_argument("--rounds", type=int, default=7, help="of the speed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--result", type=Path, help="where to write the result too")
    return parser


def measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return accuracies and speed of a network."""
    preset = load_preset(name)
    inputs, labels = prepare(preset.recipe, data_dir=options.data).features("test")
    samples = np.asarray(inputs, "float32"), np.asarray(labels)
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(preset.model(), samples, to_aihwkit(preset.model(), Path(folder) / "there"))
        return {
            "clips": len(labels),
            "hardware": pair.hardware.name,
            "accuracy": accuracies(pair, options),
            "speed": {
                "training": compared(training(pair, options), options.rounds),
                "ageing": compared(ageing(pair, options), options.rounds),
            },
        }


def main() -> None:
    parser = arguments()
    options = parser.parse_args()
    for name in ("chips", "batch", "samples", "rounds", "threads"):
        if (value := getattr(options, name)) < 1:
            parser.error(f"--{name} must be 1 or more. Received: {value}.")
    _aihwkit.set_threads(options.threads)
    versions = _aihwkit.find_peer(parser)
    import torch

    torch.set_num_threads(options.threads)
    settings = {name: value for name, value in vars(options).items() if name not in ("data", "result", "networks")}
    result = {
        "benchmark": "aihwkit_peer",
        "about": __doc__,
        **settings,
        "weight_noise": WEIGHT_NOISE,
        "networks": {name: measured(name, options) for name in options.networks},
    }
    report(result, options.result, **versions)


if __name__ == "__main__":
    main()
