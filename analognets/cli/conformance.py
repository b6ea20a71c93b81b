"""`analognets conformance`: one neutral folder that simulators run, and the rule behind each difference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from analognets.cli import _console
from analognets.cli._work import start_backend
from analognets.cli.options import Json, Quiet

__all__ = ["conformance"]

conformance = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Whether a simulator follows the device law, and where it departs."
)

Folder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle.")]
Tool = Annotated[
    list[str] | None,
    typer.Option("--tool", help="analognets, reference, aihwkit, lightning, crosssim, or NAME of results/NAME.npz."),
]
Chips = Annotated[int, typer.Option(min=1, max=1000, help="That each simulator programmes.")]
Seed = Annotated[int, typer.Option(min=0, help="Of weights and inputs.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is there.")]


@conformance.command("write")
def write(
    folder: Folder,
    chips: Chips = 6,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write weights, inputs, device law, expected moments and a script that runs other simulators into a new folder."""
    reporter = _console.Reporter(json=json, quiet=quiet)
    from analognets.deploy.conformance.bundle import write_bundle

    with reporter.status("Computing moments ..."):
        made = write_bundle(folder, chips=chips, seed=seed, overwrite=overwrite)
    reporter.result({"bundle": str(made)})
    reporter.say(f"Written: {made}. Run it: analognets conformance run {made}")
    reporter.say(f"Where only another simulator is installed: python {made / 'run_peer.py'} aihwkit")


@conformance.command("run")
def run(folder: Folder, tool: Tool = None, json: Json = False, quiet: Quiet = False) -> None:
    """Run a bundle with simulators and name the rule behind each difference; exit code 1 if a named tool differs."""
    reporter = _console.Reporter(json=json, quiet=quiet)
    from analognets.deploy.conformance.bundle import open_bundle
    from analognets.deploy.conformance.runners import TOOLS, observe
    from analognets.deploy.conformance.verdict import judge
    from analognets.errors import AnalogNetsError

    bundle = open_bundle(folder)
    names = list(dict.fromkeys(tool or TOOLS))
    if "analognets" in names:
        start_backend(reporter)
    verdicts: list[Any] = []
    skipped: dict[str, str] = {}
    for name in names:
        try:
            with reporter.status(f"Running {name} ..."):
                verdicts.append(judge(bundle, observe(bundle, name)))
        except AnalogNetsError as error:
            if tool:
                raise
            skipped[name] = str(error)
    reporter.result({"bundle": str(folder), "verdicts": [one.to_dict() for one in verdicts], "skipped": skipped})
    for verdict in verdicts:
        show(reporter, verdict)
    for reason in skipped.values():
        reporter.say(f"Skipped: {reason}")
    if tool and not all(verdict.conforms for verdict in verdicts):
        raise typer.Exit(1)


def show(reporter: _console.Reporter, verdict: Any) -> None:
    """Print what a bundle says of a simulator."""
    if verdict.differences:
        rows = [
            (one.what, f"{one.expected:.4g}", f"{one.found:.4g}", f"{one.sigmas:.1f}", one.rule)
            for one in verdict.differences
        ]
        reporter.table(["figure", "expected", "found", "standard errors", "rule"], rows, title=verdict.tool)
    reporter.say(str(verdict))
