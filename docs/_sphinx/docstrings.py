"""Turns our docstrings, plain text with a few habits of Markdown, into the reStructuredText that Sphinx reads."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["process_docstring", "to_rst"]

SECTION = re.compile(r"(Args|Arguments|Returns|Raises|Yields|Attributes|Examples?|Note|Warns):$")
EXAMPLES = ("Example", "Examples")
CODE = re.compile(r"(`+)(.+?)\1")


def _escaped(text: str) -> str:
    """Escape what Sphinx would read as markup, and make `code` of one backtick code."""
    parts, end = [], 0
    for match in CODE.finditer(text):
        parts.append(re.sub(r"([\\*|]|_(?!\w))", r"\\\1", text[end : match.start()]))
        closed = "" if text[match.end() : match.end() + 1] in ("", *" .,;:!?)]}'\"-/") else "\\ "
        parts.append(f"``{match[2].strip()}``{closed}")
        end = match.end()
    parts.append(re.sub(r"([\\*|]|_(?!\w))", r"\\\1", text[end:]))
    return "".join(parts)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def to_rst(lines: list[str]) -> list[str]:
    """Return a docstring as Sphinx and napoleon read it.

    Text that is indented outside of a section is an equation or code and stays as it is. In sections, names before
    the colon are left to napoleon.

    Args:
        lines: of the docstring, without the indentation of its code.
    """
    return list(_converted(lines))


def _converted(lines: list[str]) -> Iterator[str]:
    section, literal = "", False
    for number, line in enumerate(lines):
        heading = SECTION.match(line)
        if line.strip() and _indent(line) == 0:
            section, literal = heading[1] if heading else "", False
        if heading or not line.strip():
            yield line
        elif section in EXAMPLES:
            yield line
        elif not section and _indent(line) >= 4 and not _in_list(lines, number):
            if not literal:
                if number and lines[number - 1].strip():
                    yield ""
                yield from ("::", "")
                literal = True
            yield line
        elif section and _indent(line) == 4:
            name, colon, text = line.partition(": ")
            yield f"{name}{colon}{_escaped(text)}" if colon and section not in ("Returns", "Yields") else _escaped(line)
        else:
            yield _escaped(line)


def _in_list(lines: list[str], number: int) -> bool:
    """Whether an indented line goes on with a point of a list above it."""
    for line in reversed(lines[:number]):
        if not line.strip():
            return False
        if _indent(line) < 4:
            return line.lstrip().startswith(("- ", "* ", "1. "))
    return False


def process_docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Handle Sphinx's event `autodoc-process-docstring`, before napoleon does.

    Docstrings that a class has from Keras are Markdown of another kind: of those the first paragraph is kept.
    """
    module = getattr(obj, "__module__", None) or ""
    if not str(module).startswith("analognets") and what in ("method", "property", "attribute"):
        del lines[lines.index("") if "" in lines else len(lines) :]
    if what == "data" and "\n".join(lines).strip() == (inspect.getdoc(type(obj)) or "").strip():
        lines.clear()  # a constant without a text of its own would show that of its type
    lines[:] = to_rst(lines)
