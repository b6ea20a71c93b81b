"""The stdp-mnist experiment: handwritten digits learned without labels, by the timing of spikes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from analognets.core.files import read_json, write_atomically, write_json
from analognets.core.provenance import git_commit
from analognets.devices import get as get_device
from analognets.errors import RecipeError, RunError
from analognets.spiking.labels import NeuronLabels
from analognets.spiking.winner_take_all import WinnerTakeAll, WinnerTakeAllRules
from analognets.synapses.rows import FloatRows, MemristorRows, Rows
from analognets.zoo.experiments.spiking_recipe import DigitsRecipe, DigitsRun

__all__ = ["DigitsTask", "prepare_digits", "train_digits"]

Report = Callable[[int, dict[str, Any]], None]
CLASSES = 10
ONLINE, KEPT = "online.json", 3
"""File beside the checkpoints with what the neurons stand for, of so many blocks."""
LABEL, TEST, LEARN = "label", "test", "learn"
"""Streams of random draws: what is shown for labels or for the test never shares draws with learning."""


@dataclasses.dataclass(frozen=True)
class DigitsTask:
    """A recipe with its objects.

    Args:
        recipe: what it was made from.
        layer: the winner-take-all layer.
        train: pictures (n, 784), 0 to 1, and their labels; learning sees the pictures only.
        test: the same, for the final classification only.
        info: of the data set.
    """

    recipe: DigitsRecipe
    layer: WinnerTakeAll
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    info: Any

    @property
    def total(self) -> int:
        """How many pictures the training shows."""
        return self.recipe.epochs * len(self.train[1])

    def data_record(self) -> dict[str, Any]:
        """Return what run.json says about the data."""
        sizes = {"train": len(self.train[1]), "label": self.label_count, "test": len(self.test[1])}
        return {"name": self.info.name, "statement": self.info.statement, "clips": sizes, "classes": list("0123456789")}

    @property
    def label_count(self) -> int:
        """How many training pictures the neurons' labels come from."""
        return min(self.recipe.label_pictures, len(self.train[1]))


def _flat(split: Any, most: int | None) -> tuple[np.ndarray, np.ndarray]:
    pictures, labels = np.asarray(split.inputs[:most]), np.asarray(split.labels[:most])
    return (pictures.reshape(len(pictures), -1) / 255).astype("float32"), labels.astype("int64")


def make_rows(recipe: DigitsRecipe, inputs: int) -> Rows:
    """Return the synapses of a recipe.

    Raises:
        RecipeError: an option does not exist.
    """
    shape, options = (recipe.neurons, inputs), dict(recipe.device)
    if recipe.kind == "memristor":
        device = get_device("cu_sio2_memristor", **options)
        return MemristorRows(shape, device=device, seed=recipe.seed)  # type: ignore[arg-type]
    try:
        return FloatRows(shape, seed=recipe.seed, **options)  # type: ignore[arg-type]
    except TypeError as error:
        raise RecipeError(f"An option of `device` does not exist: {error}.") from error


def prepare_digits(recipe: DigitsRecipe, *, data: Any = None, data_dir: Any = None) -> DigitsTask:
    """Load MNIST and make the layer.

    Args:
        recipe: of the experiment.
        data: a `TaskData` of pictures in place of MNIST, for tests.
        data_dir: where MNIST lies; None: where its loader looks by itself.

    Raises:
        DataError: the data can't be read.
        RecipeError: an option does not exist.
    """
    if data is None:
        from analognets.datasets.registry import load_dataset

        data = load_dataset("mnist", data_dir)
    try:
        rules = WinnerTakeAllRules(**recipe.rules)  # type: ignore[arg-type]
    except TypeError as error:
        raise RecipeError(f"An option of `rules` does not exist: {error}.") from error
    train, test = _flat(data.train, recipe.train_pictures), _flat(data.test, recipe.test_pictures)
    rows = make_rows(recipe, train[0].shape[1])
    return DigitsTask(recipe, WinnerTakeAll(rows, rules, seed=recipe.seed), train, test, data.info)


def train_digits(run: DigitsRun, task: DigitsTask, report: Report | None = None) -> dict[str, Any]:
    """Train in a run folder, from its last checkpoint on, classify the test pictures, and write results and figures.

    Args:
        run: the folder; unfinished.
        task: from `prepare_digits` with the run's recipe.
        report: called with (pictures shown, metrics) after each block.

    Returns:
        What stands in results/digits.json.

    Raises:
        RunError: the run is finished, in use, or was started with other data.
    """
    layer = task.layer
    pictures, labels = task.train
    with run.session(task.data_record()):
        checkpoints, rows, shown = run.checkpoints, [], 0
        last = checkpoints.latest()
        if last is not None:
            checkpoints.restore(last.now, layer.variables)
            layer.restore()
            rows, shown = run.metrics()[: last.rows], last.epoch
        known = _stored_labels(run, shown)
        while shown < task.total:
            part = _block(task, shown)
            started = time.perf_counter()
            counts = layer.present(pictures[part], first=shown, stream=LEARN, learn=True)
            seconds = time.perf_counter() - started
            shown += len(part)
            row = {"stage": "stdp", "epoch": shown, "pictures": shown, "seconds": seconds}
            row["spikes_per_picture"] = float(counts.sum(axis=1).mean())
            row["online_accuracy"] = None if known is None else float(np.mean(known.classify(counts) == labels[part]))
            known = _labels_of(counts, labels[part])
            rows.append(row)
            layer.store()
            run.write_metrics(rows)
            _store_labels(run, shown, known)
            checkpoints.save(layer.variables, stage="stdp", epoch=shown, rows=len(rows))
            if report is not None:
                report(shown, row)
        result = evaluate_digits(task, rows)
        write_results(run, task, result)
    return result


