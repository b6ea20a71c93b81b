"""The report that a command leaves beside its results."""

from __future__ import annotations

import contextlib
import dataclasses
import webbrowser
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analognets.cli import _console
from analognets.core.drafts import remove_abandoned
from analognets.errors import AnalogNetsError

if TYPE_CHECKING:
    from analognets.core.report import Report

__all__ = ["keep_report", "leave_report", "made_from", "point_to", "repeating"]

SYNTHETIC = "Synthetic data: these figures say nothing about real ones."
NAMES = {"at": "since programming", "seed": "seed of the chips", "limit": "samples at most", "chips": "chips at most"}
"""What to call settings."""


def leave_report(reporter: _console.Reporter, report: Report, path: Path, *, open_it: bool) -> None:
    """Write the report of a command and open it if asked to.

    The results are written and shown by then, so that what goes wrong here is a warning and takes nothing away.

    Args:
        reporter: whose tables and sentences stand in the report, unless it has its own.
        report: with question, answer, figures and facts.
        path: of the page.
        open_it: show it in the browser.
    """
    sentences = [sentence.removeprefix("- ") for sentence in reporter.sentences]
    said: dict[str, Any] = {"tables": report.tables or reporter.tables, "notes": [*report.notes, *sentences]}
    said["command"] = repeating()
    try:
        dataclasses.replace(report, **said).write(path)
    except AnalogNetsError as error:
        reporter.warn(f"There is no report: {error} The results are complete.")
        return
    point_to(reporter, path, open_it=open_it)


def keep_report(reporter: _console.Reporter, path: Path, *, open_it: bool) -> None:
    """Point to a report that stays as it is; what a killed writer of it left is removed."""
    with contextlib.suppress(OSError):
        remove_abandoned(path.parent)
    point_to(reporter, path, open_it=open_it)


def point_to(reporter: _console.Reporter, path: Path, *, open_it: bool) -> None:
    """Open a report, or say where it is."""
    if not open_it:
        reporter.point(f"Next: open {path}")
    elif not opened(path):
        reporter.warn(f"No browser was found to open the report. Open it yourself: {path.resolve()}")


def repeating() -> str:
    """Return the command that makes the same results again."""
    return _console.command(without=["--open", "--keep", "--overwrite"])


def opened(path: Path) -> bool:
    """Whether a browser took a page."""
    try:
        return webbrowser.open(path.resolve().as_uri())
    except (webbrowser.Error, OSError):
        return False


def made_from(networks: Iterable[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a report on studies of trained networks says about how it was made.

    Args:
        networks: folders of runs, handles of presets, or model files.
        settings: of the study; what is None or False, and what is about the computer, is left out.

    Returns:
        Fields of `Report`: facts, recipe and statement.
    """
    from analognets.zoo.trained import open_trained

    facts: dict[str, Any] = {}
    recipes, statements, data = [], [], settings.get("data")
    for network in networks:
        trained = open_trained(network, unfinished=True, untrained=True)
        recipe, commit, name = trained.recipe, trained.origin.get("git_commit"), trained.data.get("name")
        said = [] if recipe is None else [f"recipe {recipe.name} ({recipe.fingerprint()}), training seed {recipe.seed}"]
        said += [f"commit {commit}"] if commit else []
        said += [f"trained on {name}"] if name else []
        facts[f"network {network}"] = ", ".join(said) or "no recipe known"
        recipes += [] if recipe is None else [recipe.to_yaml()]
        statements += [trained.data.get("statement") or ""] if data is None else []
    if data == "synthetic":
        statements.append(SYNTHETIC)
    left_out = ("workers", "ray", "overwrite")
    known = {name: value for name, value in settings.items() if name not in left_out and value not in (None, False)}
    facts |= {NAMES.get(name, name.replace("_", " ")): _plain(value) for name, value in known.items()}
    facts.setdefault("data", "as in training")
    return {
        "facts": facts,
        "recipe": "---\n".join(dict.fromkeys(recipes)),
        "statement": " ".join(dict.fromkeys(filter(None, statements))),
    }


def _plain(value: Any) -> Any:
    """Return a setting as it is shown."""
    if isinstance(value, (list, tuple)):
        return ", ".join(" x ".join(map(str, one)) if isinstance(one, tuple) else str(one) for one in value) or "-"
    return "yes" if value is True else value
