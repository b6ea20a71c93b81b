"""What all sensitivity studies share: points of network, hardware and chip, measured by the sweep engine."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analognets.core.files import write_atomically
from analognets.crossbar import Crossbar
from analognets.deploy.studies.explore_point import data_mark, forget_data
from analognets.deploy.studies.samples import MEASURED_ON, on_one_data_set
from analognets.deploy.studies.sensitivity.networks import (
    StudiedNetwork,
    fingerprint,
    gather,
    open_calibrated,
    test_data,
)
from analognets.deploy.studies.sweep import sweep
from analognets.errors import AnalogNetsError, InvalidArgumentError, RunError, check_choice, check_integer
from analognets.metrics import chance_error, normalized_accuracy
from analognets.units import format_duration, parse_duration

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Study", "hardware_of", "measure", "point_of", "reference"]

TASK = "analognets.deploy.studies.sensitivity.study:measure"
REFERENCE = "analognets.deploy.studies.sensitivity.study:reference"
MACHINES = 12
DEVICE_NOISE = "device_noise"

Progress = Callable[[int, int, dict[str, Any]], None]


def point_of(
    source: StudiedNetwork,
    chip: int,
    effect: str | None = None,
    value: Any = None,
    *,
    layers: Sequence[str] | None = None,
    rest: float | None = None,
) -> dict[str, Any]:
    """Return a point: one chip of a network, with one effect at another strength.

    Args:
        source: the network.
        chip: number of the chip; the same number is the same chip, whatever else is different.
        effect: name; None for the hardware as it is.
        value: its strength.
        layers: the layers that have it so; None: all.
        rest: factor of the device noise in the other layers; None: as it is.
    """
    named = None if layers is None else json.dumps(list(layers))
    return {
        "fingerprint": source.fingerprint,
        "nonideality": effect,
        "value": value,
        "layers": named,
        "rest": rest,
        "chip": chip,
    }


def hardware_of(base: Mapping[str, Crossbar], point: Mapping[str, Any]) -> dict[str, Crossbar]:
    """Return the crossbar of each layer at a point."""
    effect, value = point["nonideality"], point["value"]
    if effect is None:
        return dict(base)
    changed = set(base) if point["layers"] is None else set(json.loads(point["layers"]))
    rest = point["rest"]
    hardware = {}
    for name, own in base.items():
        if name in changed:
            hardware[name] = own.with_strength(effect, value)
        else:
            hardware[name] = own if rest is None else own.with_strength(DEVICE_NOISE, rest)
    return hardware


class Bench:
    """A network in a process, with its test data and the machines that its points have needed so far."""

    def __init__(self, place: str, settings: Mapping[str, Any]) -> None:
        from analognets.layers import analog_layers

        self.trained = open_calibrated(place)
        self.base = {layer.name: layer.crossbar for layer in analog_layers(self.trained.model)}
        self.inputs, self.labels = test_data(self.trained, settings)
        raw = settings["arrays"] is None
        self.measured_on = data_mark(self.trained, settings) if raw else settings["data"]
        self.machines: list[Any] = []

    def machine(self, hardware: Mapping[str, Crossbar], precision: str = "float32") -> Any:
        """Return what runs chips of this hardware, made anew only for another structure."""
        from analognets.deploy.studies.sensitivity.adjustable import Machine

        found = next((one for one in self.machines if one.fits(hardware, precision)), None)
        if found is None:
            found = Machine(self.trained.model, hardware, precision=precision, others=self.machines)
        self.machines = [found, *(one for one in self.machines if one is not found)][:MACHINES]
        return found


@functools.lru_cache(maxsize=4)
def _bench(place: str, mark: str, settings: str) -> Bench:
    found = Bench(place, json.loads(settings))
    if fingerprint(found.trained.model) != mark:
        raise RunError(f"The network in '{place}' was changed while the study ran. Give the command again.")
    return found


def bench_of(settings: Mapping[str, Any], point: Mapping[str, Any]) -> Bench:
    """Return the bench of a point's network; a process makes it once."""
    wanted = {name: settings[name] for name in ("data", "data_options", "limit", "arrays")}
    return _bench(settings["places"][point["fingerprint"]], point["fingerprint"], json.dumps(wanted, sort_keys=True))


