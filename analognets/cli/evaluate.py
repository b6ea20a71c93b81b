"""`analognets evaluate`: programme a trained network into chips and watch it age."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console
from analognets.errors import check_choice

__all__ = ["evaluate"]

COMPENSATION = {"on": True, "off": False, "both": "both"}


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    data: Annotated[
        str | None, typer.Option(help="Folder of the real data, or 'synthetic'; by default as in training.")
    ] = None,
    chips: Annotated[int | None, typer.Option(help="How many chips to programme.")] = None,
    at: Annotated[str | None, typer.Option(help="Times since programming, e.g. 25s,1h,1d,30d,1y.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the chips.")] = None,
    drift_compensation: Annotated[str | None, typer.Option(help="on, off or both.")] = None,
    split: Annotated[str, typer.Option(help="test or validation.")] = "test",
    batch_norm: Annotated[
        bool, typer.Option("--batch-norm", help="Re-estimate batch-norm statistics on each chip (AdaBS).")
    ] = False,
    precision: Annotated[str, typer.Option(help="float32, or bfloat16 for the products.")] = "float32",
    save_chips: Annotated[Path | None, typer.Option(help="Also store the programmed chips in this new folder.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; RUN/results by default.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")] = False,
) -> None:
    """Measure accuracy over drift time on simulated chips; write table, figure and report."""
    from analognets.training.run import Run
    from analognets.units import parse_duration

    reporter = _console.Reporter(json=json, quiet=quiet)
    trained = Run.open(run)
    defaults = trained.recipe.evaluation
    times = [word.strip() for word in at.split(",")] if at else list(defaults.times)
    for time in times:
        parse_duration(time)
    check_choice("evaluate", "--drift-compensation", drift_compensation, (None, *COMPENSATION))
    check_choice("evaluate", "--split", split, ("test", "validation"))
    mode = defaults.drift_compensation if drift_compensation is None else COMPENSATION[drift_compensation]
    with _console.quiet_imports():
        from analognets.deploy.chips import Chips, accuracy, program, summarize

    network, plain = trained.analog_model(), trained.float_model()
    job = load_job(reporter, trained, data)
    inputs, labels = job.features(split)
    float_accuracy = accuracy(labels, plain.predict(inputs, batch_size=250, verbose=0))
    count = chips or defaults.chips
    with reporter.progress("Programming chips", count) as bar:
        made: Chips = program(network, chips=count, seed=defaults.seed if seed is None else seed, progress=bar_of(bar))
    if save_chips is not None:
        made.save(save_chips)
    with reporter.progress("Reading chips", count * len(times)) as bar:
        table = made.evaluate(
            (inputs, labels),
            at=times,
            drift_compensation=mode,
            batch_norm_calibration=job.training.calibration if batch_norm else None,
            precision=precision,
            progress=bar_of(bar),
        )
    summary = summarize(table, float_accuracy)
    folder = out or trained.results
    write_results(folder, trained, job, table, summary, float_accuracy, batch_norm)
    show(reporter, folder, job, summary, float_accuracy)


def bar_of(bar: Any) -> Any:
    """Return a progress callback that moves a bar."""
    return lambda done, total: bar.update(done)


def load_job(reporter: _console.Reporter, run: Any, data: str | None) -> Any:
    """Load the data of a run, from where the training had it unless told otherwise."""
    from analognets.cli.train import is_synthetic
    from analognets.zoo.tasks import prepare

    recipe, folder = run.recipe, (run.record.get("data") or {}).get("folder")
    if data is not None:
        name = "synthetic_speech" if is_synthetic(data) else "speech_commands"
        recipe = recipe.replace([f"dataset.name={name}"])
        folder = None if is_synthetic(data) else data
    with reporter.progress("Data", 100) as bar:
        return prepare(
            recipe,
            data_dir=folder and Path(folder),
            progress=lambda done, total: bar.update(round(100 * done / max(total, 1))),
        )


def write_results(
    folder: Path, run: Any, job: Any, table: Any, summary: Any, float_accuracy: float, batch_norm: bool
) -> None:
    """Write drift.csv, summary.csv, drift.png and report.html, each complete or not at all."""
    from analognets.deploy.figures import drift_figure
    from analognets.deploy.report import write_report
    from analognets.training.files import write_atomically

    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "drift.csv", table.to_csv(index=False))
    write_atomically(folder / "summary.csv", summary.assign(float_accuracy=float_accuracy).to_csv(index=False))
    hardware = run.recipe.hardware_aware.hardware.preset if run.recipe.hardware_aware else "none"
    title = f"{run.recipe.name} on {job.data.info.name} ({hardware})"
    figure = drift_figure(table, folder / "drift.png", float_accuracy=float_accuracy, title=title)
    facts = {
        "float accuracy": f"{100 * float_accuracy:.2f} %",
        "hardware": hardware,
        "chips": int(table["chip"].nunique()),
        "batch-norm re-estimated": "yes" if batch_norm else "no",
        "test clips": len(job.data.test),
        "recipe fingerprint": run.recipe.fingerprint(),
        "seed": run.recipe.seed,
        "code": run.record.get("git_commit") or run.record["versions"]["analognets"],
    }
    write_report(
        folder / "report.html",
        title=title,
        facts=facts,
        summary=summary,
        figures=[figure],
        recipe=run.recipe.to_yaml(),
        statement=job.data.info.statement,
    )


def show(reporter: _console.Reporter, folder: Path, job: Any, summary: Any, float_accuracy: float) -> None:
    """Print the drift table."""
    columns = ["at", "seconds", "mean", "std", "chips", "drift_compensation", "loss"]
    rows = [
        {key: None if value != value else value for key, value in row.items()}
        for row in summary[columns].to_dict("records")
    ]
    reporter.result(
        {"float_accuracy": float_accuracy, "data": job.data.info.name, "results": str(folder), "rows": rows}
    )
    reporter.say(f"Float model, digital: {100 * float_accuracy:.2f} % of {len(job.data.test)} clips ({job.data.info.name})")
    reporter.table(
        ["time", "mean %", "std", "loss in points", "chips", "drift compensation"],
        [
            (
                row["at"],
                f"{100 * row['mean']:.2f}",
                "-" if row["std"] is None else f"{100 * row['std']:.2f}",
                f"{row['loss']:.2f}",
                row["chips"],
                "on" if row["drift_compensation"] else "off",
            )
            for row in rows
        ],
        title="Accuracy since programming",
    )
    if job.data.info.synthetic:
        reporter.say("Synthetic speech: these figures say nothing about real voices.")
    reporter.say(f"Written: {folder / 'drift.png'}, {folder / 'report.html'}, {folder / 'drift.csv'}")
