"""A pretrained transformer on the standard crossbar: MiniLM on SST-2 and MRPC, float and hardware-aware.

python -m benchmarks.glue_study --data DIR --weights model.safetensors --tokenizer tokenizer.json [--only sst2]

DIR holds SST-2/ and MRPC/ of GLUE; the two files come from a package or repository with the weights of all-MiniLM-L6-v2
(Apache-2.0). For each task and seed: one float training, the float network mapped directly, and hardware-aware
trainings from it. The one that three chips do best with on held-out training samples is measured on the official dev
file; so is the float network. All of it is resumable, and what is finished is not done again. `--candidates` without a
name leaves hardware-aware training out: the results are then of the float network and of direct mapping.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from analognets.core.files import file_sha256, write_json
from analognets.core.provenance import environment
from analognets.core.seeds import epoch_seed
from analognets.datasets.glue import GLUE_TASKS, GlueData, Sentences, load_glue
from analognets.deploy.evaluation import accuracy
from analognets.errors import RunError
from analognets.training import Progress, Recipe, Run, TrainingData, load_recipe, train
from analognets.zoo.networks.bert import minilm
from analognets.zoo.networks.bert_weights import load_bert_weights
from benchmarks._chips import Measure, directly_mapped, measure_missing, of_float, readings_of, summary

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
STEP, GROUP, PARTS = 8, 32, 4
"""Lengths of batches are multiples of so many tokens; so many batches are sorted by length together; into so many parts
of about one length samples are sorted for chips."""
PAPER = {
    "mrpc": {
        "bert_base": {
            "float": 14.60,
            "direct": {"1s": 21.77, "1h": 22.87, "1d": 23.39, "1y": 28.01},
            "trained": {"1s": 13.95, "1h": 14.15, "1d": 14.47, "1y": 15.40},
        },
        "albert_base": {
            "float": 15.08,
            "direct": {"1s": 32.00, "1h": 32.00, "1d": 31.25, "1y": 31.50},
            "trained": {"1s": 15.13, "1h": 15.42, "1d": 15.57, "1y": 16.33},
        },
    },
    "mean_of_eight_tasks": {
        "bert_base": {"float": 17.47, "trained": {"1s": 17.43, "1h": 17.55, "1d": 17.58, "1y": 17.99}},
        "albert_base": {"float": 19.46, "trained": {"1s": 20.52, "1h": 20.45, "1d": 21.08, "1y": 22.18}},
    },
}
"""Errors in per cent of tables 2 and 3 and of supplementary table 7 of arXiv 2302.08469; SST-2 has no own row."""


class Batches(keras.utils.PyDataset):
    """Samples in batches of one size, shuffled by a seed; what does not fill a batch is left out then.

    Shuffled batches hold samples of about the same length and end with the longest of them, in steps of `STEP` tokens;
    the first one is as long as the arrays and the second one the shortest of the others, by which Keras, which looks at
    two, sees that lengths vary.

    Args:
        samples: tokens and labels.
        batch_size: at least 1.
        seed: of the order; None keeps it, with a last batch that may be smaller, all as long as the arrays.
    """

    def __init__(self, samples: Sentences, batch_size: int, seed: int | None = None) -> None:
        super().__init__()
        self.samples, self.batch_size, self.shuffled = samples, batch_size, seed is not None
        self.lengths = (samples.tokens != 0).sum(axis=1)
        self.order = np.arange(len(samples.labels)) if seed is None else self._shuffled(seed)

    def _shuffled(self, seed: int) -> np.ndarray:
        """Return whole batches of samples: in order of length within groups of batches, then the batches shuffled."""
        random, size = np.random.default_rng(seed), self.batch_size
        order = random.permutation(len(self.lengths))
        order = order[: len(order) // size * size]
        groups = [order[first : first + GROUP * size] for first in range(0, len(order), GROUP * size)]
        rows = np.concatenate([one[np.argsort(self.lengths[one], kind="stable")] for one in groups] or [order])
        batches = random.permutation(rows.reshape(-1, size))
        if len(batches) > 1:
            shortest = 1 + int(self.lengths[batches[1:]].max(axis=1).argmin())
            batches[[1, shortest]] = batches[[shortest, 1]]
        return batches.ravel()

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        length = self.samples.tokens.shape[1]
        if self.shuffled and index > 0:
            length = min(length, padded_length(self.lengths[rows]))
        return self.samples.tokens[rows, :length], self.samples.labels[rows]

    def take(self, steps: int) -> Batches:
        """Return the batches of an epoch: all of them."""
        if steps != len(self):
            raise ValueError(f"An epoch has {len(self)} batches. Received: {steps}.")
        return self


def measure_by_length(
    analog: keras.Model, samples: Sentences, *, chips: int, times: Sequence[str], seed: int, first: int = 0
) -> list[dict[str, Any]]:
    """Return what `measure_chips` does, from parts of about one length: half of all tokens would be padding."""
    from analognets.deploy import program

    programmed = program(analog, chips, seed=seed, first=first)
    lengths = (samples.tokens != 0).sum(axis=1)
    found = []
    for part in np.array_split(np.argsort(lengths, kind="stable"), min(PARTS, len(lengths))):
        tokens = samples.tokens[part, : padded_length(lengths[part])]
        readings = readings_of(programmed.decide((tokens, samples.labels[part]), at=times))
        found.append([{**row, "wrong": part[row["wrong"]].tolist()} for row in readings])
    rows = [{**ones[0], "wrong": sorted(sum((one["wrong"] for one in ones), []))} for ones in zip(*found, strict=True)]
    return [{**row, "accuracy": 1 - len(row["wrong"]) / len(lengths)} for row in rows]


def padded_length(lengths: np.ndarray) -> int:
    """Return to how many tokens sentences are padded together."""
    return -(-int(lengths.max()) // STEP) * STEP


def outputs_of(net: keras.Model, samples: Sentences) -> np.ndarray:
    """Return the outputs of a network without devices."""
    return np.asarray(net.predict(Batches(samples, 256), verbose=0))


def predicted(net: keras.Model, samples: Sentences) -> float:
    """Return the accuracy of a network without devices."""
    return accuracy(samples.labels, outputs_of(net, samples))


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
        measure: Measure = measure_by_length,
    ) -> None:
        self.task, self.seed, self.root, self.data, self.pretrained = task, seed, root, data, pretrained
        self.measure = measure
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

    def calibration(self) -> np.ndarray:
        """Return the training samples that set the ranges of converters."""
        rows = np.random.default_rng(0).permutation(len(self.data.train.labels))[:CALIBRATION_SAMPLES]
        return self.data.train.tokens[np.sort(rows)]

    def training_data(self, recipe: Recipe) -> TrainingData:
        """Return what `train` takes."""

        def batches(epoch: int) -> Batches:
            return Batches(self.data.train, recipe.batch_size, epoch_seed(recipe.seed, recipe.name, epoch))

        return TrainingData(
            train_batches=batches,
            steps_per_epoch=len(batches(0)),
            validation=Batches(self.data.validation, 250),
            calibration=self.calibration(),
            info={"name": recipe.dataset.name, "samples": len(self.data.train.labels), "cut": self.data.cut},
        )

    def trained(self, name: str, recipe: Recipe, model: Callable[[], keras.Model]) -> Run:
        """Return a finished run, trained now where it is not."""
        folder = self.root / name
        run = Run.open(folder) if (folder / "run.json").exists() else Run.create(folder, recipe)
        if run.recipe.fingerprint() != recipe.fingerprint():
            raise RunError(
                f"'{folder}' must hold a run of the recipe given. Received: a run of another recipe. Name another "
                "folder with --runs."
            )
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

    def choose(self, names: Sequence[str]) -> str:
        """Train the candidates and return what held-out samples say is best."""
        scores: dict[str, float] = dict(self.record.get("validation", {}))
        for name in names:
            if name in scores:
                continue
            analog = self.candidate(name).analog_model()
            rows = self.measure(analog, self.data.validation, chips=CHOICE_CHIPS, times=CHOICE_TIMES, seed=CHOICE_SEED)
            scores[name] = float(np.mean([row["accuracy"] for row in rows]))
            self.keep(validation=scores)
            print(self.task, self.seed, name, "validation on chips", round(scores[name], 4), flush=True)
        return max(scores, key=lambda name: scores[name])

    def run(self, names: Sequence[str], *, chips: int) -> dict[str, Any]:
        """Do what is not done; the dev file is looked at last.

        Args:
            names: hardware-aware trainings to choose from; without any, only the float network is measured. A choice
                that was made once stays.
            chips: at least 1.
        """
        runs, dev = {"float": self.float_run()}, dict(self.record.get("dev", {}))
        networks = {"direct": lambda: directly_mapped(self.float_network(), self.recipe, self.calibration())}
        if "float_validation" not in self.record:
            self.keep(float_validation=predicted(self.float_network(), self.data.validation))
        if names:
            chosen = self.record.get("chosen") or self.choose(names)
            self.keep(chosen=chosen, overrides=CANDIDATES[chosen])
            runs["hardware_aware"] = self.candidate(chosen)
            networks["trained"] = runs["hardware_aware"].analog_model
            if "trained_without_devices" not in dev:
                dev["trained_without_devices"] = predicted(networks["trained"](), self.data.dev)
        if "float" not in dev:
            dev |= of_float(self.data.dev.labels, outputs_of(self.float_network(), self.data.dev))
        made = {name: {"recipe": one.recipe.to_dict(), "record": one.record} for name, one in runs.items()}
        self.keep(task=self.task, seed=self.seed, made=made, dev=dev)
        measure_missing(
            dev,
            networks,
            self.data.dev,
            lambda so_far: self.keep(dev=so_far, environment=environment()),
            chips=chips,
            times=self.recipe.evaluation.times,
            seed=self.recipe.evaluation.seed,
            measure=self.measure,
        )
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


def collect(runs: Path, chances: dict[str, float]) -> dict[str, Any]:
    """Return what is known of the tasks, with the normalised accuracies of each seed.

    Args:
        runs: folder of the studies.
        chances: by task, the share of wrong answers of a network that always says the commoner class.
    """
    found: dict[str, Any] = {}
    for task, chance in chances.items():
        for file in sorted(runs.glob(f"{task}/*/record.json")):
            record = json.loads(file.read_text("utf-8"))
            if "dev" in record:
                missing = [name for name in ("direct", "trained") if name not in record["dev"]]
                shown = {"chance_error": chance, **summary(record["dev"], chance), "not_measured_yet": missing}
                found.setdefault(task, []).append({**record, "summary": shown})
    return found


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--data", type=Path, required=True, help="folder with SST-2/ and MRPC/")
    made.add_argument("--weights", type=Path, required=True, help="model.safetensors")
    made.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json")
    made.add_argument("--runs", type=Path, default=Path("runs/glue"))
    made.add_argument("--results", type=Path, default=Path("results/glue.json"))
    made.add_argument("--only", nargs="+", choices=TASKS, default=TASKS, help="tasks to work on; the file holds all")
    made.add_argument(
        "--candidates",
        nargs="*",
        choices=CANDIDATES,
        default=list(CANDIDATES),
        help="hardware-aware trainings to choose from; none: only the float network",
    )
    made.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    made.add_argument("--chips", type=int, default=15)
    made.add_argument("--set", action="append", default=[], dest="overrides", help="override of the recipe, for trials")
    return made


def main() -> None:
    options = parser().parse_args()
    pretrained = functools.partial(load_bert_weights, path=options.weights)
    found = {task: load_glue(task, options.data, options.tokenizer) for task in TASKS}
    for task in options.only:
        for seed in options.seeds:
            root = options.runs / task / str(seed)
            Study(task, seed, root, found[task], pretrained, overrides=options.overrides).run(
                options.candidates, chips=options.chips
            )
    chances = {task: chance_error(data.dev) for task, data in found.items()}
    files = {"weights": file_sha256(options.weights), "tokenizer": file_sha256(options.tokenizer)}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.results, {"paper": PAPER, "sha256": files, "tasks": collect(options.runs, chances)})


def chance_error(samples: Sentences) -> float:
    """Return the share of wrong answers if always the commoner class is said."""
    shares = np.bincount(samples.labels) / len(samples.labels)
    return float(1 - shares.max())


if __name__ == "__main__":
    main()
