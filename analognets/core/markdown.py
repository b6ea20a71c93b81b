"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["markdown"]


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; "|" in a cell stays text."""
    lines = [list(header), ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
