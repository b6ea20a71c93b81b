"""Figures of what happened to the devices in training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from analognets.core.figures import COLOURS, new_figure, saved
from analognets.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["device_figure"]

PLUS, MINUS = COLOURS[:2]


def device_figure(
    statistics: Mapping[str, Mapping[str, Any]], log: pd.DataFrame | str | Path | None = None, path: Any = None
) -> Any:
    """Draw histograms of G+ and G-, the granularity of updates, and pulses and saturated pairs over epochs.

    Args:
        statistics: what `MixedPrecision.statistics` returned.
        log: the table that `DeviceLog` wrote, or its file; None leaves out what goes over epochs.
        path: where to save it (PNG or SVG by its ending); None only returns the figure.

    Returns:
        The matplotlib figure: a row of histograms, one for each array, above the other panels.

    Raises:
        InvalidArgumentError: there are no arrays.
        DataError: the file of the log can't be read.

    Examples:
        >>> synapses = analognets.synapses.PulsedSynapses((3, 2), seed=0)
        >>> figure = device_figure({"layer": synapses.statistics()}, path="devices.svg")
        >>> len(figure.axes)
        4
    """
    if not statistics:
        raise InvalidArgumentError("`statistics` of device_figure must have at least one array. Received: none.")
    names = _short(list(statistics))
    columns = max(len(statistics), 3)
    figure = new_figure(2.6 * columns + 1.0, 5.4)
    above, below = cast(Any, figure.subfigures(2, 1))
    histograms = above.subplots(1, len(statistics), squeeze=False)[0]
    for number, (name, found) in enumerate(zip(names, statistics.values(), strict=True)):
        _histogram(histograms[number], name, found, number == 0)
    panels = below.subplots(1, 3)
    _granularity(panels[0], names, statistics)
    if log is None:
        for panel in panels[1:]:
            panel.set_axis_off()
    else:
        table = _table(log)
        _over_epochs(panels[1], table, names, statistics, "pulses_per_weight", "SET pulses a weight and epoch")
        _over_epochs(panels[2], table, names, statistics, "saturated_pairs", "share of saturated pairs")
        panels[1].legend(fontsize="x-small")
    return saved(figure, path, dpi=130)


def _histogram(axes: Any, name: str, found: Mapping[str, Any], first: bool) -> None:
    edges = np.asarray(found["edges"])
    for label, colour, key in (("G+", PLUS, "g_plus"), ("G-", MINUS, "g_minus")):
        axes.stairs(np.maximum(found[key], 0.5), edges, color=colour, label=label, lw=1.4)
    axes.set_yscale("log")
    axes.set_xlabel("conductance in uS")
    axes.set_title(f"{name}: {found['devices']:,} devices", fontsize="small")
    if first:
        axes.set_ylabel("devices")
        axes.legend(fontsize="small")


def _granularity(axes: Any, names: list[str], statistics: Mapping[str, Mapping[str, Any]]) -> None:
    places = np.arange(len(names))
    steps = np.array([[found[key] / found["epsilon"] for key in ("next_step_mean", "next_step_spread")]
                      for found in statistics.values()])  # fmt: skip
    axes.bar(places, steps[:, 0], yerr=steps[:, 1], color="#999999", capsize=3)
    axes.axhline(1.0, color="#444444", ls="--", lw=1)
    axes.set_xticks(places, names, rotation=30, ha="right", fontsize="x-small")
    axes.set_ylabel("next step / epsilon, mean and spread")
    axes.set_title("granularity of updates", fontsize="small")


def _over_epochs(
    axes: Any, table: pd.DataFrame, names: list[str], statistics: Mapping[str, Any], column: str, label: str
) -> None:
    for number, (name, path) in enumerate(zip(names, statistics, strict=True)):
        part = table[table["variable"] == path]
        axes.plot(part["epoch"] + 1, part[column], "o-", ms=3, color=COLOURS[number % len(COLOURS)], label=name)
    axes.set_xlabel("epoch")
    axes.set_title(label, fontsize="small")
    axes.grid(alpha=0.3)


def _table(log: pd.DataFrame | str | Path) -> pd.DataFrame:
    import pandas as pd

    if isinstance(log, pd.DataFrame):
        return log
    try:
        return pd.read_csv(log)
    except (OSError, ValueError) as error:
        raise DataError(f"'{log}' can't be read as the table of a DeviceLog: {error}.") from error


def _short(paths: list[str]) -> list[str]:
    """Return the paths without what they all begin with and without a last part that they share."""
    parts = [path.split("/") for path in paths]
    while all(len(part) > 2 for part in parts) and len({part[0] for part in parts}) == 1:
        parts = [part[1:] for part in parts]
    if all(len(part) > 1 for part in parts) and len({part[-1] for part in parts}) == 1:
        parts = [part[:-1] for part in parts]
    return ["/".join(part) for part in parts]
