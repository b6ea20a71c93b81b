"""One candidate of a design, measured: accuracy after drift, predicted or of a few chips; in whatever process."""

from __future__ import annotations

import dataclasses
import functools
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from analognets.conversion import to_digital
from analognets.crossbar import Crossbar
from analognets.deploy.chips.chips import program
from analognets.deploy.evaluation import decisions
from analognets.deploy.studies.ageing.predict import predict_ageing
from analognets.deploy.studies.design.files import as_in_recipes
from analognets.deploy.studies.design.space import crossbars_of
from analognets.deploy.studies.explore_point import retrain, trained_on
from analognets.deploy.studies.other_hardware import on_hardware
from analognets.deploy.studies.samples import Samples, samples_of_arrays, samples_of_task
from analognets.deploy.studies.sensitivity.networks import open_calibrated
from analognets.deploy.studies.sweep import point_key
from analognets.errors import AgeingWarning, ConversionError, InvalidArgumentError
from analognets.layers import analog_layers
from analognets.training.recipe import HardwareAware
from analognets.zoo.tasks import Task
from analognets.zoo.trained import TrainedNetwork, open_trained

__all__ = [
    "CHECKS",
    "CHOSEN",
    "PREDICTED",
    "SIMULATED",
    "TASK",
    "Bench",
    "bench_of",
    "forget",
    "layers_of",
    "measure",
    "rights",
]

TASK = "analognets.deploy.studies.design.bench:measure"
PREDICTED, SIMULATED = "predicted", "chips"
CHECKS, CHOSEN = 12, 420
"""Chips that `predict_ageing` simulates for a candidate, and the samples of them."""
SHARED = ("network", "data", "data_options", "limit", "split")


def layers_of(model: keras.Model) -> dict[str, Crossbar | None]:
    """Return the crossbar of each analog layer by its name."""
    return {layer.name: layer.crossbar for layer in analog_layers(model)}


class Bench:
    """A network with samples to measure candidates on; a process makes it once.

    Args:
        place: of the network.
        settings: "data", "data_options", "limit", "split".
        arrays: path of the .npz file of inputs and labels, in place of a data set; or None.
    """

    def __init__(self, place: str, settings: Mapping[str, Any], arrays: str | None) -> None:
        self.trained = open_calibrated(place)
        self.model = self.trained.analog_model()
        self.layers = layers_of(self.model)
        self.settings = dict(settings)
        self.task: Task | None = None
        if arrays is None:
            self.task = _task(place, settings["data"], json.dumps(settings["data_options"], sort_keys=True))
            self.samples = samples_of_task(self.task, settings["split"], settings["limit"])
        else:
            self.samples = _half(self.trained, arrays, settings)
        self.digital = self._digital()
        truth, chosen, _ = decisions(self.samples.labels, self.digital)
        self.digital_accuracy = float(np.mean(chosen == truth))

    def _digital(self) -> Any:
        """Return the outputs of the digital network, called as it is: `predict` would trace a function a bench."""
        digital, inputs = to_digital(self.model), self.samples.inputs
        pieces = [
            np.asarray(digital(inputs[first : first + 250], training=False)) for first in range(0, len(inputs), 250)
        ]
        return np.concatenate(pieces)

    def calibration(self) -> Any:
        """Return inputs that converter ranges can be set on."""
        return self.samples.inputs if self.task is None else self.task.training.calibration

    def network(self, layers: Mapping[str, Crossbar | None], ranges: str) -> keras.Model:
        """Return the network on other hardware with its trained weights."""
        stage = (None if self.trained.recipe is None else self.trained.recipe.hardware_aware) or HardwareAware()
        data = self.calibration() if ranges == "calibrated" else None
        return on_hardware(self.model, layers, data, ranges=ranges, percentile=stage.calibration.percentile)[0]

    def retrained(self, layers: Mapping[str, Crossbar | None], epochs: int, folder: Path) -> tuple[keras.Model, str]:
        """Return the network after a short hardware-aware training on other hardware, and the name of its run.

        Args:
            layers: the crossbar of each, None for digital.
            epochs: of the training.
            folder: of such runs.

        Raises:
            ConversionError: there is no recipe to train by.
        """
        if self.task is None or self.trained.known_recipe().hardware_aware is None:
            raise ConversionError(
                "A design is fine-tuned by the recipe of its network, on a data set. Received: a network without one, "
                "or arrays. Leave the fine-tuning out."
            )
        folder.mkdir(parents=True, exist_ok=True)
        section = as_in_recipes(layers, folder)
        changes = {
            "float.epochs": 0,
            "hardware_aware.epochs": epochs,
            "hardware_aware.warmup_epochs": 0.0,
            "hardware_aware.hardware": section,
        }
        mark = {"network": self.settings["network"], "data": trained_on(self.trained, self.settings)}
        key = point_key({**changes, **mark})
        return retrain(self.trained, changes, folder / key, self.task), key

    def predicted(
        self, model: keras.Model, seconds: float, *, chips: int, seed: int
    ) -> tuple[dict[str, Any] | None, str]:
        """Return the predicted figures of a candidate; None and the reason where they are not confirmed.

        Args:
            model: the candidate.
            seconds: since programming.
            chips: those that it is measured on otherwise; a prediction need not be surer than these.
            seed: of the chips.
        """
        samples = self.samples
        data = (np.asarray(samples.inputs), np.asarray(samples.labels), np.asarray(samples.groups))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AgeingWarning)
                table = predict_ageing(
                    model, data, [seconds], samples=CHOSEN, check_chips=CHECKS, as_sure_as=max(2, chips), seed=seed
                )
            [row] = table.to_dict("records")
        except (ConversionError, InvalidArgumentError) as error:
            return None, str(error)
        if row["flag"]:
            return None, row["flag"]
        digital = self.digital_accuracy
        found = {"accuracy": row["mean"], "accuracy_std": row["std"], "loss": 100.0 * (digital - row["mean"])}
        found |= {"loss_low": None, "loss_high": None, "chips": 0, "right": None}
        return {**found, "digital_accuracy": digital}, ""

    def simulated(self, model: keras.Model, seconds: float, *, chips: int, seed: int) -> dict[str, Any]:
        """Return the figures of a candidate on a few chips, with its loss paired by sample."""
        samples = self.samples
        decided = program(model, chips=chips, seed=seed).decide((samples.inputs, samples.labels), at=seconds)
        right = {"digital": decided.right(self.digital, samples.labels)}
        row = decided.summary(right, groups=samples.groups).to_dict("records")[0]
        return {
            "accuracy": float(row["mean"]),
            "accuracy_std": _number(row["std"]) or 0.0,
            "loss": float(row["digital_loss"]),
            "loss_low": _number(row["digital_loss_low"]),
            "loss_high": _number(row["digital_loss_high"]),
            "chips": chips,
            "right": np.packbits(decided.chosen == decided.truth).tobytes(),
            "digital_accuracy": float(row["digital_accuracy"]),
        }


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)


