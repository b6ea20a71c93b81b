"""The picture of an exploration: what accuracy costs in efficiency and area."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from analognets.errors import InvalidArgumentError
from analognets.training.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["label_of", "pareto_figure"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
MARKERS = "osD^vPX*"


def label_of(row: Any) -> str:
    """Return a row's settings in short, such as "8 bit, 1024 x 512, 128 ADCs, clip 2, eta 0.05"."""
    parts = [f"{row['bits']} bit", f"{row['rows']} x {row['cols']}", f"{row['adcs']} ADCs"]
    parts += [f"{name} {row[name]:g}" for name in ("clip", "eta") if row[name] is not None and row[name] == row[name]]
    return ", ".join(parts)


def pareto_figure(table: pd.DataFrame, path: Any = None, *, title: str = "") -> Any:
    """Draw accuracy against TOPS/W; the area of a marker grows with the chip's, what is on the Pareto front is ringed.

    Colours are precisions, shapes are networks, whiskers are one standard deviation over the chips. The line joins the
    points that no other beats in accuracy and TOPS/W, whatever their area; they are named.

    Args:
        table: from `explore`.
        path: where to save it (PNG or SVG by its ending); None only returns the figure.
        title: above the axes.

    Returns:
        The matplotlib figure.

    Raises:
        InvalidArgumentError: no point of the table has all figures.
    """
    from matplotlib.figure import Figure

    from analognets.deploy.exploration import pareto_front

    good = table.dropna(subset=["accuracy", "tops_per_watt", "area_mm2"])
    if good.empty:
        raise InvalidArgumentError("There is nothing to draw: no point has accuracy, TOPS/W and area.")
    figure = Figure(figsize=(8.4, 5.0), layout="constrained")
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
    axes.set(xlabel="TOPS/W", ylabel=f"accuracy in % after {at} (mean of {int(good['chips'].max())} chips)")
    axes.set_xlim(0, 1.12 * good["tops_per_watt"].max())
    axes.margins(y=0.12)
    label_front(axes, front.drop_duplicates(["tops_per_watt", "accuracy"]))
    axes.grid(alpha=0.3)
    axes.set_title(title or "Accuracy, efficiency and area", fontsize="medium")
    legend(axes, good, bits, networks)
    if path is not None:
        metadata = {"Software": None} if Path(path).suffix == ".png" else None
        write_atomically(Path(path), lambda part: figure.savefig(part, dpi=150, metadata=metadata))
    return figure


def label_front(axes: Any, front: pd.DataFrame) -> None:
    """Write the settings of at most ten points beside them, below or above by turns so that neighbours stay apart."""
    half = 0.5 * axes.get_xlim()[1]
    for number, (_, row) in enumerate(front.sort_values("tops_per_watt").head(10).iterrows()):
        left = row["tops_per_watt"] > half
        axes.annotate(
            label_of(row),
            (row["tops_per_watt"], 100 * row["accuracy"]),
            xytext=(-9 if left else 9, 12 if number % 2 else -17),
            textcoords="offset points",
            ha="right" if left else "left",
            fontsize="x-small",
            bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.75},
            zorder=1000,
        )


def legend(axes: Any, good: pd.DataFrame, bits: list[int], networks: list[str]) -> None:
    """Say what colours, shapes, sizes and rings mean."""
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
    axes.figure.legend(handles=handles, loc="outside right upper", fontsize="x-small", labelspacing=1.4)
