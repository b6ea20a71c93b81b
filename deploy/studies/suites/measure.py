"""What is measured of a suite's member: its files, its int8 version, its cost, and accuracy on chips as they age."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from analognets import crossbar
from analognets.conversion import load_model, plan, to_analog
from analognets.deploy.accelerator.costs import cost
from analognets.deploy.chips.chips import program
from analognets.deploy.evaluation import decisions
from analognets.deploy.export.litert_file import read_litert
from analognets.deploy.export.litert_runtime import Interpreter
from analognets.deploy.export.tflm_runtime import arena_size
from analognets.deploy.studies.suites.figures import RANGES
from analognets.deploy.studies.suites.suite import Member, Suite, find_suite
from analognets.errors import DataError
from analognets.layers import calibrate, freeze_weight_range
from analognets.metrics import mean_interval
from analognets.training.recipe import Recipe
from analognets.training.run import Run
from analognets.zoo.tasks import Task, build_model, evenly, find_recipe, prepare

__all__ = ["KINDS", "Loaded", "loaded", "measure", "recipe_of"]

QUICK = ("hardware_aware.epochs=1", "sampling.steps=10")
"""Changes of a recipe that make a training one of seconds, whose figures say nothing."""
CALIBRATION = 1000
"""Most training samples that set the converter ranges and batch-norm statistics."""

Row = dict[str, Any]


def recipe_of(suite: Suite, member: Member, bits: int, *, model: str | None, seed: int, quick: bool) -> Recipe:
    """Return the recipe that fine-tunes a member for converters of so many bits.

    Args:
        suite: of the member.
        member: with a recipe.
        bits: of the converters.
        model: path of its float network; None: where the recipe looks for it.
        seed: of everything random.
        quick: a training of seconds.
    """
    changes = [f"hardware_aware.hardware.preset={suite.hardware.format(bits=bits)}", f"seed={seed}"]
    recipe = find_recipe(str(member.recipe), [*changes, *member.overrides.get(bits, ())])
    if model is not None:
        recipe = recipe.replace({f"model.options.{member.weights}": model})
    return recipe.replace(QUICK) if quick else recipe


@dataclasses.dataclass(frozen=True, eq=False)
class Loaded:
    """A member's data; two are equal if they are one.

    Args:
        task: of its recipe.
        inputs: features of the test samples.
        labels: theirs.
        speakers: theirs, "" where none is known.
    """

    task: Task
    inputs: Any
    labels: Any
    speakers: tuple[str, ...]

    def facts(self, stand_in: str) -> Row:
        """Return what a figure on these data was measured on, in words."""
        info = self.task.data.info
        said = f"{len(self.labels)} test {self.task.samples} of {info.name}"
        return {
            "samples": len(self.labels),
            "measured_on": f"{said}{', a part of them spread evenly' if self.partly else ''}",
            "statement": " ".join(text for text in (info.statement, stand_in) if text),
            "synthetic": bool(info.synthetic),
        }

    def accuracy(self, outputs: Any) -> Row:
        """Return the accuracy of a digital network, with the ends of its 95 % interval over samples by speaker."""
        truth, chosen, _ = decisions(self.labels, outputs)
        found = mean_interval((chosen == truth).astype(float), self.speakers)
        return {"accuracy": found.mean, "accuracy_low": number(found.low), "accuracy_high": number(found.high)}

    @property
    def partly(self) -> bool:
        """Whether only some of the test samples are taken."""
        return len(self.labels) < len(self.task.data.splits["test"])

    @property
    def calibration(self) -> Any:
        """Training features that set converter ranges, and batch-norm statistics on each chip."""
        return self.task.training.calibration[:CALIBRATION]


@functools.lru_cache(maxsize=1)
def loaded(suite: str, key: str, folder: str, limit: int | None, seed: int) -> Loaded:
    """Return a member's data, those of the member before forgotten.

    Raises:
        DataError: they can't be read.
    """
    found = find_suite(suite)
    recipe = recipe_of(found, found.member(key), 8, model=None, seed=seed, quick=False)
    task = prepare(recipe, data_dir=folder)
    inputs, labels = task.features("test", limit)
    split = task.data.splits["test"]
    chosen = evenly(len(split), limit)
    speakers = tuple(split.speakers) or ("",) * len(split)
    return Loaded(task, inputs, labels, speakers if chosen is None else tuple(speakers[i] for i in chosen))


def forget() -> None:
    """Forget the data and outputs of this process: files and folders may hold others by now."""
    loaded.cache_clear()
    float_outputs.cache_clear()


def measure(settings: dict[str, Any], point: dict[str, Any]) -> Row:
    """Measure one point of a suite; a task of `sweep`.

    Args:
        settings: suite, limit, chips, times, seed; from the context files (paths by name) and runs (folder of the
            trainings).
        point: member, kind (one of `KINDS`), bits, the sha256 of what is measured, and the folder of data or None.
    """
    suite = find_suite(settings["suite"])
    return KINDS[point["kind"]](settings, suite, suite.member(point["member"]), point)


def data_of(settings: dict[str, Any], member: Member, point: dict[str, Any]) -> Loaded | None:
    if point["data"] is None or member.recipe is None:
        return None
    return loaded(settings["suite"], member.key, point["data"], settings["limit"], settings["seed"])


@functools.lru_cache(maxsize=1)
def float_outputs(path: str, data: Loaded) -> Any:
    """Return the outputs of a published float network on a member's test samples."""
    return load_model(path).predict(data.inputs, batch_size=250, verbose=0)


