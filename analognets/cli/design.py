"""`analognets design`: hardware for a network under a budget of energy, area or loss."""

from __future__ import annotations

import enum
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console, options
from analognets.cli._report import leave_report, made_from
from analognets.cli._work import Steps, interval, numbers, sizes, start_backend, with_ends, words

__all__ = ["design"]


class Inner(enum.StrEnum):
    """What --inner takes."""

    auto = "auto"
    predicted = "predicted"
    chips = "chips"


Network = Annotated[
    str,
    typer.Argument(
        metavar="RUN|PRESET|FILE.keras", help="Folder of a finished run, handle of a preset, or saved analog model."
    ),
]
Energy = Annotated[str | None, typer.Option(help="Most energy of an inference, such as 5uJ.")]
Area = Annotated[str | None, typer.Option(help="Largest area, such as 3mm2.")]
Loss = Annotated[str | None, typer.Option(help="Most points of accuracy lost against the digital network, such as 1.")]
Bits = Annotated[str, typer.Option(help="Bits that the converters of a layer may have, such as 8,6,4.")]
DacBits = Annotated[str | None, typer.Option(help="Likewise of DACs, if they are chosen apart from ADCs.")]
Adcs = Annotated[str | None, typer.Option(help="ADCs of an array, such as 256,128,64; by default around the chip's.")]
Arrays = Annotated[
    str | None, typer.Option(help="Rows x columns of an array, such as 1024x512,512x512; by default as trained.")
]
GMaxOption = Annotated[
    str | None, typer.Option("--g-max", help="Largest conductances in uS, such as 25,15; by default as trained.")
]
Layers = Annotated[str | None, typer.Option(help="Layers whose bits are chosen, with commas; all by default.")]
Digital = Annotated[str | None, typer.Option(help="Layers that may be left digital, with commas.")]
InnerOption = Annotated[
    Inner, typer.Option(help="How candidates are measured: predicted as by `ageing`, on a few chips, or as it fits.")
]
Chips = Annotated[int, typer.Option(min=1, help="Simulated chips of a candidate.")]
ConfirmChips = Annotated[int, typer.Option(min=2, help="Simulated chips that confirm a winner; others for the report.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Most validation samples to search with; all by default.")]
Trials = Annotated[int, typer.Option(min=1, help="How many candidates are tried; more go on with a search.")]
Batch = Annotated[int, typer.Option(min=1, help="Candidates proposed at once; a multiple of --workers is best.")]
WinnersOption = Annotated[int, typer.Option("--winners", min=1, help="How many candidates are confirmed.")]
Finetune = Annotated[int, typer.Option(metavar="EPOCHS", min=0, help="Also train the winners for so many epochs.")]
Accelerator = Annotated[str, typer.Option(help="Whose constants to take: a name, or the path of a YAML file.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the proposals and the chips.")]


