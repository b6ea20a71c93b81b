"""`analognets compare`: one network as float, as int8 on a microcontroller, and on analog chips as they age."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analognets.cli import _console
from analognets.cli._report import leave_report, made_from
from analognets.cli._work import Steps, load_task, results_folder, start_backend, times_of
from analognets.cli.options import Data, Json, OpenReport, Quiet, Ranges, RangesOption, Split, SplitOption
from analognets.errors import MissingExtraError

if TYPE_CHECKING:
    from analognets.deploy.studies.compare import Row

__all__ = ["compare"]

INSTEAD = (
    "compare takes runs and presets. For a model file measure each side in Python: an.deploy.to_litert(model, "
    "'model.tflite', inputs) and an.deploy.program(model, chips=25).evaluate(test_data)."
)
"""What to do with a network whose data are not known."""
Trained = Annotated[
    list[str], typer.Argument(help="Runs or presets; several of one network each fill the precision they have.")
]
Count = Annotated[int | None, typer.Option(min=1, help="How many chips to programme; the recipe's by default.")]
Times = Annotated[str | None, typer.Option(help="Times since programming, such as 25s,1h,1d; the recipe's by default.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of the chips; the recipe's by default.")]
Bits = Annotated[str, typer.Option(help="Precisions of the analog rows, 2 to 16 bit each.")]
Qat = Annotated[bool, typer.Option("--qat", help="Also train the int8 network with quantisation in the loop.")]
Epochs = Annotated[int, typer.Option(min=1, help="Epochs of --qat.")]
Out = Annotated[Path | None, typer.Option(help="Folder for compare.csv and compare.json; by default as of evaluate.")]


def compare(
    runs: Trained,
    data: Data = None,
    split: SplitOption = Split.test,
    chips: Count = None,
    at: Times = None,
    seed: Seed = None,
    bits: Bits = "8,6,4",
    ranges: RangesOption = Ranges.calibrated,
    qat: Qat = False,
    qat_epochs: Epochs = 3,
    out: Out = None,
    open_: OpenReport = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Set a network as float, int8 LiteRT and analog side by side: accuracy, size, products, energy.

    A precision that none of the runs was trained for is measured on the best trained one with other converters.
    """
    from analognets.zoo.trained import open_trained

    reporter = _console.Reporter(json=json, quiet=quiet)
    trained = [open_trained(run, wants=("recipe",), instead=INSTEAD) for run in runs]
    times, wanted = times_of(at), wanted_bits(bits)
    check_extras(qat)
    folder = results_folder(trained[0], out)
    start_backend(reporter)

    from analognets.deploy.studies.compare import Comparison, Settings, same_network, write_comparison

    settings = Settings(split.value, wanted, ranges.value, chips, tuple(times), seed, qat_epochs if qat else 0)
    rows: list[Row] = []
    facts: list[dict[str, Any]] = []
    for group in same_network(list(zip(runs, trained, strict=True))):
        task = load_task(reporter, group[0][1], data)
        with Steps(reporter) as steps:
            measured = Comparison(group, task, settings, steps)
            rows += measured.rows()
        facts.append(measured.facts())
        if not measured.analog_networks():
            reporter.warn(f"{', '.join(name for name, _ in group)}: no analog network, so there are no analog rows.")
    write_comparison(folder, rows, facts)
    show(reporter, folder, rows, facts)
    made = made_from(runs, {**dataclasses.asdict(settings), "data": data, "times": times or "as in the recipe"})
    leave_report(reporter, report_of(rows, facts, made), folder / "compare.html", open_it=open_)
    reporter.point(f"Written to {folder}: compare.csv, compare.json")


def check_extras(qat: bool) -> None:
    """Raise before any work if a package is missing.

    Raises:
        MissingExtraError: one is.
    """
    if not installed("ai_edge_litert"):
        raise MissingExtraError("Comparing with LiteRT", "litert")
    if qat and not installed("tensorflow_model_optimization"):
        raise MissingExtraError("Quantisation-aware training", "tfmot")


