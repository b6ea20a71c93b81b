"""Figures of an evaluation over drift time."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analognets.core.figures import COLOURS, new_figure, saved
from analognets.units import format_duration

__all__ = ["drift_figure"]

LABELS = {True: "with drift compensation", False: "without drift compensation"}


def drift_figure(
    table: pd.DataFrame,
    path: Any = None,
    *,
    float_accuracy: float | None = None,
    digital_accuracy: float | None = None,
    title: str = "Accuracy under drift",
) -> Any:
    """Draw accuracy against the time since programming: mean line, a band of one standard deviation, every chip a dot.

    Args:
        table: what `Chips.evaluate` returned.
        path: where to save it (PNG or SVG by its ending); None only returns the figure.
        float_accuracy: draws a dashed line for the float model, 0 to 1.
        digital_accuracy: draws a dotted line for the same weights run digitally, 0 to 1.
        title: above the axes.

    Returns:
        The matplotlib figure.

    Examples:
        >>> table = chips.evaluate((x, y), at=["25s", "1d", "1y"])
        >>> figure = drift_figure(table, "drift.svg", float_accuracy=1.0)
        >>> len(figure.axes)
        1
    """
    figure = new_figure(6.4, 4.0)
    axes = figure.add_subplot()
    for compensated, part in table.groupby("drift_compensation", sort=False):
        groups = 100 * part.groupby("seconds")["accuracy"].agg(["mean", "std"]).fillna(0.0)
        colour = COLOURS[0 if compensated else 1]
        chips = part["chip"].nunique()
        axes.plot(
            groups.index,
            groups["mean"],
            "o-",
            color=colour,
            label=f"{LABELS[bool(compensated)]}, {chips} chip{'s' * (chips > 1)}",
        )
        axes.fill_between(
            groups.index, groups["mean"] - groups["std"], groups["mean"] + groups["std"], color=colour, alpha=0.2, lw=0
        )
        axes.plot(part["seconds"], 100 * part["accuracy"], ".", color=colour, alpha=0.25, ms=4)
    if float_accuracy is not None:
        axes.axhline(100 * float_accuracy, color="#444444", ls="--", lw=1, label="float network")
    if digital_accuracy is not None:
        axes.axhline(100 * digital_accuracy, color="#444444", ls=":", lw=1, label="same weights, digital")
    times = sorted(table["seconds"].unique())
    if times[0] > 0:
        axes.set_xscale("log")
    axes.set_xticks(times, [format_duration(time) for time in times])
    axes.minorticks_off()
    axes.set_xlabel("time since programming")
    axes.set_ylabel("accuracy in %")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", fontsize="small")
    return saved(figure, path)
