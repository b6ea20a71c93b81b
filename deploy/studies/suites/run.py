"""Running a suite: files and data found, everything measured that can be, trainings gone on with, one table written."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analognets.core.files import file_sha256, make_folder
from analognets.core.provenance import json_sha256
from analognets.deploy.studies.suites import table
from analognets.deploy.studies.suites.measure import KINDS, forget, recipe_of
from analognets.deploy.studies.suites.suite import Member, Suite, data_folders, find_suite
from analognets.deploy.studies.sweep import load_results, sweep
from analognets.errors import DataError, InvalidArgumentError, RunError, check_integer
from analognets.training.recipe import Recipe
from analognets.training.run import Run
from analognets.units import parse_durations

__all__ = ["Bench", "Trainer", "benchmark"]

TASK = "analognets.deploy.studies.suites.measure:measure"
POINTS, RUNS = "measured", "runs"
UNTRAINED = ("published", "int8", "arena", "chip", "direct")
Trainer = Callable[[Recipe, Path, str, bool], None]
"""Trains a recipe in a folder on a folder of data, replacing what is there if the last argument says so."""
Done = Callable[[int, int, dict[str, Any]], None]


def benchmark(
    suite: str = "mlperf-tiny",
    folder: str | Path = "benchmark",
    *,
    models: str | Path | None = None,
    data: Sequence[str | Path] = (),
    only: Sequence[str] = (),
    bits: Sequence[int] = (8, 6, 4),
    at: Sequence[str | float] = ("1d", "1y"),
    chips: int = 5,
    limit: int | None = None,
    seed: int = 0,
    quick: bool = False,
    training: bool = True,
    trainer: Trainer | None = None,
    overwrite: bool = False,
    progress: Done | None = None,
    command: str = "",
) -> Any:
    """Measure the networks of a suite as published, as int8 and on analog chips, and write one table of all.

    What an earlier call in the folder has measured or trained is kept, and what was interrupted goes on. Members whose
    data are not at hand are converted and their cost is computed; the table says why the rest is empty.

    Args:
        suite: its name; see `list_suites`.
        folder: for measurements, trainings (runs/KEY_8bit ...) and results; made if need be.
        models: folder of the published files; None: where the suite finds them, which may download them.
        data: folders of data, or "KEY=DIR" for one member's own.
        only: keys of members; empty: all.
        bits: of the converters, each with a hardware preset of the suite.
        at: times since programming.
        chips: how many are programmed, at least 1.
        limit: most test samples, spread evenly; None: all.
        seed: of trainings and chips.
        quick: trainings of a few steps, to try the command; its figures say nothing.
        training: False leaves fine-tuning out.
        trainer: what trains a recipe; None: in this process, without bars.
        overwrite: forget what is in the folder, trainings included.
        progress: called with (done, total, row) after each measurement, those from before first.
        command: line that repeats it, for the report.

    Returns:
        A row a figure: member, figure, bits, at, value, low, high, unit, chips, measured_on, source, note. The same in
        benchmark.csv and .json; benchmark.md and .html hold the table.

    Raises:
        UnknownNameError: there is no such suite or member.
        DataError: a folder is missing or the wrong one, or none of the files is there.
        InvalidArgumentError: an option is out of range.
        RunError: the folder holds results with other settings, or something else.

    Examples:
        >>> from pathlib import Path
        >>> from analognets.deploy import Member, Suite, register_suite
        >>> model.save("mine.keras")
        >>> member = Member("mine", "My network", "mine.keras", no_data="The cost is all that is asked for.")
        >>> found = register_suite(Suite("mine", "My networks", "ours", (member,), lambda name, folder: folder / name))
        >>> table = benchmark("mine", "suite", models=Path(), bits=[8])
        >>> table[table["figure"] == "energy_uj"]["value"].item() > 0
        True
    """
    found = find_suite(suite)
    members = [found.member(key) for key in dict.fromkeys(only)] or list(found.members)
    bits = check_bits(found, bits)
    check_integer("benchmark", "chips", chips, 1, 1_000_000)
    if limit is not None:
        check_integer("benchmark", "limit", limit, 1, 1 << 40)
    parse_durations(list(at))
    forget()
    place = {key: str(path.resolve()) for key, path in data_folders(found, data).items()}
    files, missing = find_files(found, members, models)
    settings = {
        "suite": found.name,
        "times": list(at),
        "chips": chips,
        "limit": limit,
        "seed": check_integer("benchmark", "seed", seed, 0, 2**31 - 1),
        "quick": bool(quick),
    }
    root = make_folder(Path(folder), "folder for the results")
    named = None if models is None else Path(models)
    bench = Bench(found, root, files, missing, place, settings, tuple(bits), named)
    bench.measure([point for member in members for point in bench.untrained(member)], overwrite, progress)
    bench.write(command)
    for member, count in ((member, count) for member in members for count in bits if training):
        if bench.can_train(member):
            bench.train(member, count, trainer or train_here, overwrite)
            bench.measure([bench.trained(member, count)], False, progress)
            bench.write(command)
    return bench.write(command)


def check_bits(suite: Suite, bits: Sequence[int]) -> list[int]:
    """Return the precisions, each once.

    Raises:
        InvalidArgumentError: there are none.
        UnknownNameError: the suite has no hardware for one.
    """
    from analognets import crossbar

    if not bits:
        raise InvalidArgumentError("`bits` of benchmark must hold at least one precision. Received: none.")
    for count in bits:
        crossbar.get(suite.hardware.format(bits=check_integer("benchmark", "bits", count, 2, 16)))
    return list(dict.fromkeys(bits))


def find_files(
    suite: Suite, members: Sequence[Member], models: str | Path | None
) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the paths of the published files by name, and why others can't be had.

    Raises:
        DataError: the folder does not exist, or not one float network can be had.
    """
    if models is not None and not os.path.isdir(models):
        raise DataError(f"There is no folder of models '{models}'. Name the one that holds {suite.members[0].model}.")
    files: dict[str, Path] = {}
    missing: dict[str, str] = {}
    for name in [name for member in members for name in (member.model, member.int8) if name]:
        try:
            files[name] = suite.locate(name, None if models is None else Path(models))
        except DataError as error:
            missing[name] = str(error)
    if not any(member.model in files for member in members):
        raise DataError(f"None of the networks of {suite.name} is there. {missing[members[0].model]}")
    return files, missing