def installed(package: str) -> bool:
    """Whether a package can be imported; it is not."""
    return importlib.util.find_spec(package) is not None


def wanted_bits(text: str) -> tuple[int, ...]:
    """Return the precisions of --bits."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdigit() and 2 <= int(word) <= 16 for word in words):
        raise typer.BadParameter(f"--bits takes numbers from 2 to 16, such as 8,6,4. Received: '{text}'.")
    return tuple(dict.fromkeys(int(word) for word in words))


def show(reporter: _console.Reporter, folder: Path, rows: Sequence[Row], facts: Sequence[dict[str, Any]]) -> None:
    """Print the table."""
    from analognets.metrics import ABOUT_BOUND

    reporter.result(
        {"measured_on": list(facts), "results": str(folder), "rows": [dataclasses.asdict(row) for row in rows]}
    )
    several = len({row.network for row in rows}) > 1
    columns = ["version", "time", "accuracy %", "loss to float", "std", "share of chips"]
    columns += ["size", "weights", "MACs", "uJ", "note", "uJ, range"]
    reporter.table(
        ["network", *columns] if several else columns,
        [cells(row)[0 if several else 1 :] for row in rows],
        title=f"Accuracy on {facts[0]['samples']} {facts[0]['split']} {facts[0]['kind']} of {facts[0]['data']}",
    )
    reporter.say(
        "\N{PLUS-MINUS SIGN} is half of the 95 % interval over the samples, by speaker where known, and the chips; "
        "losses, in points, are paired by sample."
    )
    if any(row.bound is not None for row in rows):
        reporter.say(f"{ABOUT_BOUND}.")
    reporter.say(
        "Energy: of the analog accelerator's model, with the range that its published figures allow; a "
        "microcontroller's is not known."
    )
    if any(entry["synthetic"] for entry in facts):
        reporter.say("Synthetic data: these figures say nothing about real ones.")


def report_of(rows: Sequence[Row], facts: Sequence[dict[str, Any]], made: dict[str, Any]) -> Any:
    """Return the report of a comparison."""
    from analognets.core.report import Picture, Report
    from analognets.deploy.studies.compare import comparison_figure
    from analognets.metrics import format_interval

    said = []
    for network in dict.fromkeys(row.network for row in rows):
        last = {row.version: row for row in rows if row.network == network}
        each = "; ".join(
            f"{version} {format_interval(row.accuracy, row.low, row.high, scale=100)} %"
            f"{f' after {row.at}' if row.at else ''}"
            for version, row in last.items()
        )
        said.append(f"{network}: {each}.")
    answer = " ".join(said)
    on = f"{facts[0]['samples']} {facts[0]['split']} {facts[0]['kind']} of {facts[0]['data']}"
    text = f"Accuracy of each version on {on}; analog chips over the time since programming. {answer}"
    return Report(
        title=f"Comparison of {', '.join(dict.fromkeys(row.network for row in rows))}",
        question="What does an analog chip lose or gain against float and int8 on a microcontroller?",
        answer=answer,
        figures=[Picture(comparison_figure(rows), "Accuracy of each version", text)],
        **{**made, "facts": {"measured on": on, **made["facts"]}},
    )


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as text."""
    from analognets.metrics import format_bound, format_interval

    low, high = row.energy_low_uj, row.energy_high_uj
    size = f"{row.bytes:,} B" if row.cells is None else f"{row.cells:,} pairs"
    loss = "-" if row.loss is None else format_interval(row.loss, row.loss_low, row.loss_high, form="{:+.2f}")
    return (
        *(row.network, row.version, row.at or "-", format_interval(row.accuracy, row.low, row.high, scale=100)),
        *(loss, "-" if row.std is None else f"{100 * row.std:.2f}", format_bound(row.bound_share, row.bound)),
        *(size, f"{row.weights:,}", f"{row.macs:,}"),
        *("-" if row.energy_uj is None else f"{row.energy_uj:.3g}", row.note),
        "-" if low is None or high is None else f"{low:.3g} to {high:.3g}",
    )
