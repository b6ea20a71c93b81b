"""`analognets sensitivity`: which non-ideality hurts a network most, and which of its layers."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analognets.cli import _console, options
from analognets.cli._report import leave_report, made_from
from analognets.cli._work import following, interval, percent, records, start_backend, times_of

if TYPE_CHECKING:
    from analognets.core.report import Report

__all__ = ["sensitivity"]


class Method(enum.StrEnum):
    """What --method takes."""

    equal_error = "equal_error"
    threshold = "threshold"
    layers = "layers"
    one = "1"
    two = "2"


EARLIER = {Method.one: Method.equal_error, Method.two: Method.threshold}

How = Annotated[
    Method,
    typer.Option(
        metavar="equal_error|threshold|layers",
        help="equal_error (or 1): loss when each non-ideality alone makes the same product error. threshold (or 2): "
        "how strong each may get. layers: which layers bear device noise least, and how few must be spared it.",
    ),
]
Effects = Annotated[
    str | None,
    typer.Option("--nonidealities", help="Some only, with commas; all that the hardware can have by default."),
]
Target = Annotated[
    float, typer.Option("--error", help="Product error of equal_error as a share, 0.001 to 1: 0.2 is 20 %.")
]
Full = Annotated[bool, typer.Option("--full", help="Measure whole scans in threshold instead of halving them.")]


def sensitivity(
    networks: options.StudyNetworks,
    method: How = Method.equal_error,
    nonidealities: Effects = None,
    error: Target = 0.2,
    full: Full = False,
    data: options.StudyData = None,
    limit: options.Limit = None,
    chips: options.Chips = 15,
    at: options.Time = "1h",
    seed: options.Seed = 0,
    no_drift_compensation: options.NoCompensation = False,
    workers: options.Workers = 1,
    ray: options.OnRay = False,
    out: options.Out = Path("sensitivity"),
    overwrite: options.OverwriteResults = False,
    open_: options.OpenReport = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare what non-idealities do to trained networks, without retraining, on the same simulated chips.

    The same command goes on with a study that was interrupted.
    """
    method = EARLIER.get(method, method)
    effects = None if nonidealities is None else [word.strip() for word in nonidealities.split(",")]
    if method == Method.layers and effects is not None:
        raise typer.BadParameter("--method layers is about device noise alone: leave --nonidealities out.")
    if not 1e-3 <= error <= 1:
        raise typer.BadParameter(f"--error is a share from 0.001 to 1. Received: {error:g}. For 20 % give 0.2.")
    times_of(at)
    settings = {"data": data, "limit": limit, "chips": chips, "at": at, "seed": seed, "workers": workers, "ray": ray}
    settings |= {"drift_compensation": not no_drift_compensation, "overwrite": overwrite}
    reporter = _console.Reporter(json=json, quiet=quiet)
    start_backend(reporter)
    if method == Method.layers:
        report = by_layers(reporter, networks, out, settings)
    elif method == Method.equal_error:
        report = by_error(reporter, networks, out, {"nonidealities": effects, "target": error, **settings})
    else:
        report = by_threshold(reporter, networks, out, {"nonidealities": effects, "full": full, **settings})
    leave_report(reporter, report, out / f"{method.value}.html", open_it=open_)


def by_error(reporter: _console.Reporter, networks: list[str], out: Path, settings: dict[str, Any]) -> Report:
    """Raise each effect to the same product error, and show and draw the losses."""
    from analognets.deploy.studies.sensitivity import equal_error_study, heat_map

    with following(reporter, "Equal error", "nonideality", "value") as progress:
        table = equal_error_study(networks, out, progress=progress, **settings)
    figure = heat_map(table, out / "equal_error.png")
    reporter.result({"results": str(out), "rows": records(table)})
    good = table[table["status"] == "ok"].sort_values(["network", "loss"], ascending=[True, False])
    rows = [
        (
            row["network"],
            row["nonideality"],
            f"{row['standard']:g}",
            f"{row['strength']:.4g}",
            interval(row, "accuracy", ""),
            interval(row, "loss", "loss"),
        )
        for _, row in good.iterrows()
    ]
    before, after = percent(good["standard_product_error"].iloc[0]), percent(settings["target"])
    title = f"After {table['at'].iloc[0]}, product error from {before} to {after} %, mean of "
    title += f"{int(good['chips'].iloc[0])} chips and half of its 95 % interval over chips"
    columns = ["network", "non-ideality", "is", "raised to", "accuracy %", "loss of normalised accuracy %"]
    reporter.table(columns, rows, title=title)
    for _, row in table[table["status"] != "ok"].iterrows():
        reporter.warn(f"{row['network']}, {row['nonideality']}: {row['error']}")
    reporter.point(f"Written to {out}: equal_error.parquet, equal_error.png")
    answer = " ".join(
        f"{network}: {most['nonideality']} hurts most, a loss of {percent(most['loss'])} % of normalised accuracy at "
        f"{after} % product error; {least['nonideality']} least, {percent(least['loss'])} %."
        for network, rows_of in good.groupby("network", sort=False)
        for most, least in [(rows_of.iloc[0], rows_of.iloc[-1])]
    )
    return study(
        "Sensitivity at equal product error",
        "Which non-ideality hurts the networks most, if each alone makes the same error in the products?",
        answer,
        (figure, f"Loss of normalised accuracy by non-ideality and network after {table['at'].iloc[0]}. {answer}"),
        made_from(networks, settings),
    )


