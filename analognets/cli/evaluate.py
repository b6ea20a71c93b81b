"""`analognets evaluate`: programme a trained network into chips and watch it age."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import os
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console
from analognets.cli._report import leave_report
from analognets.cli._work import following, interval, load_task, results_folder, start_backend, times_of
from analognets.cli.options import Json, OnRay, OpenReport, Quiet, Split, SplitOption, StudyData, Workers
from analognets.errors import ChipFileError, DataWarning, InvalidArgumentError

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
    auto = "auto"


ONE_CHIP = "A run that learned on devices is one chip: leave --chips, --load-chips, --workers and --ray out."
DETECTOR = ("false_alarm_rate", "miss_rate")

Trained = Annotated[
    str,
    typer.Argument(
        metavar="RUN|PRESET|FILE.keras",
        help="Folder of a finished run; a preset: its name, folder, .zip or address; or a saved analog model.",
    ),
]
Count = Annotated[int | None, typer.Option(min=1, help="How many chips to programme; the recipe's by default.")]
Times = Annotated[str | None, typer.Option(help="Times since programming, such as 25s,1h,1d; the recipe's by default.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of the chips; the recipe's by default.")]
Mode = Annotated[
    Compensation | None, typer.Option(help="Scale each tile's outputs back; the recipe's choice by default.")
]
BatchNorm = Annotated[
    bool, typer.Option("--batch-norm", help="Re-estimate batch-norm statistics on each chip (AdaBS).")
]
AdaBS = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="Let each chip calibrate its batch-norms on N unlabelled training clips at each time (AdaBS), kept with "
        "--save-chips; 0: as trained, also where chips have stored a calibration.",
    ),
]
AdaBSAt = Annotated[
    str | None,
    typer.Option(
        "--adabs-at",
        metavar="TIMES",
        help="Times of --adabs, such as 1h,30d; those of --at by default; the latest up to then counts.",
    ),
]
Products = Annotated[Precision, typer.Option(help="Of the products behind the converters.")]
ByClass = Annotated[
    bool, typer.Option("--by-class", help="Also accuracy and confusions of each class; false alarms of detectors.")
]
Rule = Annotated[
    str | None,
    typer.Option("--compensation", help="Drift compensation in place of the hardware's: global, column or input."),
]
OtherDevice = Annotated[
    str | None,
    typer.Option("--device", help="Name of a device, or file of `device fit`, in place of the hardware's."),
]
OtherHardware = Annotated[
    str | None,
    typer.Option("--hardware", help="File of `analognets design`, or a preset, in place of the trained hardware."),
]
Save = Annotated[Path | None, typer.Option(help="Also store the programmed chips in this new folder.")]
Load = Annotated[
    Path | None,
    typer.Option(
        help="Read chips that --save-chips stored instead of programming new ones; or a laboratory's: a hand-over "
        "folder with measurements, a folder with a .npy or CSV file per tile, or a CSV file with a row per cell."
    ),
]
MeasuredAt = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="When arrays of --load-chips were read, such as 1d after programming."),
]
Unit = Annotated[str | None, typer.Option(help="Of arrays of --load-chips: S, mS, uS, nS or pS; uS by default.")]
Out = Annotated[Path | None, typer.Option(help="Folder for the results; by default RUN/results, or results/PRESET.")]


def evaluate(
    run: Trained,
    data: StudyData = None,
    chips: Count = None,
    at: Times = None,
    seed: Seed = None,
    drift_compensation: Mode = None,
    compensation: Rule = None,
    device: OtherDevice = None,
    hardware: OtherHardware = None,
    split: SplitOption = Split.test,
    batch_norm: BatchNorm = False,
    adabs: AdaBS = None,
    adabs_at: AdaBSAt = None,
    precision: Products = Precision.float32,
    by_class: ByClass = False,
    save_chips: Save = None,
    load_chips: Load = None,
    measured_at: MeasuredAt = None,
    unit: Unit = None,
    workers: Workers = 1,
    ray: OnRay = False,
    out: Out = None,
    open_: OpenReport = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure accuracy over drift time on simulated chips; write table, figure and report."""
    check_options(load_chips, (chips, seed, save_chips), batch_norm, adabs, adabs_at, workers > 1 or ray)
    check_there(load_chips)
    from analognets.zoo.trained import MODEL_FILES, open_trained

    reporter = _console.Reporter(json=json, quiet=quiet)
    if Path(run).suffix in MODEL_FILES:  # opening one starts Keras
        start_backend(reporter)
    trained = open_trained(run, wants=("chips",))
    check_arrays(trained, data, batch_norm or bool(adabs), split)
    defaults = trained.evaluation
    times: list[str | float] = [*(times_of(at) or defaults.times)]
    mode = defaults.drift_compensation if drift_compensation is None else COMPENSATION[drift_compensation]
    check_learned(learned := trained.learned_on_devices, load_chips, chips, workers > 1 or ray)
    folder = results_folder(trained, out)
    start_backend(reporter)
    refuse_taken(save_chips, learned)

    from analognets.deploy.studies.by_chip import How
    from analognets.zoo.tasks import SYNTHETIC

    when, place = (
        tuple(times_of(adabs_at, "--adabs-at") or times),
        None if load_chips is None else str(load_chips.resolve()),
    )
    number, count = defaults.seed if seed is None else seed, 1 if learned else chips or defaults.chips
    of = found_at(device), data if data == SYNTHETIC else found_at(data)
    how = How(
        *(compensation, *of, split.value, number, tuple(times), mode),
        *(precision.value, batch_norm, adabs, when, place, found_at(hardware)),
    )
    arrays = measured_at, unit
    found = measured(reporter, trained, how, Making(folder, count, save_chips, workers, ray, arrays), by_class)
    finish(reporter, folder, found, open_it=open_)


