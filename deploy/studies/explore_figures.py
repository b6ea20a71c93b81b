"""The picture of an exploration: what accuracy costs in efficiency and area."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analognets.core.figures import COLOURS, new_figure, saved
from analognets.errors import InvalidArgumentError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["label_of", "pareto_figure"]

MARKERS = "osD^vPX*"


def label_of(row: Any) -> str:
    """Return a row's settings in short, such as "8 bit, 1024 x 512, 128 ADCs, clip 2, eta 0.05"."""
    parts = [f"{row['bits']} bit", f"{row['rows']} x {row['cols']}", f"{row['adcs']} ADCs"]
    parts += [f"{name} {row[name]:g}" for name in ("clip", "eta") if row[name] is not None and row[name] == row[name]]
    return ", ".join(parts)


def pareto_figure(table: pd.DataFrame, path: Any = None, *, title: str = "") -> Any:
    """Draw accuracy against TOPS/W; the area of a marker grows with the chip's, what is on the Pareto front is ringed.

    Colours are precisions, shapes are networks, whiskers are one standard deviation over the chips. The line joins the
    points that no other beats in accuracy and TOPS/W, whatever their area; they are numbered, and named at the side.

    Args:
        table: from `explore`.
        path: where to save it (PNG or SVG by its ending); None only returns the figure.
        title: above the axes.

    Returns:
        The matplotlib figure.

    Raises:
        InvalidArgumentError: no point of the table has all figures.

    Examples:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"network": "net", "bits": [8, 4], "accuracy": [0.95, 0.92], "accuracy_std": 0.01})
        >>> table = table.assign(tops_per_watt=[10.0, 30.0], area_mm2=3.0, pareto=True, chips=5, at="1d")
        >>> table = table.assign(rows=1024, cols=512, adcs=128, clip=None, eta=None)
        >>> figure = pareto_figure(table, "pareto.svg")
        >>> figure.axes[0].get_xlabel().startswith("TOPS/W")
        True
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    from analognets.deploy.studies.explore import pareto_front

    good = table.dropna(subset=["accuracy", "tops_per_watt", "area_mm2"])
    if good.empty:
        raise InvalidArgumentError("There is nothing to draw: no point has accuracy, TOPS/W and area.")
    figure = new_figure(8.4, 5.0)
    axes = figure.add_subplot()
    sizes = 30 + 170 * good["area_mm2"] / good["area_mm2"].max()
    bits = sorted(good["bits"].unique(), reverse=True)
    networks = list(dict.fromkeys(good["network"]))
    for number, (index, row) in enumerate(good.sort_values("area_mm2", ascending=False).iterrows()):
        colour = COLOURS[bits.index(row["bits"]) % len(COLOURS)]
        place = (row["tops_per_watt"], 100 * row["accuracy"])
        axes.errorbar(*place, yerr=100 * (row["accuracy_std"] or 0), color=colour, lw=0.8, capsize=2, zorder=2)
        edge = ("black", 1.6) if row["pareto"] else ("white", 0.6)
        marker = MARKERS[networks.index(row["network"]) % len(MARKERS)]
        axes.scatter(
            *place, s=sizes[index], c=colour, marker=marker, ec=edge[0], lw=edge[1], alpha=0.85, zorder=3 + number
        )
    front = good[pareto_front(good, {"accuracy": 1, "tops_per_watt": 1})].sort_values("tops_per_watt")
    axes.plot(front["tops_per_watt"], 100 * front["accuracy"], "-", color="#888888", lw=1, zorder=1)
    at = str(good["at"].iloc[0])
    chips = int(good["chips"].max())
    efficiency = "TOPS/W, point estimate (its range: table)"
    axes.set(xlabel=efficiency, ylabel=f"accuracy in % after {at} ({chips} chip{'s' if chips > 1 else ''} a point)")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(0.12)
    named = label_front(axes, front.drop_duplicates(["tops_per_watt", "accuracy"]))
    axes.grid(alpha=0.3)
    axes.set_title(title or "Accuracy, efficiency and area", fontsize="small", loc="left")
    legend(axes, good, bits, networks, named)
    return saved(figure, path)


def label_front(axes: Any, front: pd.DataFrame) -> list[str]:
    """Number at most ten points by efficiency, above them, and return what the numbers stand for."""
    named = []
    for number, (_, row) in enumerate(front.sort_values("tops_per_watt").head(10).iterrows(), start=1):
        place = (row["tops_per_watt"], 100 * row["accuracy"])
        offset = {"xytext": (0, 9), "textcoords": "offset points", "ha": "center", "va": "bottom", "zorder": 1000}
        axes.annotate(str(number), place, fontsize="small", weight="bold", **offset)
        named.append(f"{number}: {label_of(row)}")
    return named


def legend(axes: Any, good: pd.DataFrame, bits: list[int], networks: list[str], named: list[str]) -> None:
    """Say what colours, shapes, sizes, rings and numbers mean."""
    from matplotlib.lines import Line2D

    def handle(label: str, **settings: Any) -> Any:
        return Line2D([], [], **{"ls": "", "marker": "o", "color": "#999999", "label": label, **settings})

    handles = [handle(f"{count} bit", color=COLOURS[number % len(COLOURS)]) for number, count in enumerate(bits)]
    if len(networks) > 1:
        shapes = enumerate(networks)
        handles += [handle(name, marker=MARKERS[number % len(MARKERS)]) for number, name in shapes]
    for area in sorted({good["area_mm2"].min(), good["area_mm2"].max()}):
        size = (30 + 170 * area / good["area_mm2"].max()) ** 0.5
        handles.append(handle(f"{area:.2f} mm$^2$", markersize=size))
    handles.append(handle("on the Pareto front", markeredgecolor="black", markeredgewidth=1.6))
    handles += [handle(text, marker="none") for text in named]
    axes.figure.legend(handles=handles, loc="outside right upper", fontsize="x-small", labelspacing=1.4)
