"""`analognets device`: from a table of measured cells to a device that every hardware can name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analognets.cli import _console
from analognets.cli._report import leave_report
from analognets.cli._work import start_backend
from analognets.cli.options import Json, OpenReport, Quiet

if TYPE_CHECKING:
    from analognets.core.report import Report

__all__ = ["device"]

device = typer.Typer(no_args_is_help=True, add_completion=False, help="Fit a device to measured cells; show a device.")

Table = Annotated[
    Path,
    typer.Argument(
        metavar="MEASUREMENTS.csv",
        help="Long: cell, target_uS, conductance_uS, time_s; or wide: cell, target_uS, conductance_uS@25s, "
        "conductance_uS@1h, ...; or pulse curves: cell, pulse, direction, conductance_uS; or pulse, LTP_uS, LTD_uS.",
    ),
]
Out = Annotated[Path | None, typer.Option(help="YAML file of the device; by default the table's name with .yaml.")]
Figures = Annotated[Path | None, typer.Option("--figures", help="Also draw the laws and quantile plots here.")]
GMax = Annotated[
    float | None,
    typer.Option(
        "--g-max", help="g_max in uS; by default the highest target, or nearly the highest reading of pulses."
    ),
]
First = Annotated[
    str | None,
    typer.Option("--t-0", help="Time that drift is counted from, such as 25s; the first reading by default."),
]
Pulse = Annotated[float, typer.Option("--read-pulse", help="Width of a read pulse in seconds.")]
Units = Annotated[
    str | None, typer.Option(help="Where columns don't say them: target=uS,conductance=uS,time=s,temperature=K.")
]
Source = Annotated[str, typer.Option(help="What to call the data, such as the lot and the lab.")]
Replicates = Annotated[int, typer.Option(min=20, max=100_000, help="Of the bootstrap.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the bootstrap.")]
Tabulated = Annotated[bool, typer.Option("--tabulated", help="Write quantiles by level and time in place of laws.")]
Depression = Annotated[bool, typer.Option("--depression", help="Refuse pulse curves that have no depression.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")]


@device.command("fit")
def fit(
    measurements: Table,
    out: Out = None,
    figures: Figures = None,
    g_max: GMax = None,
    t_0: First = None,
    read_pulse: Pulse = 250e-9,
    units: Units = None,
    source: Source = "",
    replicates: Replicates = 400,
    seed: Seed = 0,
    tabulated: Tabulated = False,
    depression: Depression = False,
    overwrite: Overwrite = False,
    open_: OpenReport = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit the laws of a device to measured cells or pulse curves, and write the device as YAML."""
    reporter = _console.Reporter(json=json, quiet=quiet)
    target = out or Path(f"{measurements.stem}.yaml")
    if target.suffix not in (".yaml", ".yml"):
        raise typer.BadParameter(f"--out takes a file that ends in .yaml. Received: '{target}'.")
    page = target.with_suffix(".html")
    for file in (target, page):
        if file.exists() and not overwrite:
            raise typer.BadParameter(f"'{file}' is there already. Give --overwrite, or another file with --out.")
    named = units_of(units)
    from analognets.core.files import make_folder

    make_folder(target.parent, "folder of the device file")
    if figures is not None:
        make_folder(figures, "folder for the figures")
    start_backend(reporter)

    from analognets import devices

    settings: dict[str, Any] = {"g_max": g_max, "t_0": t_0, "t_read": read_pulse, "units": named, "source": source}
    settings |= {"depression": True} if depression else {}
    with reporter.status(f"Fitting {measurements} ..."):
        found = devices.fit(measurements, replicates=replicates, seed=seed, **settings)
        made = found.tabulated() if tabulated else found.device
    devices.save(made, target)
    drawn = [] if figures is None else found.figures(figures)
    reporter.result({**found.to_dict(), "device": str(target), "figures": [str(path) for path in drawn]})
    show_fit(reporter, found)
    for path in drawn:
        reporter.point(f"Written: {path}")
    reporter.point(f"Written: {target}. Name it as `device: {target}` in hardware and recipes.")
    said = {**settings, "replicates": replicates, "seed": seed, "law": "tabulated" if tabulated else "fitted"}
    leave_report(reporter, report_of(found, measurements, said), page, open_it=open_)