def finish(reporter: _console.Reporter, folder: Path, found: Any, *, open_it: bool) -> None:
    """Write the tables of an evaluation, show them, and leave its report; say if they replace earlier ones."""
    from analognets.deploy.studies.evaluate import evaluation_report, write_tables

    earlier = (folder / "summary.csv").exists()
    write_tables(folder, found)
    show(reporter, folder, found)
    if earlier:
        reporter.note(f"The results of an earlier evaluation in {folder} were replaced. Keep both with --out.")
    leave_report(reporter, evaluation_report(folder, found), folder / "report.html", open_it=open_it)


@dataclasses.dataclass(frozen=True)
class Making:
    """Where chips are made and read.

    Args:
        folder: for the results.
        chips: how many are programmed.
        save: folder to store them in, or None.
        workers: processes.
        ray: whether they run on a Ray cluster.
        arrays: --measured-at and --unit.
    """

    folder: Path
    chips: int
    save: Path | None
    workers: int
    ray: bool
    arrays: tuple[str | None, str | None] = (None, None)


def measured(reporter: _console.Reporter, trained: Any, how: Any, making: Making, by_class: bool) -> Any:
    """Return what was measured of a network's chips, and of the networks they are compared with."""
    from analognets.deploy.chips.by_class import by_class as classes_of
    from analognets.deploy.studies.by_chip import decide_by_chip
    from analognets.deploy.studies.evaluate import Measured, network_on_chips

    load = None if how.chips is None else Path(how.chips)
    check_adabs(network := network_on_chips(trained, how.compensation, how.device, how.hardware), how.adabs)
    made = loaded(reporter, network, load, *making.arrays)
    check_apart(made, making)
    made = made or stored(reporter, network, making.save, how.seed, making.chips)
    task, samples = samples_for(reporter, trained, network, how)
    outputs = run_references(reporter, trained, samples)
    if making.workers > 1 or making.ray:
        with following(reporter, "Evaluating chips", "chip") as progress:
            spread: dict[str, Any] = {"workers": making.workers, "ray": making.ray, "progress": progress}
            spread["mark"] = samples.fingerprint()
            on, total = (samples.labels, next(iter(outputs.values()))), making.chips if made is None else len(made)
            decided, used = decide_by_chip(trained, network, how, on, making.folder, chips=total, **spread)
    else:
        if made is None:
            made = programmed(reporter, trained, network, task, making.chips, how.seed)
            if making.save is not None:
                made.save(making.save)
        decided, used = decide_here(reporter, made, task, samples, how, making.save)
    right = {name: decided.right(one, samples.labels) for name, one in outputs.items()}
    classes = classes_of(decided, names=samples.classes or None, groups=samples.groups) if by_class else None
    other = {"compensation": how.compensation, "hardware": how.hardware, "adabs": used}
    split = None if task is None else how.split
    return Measured(trained, network, samples, split, decided, right, how.batch_norm, classes, **other)


