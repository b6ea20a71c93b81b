"""`analognets evaluate`: programme a trained network into chips and watch it age."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console
from analognets.cli.data import Json, Quiet
from analognets.cli.train import load_task, resume_command, start_backend, use_data
from analognets.errors import ChipFileError, ConversionError, DataError, RunError
from analognets.zoo.trained import open_trained

__all__ = ["evaluate"]


class Compensation(enum.StrEnum):
    """What --drift-compensation takes."""

    on = "on"
    off = "off"
    both = "both"


COMPENSATION: dict[Compensation, bool | str] = {
    Compensation.on: True,
    Compensation.off: False,
    Compensation.both: "both",
}


class Split(enum.StrEnum):
    """What --split takes."""

    test = "test"
    validation = "validation"


class Precision(enum.StrEnum):
    """What --precision takes."""

    float32 = "float32"
    bfloat16 = "bfloat16"


Trained = Annotated[
    str,
    typer.Argument(
        metavar="RUN|PRESET", help="Folder of a finished run, or a preset: its name, folder, .zip or address."
    ),
]
Data = Annotated[str | None, typer.Option(help="Folder of the real data, or 'synthetic'; by default as in training.")]
Count = Annotated[int | None, typer.Option(min=1, help="How many chips to programme.")]
Times = Annotated[str | None, typer.Option(help="Times since programming, such as 25s,1h,1d,30d,1y.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of the chips.")]
Mode = Annotated[
    Compensation | None, typer.Option(help="Scale each tile's outputs back; the recipe's choice by default.")
]
Clips = Annotated[Split, typer.Option(help="Which clips to measure on.")]
BatchNorm = Annotated[
    bool, typer.Option("--batch-norm", help="Re-estimate batch-norm statistics on each chip (AdaBS).")
]
Products = Annotated[Precision, typer.Option(help="Of the products behind the converters.")]
Save = Annotated[Path | None, typer.Option(help="Also store the programmed chips in this new folder.")]
Load = Annotated[Path | None, typer.Option(help="Read chips that --save-chips stored instead of programming new ones.")]
Out = Annotated[Path | None, typer.Option(help="Folder for the results; RUN/results, or results/PRESET.")]


def evaluate(
    run: Trained,
    data: Data = None,
    chips: Count = None,
    at: Times = None,
    seed: Seed = None,
    drift_compensation: Mode = None,
    split: Clips = Split.test,
    batch_norm: BatchNorm = False,
    precision: Products = Precision.float32,
    save_chips: Save = None,
    load_chips: Load = None,
    out: Out = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure accuracy over drift time on simulated chips; write table, figure and report."""
    from analognets.units import parse_duration

    if load_chips is not None and not chips is seed is save_chips is None:
        raise typer.BadParameter("--load-chips programmes no chips: leave --chips, --seed and --save-chips out.")
    reporter = _console.Reporter(json=json, quiet=quiet)
    trained = open_trained(run)
    refuse_untrained(trained)
    if save_chips is not None and save_chips.exists():
        raise ChipFileError(f"--save-chips writes a new folder. Received: '{save_chips}', which exists.")
    defaults = trained.recipe.evaluation
    times = [word.strip() for word in at.split(",")] if at else list(defaults.times)
    for time in times:
        parse_duration(time)
    mode = defaults.drift_compensation if drift_compensation is None else COMPENSATION[drift_compensation]
    learned = is_one_chip(trained, load_chips, chips)
    number = defaults.seed if seed is None else seed
    folder = results_folder(trained, out)
    start_backend(reporter)

    from analognets.deploy.chips.chips import Chips, summarize

    network = trained.on_device_model() if learned else trained.analog_model()
    refuse_unlabelled(trained, network)
    made = None if load_chips is None else Chips.load(load_chips, network)
    job = load_job(reporter, trained, data, calibrate=batch_norm or learned)
    inputs, labels, float_accuracy = run_float(reporter, trained, job, split)
    if made is None:
        made = new_chips(reporter, trained, network, job, chips or defaults.chips, number)
    if save_chips is not None:
        made.save(save_chips)
    with reporter.progress("Reading chips", len(made) * len(times)) as bar:
        table = made.evaluate(
            (inputs, labels),
            at=times,
            drift_compensation=mode,
            batch_norm_calibration=job.training.calibration if batch_norm else None,
            precision=precision.value,
            progress=lambda done, total: bar.update(done),
        )
    summary = summarize(table, float_accuracy)
    more = device_picture(trained, network, folder) if learned else []
    write_results(folder, trained, job, table, summary, float_accuracy, split, batch_norm, more)
    show(reporter, folder, job, summary, float_accuracy, split, digital_name(trained))


