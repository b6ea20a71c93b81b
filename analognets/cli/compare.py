"""`analognets compare`: one network as float, as int8 on a microcontroller, and on analog chips as they age."""

from __future__ import annotations

import dataclasses
import importlib.util
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console
from analognets.cli.data import Json, Quiet
from analognets.cli.evaluate import Split, load_job, programmed, refuse_untrained, results_folder
from analognets.cli.export import train_rival
from analognets.cli.train import start_backend
from analognets.errors import AnalogNetsError, MissingExtraError
from analognets.zoo.trained import open_trained

__all__ = ["Row", "compare"]

BITS = (8, 6, 4)
HARDWARE = "aon_cim"
NOT_TRAINED = "not trained for it: ranges as trained for {bits} bit"

Trained = Annotated[
    list[str], typer.Argument(help="Runs or presets; several of one network each fill the precision they have.")
]
Data = Annotated[str | None, typer.Option(help="Folder of the real data, or 'synthetic'; by default as in training.")]
Count = Annotated[int | None, typer.Option(min=1, help="How many chips to programme; the recipe's by default.")]
Times = Annotated[str | None, typer.Option(help="Times since programming, such as 25s,1h,1d; the recipe's by default.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of the chips; the recipe's by default.")]
Clips = Annotated[Split, typer.Option(help="Which clips to measure on.")]
Bits = Annotated[str, typer.Option(help="Precisions of the analog rows, 2 to 16 bit each.")]
Qat = Annotated[bool, typer.Option("--qat", help="Also train the int8 network with quantisation in the loop.")]
Epochs = Annotated[int, typer.Option(min=1, help="Epochs of --qat.")]
Out = Annotated[Path | None, typer.Option(help="Folder for compare.csv and compare.json; by default as of evaluate.")]


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


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the command line asked for."""

    chips: int | None
    times: list[str]
    seed: int | None
    bits: tuple[int, ...]
    qat_epochs: int


def compare(
    runs: Trained,
    data: Data = None,
    split: Clips = Split.test,
    chips: Count = None,
    at: Times = None,
    seed: Seed = None,
    bits: Bits = "8,6,4",
    qat: Qat = False,
    qat_epochs: Epochs = 3,
    out: Out = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Set a network as float, int8 LiteRT and analog side by side: accuracy, size, products, energy.

    A precision that none of the runs was trained for is measured on the best trained one with other converters.
    """
    from analognets.units import parse_duration

    reporter = _console.Reporter(json=json, quiet=quiet)
    sources = [open_trained(run, chips=False) for run in runs]
    for source in sources:
        if not source.finished:
            refuse_untrained(source)
    times = [word.strip() for word in at.split(",")] if at else []
    for time in times:
        parse_duration(time)
    settings = Settings(chips, times, seed, wanted_bits(bits), qat_epochs if qat else 0)
    check_extras(settings)
    folder = results_folder(sources[0], out)
    start_backend(reporter)
    rows: list[Row] = []
    facts: list[dict[str, Any]] = []
    for group in same_network(list(zip(runs, sources, strict=True))):
        measured = Comparison(reporter, group, data, split, settings)
        rows += measured.rows()
        facts.append(measured.facts())
    write(folder, rows, facts)
    show(reporter, folder, rows, facts)


def check_extras(settings: Settings) -> None:
    """Raise before any work if a package is missing.

    Raises:
        MissingExtraError: one is.
    """
    if not installed("ai_edge_litert"):
        raise MissingExtraError("Comparing with LiteRT", "litert")
    if settings.qat_epochs and not installed("tensorflow_model_optimization"):
        raise MissingExtraError("Quantisation-aware training", "tfmot")


def installed(package: str) -> bool:
    """Whether a package can be imported; it is not."""
    return importlib.util.find_spec(package) is not None


