"""`analognets data`: what data sets there are, what one holds, and getting it ready."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console

__all__ = ["data", "percent"]

data = typer.Typer(no_args_is_help=True, add_completion=False, help="List, prepare and describe data sets.")

Name = Annotated[str, typer.Argument(help="Name of the data set; `analognets data list` shows them.")]
Folder = Annotated[Path | None, typer.Option("--data", help="Folder of a recorded data set; the cache by default.")]
Classes = Annotated[int | None, typer.Option(help="12 or 35, for speech_commands.")]
SkipCorrupt = Annotated[
    bool, typer.Option("--skip-corrupt", help="Leave out clips that can't be read instead of stopping.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")]


@data.command("list")
def list_(json: Json = False) -> None:
    """List the data sets."""
    from analognets.datasets.registry import list_datasets

    reporter = _console.Reporter(json=json)
    reporter.result(list_datasets())
    reporter.table(["name", "what it is"], list_datasets().items())


@data.command("info")
def info(
    name: Name = "speech_commands",
    folder: Folder = None,
    classes: Classes = None,
    skip_corrupt: SkipCorrupt = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what a data set holds: clips by class and split, licence, citation, and what was found while reading."""
    reporter = _console.Reporter(json=json, quiet=quiet)
    describe(reporter, load(reporter, name, folder, classes, skip_corrupt))


@data.command("prepare")
def prepare(
    name: Name = "speech_commands",
    folder: Folder = None,
    classes: Classes = None,
    skip_corrupt: SkipCorrupt = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Download (if no folder is given), check and cache a data set, so that training starts at once."""
    from analognets.datasets.registry import list_datasets
    from analognets.errors import UnknownNameError

    reporter = _console.Reporter(json=json, quiet=quiet)
    if name not in list_datasets():
        raise UnknownNameError("data set", name, list_datasets())
    if name == "speech_commands" and folder is None:
        from analognets.datasets.speech_commands import download

        with reporter.progress("Download", 100) as bar:
            download(progress=percent(bar))
    describe(reporter, load(reporter, name, folder, classes, skip_corrupt))
    where = "synthetic" if name == "synthetic_speech" else folder and str(folder)
    reporter.say(f"Next: analognets train kws{f' --data {shlex.quote(where)}' if where else ''}")


def percent(bar: _console.Task) -> Callable[[int, int], None]:
    """Return a callback for (done, total) that moves a bar of 100 steps, each of them once."""

    def update(done: int, total: int) -> None:
        share = 100 * done // max(total, 1)
        if share > bar.done:
            bar.update(share)

    return update


def load(reporter: _console.Reporter, name: str, folder: Path | None, classes: int | None, skip_corrupt: bool) -> Any:
    """Load a data set with a bar."""
    from analognets.datasets.registry import load_dataset

    options: dict[str, Any] = {} if classes is None else {"classes": classes}
    if skip_corrupt:
        options["on_corrupt"] = "skip"
    with reporter.progress("Data", 100) as bar:
        return load_dataset(name, folder, progress=percent(bar), **options)


def describe(reporter: _console.Reporter, found: Any) -> None:
    """Print a data set's counts, licence and notes."""
    from analognets.datasets.registry import dataset_summary

    table = dataset_summary(found)
    reporter.result({**dataclasses.asdict(found.info), "clips": table.to_dict("index")})
    reporter.table(["class", *table.columns], [(name, *map(int, row)) for name, *row in table.itertuples()])
    facts = found.info
    kind = "Synthetic data." if facts.synthetic and "synthetic" not in facts.statement.lower() else ""
    for line in (facts.statement, kind, f"Licence: {facts.licence}", f"Cite: {facts.citation}", facts.homepage):
        if line:
            reporter.say(line)
    for note in facts.notes:
        reporter.warn(note)
