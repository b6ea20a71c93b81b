"""`analognets data`: what data sets there are, what one holds, and getting it ready."""

from __future__ import annotations

import dataclasses
import importlib
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console
from analognets.cli._work import loading_data, per_hundred
from analognets.cli.options import Json, Quiet, SkipCorrupt

__all__ = ["data"]

data = typer.Typer(no_args_is_help=True, add_completion=False, help="List, prepare and describe data sets.")

DOWNLOADS: dict[str, tuple[str, tuple[str, ...]]] = {
    "speech_commands": ("analognets.datasets.speech_commands", ()),
    "coco_vww": ("analognets.datasets.coco", ("year",)),
}
"""Module of each data set that can be downloaded, and which options its `download` takes too."""

RECIPES = {
    "speech_commands": "kws",
    "synthetic_speech": "kws",
    "visual_wake_words": "vww",
    "coco_vww": "vww --set dataset=coco_vww",
    "synthetic_persons": "vww",
    "mnist": "mnist_mlp --on-device",
}
"""What `analognets train` trains on a data set."""

Name = Annotated[str, typer.Argument(help="Name of the data set; `analognets data list` shows them.")]
Folder = Annotated[Path | None, typer.Option("--data", help="Folder of the data set; the cache by default.")]
Classes = Annotated[
    str | None, typer.Option(help="12 or 35 for speech_commands; names of folders, such as on,off, for your own data.")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Option of the data set's loader, such as --set year=2014 or --set size=64; repeatable."
    ),
]


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
    set_: Set = None,
    skip_corrupt: SkipCorrupt = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what a data set holds: counts by class and split, licence, citation, and what was found while reading."""
    reporter = _console.Reporter(json=json, quiet=quiet)
    describe(reporter, load(reporter, name, folder, options(classes, set_, skip_corrupt)))


@data.command("prepare")
def prepare(
    name: Name = "speech_commands",
    folder: Folder = None,
    classes: Classes = None,
    set_: Set = None,
    skip_corrupt: SkipCorrupt = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Download (if no folder is given), check and cache a data set, so that training starts at once."""
    from analognets.datasets.registry import is_generated, list_datasets
    from analognets.errors import UnknownNameError

    reporter = _console.Reporter(json=json, quiet=quiet)
    if name not in list_datasets():
        raise UnknownNameError("data set", name, list_datasets())
    wanted = options(classes, set_, skip_corrupt)
    if name in DOWNLOADS and folder is None:
        module, settings = DOWNLOADS[name]
        fetch = importlib.import_module(module).download
        with reporter.progress("Download", 100) as bar:
            fetch(progress=per_hundred(bar), **{key: wanted[key] for key in settings if key in wanted})
    found = load(reporter, name, folder, wanted)
    describe(reporter, found)
    if name in RECIPES:
        where = "synthetic" if is_generated(name) else folder and str(folder)
        reporter.say(f"Next: analognets train {RECIPES[name]}{f' --data {shlex.quote(where)}' if where else ''}")


def options(classes: str | None, set_: list[str] | None, skip_corrupt: bool) -> dict[str, Any]:
    """Return the loader's options that the command line asks for.

    Raises:
        RecipeError: an item of --set is no `name=value`.
    """
    from analognets.training.recipe import split_override

    found: dict[str, Any] = {}
    if classes is not None:
        found["classes"] = int(classes) if classes.isdigit() else [name.strip() for name in classes.split(",")]
    for text in set_ or []:
        key, value = split_override(text)
        found[key] = value
    if skip_corrupt:
        found["on_corrupt"] = "skip"
    return found


def load(reporter: _console.Reporter, name: str, folder: Path | None, wanted: dict[str, Any]) -> Any:
    """Load a data set with a bar."""
    from analognets.datasets.registry import load_dataset

    with loading_data(reporter) as progress:
        return load_dataset(name, folder, progress=progress, **wanted)


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