def run_float(reporter: _console.Reporter, run: Any, job: Any, split: Split) -> tuple[Any, Any, float]:
    """Return features, labels and the accuracy of the float network on them."""
    from analognets.deploy.chips.chips import accuracy

    with reporter.status("Running the float network ..."):
        inputs, labels = job.features(split.value)
        outputs = run.float_model().predict(inputs, batch_size=250, verbose=0)
    return inputs, labels, accuracy(labels, outputs)


def programmed(reporter: _console.Reporter, network: Any, chips: int, seed: int) -> Any:
    """Programme chips with a bar."""
    from analognets.deploy.chips.chips import program

    with reporter.progress("Programming chips", chips) as bar:
        return program(network, chips=chips, seed=seed, progress=lambda done, total: bar.update(done))


def new_chips(reporter: _console.Reporter, run: Any, network: Any, job: Any, chips: int, seed: int) -> Any:
    """Return the one chip that learned, or newly programmed ones."""
    if run.recipe.learns_on_devices:
        return hand_over(reporter, run, network, job, seed)
    return programmed(reporter, network, chips, seed)


def refuse_unlabelled(run: Any, network: Any) -> None:
    """Raise if a network names no classes, such as one that draws pictures."""
    if not getattr(network, "classifies", True):
        raise ConversionError(
            f"The network of '{run.path}' names no classes, so it has no accuracy. Look at what it draws in Python: "
            f"analognets.training.Run.open({str(run.path)!r}).on_device_model().generate(40)."
        )


def digital_name(run: Any) -> str:
    """Return what to call the digital network that chips are compared with."""
    name = "Weights as last read, digital" if run.recipe.learns_on_devices else "Float network, digital"
    return str(getattr(run, "digital_name", name))


def is_one_chip(run: Any, load_chips: Path | None, chips: int | None) -> bool:
    """Whether a run learned on devices, which are one chip then."""
    learned = bool(run.recipe.learns_on_devices)
    if learned and (load_chips is not None or chips not in (None, 1)):
        raise typer.BadParameter("A run that learned on devices is one chip: leave --chips and --load-chips out.")
    return learned


def hand_over(reporter: _console.Reporter, run: Any, network: Any, job: Any, seed: int) -> Any:
    """Return the one chip that learned."""
    from analognets.deploy.chips.trained_arrays import from_devices

    hardware = run.recipe.on_device.hardware.crossbar()
    with reporter.status("Taking over the trained arrays ..."):
        return from_devices(network, job.training.calibration, hardware=hardware, seed=seed)


def device_picture(run: Any, network: Any, folder: Path) -> list[Any]:
    """Draw what learning did to the devices."""
    from analognets.training import device_figure

    log = run.path / "devices.csv"
    return [device_figure(network.optimizer.statistics(), log if log.is_file() else None, folder / "devices.png")]


def refuse_untrained(run: Any) -> None:
    """Raise unless the run is finished and has an analog network; say how to get there."""
    if not run.finished:
        origin = run.record.get("data") or {}
        command = resume_command(
            run.path,
            data=origin.get("folder"),
            float_from=origin.get("float_from"),
            skip_corrupt=origin.get("skip_corrupt", False),
        )
        raise RunError(f"The run '{run.path}' is not finished (status: {run.status}). Go on with: {command}")
    if run.recipe.hardware_aware is None and not run.recipe.learns_on_devices:
        raise ConversionError(
            f"The run '{run.path}' has no analog network: its recipe leaves stage 2 out. Train that with "
            f"`analognets train --float-from {run.path}`."
        )


def results_folder(run: Any, named: Path | None) -> Path:
    """Return the folder for the results, made if need be."""
    from analognets.core.files import make_folder

    return make_folder(named or run.results, "folder for the results")


