"""`analognets train`: run a recipe's two stages."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console
from analognets.cli.data import Json, Quiet, SkipCorrupt, notes_later, percent
from analognets.cli.spiking import train_spiking
from analognets.errors import DataError, RunError, UnknownNameError

__all__ = ["is_synthetic", "load_task", "resume_command", "run_recipe", "start_backend", "train", "use_data"]

STAGES = {
    "float": "Stage 1, float",
    "hardware_aware": "Stage 2, hardware-aware",
    "on_device": "Learning on devices",
}
MEASURES = {
    "loss": "loss",
    "accuracy": "accuracy",
    "val_accuracy": "validation",
    "val_noisy_accuracy": "with noise",
    "device_pulses_per_weight": "pulses a weight",
}


Task = Annotated[str, typer.Argument(help="What to train: the name of a recipe, such as kws.")]
RecipeName = Annotated[str | None, typer.Option(help="Another recipe: its name, or the path of a YAML file.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Change the recipe, such as --set float.epochs=2; repeatable.")
]
Data = Annotated[str | None, typer.Option(help="Folder of the real data, or 'synthetic' for made speech or pictures.")]
Out = Annotated[Path | None, typer.Option(help="Run folder; runs/<recipe> by default.")]
Seed = Annotated[int | None, typer.Option(help="Seed of everything random; the recipe's by default.")]
FloatFrom = Annotated[Path | None, typer.Option(help="Take the float network of this run and train stage 2 only.")]
OnDevice = Annotated[
    bool, typer.Option("--on-device", help="Learn on memory devices, with pulses, in place of both stages.")
]
Keep = Annotated[bool, typer.Option("--keep", help="If this run is finished already, leave it and succeed.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a run that is in the folder.")]


def train(
    task: Task = "kws",
    recipe: RecipeName = None,
    set_: Set = None,
    data: Data = None,
    out: Out = None,
    seed: Seed = None,
    float_from: FloatFrom = None,
    on_device: OnDevice = False,
    skip_corrupt: SkipCorrupt = False,
    keep: Keep = False,
    overwrite: Overwrite = False,
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
        if given := [name for name, is_given in without.items() if is_given]:
            raise typer.BadParameter(
                f"{given[0]} does not go with '{recipe or task}', which trains spiking synapses; "
                "choose those with --set synapses.kind=pcm (or float, memristor). Leave the option out."
            )
        chosen: dict[str, Any] = {"data": data, "out": out, "seed": seed, "keep": keep, "overwrite": overwrite}
        train_spiking(reporter, recipe or task, set_ or [], **chosen)
        return
    if on_device and float_from is not None:
        raise typer.BadParameter("--on-device begins with fresh weights: leave --float-from out.")
    refuse_unknown(recipe or task)
    resolved = resolve(recipe or task, set_ or [], data, seed, float_from, on_device)
    folder = out or Path("runs") / (f"{resolved.name}-on-device" if on_device else resolved.name)
    options = {"skip_corrupt": skip_corrupt, "keep": keep, "overwrite": overwrite}
    run_recipe(reporter, resolved, folder, data=data, float_from=float_from, **options)


def run_recipe(
    reporter: _console.Reporter,
    recipe: Any,
    folder: Path,
    *,
    data: str | None,
    float_from: Path | None = None,
    skip_corrupt: bool = False,
    keep: bool = False,
    overwrite: bool = False,
) -> None:
    """Train a recipe in a folder, or go on with what was begun there, with bars, hints and a report."""
    from analognets.training.run import Run

    if keep and not overwrite and is_finished(folder, recipe):
        reporter.note(f"{folder} is finished; it is kept as it is.")
        report(reporter, Run.open(folder))
        return
    if float_from is not None and float_from.resolve() == folder.resolve():
        raise RunError(f"--float-from and --out name the same folder, '{folder}'. Choose another one for the new run.")
    hint = resume_command(folder, data=data, float_from=float_from, skip_corrupt=skip_corrupt)
    if not overwrite and folder.is_dir() and any(folder.iterdir()):
        Run.create(folder, recipe)  # a folder that can't be used is better refused before anything slow
        _console.set_resume_hint(hint)
    source = Run.open(float_from) if float_from else None
    reporter.note(f"Recipe {recipe.name}, seed {recipe.seed}, run folder {folder}")
    start_backend(reporter)
    network, training = gather(reporter, recipe, data, source, skip_corrupt)
    run = Run.create(folder, recipe, overwrite=overwrite)
    _console.set_resume_hint(hint)

    from analognets.training import train as run_stages

    with TrainingBars(reporter) as bars:
        run_stages(run, model=network, data=training, progress=bars)
    _console.set_resume_hint(None)
    report(reporter, Run.open(run.path))


def is_synthetic(data: str) -> bool:
    """Whether --data asks for made data instead of naming a folder."""
    return data == "synthetic"


def use_data(recipe: Any, data: str | None) -> Any:
    """Return the recipe on the data set that --data asks for; options of another data set don't fit and go."""
    from analognets.datasets.registry import for_folder, stand_in

    if data is None:
        return recipe
    name = (stand_in if is_synthetic(data) else for_folder)(recipe.dataset.name)
    return recipe if name == recipe.dataset.name else recipe.replace({"dataset": name})


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
    from analognets.zoo.tasks import find_recipe

    changes = ["on_device.enabled=true", "hardware_aware=null", "float.weight_clip_sigma=null"] if on_device else []
    if float_from is not None:
        changes.append("float.epochs=0")
    if seed is not None:
        changes.append(f"seed={seed}")
    return use_data(find_recipe(name), data).replace([*changes, *overrides])


