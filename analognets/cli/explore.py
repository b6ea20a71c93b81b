"""`analognets explore`: accuracy after a day against efficiency and area over many kinds of chips."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console, options
from analognets.cli._report import leave_report, made_from
from analognets.cli._work import following, interval, numbers, records, sizes, start_backend, with_ends
from analognets.errors import AnalogNetsError

__all__ = ["explore"]

Networks = Annotated[
    list[str], typer.Argument(metavar="RUN|PRESET ...", help="Folders of finished runs, or handles of presets.")
]
Bits = Annotated[str, typer.Option(help="Of DACs and ADCs, such as 8,6,4.")]
Arrays = Annotated[str, typer.Option(help="Rows x columns of an array, such as 1024x512,512x512.")]
Adcs = Annotated[str, typer.Option(help="ADCs of an array, such as 512,128,64: fewer are shared by more columns.")]
Clip = Annotated[
    str | None, typer.Option(help="Weight ranges in standard deviations, such as 1.5,2,3; needs a short retraining.")
]
Eta = Annotated[
    str | None, typer.Option(help="Training noise as a share of W_max, such as 0.05,0.1; needs a short retraining.")
]
Epochs = Annotated[int, typer.Option(min=1, help="Of the retraining that --clip and --eta need.")]
Accelerator = Annotated[str, typer.Option(help="Whose constants to take: a name, or the path of a YAML file.")]


def explore(
    networks: Networks,
    bits: Bits = "8,6,4",
    arrays: Arrays = "1024x512,512x512",
    adcs: Adcs = "512,128,64",
    clip: Clip = None,
    eta: Eta = None,
    data: options.Data = None,
    limit: options.Limit = None,
    chips: options.Chips = 5,
    at: options.Time = "1d",
    seed: options.Seed = 0,
    ranges: options.RangesOption = options.Ranges.calibrated,
    retrain_epochs: Epochs = 1,
    accelerator: Accelerator = "aon_cim",
    workers: options.Workers = 1,
    ray: options.OnRay = False,
    out: options.Out = Path("exploration"),
    overwrite: options.OverwriteResults = False,
    open_: options.OpenReport = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure networks on all combinations of bits, arrays, ADCs, clipping and noise, and draw the Pareto front.

    The same command goes on with an exploration that was interrupted.
    """
    from analognets.units import parse_duration

    parse_duration(at)
    values: dict[str, Any] = {
        "bits": numbers("--bits", bits, int),
        "arrays": sizes(arrays),
        "adcs": numbers("--adcs", adcs, int),
        "clip": numbers("--clip", clip, float),
        "eta": numbers("--eta", eta, float),
    }
    settings = {"data": data, "limit": limit, "chips": chips, "at": at, "seed": seed, "retrain_epochs": retrain_epochs}
    settings |= {
        "ranges": ranges.value,
        "accelerator": accelerator,
        "workers": workers,
        "ray": ray,
        "overwrite": overwrite,
    }
    reporter = _console.Reporter(json=json, quiet=quiet)
    start_backend(reporter)
    table = measure(reporter, networks, out, values, settings)
    good = table[table["status"] == "ok"]
    if good.empty:
        error = AnalogNetsError(f"None of the {len(table)} points could be measured: {table['error'].iloc[0]}")
        error.add_note(f"All reasons are in {out / 'explore.parquet'}.")
        raise error

    from analognets.deploy.studies.explore_figures import pareto_figure

    title = f"{', '.join(dict.fromkeys(good['network']))} on {accelerator}"
    figure = pareto_figure(good, out / "pareto.png", title=title)
    show(reporter, table, out)
    made = made_from(networks, {**values, **settings})
    leave_report(reporter, report_of(good, figure, title, made), out / "explore.html", open_it=open_)


def report_of(good: Any, figure: Any, title: str, made: dict[str, Any]) -> Any:
    """Return the report of an exploration."""
    from analognets.core.report import Picture, Report
    from analognets.deploy.studies.explore_figures import label_of

    said = []
    for name, column in (("the most accurate", "accuracy"), ("the most efficient", "tops_per_watt")):
        row = good.sort_values(column, ascending=False, kind="stable").iloc[0]
        said.append(
            f"{name}: {row['network']} with {label_of(row)}, {interval(row, 'accuracy', 'accuracy')} % at "
            f"{row['tops_per_watt']:.2f} TOPS/W and {row['area_mm2']:.2f} mm^2"
        )
    answer = f"Of {len(good)} kinds of chips {int(good['pareto'].sum())} are on the Pareto front; {'; '.join(said)}."
    return Report(
        title=f"Exploration: {title}",
        question=f"Which chip is accurate after {good['at'].iloc[0]}, efficient and small?",
        answer=answer,
        figures=[Picture(figure, "Accuracy against efficiency", f"Accuracy against TOPS/W, area as size. {answer}")],
        **made,
    )


def measure(
    reporter: _console.Reporter, networks: list[str], out: Path, values: dict[str, Any], settings: dict[str, Any]
) -> Any:
    """Run the exploration with a bar, and say how to go on if it is interrupted."""
    from analognets.deploy.studies.explore import check_options, explore

    check_options(**values)
    with following(reporter, "Measuring", "status") as progress:
        return explore(networks, out, **values, **settings, progress=progress)


def show(reporter: _console.Reporter, table: Any, out: Path) -> None:
    """Print all points, best accuracy first, and where the files are."""
    from analognets.deploy.studies.explore_figures import label_of
    from analognets.metrics import ABOUT_BOUND, format_bound

    failed = table[table["status"] != "ok"]
    good = table[table["status"] == "ok"].sort_values("accuracy", ascending=False, kind="stable")
    reporter.result({"results": str(out), "rows": records(table)})
    several = table["network"].nunique() > 1
    rows = []
    for _, row in good.iterrows():
        rows.append(
            (
                "*" if row["pareto"] else "",
                *((row["network"],) if several else ()),
                label_of(row),
                row["weights"] if row["ranges"] == "trained" else f"{row['weights']}, ranges {row['ranges']}",
                interval(row, "accuracy", "accuracy"),
                format_bound(row["bound_share"], row["bound"]),
                with_ends(row, "tops_per_watt", ("tops_per_watt_low", "tops_per_watt_high"), ".2f"),
                with_ends(row, "energy_uj", ("energy_low_uj", "energy_high_uj"), ".3f"),
                f"{row['inferences_per_second']:,.0f}",
                f"{row['area_mm2']:.2f}",
                f"{100 * row['utilisation']:.1f}",
                int(row["arrays"]),
            )
        )
    columns = ["", *(["network"] if several else []), "chip", "weights", "accuracy %"]
    columns += ["share of chips", "TOPS/W", "uJ", "inferences/s"]
    at, chips = good["at"].iloc[0], int(good["chips"].max())
    title = f"After {at}, {chips} chip{'s' if chips != 1 else ''} a point, half of the 95 % interval over chips; "
    title += "* is on the Pareto front"
    reporter.table([*columns, "mm^2", "cells %", "arrays"], rows, title=title)
    for _, row in failed.iterrows():
        reporter.warn(f"{row['network']}, {label_of(row)}: {row['error']}")
    if good["bound"].notna().any():
        reporter.say(ABOUT_BOUND + ".")
    reporter.point(f"Written to {out}: explore.parquet, pareto.png")