def samples_for(reporter: _console.Reporter, trained: Any, network: Any, how: Any) -> tuple[Any, Any]:
    """Return the data set that a network is measured on, None for a file of arrays, and the samples."""
    from analognets.deploy.studies.samples import arrays_for, samples_of_arrays, samples_of_task

    if (file := arrays_for(trained, how.data)) is not None:
        return None, samples_of_arrays(network, file)
    task = load_task(reporter, trained, how.data, calibrate=how.batch_norm or trained.learned_on_devices)
    check_clips(task, how.adabs)
    return task, samples_of_task(task, how.split)


def check_options(
    load: Path | None,
    programming: tuple[Any, ...],
    batch_norm: bool,
    adabs: int | None,
    adabs_at: str | None,
    apart: bool,
) -> None:
    """Raise if options don't go together.

    Args:
        load: --load-chips.
        programming: options of chips that are programmed.
        batch_norm: --batch-norm.
        adabs: --adabs.
        adabs_at: --adabs-at.
        apart: whether other processes make the chips, by --workers or --ray.
    """
    if apart and programming[2] is not None:
        raise typer.BadParameter("--save-chips stores what this process programmes: leave --workers and --ray out.")
    if load is not None and any(one is not None for one in programming):
        raise typer.BadParameter("--load-chips programmes no chips: leave --chips, --seed and --save-chips out.")
    if adabs_at is not None and not adabs:
        raise typer.BadParameter("--adabs-at says when to calibrate: give --adabs N too, N > 0.")
    if batch_norm and adabs is not None:
        raise typer.BadParameter("--batch-norm and --adabs set the same statistics: give one of them.")


def check_arrays(trained: Any, data: str | None, trains: bool, split: Split) -> None:
    """Raise unless it is known which data a network takes, and training samples are there if they are needed.

    Args:
        trained: the network.
        data: --data.
        trains: whether batch-norms are set anew, by --adabs or --batch-norm.
        split: --split.
    """
    from analognets.deploy.studies.samples import arrays_for

    if arrays_for(trained, data) is None:
        trained.require("recipe")
    elif split is not Split.test:
        raise typer.BadParameter("--split is of a data set: all samples of a .npz file are taken. Leave it out.")
    elif trains or trained.learned_on_devices:
        what = "A run that learned on devices takes" if trained.learned_on_devices else "--adabs and --batch-norm take"
        raise InvalidArgumentError(
            f"{what} training samples, which a .npz file has none of. Received: --data {data}. Name the folder of "
            "the data set, or leave --data out."
        )


def check_there(load: Path | None) -> None:
    """Raise if there is nothing at the place of --load-chips, nor what a killed command left of it."""
    from analognets.core.drafts import recover

    if load is None:
        return
    recover(load.absolute())
    if not os.path.exists(load):
        raise ChipFileError(
            f"--load-chips takes chips that --save-chips stored, or measured arrays. Received: '{load}', which does "
            "not exist. Store chips there first: the same command with --save-chips in its place."
        )


def check_learned(learned: bool, load: Path | None, chips: int | None, apart: bool) -> None:
    """Raise if chips are asked for of a run that learned on devices."""
    if learned and (load is not None or chips not in (None, 1) or apart):
        raise typer.BadParameter(ONE_CHIP)


def check_apart(made: Any, making: Making) -> None:
    """Raise if other processes are to read measured chips: they open those of --save-chips alone."""
    from analognets.deploy.chips.files import StoredChips

    if made is not None and (making.workers > 1 or making.ray) and not isinstance(made.chips, StoredChips):
        raise typer.BadParameter("Measured arrays are one chip or a few: leave --workers and --ray out.")


