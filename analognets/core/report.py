"""The report of a measurement: one self-contained page of HTML that opens with the question and its answer.

Every command that measures gives its question, answer, figures and tables; here they become a page that needs no
network, runs nothing of what it shows, and is the same bytes for the same results.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analognets.core.figures import inline_svg
from analognets.core.files import write_atomically
from analognets.core.provenance import environment
from analognets.core.report_style import SCRIPT, STYLE
from analognets.core.text import shown
from analognets.errors import AnalogNetsError
from analognets.units import parse_duration

__all__ = ["Picture", "Report", "Table", "sort_key"]

_PLAIN = r"[+-]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_NUMBER = re.compile(
    rf"(?:AUC |[<>~\u2264\u2265] ?)?({_PLAIN})(?: ?(?:\u00b1|\+-) ?{_PLAIN})?(?: ?[%*/^A-Za-z\u00b5]{{1,8}}[23]?)?"
    r"(?: ?[\[(][^\])]*[\])])?"
)
"""A number with a sign before it, its error, its unit, and a remark in brackets."""
_EMPTY = ("", "-", "ideal", "digital", "not reached", "none")
"""Cells that make no column one of text."""


@dataclass(frozen=True)
class Picture:
    """A figure and what it shows in words, for those who don't see it.

    Args:
        figure: a matplotlib figure.
        title: what it is, a few words.
        text: what it shows, a sentence.
    """

    figure: Any
    title: str
    text: str


@dataclass(frozen=True)
class Table:
    """A table of text and numbers.

    Args:
        columns: headings.
        rows: cells.
        title: above the table.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    title: str = ""

    def texts(self) -> list[tuple[str, ...]]:
        """Return the cells as they are shown."""
        return [
            tuple(f"{cell:g}" if isinstance(cell, float) else shown(str(cell)) for cell in row) for row in self.rows
        ]


@dataclass(frozen=True)
class Report:
    """What was asked, what came out, and how.

    Args:
        title: heading of the page.
        question: what was measured, as a question.
        answer: what came out, a sentence or two.
        statement: what must be said with the answer, such as that the data are synthetic.
        figures: with text alternatives.
        tables: in the order shown.
        notes: sentences below the tables.
        facts: how it was made: recipe, data, seeds, chips; versions and commit are added.
        recipe: YAML of the recipe.
        command: line that repeats it.

    Examples:
        >>> from analognets.core.report import Report, Table
        >>> table = Table(["bits", "accuracy %"], [[8, 92.7], [4, 90.1]], "By bits")
        >>> page = Report("My chips", "Are 4 bits enough?", "They lose 2.6 points.", tables=[table]).html()
        >>> "Are 4 bits enough?" in page and "<td>92.7</td>" in page
        True
    """

    title: str
    question: str = ""
    answer: str = ""
    statement: str = ""
    figures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = ""
    command: str = ""

    def html(self) -> str:
        """Return the page."""
        tables = [_table(table, f"t{number}") for number, table in enumerate(self.tables, start=1)]
        pictures = "".join(_picture(one, f"f{number}") for number, one in enumerate(self.figures, start=1))
        body = (
            f"<header><h1>{_text(self.title)}</h1>{_paragraph('question', self.question)}"
            f"{_paragraph('answer', self.answer)}{_paragraph('statement', self.statement)}</header>"
            f"<main>{pictures}{''.join(tables)}{_items(list(dict.fromkeys(self.notes)))}</main>"
            f"<footer><h2>How it was made</h2>{_facts({**self.facts, **_made_with()})}"
            f"{_block('Recipe', self.recipe)}{_block('Command to repeat it', self.command)}</footer>"
        )
        widths = "".join(_alignment(table, f"t{number}") for number, table in enumerate(self.tables, start=1))
        digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
        # Nothing is loaded, and no script runs but the one below, whatever a name may hold.
        policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{_text(self.title)}</title><style>{STYLE}{widths}</style></head>\n"
            f"<body>{body}<script>{SCRIPT}</script></body></html>\n"
        )

    def write(self, path: Path | str) -> None:
        """Write the page, whole or not at all.

        Raises:
            RunError: it can't be written; what was there before is kept.
        """
        write_atomically(Path(path), self.html())


def _text(text: Any) -> str:
    return html.escape(shown(str(text)), quote=True)


def _paragraph(kind: str, text: str) -> str:
    return f'<p class="{kind}">{_text(text)}</p>' if text else ""


def _items(texts: Sequence[str]) -> str:
    return f'<ul class="notes">{"".join(f"<li>{_text(text)}</li>" for text in texts)}</ul>' if texts else ""


def _block(title: str, text: str) -> str:
    return f"<h2>{title}</h2><pre>{_text(text)}</pre>" if text else ""


def _facts(facts: Mapping[str, Any]) -> str:
    rows = "".join(f"<tr><td>{_text(name)}</td><td>{_text(value)}</td></tr>" for name, value in facts.items())
    return f'<table class="facts">{rows}</table>'


@functools.cache
def _made_with() -> dict[str, str]:
    """Return versions and commit as facts."""
    made = environment()
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    return {
        "commit": made["git_commit"] or "not from a checkout",
        "versions": f"{versions}, Python {made['python']}",
        "platform": made["platform"],
    }


def _picture(picture: Picture, name: str) -> str:
    svg = inline_svg(picture.figure, name, title=_text(picture.title), text=_text(picture.text))
    scroll = f'<div class="scroll" tabindex="0" role="group" aria-label="{_text(picture.title)}">{svg}</div>'
    return f"<figure>{scroll}<figcaption>{_text(picture.title)}</figcaption></figure>"


def _table(table: Table, name: str) -> str:
    numbers, texts = _numeric(table), table.texts()
    title = f"<h2>{_text(table.title)}</h2>" if table.title else ""
    label = _text(table.title or "Table")
    heads = "".join(
        f'<th scope="col"{" data-number" if number else ""}>{_text(column)}</th>'
        for column, number in zip(table.columns, numbers, strict=True)
    )
    rows = "".join(
        f'<tr data-keys="{_text(json.dumps([sort_key(cell) for cell in row]))}">'
        f"{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>"
        for row in texts
    )
    grid = f'<table id="{name}" aria-label="{label}"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    return f'{title}<div class="scroll" tabindex="0" role="group" aria-label="{label}">{grid}</div>'


def _alignment(table: Table, name: str) -> str:
    """Return the rules that align columns of numbers to the right; the first column names the row."""
    columns = [number for number, numeric in enumerate(_numeric(table), start=1) if numeric and number > 1]
    places = ",".join(f"#{name} :is(th,td):nth-child({column})" for column in columns)
    return f"{places}{{text-align:right;white-space:nowrap}}" if places else ""


def _numeric(table: Table) -> list[bool]:
    """Return which columns hold numbers or times alone, empty cells aside."""
    columns = list(zip(*table.texts(), strict=True)) or [()] * len(table.columns)
    filled = [[cell for cell in column if cell.strip() not in _EMPTY] for column in columns]
    return [bool(column) and all(sort_key(cell) is not None for cell in column) for column in filled]


def sort_key(cell: str) -> float | None:
    """Return what a cell is sorted by: its number, or seconds; None for text."""
    if re.fullmatch(r"[\d.]+(?:ms|s|min|h|d|y)", cell):
        with contextlib.suppress(AnalogNetsError):
            return parse_duration(cell)
    found = _NUMBER.fullmatch(cell.strip())
    number = float(found[1].replace(",", "")) if found else math.inf
    return number if math.isfinite(number) else None