def _block(task: DigitsTask, shown: int) -> np.ndarray:
    """Return the next training pictures: each epoch in an order of its own, and no block across two epochs."""
    size = len(task.train[1])
    epoch, place = divmod(shown, size)
    order = np.random.default_rng([task.recipe.seed, 17, epoch]).permutation(size)
    return order[place : place + task.recipe.block]


def _labels_of(counts: np.ndarray, labels: np.ndarray) -> NeuronLabels | None:
    """Return what the neurons stand for by a block; by it the next one is judged while it is learned."""
    return NeuronLabels.assign(counts, labels, CLASSES) if len({*labels.tolist()}) == CLASSES else None


def _store_labels(run: DigitsRun, shown: int, known: NeuronLabels | None) -> None:
    """Write down the labels of a block before its checkpoint, so that a run that goes on judges the next one alike."""
    path = run.checkpoints.folder / ONLINE
    path.parent.mkdir(exist_ok=True)
    latest = {str(shown): None if known is None else known.classes.tolist(), **_read_labels(path)}
    write_json(path, {key: latest[key] for key in sorted(latest, key=int)[-KEPT:]})


def _stored_labels(run: DigitsRun, shown: int) -> NeuronLabels | None:
    classes = _read_labels(run.checkpoints.folder / ONLINE).get(str(shown))
    if classes is None or len(classes) != run.recipe.neurons:
        return None
    return NeuronLabels((np.arange(CLASSES)[:, None] == np.asarray(classes)).astype(np.float64))


def _read_labels(path: Path) -> dict[str, list[int] | None]:
    """Return the classes of the neurons by the number of pictures shown; none from a file that is not there or odd."""
    with contextlib.suppress(RunError):
        found = read_json(path, "file of labels") if os.path.exists(path) else {}
        plain = isinstance(found, dict) and all(key.isdecimal() for key in found)
        if plain and all(one is None or _are_classes(one) for one in found.values()):
            return found
    return {}


def _are_classes(found: Any) -> bool:
    return isinstance(found, list) and all(type(one) is int and -1 <= one < CLASSES for one in found)


def evaluate_digits(task: DigitsTask, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the record of a trained layer: labels from training pictures, then the test pictures, without learning."""
    layer, recipe, count = task.layer, task.recipe, task.label_count
    shown = layer.present(task.train[0][:count], stream=LABEL)
    labels = NeuronLabels.assign(shown, task.train[1][:count], CLASSES)
    started = time.perf_counter()
    counts = layer.present(task.test[0], stream=TEST)
    seconds = time.perf_counter() - started
    truth = task.test[1]
    confusion = np.zeros((CLASSES, CLASSES), int)
    found = labels.classify(counts)
    recognised = found >= 0
    np.add.at(confusion, (truth[recognised], found[recognised]), 1)
    learning = sum(row["seconds"] for row in rows)
    return {
        "experiment": "stdp-mnist",
        "recipe": recipe.to_dict(),
        "git_commit": git_commit(),
        "data": task.data_record(),
        "test_accuracy": float(np.mean(found == truth)),
        "test_accuracy_weighted": float(np.mean(labels.classify(counts, "weighted") == truth)),
        "test_pictures": len(truth),
        "silent_test_pictures": int((counts.sum(axis=1) == 0).sum()),
        "neurons_of_class": np.bincount(labels.classes[labels.classes >= 0], minlength=CLASSES).tolist(),
        "neuron_classes": labels.classes.tolist(),
        "confusion": confusion.tolist(),
        "not_recognised": np.bincount(truth[~recognised], minlength=CLASSES).tolist(),
        "training_seconds": learning,
        "training_pictures_per_second": task.total / learning,
        "test_pictures_per_second": len(truth) / seconds,
        "curve": rows,
    }


def write_results(run: DigitsRun, task: DigitsTask, result: dict[str, Any]) -> None:
    """Write results/: digits.json, the confusion table and the figures."""
    import pandas as pd

    from analognets.spiking import figures

    folder = run.results
    write_json(folder / "digits.json", result)
    table = pd.DataFrame(result["confusion"], index=pd.Index(range(CLASSES), name="digit"))
    table = table.assign(none=result["not_recognised"]) if any(result["not_recognised"]) else table
    write_atomically(folder / "confusion.csv", table.to_csv())
    side = int(np.sqrt(task.layer.inputs))
    classes = np.array(result["neuron_classes"])
    figures.receptive_fields_figure(
        task.layer.rows.weights, (side, side), folder / "receptive_fields.png", labels=classes
    )
    curve = pd.DataFrame(result["curve"])
    figures.progress_figure(curve, ["online_accuracy"], folder / "curve.png", label=lambda _: "while learning")
