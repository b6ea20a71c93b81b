"""Cuts results/RESULTS.md, which is made from results files, into pages, and hands its tables to other pages."""

from __future__ import annotations

import json
import re
from pathlib import Path

from made import fill

__all__ = ["sections", "slug", "tables", "write_pages"]

LINKED = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")


def slug(title: str) -> str:
    """Return the file name of a section's page: lower-case words joined by hyphens."""
    return "-".join(re.findall(r"[a-z0-9]+", title.lower()))


def sections(root: Path) -> dict[str, str]:
    """Return the sections of RESULTS.md by their titles, with their text."""
    text = (root / "results" / "RESULTS.md").read_text("utf-8")
    found = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return {title.strip(): body.strip() for title, body in zip(found[1::2], found[2::2], strict=True)}


def tables(root: Path) -> dict[str, str]:
    """Return each table as `SLUG_NUMBER` with its Markdown, so that how-to pages show figures without typing them.

    Args:
        root: folder of the repository.
    """
    found = {}
    for title, body in sections(root).items():
        for number, table in enumerate(re.findall(r"(?:^\|.*\n?)+", body, flags=re.MULTILINE), 1):
            found[f"{slug(title)}_{number}".replace("-", "_")] = LINKED.sub(r"\1", table.strip())
    return {**found, "finetune": _finetune(root)}


def _finetune(root: Path) -> str:
    """Return the table of the fine-tuning study, with what must be said of it."""
    result = json.loads((root / "results" / "finetune.json").read_text("utf-8"))
    lines = ["| training clips | start | float, % | chips after a day, % |", "| --- | --- | --- | --- |"]
    for row in result["rows"]:
        accuracies = f"{100 * row['float_accuracy']:.1f} | {100 * row['analog_accuracy_1d']:.1f}"
        lines.append(f"| {row['training_clips']} | {row['start']} | {accuracies} |")
    return "\n".join(lines) + f"\n\n{result['caveat']} Words: {', '.join(result['words'])}."


def write_pages(root: Path, folder: Path) -> None:
    """Write a page for each section of the results and one that lists them; results files stand beside them.

    Args:
        root: folder of the repository.
        folder: of the pages, theirs alone.
    """
    contents: dict[str, str | bytes] = {
        path.name: path.read_bytes()
        for path in (root / "results").iterdir()
        if path.suffix in (".png", ".svg", ".csv", ".json")
    }
    found = sections(root)
    contents |= {f"{slug(title)}.md": f"# {title}\n\n{body}\n" for title, body in found.items()}
    names = "\n".join(map(slug, found))
    contents["index.md"] = (
        "# Results\n\nEach page is made from the results files in `results/` by `python -m benchmarks.results_page`; "
        "a file names its recipe, seeds, data and commit. All chips are simulated; no "
        "figure here comes from a chip that was built. [What is a reconstruction](../reconstructions.md) says where a "
        f"paper left something open.\n\n```{{toctree}}\n:maxdepth: 1\n\n{names}\n```\n"
    )
    fill(folder, contents)
