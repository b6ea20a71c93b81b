"""`analognets sweep`: accuracy of programmed chips over the strength of one non-ideality."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console
from analognets.cli.data import Json, Quiet
from analognets.cli.train import start_backend
from analognets.errors import AnalogNetsError

__all__ = ["sweep"]

Networks = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN|PRESET|FILE.keras ...",
        help="Folders of finished runs, handles of presets, or saved analog models.",
    ),
]
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
Data = Annotated[
    str | None,
    typer.Option(
        help="Folder of the real data, 'synthetic', or a .npz file of `inputs` and `labels`; as in training by default."
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Most test samples, spread evenly; all by default.")]
Count = Annotated[int, typer.Option(min=1, help="How many chips to programme; the same ones at all strengths.")]
Time = Annotated[str, typer.Option(help="Time since programming.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the chips.")]
NoCompensation = Annotated[
    bool, typer.Option("--no-drift-compensation", help="Don't scale the outputs of the tiles back.")
]
Workers = Annotated[int, typer.Option(min=1, help="Processes on this machine; each takes about 1 GB.")]
OnRay = Annotated[bool, typer.Option("--ray", help="Run on the Ray cluster in RAY_ADDRESS, or one started here.")]
Out = Annotated[Path, typer.Option(help="Folder for the results; an interrupted sweep goes on there.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Forget the results that are in the folder.")]


def sweep(
    networks: Networks,
    nonideality: Effect,
    values: Values = None,
    data: Data = None,
    limit: Limit = None,
    chips: Count = 15,
    at: Time = "1h",
    seed: Seed = 0,
    no_drift_compensation: NoCompensation = False,
    workers: Workers = 1,
    ray: OnRay = False,
    out: Out = Path("sweep"),
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure networks with one non-ideality at other strengths, without retraining, on the same simulated chips.

    The same command goes on with a sweep that was interrupted; more values and more chips may be added.
    """
    strengths = parse_values(values)
    settings = common(data, limit, chips, at, seed, no_drift_compensation, workers, ray, overwrite)
    reporter = _console.Reporter(json=json, quiet=quiet)
    start_backend(reporter)

    from analognets.deploy.studies.sensitivity import curve_figure, summarize_sweep, sweep_nonideality

    with following(reporter, "Measuring") as progress:
        table = sweep_nonideality(networks, nonideality, strengths, out, progress=progress, **settings)
    failed = table[table["status"] != "ok"]
    if len(failed) == len(table):
        raise AnalogNetsError(f"None of the {len(table)} points could be measured: {failed['error'].iloc[0]}")
    summary = summarize_sweep(table)
    curve_figure(summary, out / "sweep.png")
    reporter.result({"results": str(out), "rows": records(summary)})
    show(reporter, summary)
    for _, row in failed.iterrows():
        reporter.warn(f"{row['network']}, {nonideality} {row['value']}, chip {row['chip']}: {row['error']}")
    reporter.say(f"Written to {out}: sweep.parquet, summary.parquet, sweep.png")


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


def common(
    data: str | None,
    limit: int | None,
    chips: int,
    at: str,
    seed: int,
    no_drift_compensation: bool,
    workers: int,
    ray: bool,
    overwrite: bool,
) -> dict[str, Any]:
    """Return the settings that all studies take, the time checked before anything is loaded."""
    from analognets.units import parse_duration

    parse_duration(at)
    settings = {"data": data, "limit": limit, "chips": chips, "at": at, "seed": seed, "workers": workers, "ray": ray}
    return {**settings, "drift_compensation": not no_drift_compensation, "overwrite": overwrite}


@contextlib.contextmanager
def following(reporter: _console.Reporter, description: str) -> Iterator[Callable[[int, int, dict[str, Any]], None]]:
    """Yield what shows progress, in a bar that begins when the total is known; say how to go on if interrupted."""
    words = [word for word in sys.argv[1:] if word != "--overwrite"]
    _console.set_resume_hint(shlex.join(["analognets", *words]))
    bars: list[_console.Task] = []
    with contextlib.ExitStack() as stack:

        def update(done: int, total: int, row: dict[str, Any]) -> None:
            if not bars:
                bars.append(stack.enter_context(reporter.progress(description, total)))
            what = (row.get("nonideality"), row.get("value"))
            bars[0].update(done, " ".join(str(word) for word in what if word is not None))

        yield update
    _console.set_resume_hint(None)


def records(table: Any) -> Any:
    """Return a table as plain rows, for JSON."""
    import json

    return json.loads(table.to_json(orient="records", double_precision=15))


def percent(value: Any, error: Any = None) -> str:
    """Return a share in percent, with its standard error."""
    if value is None or value != value:
        return ""
    return f"{100 * value:.2f}" + ("" if error is None or error != error else f" +- {100 * error:.2f}")


def show(reporter: _console.Reporter, summary: Any) -> None:
    """Print the curve as a table."""
    rows = []
    for _, row in summary.iterrows():
        value = "ideal" if row["value"] is None or row["value"] != row["value"] else f"{row['value']:g}"
        star = " *" if row["standard"] == row["value"] else ""
        accuracy = percent(row["accuracy"], row["standard_error"])
        rows.append((row["network"], value + star, accuracy, percent(row["normalized"])))
    chips = int(summary["chips"].max())
    title = f"After {summary['at'].iloc[0]}, mean and standard error of {chips} chips; * is the hardware as it is"
    reporter.table(["network", str(summary["nonideality"].iloc[0]), "accuracy %", "A* %"], rows, title=title)
