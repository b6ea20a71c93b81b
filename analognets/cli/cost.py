"""`analognets cost`: speed, energy and area of a network on an accelerator."""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console
from analognets.cli._report import leave_report, made_from
from analognets.cli._work import results_folder, start_backend
from analognets.cli.options import Json, OpenReport, Quiet
from analognets.errors import AnalogNetsError

__all__ = ["cost"]

FIGURES = {"floorplan": "floorplan_figure", "timeline": "timeline_figure", "energy": "energy_figure"}


class Depthwise(enum.StrEnum):
    """What --depthwise takes."""

    analog = "analog"
    digital = "digital"


Network = Annotated[
    str,
    typer.Argument(
        help="Folder of a finished run, handle of a preset, a .keras, .h5 or .onnx file, or the name of a network such "
        "as analognet_kws."
    ),
]
Bits = Annotated[int | None, typer.Option(help="Of the converters; by default the network's own, else 8.")]
Chip = Annotated[str, typer.Option("--accelerator", help="Name of an accelerator, or the path of a YAML file.")]
Channels = Annotated[Depthwise, typer.Option(help="Unroll depthwise layers onto the array, or leave them digital.")]
Overlap = Annotated[
    bool | None,
    typer.Option("--overlapped/--in-sequence", help="Digital work during the array's or after; the chip's by default."),
]
Hardware = Annotated[
    str | None,
    typer.Option(
        help="File of `analognets design`, or a preset: whose bits and digital layers count; by default as trained."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(help="Folder for the report; by default RUN/results, or results/NETWORK in the working directory."),
]
Figures = Annotated[Path | None, typer.Option("--figure", help="Also draw floorplan, timeline and energy here.")]


def cost(
    network: Network,
    bits: Bits = None,
    hardware: Hardware = None,
    accelerator: Chip = "aon_cim",
    depthwise: Channels = Depthwise.analog,
    overlapped: Overlap = None,
    figure: Figures = None,
    out: Out = None,
    open_: OpenReport = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say where a network's weights lie on an accelerator, and what an inference costs in time, energy and area."""
    reporter = _console.Reporter(json=json, quiet=quiet)
    start_backend(reporter)

    from analognets.core.files import make_folder
    from analognets.deploy.accelerator import cost as cost_of
    from analognets.deploy.accelerator import load_accelerator
    from analognets.deploy.studies.other_hardware import named_hardware
    from analognets.zoo.trained import open_trained

    chip = load_accelerator(accelerator)
    if bits is not None:
        chip.check_bits(bits)
    if figure is not None:
        make_folder(figure, "folder for the figures")
    with reporter.status(f"Reading {network} ..."):
        trained = open_trained(network, untrained=True)
        model = trained.model if hardware is None else named_hardware(trained.model, hardware)
    result = cost_of(model, chip, bits=bits, depthwise=depthwise.value, overlapped=overlapped)
    files = [] if figure is None else draw(result, figure)
    reporter.result({**result.to_dict(), "figures": [str(file) for file in files]})
    show(reporter, result, files)
    leave_cost(reporter, result, trained, network, out, open_it=open_)


def leave_cost(
    reporter: _console.Reporter, result: Any, trained: Any, network: str, out: Path | None, *, open_it: bool
) -> None:
    """Leave the report in the folder for results, which is made if need be."""
    try:
        folder = results_folder(trained, out)
    except AnalogNetsError as error:
        reporter.warn(f"There is no report: {error} Name another folder with --out.")
        return
    chip = result.accelerator
    facts = {"accelerator": chip.name, "bits": result.bits, "sources": result.origin}
    path = folder / f"cost_{name_of(result)}.html"
    leave_report(reporter, report_of(result, made_from([network], facts)), path, open_it=open_it)


def name_of(result: Any) -> str:
    """Return a name for files about a cost."""
    words = f"{result.placement.workload.model}_{result.accelerator.name}_{result.bits}bit"
    return re.sub(r"[^\w.-]+", "_", words)


def report_of(result: Any, made: dict[str, Any]) -> Any:
    """Return the report of a cost."""
    from analognets.core.report import Picture, Report
    from analognets.deploy.accelerator import figures
    from analognets.deploy.accelerator.costs import with_range

    place, chip = result.placement, result.accelerator
    energy = with_range(result.energy_uj, result.energy_range_uj, ".3f", "uJ")
    efficiency = with_range(result.tops_per_watt, result.tops_per_watt_range, ".2f", "TOPS/W")
    where = f"{place.workload.model} on {chip.name} at {result.bits} bit"
    answer = (
        f"One inference takes {energy} and {result.latency_us:.1f} us; the chip does "
        f"{result.inferences_per_second:,.0f} inferences/s at {efficiency} on {result.area_mm2:.2f} mm^2. "
        f"{result.energy_statement}"
    )
    texts = {
        "floorplan": f"Where each layer lies, with {100 * place.utilisation:.1f} % of the cells in use.",
        "timeline": f"When each layer's array passes and digital work run, {result.latency_us:.1f} us in all.",
        "energy": f"Energy of each layer by what draws it, {result.energy_uj:.3f} uJ in all.",
    }
    pictures = []
    for kind, function in FIGURES.items():
        drawn = getattr(figures, function)(place if kind == "floorplan" else result)
        pictures.append(Picture(drawn, f"{kind.capitalize()} of {where}", texts[kind]))
    question = f"What does an inference of {place.workload.model} cost on {chip.name}: time, energy, area?"
    return Report(f"Cost of {where}", question, answer, figures=pictures, **{**made, "statement": ""})


def draw(result: Any, folder: Path) -> list[Path]:
    """Write the figures into the folder and return their paths."""
    from analognets.deploy.accelerator import figures

    name = f"{result.placement.workload.model}_{result.accelerator.name}_{'_'.join(map(str, result.widths))}bit"
    files = []
    for kind, function in FIGURES.items():
        files.append(folder / f"{name}_{kind}.png")
        subject = result.placement if kind == "floorplan" else result
        getattr(figures, function)(subject, files[-1])
    return files


def show(reporter: _console.Reporter, result: Any, files: list[Path]) -> None:
    """Print the table of layers and the totals."""
    from analognets.deploy.accelerator.costs import with_range

    place, unknown = result.placement, result.energy_status == "unknown"
    energy = with_range(result.energy_uj, result.energy_range_uj, ".3f", "uJ per inference")
    power = with_range(result.power_mw, result.power_range_mw, ".1f", "mW while running")
    efficiency = with_range(result.tops_per_watt, result.tops_per_watt_range, ".2f", "TOPS/W")
    rows = []
    for row in result.table().to_dict("records"):
        size = f"{row['rows']} x {row['cols']}" if row["analog"] else "digital"
        rows.append(
            (
                row["layer"],
                size,
                f"{100 * row['utilisation']:.2f}",
                row["blocks"],
                f"{row['positions']:,}",
                f"{row['passes']:,}",
                f"{row['operations'] / 1e6:.2f}",
                f"{row['time_us']:.2f}",
                f"{row['energy_uj']:.3f}",
                *(() if unknown else (f"{row['energy_low_uj']:.3f} - {row['energy_high_uj']:.3f}",)),
                f"{row['tops_per_watt']:.2f}",
            )
        )
    columns = ["layer", "cells", "array %", "blocks", "positions", "passes", "MOp", "us", "uJ"]
    columns += ["TOPS/W"] if unknown else ["uJ, range", "TOPS/W"]
    chip = result.accelerator
    reporter.table(columns, rows, title=f"{place.workload.model} on {chip.name} at {result.resolution}")
    totals = [
        ("inferences/s", f"{result.inferences_per_second:,.0f}"),
        ("latency", f"{result.latency_us:.1f} us, {result.passes:,} passes"),
        ("energy", f"{energy}, {power}, {result.energy_status}"),
        ("efficiency", efficiency),
        ("throughput", f"{result.tops:.3f} TOPS of {chip.peak_tops(result.bits):.3f} per array at its peak"),
        (
            "utilisation",
            f"{100 * result.utilisation:.1f} % of the cells, {100 * result.effective_utilisation:.1f} % with weights",
        ),
        ("area", f"{result.area_mm2:.2f} mm^2"),
        ("activations", f"{result.activation_kb:.1f} kB of {chip.sram.value:g} kB"),
    ]
    reporter.table(["total", ""], totals)
    reporter.say(result.statement)
    reporter.say(result.energy_statement)
    reporter.say(result.origin)
    for file in files:
        reporter.point(f"Written: {file}")
