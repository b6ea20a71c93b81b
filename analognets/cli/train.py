"""`analognets train`: run a recipe's two stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console
from analognets.cli._spiking import train_spiking
from analognets.cli._training import run_recipe, with_strategy
from analognets.cli.options import Json, Keep, OpenReport, OverwriteRun, Quiet, SetOption, SkipCorrupt, Strategy
from analognets.errors import UnknownNameError

__all__ = ["resolve", "train"]


Task = Annotated[str, typer.Argument(help="What to train: the name of a recipe, such as kws.")]
RecipeName = Annotated[
    str | None, typer.Option(help="Another recipe: its name, or a YAML file; by default that of the task.")
]
Data = Annotated[str | None, typer.Option(help="Folder of the real data, or 'synthetic' for made speech or pictures.")]
Out = Annotated[Path | None, typer.Option(help="Run folder; runs/<recipe> by default.")]
Seed = Annotated[int | None, typer.Option(help="Seed of everything random; the recipe's by default.")]
FloatFrom = Annotated[Path | None, typer.Option(help="Take the float network of this run and train stage 2 only.")]
OnDevice = Annotated[
    bool, typer.Option("--on-device", help="Learn on memory devices, with pulses, in place of both stages.")
]


def train(
    task: Task = "kws",
    recipe: RecipeName = None,
    set_: SetOption = None,
    data: Data = None,
    out: Out = None,
    seed: Seed = None,
    float_from: FloatFrom = None,
    on_device: OnDevice = False,
    strategy: Strategy = None,
    skip_corrupt: SkipCorrupt = False,
    keep: Keep = False,
    overwrite: OverwriteRun = False,
    open_: OpenReport = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a network for an analog chip: float first, then with converters and weight noise, or on its devices.

    The same command goes on with a run that was interrupted.
    """
    reporter = _console.Reporter(json=json, quiet=quiet)
    from analognets.zoo.experiments.spiking_recipe import is_spiking

    if is_spiking(recipe or task):
        without = {"--on-device": on_device, "--float-from": float_from is not None, "--skip-corrupt": skip_corrupt}
        without["--strategy"] = strategy is not None
        if given := [name for name, is_given in without.items() if is_given]:
            raise typer.BadParameter(
                f"{given[0]} does not go with '{recipe or task}', which trains spiking synapses; "
                "choose those with --set synapses.kind=pcm (or float, memristor). Leave the option out."
            )
        chosen: dict[str, Any] = {"data": data, "out": out, "seed": seed, "keep": keep, "overwrite": overwrite}
        chosen["open_it"] = open_
        train_spiking(reporter, recipe or task, set_ or [], **chosen)
        return
    if on_device and float_from is not None:
        raise typer.BadParameter("--on-device begins with fresh weights: leave --float-from out.")
    refuse_unknown(recipe or task)
    resolved = with_strategy(resolve(recipe or task, set_ or [], data, seed, float_from, on_device), strategy)
    folder = out or Path("runs") / (f"{resolved.name}-on-device" if on_device else resolved.name)
    options = {"skip_corrupt": skip_corrupt, "keep": keep, "overwrite": overwrite, "open_it": open_}
    run_recipe(reporter, resolved, folder, data=data, float_from=float_from, **options)


def refuse_unknown(name: str) -> None:
    """Raise unless the name is a file or one of the packaged recipes, those of spikes included."""
    from analognets.core.config import names_a_file
    from analognets.zoo.experiments.spiking_recipe import list_spiking_recipes
    from analognets.zoo.tasks import list_recipes

    known = list_recipes()
    if not names_a_file(name) and name.replace("-", "_") not in known:
        names = [*known, *list_spiking_recipes()]
        raise UnknownNameError("recipe", name, names, "A file is given by its path, such as ./mine.yaml.")


def resolve(
    name: str,
    overrides: list[str],
    data: str | None,
    seed: int | None,
    float_from: Path | None,
    on_device: bool = False,
) -> Any:
    """Return the recipe with everything the command line says applied."""
    from analognets.zoo.tasks import find_recipe, with_data

    changes = ["on_device.enabled=true", "hardware_aware=null", "float.weight_clip_sigma=null"] if on_device else []
    if float_from is not None:
        changes.append("float.epochs=0")
    if seed is not None:
        changes.append(f"seed={seed}")
    return with_data(find_recipe(name), data).replace([*changes, *overrides])
