"""`analognets finetune`: a pretrained network for one's own words or pictures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from analognets.cli import _console
from analognets.cli.data import Json, Quiet, SkipCorrupt
from analognets.cli.train import Keep, Overwrite, run_recipe, start_backend
from analognets.errors import DataError, PresetError

__all__ = ["finetune"]

FEWEST = 8
"""Fewest samples of a class: two for validation, two for testing, and some to learn from."""

WORDS = {"audio": "recordings", "image": "pictures"}


class Bits(StrEnum):
    """Resolution of the published chips."""

    eight = "8"
    six = "6"
    four = "4"


class Folder(NamedTuple):
    """What --data names."""

    kind: str
    classes: tuple[str, ...]
    training: int


Preset = Annotated[str, typer.Argument(help="A preset (bundled name, path, https:// or hf://), or a run folder.")]
Data = Annotated[Path, typer.Option(help="Folder with one folder a class: DIR/<word>/*.wav or DIR/<class>/*.png.")]
Classes = Annotated[str | None, typer.Option(help="Folders to tell apart, separated by commas; all by default.")]
Unknown = Annotated[bool, typer.Option("--unknown", help="Make the folders outside of --classes one class, 'unknown'.")]
Silence = Annotated[bool, typer.Option("--silence", help="Add the class 'silence', made from noise.")]
Epochs = Annotated[int | None, typer.Option(min=0, help="Of the float stage; by the amount of data by default.")]
HwaEpochs = Annotated[int | None, typer.Option(min=0, help="Of the hardware-aware stage; likewise.")]
Freeze = Annotated[bool, typer.Option("--freeze", help="Train the new last layer only.")]
Resolution = Annotated[Bits | None, typer.Option(help="Converters of the chip; those of the preset by default.")]
Hardware = Annotated[str | None, typer.Option(help="Another chip, by the name of its hardware preset.")]
Out = Annotated[Path | None, typer.Option(help="Run folder; runs/<preset>-<data folder> by default.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change the recipe, such as --set float.epochs=2; repeatable."),
]
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
    set_: Set = None,
    seed: Seed = 0,
    skip_corrupt: SkipCorrupt = False,
    keep: Keep = False,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a pretrained network on your own words or pictures, for an analog chip.

    The last layer is replaced by one for your classes. The same command goes on with a run that was interrupted.
    """
    if bits is not None and hardware is not None:
        raise typer.BadParameter("--bits and --hardware both name the chip: give one of them.")
    reporter = _console.Reporter(json=json, quiet=quiet)
    wanted = None if classes is None else [name.strip() for name in classes.split(",") if name.strip()]
    folder = survey(data, wanted, unknown=unknown, silence=silence)
    reporter.note(f"{data}: {len(folder.classes)} classes: {', '.join(folder.classes)}")
    start_backend(reporter)

    from analognets.zoo.finetune import finetune_recipe

    with reporter.status(f"Opening {preset} ..."):
        recipe = finetune_recipe(
            preset,
            classes=folder.classes,
            samples=folder.training,
            dataset=dataset(folder, wanted, unknown=unknown, silence=silence),
            epochs=epochs,
            hardware_aware_epochs=hwa_epochs,
            freeze=freeze,
            hardware=hardware if bits is None else f"aon_cim_{bits}bit",
            seed=seed,
            suffix=data.resolve().name,
            overrides=set_ or [],
        )
    path = out or Path("runs") / recipe.name
    refuse_other_weights(path, recipe, overwrite)
    run_recipe(reporter, recipe, path, data=str(data), skip_corrupt=skip_corrupt, keep=keep, overwrite=overwrite)


def survey(data: Path, wanted: list[str] | None, *, unknown: bool, silence: bool) -> Folder:
    """Look at the user's folder without reading a file, and refuse what can't be learned from.

    Raises:
        DataError: there is no such folder, a class is missing, there is one class only, or too few samples.
    """
    from analognets.datasets.audio_folder import SUFFIXES as SOUND
    from analognets.datasets.folders import find_classes, read_folders
    from analognets.datasets.image_folder import SUFFIXES as PICTURES
    from analognets.datasets.speech_layout import UNKNOWN

    found = read_folders(data, (*SOUND, *PICTURES), what="recordings or pictures")
    endings = [item.path.suffix.lower() for items in found.items.values() for item in items]
    kind = "audio" if sum(ending in SOUND for ending in endings) * 2 >= len(endings) else "image"
    if kind == "image" and (unknown or silence):
        raise typer.BadParameter("--unknown and --silence are for recordings; --data holds pictures.")
    if unknown and wanted is None:
        raise typer.BadParameter("--unknown gathers the folders outside of --classes: give --classes, too.")
    named = find_classes(found, wanted, what=WORDS[kind])
    counts = {name: 0 for name in named}
    others = training = 0
    for split, items in found.items.items():
        for item in items:
            if item.folder in counts:
                counts[item.folder] += 1
            elif item.folder[0] != "_" or item.folder == UNKNOWN:
                others += 1
            training += split in ("", "train") and (item.folder in counts or unknown)
    made = [*(["silence"] if silence else []), *(["unknown"] if unknown else [])]
    if len(named) + len(made) < 2:
        raise DataError(
            f"At least two classes are needed to tell apart. Received: {', '.join(named) or 'none'} in '{data}'. Put "
            f"other {WORDS[kind]} into a second folder" + (", or add --silence." if kind == "audio" else ".")
        )
    few = {name: count for name, count in counts.items() if count < FEWEST}
    if unknown and others < FEWEST:
        few["unknown"] = others
    if few:
        raise DataError(
            f"Each class needs at least {FEWEST} {WORDS[kind]}, better some hundred. Received: "
            f"{', '.join(f'{count} of {name!r}' for name, count in few.items())} in '{data}'."
        )
    share = 1.0 if set(found.items) & {"validation", "test"} else 0.8
    return Folder(kind, (*named, *made), max(1, int(share * training)))


def dataset(folder: Folder, wanted: list[str] | None, *, unknown: bool, silence: bool) -> dict[str, Any]:
    """Return name and options of the data set, as in a recipe."""
    options: dict[str, Any] = {} if wanted is None else {"classes": wanted}
    if unknown:
        options["unknown"] = True
    if silence:
        options["silence"] = True
    return {"name": f"{folder.kind}_folder", "options": options}


def refuse_other_weights(path: Path, recipe: Any, overwrite: bool) -> None:
    """Raise if an unfinished run was begun with other weights of the same preset.

    Raises:
        PresetError: it was.
    """
    from analognets.training.run import Run

    if overwrite or not (path / "run.json").is_file():
        return
    begun = Run.open(path).recipe
    key = "weights_sha256"
    before, now = begun.model.options, recipe.model.options
    if begun.model.name == "finetuned" and before.get("preset") == now["preset"] and before.get(key) != now[key]:
        raise PresetError(
            f"The run '{path}' was begun with other weights of '{now['preset']}': the preset was replaced or trained "
            "again since. Restore it, choose another --out, or replace the run with --overwrite."
        )