def network_of(settings: dict[str, Any], suite: Suite, member: Member, bits: int = 8) -> tuple[keras.Model, list[str]]:
    """Return a member's network with its published weights, as it is mapped, and the layers that stay digital.

    With a recipe both are the recipe's. Else it is the published file, without its depthwise layers, of whose cells a
    crossbar wastes nearly all.
    """
    path = settings["files"][member.model]
    model = load_model(path)
    if member.recipe is None:
        return model, [layer.name for layer in model.layers if "Depthwise" in type(layer).__name__]
    recipe = recipe_of(suite, member, bits, model=path, seed=settings["seed"], quick=False)
    stage = recipe.hardware_aware
    made = build_model(recipe, classes=int(model.output_shape[-1]), input_shape=tuple(model.input_shape[1:]))
    return made, [] if stage is None else list(stage.exempt)


def published(settings: dict[str, Any], suite: Suite, member: Member, point: dict[str, Any]) -> Row:
    """Return what the float network is, what its conversion leaves digital, and its accuracy on the data at hand."""
    model, exempt = network_of(settings, suite, member)
    report = plan(model, suite.hardware.format(bits=8), exempt=exempt)
    products = [layer for layer in report.layers if layer.product]
    left = [layer for layer in products if not layer.converted]
    row = {
        "official_file": suite.official(Path(settings["files"][member.model])),
        "parameters": int(model.count_params()),
        "weights": sum(layer.size for layer in products),
        "macs": sum(layer.macs or 0 for layer in products),
        "analog_weights": sum(layer.size for layer in products if layer.converted),
        "left_digital": ", ".join(f"{count} {kind}" for kind, count in Counter(one.kind for one in left).items()),
        "conversion": report.summary,
    }
    data = data_of(settings, member, point)
    if data is None:
        return {**row, "accuracy": None}
    outputs = float_outputs(settings["files"][member.model], data)
    return {**row, **data.accuracy(outputs), **data.facts(member.stand_in)}


def int8(settings: dict[str, Any], suite: Suite, member: Member, point: dict[str, Any]) -> Row:
    """Return the facts and the accuracy of the published int8 file, with LiteRT's kernels."""
    path = settings["files"][str(member.int8)]
    facts = read_litert(path)
    row = {"file_bytes": facts.size, "official_file": suite.official(Path(path))}
    data = data_of(settings, member, point)
    if data is None:
        return {**row, "accuracy": None}
    runner = Interpreter(path, kernels="builtin")
    return {**row, **data.accuracy(runner.predict(data.inputs)), **data.facts(member.stand_in)}