def check_adabs(network: Any, count: int | None) -> None:
    """Raise unless the batch-norms of a network can be calibrated on so many clips, if they are to be."""
    from analognets.deploy.chips.calibrator import check_can_calibrate

    if count:
        check_can_calibrate(network, count)


def check_clips(task: Any, count: int | None) -> None:
    """Raise if there are fewer training clips than chips are to calibrate their batch-norms on."""
    most = len(task.data.splits["train"])
    if count and count > most:
        raise InvalidArgumentError(
            f"--adabs takes at most the {most:,} training {task.samples} there are. Received: {count:,}. Give fewer."
        )


def found_at(name: str | None) -> str | None:
    """Return the whole path of a file or folder that is there, and any other name as it is."""
    return str(Path(name).resolve()) if name and os.path.exists(name) else name


def decide_here(
    reporter: _console.Reporter, chips: Any, task: Any, samples: Any, how: Any, folder: Path | None
) -> tuple[Any, Any]:
    """Read chips in this process; return their decisions and the table of the calibrations in use, or None.

    With `how.adabs` they first calibrate their batch-norms on training clips in the recipe's shares of classes, not
    augmented.

    Args:
        reporter: shows it.
        chips: to read.
        task: the data set that AdaBS takes clips of; None: there is none.
        samples: to decide about.
        how: they are read.
        folder: where the chips are stored, and their calibrations; or None.
    """
    mode: dict[str, Any] = {"drift_compensation": how.drift_compensation}
    if how.adabs:
        with reporter.progress("Calibrating chips", len(chips) * len(how.adabs_at)) as bar:
            clips = task.typical(how.adabs)
            chips.calibrate(clips, at=how.adabs_at, folder=folder, progress=bar.follow, **mode)
    use = how.adabs != 0 and not how.batch_norm
    anew = task.training.calibration if how.batch_norm else None
    settings: dict[str, Any] = {"precision": how.precision, "batch_norm_calibration": anew, "adabs": use}
    with reporter.progress("Reading chips", len(chips) * len(how.times)) as bar:
        data = samples.inputs, samples.labels
        decided = chips.decide(data, at=how.times, progress=bar.follow, **mode, **settings)
    return decided, chips.calibrations.table() if use else None


def loaded(reporter: _console.Reporter, network: Any, load: Path | None, at: str | None, unit: str | None) -> Any:
    """Return the chips of --load-chips, stored or measured, or None."""
    from analognets.deploy.chips.chips import Chips
    from analognets.deploy.lab import format as form
    from analognets.deploy.lab.plain import is_plain

    if load is None and (at is not None or unit is not None):
        raise typer.BadParameter("--measured-at and --unit are of measured arrays: name them with --load-chips.")
    if load is None:
        return None
    handed_over = any(os.path.exists(load / name) for name in (form.MEASURED, form.SCHEMA))
    if not is_plain(load) and not handed_over:
        if at is not None or unit is not None:
            raise typer.BadParameter(f"--measured-at and --unit are of measured arrays. '{load}' holds stored chips.")
        return Chips.load(load, network)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        found = Chips.import_measured(load, network, seconds=at, unit=unit)
    for text in dict.fromkeys(str(one.message) for one in caught):
        reporter.warn(text)
    return found


def stored(reporter: _console.Reporter, network: Any, save: Path | None, seed: int, count: int) -> Any:
    """Return the chips that an interrupted command stored in --save-chips, or None."""
    if save is None or not os.path.exists(save):
        return None
    found = saved_before(save, network, seed, count)
    reporter.note(f"{save} holds these chips already, from an earlier try: they are used.")
    return found


def refuse_taken(folder: Path | None, learned: bool) -> None:
    """Raise unless a place for chips is free, or holds chips that an interrupted command may have stored."""
    if folder is None:
        return
    from analognets.core.drafts import recover, remove_abandoned
    from analognets.deploy.chips.files import INDEX

    place = folder.absolute()
    recover(place)
    with contextlib.suppress(OSError):
        remove_abandoned(place.parent)
    if os.path.exists(folder) and (learned or not os.path.exists(folder / INDEX)):
        raise ChipFileError(f"--save-chips writes a new folder. Received: '{folder}', which exists.")


