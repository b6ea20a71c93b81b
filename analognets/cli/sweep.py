"""`analognets sweep`: accuracy of programmed chips over the strength of one non-ideality."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console, options
from analognets.cli._report import leave_report, made_from
from analognets.cli._work import following, interval, percent, records, start_backend, times_of
from analognets.errors import AnalogNetsError

__all__ = ["sweep"]

Effect = Annotated[
    str,
    typer.Option(
        help="What to change: ir_drop, output_noise, adc_bits, device_noise, stuck_at_zero ... A wrong name lists all."
    ),
]
Values = Annotated[
    str | None,
    typer.Option(help="Strengths, such as 0,1,2,5,10; bits may be 'ideal'. By default a scan far beyond any use."),
]


def sweep(
    networks: options.StudyNetworks,
    nonideality: Effect,
    values: Values = None,
    data: options.StudyData = None,
    limit: options.Limit = None,
    chips: options.Chips = 15,
    at: options.Time = "1h",
    seed: options.Seed = 0,
    no_drift_compensation: options.NoCompensation = False,
    workers: options.Workers = 1,
    ray: options.OnRay = False,
    out: options.Out = Path("sweep"),
    overwrite: options.OverwriteResults = False,
    open_: options.OpenReport = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure networks with one non-ideality at other strengths, without retraining, on the same simulated chips.

    The same command goes on with a sweep that was interrupted; more values and more chips may be added.
    """
    strengths = parse_values(values)
    times_of(at)
    settings = {"data": data, "limit": limit, "chips": chips, "at": at, "seed": seed, "workers": workers, "ray": ray}
    settings |= {"drift_compensation": not no_drift_compensation, "overwrite": overwrite}
    reporter = _console.Reporter(json=json, quiet=quiet)
    start_backend(reporter)

    from analognets.deploy.studies.sensitivity import curve_figure, summarize_sweep, sweep_nonideality

    with following(reporter, "Measuring", "nonideality", "value") as progress:
        table = sweep_nonideality(networks, nonideality, strengths, out, progress=progress, **settings)
    failed = table[table["status"] != "ok"]
    if len(failed) == len(table):
        raise AnalogNetsError(f"None of the {len(table)} points could be measured: {failed['error'].iloc[0]}")
    summary = summarize_sweep(table)
    figure = curve_figure(summary, out / "sweep.png")
    reporter.result({"results": str(out), "rows": records(summary)})
    show(reporter, summary)
    for _, row in failed.iterrows():
        reporter.warn(f"{row['network']}, {nonideality} {row['value']}, chip {row['chip']}: {row['error']}")
    reporter.point(f"Written to {out}: sweep.parquet, summary.parquet, sweep.png")
    made = made_from(networks, {**settings, "nonideality": nonideality})
    leave_report(reporter, report_of(summary, figure, made), out / "sweep.html", open_it=open_)


def report_of(summary: Any, figure: Any, made: dict[str, Any]) -> Any:
    """Return the report of a sweep."""
    from analognets.core.report import Picture, Report

    name, at = str(summary["nonideality"].iloc[0]).replace("_", " "), summary["at"].iloc[0]
    answer = " ".join(kept(network, rows) for network, rows in summary.groupby("network", sort=False))
    text = f"Accuracy after {at} against the strength of {name}, with standard errors over chips. {answer}"
    return Report(
        title=f"Sweep of {name}",
        question=f"How much {name} do the networks bear?",
        answer=answer,
        figures=[Picture(figure, f"Accuracy over {name}", text)],
        **made,
    )


def kept(network: Any, rows: Any) -> str:
    """Return up to which strength a network keeps its accuracy, as a sentence."""
    from analognets.crossbar.effects import describe
    from analognets.metrics import ISO_ACCURACY

    fewer = describe(str(rows["nonideality"].iloc[0])).fewer_is_worse
    ordered = rows.sort_values("value", ascending=not fewer, na_position="first").to_dict("records")
    borne = []
    for row in ordered:
        if not (row["normalized"] is not None and row["normalized"] >= ISO_ACCURACY):
            break
        borne.append(row)
    ends = f"from {percent(ordered[0]['accuracy'])} % at {named(ordered[0]['value'])} to "
    ends += f"{percent(ordered[-1]['accuracy'])} % at {named(ordered[-1]['value'])}"
    level = f"{100 * ISO_ACCURACY:g} % of its normalised accuracy"
    if not borne:
        return f"{network}: below {level} at each strength; accuracy {ends}."
    return f"{network}: at least {level} as far as {named(borne[-1]['value'])}; accuracy {ends}."


def named(value: Any) -> str:
    """Return a strength as text."""
    return "ideal" if value is None or value != value else f"{value:g}"


def parse_values(text: str | None) -> list[Any] | None:
    """Return the strengths of a list with commas, "ideal" as None.

    Raises:
        BadParameter: one is no number.
    """
    if text is None:
        return None
    try:
        return [None if word.strip() == "ideal" else float(word) for word in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--values takes numbers with commas between them. Received: {text!r}.") from None


def show(reporter: _console.Reporter, summary: Any) -> None:
    """Print the curve as a table."""
    from analognets.metrics import ABOUT_BOUND, format_bound

    rows = []
    for _, row in summary.iterrows():
        star = " *" if row["standard"] == row["value"] else ""
        found = [interval(row, "accuracy", ""), interval(row, "loss", "loss", scale=1.0, form="{:+.2f}")]
        found += [interval(row, "normalized", "normalized"), format_bound(row["bound_share"], row["bound"])]
        rows.append((row["network"], named(row["value"]) + star, *found))
    chips = int(summary["chips"].max())
    title = f"After {summary['at'].iloc[0]}, mean of {chips} chips and half of its 95 % interval over chips"
    columns = ["network", str(summary["nonideality"].iloc[0]), "accuracy %", "loss to *", "A* %", "share of chips"]
    reporter.table(columns, rows, title=f"{title}; * is the hardware as it is")
    reporter.say("Losses, in points, are paired chip by chip. " + ABOUT_BOUND + ".")