def arena(settings: dict[str, Any], suite: Suite, member: Member, point: dict[str, Any]) -> Row:
    """Return the arena that TensorFlow Lite for Microcontrollers needs for the published int8 file."""
    return {"arena_bytes": arena_size(settings["files"][str(member.int8)])}


def chip(settings: dict[str, Any], suite: Suite, member: Member, point: dict[str, Any]) -> Row:
    """Return what an inference costs on the accelerator."""
    model, exempt = network_of(settings, suite, member, point["bits"])
    analog = to_analog(model, suite.hardware.format(bits=point["bits"]), exempt=exempt)
    found = cost(analog, suite.accelerator, bits=point["bits"])
    names = ("energy_uj", "inferences_per_second", "latency_us", "tops_per_watt", "utilisation")
    known = found.ranges()
    ranges = {end: known[end] for ends in RANGES.values() for end in ends}
    return {**{name: float(getattr(found, name)) for name in names}, **ranges, "arrays": found.placement.arrays}


def direct(settings: dict[str, Any], suite: Suite, member: Member, point: dict[str, Any]) -> Row:
    """Return accuracy over time of the published weights as they are: W_max = max |W|, ranges set on data."""
    data = needed(settings, member, point)
    model, exempt = network_of(settings, suite, member, point["bits"])
    hardware = crossbar.get(suite.hardware.format(bits=point["bits"]))
    analog = to_analog(model, hardware, exempt=exempt)
    freeze_weight_range(analog, sigma=None)
    calibrate(analog, data.calibration)
    return aged(settings, member, analog, data)


def finetuned(settings: dict[str, Any], suite: Suite, member: Member, point: dict[str, Any]) -> Row:
    """Return accuracy over time of the network that a recipe has trained from the published weights."""
    run = Run.open(Path(settings["runs"]) / f"{member.key}_{point['bits']}bit")
    data, stage = needed(settings, member, point), run.recipe.hardware_aware
    row = aged(settings, member, run.analog_model(), data)
    return {**row, "epochs": 0 if stage is None else stage.epochs, "recipe": run.recipe.name}


def needed(settings: dict[str, Any], member: Member, point: dict[str, Any]) -> Loaded:
    data = data_of(settings, member, point)
    if data is None:
        raise DataError(f"There are no data of '{member.key}'. Name their folder with --data.")
    return data


def aged(settings: dict[str, Any], member: Member, analog: keras.Model, data: Loaded) -> Row:
    """Return accuracies on chips at each time, plain and with batch-norm statistics set anew, and their intervals.

    Losses are those to the published float network.
    """
    chips = program(analog, chips=settings["chips"], seed=settings["seed"])
    outputs = float_outputs(settings["files"][member.model], data)
    row: Row = {"chips": settings["chips"]}
    for name, calibration in (("", None), ("adabs_", data.calibration)):
        if calibration is not None and not has_batch_norm(analog):
            continue
        how = {"at": settings["times"], "batch_norm_calibration": calibration}
        decided = chips.decide((data.inputs, data.labels), **how)
        references = {"float": decided.right(outputs, data.labels)}
        for found in decided.summary(references, groups=data.speakers).to_dict("records"):
            values = {key: found[key] for key in ("mean", "low", "high", "std", "loss", "loss_low", "loss_high")}
            row |= {f"{name}{key}_{found['at']}": number(value) for key, value in values.items()}
    return {**row, **data.facts(member.stand_in)}


def has_batch_norm(model: keras.Model) -> bool:
    return any(isinstance(layer, keras.layers.BatchNormalization) for layer in model._flatten_layers())


def number(value: Any) -> float | None:
    return None if value != value else float(value)


KINDS: dict[str, Callable[[dict[str, Any], Suite, Member, dict[str, Any]], Row]] = {
    "published": published,
    "int8": int8,
    "arena": arena,
    "chip": chip,
    "direct": direct,
    "finetuned": finetuned,
}
"""What can be measured; "chip", "direct" and "finetuned" at so many bits."""