def content_sha256(path: Path) -> str:
    """Return the sha256 of a file, or of all files in a folder by their names."""
    if not os.path.isdir(path):
        return file_sha256(path)
    parts = sorted(part for part in path.rglob("*") if part.is_file())
    return json_sha256({str(part.relative_to(path)): file_sha256(part) for part in parts})


@dataclasses.dataclass
class Bench:
    """A suite in a folder.

    Args:
        suite: which.
        root: the folder.
        files: paths of the published files by name.
        missing: why others can't be had, by name.
        data: folders of data by member.
        settings: of all measurements.
        bits: precisions.
        models: folder of the files, if the user named one.
    """

    suite: Suite
    root: Path
    files: Mapping[str, Path]
    missing: Mapping[str, str]
    data: Mapping[str, str]
    settings: dict[str, Any]
    bits: tuple[int, ...]
    models: Path | None

    def __post_init__(self) -> None:
        self.hashes = {name: content_sha256(path)[:16] for name, path in self.files.items()}

    def point(self, member: Member, kind: str, bits: int | None, sha256: str) -> dict[str, Any]:
        """Return a measurement as the sweep keeps it; new files are measured anew."""
        data = None if kind in ("arena", "chip") or not member.recipe else self.data.get(member.key)
        return {"member": member.key, "kind": kind, "bits": bits, "sha256": sha256, "data": data}

    def untrained(self, member: Member) -> list[dict[str, Any]]:
        """Return all that can be measured of a member without training."""
        model, int8 = self.hashes.get(member.model), self.hashes.get(str(member.int8))
        points = [self.point(member, "published", None, model)] if model else []
        points += [self.point(member, kind, None, int8) for kind in ("int8", "arena") if int8]
        aged = ["direct"] if member.key in self.data and member.recipe else []
        return points + [self.point(member, kind, n, model) for kind in ("chip", *aged) for n in self.bits if model]

    def can_train(self, member: Member) -> bool:
        """Whether recipe, data and network of a member are at hand."""
        return bool(member.recipe) and member.key in self.data and member.model in self.files

    def run_folder(self, member: Member, bits: int) -> Path:
        """Return the folder of a training."""
        return self.root / RUNS / f"{member.key}_{bits}bit"

    def recipe(self, member: Member, bits: int) -> Recipe:
        """Return the recipe of a training."""
        path = None if self.models is None else str(self.files[member.model].resolve())
        how = {"seed": self.settings["seed"], "quick": self.settings["quick"]}
        return recipe_of(self.suite, member, bits, model=path, **how)

    def train(self, member: Member, bits: int, trainer: Trainer, overwrite: bool) -> None:
        """Bring a training to its end; one that is finished stays as it is."""
        recipe, folder, data = self.recipe(member, bits), self.run_folder(member, bits), self.data[member.key]
        if overwrite or not is_finished(folder, recipe):
            trainer(recipe, folder, data, overwrite)
            return
        before = (Run.open(folder).record.get("data") or {}).get("folder")
        if before is not None and os.path.isdir(before) and Path(before).resolve() != Path(data).resolve():
            raise RunError(
                f"The training in '{folder}' learned from the data in '{before}'. Received: those in '{data}'. Choose "
                "another folder, or overwrite it (--overwrite)."
            )

    def trained(self, member: Member, bits: int) -> dict[str, Any]:
        """Return the measurement of a finished training."""
        return self.point(member, "finetuned", bits, file_sha256(self.run_folder(member, bits) / "analog.keras")[:16])

    def measure(self, points: list[dict[str, Any]], overwrite: bool, progress: Done | None) -> None:
        """Measure what is not measured yet."""
        context = {
            "files": {name: str(path) for name, path in self.files.items()},
            "runs": str(self.root / RUNS),
        }
        how: dict[str, Any] = {"settings": self.settings, "context": context, "overwrite": overwrite}
        sweep(TASK, points, self.root / POINTS, **how, progress=progress)

    def write(self, command: str = "") -> Any:
        """Write the table of everything that is measured in the folder, of other members and precisions too."""
        rows = [as_stored(row) for row in load_results(self.root / POINTS).to_dict("records")]
        current: dict[tuple[str, str, Any], dict[str, Any]] = {}
        # Of one member with and without data, or with several, that of this call counts most.
        for row in sorted((row for row in rows if self.is_current(row)), key=self.rank):
            current[row["member"], row["kind"], row["bits"]] = row
        bits = sorted({*self.bits, *(row["bits"] for row in current.values() if row["bits"])}, reverse=True)
        return table.write(self.root, self.suite, current, self.missing, self.settings, bits, command)

    def rank(self, row: Mapping[str, Any]) -> tuple[bool, bool, bool]:
        """Return what sorts the measurements of one thing, the best last."""
        known = row["data"] is not None
        return row["status"] == "ok", known, known and row["data"] == self.data.get(row["member"])

    def is_current(self, row: Mapping[str, Any]) -> bool:
        """Whether a stored measurement is that of the files and trainings that are there now."""
        member = next((one for one in self.suite.members if one.key == row["member"]), None)
        if member is None or row["kind"] not in KINDS:
            return False
        if row["kind"] == "finetuned":
            path = self.run_folder(member, row["bits"]) / "analog.keras"
            return os.path.isfile(path) and file_sha256(path)[:16] == row["sha256"]
        name = str(member.int8 if row["kind"] in ("int8", "arena") else member.model)
        return self.hashes.get(name, row["sha256"]) == row["sha256"]


def as_stored(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row of a table as it was stored: no NaN, whole numbers of bits."""
    plain = {str(key): None if value != value else value for key, value in row.items()}
    return {**plain, "bits": None if plain["bits"] is None else int(plain["bits"])}


def is_finished(folder: Path, recipe: Recipe) -> bool:
    """Whether a folder holds a finished run of this very recipe."""
    if not os.path.isfile(folder / "run.json"):
        return False
    run = Run.open(folder)
    return run.finished and run.recipe.fingerprint() == recipe.fingerprint()


def train_here(
    recipe: Recipe, folder: Path, data: str, overwrite: bool, *, progress: Callable[[Any], None] | None = None
) -> None:
    """Train a recipe in this process, or go on with it.

    Args:
        recipe: what to train.
        folder: of the run.
        data: folder of the data.
        overwrite: replace another run that is there.
        progress: called with a `Progress` now and then.
    """
    from analognets.training import train
    from analognets.zoo.tasks import check_fits, prepare

    task = prepare(recipe, data_dir=data)
    check_fits(recipe, task.model())
    training = dataclasses.replace(task.training, info={**task.training.info, "folder": data})
    train(Run.create(folder, recipe, overwrite=overwrite), model=task.model, data=training, progress=progress)
