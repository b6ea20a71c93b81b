"""`analognets finetune`: a pretrained network for one's own words or pictures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console
from analognets.cli._training import run_recipe, where_to_train, with_strategy
from analognets.cli._work import start_backend, words
from analognets.cli.options import Json, Keep, OpenReport, OverwriteRun, Quiet, SetOption, SkipCorrupt, Strategy
from analognets.errors import InvalidArgumentError

__all__ = ["finetune"]


class Bits(StrEnum):
    """Resolution of the published chips."""

    eight = "8"
    six = "6"
    four = "4"


Preset = Annotated[str, typer.Argument(help="A preset (bundled name, path, https:// or hf://), or a run folder.")]
Data = Annotated[Path, typer.Option(help="Folder with one folder a class: DIR/<word>/*.wav or DIR/<class>/*.png.")]
Classes = Annotated[str | None, typer.Option(help="Folders to tell apart, separated by commas; all by default.")]
Unknown = Annotated[bool, typer.Option("--unknown", help="Make the folders outside of --classes one class, 'unknown'.")]
Silence = Annotated[bool, typer.Option("--silence", help="Add the class 'silence', made from noise.")]
Epochs = Annotated[int | None, typer.Option(min=0, help="Of the float stage; by the amount of data by default.")]
HwaEpochs = Annotated[
    int | None, typer.Option(min=0, help="Of the hardware-aware stage; by the amount of data by default.")
]
Freeze = Annotated[bool, typer.Option("--freeze", help="Train the new last layer only.")]
Resolution = Annotated[Bits | None, typer.Option(help="Converters of the chip; those of the preset by default.")]
Hardware = Annotated[
    str | None, typer.Option(help="Another chip, by the name of its hardware preset; that of the preset by default.")
]
Out = Annotated[Path | None, typer.Option(help="Run folder; runs/<preset>-<data folder> by default.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]


def finetune(
    preset: Preset,
    data: Data,
    classes: Classes = None,
    unknown: Unknown = False,
    silence: Silence = False,
    epochs: Epochs = None,
    hwa_epochs: HwaEpochs = None,
    freeze: Freeze = False,
    bits: Resolution = None,
    hardware: Hardware = None,
    out: Out = None,
    set_: SetOption = None,
    strategy: Strategy = None,
    seed: Seed = 0,
    skip_corrupt: SkipCorrupt = False,
    keep: Keep = False,
    overwrite: OverwriteRun = False,
    open_: OpenReport = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a pretrained network on your own words or pictures, for an analog chip.

    The last layer is replaced by one for your classes. The same command goes on with a run that was interrupted.
    """
    if bits is not None and hardware is not None:
        raise typer.BadParameter("--bits and --hardware both name the chip: give one of them.")
    from analognets.zoo.own_data import survey

    reporter = _console.Reporter(json=json, quiet=quiet)
    wanted = None if classes is None else words(classes)
    try:
        folder = survey(data, wanted, unknown=unknown, silence=silence)
    except InvalidArgumentError as error:
        raise typer.BadParameter(str(error)) from None
    reporter.note(f"{data}: {len(folder.classes)} classes: {', '.join(folder.classes)}")
    start_backend(reporter)
    placement = where_to_train(reporter, strategy)

    from analognets.zoo.finetune import check_same_weights, finetune_recipe

    with reporter.status(f"Opening {preset} ..."):
        recipe = finetune_recipe(
            preset,
            classes=folder.classes,
            samples=folder.training,
            dataset=folder.dataset,
            epochs=epochs,
            hardware_aware_epochs=hwa_epochs,
            freeze=freeze,
            hardware=hardware if bits is None else f"aon_cim_{bits}bit",
            seed=seed,
            suffix=data.resolve().name,
            overrides=set_ or [],
        )
    recipe = with_strategy(recipe, strategy)
    path = out or Path("runs") / recipe.name
    if not overwrite:
        check_same_weights(path, recipe)
    options: dict[str, Any] = {"skip_corrupt": skip_corrupt, "keep": keep, "overwrite": overwrite, "open_it": open_}
    run_recipe(reporter, recipe, path, data=str(data), placement=placement, **options)