def is_finished(folder: Path, recipe: Any) -> bool:
    """Whether the folder holds a finished run of this very recipe."""
    from analognets.training.run import Run

    try:
        run = Run.open(folder)
    except RunError:
        return False
    return run.finished and run.recipe.fingerprint() == recipe.fingerprint()


def resume_command(folder: Path, *, data: str | None, float_from: Path | str | None, skip_corrupt: bool) -> str:
    """Return the command that goes on with a run."""
    words = ["analognets", "train", "--recipe", str(folder / "recipe.yaml"), "--out", str(folder)]
    words += ["--data", data] if data else []
    words += ["--float-from", str(float_from)] if float_from else []
    words += ["--skip-corrupt"] if skip_corrupt else []
    return shlex.join(words)


def start_backend(reporter: _console.Reporter) -> None:
    """Import TensorFlow and what stands on it, and say so, because it takes seconds."""
    if "tensorflow" in sys.modules:
        return
    with reporter.status("Starting TensorFlow ..."), _console.quiet_imports():
        import librosa.filters  # noqa: F401

        import analognets.datasets.pipeline
        import analognets.training  # noqa: F401


def load_task(
    reporter: _console.Reporter, recipe: Any, data: str | None, skip_corrupt: bool, *, calibrate: bool = True
) -> Any:
    """Load the data of a recipe with a bar, from the folder `data` or from where its loader looks by itself."""
    from analognets.datasets.registry import is_generated
    from analognets.zoo.tasks import prepare

    options = {"on_corrupt": "skip"} if skip_corrupt and not is_generated(recipe.dataset.name) else {}
    folder = None if data is None or is_synthetic(data) else Path(data)
    with notes_later(), reporter.progress("Data", 100) as bar:
        return prepare(recipe, data_dir=folder, progress=percent(bar), calibrate=calibrate, **options)


