"""One point of an exploration: a network on one kind of chip, programmed, aged and measured; in whatever process."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analognets.crossbar import Crossbar
from analognets.deploy.studies.other_hardware import hardware_with, trained_on_hardware
from analognets.deploy.studies.samples import MEASURED_ON, arrays_mark
from analognets.deploy.studies.sweep import point_key
from analognets.metrics import chips_bound, chips_interval
from analognets.zoo.tasks import Task
from analognets.zoo.trained import TrainedNetwork, open_trained

__all__ = ["data_mark", "forget_data", "load_data", "measure", "retrain", "trained_on"]


def measure(settings: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    """Return accuracy after programming and drift of one network on one kind of chip; a task of `sweep`."""
    from analognets.conversion import to_digital
    from analognets.deploy.chips.chips import program
    from analognets.deploy.evaluation import accuracy

    trained = open_trained(point["source"], wants=("analog", "recipe"))
    task, (inputs, labels) = load_data(trained, settings)
    hardware = hardware_with(trained.model, point["bits"], rows=point["rows"], cols=point["cols"])
    if point["clip"] is None and point["eta"] is None:
        model, ranges = trained_on_hardware(trained, hardware, task, ranges=settings.get("ranges", "calibrated"))
        weights = "as trained"
    else:
        model, ranges = retrained(trained, hardware, point, settings, task), "trained"
        weights = f"retrained {point['retrain_epochs']} epoch{'s' if point['retrain_epochs'] > 1 else ''}"
    table = program(model, chips=settings["chips"], seed=settings["seed"]).evaluate(
        (inputs, labels), at=settings["seconds"]
    )
    mean, bound = chips_interval(table["accuracy"]), chips_bound(table["accuracy"])
    digital = to_digital(model)
    # Called as it is: `predict` would trace a function a point, and warn of it.
    pieces = [np.asarray(digital(inputs[first : first + 250], training=False)) for first in range(0, len(inputs), 250)]
    return {
        "accuracy": float(table["accuracy"].mean()),
        "accuracy_std": float(table["accuracy"].std(ddof=1)) if len(table) > 1 else 0.0,
        "chips": len(table),
        "samples": len(labels),
        MEASURED_ON: data_mark(trained, settings),
        "digital_accuracy": accuracy(labels, np.concatenate(pieces)),
        "weights": weights,
        "ranges": ranges,
        "accuracy_low": _number(mean.low),
        "accuracy_high": _number(mean.high),
        "bound": _number(bound.value),
        "bound_share": _number(bound.share),
    }


def _number(value: float) -> float | None:
    return None if value != value else value


def load_data(trained: TrainedNetwork, settings: Mapping[str, Any]) -> tuple[Task, tuple[Any, Any]]:
    """Return the task of a network, and the features and labels to test it on; a process loads them once.

    Args:
        trained: with a recipe.
        settings: "data" and "data_options", as of `TrainedNetwork.task`, and "limit", the most samples.
    """
    return _loaded(trained, settings)[:2]


def data_mark(trained: TrainedNetwork, settings: Mapping[str, Any]) -> str:
    """Return a hash of the raw samples of `load_data`, which is the same on every machine."""
    return _loaded(trained, settings)[2]


def forget_data() -> None:
    """Forget what `load_data` has loaded in this process: the folder may hold other data by now."""
    _load_data.cache_clear()


def _loaded(trained: TrainedNetwork, settings: Mapping[str, Any]) -> tuple[Task, tuple[Any, Any], str]:
    wanted = json.dumps([settings["data"], settings["data_options"], settings["limit"]], sort_keys=True)
    return _load_data(str(trained.handle), trained.known_recipe().fingerprint(), wanted)


@functools.lru_cache(maxsize=2)
def _load_data(handle: str, fingerprint: str, wanted: str) -> tuple[Task, tuple[Any, Any], str]:
    data, options, limit = json.loads(wanted)
    task = open_trained(handle, wants=("recipe",)).task(data, options=options)
    split = task.data.splits["test"]
    mark = arrays_mark(split.inputs, split.labels, json.dumps([list(split.names), limit]))
    return task, task.features("test", limit), mark


def retrained(
    trained: TrainedNetwork, hardware: Crossbar, point: Mapping[str, Any], settings: Mapping[str, Any], task: Task
) -> Any:
    """Return the network after a short stage 2 with other clipping or noise; an interrupted one goes on."""
    changes: dict[str, Any] = {"float.epochs": 0, "hardware_aware.epochs": point["retrain_epochs"]}
    changes["hardware_aware.warmup_epochs"] = 0.0
    for key in ("rows", "cols", "dac_bits", "adc_bits"):
        value = getattr(hardware, key)
        changes[f"hardware_aware.hardware.{key}"] = "ideal" if value is None else value
    if point["clip"] is not None:
        changes["hardware_aware.weight_range_sigma"] = point["clip"]
    if point["eta"] is not None:
        changes["hardware_aware.weight_noise"] = point["eta"]
    key = point_key({**point, "data": trained_on(trained, settings)})
    return retrain(trained, changes, Path(settings["retrained"]) / key, task)


def trained_on(trained: TrainedNetwork, settings: Mapping[str, Any]) -> list[Any]:
    """Return what tells the data of a retraining from others."""
    return [settings["data"], settings["data_options"], trained.data.get("folder")]


def retrain(trained: TrainedNetwork, changes: Mapping[str, Any], path: Path, task: Task) -> Any:
    """Return the analog network after a training from a network's weights; one that is there is taken or goes on.

    Args:
        trained: whose weights it begins with.
        changes: of the task's recipe.
        path: folder of its run.
        task: its data.
    """
    from analognets.training import Run, train

    recipe = task.recipe.replace(dict(changes))
    if os.path.isfile(path / "run.json"):
        run = Run.open(path)
        if run.finished and run.recipe.fingerprint() == recipe.fingerprint():
            return run.analog_model()
    run = Run.create(path, recipe, overwrite=os.path.isfile(path / "run.json") and Run.open(path).finished)
    return train(run, model=trained.digital_model(), data=task.training).analog_model
