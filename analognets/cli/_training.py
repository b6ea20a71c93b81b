"""A training on the command line: begun, resumed or kept, with bars, hints and a report."""

from __future__ import annotations

import dataclasses
import os
import shlex
from pathlib import Path
from typing import Any

from analognets.cli import _console
from analognets.cli._report import keep_report, leave_report
from analognets.cli._work import loading_data, start_backend
from analognets.errors import DataError, RunError

__all__ = ["TrainingBars", "run_recipe", "where_to_train", "with_strategy"]

REPORT = "report.html"
MEASURES = {
    "loss": "loss",
    "accuracy": "accuracy",
    "val_accuracy": "validation",
    "val_noisy_accuracy": "with noise",
    "device_pulses_per_weight": "pulses a weight",
}


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
    placement: Any = None,
    open_it: bool = False,
) -> None:
    """Train a recipe in a folder, or go on with what was begun there, with bars, hints and a report."""
    from analognets.training.run import Run
    from analognets.zoo.trained import open_trained, resume_command

    if keep and not overwrite and is_finished(folder, recipe):
        reporter.note(f"{folder} is finished; it is kept as it is.")
        report(reporter, Run.open(folder), open_it=open_it, keep=True)
        return
    if float_from is not None and float_from.resolve() == folder.resolve():
        raise RunError(f"--float-from and --out name the same folder, '{folder}'. Choose another one for the new run.")
    hint = resume_command(folder, data=data, float_from=float_from, skip_corrupt=skip_corrupt)
    if not overwrite and os.path.isdir(folder) and any(folder.iterdir()):
        Run.create(folder, recipe)  # a folder that can't be used is better refused before anything slow
        _console.set_resume_hint(hint, finished=lambda: is_finished(folder, recipe))
    placement = placement or where_to_train(reporter, recipe.strategy)  # before TensorFlow computes anything
    source = open_trained(Run.open(float_from), unfinished=True) if float_from else None
    names = [recipe.teacher] if isinstance(recipe.teacher, str) else recipe.teacher or []
    teachers = [open_trained(name).float_model() for name in names] or None
    reporter.note(f"Recipe {recipe.name}, seed {recipe.seed}, run folder {folder}")
    start_backend(reporter)
    network, training = gather(reporter, recipe, data, source, skip_corrupt)
    run = Run.create(folder, recipe, overwrite=overwrite)
    _console.set_resume_hint(hint, finished=lambda: is_finished(folder, recipe))

    from analognets.training import train as run_stages

    with TrainingBars(reporter) as bars:
        run_stages(run, model=network, data=training, teacher=teachers, progress=bars, strategy=placement)
    _console.set_resume_hint(None)
    if placement is None or placement.is_chief:
        report(reporter, Run.open(run.path), open_it=open_it)


def with_strategy(recipe: Any, strategy: str | None) -> Any:
    """Return a recipe with what --strategy says."""
    return recipe if strategy is None else recipe.replace({"strategy": None if strategy == "none" else strategy})


def where_to_train(reporter: _console.Reporter, strategy: str | None) -> Any:
    """Start TensorFlow on the devices or machines that a strategy names; None for one device."""
    if strategy in (None, "none"):
        return None
    start_backend(reporter)

    from analognets.training.placement import placement_of

    placement = placement_of(strategy)
    reporter.note(f"Training on {placement.replicas} devices ({strategy}).")
    return placement


def is_finished(folder: Path, recipe: Any) -> bool:
    """Whether the folder holds a finished run of this very recipe."""
    from analognets.training.run import Run

    try:
        run = Run.open(folder)
    except RunError:
        return False
    return run.finished and run.recipe.fingerprint() == recipe.fingerprint()


def gather(
    reporter: _console.Reporter, recipe: Any, data: str | None, source: Any, skip_corrupt: bool
) -> tuple[Any, Any]:
    """Return the network, or a function that builds it, and the data of a training.

    What does not fit is found here, before anything is written or replaced.
    """
    import keras

    from analognets.datasets.registry import dataset_kind
    from analognets.zoo.tasks import SYNTHETIC, check_fits, prepare

    try:
        with loading_data(reporter) as progress:
            job = prepare(recipe, data_dir=data, progress=progress, skip_corrupt=skip_corrupt)
    except DataError as error:
        if data is None:
            made = "speech made by espeak-ng" if dataset_kind(recipe.dataset.name) == "audio" else "drawn pictures"
            error.add_note(f"Without recordings, train on {made}: --data synthetic")
        raise
    for note in job.data.info.notes:
        reporter.warn(note)
    counts = ", ".join(f"{len(split)} {name}" for name, split in job.data.splits.items())
    reporter.note(f"{job.data.info.name}: {counts} {job.samples}")
    origin: dict[str, Any] = {"folder": None if data in (None, SYNTHETIC) else str(Path(data).resolve())}
    origin |= {"skip_corrupt": skip_corrupt, "float_from": source.handle if source else None}
    training = dataclasses.replace(job.training, info={**job.training.info, **origin})
    network = source.float_model() if source else job.model
    with reporter.status("Checking that recipe, network and hardware fit ..."):
        training.train_batches(0)
        check_fits(recipe, network if isinstance(network, keras.Model) else network())
    return network, training


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
            from analognets.training.report import STAGES

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


def report(reporter: _console.Reporter, run: Any, *, open_it: bool, keep: bool = False) -> None:
    """Print what came out of a finished run, and leave its report.

    Args:
        reporter: prints it.
        run: finished.
        open_it: show the report in the browser.
        keep: leave a report that is there as it is.
    """
    from analognets.training.report import STAGES, training_report

    last = {row["stage"]: row for row in run.metrics()}
    reporter.result({"run": str(run.path), "status": run.status, "seed": run.recipe.seed, "stages": last})
    for stage, row in last.items():
        if "val_accuracy" in row:
            reporter.point(f"{STAGES.get(stage, stage)}: validation accuracy {100 * row['val_accuracy']:.2f} %")
    if keep and (run.path / REPORT).is_file():
        keep_report(reporter, run.path / REPORT, open_it=open_it)
    else:
        leave_report(reporter, training_report(run), run.path / REPORT, open_it=open_it)
    words = ["analognets", "evaluate", str(run.path)]
    if run.recipe.hardware_aware is None and not run.recipe.learns_on_devices:
        words = ["analognets", "train", "RECIPE", "--float-from", str(run.path), "--out", "FOLDER"]
    reporter.point(f"Next: {shlex.join(words)}")
