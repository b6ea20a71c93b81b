"""The report of a run's evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analognets.core.report import Picture, Report, Table
from analognets.metrics import drift_cells, format_interval

__all__ = ["drift_report", "write_report"]

QUESTION = "How accurate are the chips, and how does that change with the time since programming?"
MODES = {True: "with drift compensation", False: "without drift compensation"}


def write_report(path: Any, **about: Any) -> None:
    """Write the page about an evaluation, whole or not at all.

    Args:
        path: of the HTML file.
        **about: arguments of `drift_report`.
    """
    drift_report(**about).write(Path(path))


def drift_report(
    *,
    title: str,
    facts: Mapping[str, Any],
    summary: pd.DataFrame,
    figures: Sequence[Any],
    recipe: str = "",
    statement: str = "",
    classes: pd.DataFrame | None = None,
    notes: Sequence[str] = (),
    compared: str = "",
) -> Report:
    """Return the report about an evaluation over drift time.

    Args:
        title: heading.
        facts: short facts about how it was made.
        summary: what `analognets.deploy.summarize` or `Decisions.summary` returned.
        figures: `Picture`s, or matplotlib figures of accuracy over time.
        recipe: YAML text, shown as it is.
        statement: what must be said about the data.
        classes: what `analognets.deploy.by_class` returned; shown for the last time.
        notes: sentences below the tables.
        compared: accuracy of the networks that the chips are compared with, a sentence.
    """
    cells = pd.DataFrame([drift_cells(row) for row in summary.to_dict("records")]).fillna("-")
    tables = [Table(list(cells.columns), cells.to_numpy().tolist(), "Accuracy since programming")]
    tables += [] if classes is None else [_classes(classes)]
    answer = answer_of(summary)
    pictures = [one if isinstance(one, Picture) else Picture(one, "Accuracy over time", answer) for one in figures]
    return Report(
        title=title,
        question=QUESTION,
        answer=" ".join(filter(None, (answer, compared))),
        statement=statement,
        figures=pictures,
        tables=tables,
        notes=notes,
        facts=facts,
        recipe=recipe,
    )


def answer_of(summary: pd.DataFrame) -> str:
    """Return the accuracy at the first and the last time as a sentence, with and without drift compensation."""
    ordered = summary.sort_values("seconds", kind="stable")
    said = []
    for mode in (True, False):
        rows = ordered[ordered["drift_compensation"] == mode].to_dict("records")
        ends = [rows[0], rows[-1]] if len(rows) > 1 else rows
        reached = " and ".join(
            f"{format_interval(row['mean'], row.get('low'), row.get('high'), scale=100)} % after {row['at']}"
            for row in ends
        )
        said += [f"{reached} {MODES[mode]}"] if rows else []
    count = int(summary["chips"].max())
    of = f"{count} chips on average" if count != 1 else "One chip"
    return f"{of}: {'; '.join(said)}."


def _classes(table: pd.DataFrame) -> Table:
    """Return the table about each class at the last time, with and without drift compensation."""
    last = table[table["seconds"] == table["seconds"].max()].drop(columns=["seconds", "chips"])
    last = last.rename(
        columns={"drift_compensation": "compensated", "miss_rate": "misses", "false_alarm_rate": "alarms"}
    )
    for column in last.columns.difference(["compensated", "at", "class", "samples"]):
        last[column] = ["-" if value != value else f"{100 * value:.2f} %" for value in last[column]]
    return Table([str(column) for column in last.columns], last.astype(object).to_numpy().tolist(), "By class")
