"""Reports: one file, nothing of a name runs, equal results give equal bytes, and figures have words."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analognets.core.figures import new_figure
from analognets.core.report import Picture, Report, Table, sort_key
from analognets.errors import RunError

HOSTILE = "$\\nosuch{$ </title><script>alert(1)</script>\" onload='x' & \x1b[2J \udcff"


def drawn(label: str = "a line") -> Any:
    figure = new_figure(4, 3)
    axes = figure.add_subplot()
    axes.plot([0, 1], [1, 0], "o-", label=label)
    axes.imshow([[0.0, 1.0]])
    axes.legend()
    return figure


def report(text: str = "words") -> Report:
    return Report(
        title=text,
        question=f"What is {text}?",
        answer=text,
        statement=text,
        figures=[Picture(drawn(text), text, text), Picture(drawn(text), text, text)],
        tables=[Table(["name", "value", "at"], [[text, 0.5, "1d"], ["b", "1,000", "25s"], ["c", "-", "1h"]], text)],
        notes=[text],
        facts={"recipe": text},
        recipe=text,
        command=f"analognets evaluate '{text}'",
    )


class Page(HTMLParser):
    """Elements of a page, and the text in them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))


def test_the_question_and_its_answer_come_first_and_figures_have_words(tmp_path: Path) -> None:
    report().write(tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    text = (tmp_path / "report.html").read_text("utf-8")
    assert text.index("<h1>") < text.index("What is words?") < text.index('class="answer"') < text.index("<svg")
    assert text.index("<svg") < text.index("<table id=") < text.index("How it was made") < text.index("Command to rep")
    page = Page(text)
    pictures = [attributes for tag, attributes in page.found if tag == "svg"]
    names = {attributes["id"] for tag, attributes in page.found if tag in ("title", "desc") and "id" in attributes}
    assert len(pictures) == 2 and all(one["role"] == "img" for one in pictures)
    assert all({*(one["aria-labelledby"] or "").split()} <= names for one in pictures)
    assert ("desc", "words") in page.texts


def test_a_page_loads_nothing_and_its_ids_are_its_own() -> None:
    page = Page(report().html())
    links = [value for _, found in page.found for name, value in found.items() if name in ("src", "href", "xlink:href")]
    assert links and all((value or "").startswith(("#", "data:image/png;base64,")) for value in links)
    ids = [found["id"] for _, found in page.found if "id" in found]
    assert len(ids) == len(set(ids))
    assert {(value or "")[1:] for value in links if (value or "").startswith("#")} <= {*ids}


def test_nothing_of_a_name_runs() -> None:
    text = report(HOSTILE).html()
    text.encode("utf-8")
    page, plain = Page(text), Page(report().html())
    assert {tag for tag, _ in page.found} <= {tag for tag, _ in plain.found}
    assert len([tag for tag, _ in page.found if tag == "script"]) == 1
    assert not [name for _, found in page.found for name in found if name.startswith("on")]
    [script] = [data for tag, data in page.texts if tag == "script"]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text and "default-src 'none'" in text
    assert "\x1b" not in text and r"\x1b[2J" in text


@given(st.text())
def test_any_text_is_shown_and_is_no_element(text: str) -> None:
    page = Page(Report(text, answer=text, tables=[Table([text], [[text]], text)], command=text).html())
    assert {tag for tag, _ in page.found} <= {
        *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "script", "h1", "h2", "p"),
        *("div", "table", "thead", "tbody", "tr", "th", "td", "pre"),
    }


def test_equal_results_are_equal_bytes() -> None:
    assert report().html() == report().html()


@pytest.mark.parametrize(
    ("cell", "key"),
    [
        ("25s", 25.0), ("1y", 31_536_000.0), ("1,024", 1024.0), ("91.20 \u00b1 0.30", 91.2), ("-0.5", -0.5),
        ("1e-3", 1e-3), ("> 4 +- 1", 4.0), ("AUC 0.9", 0.9), ("3.2 M", 3.2), ("91.2 (90 to 93)", 91.2),
        ("0.1 to 0.2", None), ("2 arrays, 3 passes", None), ("-", None), ("1e999", None), ("layer_1", None), ("", None),
    ],
)  # fmt: skip
def test_cells_are_sorted_by_what_they_say(cell: str, key: float | None) -> None:
    assert sort_key(cell) == key


def test_columns_of_numbers_are_known_and_the_table_reads_without_a_script() -> None:
    text = report().html()
    assert re.findall(r'<th scope="col"( data-number)?>', text) == ["", " data-number", " data-number"]
    assert "#t1 :is(th,td):nth-child(2),#t1 :is(th,td):nth-child(3){text-align:right;white-space:nowrap}" in text
    assert "<td>0.5</td>" in text and "<button" not in text


def test_a_place_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(RunError, match=r"report.html' can't be written: Is a directory"):
        report().write(tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