def measure(settings: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    """Return the accuracy of one chip of a network on hardware with one effect changed; a task of `sweep`."""
    from analognets.deploy.evaluation import accuracy
    from analognets.devices import derive_seed

    bench = bench_of(settings, point)
    hardware = hardware_of(bench.base, point)
    outputs = bench.machine(hardware, settings.get("precision", "float32")).predict(
        bench.inputs,
        hardware,
        chip_seed=derive_seed(settings["seed"], "chip", point["chip"]),
        seconds=settings["seconds"],
        drift_compensation=settings["drift_compensation"],
        labels=bench.labels,
    )
    return {"accuracy": accuracy(bench.labels, outputs), "samples": len(bench.labels), MEASURED_ON: bench.measured_on}


def reference(settings: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    """Return the accuracy of a float network and how many classes it tells apart; a task of `sweep`.

    The float network is that of the run, before training for hardware; else the analog weights computed digitally.
    """
    from analognets.deploy.evaluation import accuracy

    bench = bench_of(settings, point)
    of_run = bench.trained.kind == "run"
    model = bench.trained.float_model()
    inputs, labels = bench.inputs, bench.labels
    # Called as it is: `predict` would trace a function, and warn of it.
    pieces = [np.asarray(model(inputs[first : first + 250], training=False)) for first in range(0, len(inputs), 250)]
    outputs = np.concatenate(pieces)
    units = outputs.shape[-1]
    return {
        "float_accuracy": accuracy(labels, outputs),
        "float_network": "float network of the run" if of_run else "the same weights, digital",
        "classes": 2 if units == 1 else units,
        MEASURED_ON: bench.measured_on,
    }


class Study:
    """Networks, settings and the folder of a study.

    Args:
        networks: one or several of: folder of a finished run, handle of a preset, path of a .keras file, calibrated
            analog model.
        folder: for the results; made if need be.
        data: folder of real data, "synthetic", a .npz file with `inputs` and `labels`, such a pair of arrays, or None:
            as in training.
        data_options: further options of the data set's loader.
        limit: most test samples, spread evenly; None: all.
        chips: how many are programmed at each point; the same ones at all.
        at: time since programming.
        seed: of the chips.
        drift_compensation: whether to scale the outputs back.
        precision: "float32", "bfloat16" or "auto", as `analognets.deploy.chips.runtime.Runner` takes it: faster where
            the processor multiplies bfloat16.
        workers: processes on this machine.
        ray: run on a Ray cluster.
        overwrite: forget what is in the folder.
        progress: called with (done, total, row) after each measured chip.
        mark: further settings that tell one study from another.
        check: called with each model before anything is written.

    Raises:
        InvalidArgumentError: a value is out of range.
        RunError: the folder holds another study, something else, or is in use.
    """

    def __init__(
        self,
        networks: Any,
        folder: Any,
        *,
        data: Any = None,
        data_options: Mapping[str, Any] | None = None,
        limit: int | None = None,
        chips: int = 15,
        at: str | float = "1h",
        seed: int = 0,
        drift_compensation: bool = True,
        precision: str = "float32",
        workers: int = 1,
        ray: bool = False,
        overwrite: bool = False,
        progress: Progress | None = None,
        mark: Mapping[str, Any] | None = None,
        check: Callable[[Any], None] = lambda model: None,
    ) -> None:
        self.chips = check_integer("Study", "chips", chips, 1, 1_000_000)
        if limit is not None:
            check_integer("Study", "limit", limit, 1, 1 << 40)
        from analognets.deploy.chips.runtime import PRECISIONS

        check_choice("Study", "precision", precision, PRECISIONS)
        seconds = parse_duration(at)
        self.at = format_duration(seconds)
        self.folder = Path(folder)
        if os.path.isfile(self.folder):
            raise InvalidArgumentError(f"The results go into a folder. Received: '{folder}', which is a file.")
        forget_data()
        _bench.cache_clear()  # files and folders may hold others by now
        self.sources, named, arrays = gather(networks, self.folder, data, check)
        self.settings: dict[str, Any] = {
            "data": named,
            "data_options": dict(data_options or {}),
            "limit": limit,
            "seconds": seconds,
            "seed": check_integer("Study", "seed", seed, 0, 2**31 - 1),
            "drift_compensation": bool(drift_compensation),
            **({} if precision == "float32" else {"precision": precision}),
            **(mark or {}),
        }
        places = {source.fingerprint: source.place for source in self.sources}
        self.context = {"places": places, "arrays": arrays}
        self.engine: dict[str, Any] = {"workers": workers, "ray": ray}
        self.overwrite = {"chips", "reference", "strengths"} if overwrite else set()
        self.progress = progress
        self.done, self.total = 0, 0
        self.marks: dict[str, str] = {}

    def run(
        self,
        points: Sequence[Mapping[str, Any]],
        where: str = "chips",
        task: str = TASK,
        settings: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Measure points, those that are stored excepted, and return one row each with the network's name."""
        table = sweep(
            task,
            points,
            self.folder / where,
            settings=self.settings if settings is None else settings,
            context=self.context,
            overwrite=where in self.overwrite,
            progress=self._report,
            **self.engine,
        )
        self.overwrite.discard(where)
        self.done += len(table)
        if "fingerprint" in table:
            names = {source.fingerprint: source.name for source in self.sources}
            table.insert(0, "network", table["fingerprint"].map(names))
        return on_one_data_set(table, self.folder / where, self.marks)

    def expect(self, points: int) -> None:
        """Say that so many more points will be measured."""
        self.total += points

    def _report(self, done: int, total: int, row: dict[str, Any]) -> None:
        if self.progress is not None:
            self.progress(self.done + done, max(self.total, self.done + total), row)

    def finish(self) -> None:
        """Report the end to who follows the progress, if fewer points were needed than expected."""
        if self.progress is not None and self.done < self.total:
            self.progress(self.total, self.total, {"status": "ok"})

    def references(self) -> dict[str, dict[str, Any]]:
        """Return accuracy of the float network, what that is, and the number of classes, by network."""
        table = self.run([{"fingerprint": source.fingerprint} for source in self.sources], "reference", REFERENCE)
        all_good(table)
        records: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]
        return {row["network"]: row for row in records}

    def write(self, name: str, table: pd.DataFrame) -> Path:
        """Store a table of results as Parquet in the folder."""
        path = self.folder / name
        write_atomically(path, lambda part: table.to_parquet(part, index=False))
        return path


def all_good(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of measured points if none of them has failed.

    Raises:
        AnalogNetsError: one has.
    """
    failed = table[table["status"] != "ok"]
    if len(failed):
        raise AnalogNetsError(
            f"{len(failed)} of {len(table)} points could not be measured, the first of {failed['network'].iloc[0]}: "
            f"{failed['error'].iloc[0]}"
        )
    return table


def by_chip(table: pd.DataFrame) -> np.ndarray:
    """Return the accuracies of some rows in the order of their chips."""
    return table.sort_values("chip")["accuracy"].to_numpy(float)


def relative_accuracy(accuracies: Any, standard: Any, classes: int, network: str) -> Any:
    """Return A = 1 - (eps - eps_standard) / (eps_chance - eps_standard): 1 as on the hardware as it is, 0 guessing.

    Args:
        accuracies: of one network, a number or an array.
        standard: mean accuracy on the hardware as it is.
        classes: how many the network tells apart.
        network: its name, for errors.

    Raises:
        InvalidArgumentError: the network only guesses on its hardware.
    """
    chance = chance_error(int(classes))
    if 1.0 - standard >= chance:
        raise InvalidArgumentError(
            f"The network {network} is no better than guessing on its own hardware (accuracy {standard:.3f}, "
            f"{classes} classes), so nothing can be learned of what hurts it."
        )
    return normalized_accuracy(1.0 - np.asarray(accuracies), 1.0 - standard, chance)


def standard_error(values: Any) -> float:
    """Return the standard error of a mean; NaN for one value."""
    values = np.asarray(values, float)
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
