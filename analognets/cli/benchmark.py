"""`analognets benchmark`: the networks of a suite as published, as int8 and on analog chips, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console, options
from analognets.cli._report import point_to, repeating
from analognets.cli._work import percent, records, start_backend, times_of, words

__all__ = ["benchmark"]

SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="Which suite: mlperf-tiny.")]
Members = Annotated[list[str] | None, typer.Argument(metavar="[MEMBER]...", help="As --only: ic kws vww ad sww.")]
Models = Annotated[
    Path | None, typer.Option(help="Folder of the published files; by default in ANALOGNETS_DATA, or downloaded.")
]
DataFolders = Annotated[
    list[str] | None,
    typer.Option("--data", help="Folder of data sets, or KEY=DIR for one network's data; repeatable."),
]
Only = Annotated[list[str] | None, typer.Option(help="Some networks only, with commas; all by default.")]
Bits = Annotated[str | None, typer.Option(help="Of the converters; 8,6,4 by default, 8 with --quick.")]
Times = Annotated[str, typer.Option(help="Times since programming, with commas.")]
Chips = Annotated[int | None, typer.Option(min=1, help="How many to programme; 5 by default, 1 with --quick.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Most test samples; all by default, 200 with --quick.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of trainings and chips.")]
Quick = Annotated[bool, typer.Option("--quick", help="Try the command: trainings of a few steps, few samples.")]
NoTraining = Annotated[bool, typer.Option("--no-training", help="Leave fine-tuning out.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Forget the measurements and trainings that are in the folder.")
]


def benchmark(
    suite: SuiteName = "mlperf-tiny",
    members: Members = None,
    models: Models = None,
    data: DataFolders = None,
    only: Only = None,
    bits: Bits = None,
    at: Times = "1d,1y",
    chips: Chips = None,
    limit: Limit = None,
    seed: Seed = 0,
    quick: Quick = False,
    no_training: NoTraining = False,
    out: options.Out = Path("benchmark"),
    overwrite: Overwrite = False,
    open_: options.OpenReport = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a suite of published networks: accuracy, int8, arena, energy, and chips after a day and a year.

    Each network is mapped as it is and, where its data are at hand, fine-tuned at each precision. The same command goes
    on with what was interrupted.
    """
    times = times_of(at)
    precisions = wanted_bits(bits or ("8" if quick else "8,6,4"))
    keys = [key for entry in (*(members or ()), *(only or ())) for key in words(entry)]
    reporter = _console.Reporter(json=json, quiet=quiet)
    start_backend(reporter)

    from analognets.deploy.studies.suites import benchmark as run

    _console.set_resume_hint(_console.command(without=["--overwrite"]))
    table = run(
        suite,
        out,
        models=models,
        data=data or (),
        only=keys,
        bits=precisions,
        at=times,
        chips=chips or (1 if quick else 5),
        limit=limit or (200 if quick else None),
        seed=seed,
        quick=quick,
        training=not no_training,
        trainer=trainer(reporter),
        overwrite=overwrite,
        progress=Told(reporter),
        command=repeating(),
    )
    _console.set_resume_hint(None)
    show(reporter, table, out)
    point_to(reporter, out / "benchmark.html", open_it=open_)


def wanted_bits(text: str) -> list[int]:
    """Return the numbers of a list with commas, each once.

    Raises:
        BadParameter: one is no number.
    """
    found = [word.strip() for word in text.split(",")]
    if not all(word.isdigit() for word in found):
        raise typer.BadParameter(f"--bits takes numbers such as 8,6,4. Received: {text!r}.")
    return list(dict.fromkeys(map(int, found)))


def trainer(reporter: _console.Reporter) -> Any:
    """Return what trains a recipe with bars."""
    from analognets.cli._training import TrainingBars
    from analognets.deploy.studies.suites.run import train_here

    def train(recipe: Any, folder: Path, data: str, overwrite: bool) -> None:
        hardware = recipe.hardware_aware.hardware.preset
        reporter.note(f"Fine-tuning {recipe.name} for {hardware}, run folder {folder}")
        with TrainingBars(reporter) as bars:
            train_here(recipe, folder, data, overwrite, progress=bars)

    return train


class Told:
    """Prints each measurement once, as it is done."""

    def __init__(self, reporter: _console.Reporter) -> None:
        self.reporter = reporter
        self._told: set[Any] = set()

    def __call__(self, done: int, total: int, row: dict[str, Any]) -> None:
        what = (row["member"], row["kind"], row["bits"])
        if what in self._told:
            return
        self._told.add(what)
        bits = "" if row["bits"] is None else f", {int(row['bits'])} bit"
        if row["status"] != "ok":
            self.reporter.warn(f"{row['member']}, {row['kind']}{bits}: {row['error']}")
            return
        kept = "accuracy", "energy_uj", "arena_bytes"
        said = [f"{name} {percent(row[name]) if name == 'accuracy' else f'{row[name]:.4g}'}"
                for name in kept if row.get(name) is not None]  # fmt: skip
        said += [f"after {key[5:]} {percent(value)} %" for key, value in row.items()
                 if key.startswith("mean_") and value is not None]  # fmt: skip
        self.reporter.note(f"{row['member']}, {row['kind']}{bits}: {', '.join(said) or 'done'}")


def show(reporter: _console.Reporter, table: Any, out: Path) -> None:
    """Print the figures of accuracy and cost, and where the whole table is."""
    from analognets.metrics import format_interval

    reporter.result({"results": str(out), "figures": records(table)})
    aged = table[table["at"].notna() & table["value"].notna()]
    rows = []
    for row in aged.to_dict("records"):
        shown = format_interval(row["value"], row["low"], row["high"])
        rows.append((row["member"], row["figure"], f"{row['bits']:.0f}", row["at"], shown, row["measured_on"]))
    if rows:
        reporter.table(["network", "on chips", "bits", "at", "accuracy %", "measured on"], rows)
    for note in dict.fromkeys(table[table["value"].notna()]["note"]):
        if note:
            reporter.say(f"Note: {note}")
    reporter.point(f"Written to {out}: benchmark.csv, benchmark.json, benchmark.md, benchmark.html")
