"""The pictures of sensitivity studies: curves over strength, heat maps of effects, bars of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from analognets.core.figures import COLOURS, new_figure, saved
from analognets.crossbar import Effect, list_effects
from analognets.crossbar.effects import describe
from analognets.deploy.studies.explore_figures import MARKERS
from analognets.errors import InvalidArgumentError

if TYPE_CHECKING:
    import pandas as pd

    from analognets.deploy.studies.sensitivity.layer_study import LayerStudy

__all__ = ["curve_figure", "heat_map", "layer_figure"]


def curve_figure(summary: pd.DataFrame, path: Any = None, *, title: str = "") -> Any:
    """Draw accuracy over the strength of one effect: mean and 95 % interval over chips, one line per network.

    Dashed lines are the float networks, the dotted one is the strength that the hardware has.

    Args:
        summary: from `summarize_sweep`.
        path: where to save it (PNG or SVG by its ending); None only returns the figure.
        title: above the axes.

    Returns:
        The matplotlib figure.

    Raises:
        InvalidArgumentError: no point has been measured.

    Examples:
        >>> figure = curve_figure(analognets.deploy.studies.sensitivity.summarize_sweep(swept), "curve.svg")
        >>> len(figure.axes)
        1
    """
    good = summary.dropna(subset=["accuracy"])
    if good.empty:
        raise InvalidArgumentError("There is nothing to draw: no point of the sweep has been measured.")
    effect = describe(str(good["nonideality"].iloc[0]))
    figure = new_figure(6.8, 4.2)
    axes = figure.add_subplot()
    values = good["value"].astype(float)
    ideal = values.max() + 1 if effect.fewer_is_worse else values.max()
    for number, (network, rows) in enumerate(good.groupby("network", sort=False)):
        colour = COLOURS[number % len(COLOURS)]
        rows = rows.assign(value=rows["value"].astype(float).fillna(ideal)).sort_values("value")
        error = 100 * half_widths(rows).fillna(0.0)
        style: dict[str, Any] = {
            "color": colour,
            "marker": MARKERS[number % len(MARKERS)],
            "ms": 5,
            "lw": 1.4,
            "capsize": 2.5,
        }
        axes.errorbar(rows["value"], 100 * rows["accuracy"], yerr=error, label=str(network), **style)
        axes.axhline(100 * rows["float_accuracy"].iloc[0], color=colour, ls="--", lw=0.9)
    scale_strengths(axes, effect, values, ideal)
    mark_standards(axes, good)
    chips = int(good["chips"].max())
    axes.set(xlabel=effect.label, ylabel=f"accuracy in % after {good['at'].iloc[0]}")
    axes.set_title(title or f"Mean of {chips} chips with 95 % interval; dashed: float", fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return saved(figure, path)


def scale_strengths(axes: Any, effect: Effect, values: Any, ideal: float) -> None:
    """Scale the axis of strengths: bits fall to the right; strengths over more than a decade are logarithmic."""
    positive = values[values > 0]
    if effect.fewer_is_worse:
        axes.invert_xaxis()
        ticks = sorted(set(values.dropna()))
        labels = [f"{tick:g}" for tick in ticks]
        if values.isna().any():
            ticks, labels = [*ticks, ideal], [*labels, "ideal"]
        axes.set_xticks(ticks, labels)
    elif len(positive) and positive.max() / positive.min() > 12:
        axes.set_xscale("symlog", linthresh=positive.min()) if (values == 0).any() else axes.set_xscale("log")
        ticks = sorted(set(values.dropna()))
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], rotation=45 if len(ticks) > 8 else 0)
        axes.minorticks_off()
        axes.set_xlim(-0.3 * positive.min() if (values == 0).any() else 0.8 * positive.min(), 1.25 * positive.max())


def mark_standards(axes: Any, summary: pd.DataFrame) -> None:
    """Draw a dotted line where the hardware stands."""
    for standard in {float(value) for value in summary["standard"].dropna()}:
        axes.axvline(standard, color="#555555", ls=":", lw=1, zorder=0)


def heat_map(table: pd.DataFrame, path: Any = None, *, title: str = "") -> Any:
    """Draw networks against effects: the loss at equal product error, or the thresholds and relative sensitivity.

    Args:
        table: from `equal_error_study` or `threshold_study`.
        path: where to save it (PNG or SVG by its ending); None only returns the figure.
        title: above the map.

    Returns:
        The matplotlib figure.

    Raises:
        InvalidArgumentError: the table holds nothing to draw.

    Examples:
        >>> table = analognets.deploy.threshold_study(
        ...     analog, "thresholds", nonidealities=["output_noise"], data=(x, y), chips=2
        ... )
        >>> figure = heat_map(table, "thresholds.svg", title="Thresholds")
        >>> figure.axes[0].get_title()
        'Thresholds'
    """
    from matplotlib import colormaps

    first = "loss" in table
    values, texts, label = loss_cells(table) if first else threshold_cells(table)
    if values.empty:
        raise InvalidArgumentError("There is nothing to draw: no effect has been measured.")
    rows, columns = values.shape
    figure = new_figure(3.6 + 1.25 * columns, 1.5 + 0.36 * rows)
    axes = figure.add_subplot()
    shown = values.to_numpy(float)
    top = max(0.01, float(np.nanmax(shown))) if np.isfinite(shown).any() else 1.0
    colours = colormaps["YlOrRd"].with_extremes(bad="#eeeeee")
    image = axes.imshow(shown, cmap=colours, vmin=0.0, vmax=top if first else 1.0, aspect="auto")
    for row in range(rows):
        for column in range(columns):
            dark = np.isfinite(shown[row, column]) and shown[row, column] > 0.62 * image.get_clim()[1]
            colour = "white" if dark else "black"
            axes.text(column, row, texts[row][column], ha="center", va="center", fontsize="x-small", color=colour)
    axes.set_xticks(range(columns), values.columns, fontsize="small", rotation=0 if columns < 4 else 30)
    axes.set_yticks(range(rows), [name.replace("_", " ") for name in values.index], fontsize="small")
    if np.isfinite(shown).any():
        figure.colorbar(image, ax=axes, label=label, shrink=0.9)
    axes.set_title(title or default_title(table, first), fontsize="medium")
    return saved(figure, path)


def default_title(table: pd.DataFrame, first: bool) -> str:
    """Return what a heat map shows."""
    at = table["at"].iloc[0]
    if not first:
        return f"Strength that leaves {100 * table['level'].iloc[0]:g} % of the accuracy after {at}"
    reached = table["product_error"].dropna()
    return f"Loss after {at} at {100 * reached.mean():.0f} % product error" if len(reached) else f"Loss after {at}"


def ordered(table: pd.DataFrame, values: str) -> pd.DataFrame:
    """Return one value of a table by effect and network, both in a fixed order."""
    names = list_effects()
    effects = sorted(set(table["nonideality"]), key=lambda name: names.index(name) if name in names else len(names))
    return table.pivot(index="nonideality", columns="network", values=values).reindex(
        index=effects, columns=list(dict.fromkeys(table["network"]))
    )


def loss_cells(table: pd.DataFrame) -> tuple[pd.DataFrame, list[list[str]], str]:
    """Return losses in percent, what stands in each cell, and what the colours are."""
    errors = 100 * ordered(table.assign(half=half_widths(table)), "half")
    losses = 100 * ordered(table, "loss").astype(float)
    order = losses.mean(axis=1).sort_values(ascending=False, na_position="last").index
    losses, errors = losses.reindex(order), errors.reindex(order)
    texts = [
        [
            "not reached" if np.isnan(loss) else f"{loss:.2f}" + ("" if np.isnan(error) else f" \u00b1 {error:.2f}")
            for loss, error in zip(*pair, strict=True)
        ]
        for pair in zip(losses.to_numpy(), errors.to_numpy(), strict=True)
    ]
    return losses, texts, "loss of normalised accuracy in %"


def threshold_cells(table: pd.DataFrame) -> tuple[pd.DataFrame, list[list[str]], str]:
    """Return relative sensitivities, the threshold that stands in each cell, and what the colours are."""
    sensitivity, thresholds = ordered(table, "sensitivity").astype(float), ordered(table, "threshold").astype(float)
    beyond = ordered(table, "beyond")
    texts = [
        [
            "" if np.isnan(x) else f"{('< ' if describe(effect).fewer_is_worse else '> ') if more else ''}{x:.3g}"
            for x, more in zip(thresholds.loc[effect], beyond.loc[effect], strict=True)
        ]
        for effect in thresholds.index
    ]
    return sensitivity, texts, "relative sensitivity (1: the most)"


def layer_figure(study: LayerStudy, path: Any = None, *, title: str = "") -> Any:
    """Draw, for each network, A* with noise in one layer alone, and A* as layers are exempted from device noise.

    Whiskers are 95 % intervals over chips.

    Args:
        study: from `layer_study`.
        path: where to save it (PNG or SVG by its ending); None only returns the figure.
        title: above the figure.

    Returns:
        The matplotlib figure.

    Examples:
        >>> len(layer_figure(ranked, "layers.svg").axes)
        2
    """
    networks = list(dict.fromkeys(study.ranking["network"]))
    height = 0.7 + sum(max(1.9, 0.22 * (study.ranking["network"] == name).sum()) for name in networks)
    figure = new_figure(9.0, height)
    pairs = figure.subplots(len(networks), 2, squeeze=False)
    for number, (network, (bars, curve)) in enumerate(zip(networks, pairs, strict=True)):
        ranking = study.ranking[study.ranking["network"] == network].sort_values("rank")
        low = min(0.0, 100 * ranking["normalized"].min())
        colour = COLOURS[number % len(COLOURS)]
        bars.barh(ranking["layer"], 100 * ranking["normalized"], xerr=half_stars(ranking), color=colour, capsize=2)
        bars.invert_yaxis()
        bars.tick_params(axis="y", labelsize="x-small")
        bars.set(xlim=(low, 105), title=str(network))
        exemption = study.exemption[study.exemption["network"] == network].sort_values("exempt")
        x, y = 100 * exemption["share"], 100 * exemption["normalized"]
        curve.errorbar(x, y, yerr=half_stars(exemption), marker="o", ms=4, color=colour, capsize=2)
        level = float(exemption["level"].iloc[0]) if "level" in exemption else 0.99  # of earlier versions
        curve.axhline(100 * level, color="#555555", ls=":", lw=1)
        for share, value, count in zip(x, y, exemption["exempt"], strict=True):
            curve.annotate(f"{count}", (share, value), xytext=(0, 5), textcoords="offset points", fontsize="x-small")
        curve.grid(alpha=0.3)
        curve.margins(y=0.2)
    pairs[-1, 0].set_xlabel(
        f"A* in %, device noise x {study.ranking['factor'].iloc[0]:g} in this layer, none elsewhere"
    )
    pairs[-1, 1].set_xlabel("share of exempt weights in % (at the points: layers)")
    for pair in pairs:
        pair[1].set_ylabel("A* in %")
    figure.suptitle(title or f"Layers and device noise after {study.ranking['at'].iloc[0]}", fontsize="medium")
    return saved(figure, path)


def half_widths(table: pd.DataFrame) -> pd.Series:
    """Return half of the 95 % interval of each row's mean over chips, from its standard error; NaN for one chip."""
    import pandas as pd

    from analognets.metrics import spread_interval

    rows = zip(table["standard_error"].astype(float), table["chips"], strict=True)
    halves = [
        np.nan if error != error else spread_interval(0.0, error * chips**0.5, int(chips)).half_width
        for error, chips in rows
    ]
    return pd.Series(halves, index=table.index, dtype=float)


def half_stars(table: pd.DataFrame) -> Any:
    """Return half of the intervals of A* in percent; 0 where none is known, as in tables of earlier versions."""
    if "normalized_low" not in table:
        return 0.0
    return 50 * (table["normalized_high"] - table["normalized_low"]).astype(float).fillna(0.0)
