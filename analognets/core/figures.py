"""Figures: made without a window, saved whole, and equal data give equal files."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analognets.core.files import write_atomically
from analognets.core.text import shown

__all__ = ["COLOURS", "inline_svg", "make_drawable", "new_figure", "picture_bytes", "saved"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
"""Colours that the colour-blind can tell apart (Okabe and Ito), the most different ones first."""

DOTS_A_POINT = 4 / 3
"""Of CSS."""
WIDE = 700
"""Dots from which on a picture is not shrunk to the width of a phone."""

_ANONYMOUS: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


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

    make_drawable(figure)
    buffer = io.BytesIO()
    # Names inside of an SVG are hashes of their content and this salt, which else is drawn at random.
    with matplotlib.rc_context({"svg.hashsalt": "analognets"}):
        figure.savefig(buffer, dpi=dpi, format=kind, metadata=_ANONYMOUS.get(kind))
    return buffer.getvalue()


def make_drawable(figure: Any) -> None:
    """Write out letters of a figure that no font has, and take "$" of names that are no formula as it stands.

    Args:
        figure: a matplotlib figure.
    """
    from matplotlib.mathtext import MathTextParser
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        said = text.get_text()
        if said != shown(said):
            text.set_text(shown(said))
        if said.count("$") > 1 and text.get_parse_math():
            try:
                MathTextParser("path").parse(said)
            except ValueError:
                text.set_parse_math(False)


def inline_svg(figure: Any, name: str, *, title: str, text: str) -> str:
    """Return a figure as an SVG element for a page of HTML: a transparent picture with a text alternative.

    Args:
        figure: a matplotlib figure.
        name: of the element; begins all its ids, so that figures of one page don't mix.
        title: what it is, escaped for HTML.
        text: what it shows, escaped for HTML.
    """
    import matplotlib

    make_drawable(figure)
    buffer = io.BytesIO()
    # Letters stay text, which can be found and read.
    settings: dict[Any, Any] = {"svg.hashsalt": "analognets", "svg.fonttype": "none"}
    with matplotlib.rc_context(settings), _without_paper(figure), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # letters that are missing here; names too long for their place
        figure.savefig(buffer, format="svg", metadata=_ANONYMOUS["svg"], facecolor="none")
    _, opening, rest = buffer.getvalue().decode("utf-8", "replace").partition("<svg ")
    opening, _, rest = rest.partition(">")
    box = opening.partition('viewBox="')[2].partition('"')[0]
    rest = re.sub(r"<metadata>.*?</metadata>\s*", "", rest, count=1, flags=re.DOTALL).replace(" xlink:href=", " href=")
    rest = re.sub(r'(\sid="|\shref="#|url\(#)', rf"\g<1>{name}-", rest)
    width = float(box.split()[2]) * DOTS_A_POINT
    return (
        f'<svg role="img" aria-labelledby="{name}-title {name}-text" viewBox="{box}" style="width:{width:.0f}px"'
        f'{" class=wide" if width > WIDE else ""}><title id="{name}-title">{title}</title>'
        f'<desc id="{name}-text">{text}</desc>{rest.rstrip()}'
    )


@contextlib.contextmanager
def _without_paper(figure: Any) -> Iterator[None]:
    """Hide the white ground of the axes, so that the page is seen, whatever its colour."""
    papers = [axes.patch for axes in figure.get_axes() if axes.patch.get_facecolor() == (1.0, 1.0, 1.0, 1.0)]
    papers = [paper for paper in papers if paper.get_visible()]
    for paper in papers:
        paper.set_visible(False)
    try:
        yield
    finally:
        for paper in papers:
            paper.set_visible(True)


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
