"""Pictures of a model on an accelerator: floorplan, programmed conductances, timeline, energy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from analognets.core.figures import new_figure, saved
from analognets.deploy.accelerator.costs import Cost, with_range
from analognets.deploy.accelerator.placement import Block, Placement
from analognets.errors import ConversionError, check_integer
from analognets.layers.ranges import over_kernel

if TYPE_CHECKING:
    from analognets.deploy.chips.chips import Chips

__all__ = ["conductance_figure", "conductance_map", "energy_figure", "floorplan_figure", "timeline_figure"]

GREY = "#d9d9d9"


def _colours(names: list[str]) -> dict[str, Any]:
    from matplotlib import colormaps

    # Neighbours in the network get colours far apart; the golden ratio spreads any number of them.
    hues = colormaps["turbo"]
    return {name: hues(0.06 + 0.88 * ((number * 0.6180339887) % 1)) for number, name in enumerate(names)}


def _panels(placement: Placement) -> tuple[Any, list[Any]]:
    """Return a figure with one axes per array, drawn to scale, rows downwards."""
    array = placement.accelerator.array
    wide = min(placement.arrays, 4)
    deep = math.ceil(placement.arrays / wide)
    tallest = 5.6 if placement.arrays <= 3 else 3.6
    height = max(0.5, array.rows / max(array.rows, array.cols)) * tallest
    figure = new_figure(max(4.6, wide * height * array.cols / array.rows + 1.4), deep * height + 0.8)
    panels = figure.subplots(deep, wide, squeeze=False).reshape(-1)
    for number, axes in enumerate(panels):
        if number >= placement.arrays:
            axes.set_axis_off()
            continue
        axes.set(xlim=(0, array.cols), ylim=(array.rows, 0), aspect="equal")
        axes.set(xlabel="column (bit line)", ylabel="row (word line)" if number % wide == 0 else "")
        if placement.arrays > 1:
            axes.set_title(f"array {number + 1}", fontsize="small")
    return figure, list(panels)


def floorplan_figure(placement: Placement, path: Any = None) -> Any:
    """Draw where each layer lies: a coloured rectangle with its name for each block; grey cells are empty.

    Args:
        placement: from `place`, or `Cost.placement`.
        path: where to save it (PNG or SVG by its ending); None only returns the figure.

    Returns:
        The matplotlib figure.
    """
    from matplotlib.patches import Rectangle

    figure, panels = _panels(placement)
    colours = _colours([layer.name for layer in placement.workload.analog])
    for axes in panels[: placement.arrays]:
        axes.set_facecolor(GREY)
    keys: dict[str, int] = {}  # layers with a block too small for its name get a number, and the name in the legend
    for block in placement.blocks:
        axes, colour = panels[block.array], colours[block.layer]
        axes.add_patch(Rectangle((block.col, block.row), block.cols, block.rows, fc=colour, ec="white", lw=0.8))
        size = f"{block.rows} x {block.cols}"
        if not _label(axes, block, placement, colour, block.layer, size):
            number = keys.setdefault(block.layer, len(keys) + 1)
            _label(axes, block, placement, colour, str(number))
    if keys:
        handles = [Rectangle((0, 0), 1, 1, fc=colours[name]) for name in keys]
        labels = [f"{number} {name}" for name, number in keys.items()]
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize="x-small")
    figure.suptitle(
        f"{placement.workload.model} on {placement.accelerator.name}: {100 * placement.utilisation:.1f} % of the cells "
        "in use",
        fontsize="medium",
    )
    return saved(figure, path)


def _label(axes: Any, block: Block, placement: Placement, colour: Any, text: str, size: str = "") -> bool:
    """Write a block's name, and its size below, into it if it is large enough; returns whether it was."""
    array = placement.accelerator.array
    unit = max(array.rows, array.cols) / (1024 if placement.arrays <= 3 else 560)  # cells of 1/1024 of a tall picture
    long, short = max(block.rows, block.cols), min(block.rows, block.cols)
    lines = f"{text}\n{size}" if size and short >= 46 * unit else text
    across = max(map(len, lines.split("\n"))) * 11.5 * unit
    if short < 20 * unit or long < across:
        return False
    red, green, blue, _ = colour
    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
    axes.text(
        block.col + block.cols / 2,
        block.row + block.rows / 2,
        lines,
        rotation=90 if block.cols < across else 0,
        ha="center",
        va="center",
        fontsize=7,
        color="white" if dark else "black",
    )
    return True


def conductance_map(placement: Placement, chips: Chips, *, chip: int = 0, at: str | float = "25s") -> np.ndarray:
    """Return G+ - G- of every cell of the arrays in uS, as read from a programmed chip; NaN where nothing lies.

    Args:
        placement: of the chips' model.
        chips: from `analognets.deploy.program`.
        chip: which one, from 0.
        at: time since programming.

    Returns:
        Array (arrays, rows, columns).

    Raises:
        ConversionError: the placement is of another model.
        InvalidArgumentError: there is no such chip.
    """
    check_integer("conductance_map", "chip", chip, 0, len(chips) - 1)
    programmed = chips.chips[chip]
    kernels = {}
    for layer, stored, read in zip(chips.layers, programmed.layers, programmed.read(chips.layers, at), strict=True):
        gamma = np.asarray(keras.ops.convert_to_numpy(over_kernel(np.asarray(stored.weight_max), layer.tiling)))
        kernels[layer.name] = np.asarray(read.kernel) * (layer.crossbar.device.g_max / gamma)
    array = placement.accelerator.array
    cells = np.full((placement.arrays, array.rows, array.cols), np.nan, np.float32)
    for block in placement.blocks:
        kernel = kernels.get(block.layer)
        wanted = next(layer.kernel for layer in placement.workload.layers if layer.name == block.layer)
        if kernel is None or kernel.shape != wanted:
            raise ConversionError(
                f"The placement is of another model than the chips: layer '{block.layer}' of shape {wanted} is "
                f"{'missing' if kernel is None else f'of shape {kernel.shape}'} there. Place the chips' model."
            )
        part = kernel[..., slice(*block.inputs), slice(*block.outputs)].reshape(block.rows, block.cols)
        cells[block.array, block.row : block.row + block.rows, block.col : block.col + block.cols] = part
    return cells


