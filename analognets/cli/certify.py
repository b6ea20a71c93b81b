"""`analognets certify`: a promise about the chips of a network, for people and for pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console, options
from analognets.cli._report import leave_report, made_from
from analognets.cli._work import following, start_backend, times_of

__all__ = ["certify"]

STDOUT = "-"
VERDICTS = {"pass": "Yes.", "fail": "No.", "undecided": "Not shown."}

Network = Annotated[
    str,
    typer.Argument(
        metavar="RUN|PRESET|FILE.keras", help="Folder of a finished run, handle of a preset, or saved analog model."
    ),
]
MinAccuracy = Annotated[float, typer.Option(help="Accuracy in percent that a good chip keeps, such as 90.")]
At = Annotated[str, typer.Option(help="Times since programming, such as 1y or 1h,1y; a good chip keeps it at each.")]
Yield = Annotated[float, typer.Option("--yield", help="Percent of chips that are to be good.")]
Confidence = Annotated[float, typer.Option(help="Confidence of the answer in percent.")]
Chips = Annotated[int | None, typer.Option(min=1, help="Most chips; 4 times the fewest that can show it by default.")]
Rule = Annotated[
    str | None,
    typer.Option("--compensation", help="Drift compensation in place of the hardware's: global, column or input."),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Name of a device, or file of `device fit`, in place of the hardware's. Chips of a fitted device are "
        "drawn over its bootstrap.",
    ),
]
FixedSamples = Annotated[
    bool, typer.Option("--no-data-uncertainty", help="Promise the accuracy on just these samples.")
]
FixedConstants = Annotated[
    bool, typer.Option("--no-constants-uncertainty", help="Take the constants of a fitted device as exact.")
]
JsonFile = Annotated[
    str | None, typer.Option("--json", metavar="FILE|-", help="Write the certificate as JSON; - prints it.")
]
Out = Annotated[Path, typer.Option(help="Folder for measured chips; what was interrupted or undecided goes on there.")]


def certify(
    network: Network,
    min_accuracy: MinAccuracy,
    at: At = "1y",
    min_yield: Yield = 95.0,
    confidence: Confidence = 99.0,
    chips: Chips = None,
    data: options.StudyData = None,
    split: options.SplitOption = options.Split.test,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    no_drift_compensation: options.NoCompensation = False,
    compensation: Rule = None,
    device: Device = None,
    no_data_uncertainty: FixedSamples = False,
    no_constants_uncertainty: FixedConstants = False,
    out: Out = Path("certificate"),
    overwrite: options.OverwriteResults = False,
    open_: options.OpenReport = False,
    json: JsonFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Show that a share of all chips keeps an accuracy, on as many simulated chips as that takes.

    Exit codes: 0 the promise holds; 1 it does not, or the command failed; 3 undecided after so many chips; 2 wrong
    usage.
    The same command goes on with an audit that was interrupted, and with --chips N, N larger, with one undecided.
    """
    shares: dict[str, Any] = {
        "min_accuracy": share("--min-accuracy", min_accuracy, 1.0, 100.0, "90"),
        "min_yield": share("--yield", min_yield, 1.0, 99.9, "95"),
        "confidence": share("--confidence", confidence, 50.0, 99.9999, "99"),
    }
    times = times_of(at)
    settings: dict[str, Any] = {"chips": chips, "data": data, "split": split.value, "limit": limit, "seed": seed}
    settings |= {"compensation": compensation, "device": device, "overwrite": overwrite, "folder": out}
    settings |= {"drift_compensation": not no_drift_compensation, "data_uncertainty": not no_data_uncertainty}
    settings["constants_uncertainty"] = not no_constants_uncertainty
    reporter = _console.Reporter(json=json == STDOUT, quiet=quiet)
    target = json_file(json)
    start_backend(reporter)

    from analognets.deploy.studies.certify.certify import certify as certify_network

    with following(reporter, "Counting chips", "accuracy") as progress:
        found = certify_network(network, **shares, at=times, progress=progress, **settings)
    if target is not None:
        from analognets.core.files import write_json

        write_json(target, found.to_dict())
    reporter.result(found.to_dict())
    show(reporter, found, out)
    made = made_from([network], {"since programming": at, **settings, "folder": None})
    leave_report(reporter, report_of(found, network, made), out / "certificate.html", open_it=open_)
    raise typer.Exit(found.exit_code)


def share(option: str, value: float, low: float, high: float, example: str) -> float:
    """Return percent as a share.

    Raises:
        BadParameter: it is out of range.
    """
    if not low < value <= high and not (value == low and low > 1.0):
        least = f"more than {low:g}" if low <= 1.0 else f"at least {low:g}"  # 1 may be meant as a share
        raise typer.BadParameter(
            f"{option} takes percent, {least} and at most {high:g}, such as {example}. Received: {value:g}."
        )
    return round(float(value) / 100.0, 12)  # 99.9 / 100 is more than 0.999


def json_file(json: str | None) -> Path | None:
    """Return the file of --json, in a folder that is there; None if there is none.

    Raises:
        BadParameter: it is no file to be written.
    """
    if json is None or json == STDOUT:
        return None
    target = Path(json)
    if not json or target.is_dir() or not target.parent.is_dir():
        raise typer.BadParameter(
            f"--json takes a file in a folder that is there, or - for the terminal. Received: '{json}'."
        )
    return target


def report_of(found: Any, network: str, made: dict[str, Any]) -> Any:
    """Return the report of an audit."""
    from analognets.core.report import Picture, Report, Table
    from analognets.deploy.studies.certify.certificate import certificate_figure

    rows = [
        (int(row["chip"]), *(f"{100 * row[name]:.2f}" for name in ("accuracy", "low", "high")))
        for row in found.table.to_dict("records")
    ]
    text = f"Accuracy of each chip with its bounds, sorted; the line is what a good chip keeps. {found.evidence()}"
    return Report(
        title=f"Certificate of {network}",
        question=f"Do {found.asked.statement()}?",
        answer=f"{VERDICTS[found.verdict]} {found.sentence}",
        figures=[Picture(certificate_figure(found), "Accuracy of each chip", text)],
        tables=[Table(["chip", "lowest accuracy %", "lower bound %", "upper bound %"], rows, "Chips")],
        **made,
    )


def show(reporter: _console.Reporter, found: Any, out: Path) -> None:
    """Print the sentence, what was counted, what it rests on and what it leaves out."""
    reporter.say(found.sentence, style={"pass": "bold green", "fail": "bold red"}.get(found.verdict, "bold yellow"))
    reporter.say(found.evidence())
    for title, sentences in (("It rests on:", found.rests_on), ("It does not cover:", found.leaves_out)):
        reporter.say(title)
        for sentence in sentences:
            reporter.say(f"- {sentence}")
    reporter.point(f"Written to {out}: certificate.json, chips/results.parquet")
    if found.next_step():
        reporter.point(f"Next: {found.next_step()}")
