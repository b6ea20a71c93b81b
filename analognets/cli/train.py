"""`analognets train`: run a recipe's two stages."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console
from analognets.errors import RunError

__all__ = ["train"]

STAGES = {"float": "Stage 1, float", "hardware_aware": "Stage 2, hardware-aware"}


def train(
    task: Annotated[str, typer.Argument(help="What to train: the name of a recipe, such as kws.")] = "kws",
    recipe: Annotated[str | None, typer.Option(help="Another recipe: its name, or the path of a YAML file.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change the recipe, e.g. --set hardware_aware.epochs=2.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Folder of the real data, or 'synthetic' for speech made by espeak-ng.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/<recipe> by default.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random; the recipe's by default.")] = None,
    float_from: Annotated[
        Path | None, typer.Option(help="Take the float network of this run and train stage 2 only.")
    ] = None,
    skip_corrupt: Annotated[bool, typer.Option(help="Leave out clips that can't be read instead of stopping.")] = False,
    keep: Annotated[bool, typer.Option(help="If the run is finished already, leave it and succeed.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace a run that is in the folder.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")] = False,
) -> None:
    """Train a network for an analog chip: float first, then with converters and weight noise.

    The same command goes on with a run that was interrupted.
    """
    from analognets.training.run import Run

    reporter = _console.Reporter(json=json, quiet=quiet)
    resolved = resolve(recipe or task, set_ or [], data, seed, float_from)
    folder = out or Path("runs") / resolved.name
    if keep and not overwrite and is_finished(folder, resolved):
        reporter.note(f"{folder} is finished; it is kept as it is.")
        report(reporter, Run.open(folder))
        return
    source = Run.open(float_from) if float_from else None
    run = Run.create(folder, resolved, overwrite=overwrite)
    _console.set_resume_hint(resume_command(run.path, float_from, data, skip_corrupt))
    reporter.note(f"Recipe {resolved.name}, seed {resolved.seed}, run folder {run.path}")
    with _console.quiet_imports():
        import keras

        from analognets.zoo.tasks import prepare
    with reporter.progress("Data", 100) as bar:
        job = prepare(
            resolved,
            data_dir=None if data is None or is_synthetic(data) else Path(data),
            progress=lambda done, total: bar.update(round(100 * done / max(total, 1))),
            **({"on_corrupt": "skip"} if skip_corrupt else {}),
        )
    for note in job.data.info.notes:
        reporter.warn(note)
    reporter.note(f"{job.data.info.name}: {', '.join(f'{len(s)} {n}' for n, s in job.data.splits.items())} clips")

    origin = {"folder": None if data is None or is_synthetic(data) else str(Path(data).resolve())}
    if source:
        origin["float_from"] = str(source.path)
    training = dataclasses.replace(job.training, info={**job.training.info, **origin})

    def network() -> Any:
        return source.float_model() if source else job.model()

    from analognets.training import train as run_stages

    keras.utils.set_random_seed(resolved.seed)
    with TrainingBars(reporter) as bars:
        run_stages(run, model=network, data=training, progress=bars)
    _console.set_resume_hint(None)
    report(reporter, Run.open(run.path))


def is_synthetic(data: str) -> bool:
    """Whether --data asks for made speech instead of naming a folder."""
    return data == "synthetic"


def resolve(name: str, overrides: list[str], data: str | None, seed: int | None, float_from: Path | None) -> Any:
    """Return the recipe with everything the command line says applied."""
    from analognets.zoo.tasks import find_recipe

    changes = []
    if data is not None:
        changes.append(f"dataset.name={'synthetic_speech' if is_synthetic(data) else 'speech_commands'}")
    if float_from is not None:
        changes.append("float.epochs=0")
    if seed is not None:
        changes.append(f"seed={seed}")
    return find_recipe(name, [*changes, *overrides])


def is_finished(folder: Path, recipe: Any) -> bool:
    """Whether the folder holds a finished run of this very recipe."""
    from analognets.training.run import Run

    try:
        run = Run.open(folder)
    except RunError:
        return False
    return run.finished and run.recipe.fingerprint() == recipe.fingerprint()


def resume_command(folder: Path, float_from: Path | None, data: str | None, skip_corrupt: bool) -> str:
    """Return the command that goes on with a run."""
    words = ["analognets", "train", "--recipe", str(folder / "recipe.yaml"), "--out", str(folder)]
    words += ["--data", data] if data else []
    words += ["--float-from", str(float_from)] if float_from else []
    words += ["--skip-corrupt"] if skip_corrupt else []
    return shlex.join(words)


class TrainingBars:
    """Shows the `Progress` of a training: one bar a stage that moves with every batch."""

    def __init__(self, reporter: _console.Reporter) -> None:
        self.reporter = reporter
        self.text = ""
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
        if event.message:
            self.reporter.note(event.message)
        if event.kind == "stage":
            self.close()
            if event.epochs:
                title = f"{STAGES.get(event.stage, event.stage)}, {event.epochs} epochs"
                self._shown = self.reporter.progress(title, event.epochs * event.batches)
                self._bar = self._shown.__enter__()
        if event.kind == "epoch_end":
            self.text = " ".join(
                f"{name} {event.metrics[key]:.3f}"
                for name, key in (("loss", "loss"), ("accuracy", "accuracy"), ("validation", "val_accuracy"))
                if key in event.metrics
            )
        if self._bar is not None and event.kind in ("batch", "epoch_end"):
            done = event.epoch * event.batches + event.batch
            self._bar.update(done, f"epoch {event.epoch + 1}/{event.epochs} {self.text}")


def report(reporter: _console.Reporter, run: Any) -> None:
    """Print what came out of a finished run."""
    last = {row["stage"]: row for row in run.metrics()}
    reporter.result({"run": str(run.path), "status": run.status, "seed": run.recipe.seed, "stages": last})
    for stage, row in last.items():
        if "val_accuracy" in row:
            reporter.say(f"{STAGES.get(stage, stage)}: validation accuracy {100 * row['val_accuracy']:.2f} %")
    reporter.say(f"Next: analognets evaluate {run.path}")
