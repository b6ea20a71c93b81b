"""A convolutional network, an LSTM and a GAN learned on memory devices, each beside its float training.

python -m benchmarks.networks_on_device --work RUNS [--speech DIR] [--networks cnn lstm gan] [--seeds 0 1 2]

Every training is a run of its packaged recipe in RUNS/<network>-<float|device>-<seed>; an interrupted one goes on from
its last whole epoch. What was measured lies beside it in measured.json and is not measured again. At the end, and
with --collect at any time, all of it becomes results/networks_on_device.json.

Accuracies are of the test pictures or clips, which decide nothing before. A GAN is judged by the Frechet distance
between 10,000 drawn and the 10,000 test pictures, in the features of the hidden layer of the float network
cnn-float-0, which is trained first.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from analognets.core.figures import new_figure, saved
from analognets.core.files import write_json
from analognets.crossbar import get as get_hardware
from analognets.deploy.chips.trained_arrays import from_devices
from analognets.deploy.evaluation import accuracy
from analognets.training import Run, train
from analognets.training.recipe import Recipe
from analognets.zoo.networks.gan import frechet_distance
from analognets.zoo.tasks import Task, find_recipe, prepare

RESULT = Path(__file__).parents[1] / "results" / "networks_on_device.json"
SAMPLES = RESULT.with_name("gan_samples.png")
RECIPES = {"cnn": "mnist_cnn", "lstm": "kws_lstm_on_device", "gan": "mnist_gan"}
DEVICE = ("on_device.enabled=true",)
TIMES = ("25s", "1h", "1d", "30d")
DRAWN = 10_000


def recipe_of(network: str, kind: str, seed: int, changes: list[str]) -> Recipe:
    """Return the recipe of one training."""
    return find_recipe(RECIPES[network]).replace([f"seed={seed}", *(DEVICE if kind == "device" else ()), *changes])


def trained(network: str, kind: str, seed: int, options: argparse.Namespace) -> tuple[Run, Task]:
    """Train, or go on, or open what is finished."""
    recipe = recipe_of(network, kind, seed, options.set)
    task = prepare(recipe, data_dir=options.speech if network == "lstm" else options.mnist)
    folder = options.work / f"{network}-{kind}-{seed}"
    if (folder / "run.json").is_file() and Run.open(folder).finished:
        run = Run.open(folder)
        if run.recipe.fingerprint() != recipe.fingerprint():
            raise SystemExit(f"{folder} holds a run of another recipe.")
        return run, task

    def tell(event: Any) -> None:
        if event.kind == "epoch_end":
            shown = {name: round(float(value), 4) for name, value in event.metrics.items() if name != "stage"}
            print(f"{network} {kind} {seed}: {shown}", flush=True)

    run = Run.create(folder, recipe)
    train(run, model=task.model, data=task.training, progress=tell)
    return Run.open(folder), task


def classified(run: Run, task: Task) -> dict[str, Any]:
    """Return the accuracies of a finished run on the test split."""
    inputs, labels = task.features("test")
    found: dict[str, Any] = {"test_accuracy": score(run.float_model(), inputs, labels)}
    if run.recipe.learns_on_devices:
        model = run.on_device_model()
        chip = run.recipe.on_device.hardware
        hardware = get_hardware(chip.preset).replace(**chip.changes())
        chips = from_devices(model, task.training.calibration, hardware=hardware)
        table = chips.evaluate((inputs, labels), at=TIMES, drift_compensation="both")
        found["after"] = [
            {"at": row.at, "drift_compensation": bool(row.drift_compensation), "accuracy": row.accuracy}
            for row in table.itertuples()
        ]
        found["hardware"] = chip.preset
        found["devices"] = summary(model)
    return found


def score(model: keras.Model, inputs: Any, labels: Any) -> float:
    return accuracy(labels, model.predict(inputs, batch_size=500, verbose=0))


def summary(model: keras.Model) -> dict[str, Any]:
    """Return the statistics of the devices without their histograms."""
    return {
        path: {name: value for name, value in entry.items() if name not in ("edges", "g_plus", "g_minus")}
        for path, entry in model.optimizer.statistics().items()
    }


class Judge:
    """Frechet distances in the features of a trained network."""

    def __init__(self, network: keras.Model, pictures: np.ndarray, others: np.ndarray) -> None:
        self.features = keras.Model(network.inputs, network.get_layer("hidden").output)
        self.real = self.of(pictures)
        self.floor = frechet_distance(self.real, self.of(others))

    def of(self, pictures: np.ndarray) -> np.ndarray:
        return self.features.predict(pictures, batch_size=500, verbose=0)

    def distance(self, pictures: np.ndarray) -> float:
        return frechet_distance(self.real, self.of(pictures))


def drew(run: Run, judge: Judge, folder: Path) -> dict[str, Any]:
    """Return the distances of a finished GAN, and keep some of its pictures."""
    model = run.on_device_model() if run.recipe.learns_on_devices else run.float_model()
    np.save(folder / "samples.npy", model.generate(40, seed=1))
    found: dict[str, Any] = {"frechet": judge.distance(model.generate(DRAWN, seed=2)), "floor": judge.floor}
    if run.recipe.learns_on_devices:
        optimizer, found["after"] = model.optimizer, []
        by_path = {array.path: array.variable for array in optimizer.synapses}
        for seconds, name in ((3600.0, "1h"), (86_400.0, "1d"), (2_592_000.0, "30d")):
            for compensate in (False, True):
                weights = optimizer.read(optimizer.time + seconds, seed=3, compensate=compensate)
                for path, values in weights.items():
                    by_path[path].assign(values)
                distance = judge.distance(model.generate(DRAWN, seed=2))
                found["after"].append({"at": name, "drift_compensation": compensate, "frechet": distance})
        found["devices"] = summary(model)
    return found


def measure(network: str, kind: str, seed: int, options: argparse.Namespace) -> None:
    """Train and measure once, and write measured.json."""
    folder = options.work / f"{network}-{kind}-{seed}"
    if (folder / "measured.json").is_file():
        return
    run, task = trained(network, kind, seed, options)
    if network == "gan":
        reference, _ = trained("cnn", "float", 0, options)
        pictures = [task.features(split)[0] for split in ("test", "train")]
        judge = Judge(reference.float_model(), pictures[0], pictures[1][:DRAWN])
        found = drew(run, judge, folder)
    else:
        found = classified(run, task)
    rows = [{key: row[key] for key in row if key in ("epoch", "val_accuracy", "loss")} for row in run.metrics()]
    record = {"network": network, "kind": kind, "seed": seed, "recipe": run.recipe.name}
    record |= {"fingerprint": run.recipe.fingerprint(), "git_commit": run.record["git_commit"], "curve": rows}
    record |= {"data": task.data.info.statement, **found}
    write_json(folder / "measured.json", record)
    print(network, kind, seed, {key: found[key] for key in ("test_accuracy", "frechet", "after") if key in found})


def collect(work: Path) -> dict[str, Any]:
    """Return the table of all records."""
    records = [json.loads(path.read_text("utf-8")) for path in sorted(work.glob("*/measured.json"))]
    table: dict[str, Any] = {}
    for network in RECIPES:
        for kind in ("float", "device"):
            found = [record for record in records if (record["network"], record["kind"]) == (network, kind)]
            values = [record.get("test_accuracy", record.get("frechet")) for record in found]
            if values:
                table.setdefault(network, {})[kind] = {
                    "measure": "frechet" if network == "gan" else "test_accuracy",
                    "mean": statistics.mean(values),
                    "spread": statistics.stdev(values) if len(values) > 1 else None,
                    "seeds": {str(record["seed"]): value for record, value in zip(found, values, strict=True)},
                    "records": found,
                }
    return {"benchmark": "networks_on_device", "about": __doc__, "networks": table}


def draw_samples(work: Path, path: Path) -> None:
    """Draw pictures of the GANs of the first seed: float above, devices below."""
    files = [work / f"gan-{kind}-0" / "samples.npy" for kind in ("float", "device")]
    if not all(file.is_file() for file in files):
        return
    figure = new_figure(8, 4.4)
    for number, (file, title) in enumerate(zip(files, ("float training", "learned on devices"), strict=True), start=1):
        axes = figure.add_subplot(2, 1, number)
        pictures = np.load(file)[..., 0].reshape(4, 10, 28, 28)
        axes.imshow(pictures.transpose(0, 2, 1, 3).reshape(112, 280), cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
        axes.set_title(f"{title}: 40 drawn digits, none chosen", fontsize="small")
    saved(figure, path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--speech", type=Path, help="folder of Speech Commands")
    parser.add_argument("--mnist", type=Path, help="folder of mnist.npz; else where the loader looks by itself")
    parser.add_argument("--networks", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--kinds", nargs="+", choices=("float", "device"), default=["float", "device"])
    parser.add_argument("--set", nargs="*", default=[], help="overrides of the recipes, for trials")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--collect", action="store_true", help="train nothing, write the table of what is finished")
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    if not options.collect:
        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        for seed in options.seeds:
            for network in options.networks:
                for kind in options.kinds:
                    measure(network, kind, seed, options)
    write_json(options.result, collect(options.work))
    draw_samples(options.work, options.result.with_name(SAMPLES.name))
    print(f"wrote {options.result}")


if __name__ == "__main__":
    main()