def gather(
    reporter: _console.Reporter, recipe: Any, data: str | None, source: Any, skip_corrupt: bool
) -> tuple[Any, Any]:
    """Return the network, or a function that builds it, and the data of a training.

    What does not fit is found here, before anything is written or replaced.
    """
    import keras

    from analognets.datasets.registry import dataset_kind

    try:
        job = load_task(reporter, recipe, data, skip_corrupt)
    except DataError as error:
        if data is None:
            made = "speech made by espeak-ng" if dataset_kind(recipe.dataset.name) == "audio" else "drawn pictures"
            error.add_note(f"Without recordings, train on {made}: --data synthetic")
        raise
    for note in job.data.info.notes:
        reporter.warn(note)
    counts = ", ".join(f"{len(split)} {name}" for name, split in job.data.splits.items())
    reporter.note(f"{job.data.info.name}: {counts} {job.samples}")
    origin: dict[str, Any] = {"folder": None if data is None or is_synthetic(data) else str(Path(data).resolve())}
    origin |= {"skip_corrupt": skip_corrupt, "float_from": str(source.path.resolve()) if source else None}
    training = dataclasses.replace(job.training, info={**job.training.info, **origin})
    network = source.float_model() if source else job.model
    with reporter.status("Checking that recipe, network and hardware fit ..."):
        training.train_batches(0)
        rehearse(recipe, network if isinstance(network, keras.Model) else network())
    return network, training


def rehearse(recipe: Any, network: Any) -> None:
    """Convert the network, or put it on devices, once, if the recipe will."""
    from analognets.conversion import to_analog

    stage = recipe.hardware_aware
    if stage is not None:
        to_analog(network, stage.hardware.crossbar(), exempt=stage.exempt)
    if recipe.learns_on_devices:
        from analognets.training.optimizers import make_optimizer
        from analognets.training.stages import on_devices

        make_optimizer(recipe.float_stage, network.trainable_variables, steps_per_epoch=1, wrap=on_devices(recipe))


class TrainingBars:
    """Shows the `Progress` of a training: one bar a stage that moves with every batch, one line an epoch."""

    def __init__(self, reporter: _console.Reporter) -> None:
        self.reporter = reporter
        self._shown: Any = None
        self._bar: Any = None

    def __enter__(self) -> TrainingBars:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close(*error)

    def close(self, *error: Any) -> None:
        """End the bar that is shown."""
        if self._shown is not None:
            self._shown.__exit__(*(error or (None, None, None)))
        self._shown = self._bar = None

    def __call__(self, event: Any) -> None:
        if event.kind in ("stage", "finished"):
            self.close()
        if event.message:
            self.reporter.note(event.message)
        if event.kind == "stage" and event.epochs > event.epoch:
            title = STAGES.get(event.stage, event.stage)
            self._shown = self.reporter.progress(title, event.epochs * event.batches)
            self._bar = self._shown.__enter__()
            self._bar.update(event.epoch * event.batches, "compiling")
        if event.kind == "batch" and self._bar is not None:
            done = event.epoch * event.batches + event.batch
            self._bar.update(done, f"epoch {event.epoch + 1}/{event.epochs}")
        if event.kind == "epoch_end":
            found = [f"{name} {event.metrics[key]:.3f}" for key, name in MEASURES.items() if key in event.metrics]
            self.reporter.note(f"Epoch {event.epoch + 1}/{event.epochs}: {', '.join(found)}")


def report(reporter: _console.Reporter, run: Any) -> None:
    """Print what came out of a finished run."""
    last = {row["stage"]: row for row in run.metrics()}
    reporter.result({"run": str(run.path), "status": run.status, "seed": run.recipe.seed, "stages": last})
    for stage, row in last.items():
        if "val_accuracy" in row:
            reporter.say(f"{STAGES.get(stage, stage)}: validation accuracy {100 * row['val_accuracy']:.2f} %")
    words = ["analognets", "evaluate", str(run.path)]
    if run.recipe.hardware_aware is None and not run.recipe.learns_on_devices:
        words = ["analognets", "train", "RECIPE", "--float-from", str(run.path), "--out", "FOLDER"]
    reporter.say(f"Next: {shlex.join(words)}")
