"""Lists what the docstrings call "our reconstruction", so that the list on the site is that of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from public_names import PublicNames

__all__ = ["equation", "reconstructions"]

WORD = "our reconstruction"
LONGEST = 300
"""Characters of a sentence that are shown; of longer ones their end."""


def _docstrings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            yield node.name, ast.get_docstring(node) or ""


def reconstructions(names: PublicNames) -> str:
    """Return a table of public names and the sentence in which each says what is our reconstruction, as Markdown."""
    rows = ["| name | what it says |", "| --- | --- |"]
    for module, path in names.files.items():
        if not path.is_file() or WORD not in (text := path.read_text("utf-8")):
            continue
        shown = {entry.name: entry for entry in names.entries(module)}
        for name, docstring in _docstrings(ast.parse(text)):
            if name in shown and WORD in " ".join(docstring.split()).lower():
                place = names.places[shown[name].key]
                rows.append(f"| {{py:obj}}`{name} <{place}.{name}>` | {_sentence(docstring)} |")
    return "\n".join(rows)


def _sentence(docstring: str) -> str:
    flat = " ".join(docstring.split())
    at = flat.lower().index(WORD)
    start = max(flat.rfind(mark, 0, at) + len(mark) for mark in (". ", "Source: ") if mark == ". " or mark in flat[:at])
    start = max(start, 0)
    end = re.search(r"\.(?= |$)", flat[at:])
    text = flat[start : at + (end.end() if end else len(flat))].strip()
    if len(text) > LONGEST:
        text = f"... {text[-LONGEST:].partition(' ')[2]}"
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def equation(path: Path, name: str) -> str:
    """Return the indented equations of a docstring as they stand there, as a block of code in Markdown.

    Args:
        path: of the source.
        name: of the class or function in it.

    Raises:
        KeyError: it is not there.
    """
    docstring = dict(_docstrings(ast.parse(path.read_text("utf-8"))))[name]
    text = docstring.partition("\n\n")[2]
    found = re.search(r"(?:^ {4,}.*\n?|^\n(?= {4}))+", text.partition("\nArgs:")[0], flags=re.MULTILINE)
    lines = found[0].strip("\n") if found else next(line for line in text.splitlines() if " = " in line)
    return "```text\n" + "\n".join(line.removeprefix("    ") for line in lines.splitlines()) + "\n```"