def load_job(reporter: _console.Reporter, run: Any, data: str | None, *, calibrate: bool = True) -> Any:
    """Load the data of a run, from where the training had it unless told otherwise.

    Raises:
        DataError: the folder is gone, or the data have other classes than the run was trained on.
    """
    origin = run.record.get("data") or {}
    folder = origin.get("folder") if data is None else data
    if data is None and folder is not None and not Path(folder).is_dir():
        raise DataError(
            f"The data this run was trained on were in '{folder}', which is gone. Name their new place with --data."
        )
    recipe = use_data(run.recipe, data)
    try:
        job = load_task(reporter, recipe, folder, origin.get("skip_corrupt", False), calibrate=calibrate)
    except DataError as error:
        if folder is None:
            error.add_note(f"It was trained on {run.recipe.dataset.name}: name its folder with --data DIR.")
        raise
    for note in job.data.info.notes:
        if data is not None or note not in origin.get("notes", ()):
            reporter.warn(note)
    if list(job.data.classes) != origin.get("classes", list(job.data.classes)):
        raise DataError(
            f"'{run.path}' was trained on other classes than those of {job.data.info.name}. Name the data it "
            "was trained on with --data."
        )
    return job


def write_results(
    folder: Path, run: Any, job: Any, table: Any, summary: Any, float_accuracy: float, split: Split, batch_norm: bool,
    more_figures: list[Any],
) -> None:  # fmt: skip
    """Write drift.csv, summary.csv, drift.png and report.html, each complete or not at all."""
    from analognets.core.files import write_atomically
    from analognets.deploy.chips.figures import drift_figure
    from analognets.deploy.chips.report import write_report

    write_atomically(folder / "drift.csv", table.to_csv(index=False))
    measured = {"float_accuracy": float_accuracy, "split": str(split), "batch_norm": batch_norm}
    write_atomically(folder / "summary.csv", summary.assign(**measured).to_csv(index=False))
    chip = (run.recipe.on_device if run.recipe.learns_on_devices else run.recipe.hardware_aware).hardware
    hardware = ", ".join([chip.preset, *(f"{key} {value}" for key, value in chip.changes().items())])
    title = f"{run.recipe.name} on {job.data.info.name} ({hardware})"
    figure = drift_figure(table, folder / "drift.png", float_accuracy=float_accuracy, title=title)
    facts = {
        "float accuracy": f"{100 * float_accuracy:.2f} %",
        "hardware": hardware,
        "chips": int(table["chip"].nunique()),
        "batch-norm re-estimated": "yes" if batch_norm else "no",
        f"{split} {job.samples}": len(job.data.splits[split]),
        "recipe fingerprint": run.recipe.fingerprint(),
        "seed": run.recipe.seed,
        "code": run.record.get("git_commit") or run.record["versions"]["analognets"],
    }
    write_report(
        folder / "report.html",
        title=title,
        facts=facts,
        summary=summary,
        figures=[figure, *more_figures],
        recipe=run.recipe.to_yaml(),
        statement=job.data.info.statement,
    )


def show(
    reporter: _console.Reporter,
    folder: Path,
    job: Any,
    summary: Any,
    float_accuracy: float,
    split: Split,
    title: str,
) -> None:
    """Print the drift table."""
    columns = ["at", "seconds", "mean", "std", "chips", "drift_compensation", "loss"]
    rows: list[dict[str, Any]] = [
        {key: None if value != value else value for key, value in row.items()}
        for row in summary[columns].to_dict("records")
    ]
    for row in rows:
        row["seconds"] = int(row["seconds"]) if float(row["seconds"]).is_integer() else row["seconds"]
    name, clips = job.data.info.name, len(job.data.splits[split])
    reporter.result(
        {
            "float_accuracy": float_accuracy,
            "data": name,
            "split": split.value,
            "clips": clips,
            "synthetic": job.data.info.synthetic,
            "results": str(folder),
            "rows": rows,
        }
    )
    reporter.say(f"{title}: {100 * float_accuracy:.2f} % of {clips} {split} {job.samples} ({name})")
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
        reporter.say("Synthetic data: these figures say nothing about real ones.")
    reporter.say(f"Written to {folder}: drift.csv, summary.csv, drift.png, report.html")
    reporter.say(f"Next: open {folder / 'report.html'}")