def saved_before(folder: Path, network: Any, seed: int, count: int) -> Any:
    """Return stored chips if they are the very ones that would be programmed: one seed and number gives one chip."""
    from analognets.deploy.chips.chips import Chips

    found = Chips.load(folder, network)
    if found.seed != seed or [chip.number for chip in found] != list(range(count)):
        raise ChipFileError(
            f"--save-chips writes a new folder. Received: '{folder}', which holds {len(found)} chips of seed "
            f"{found.seed} instead of {count} of seed {seed}."
        )
    return found


def run_references(reporter: _console.Reporter, trained: Any, samples: Any) -> dict[str, Any]:
    """Return the outputs of the networks that the chips are compared with."""
    with reporter.status("Running the digital networks ..."):
        return {
            name: make().predict(samples.inputs, batch_size=250, verbose=0)
            for name, make in trained.references().items()
        }


def programmed(reporter: _console.Reporter, trained: Any, network: Any, task: Any, chips: int, seed: int) -> Any:
    """Programme chips, or take over the one that learned, and show that."""
    from analognets.deploy.studies.evaluate import chips_of

    if trained.learned_on_devices:
        with reporter.status("Taking over the trained arrays ..."):
            return chips_of(trained, network, task, chips=1, seed=seed)
    with reporter.progress("Programming chips", chips) as bar:
        return chips_of(trained, network, task, chips=chips, seed=seed, progress=bar.follow)


def show(reporter: _console.Reporter, folder: Path, found: Any) -> None:
    """Print the drift table, and that of each class if there is one."""
    from analognets.deploy.studies.evaluate import REFERENCES
    from analognets.metrics import drift_cells

    samples, classes = found.samples, found.classes
    accuracies = found.accuracies()
    rows = _plain(found.summary.drop(columns=list(accuracies)))
    for row in rows:
        row["seconds"] = int(row["seconds"]) if float(row["seconds"]).is_integer() else row["seconds"]
    count = len(samples)
    reporter.result(
        {
            **accuracies,
            **found.accuracy_ends(),
            "data": samples.name,
            "split": found.split,
            "clips": count,
            "synthetic": samples.synthetic,
            "results": str(folder),
            "rows": rows,
            **({} if classes is None else {"by_class": _plain(classes)}),
        }
    )
    for reference in found.references:
        title = REFERENCES[reference].capitalize()
        reporter.say(f"{title}: {found.shown_reference(reference)} of {count} {samples.kind} ({samples.name})")
    cells = [drift_cells(row) for row in rows]
    reporter.table(
        list(cells[0]),
        [tuple(one.values()) for one in cells],
        title="Accuracy since programming",
    )
    reporter.say(found.about_intervals())
    if about := found.about_bound():
        reporter.say(about)
    if on := max(found.calibrated_on()):
        clips = samples.kind.split()[-1]
        reporter.say(f"AdaBS: batch-norms calibrated on {on} training {clips} by each chip, without labels.")
    if classes is not None:
        show_classes(reporter, classes)
    if samples.synthetic:
        reporter.say("Synthetic data: these figures say nothing about real ones.")
    also = "" if classes is None else "by_class.csv, "
    reporter.point(f"Written to {folder}: drift.csv, summary.csv, samples.csv, {also}drift.png, report.html")


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
                interval(row, "accuracy", "") or "-",
                f"{most} ({100 * taken[most]:.2f} %)" if taken[most] else "-",
            )
        )
    reporter.table(
        ["class", "samples", "accuracy %", "most taken for"], rows, title=f"By class after {last['at'].iloc[0]}"
    )
    if "miss_rate" in last.columns:
        first = _plain(last)[0]
        shown = {key: "-" if first[key] is None else f"{interval(first, key, key)} %" for key in DETECTOR}
        reporter.say(f"Detector: false alarms {shown['false_alarm_rate']}, misses {shown['miss_rate']}.")