def wanted_bits(text: str) -> tuple[int, ...]:
    """Return the precisions of --bits."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdigit() and 2 <= int(word) <= 16 for word in words):
        raise typer.BadParameter(f"--bits takes numbers from 2 to 16, such as 8,6,4. Received: '{text}'.")
    return tuple(dict.fromkeys(int(word) for word in words))


def same_network(sources: Sequence[tuple[str, Any]]) -> list[list[tuple[str, Any]]]:
    """Return the runs in groups of the same architecture on the same data, in the order given."""
    groups: list[list[tuple[str, Any]]] = []
    for source in sources:
        recipe = source[1].recipe
        for group in groups:
            first = group[0][1].recipe
            same = (first.model, first.dataset, first.frontend) == (recipe.model, recipe.dataset, recipe.frontend)
            if same and classes_of(group[0][1]) == classes_of(source[1]):
                group.append(source)
                break
        else:
            groups.append([source])
    return groups


def classes_of(source: Any) -> list[str]:
    """Return the classes of a run or preset, as far as its record says."""
    return list((source.record.get("data") or {}).get("classes") or [])


def trained_bits(source: Any) -> int | None:
    """Return the bits of the converters a run or preset was trained for; None without converters or analog network."""
    stage = source.recipe.hardware_aware
    if stage is None:
        return None
    bits = stage.hardware.crossbar().adc_bits
    return None if bits is None else int(bits)


class Comparison:
    """The rows of one network: what is measured on the same clips.

    Args:
        reporter: where progress is shown.
        group: (what the user called it, run or preset) of the same architecture.
        data: --data.
        split: --split.
        settings: the other options.
    """

    def __init__(
        self,
        reporter: _console.Reporter,
        group: list[tuple[str, Any]],
        data: str | None,
        split: Split,
        settings: Settings,
    ) -> None:
        self.reporter = reporter
        self.group = group
        self.settings = settings
        self.split = split
        self.job = load_job(reporter, group[0][1], data)
        with reporter.status("Computing features ..."):
            self.inputs, self.labels = self.job.features(split.value)

    def rows(self) -> list[Row]:
        """Measure everything."""
        return [*self.digital(), *self.analog()]

    def facts(self) -> dict[str, Any]:
        """Return what the rows were measured on, as plain data."""
        info = self.job.data.info
        return {
            "runs": [name for name, _ in self.group],
            "data": info.name,
            "synthetic": info.synthetic,
            "split": self.split.value,
            "samples": len(self.labels),
            "kind": self.job.samples,
            "fingerprints": [source.recipe.fingerprint() for _, source in self.group],
        }

    def digital(self) -> Iterator[Row]:
        """Yield float, int8 and, if asked for, int8 trained for it."""
        from analognets.deploy.chips.chips import accuracy
        from analognets.deploy.export.litert import to_litert
        from analognets.deploy.export.litert_file import LiteRTFile

        name, source = self.group[0]
        network = source.float_model()
        note = "weights of the preset, digital" if hasattr(source, "preset") else ""

        def row(version: str, value: float, facts: LiteRTFile, note: str = "") -> Row:
            return Row(name, version, None, value, None, 0, facts.size, None, facts.weights, facts.macs, None, note)

        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            with self.reporter.status("Running the float network ..."):
                outputs = network.predict(self.inputs, batch_size=250, verbose=0)
                facts = to_litert(network, folder / "float.tflite", quantize="none")
            yield row("float", accuracy(self.labels, outputs), facts, note)
            with self.reporter.status("Quantising to int8 ..."):
                facts = to_litert(network, folder / "ptq.tflite", self.job.training.calibration)
            yield row("int8 LiteRT (PTQ)", self.litert_accuracy(folder / "ptq.tflite"), facts)
            if epochs := self.settings.qat_epochs:
                path = folder / "qat.tflite"
                seed = source.recipe.seed
                train_rival(self.reporter, network, self.job, path, epochs=epochs, seed=seed)
                from analognets.deploy.export.litert_file import read_litert

                found = self.litert_accuracy(path)
                yield row("int8 LiteRT (QAT)", found, read_litert(path), f"{epochs} epochs of training")

    def litert_accuracy(self, path: Path) -> float:
        """Return the accuracy of a .tflite file with the kernels a microcontroller has."""
        from analognets.deploy.export.litert_runtime import Interpreter

        with self.reporter.progress("Running LiteRT", len(self.labels)) as bar:
            runner = Interpreter(path, kernels="reference")
            return runner.accuracy(self.inputs, self.labels, progress=lambda done, total: bar.update(done))

    def analog(self) -> Iterator[Row]:
        """Yield the analog rows of all precisions."""
        able = [(bits, name, source) for name, source in self.group if (bits := trained_bits(source)) is not None]
        if not able:
            names = ", ".join(name for name, _ in self.group)
            self.reporter.warn(f"{names}: no analog network, so there are no analog rows.")
        for wanted in self.settings.bits if able else ():
            own = [entry for entry in able if entry[0] == wanted]
            trained, name, source = own[0] if own else max(able, key=lambda entry: entry[0])
            note = "" if own else NOT_TRAINED.format(bits=trained)
            yield from self.aged(name, source, wanted, note)

    def aged(self, name: str, source: Any, bits: int, note: str) -> Iterator[Row]:
        """Yield a row for each time of one network with converters of so many bits."""
        from analognets.deploy.chips.chips import summarize
        from analognets.layers import analog_layers

        network = source.analog_model()
        for layer in analog_layers(network):
            if note:
                layer.crossbar = layer.crossbar.replace(dac_bits=bits, adc_bits=bits)
        defaults = source.recipe.evaluation
        seed = defaults.seed if self.settings.seed is None else self.settings.seed
        made = programmed(self.reporter, network, self.settings.chips or defaults.chips, seed)
        times = self.settings.times or list(defaults.times)
        with self.reporter.progress(f"Reading chips, {bits} bit", len(made) * len(times)) as bar:
            table = made.evaluate((self.inputs, self.labels), at=times, progress=lambda done, total: bar.update(done))
        costs = known_cost(network, bits)
        for found in summarize(table).to_dict("records"):
            std = None if found["std"] != found["std"] else float(found["std"])
            yield Row(
                *(name, f"analog, {bits} bit", found["at"], float(found["mean"]), std, int(found["chips"]), None),
                *(costs["cells"], costs["weights"], costs["macs"], costs["energy_uj"], note),
            )


def known_cost(network: Any, bits: int) -> dict[str, Any]:
    """Return cells, weights, multiply-accumulates and, for the accelerator that is known, energy in uJ."""
    from analognets.deploy.accelerator import place, workload
    from analognets.deploy.accelerator.costs import cost
    from analognets.layers import analog_layers

    placement = place(network, HARDWARE)
    found: dict[str, Any] = {
        "cells": placement.cells,
        "weights": placement.weights,
        "macs": sum(layer.weights * layer.positions for layer in workload(network).layers),
        "energy_uj": None,
    }
    if all(layer.crossbar.name.startswith(HARDWARE) for layer in analog_layers(network)):
        try:
            found["energy_uj"] = cost(network, HARDWARE, bits=bits).energy_uj
        except AnalogNetsError:
            return found  # its energy at this precision is not known
    return found


def write(folder: Path, rows: Sequence[Row], facts: Sequence[dict[str, Any]]) -> None:
    """Write compare.csv and compare.json, each complete or not at all."""
    import pandas as pd

    from analognets.core.files import write_atomically, write_json
    from analognets.core.provenance import git_commit

    records = [dataclasses.asdict(row) for row in rows]
    write_atomically(folder / "compare.csv", pd.DataFrame(records).to_csv(index=False))
    write_json(folder / "compare.json", {"git_commit": git_commit(), "measured_on": list(facts), "rows": records})


def show(reporter: _console.Reporter, folder: Path, rows: Sequence[Row], facts: Sequence[dict[str, Any]]) -> None:
    """Print the table."""
    reporter.result(
        {"measured_on": list(facts), "results": str(folder), "rows": [dataclasses.asdict(row) for row in rows]}
    )
    several = len({row.network for row in rows}) > 1
    columns = ["version", "time", "accuracy %", "std", "size", "weights", "MACs", "uJ", "note"]
    reporter.table(
        ["network", *columns] if several else columns,
        [cells(row)[0 if several else 1 :] for row in rows],
        title=f"Accuracy on {facts[0]['samples']} {facts[0]['split']} {facts[0]['kind']} of {facts[0]['data']}",
    )
    reporter.say("Energy: of the analog accelerator's model; a microcontroller's is not known.")
    if any(entry["synthetic"] for entry in facts):
        reporter.say("Synthetic data: these figures say nothing about real ones.")
    reporter.say(f"Written to {folder}: compare.csv, compare.json")


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as text."""
    size = f"{row.bytes:,} B" if row.cells is None else f"{row.cells:,} pairs"
    return (
        *(row.network, row.version, row.at or "-", f"{100 * row.accuracy:.2f}"),
        *("-" if row.std is None else f"{100 * row.std:.2f}", size, f"{row.weights:,}", f"{row.macs:,}"),
        *("-" if row.energy_uj is None else f"{row.energy_uj:.3g}", row.note),
    )
