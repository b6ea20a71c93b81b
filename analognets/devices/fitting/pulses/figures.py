"""Pictures of a fit of pulse curves: curves and mean steps with the fitted laws, and quantiles by pulse number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from analognets.core.figures import COLOURS, new_figure, saved
from analognets.devices.fitting.pulses.curves import DOWN, UP
from analognets.devices.fitting.pulses.residuals import predicted_curves
from analognets.devices.fitting.pulses.verdict import pulse_groups

if TYPE_CHECKING:
    from analognets.devices.fitting.pulses.fit import PulsedFit

__all__ = ["curves_figure", "steps_quantiles_figure"]

SHOWN = 40
"""Curves that are drawn."""
COPIES = 400
"""Simulated devices from which a band is drawn, at least."""
POINTS = 50
GROUPS = 12
REPLICATES = 64


def _directions(fit: PulsedFit) -> list[str]:
    return [one for one in (UP, DOWN) if getattr(fit.device, f"{one}_fit") is not None]


def curves_figure(fit: PulsedFit, path: Any = None) -> Any:
    """Draw measured curves in the 95 % band of the fitted device, and mean steps over conductance with their law.

    Args:
        fit: from `fit_pulses`.
        path: of the picture, or None.
    """
    directions = _directions(fit)
    figure = new_figure(4.6 * len(directions) + 0.4, 5.6)
    axes = figure.subplots(2, len(directions), squeeze=False)
    for column, direction in enumerate(directions):
        _draw_curves(axes[0, column], fit, direction)
        _draw_steps(axes[1, column], fit, direction)
    return saved(figure, path)


def _draw_curves(axis: Any, fit: PulsedFit, direction: str) -> None:
    curves = fit.measurements.of(direction)
    for number, values in zip(curves.number[:SHOWN], curves.conductance[:SHOWN], strict=True):
        axis.plot(number, values, color=COLOURS[1], lw=0.6, alpha=0.4)
    begin = int(np.nanmin(curves.number))
    numbers = np.unique(np.linspace(0, fit.measurements.pulses(direction), POINTS).round().astype(int))
    first = curves.conductance[:SHOWN, 0]
    copies = -(-COPIES // len(first))
    band = predicted_curves(fit.device, first, direction == DOWN, numbers, copies=copies, seed=1)
    low, middle, high = np.quantile(band, [0.025, 0.5, 0.975], axis=(0, 1))
    axis.fill_between(numbers + begin, low, high, color=COLOURS[5], alpha=0.4, lw=0)
    axis.plot(numbers + begin, middle, color=COLOURS[0])
    axis.set(title=direction, xlabel="pulses", ylabel="conductance (uS)")


def _draw_steps(axis: Any, fit: PulsedFit, direction: str) -> None:
    curves, down = fit.measurements.of(direction), direction == DOWN
    sign, start = (-1.0, fit.device.g_max) if down else (1.0, fit.device.g_min)
    gap = np.diff(curves.number, axis=1)
    step = np.diff(curves.conductance, axis=1) / gap
    g, step = curves.conductance[:, :-1][np.isfinite(step)], step[np.isfinite(step)]
    line = np.linspace(g.min(), g.max(), POINTS)
    way = sign * (line - start)
    places = [fit.draws.names.index(f"{direction}_fit[{one}]") for one in (0, 1)]
    laws = fit.draws.values[:REPLICATES, places]
    low, high = np.quantile(sign * (laws[:, :1] - laws[:, 1:] * way), [0.025, 0.975], axis=0)
    axis.fill_between(line, low, high, color=COLOURS[5], alpha=0.4, lw=0)
    c, r = getattr(fit.device, f"{direction}_fit")
    axis.plot(line, sign * (c - r * way), color=COLOURS[0])
    for group in np.array_split(np.argsort(g), min(GROUPS, len(g) // 5 + 1)):
        axis.errorbar(g[group].mean(), step[group].mean(), step[group].std() / len(group) ** 0.5, fmt="o", ms=3,
                      color=COLOURS[1])  # fmt: skip
    axis.set(xlabel="conductance before (uS)", ylabel="mean step (uS)")


def steps_quantiles_figure(fit: PulsedFit, path: Any = None) -> Any:
    """Draw measured against predicted quantiles of the conductance, one panel for each group of pulse numbers.

    Args:
        fit: from `fit_pulses`.
        path: of the picture, or None.
    """
    directions = _directions(fit)
    groups = [pulse_groups(fit, one) for one in directions]
    columns = max(map(len, groups))
    figure = new_figure(2.6 * columns + 0.6, 2.5 * len(directions) + 0.4)
    axes = figure.subplots(len(directions), columns, squeeze=False)
    shares = np.linspace(0.01, 0.99, 99)
    for row, parts in enumerate(groups):
        for axis, (title, mask) in zip(axes[row], parts, strict=False):
            one = np.quantile(fit.residuals.predicted[:, mask], shares)
            two = np.quantile(fit.residuals.measured[mask], shares)
            axis.plot(one, two, ".", color=COLOURS[0], ms=3)
            ends = [min(one.min(), two.min()), max(one.max(), two.max())]
            axis.plot(ends, ends, color=COLOURS[7], lw=0.7)
            axis.set_title(title, fontsize=8)
            axis.tick_params(labelsize=7)
    figure.supxlabel("predicted conductance (uS)", fontsize=9)
    figure.supylabel("measured (uS)", fontsize=9)
    return saved(figure, path)