def rights(row: Mapping[str, Any], samples: int) -> np.ndarray:
    """Return which samples each chip of a measured row is right about, (chips, decisions).

    Args:
        row: of `measure`, on chips.
        samples: how many decisions there are.
    """
    bits = np.unpackbits(np.frombuffer(row["right"], np.uint8))
    return bits[: int(row["chips"]) * samples].reshape(int(row["chips"]), samples)


def _half(trained: TrainedNetwork, arrays: str, settings: Mapping[str, Any]) -> Samples:
    """Return one half of the samples in a file: every other one to search and confirm with, the rest to report on."""
    whole = samples_of_arrays(trained.model, arrays)
    first = 0 if settings["split"] == "validation" else 1
    chosen = np.arange(len(whole))[first::2]
    if settings["limit"] is not None:
        chosen = chosen[np.linspace(0, len(chosen) - 1, min(settings["limit"], len(chosen))).astype(int)]
    kind = "samples to search with" if first == 0 else "samples to report on"
    return dataclasses.replace(whole.select(chosen), kind=kind)


@functools.lru_cache(maxsize=1)
def _task(place: str, data: str | None, options: str) -> Task:
    return open_trained(place, wants=("recipe",)).task(data, options=json.loads(options))


@functools.lru_cache(maxsize=3)  # to search, to confirm and to report
def _bench(place: str, settings: str, arrays: str | None) -> Bench:
    return Bench(place, json.loads(settings), arrays)


def forget() -> None:
    """Forget the benches of this process: files and folders may hold others by now."""
    _task.cache_clear()
    _bench.cache_clear()


def bench_of(settings: Mapping[str, Any]) -> Bench:
    """Return the bench of a study; a process makes it once."""
    wanted = json.dumps({name: settings.get(name) for name in SHARED}, sort_keys=True)
    return _bench(settings["source"], wanted, settings["arrays"])


def measure(settings: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    """Return accuracy and loss of a network on one candidate after drift; a task of `sweep`."""
    bench = bench_of(settings)
    layers = crossbars_of(bench.layers, point["layers"])
    run = None
    if point["epochs"]:
        model, run = bench.retrained(layers, point["epochs"], Path(settings["retrained"]))
    else:
        model = bench.network(layers, settings["ranges"])
    found, flag = None, ""
    if point["inner"] == PREDICTED:
        found, flag = bench.predicted(model, settings["seconds"], chips=settings["chips"], seed=settings["seed"])
    method = SIMULATED if found is None else PREDICTED
    if found is None:
        found = bench.simulated(model, settings["seconds"], chips=settings["chips"], seed=settings["seed"])
    return {"method": method, "flag": flag, "samples": len(bench.samples), "run": run, **found}
