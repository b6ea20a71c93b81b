"""`analognets ageing`: accuracy over drift time predicted from few chips, with a flag where it does not hold."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from analognets.cli import _console, options
from analognets.cli._work import percent, records, start_backend, times_of

__all__ = ["ageing"]

Network = Annotated[
    str,
    typer.Argument(
        metavar="RUN|PRESET|FILE.keras", help="Folder of a finished run, handle of a preset, or saved analog model."
    ),
]
Times = Annotated[str | None, typer.Option(help="Times since programming; by default 25s,1h,1d,30d,1y.")]
Samples = Annotated[
    int | None,
    typer.Option(
        min=20, max=100_000, help="On how many samples chips are simulated; by default 27 % of all, but 300 to 1200."
    ),
]
Chips = Annotated[int, typer.Option(min=3, max=100, help="How many chips are simulated.")]
Rule = Annotated[
    str | None,
    typer.Option("--compensation", help="Drift compensation in place of the hardware's: global, column or input."),
]
Device = Annotated[
    str | None, typer.Option("--device", help="Name of a device, or file of `device fit`, in place of the hardware's.")
]


def ageing(
    network: Network,
    at: Times = None,
    data: options.StudyData = None,
    split: options.SplitOption = options.Split.test,
    limit: options.Limit = None,
    samples: Samples = None,
    chips: Chips = 24,
    seed: options.Seed = 0,
    no_drift_compensation: options.NoCompensation = False,
    compensation: Rule = None,
    device: Device = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Predict accuracy over drift time, mean and spread over chips, from a few of them and gradients.

    Where that does not hold, or is less certain than 50 chips, there are no numbers, but a sentence.
    """
    times = times_of(at)
    settings: dict[str, Any] = {"data": data, "split": split.value, "limit": limit, "samples": samples, "seed": seed}
    settings |= {"check_chips": chips, "compensation": compensation, "device": device}
    settings |= {"drift_compensation": not no_drift_compensation, **({"times": times} if times else {})}
    reporter = _console.Reporter(json=json, quiet=quiet)
    start_backend(reporter)

    import warnings

    from analognets.deploy.studies.ageing.predict import predict_ageing
    from analognets.errors import AgeingWarning

    with warnings.catch_warnings(), reporter.progress("Predicting", 100) as bar:
        warnings.simplefilter("ignore", AgeingWarning)  # the flag is shown below
        table = predict_ageing(network, progress=lambda done, total: bar.update(100 * done // total), **settings)
    show(reporter, table)


def show(reporter: _console.Reporter, table: Any) -> None:
    """Print the table, or why there are no numbers."""
    rows = records(table)
    reporter.result({"rows": rows})
    flag = rows[0]["flag"]
    cells = [
        (row["at"], percent(row["mean"]), f"{percent(row['low'])} to {percent(row['high'])}", percent(row["std"]))
        for row in rows
        if not row["flag"]
    ]
    if cells:
        columns = ["since programming", "accuracy %", "95 % interval over samples", "std over chips"]
        reporter.table(columns, cells, title="Predicted accuracy")
        reporter.say("Mean and spread over all chips, from a few simulated ones and gradients.")
        return
    reporter.warn(f"The prediction is not confirmed. {flag}")
    reporter.say("Next: simulate chips with `analognets evaluate`.")
