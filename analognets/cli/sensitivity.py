"""`analognets sensitivity`: which non-ideality hurts a network most, and which of its layers."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console, options
from analognets.cli._work import following, interval, percent, records, start_backend, times_of

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
Target = Annotated[float, typer.Option("--error", help="Product error of equal_error as a share.")]
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
    times_of(at)
    settings = {"data": data, "limit": limit, "chips": chips, "at": at, "seed": seed, "workers": workers, "ray": ray}
    settings |= {"drift_compensation": not no_drift_compensation, "overwrite": overwrite}
    reporter = _console.Reporter(json=json, quiet=quiet)
    start_backend(reporter)
    if method == Method.layers:
        by_layers(reporter, networks, out, settings)
    elif method == Method.equal_error:
        by_error(reporter, networks, out, {"nonidealities": effects, "target": error, **settings})
    else:
        by_threshold(reporter, networks, out, {"nonidealities": effects, "full": full, **settings})


def by_error(reporter: _console.Reporter, networks: list[str], out: Path, settings: dict[str, Any]) -> None:
    """Raise each effect to the same product error, and show and draw the losses."""
    from analognets.deploy.studies.sensitivity import equal_error_study, heat_map

    with following(reporter, "Equal error", "nonideality", "value") as progress:
        table = equal_error_study(networks, out, progress=progress, **settings)
    heat_map(table, out / "equal_error.png")
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
    reporter.say(f"Written to {out}: equal_error.parquet, equal_error.png")


def by_threshold(reporter: _console.Reporter, networks: list[str], out: Path, settings: dict[str, Any]) -> None:
    """Find how strong each effect may get, and show and draw it."""
    from analognets.crossbar.effects import describe
    from analognets.deploy.studies.sensitivity import heat_map, threshold_study

    with following(reporter, "Thresholds", "nonideality", "value") as progress:
        table = threshold_study(networks, out, progress=progress, **settings)
    heat_map(table, out / "threshold.png")
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
    reporter.say(f"Written to {out}: threshold.parquet, threshold_scan.parquet, threshold.png")


def by_layers(reporter: _console.Reporter, networks: list[str], out: Path, settings: dict[str, Any]) -> None:
    """Run the layer study, and show and draw it."""
    from analognets.deploy.studies.sensitivity import layer_figure, layer_study

    with following(reporter, "Layers", "nonideality", "value") as progress:
        study = layer_study(networks, out, progress=progress, **settings)
    layer_figure(study, out / "layers.png")
    payload = {"ranking": records(study.ranking), "exemption": records(study.exemption)}
    reporter.result({"results": str(out), **payload})
    rows = [
        (row["network"], int(row["rank"]), row["layer"], int(row["weights"]), interval(row, "normalized", "normalized"))
        for _, row in study.ranking.iterrows()
    ]
    factor, at = study.ranking["factor"].iloc[0], study.ranking["at"].iloc[0]
    title = f"Device noise x {factor:g} in one layer, none elsewhere, after {at}"
    reporter.table(["network", "rank", "layer", "weights", "A* %"], rows, title=title)
    exempt = []
    for _, row in study.exemption.iterrows():
        star = interval(row, "normalized", "normalized")
        exempt.append((row["network"], int(row["exempt"]), percent(row["share"]), star, str(row["enough"])))
    title = f"Layers without device noise, the most sensitive first, after {at}"
    reporter.table(["network", "exempt layers", "weights %", "A* %", "enough"], exempt, title=title)
    reporter.say("A*: mean over chips, with half of its 95 % interval.")
    reporter.say(f"Written to {out}: layers_ranking.parquet, layers_exemption.parquet, layers.png")
