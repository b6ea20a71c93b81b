"""A pretrained transformer on the standard crossbar: MiniLM on SST-2 and MRPC, float and hardware-aware.

python -m benchmarks.glue_study --data DIR --weights model.safetensors --tokenizer tokenizer.json [--only sst2]

DIR holds SST-2/ and MRPC/ of GLUE; the two files come from a package or repository with the weights of all-MiniLM-L6-v2
(Apache-2.0). For each task and seed: one float training, the float network mapped directly, and hardware-aware
trainings from it. The one that three chips do best with on held-out training samples is measured on the official dev
file; so is the float network. All of it is resumable, and what is finished is not done again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from analognets.conversion import to_analog
from analognets.core.files import write_json
from analognets.core.provenance import environment
from analognets.core.seeds import epoch_seed
from analognets.datasets.glue import GLUE_TASKS, GlueData, Sentences, load_glue
from analognets.deploy.evaluation import accuracy
from analognets.layers import calibrate, freeze_weight_range
from analognets.metrics import normalized_accuracy
from analognets.training import Progress, Recipe, Run, TrainingData, load_recipe, train
from analognets.zoo.networks.bert import minilm
from analognets.zoo.networks.bert_weights import load_bert_weights

HERE = Path(__file__).parent
TASKS = tuple(GLUE_TASKS)
STAGE = "hardware_aware."
CANDIDATES: dict[str, list[str]] = {
    "recipe": [],
    "distilled": [f"{STAGE}distillation={{temperature: 2, soft_share: 0.75}}"],
    "faster": [f"{STAGE}learning_rate=3.0e-4"],
    "whole_range": [f"{STAGE}weight_range_sigma=null"],
}
"""Hardware-aware trainings that held-out samples choose from, by their overrides of the recipe."""
CHOICE_TIMES, CHOICE_CHIPS, CHOICE_SEED = ("1h", "1y"), 3, 1000
FROZEN = ("words", "positions", "segments")
"""Layers that keep their published weights: they are no products, and three quarters of all numbers."""
CALIBRATION_SAMPLES = 1000
Measure = Callable[..., list[dict[str, Any]]]


class Batches(keras.utils.PyDataset):
    """Samples in batches of one size, shuffled by a seed; what does not fill a batch is left out then.

    Args:
        samples: tokens and labels.
        batch_size: at least 1.
        seed: of the order; None keeps it, with a last batch that may be smaller.
    """

    def __init__(self, samples: Sentences, batch_size: int, seed: int | None = None) -> None:
        super().__init__()
        self.samples, self.batch_size, self.shuffled = samples, batch_size, seed is not None
        count = len(samples.labels)
        self.order = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)

    def __len__(self) -> int:
        count = len(self.order)
        return count // self.batch_size if self.shuffled else -(-count // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.samples.tokens[rows].astype(np.int32), self.samples.labels[rows].astype(np.int32)

    def take(self, steps: int) -> Batches:
        """Return the batches of an epoch: all of them."""
        if steps != len(self):
            raise ValueError(f"An epoch has {len(self)} batches. Received: {steps}.")
        return self


def measure_chips(
    analog: keras.Model, samples: Sentences, *, chips: int, times: Sequence[str], seed: int
) -> list[dict[str, Any]]:
    """Return chip, time and accuracy of every reading."""
    from analognets.deploy import program

    table = program(analog, chips, seed=seed).evaluate((samples.tokens.astype(np.int32), samples.labels), at=times)
    return json.loads(table[["chip", "at", "accuracy"]].to_json(orient="records"))  # type: ignore[no-any-return]


def predicted(net: keras.Model, samples: Sentences) -> float:
    """Return the accuracy of a network without devices."""
    outputs = net.predict(Batches(samples, 256), verbose=0)
    return accuracy(samples.labels, outputs)


class Study:
    """One task with one seed: its trainings, and what was measured.

    Args:
        task: "sst2" or "mrpc".
        seed: of the trainings.
        root: folder of its runs.
        data: tokens and labels.
        pretrained: fills a network's encoder with the published weights.
        overrides: of the recipe, for trials.
        measure: programs chips and reads them.
        deadline: `time.monotonic()` by which candidates have to be done; the first one is trained anyway.
    """

    def __init__(
        self,
        task: str,
        seed: int,
        root: Path,
        data: GlueData,
        pretrained: Callable[[keras.Model], None],
        *,
        overrides: Sequence[str] = (),
        measure: Measure = measure_chips,
        deadline: float = float("inf"),
    ) -> None:
        self.task, self.seed, self.root, self.data, self.pretrained = task, seed, root, data, pretrained
        self.measure, self.deadline = measure, deadline
        self.recipe = load_recipe(HERE / "glue" / f"{task}.yaml", [f"seed={seed}", *overrides])
        self.record_file = root / "record.json"
        self.record: dict[str, Any] = {}
        if self.record_file.exists():
            self.record = json.loads(self.record_file.read_text("utf-8"))

    def keep(self, **found: Any) -> None:
        """Add to the record on disk."""
        self.record |= found
        self.root.mkdir(parents=True, exist_ok=True)
        write_json(self.record_file, self.record)

    def network(self) -> keras.Model:
        """Return the network with its published weights."""
        keras.utils.set_random_seed(self.seed)
        net = minilm(**self.recipe.model.options)
        self.pretrained(net)
        for name in FROZEN:
            net.get_layer(name).trainable = False
        return net

    def training_data(self, recipe: Recipe) -> TrainingData:
        """Return what `train` takes."""

        def batches(epoch: int) -> Batches:
            return Batches(self.data.train, recipe.batch_size, epoch_seed(recipe.seed, recipe.name, epoch))

        rows = np.sort(np.random.default_rng(0).permutation(len(self.data.train.labels))[:CALIBRATION_SAMPLES])
        return TrainingData(
            train_batches=batches,
            steps_per_epoch=len(batches(0)),
            validation=Batches(self.data.validation, 250),
            calibration=self.data.train.tokens[rows].astype(np.int32),
            info={"name": recipe.dataset.name, "samples": len(self.data.train.labels)},
        )

    def trained(self, name: str, recipe: Recipe, model: Callable[[], keras.Model]) -> Run:
        """Return a finished run, trained now where it is not."""
        folder = self.root / name
        run = Run.open(folder) if (folder / "run.json").exists() else Run.create(folder, recipe)
        if not run.finished:
            train(run, model=model, data=self.training_data(recipe), progress=said(f"{self.task}/{self.seed}/{name}"))
        return run

    def float_run(self) -> Run:
        """Return the float training."""
        return self.trained("float", self.recipe.replace(["hardware_aware=null"]), self.network)

    def float_network(self) -> keras.Model:
        """Return the network after float training."""
        return self.float_run().float_model()

    def candidate(self, name: str) -> Run:
        """Return a hardware-aware training that starts from the float network."""
        return self.trained(name, self.recipe.replace(["float.epochs=0", *CANDIDATES[name]]), self.float_network)

    def directly_mapped(self) -> keras.Model:
        """Return the float network on the crossbar without training: scales from the largest weights of columns."""
        stage = self.recipe.hardware_aware
        if stage is None:
            raise ValueError("The recipe needs the stage `hardware_aware`, which names the hardware. Received: null.")
        analog = to_analog(self.float_network(), stage.hardware.crossbar())
        freeze_weight_range(analog, sigma=None)
        calibrate(analog, self.training_data(self.recipe).calibration, rule="abs_max")
        return analog

    def choose(self, names: Sequence[str]) -> str:
        """Train the candidates, as many as there is time for, and return what held-out samples say is best."""
        scores: dict[str, float] = dict(self.record.get("validation", {}))
        longest = 0.0
        for name in names:
            began = time.monotonic()
            if name in scores or (scores and began + 1.2 * longest > self.deadline):
                continue
            analog = self.candidate(name).analog_model()
            rows = self.measure(analog, self.data.validation, chips=CHOICE_CHIPS, times=CHOICE_TIMES, seed=CHOICE_SEED)
            scores[name] = float(np.mean([row["accuracy"] for row in rows]))
            self.keep(validation=scores)
            longest = max(longest, time.monotonic() - began)
            print(self.task, self.seed, name, "validation on chips", round(scores[name], 4), flush=True)
        return max(scores, key=lambda name: scores[name])

    def run(self, names: Sequence[str], *, chips: int) -> dict[str, Any]:
        """Do what is not done; the dev file is looked at last."""
        if "dev" in self.record:
            return self.record
        began = time.monotonic()
        net = self.float_network()
        self.keep(float_validation=predicted(net, self.data.validation), seed=self.seed, task=self.task)
        chosen = self.choose(names)
        self.keep(chosen=chosen, overrides=CANDIDATES[chosen])
        analog = self.candidate(chosen).analog_model()
        times = self.recipe.evaluation.times
        dev: dict[str, Any] = {"float": predicted(net, self.data.dev)}
        dev["hardware_aware"] = predicted(analog, self.data.dev)
        for name, model in (("direct", self.directly_mapped()), ("trained", analog)):
            dev[name] = self.measure(model, self.data.dev, chips=chips, times=times, seed=self.recipe.evaluation.seed)
            self.keep(unfinished_dev=dev)
        self.record.pop("unfinished_dev")
        self.keep(dev=dev, chips=chips, seconds=round(time.monotonic() - began), environment=environment())
        return self.record


def said(title: str) -> Callable[[Progress], None]:
    """Return a function that prints each epoch that ends."""

    def report(event: Progress) -> None:
        if event.kind == "epoch_end":
            numbers = (f"{name} {value:.4g}" for name, value in event.metrics.items() if isinstance(value, float))
            print(title, event.stage, f"epoch {event.epoch + 1} of {event.epochs}:", *numbers, flush=True)
        elif event.message:
            print(title, event.message, flush=True)

    return report


def summary(record: dict[str, Any], chance: float) -> dict[str, Any]:
    """Return the dev accuracies of a task and seed, with their normalised accuracy at each time.

    Args:
        record: of a `Study`.
        chance: share of wrong answers of a network that always says the commoner class.
    """
    dev = record["dev"]
    rows: dict[str, Any] = {}
    for name in ("direct", "trained"):
        times = list(dict.fromkeys(row["at"] for row in dev[name]))
        for at in times:
            values = np.array([row["accuracy"] for row in dev[name] if row["at"] == at])
            share = normalized_accuracy(1 - values.mean(), 1 - dev["float"], chance)
            rows.setdefault(name, {})[at] = {
                "mean": float(values.mean()),
                "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
                "normalized": float(share),
            }
    digital = {"float": dev["float"], "hardware_aware_without_devices": dev["hardware_aware"]}
    return {**digital, **rows, "chance_error": chance}


def collect(runs: Path, chances: dict[str, float]) -> dict[str, Any]:
    """Return the results of all that is finished."""
    found: dict[str, Any] = {}
    for task, chance in chances.items():
        for file in sorted(runs.glob(f"{task}/*/record.json")):
            record = json.loads(file.read_text("utf-8"))
            if "dev" in record:
                found.setdefault(task, []).append({**record, "summary": summary(record, chance)})
    return found


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--data", type=Path, required=True, help="folder with SST-2/ and MRPC/")
    made.add_argument("--weights", type=Path, required=True, help="model.safetensors")
    made.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json")
    made.add_argument("--runs", type=Path, default=Path("runs/glue"))
    made.add_argument("--results", type=Path, default=Path("results/glue.json"))
    made.add_argument("--only", default=",".join(TASKS), help="tasks, separated by commas")
    made.add_argument("--candidates", default=",".join(CANDIDATES), help="hardware-aware trainings to choose from")
    made.add_argument("--seeds", type=int, default=2)
    made.add_argument("--chips", type=int, default=15)
    made.add_argument("--set", action="append", default=[], dest="overrides", help="override of the recipe, for trials")
    return made


def main() -> None:
    options = parser().parse_args()
    chances = {}
    for task in options.only.split(","):
        data = load_glue(task, options.data, options.tokenizer)
        chances[task] = chance_error(data.dev)
        for seed in range(options.seeds):
            study = Study(
                task,
                seed,
                options.runs / task / str(seed),
                data,
                lambda net: load_bert_weights(net, options.weights),
                overrides=options.overrides,
            )
            study.run(options.candidates.split(","), chips=options.chips)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.results, collect(options.runs, chances))


def chance_error(samples: Sentences) -> float:
    """Return the share of wrong answers if always the commoner class is said."""
    shares = np.bincount(samples.labels) / len(samples.labels)
    return float(1 - shares.max())


if __name__ == "__main__":
    main()