def by_threshold(reporter: _console.Reporter, networks: list[str], out: Path, settings: dict[str, Any]) -> Report:
    """Find how strong each effect may get, and show and draw it."""
    from analognets.crossbar.effects import describe
    from analognets.deploy.studies.sensitivity import heat_map, threshold_study

    with following(reporter, "Thresholds", "nonideality", "value") as progress:
        table = threshold_study(networks, out, progress=progress, **settings)
    figure = heat_map(table, out / "threshold.png")
    reporter.result({"results": str(out), "rows": records(table)})
    rows = []
    for _, row in table.iterrows():
        sign = ("< " if describe(row["nonideality"]).fewer_is_worse else "> ") if row["beyond"] else ""
        half = (row["high"] - row["low"]) / 2
        error = "" if half != half else f" \N{PLUS-MINUS SIGN} {half:.2g}"
        standard = row["standard"]
        was = "ideal" if standard is None or standard != standard else f"{standard:g}"
        relative = "" if row["sensitivity"] != row["sensitivity"] else f"{row['sensitivity']:.2f}"
        rows.append((row["network"], row["nonideality"], was, f"{sign}{row['threshold']:.4g}{error}", relative))
    title = f"Strength that leaves {100 * table['level'].iloc[0]:g} % of the accuracy after {table['at'].iloc[0]}, "
    title += "half of the 95 % interval over chips"
    reporter.table(["network", "non-ideality", "is", "threshold", "relative sensitivity"], rows, title=title)
    reporter.point(f"Written to {out}: threshold.parquet, threshold_scan.parquet, threshold.png")
    known = table.dropna(subset=["sensitivity"]).sort_values("sensitivity", ascending=False)
    answer = " ".join(
        f"{network}: the most sensitive to {rows_of['nonideality'].iloc[0]}, then to "
        f"{', '.join(rows_of['nonideality'].iloc[1:3]) or 'nothing else'}."
        for network, rows_of in known.groupby("network", sort=False)
    )
    return study(
        "Thresholds of non-idealities",
        f"How strong may each non-ideality get until {100 * table['level'].iloc[0]:g} % of the accuracy is left?",
        answer or "No non-ideality reached its threshold in the scan.",
        (figure, f"Threshold and relative sensitivity by non-ideality and network. {answer}"),
        made_from(networks, settings),
    )


def by_layers(reporter: _console.Reporter, networks: list[str], out: Path, settings: dict[str, Any]) -> Report:
    """Run the layer study, and show and draw it."""
    from analognets.deploy.studies.sensitivity import layer_figure, layer_study

    with following(reporter, "Layers", "nonideality", "value") as progress:
        found = layer_study(networks, out, progress=progress, **settings)
    figure = layer_figure(found, out / "layers.png")
    payload = {"ranking": records(found.ranking), "exemption": records(found.exemption)}
    reporter.result({"results": str(out), **payload})
    rows = [
        (row["network"], int(row["rank"]), row["layer"], int(row["weights"]), interval(row, "normalized", "normalized"))
        for _, row in found.ranking.iterrows()
    ]
    factor, at = found.ranking["factor"].iloc[0], found.ranking["at"].iloc[0]
    title = f"Device noise x {factor:g} in one layer, none elsewhere, after {at}"
    reporter.table(["network", "rank", "layer", "weights", "A* %"], rows, title=title)
    exempt = []
    for _, row in found.exemption.iterrows():
        star = interval(row, "normalized", "normalized")
        exempt.append((row["network"], int(row["exempt"]), percent(row["share"]), star, str(row["enough"])))
    title = f"Layers without device noise, the most sensitive first, after {at}"
    reporter.table(["network", "exempt layers", "weights %", "A* %", "enough"], exempt, title=title)
    reporter.say("A*: mean over chips, with half of its 95 % interval.")
    reporter.point(f"Written to {out}: layers_ranking.parquet, layers_exemption.parquet, layers.png")
    answer = []
    for network, ranked in found.ranking.groupby("network", sort=False):
        first = ranked.sort_values("rank").iloc[0]
        spared = found.exemption[(found.exemption["network"] == network) & found.exemption["enough"]]
        few = (
            f"sparing {int(spared['exempt'].min())} of {len(ranked)} layers is enough"
            if len(spared)
            else ("sparing all layers is not enough")
        )
        answer.append(f"{network}: {first['layer']} bears noise least; {few}.")
    text = "Normalised accuracy with noise in one layer alone, and with the most sensitive layers spared. "
    return study(
        "Layers and device noise",
        "Which layers bear device noise least, and how few must be spared it?",
        " ".join(answer),
        (figure, text + " ".join(answer)),
        made_from(networks, settings),
    )


def study(title: str, question: str, answer: str, picture: tuple[Any, str], made: dict[str, Any]) -> Report:
    """Return the report of a study with one figure."""
    from analognets.core.report import Picture, Report

    return Report(title, question, answer, figures=[Picture(picture[0], title, picture[1])], **made)