def report_of(found: Any, measurements: Path, settings: dict[str, Any]) -> Report:
    """Return the report of a fit."""
    from analognets.core.files import file_sha256
    from analognets.core.report import Picture, Report

    size = f"{len(found.measurements):,} cells, {found.measurements.readings:,} readings"
    told = f"{int(found.constants['told'].sum())} of its {len(found.constants)} constants"
    answer = (
        f"A device with g_max {found.device.g_max:g} uS from {size}: the data tell {told}. "
        f"{found.verdict[-1] if found.verdict else ''}"
    ).strip()
    pictures = [Picture(figure, NAMES[name], caption) for name, (figure, caption) in found.drawings().items()]
    facts: dict[str, Any] = {"measurements": f"{measurements.name}, {size}", "sha256": file_sha256(measurements)}
    facts |= {name.replace("_", " "): value for name, value in settings.items() if value not in (None, "", {})}
    question = f"Which device shows what {found.measurements.readings:,} readings show, and how well does it?"
    return Report(f"Device of {measurements.name}", question, answer, figures=pictures, facts=facts)


def units_of(text: str | None) -> dict[str, str]:
    """Return the units of --units by role or column."""
    pairs = [word.partition("=") for word in text.split(",")] if text else []
    if not all(name.strip() and unit.strip() for name, _, unit in pairs):
        raise typer.BadParameter(f"--units takes pairs such as target=uS,conductance=uS,time=s. Received: '{text}'.")
    return {name.strip(): unit.strip() for name, _, unit in pairs}


def show_fit(reporter: _console.Reporter, found: Any) -> None:
    """Print laws, constants with their intervals, and the verdict."""
    size = f"{len(found.measurements):,} cells, {found.measurements.readings:,} readings"
    pulsed = found.of_pulses
    rows = []
    for name, row in found.constants.iterrows():
        untold = "not told" if pulsed else "not told; held where the data end"
        interval = f"{row['low']:.4g} to {row['high']:.4g}" if row["told"] else untold
        rows.append((row["part"], name, f"{row['value']:.5g}", interval))
    columns = ("part", "constant", "value", "95 % interval")
    other = f"g_min {found.device.g_min:g} uS" if pulsed else f"t_0 {found.device.t_0:g} s"
    reporter.table(columns, rows, title=f"Fitted to {size}; g_max {found.device.g_max:g} uS, {other}")
    if pulsed:
        said = ", ".join(f"{name} {value:.4g}" for name, value in found.neurosim().items())
        reporter.say(f"As NeuroSim counts them: {said}")
    for part, law in found.laws.items():
        reporter.say(f"{part.replace('_', ' ')}: {law}")
    for sentence in found.verdict:
        reporter.say(f"- {sentence}")


NAMES = {"laws": "Fitted laws", "quantiles": "Quantiles"}
"""Titles of pictures in the report."""
DeviceName = Annotated[str, typer.Argument(metavar="DEVICE", help="Name of a device, or the path of a device file.")]


@device.command("show")
def show(name: DeviceName, json: Json = False) -> None:
    """Show the settings of a device, and how well they are known."""
    reporter = _console.Reporter(json=json)
    start_backend(reporter)

    from analognets import devices

    found = devices.get(name)
    config = found.get_config()
    reporter.result({"device": type(found).__name__, "settings": config})
    known = config.pop("uncertainty", {})
    reporter.table(
        ("setting", "value"), [(key, str(value)) for key, value in config.items()], title=type(found).__name__
    )
    if known:
        rows = list(zip(known["names"], known["low"], known["high"], strict=True))
        reporter.table(("constant", "low", "high"), rows, title="95 % intervals")