def design(
    network: Network,
    energy: Energy = None,
    area: Area = None,
    loss: Loss = None,
    at: options.Time = "1d",
    bits: Bits = "8,7,6,5,4",
    dac_bits: DacBits = None,
    adcs: Adcs = None,
    arrays: Arrays = None,
    g_max: GMaxOption = None,
    layers: Layers = None,
    digital: Digital = None,
    data: options.StudyData = None,
    limit: Limit = None,
    inner: InnerOption = Inner.auto,
    chips: Chips = 3,
    trials: Trials = 60,
    batch: Batch = 4,
    winners: WinnersOption = 3,
    confirm_chips: ConfirmChips = 25,
    finetune: Finetune = 0,
    ranges: options.RangesOption = options.Ranges.kept,
    accelerator: Accelerator = "aon_cim",
    seed: Seed = 0,
    workers: options.Workers = 1,
    ray: options.OnRay = False,
    out: options.Out = Path("design"),
    overwrite: options.OverwriteResults = False,
    open_: options.OpenReport = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Choose bits of each layer, ADCs and arrays under a budget of energy, area or loss, and write the hardware.

    What has no budget is made small. The choice is made on validation samples, and measured on test samples for the
    report. The same command goes on with a search that was interrupted.
    """
    check_asked(at, energy, area, loss)
    values: dict[str, Any] = {
        "bits": numbers("--bits", bits, int),
        "dac_bits": numbers("--dac-bits", dac_bits, int),
        "adcs": numbers("--adcs", adcs, int),
        "arrays": sizes(arrays) if arrays else [],
        "g_max": numbers("--g-max", g_max, float),
        "layers": words(layers) or None,
        "digital": words(digital),
    }
    settings: dict[str, Any] = {"energy": energy, "area": area, "loss": loss, "at": at, "data": data, "limit": limit}
    settings |= {"inner": inner.value, "chips": chips, "trials": trials, "batch": batch, "winners": winners}
    settings |= {"confirm_chips": confirm_chips, "finetune": finetune, "ranges": ranges.value, "seed": seed}
    settings |= {"accelerator": accelerator, "workers": workers, "ray": ray, "overwrite": overwrite}
    reporter = _console.Reporter(json=json, quiet=quiet)
    found = measure(reporter, network, out, {**values, **settings})

    from analognets.deploy.studies.design.figures import design_figure

    title = f"{network} on {accelerator}"
    figure = design_figure(found, out / "pareto.png", title=title)
    show(reporter, found, network, out)
    made = made_from([network], {**values, **settings})
    leave_report(reporter, report_of(found, figure, title, made), out / "design.html", open_it=open_)


def check_asked(at: str, *budgets: str | None) -> None:
    """Raise unless time and budgets of energy, area and loss are valid, before anything slow is loaded."""
    from analognets.deploy.studies.design.budgets import budgets_of
    from analognets.units import parse_duration

    parse_duration(at)
    budgets_of(*budgets)


def measure(reporter: _console.Reporter, network: str, out: Path, settings: dict[str, Any]) -> Any:
    """Run the design with bars, and say how to go on if it is interrupted."""
    from analognets.deploy.studies.design.search import check_optuna

    check_optuna()
    start_backend(reporter)

    from analognets.deploy.studies.design.design import design as design_hardware

    _console.set_resume_hint(_console.command(without=["--overwrite"]))
    with Steps(reporter) as progress:
        found = design_hardware(network, out, **settings, progress=progress)
    _console.set_resume_hint(None)
    return found


COLUMNS = ["", "candidate", "fine-tuned", "energy uJ", "area mm^2", "in the search", "confirmed", "reported"]
COLUMNS += ["accuracy %"]


def cells(found: Any) -> list[tuple[Any, ...]]:
    """Return the confirmed candidates as rows of a table, the chosen one marked, with what was reported of it."""
    rows = []
    chosen = (found.chosen["trial"], found.chosen["epochs"])
    reported = {(row["trial"], row["epochs"]): row for row in (found.chosen, found.reference) if row is not None}
    good = found.confirmed[found.confirmed["status"] == "ok"]
    for _, row in good.sort_values("energy_uj", kind="stable").iterrows():
        key = (row["trial"], row["epochs"])
        told = reported.get(key)
        rows.append(
            (
                "*" if key == chosen else "",
                row["label"],
                f"{row['epochs']} epochs" if row["epochs"] else "no",
                with_ends(row, "energy_uj", ("energy_low_uj", "energy_high_uj"), ".3g"),
                f"{row['area_mm2']:.2f}",
                f"{row['searched_loss']:.2f}",
                interval(row, "loss", "loss", scale=1.0),
                "" if told is None else interval(told, "loss", "loss", scale=1.0),
                "" if told is None else f"{100 * told['accuracy']:.2f}",
            )
        )
    return rows


def about(found: Any) -> str:
    """Return a sentence about what the figures count."""
    return (
        "Points lost with half of the 95 % interval over samples and chips, against the digital network on the same "
        f"samples; * is chosen. Searched on {found.samples['searched']}; confirmed and chosen on "
        f"{found.samples['confirmed']}; reported, with the accuracy, on {found.samples['reported']} and other chips."
    )


def report_of(found: Any, figure: Any, title: str, made: dict[str, Any]) -> Any:
    """Return the report of a design."""
    from analognets.core.report import Picture, Report, Table
    from analognets.deploy.studies.design.budgets import text_of

    wanted = " and ".join(text_of(name, limit) for name, limit in found.budgets.items())
    text = f"Points lost after {found.at} against energy for {len(found.table)} candidates. {found.sentence}"
    tried = [
        (row["trial"], row["kind"], row["label"], f"{row['energy_uj']:.4g}", f"{row['area_mm2']:.3g}",
         f"{row['loss']:.2f}", "yes" if row["feasible"] else "no", "*" if row["pareto"] else "")
        for _, row in found.table[found.table["status"] == "ok"].iterrows()
    ]  # fmt: skip
    heads = ["trial", "from", "candidate", "energy uJ", "area mm^2", "points lost", "in budget", "Pareto front"]
    tables = [Table(COLUMNS, cells(found), "Points lost by what was confirmed"), Table(heads, tried, "All candidates")]
    return Report(
        title=f"Design: {title}",
        question=f"Which hardware keeps {wanted}, with {' and '.join(found.objectives)} as small as can be?",
        answer=found.sentence,
        figures=[Picture(figure, "Loss against energy", text)],
        tables=tables,
        **made,
    )


def show(reporter: _console.Reporter, found: Any, network: str, out: Path) -> None:
    """Print what was chosen, what was confirmed, and where the files are."""
    reporter.result({"results": str(out), **found.to_dict()})
    reporter.say(found.sentence, style="bold")
    reporter.table(COLUMNS, cells(found), title=f"Points lost after {found.at} by what was confirmed")
    reporter.say(about(found))
    failed = found.table[found.table["status"] != "ok"]
    for error, part in failed.groupby("error"):
        reporter.warn(f"{len(part)} of {len(found.table)} candidates: {error}")
    names = "hardware.yaml, hardware_accelerator.yaml, trials.csv, confirmed.csv, design.json, design.db, pareto.png"
    reporter.point(f"Written to {out}: {names}")
    what = [network, "--hardware", str(out / "hardware.yaml")]
    if found.chosen["epochs"]:
        what = [str(out / "retrained" / found.chosen["run"])]
    reporter.point(f"Next: {shlex.join(['analognets', 'evaluate', *what])}")