def conductance_figure(
    placement: Placement, chips: Chips, path: Any = None, *, chip: int = 0, at: str | float = "25s"
) -> Any:
    """Draw the conductances of a programmed chip where they lie: G+ - G- of each cell in uS.

    Args:
        placement: of the chips' model.
        chips: from `analognets.deploy.program`.
        path: where to save it (PNG or SVG by its ending); None only returns the figure.
        chip: which one, from 0.
        at: time since programming.

    Returns:
        The matplotlib figure.

    Raises:
        ConversionError: the placement is of another model.
        InvalidArgumentError: there is no such chip.
    """
    from matplotlib.patches import Rectangle

    cells = conductance_map(placement, chips, chip=chip, at=at)
    figure, panels = _panels(placement)
    array, limit = placement.accelerator.array, float(np.nanmax(np.abs(cells)))
    for axes, values in zip(panels, cells, strict=False):
        axes.set_facecolor(GREY)
        shown = axes.imshow(
            values,
            cmap="RdBu_r",
            vmin=-limit,
            vmax=limit,
            extent=(0, array.cols, array.rows, 0),
            interpolation="antialiased",
        )
    for block in placement.blocks:
        frame = Rectangle((block.col, block.row), block.cols, block.rows, fill=False, ec="black", lw=0.5)
        panels[block.array].add_patch(frame)
    figure.colorbar(shown, ax=panels, label="G+ - G- in uS", shrink=0.7)
    seconds = at if isinstance(at, str) else f"{at:g} s"
    figure.suptitle(
        f"{placement.workload.model}, chip {chip}, {seconds} after programming; grey: no weight", fontsize="medium"
    )
    return saved(figure, path)


def timeline_figure(cost: Cost, path: Any = None) -> Any:
    """Draw one inference as a Gantt chart: when each layer's array passes and digital work run.

    Args:
        cost: from `analognets.deploy.cost`.
        path: where to save it (PNG or SVG by its ending); None only returns the figure.

    Returns:
        The matplotlib figure.
    """
    figure = new_figure(8.0, 1.3 + 0.3 * len(cost.layers))
    axes = figure.add_subplot()
    colours = _colours([layer.work.name for layer in cost.layers])
    for number, layer in enumerate(cost.layers):
        start, colour = layer.time.start_ns / 1e3, colours[layer.work.name]
        axes.barh(number - 0.18, layer.time.analog_ns / 1e3, left=start, height=0.4, color=colour)
        digital_start = start if cost.overlapped else start + layer.time.analog_ns / 1e3
        axes.barh(
            number + 0.22,
            layer.time.digital_ns / 1e3,
            left=digital_start,
            height=0.24,
            color="white",
            edgecolor=colour,
            hatch="/////",
            lw=0.8,
        )
        passes = f"{layer.time.passes:,} pass{'es' if layer.time.passes != 1 else ''}"
        note = passes if layer.work.analog else "digital"
        axes.text(layer.time.end_ns / 1e3 + 0.006 * cost.latency_us, number, note, va="center", fontsize="x-small")
    axes.set_yticks(range(len(cost.layers)), [layer.work.name for layer in cost.layers], fontsize="small")
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12 * cost.latency_us)
    axes.set_xlabel("time in us (filled: array; hatched: work of the digital pipeline, added up)")
    axes.set_title(
        f"{cost.placement.workload.model} on {cost.accelerator.name}, {cost.resolution}: {cost.latency_us:.1f} us, "
        f"digital work {'overlapped' if cost.overlapped else 'in sequence'}",
        fontsize="medium",
    )
    axes.grid(axis="x", alpha=0.3)
    return saved(figure, path)


def energy_figure(cost: Cost, path: Any = None) -> Any:
    """Draw the energy of each layer, split by what draws it.

    Args:
        cost: from `analognets.deploy.cost`.
        path: where to save it (PNG or SVG by its ending); None only returns the figure.

    Returns:
        The matplotlib figure.
    """
    from matplotlib import colormaps

    figure = new_figure(8.0, 1.6 + 0.26 * len(cost.layers))
    axes = figure.add_subplot()
    left = np.zeros(len(cost.layers))
    total = cost.energy_terms_uj
    law = cost.accelerator.energy
    for number, (term, what) in enumerate(law.labels.items()):
        values = np.array([layer.energy_pj[term] / 1e6 for layer in cost.layers])
        if total[term]:
            label = f"{what} ({law.status(term)})"
            axes.barh(range(len(values)), values, left=left, color=colormaps["tab10"](number), label=label, height=0.7)
        left += values
    axes.set_yticks(range(len(cost.layers)), [layer.work.name for layer in cost.layers], fontsize="small")
    axes.invert_yaxis()
    axes.set_xlabel("energy of one inference in uJ")
    axes.set_title(
        f"{cost.placement.workload.model} on {cost.accelerator.name}, {cost.resolution}: "
        f"{with_range(cost.energy_uj, cost.energy_range_uj, '.2f', 'uJ')}, "
        f"{with_range(cost.tops_per_watt, cost.tops_per_watt_range, '.2f', 'TOPS/W')}",
        fontsize="medium",
    )
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=4, fontsize="x-small")
    return saved(figure, path)
