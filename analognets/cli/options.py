"""Options and arguments that several commands take, so that each is named and explained once."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Chips",
    "Data",
    "Json",
    "Keep",
    "Limit",
    "NoCompensation",
    "OnRay",
    "OpenReport",
    "Out",
    "OverwriteResults",
    "OverwriteRun",
    "Quiet",
    "Ranges",
    "RangesOption",
    "Seed",
    "SetOption",
    "SkipCorrupt",
    "Split",
    "SplitOption",
    "Strategy",
    "StudyData",
    "StudyNetworks",
    "Time",
    "Workers",
]


class Split(enum.StrEnum):
    """What --split takes."""

    test = "test"
    validation = "validation"


class Ranges(enum.StrEnum):
    """What --ranges takes."""

    calibrated = "calibrated"
    kept = "kept"


# How a command talks.
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")]
OpenReport = Annotated[bool, typer.Option("--open", help="Open the report in the browser.")]

# Trainings.
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Change the recipe, such as --set float.epochs=2; repeatable.")
]
SkipCorrupt = Annotated[
    bool, typer.Option("--skip-corrupt", help="Leave out clips or pictures that can't be read instead of stopping.")
]
Strategy = Annotated[
    str | None,
    typer.Option(help="Train on several devices: mirrored, mirrored:N, multi_worker (by TF_CONFIG), or none."),
]
Keep = Annotated[bool, typer.Option("--keep", help="If this run is finished already, leave it and succeed.")]
OverwriteRun = Annotated[bool, typer.Option("--overwrite", help="Replace a run that is in the folder.")]

# What a trained network is measured on.
Data = Annotated[str | None, typer.Option(help="Folder of the real data, or 'synthetic'; by default as in training.")]
SplitOption = Annotated[Split, typer.Option(help="Which clips to measure on.")]
RangesOption = Annotated[
    Ranges,
    typer.Option(help="Of converters with other bits than trained: set again on training data, or kept as trained."),
]

# Studies over many chips.
StudyNetworks = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN|PRESET|FILE.keras ...",
        help="Folders of finished runs, handles of presets, or saved analog models.",
    ),
]
StudyData = Annotated[
    str | None,
    typer.Option(
        help="Folder of the real data, 'synthetic', or a .npz file of `inputs` (features, as the network takes them) "
        "and `labels`; as in training by default."
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Most test samples, spread evenly; all by default.")]
Chips = Annotated[int, typer.Option(min=1, help="How many chips to programme at each point.")]
Time = Annotated[str, typer.Option(help="Time since programming.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the chips.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes on this machine; each takes about 1 GB.")]
OnRay = Annotated[bool, typer.Option("--ray", help="Run on the Ray cluster in RAY_ADDRESS, or one started here.")]
Out = Annotated[Path, typer.Option(help="Folder for the results; what was interrupted goes on there.")]
OverwriteResults = Annotated[bool, typer.Option("--overwrite", help="Forget the results that are in the folder.")]
NoCompensation = Annotated[
    bool, typer.Option("--no-drift-compensation", help="Don't scale the outputs of the tiles back.")
]
