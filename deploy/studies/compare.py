"""One network as float, as int8 on a microcontroller, and on analog chips as they age: the rows of `compare`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analognets.core.drafts import temporary_folder
from analognets.core.figures import COLOURS, new_figure
from analognets.core.files import write_atomically, write_json
from analognets.core.provenance import git_commit
from analognets.deploy.accelerator import place, workload
from analognets.deploy.accelerator.costs import cost
from analognets.deploy.chips.chips import program
from analognets.deploy.chips.decisions import FLOAT
from analognets.deploy.evaluation import decisions
from analognets.deploy.export.litert import to_litert
from analognets.deploy.export.litert_file import LiteRTFile, read_litert
from analognets.deploy.export.litert_runtime import Interpreter
from analognets.deploy.export.qat import train_for_int8
from analognets.deploy.studies.other_hardware import hardware_with, trained_on_hardware
from analognets.errors import AnalogNetsError, ConversionError
from analognets.layers import analog_layers
from analognets.metrics import mean_interval
from analognets.units import format_duration, parse_duration
from analognets.zoo.tasks import Task
from analognets.zoo.trained import TrainedNetwork

__all__ = ["Comparison", "Row", "Settings", "comparison_figure", "same_network", "write_comparison"]

HARDWARE = "aon_cim"
ENERGY_RANGE = ("energy_low_uj", "energy_high_uj", "energy_status")
NOT_TRAINED = {
    "trained": "not trained for it: ranges as trained for {bits} bit",
    "calibrated anew": "not trained for it: ranges calibrated anew",
}

ENDS = ("low", "high", "loss", "loss_low", "loss_high", "bound", "bound_share")
"""What of `Decisions.summary` a row holds beside mean and spread."""

Named = tuple[str, TrainedNetwork]
Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the comparison.

    Args:
        network: of which run or preset.
        version: "float", "int8 LiteRT (PTQ)", "int8 LiteRT (QAT)" or "analog, 8 bit".
        at: time since programming; None where nothing ages.
        accuracy: mean share of right answers, 0 to 1.
        std: standard deviation over chips; None for one chip or none.
        chips: how many; 0 where there are none.
        bytes: size of the .tflite file; None for an analog chip.
        cells: differential pairs of the crossbar that the network's blocks occupy; None if it is digital.
        weights: factors of the products, biases not counted.
        macs: multiply-accumulates of an inference.
        energy_uj: of an inference; None where it is not known.
        note: what to know about this row.
        low: lower end of the 95 % interval of the accuracy, over samples (by speaker where known) and chips.
        high: upper end.
        loss: to the float network of the same rows, on the same samples, in points; None for that one.
        loss_low: lower end of its interval, paired by sample.
        loss_high: upper end.
        bound: accuracy that at least `bound_share` of all chips has with 95 % confidence, on these samples.
        bound_share: see `analognets.metrics.chips_bound`; None where there are too few chips, or none.
        energy_low_uj: least energy that the published figures allow; None where it is not known.
        energy_high_uj: largest, likewise.
        energy_status: "fitted" to a published figure, "predicted", or "unknown".
    """

    network: str
    version: str
    at: str | None
    accuracy: float
    std: float | None
    chips: int
    bytes: int | None
    cells: int | None
    weights: int
    macs: int
    energy_uj: float | None
    note: str = ""
    low: float | None = None
    high: float | None = None
    loss: float | None = None
    loss_low: float | None = None
    loss_high: float | None = None
    bound: float | None = None
    bound_share: float | None = None
    energy_low_uj: float | None = None
    energy_high_uj: float | None = None
    energy_status: str = "unknown"


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to compare.

    Args:
        split: "test" or "validation".
        bits: precisions of the analog rows, 2 to 16 each.
        ranges: of the converters where a network was trained for other bits, see `on_hardware`.
        chips: how many to programme; None: as in the recipe.
        times: since programming; empty: as in the recipe.
        seed: of the chips; None: as in the recipe.
        qat_epochs: of training the int8 network with quantisation in the loop; 0: without.
    """

    split: str = "test"
    bits: tuple[int, ...] = (8, 6, 4)
    ranges: str = "calibrated"
    chips: int | None = None
    times: tuple[str, ...] = ()
    seed: int | None = None
    qat_epochs: int = 0


def same_network(networks: Sequence[Named]) -> list[list[Named]]:
    """Return named networks in groups of the same architecture on the same data, in the order given."""

    def of(network: TrainedNetwork) -> tuple[Any, ...]:
        recipe = network.known_recipe()
        return recipe.model, recipe.dataset, recipe.frontend, network.classes

    groups: list[list[Named]] = []
    for named in networks:
        same = next((group for group in groups if of(group[0][1]) == of(named[1])), None)
        if same is None:
            groups.append([named])
        else:
            same.append(named)
    return groups


def trained_bits(network: TrainedNetwork) -> int | None:
    """Return the bits of the converters a network was trained for; None without converters or analog network.

    Raises:
        ConversionError: they differ between layers.
    """
    stage = network.known_recipe().hardware_aware
    if stage is None:
        return None
    hardware = stage.hardware.by_layer()
    widths = {one.adc_bits for one in (hardware.default, *hardware.layers.values()) if one is not None}
    if len(widths) > 1:
        raise ConversionError(
            f"A comparison puts all layers on converters of the same bits. Received: '{network.name}' with hardware by "
            "layer. Measure it with `analognets evaluate`."
        )
    return widths.pop()


class Comparison:
    """The rows of one network: what is measured on the same samples.

    Args:
        group: networks of the same architecture, with what the user called each.
        task: their data.
        settings: how to compare.
        progress: called with (what is done, steps done, steps in all; 0 if that is not known).
    """

    def __init__(
        self, group: Sequence[Named], task: Task, settings: Settings, progress: Progress = lambda *what: None
    ) -> None:
        self.group = group
        self.settings = settings
        self.task = task
        self.progress = progress
        progress("Computing features ...", 0, 0)
        self.inputs, self.labels = task.features(settings.split)
        self.speakers = task.data.splits[settings.split].speakers
        self.float_right: np.ndarray | None = None

    def rows(self) -> list[Row]:
        """Measure everything."""
        return [*self.digital(), *self.analog()]

    def facts(self) -> dict[str, Any]:
        """Return what the rows were measured on, as plain data."""
        info = self.task.data.info
        return {
            "runs": [name for name, _ in self.group],
            "data": info.name,
            "synthetic": info.synthetic,
            "split": self.settings.split,
            "samples": len(self.labels),
            "kind": self.task.samples,
            "fingerprints": [network.known_recipe().fingerprint() for _, network in self.group],
        }

    def digital(self) -> Iterator[Row]:
        """Yield float, int8 and, if asked for, int8 trained for it."""
        name, trained = self.group[0]
        network = trained.float_model()
        note = "weights of the preset, digital" if trained.kind == "preset" else ""

        def row(version: str, outputs: Any, facts: LiteRTFile, note: str = "") -> Row:
            value, ends = self.measured(outputs)
            shown = facts.size, None, facts.weights, facts.macs, None, note
            return Row(name, version, None, value, None, 0, *shown, **ends)

        with temporary_folder() as folder:
            path = folder / "float.tflite"
            self.progress("Running the float network ...", 0, 0)
            outputs = network.predict(self.inputs, batch_size=250, verbose=0)
            facts = to_litert(network, path, quantize="none")
            yield row("float", outputs, facts, note)
            self.progress("Quantising to int8 ...", 0, 0)
            path = folder / "ptq.tflite"
            facts = to_litert(network, path, self.task.training.calibration)
            yield row("int8 LiteRT (PTQ)", self.litert_outputs(path), facts)
            if epochs := self.settings.qat_epochs:
                path = folder / "qat.tflite"
                seed = trained.known_recipe().seed
                train_for_int8(network, self.task, path, epochs=epochs, seed=seed, progress=self.progress)
                found = self.litert_outputs(path)
                yield row("int8 LiteRT (QAT)", found, read_litert(path), f"{epochs} epochs of training")

    def measured(self, outputs: Any) -> tuple[float, dict[str, Any]]:
        """Return accuracy of a digital network and its interval, and its loss to the first one, which is the float one.

        Args:
            outputs: on the samples.
        """
        truth, chosen, _ = decisions(self.labels, outputs)
        right = (chosen == truth).astype(np.float64)
        groups = self.speakers if len(self.speakers) == len(right) else None
        found = mean_interval(right, groups)
        ends: dict[str, Any] = {"low": found.low, "high": found.high}
        if self.float_right is None:
            self.float_right = right > 0.0
        else:
            loss = mean_interval(100.0 * (self.float_right - right), groups)
            ends |= {"loss": loss.mean, "loss_low": loss.low, "loss_high": loss.high}
        return found.mean, known(ends)

    def litert_outputs(self, path: Path) -> Any:
        """Return the outputs of a .tflite file with the kernels a microcontroller has."""
        return Interpreter(path, kernels="reference").predict(self.inputs, progress=self.steps("Running LiteRT"))

    def analog_networks(self) -> list[tuple[int, str, TrainedNetwork]]:
        """Return bits, name and network of those in the group that are analog."""
        return [(bits, *named) for named in self.group if (bits := trained_bits(named[1])) is not None]

    def analog(self) -> Iterator[Row]:
        """Yield the analog rows of all precisions; one that no network was trained for is measured on the best one."""
        able = self.analog_networks()
        for wanted in self.settings.bits if able else ():
            own = [entry for entry in able if entry[0] == wanted]
            trained_for, name, trained = own[0] if own else max(able, key=lambda entry: entry[0])
            yield from self.aged(name, trained, wanted, trained_for)

    def aged(self, name: str, trained: TrainedNetwork, bits: int, trained_for: int) -> Iterator[Row]:
        """Yield a row for each time of one network with converters of so many bits."""
        recipe, network, note = trained.known_recipe(), trained.analog_model(), ""
        if bits != trained_for:
            hardware = hardware_with(network, bits)
            network, origin = trained_on_hardware(trained, hardware, self.task, ranges=self.settings.ranges)
            note = NOT_TRAINED[origin].format(bits=trained_for)
        defaults = recipe.evaluation
        chips, times = self.settings.chips or defaults.chips, self.settings.times or defaults.times
        seed = defaults.seed if self.settings.seed is None else self.settings.seed
        made = program(network, chips=chips, seed=seed, progress=self.steps(f"Programming chips, {bits} bit"))
        progress = self.steps(f"Reading chips, {bits} bit")
        decided = made.decide((self.inputs, self.labels), at=list(times), progress=progress)
        references = {} if self.float_right is None else {FLOAT: self.float_right}
        costs = known_cost(network)
        for found in decided.summary(references, groups=self.speakers or None).to_dict("records"):
            std, ends = known({"std": found["std"]})["std"], known({name: found.get(name) for name in ENDS})
            measured: dict[str, Any] = {
                **costs,
                **ends,
                "network": name,
                "version": f"analog, {bits} bit",
                "note": note,
            }
            measured |= {"at": found["at"], "accuracy": float(found["mean"]), "std": std}
            yield Row(**measured, chips=int(found["chips"]), bytes=None)

    def steps(self, what: str) -> Callable[[int, int], None]:
        """Return what passes (done, total) on as the progress of `what`."""
        return lambda done, total: self.progress(what, done, total)


def known(values: dict[str, Any]) -> dict[str, Any]:
    """Return numbers as plain ones, None for NaN."""
    return {name: None if value is None or value != value else float(value) for name, value in values.items()}


def known_cost(network: Any) -> dict[str, Any]:
    """Return cells, weights, multiply-accumulates and, of the known accelerator, energy and its range in uJ."""
    products = workload(network).layers
    found: dict[str, Any] = {
        "cells": place(network, HARDWARE).cells,
        "weights": sum(layer.weights for layer in products),
        "macs": sum(layer.weights * layer.positions for layer in products),
        "energy_uj": None,
    }
    if all(layer.crossbar.name.startswith(HARDWARE) for layer in analog_layers(network)):
        try:
            one = cost(network, HARDWARE)
        except AnalogNetsError:
            return found  # its energy at this precision is not known
        found["energy_uj"] = one.energy_uj
        found |= {name: value for name, value in one.ranges().items() if name in ENERGY_RANGE}
    return found


def write_comparison(folder: Path, rows: Sequence[Row], facts: Sequence[dict[str, Any]]) -> None:
    """Write compare.csv and compare.json, each complete or not at all."""
    records = [dataclasses.asdict(row) for row in rows]
    write_atomically(folder / "compare.csv", pd.DataFrame(records).to_csv(index=False))
    write_json(folder / "compare.json", {"git_commit": git_commit(), "measured_on": list(facts), "rows": records})


def comparison_figure(rows: Sequence[Row]) -> Any:
    """Draw accuracy over the time since programming, a panel a network: lines for chips, dashed for what never ages.

    Args:
        rows: of `Comparison.rows`.
    """
    networks = list(dict.fromkeys(row.network for row in rows))
    figure = new_figure(6.8, 3.2 * len(networks) + 0.4)
    times = sorted({parse_duration(row.at) for row in rows if row.at is not None})
    for network, axes in zip(networks, figure.subplots(len(networks), 1, squeeze=False)[:, 0], strict=True):
        own = [row for row in rows if row.network == network]
        for number, version in enumerate(dict.fromkeys(row.version for row in own)):
            some, colour = [row for row in own if row.version == version], COLOURS[number % len(COLOURS)]
            if some[0].at is None:
                axes.axhline(100 * some[0].accuracy, color=colour, ls="--", lw=1.2, label=version)
                continue
            seconds = [parse_duration(row.at or 0) for row in some]
            error = [100 * (row.std or 0.0) for row in some]
            values = [100 * row.accuracy for row in some]
            axes.errorbar(seconds, values, yerr=error, fmt="o-", color=colour, capsize=3, label=version)
        if times:
            axes.set_xscale("log" if times[0] > 0 else "linear")
            axes.set_xticks(times, [format_duration(time) for time in times])
            axes.minorticks_off()
        axes.set(xlabel="time since programming", ylabel="accuracy in %", title=network)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    return figure
