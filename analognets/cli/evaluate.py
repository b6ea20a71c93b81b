"""`analognets evaluate`: programme a trained network into chips and watch it age."""

from __future__ import annotations

import contextlib
import enum
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console
from analognets.cli._work import load_task, results_folder, start_backend, times_of
from analognets.cli.options import Data, Json, Quiet, Split, SplitOption
from analognets.errors import ChipFileError

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


class Precision(enum.StrEnum):
    """What --precision takes."""

    float32 = "float32"
    bfloat16 = "bfloat16"


DETECTOR = ("false_alarm_rate", "miss_rate")

Trained = Annotated[
    str,
    typer.Argument(
        metavar="RUN|PRESET", help="Folder of a finished run, or a preset: its name, folder, .zip or address."
    ),
]
Count = Annotated[int | None, typer.Option(min=1, help="How many chips to programme.")]
Times = Annotated[str | None, typer.Option(help="Times since programming, such as 25s,1h,1d,30d,1y.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of the chips.")]
Mode = Annotated[
    Compensation | None, typer.Option(help="Scale each tile's outputs back; the recipe's choice by default.")
]
BatchNorm = Annotated[
    bool, typer.Option("--batch-norm", help="Re-estimate batch-norm statistics on each chip (AdaBS).")
]
Products = Annotated[Precision, typer.Option(help="Of the products behind the converters.")]
ByClass = Annotated[
    bool, typer.Option("--by-class", help="Also accuracy and confusions of each class; false alarms of detectors.")
]
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
    split: SplitOption = Split.test,
    batch_norm: BatchNorm = False,
    precision: Products = Precision.float32,
    by_class: ByClass = False,
    save_chips: Save = None,
    load_chips: Load = None,
    out: Out = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure accuracy over drift time on simulated chips; write table, figure and report."""
    if load_chips is not None and not chips is seed is save_chips is None:
        raise typer.BadParameter("--load-chips programmes no chips: leave --chips, --seed and --save-chips out.")
    from analognets.zoo.trained import open_trained

    reporter = _console.Reporter(json=json, quiet=quiet)
    trained = open_trained(run, wants=("chips", "recipe"))
    defaults = trained.known_recipe().evaluation
    times: list[str | float] = [*(times_of(at) or defaults.times)]
    mode = defaults.drift_compensation if drift_compensation is None else COMPENSATION[drift_compensation]
    learned = trained.learned_on_devices
    if learned and (load_chips is not None or chips not in (None, 1)):
        raise typer.BadParameter("A run that learned on devices is one chip: leave --chips and --load-chips out.")
    folder = results_folder(trained, out)
    start_backend(reporter)
    if save_chips is not None:
        refuse_taken(save_chips, learned)

    from analognets.deploy.chips import by_class as tables
    from analognets.deploy.chips.chips import Chips, summarize
    from analognets.deploy.studies.evaluate import network_on_chips, write_evaluation

    network = network_on_chips(trained)
    number, count = defaults.seed if seed is None else seed, 1 if learned else chips or defaults.chips
    made = None if load_chips is None else Chips.load(load_chips, network)
    if save_chips is not None and os.path.exists(save_chips):
        made, save_chips = saved_before(reporter, save_chips, network, number, count), None
    task = load_task(reporter, trained, data, calibrate=batch_norm or learned)
    inputs, labels, float_accuracy = run_float(reporter, trained, task, split)
    if made is None:
        made = programmed(reporter, trained, network, task, count, number)
    if save_chips is not None:
        made.save(save_chips)
    settings: dict[str, Any] = {"at": times, "drift_compensation": mode, "precision": precision.value}
    settings["batch_norm_calibration"] = task.training.calibration if batch_norm else None
    with reporter.progress("Reading chips", len(made) * len(times)) as bar:
        measure = made.confusion if by_class else made.evaluate
        table = measure((inputs, labels), progress=bar.follow, **settings)
    classes = tables.by_class(table, names=task.data.classes) if by_class else None
    table = tables.accuracies(table) if by_class else table
    summary = summarize(table, float_accuracy)
    measured: dict[str, Any] = {"float_accuracy": float_accuracy, "split": split.value}
    write_evaluation(folder, trained, network, task, table, summary, batch_norm=batch_norm, classes=classes, **measured)
    show(reporter, folder, task, summary, float_accuracy, split, trained.digital_name, classes)


def refuse_taken(folder: Path, learned: bool) -> None:
    """Raise unless a place for chips is free, or holds chips that an interrupted command may have stored."""
    from analognets.core.drafts import recover, remove_abandoned
    from analognets.deploy.chips.files import INDEX

    place = folder.absolute()
    recover(place)
    with contextlib.suppress(OSError):
        remove_abandoned(place.parent)
    if os.path.exists(folder) and (learned or not os.path.exists(folder / INDEX)):
        raise ChipFileError(f"--save-chips writes a new folder. Received: '{folder}', which exists.")


def saved_before(reporter: _console.Reporter, folder: Path, network: Any, seed: int, count: int) -> Any:
    """Return stored chips if they are the very ones that would be programmed: one seed and number gives one chip."""
    from analognets.deploy.chips.chips import Chips

    found = Chips.load(folder, network)
    if found.seed != seed or [chip.number for chip in found] != list(range(count)):
        raise ChipFileError(
            f"--save-chips writes a new folder. Received: '{folder}', which holds {len(found)} chips of seed "
            f"{found.seed} instead of {count} of seed {seed}."
        )
    reporter.note(f"{folder} holds these chips already, from an earlier try: they are used.")
    return found


def run_float(reporter: _console.Reporter, trained: Any, task: Any, split: Split) -> tuple[Any, Any, float]:
    """Return features, labels and the accuracy of the float network on them."""
    from analognets.deploy.evaluation import accuracy

    with reporter.status("Running the float network ..."):
        inputs, labels = task.features(split.value)
        outputs = trained.float_model().predict(inputs, batch_size=250, verbose=0)
    return inputs, labels, accuracy(labels, outputs)


def programmed(reporter: _console.Reporter, trained: Any, network: Any, task: Any, chips: int, seed: int) -> Any:
    """Programme chips, or take over the one that learned, and show that."""
    from analognets.deploy.studies.evaluate import chips_of

    if trained.learned_on_devices:
        with reporter.status("Taking over the trained arrays ..."):
            return chips_of(trained, network, task, chips=1, seed=seed)
    with reporter.progress("Programming chips", chips) as bar:
        return chips_of(trained, network, task, chips=chips, seed=seed, progress=bar.follow)


def show(
    reporter: _console.Reporter,
    folder: Path,
    task: Any,
    summary: Any,
    float_accuracy: float,
    split: Split,
    title: str,
    classes: Any = None,
) -> None:
    """Print the drift table, and that of each class if there is one."""
    columns = ["at", "seconds", "mean", "std", "chips", "drift_compensation", "loss"]
    rows = _plain(summary[columns])
    for row in rows:
        row["seconds"] = int(row["seconds"]) if float(row["seconds"]).is_integer() else row["seconds"]
    name, clips = task.data.info.name, len(task.data.splits[split])
    reporter.result(
        {
            "float_accuracy": float_accuracy,
            "data": name,
            "split": split.value,
            "clips": clips,
            "synthetic": task.data.info.synthetic,
            "results": str(folder),
            "rows": rows,
            **({} if classes is None else {"by_class": _plain(classes)}),
        }
    )
    reporter.say(f"{title}: {100 * float_accuracy:.2f} % of {clips} {split} {task.samples} ({name})")
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
    if classes is not None:
        show_classes(reporter, classes)
    if task.data.info.synthetic:
        reporter.say("Synthetic data: these figures say nothing about real ones.")
    also = "" if classes is None else "by_class.csv, "
    reporter.say(f"Written to {folder}: drift.csv, summary.csv, {also}drift.png, report.html")
    reporter.say(f"Next: open {folder / 'report.html'}")


def _plain(table: Any) -> list[dict[str, Any]]:
    """Return the rows of a table as plain data, None for what is not known."""
    return [{key: None if value != value else value for key, value in row.items()} for row in table.to_dict("records")]


def show_classes(reporter: _console.Reporter, classes: Any) -> None:
    """Print the accuracy of each class at the last time, and the false alarms and misses of a detector."""
    last = classes[classes["seconds"] == classes["seconds"].max()]
    last = last[last["drift_compensation"] == last["drift_compensation"].max()]
    names = [column for column in last.columns if column.startswith("as ")]
    rows = []
    for row in _plain(last):
        taken = {name.removeprefix("as "): row[name] or 0.0 for name in names if name != f"as {row['class']}"}
        most = max(taken, key=lambda name: taken[name])
        rows.append(
            (
                row["class"],
                row["samples"],
                "-" if row["accuracy"] is None else f"{100 * row['accuracy']:.2f}",
                f"{most} ({100 * taken[most]:.2f} %)" if taken[most] else "-",
            )
        )
    reporter.table(
        ["class", "samples", "accuracy %", "most taken for"], rows, title=f"By class after {last['at'].iloc[0]}"
    )
    if "miss_rate" in last.columns:
        first = _plain(last)[0]
        shown = {key: "-" if first[key] is None else f"{100 * first[key]:.2f} %" for key in DETECTOR}
        reporter.say(f"Detector: false alarms {shown['false_alarm_rate']}, misses {shown['miss_rate']}.")
