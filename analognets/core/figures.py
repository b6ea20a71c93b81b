"""Figures: made without a window, saved whole, and equal data give equal files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from analognets.core.files import write_atomically

__all__ = ["COLOURS", "new_figure", "picture_bytes", "saved"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
"""Colours that the colour-blind can tell apart (Okabe and Ito), the most different ones first."""

_ANONYMOUS = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


def new_figure(width: float, height: float) -> Any:
    """Return an empty matplotlib figure of so many inches that belongs to no window and needs no closing."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def picture_bytes(figure: Any, kind: str = "png", *, dpi: float = 150) -> bytes:
    """Return a figure as the content of a file, without the date and the version of the program that drew it.

    Args:
        figure: a matplotlib figure.
        kind: ending of the file: "png", "svg" or another that matplotlib knows.
        dpi: dots an inch.
    """
    import matplotlib

    buffer = io.BytesIO()
    # Names inside of an SVG are hashes of their content and this salt, which else is drawn at random.
    with matplotlib.rc_context({"svg.hashsalt": "analognets"}):
        figure.savefig(buffer, dpi=dpi, format=kind, metadata=_ANONYMOUS.get(kind))
    return buffer.getvalue()


def saved(figure: Any, path: Any = None, *, dpi: float = 150) -> Any:
    """Write a figure if there is a path, whole or not at all, and return it.

    Args:
        figure: a matplotlib figure.
        path: of the file, whose ending decides on its kind, PNG without one; None only returns the figure.
        dpi: dots an inch.

    Raises:
        RunError: the file can't be written.
    """
    if path is not None:
        path = Path(path)
        write_atomically(path, picture_bytes(figure, path.suffix.lstrip(".") or "png", dpi=dpi))
    return figure
