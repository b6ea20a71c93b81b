"""One self-contained HTML page about a run's evaluation."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analognets.core.figures import picture_bytes
from analognets.core.files import write_atomically
from analognets.metrics import drift_cells

__all__ = ["page", "write_report"]

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem;border-bottom:1px solid #ddd;text-align:right}"
    "td:first-child,th:first-child{text-align:left}img{max-width:100%}pre{background:#f5f5f5;padding:.8rem;overflow:auto}"
)


def write_report(
    path: Any,
    *,
    title: str,
    facts: Mapping[str, Any],
    summary: pd.DataFrame,
    figures: Sequence[Any],
    recipe: str = "",
    statement: str = "",
    classes: pd.DataFrame | None = None,
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: of the HTML file.
        title: heading.
        facts: short facts, shown as a two-column table.
        summary: what `analognets.deploy.summarize` or `Decisions.summary` returned.
        figures: matplotlib figures, embedded as PNG.
        recipe: YAML text, shown as it is.
        statement: what must be said about the data.
        classes: what `analognets.deploy.by_class` returned; shown for the last time.
    """
    rows = "".join(f"<tr><td>{html.escape(str(k))}</td><td>{html.escape(str(v))}</td></tr>" for k, v in facts.items())
    table = pd.DataFrame([drift_cells(row) for row in summary.to_dict("records")]).to_html(index=False, border=0)
    pictures = "".join(f'<p><img alt="" src="data:image/png;base64,{_png(figure)}"></p>' for figure in figures)
    sections = f"<h2>Accuracy since programming</h2>{table}{pictures}{_classes(classes)}"
    body = f"<table>{rows}</table>{sections}<h2>Recipe</h2><pre>{html.escape(recipe)}</pre>"
    write_atomically(Path(path), page(title, statement, body))


def page(title: str, statement: str, body: str) -> str:
    """Return a self-contained page of HTML.

    Args:
        title: heading, plain text.
        statement: the first paragraph, plain text.
        body: what follows, HTML.
    """
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{html.escape(title)}</h1><p>{html.escape(statement)}</p>{body}</html>"
    )


def _classes(table: pd.DataFrame | None) -> str:
    """Return the section about each class at the last time, with and without drift compensation."""
    if table is None:
        return ""
    last = table[table["seconds"] == table["seconds"].max()].drop(columns=["seconds", "chips"])
    last = last.rename(
        columns={"drift_compensation": "compensated", "miss_rate": "misses", "false_alarm_rate": "alarms"}
    )
    for column in last.columns.difference(["compensated", "at", "class", "samples"]):
        last[column] = ["-" if value != value else f"{100 * value:.2f} %" for value in last[column]]
    return f"<h2>By class</h2>{last.to_html(index=False, border=0)}"


def _png(figure: Any) -> str:
    return base64.b64encode(picture_bytes(figure, dpi=120)).decode()
