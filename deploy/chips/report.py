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

__all__ = ["write_report"]

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
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: of the HTML file.
        title: heading.
        facts: short facts, shown as a two-column table.
        summary: what `analognets.deploy.chips.chips.summarize` returned.
        figures: matplotlib figures, embedded as PNG.
        recipe: YAML text, shown as it is.
        statement: what must be said about the data.
    """
    rows = "".join(f"<tr><td>{html.escape(str(k))}</td><td>{html.escape(str(v))}</td></tr>" for k, v in facts.items())
    shown = summary.rename(columns={"drift_compensation": "compensated", "loss": "loss (points)"})
    for column in ("mean", "std"):
        shown[column] = ["-" if value != value else f"{100 * value:.2f} %" for value in shown[column]]
    table = shown.drop(columns="seconds").to_html(index=False, border=0, float_format="{:.2f}".format)
    pictures = "".join(f'<p><img alt="" src="data:image/png;base64,{_png(figure)}"></p>' for figure in figures)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{html.escape(title)}</h1><p>{html.escape(statement)}</p><table>{rows}</table>"
        f"<h2>Accuracy since programming</h2>{table}{pictures}<h2>Recipe</h2><pre>{html.escape(recipe)}</pre></html>"
    )
    write_atomically(Path(path), page)


def _png(figure: Any) -> str:
    return base64.b64encode(picture_bytes(figure, dpi=120)).decode()
