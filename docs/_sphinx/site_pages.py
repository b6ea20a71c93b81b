"""The Sphinx extension of the site: makes all pages that are not written by hand, and the figures of the concepts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import api_pages
import command_pages
import concept_figures
import results_pages
import tutorials
from docstrings import process_docstring
from made import fill
from public_names import PublicNames
from reconstructions import equation, reconstructions

from analognets.deploy.page.files import write_page

__all__ = ["MADE", "ROOT", "setup", "substitutions"]

ROOT = Path(__file__).resolve().parents[2]
MADE = ("api", "results", "tutorials", "reference", "figures")
"""Folders of the site that are made anew in each build and never committed."""


def substitutions(root: Path) -> dict[str, str]:
    """Return what pages show between double braces: tables of results, equations and lists out of the code.

    Args:
        root: folder of the repository.
    """
    equations = {
        "equation_tile": equation(root / "analognets/crossbar/forward.py", "Tile"),
        "equation_converter": equation(root / "analognets/crossbar/converters.py", "convert"),
        "equation_pcm": equation(root / "analognets/devices/pcm.py", "PCM"),
        "equation_compensation": equation(root / "analognets/devices/drift_compensation.py", "DriftCompensation"),
    }
    return {**results_pages.tables(root), **equations, "reconstructions": reconstructions(PublicNames(root))}


def _write(app: Any) -> None:
    source = Path(app.srcdir)
    tutorials.write_pages(ROOT, source / "tutorials")
    api_pages.write_pages(ROOT, source / "api")
    results_pages.write_pages(ROOT, source / "results")
    reference = {
        "commands.md": command_pages.commands_page(),
        "presets.md": command_pages.presets_page(ROOT),
        "names.md": command_pages.names_page(),
    }
    fill(source / "reference", reference)
    concept_figures.write_figures(source / "figures")


def _write_lab(app: Any, error: Exception | None) -> None:
    """Put the lab page beside the built pages."""
    if error is None and app.builder.format == "html":
        write_page(Path(app.outdir) / "lab")


def setup(app: Any) -> dict[str, bool]:
    """Connect to Sphinx."""
    app.connect("builder-inited", _write)
    app.connect("build-finished", _write_lab)
    app.connect("autodoc-process-docstring", process_docstring, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
