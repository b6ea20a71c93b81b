"""Figures of spikes: rasters, pictures, curves, learning windows, receptive fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from analognets.core.figures import COLOURS, new_figure, saved
from analognets.devices import CuSiO2Memristor
from analognets.spiking.trains import SpikeTrains

__all__ = [
    "curve_figure",
    "drift_figure",
    "outputs_figure",
    "pictures_figure",
    "progress_figure",
    "raster_figure",
    "receptive_fields_figure",
    "window_figure",
]


def raster_figure(
    trains: Sequence[SpikeTrains], names: Sequence[str], path: Any = None, *, title: str = "Spikes"
) -> Any:
    """Draw one raster a pattern: a dot for each spike, time against channel.

    Args:
        trains: of the patterns.
        names: of the patterns.
        path: where to save it (PNG or SVG by its ending); None only returns the figure.
        title: above all.
    """
    figure = new_figure(4.0 * len(trains), 3.2)
    axes = figure.subplots(1, len(trains), squeeze=False, sharey=True)[0]
    for axis, spikes, name in zip(axes, trains, names, strict=True):
        axis.plot(spikes.times, spikes.channels, "|", color=COLOURS[0], ms=2.5, mew=0.7)
        axis.set(xlabel="time in ms", title=f"{name}: {len(spikes)} spikes", xlim=(0, spikes.duration))
        axis.set_ylim(-1, spikes.n_channels)
    axes[0].set_ylabel("channel")
    figure.suptitle(title)
    return saved(figure, path)


def outputs_figure(pairs: Sequence[tuple[SpikeTrains, SpikeTrains]], names: Sequence[str], path: Any = None) -> Any:
    """Draw wanted and observed spikes of each pattern over each other.

    Args:
        pairs: (wanted, observed).
        names: of the patterns.
        path: as in `raster_figure`.
    """
    figure = new_figure(4.0 * len(pairs), 3.6)
    axes = figure.subplots(1, len(pairs), squeeze=False, sharey=True)[0]
    for axis, (wanted, observed), name in zip(axes, pairs, names, strict=True):
        axis.plot(wanted.times, wanted.channels, "s", mfc="none", mec=COLOURS[1], ms=3.5, mew=0.7, label="wanted")
        axis.plot(observed.times, observed.channels, ".", color=COLOURS[0], ms=2.5, label="observed")
        axis.set(xlabel="time in ms", title=name, xlim=(0, wanted.duration))
    axes[0].set_ylabel("output neuron")
    axes[-1].legend(loc="upper right", fontsize="small")
    return saved(figure, path)


def pictures_figure(
    wanted: Sequence[np.ndarray], observed: Sequence[np.ndarray], names: Sequence[str], path: Any = None
) -> Any:
    """Draw wanted and observed pictures side by side.

    Args:
        wanted: pictures, 0 to 1.
        observed: the same.
        names: of the patterns.
        path: as in `raster_figure`.
    """
    figure = new_figure(1.8 * len(names) + 0.6, 4.4)
    axes = figure.subplots(2, len(names), squeeze=False)
    for row, (pictures, what) in enumerate(((wanted, "wanted"), (observed, "observed"))):
        for axis, picture, name in zip(axes[row], pictures, names, strict=True):
            axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[], title=f"{name}, {what}")
    return saved(figure, path)


def curve_figure(table: Any, path: Any = None) -> Any:
    """Draw the share of wanted spikes over epochs, one line a tolerance, and false spikes.

    Args:
        table: columns `epoch`, `tolerance_5`, `tolerance_10`, `tolerance_25`, `false_share`.
        path: as in `raster_figure`.
    """
    figure = new_figure(6.0, 3.8)
    axis = figure.add_subplot()
    for column, colour in zip(("tolerance_25", "tolerance_10", "tolerance_5"), COLOURS, strict=False):
        axis.plot(table["epoch"], 100 * table[column], color=colour, label=f"within {column.split('_')[1]} ms")
    axis.plot(table["epoch"], 100 * table["false_share"], "--", color="#666666", label="false spikes a wanted one")
    axis.set(xlabel="epoch", ylabel="share of wanted spikes in %", ylim=(0, 105))
    axis.grid(alpha=0.3)
    axis.legend(loc="center right", fontsize="small")
    return saved(figure, path)


def drift_figure(table: Any, path: Any = None, *, tolerance: float = 25.0) -> Any:
    """Draw the share of wanted spikes over the time since training, with and without array-level scaling.

    Args:
        table: columns `seconds`, `scaled`, `tolerance_25` and so on, one row a reading.
        path: as in `raster_figure`.
        tolerance: in ms.
    """
    figure = new_figure(6.0, 3.8)
    axis = figure.add_subplot()
    for scaled, colour, label in ((True, COLOURS[0], "with array-level scaling"), (False, COLOURS[1], "without")):
        part = table[table["scaled"] == scaled]
        groups = 100 * part.groupby("seconds")[f"tolerance_{tolerance:g}"].agg(["mean", "std"]).fillna(0.0)
        axis.errorbar(groups.index, groups["mean"], groups["std"], fmt="o-", color=colour, label=label, capsize=2)
    least = table["seconds"][table["seconds"] > 0].min() if (table["seconds"] > 0).any() else 1.0
    axis.set_xscale("symlog", linthresh=float(least))
    axis.set(xlabel="seconds after training", ylabel=f"spikes within {tolerance:g} ms in %", ylim=(0, 105))
    axis.grid(alpha=0.3)
    axis.legend(loc="lower left", fontsize="small")
    return saved(figure, path)


def window_figure(
    device: CuSiO2Memristor, path: Any = None, *, conductances: Sequence[float] | None = None, reach: float = 80.0
) -> Any:
    """Draw the learning window of a memristor: mean change against t_post - t_pre, for several conductances.

    Args:
        device: the memristor.
        path: as in `raster_figure`.
        conductances: to begin with, in uS; None: five from end to end of the range.
        reach: largest time difference in ms.
    """
    places = device.g_min + device.range * np.linspace(0.1, 0.9, 5) if conductances is None else conductances
    figure = new_figure(6.0, 3.8)
    axis = figure.add_subplot()
    before, after = np.linspace(-reach, -0.01, 200), np.linspace(0.0, reach, 200)
    for g, colour in zip(places, COLOURS, strict=False):
        for dt, label in ((before, None), (after, f"from {g:.1f} µS")):
            axis.plot(dt, device.window(dt, float(g)), color=colour, label=label)
    axis.axhline(0, color="#444444", lw=0.8)
    axis.set(xlabel="t_post - t_pre in ms", ylabel="mean change in µS")
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")
    return saved(figure, path)


def receptive_fields_figure(
    weights: np.ndarray, shape: tuple[int, int], path: Any = None, *, labels: np.ndarray | None = None
) -> Any:
    """Draw the weights of every neuron as a picture, sorted by the class they stand for.

    Args:
        weights: (neurons, inputs), 0 to 1.
        shape: rows and columns of the inputs.
        path: as in `raster_figure`.
        labels: class of each neuron; None: in the order they come.
    """
    order = np.arange(len(weights)) if labels is None else np.argsort(labels, kind="stable")
    across = int(np.ceil(np.sqrt(len(weights))))
    down = int(np.ceil(len(weights) / across))
    rows, columns = shape
    sheet = np.full((down * (rows + 1) + 1, across * (columns + 1) + 1), np.nan)
    for place, number in enumerate(order):
        top, left = (place // across) * (rows + 1) + 1, (place % across) * (columns + 1) + 1
        sheet[top : top + rows, left : left + columns] = weights[number].reshape(shape)
    figure = new_figure(7.0, 7.0 * down / across + 0.3)
    axis = figure.add_subplot()
    axis.imshow(sheet, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    axis.set(xticks=[], yticks=[], title="Receptive fields" + ("" if labels is None else ", sorted by class"))
    return saved(figure, path)


def progress_figure(table: Any, columns: Sequence[str], path: Any = None, *, label: Callable[[str], str] = str) -> Any:
    """Draw shares over the pictures that were learned from.

    Args:
        table: columns `pictures` and the named ones, 0 to 1.
        columns: to draw.
        path: as in `raster_figure`.
        label: what to call a column.
    """
    figure = new_figure(6.0, 3.8)
    axis = figure.add_subplot()
    for column, colour in zip(columns, COLOURS, strict=False):
        axis.plot(table["pictures"], 100 * table[column], "o-", color=colour, label=label(column), ms=3)
    axis.set(xlabel="training pictures shown", ylabel="accuracy in %")
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right", fontsize="small")
    return saved(figure, path)
