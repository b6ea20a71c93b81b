"""What the data tell of a device and what they can't, one sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from analognets.devices.fitting.bootstrap import Draws
from analognets.devices.fitting.laws import PARTS
from analognets.devices.fitting.measurements import Measurements
from analognets.devices.fitting.residuals import Residuals, format_time
from analognets.devices.fitting.search import SUPPORTED, FitTask
from analognets.devices.fitting.stuck import Stuck
from analognets.devices.fitting.temperature import NAME

__all__ = ["verdict_of"]

YEAR = 31_536_000.0
FEW = 200
"""Cells below which spreads are known to 5 % at best."""
OFF = 0.05


def verdict_of(
    found: Measurements,
    task: FitTask,
    laws: Mapping[str, str],
    alternatives: Sequence[tuple[str, str, float]],
    draws: Draws,
    told: frozenset[str],
    stuck: Stuck,
    residuals: Residuals,
    t_0: float,
) -> tuple[str, ...]:
    """Return the sentences: first what can't be told at all, then what is uncertain, then whether the laws fit."""
    return (
        *_not_told(found, task, t_0),
        *_temperatures(found, draws),
        *_levels(found, task, laws),
        *_outside(found, task),
        *_laws(laws, alternatives),
        *_constants(draws, told),
        *_stuck(stuck),
        *_fit(residuals),
        *found.notes,
    )


def _not_told(found: Measurements, task: FitTask, t_0: float) -> Iterator[str]:
    if not task.drifts:
        last = format_time(float(np.nanmax(found.time)))
        yield (
            f"Drift can't be told: the cells were read from {format_time(t_0)} to {last} after programming; it is left "
            "out of the device. Read the same cells again at least an hour later."
        )
    if not task.noisy:
        need = "three" if task.drifts else "two"
        yield (
            f"Read noise can't be told from programming noise: that takes at least {need} readings a cell; it is left "
            "out of the device, and what there is of it counts as programming noise."
        )
    if len(found) < FEW:
        yield f"There are only {len(found)} cells; a few hundred tell spreads to 5 %."


def _temperatures(found: Measurements, draws: Draws) -> Iterator[str]:
    if found.temperature is not None and NAME in draws.names:
        low, high = (float(end[draws.names.index(NAME)]) for end in draws.interval())
        yield (
            f"Drift exponents depend on temperature with an activation energy of {low:.2g} to {high:.2g} eV, measured "
            f"from {found.temperature.min():g} to {found.temperature.max():g} K."
        )
    elif found.temperature is None:
        yield "The table holds no temperatures: the device is that of the temperature of the measurement."
    elif len(np.unique(found.temperature)) == 1:
        yield f"All cells were read at {found.temperature[0]:g} K: how drift depends on temperature can't be told."
    else:
        yield (
            "How drift depends on temperature can't be told: that takes at least 20 cells at each of two temperatures "
            "that differ by 5 K; the laws are their mean."
        )


def _levels(found: Measurements, task: FitTask, laws: Mapping[str, str]) -> Iterator[str]:
    levels = len(np.unique(np.round(task.scale.g, 3)))
    if levels < 3:
        yield (
            f"How anything depends on conductance can't be told from {levels} target{'s' if levels > 1 else ''}: every "
            "law is a constant. Programme cells to at least 5 targets from 0 to g_max."
        )
    elif levels < 7:
        yield f"The targets lie at only {levels} conductances: between them the laws are interpolated."


def _outside(found: Measurements, task: FitTask) -> Iterator[str]:
    low, high = float(task.scale.g.min()), float(task.scale.g.max())
    if low > 0.1:
        yield f"No target lies below {low:.2g} g_max: there the laws are held or continued, not measured."
    if high < 0.95:
        yield f"No target lies above {high:.2g} g_max: there the laws are continued, not measured."
    last = float(np.nanmax(found.time))
    if task.drifts and last < YEAR:
        yield f"The last reading is {format_time(last)} after programming: what the device does later is extrapolated."
    if task.noisy:
        yield "Read noise is taken as independent from reading to reading; the width of the read pulse is as given."


def _laws(laws: Mapping[str, str], alternatives: Sequence[tuple[str, str, float]]) -> Iterator[str]:
    for part in laws:
        near = [law for name, law, excess in alternatives if name == part and excess < SUPPORTED]
        if near:
            yield f"{_title(part)}: the data can't tell '{laws[part]}' from '{near[0]}'."


def _constants(draws: Draws, told: frozenset[str]) -> Iterator[str]:
    low, high = draws.interval()
    for name in draws.loose:
        yield f"The constant {name} can't be told from the data."
    unsure = [
        name
        for name, one, two in zip(draws.names, low, high, strict=True)
        if name in told and one < 0.0 < two and not name.startswith("stuck")
    ]
    if unsure:
        yield f"The 95 % interval of {', '.join(unsure)} includes 0."


def _stuck(stuck: Stuck) -> Iterator[str]:
    for side, word in enumerate(("low", "high")):
        low, high = (100.0 * end for end in stuck.interval(side))
        if stuck.counts[side]:
            yield (
                f"{stuck.counts[side]} of {stuck.seen[side]} cells are stuck at {stuck.conductances[side]:.3g} uS "
                f"({low:.2g} to {high:.2g} %)."
            )
        elif not stuck.seen[side]:
            yield f"Whether cells are stuck {word} can't be told: no target is far enough from there."
        else:
            yield f"No cell is stuck {word}; up to {high:.2g} % of cells could be."
    if stuck.others:
        yield (
            f"{stuck.others} cells read more than 6 standard deviations from their like and are stuck at neither end; "
            "they were left out, and the device has none like them."
        )


def _fit(residuals: Residuals) -> Iterator[str]:
    wrong = []
    for title, mask in residuals.time_groups():
        share, count = residuals.middle(mask), int(np.isfinite(residuals.place[mask]).sum())
        if abs(share - 0.5) > max(OFF, 3.0 * (0.25 / max(count, 1)) ** 0.5):
            wrong.append(f"{100 * share:.0f} % at {title}")
    if wrong:
        yield (
            f"The laws do not describe the data: of readings in the middle half of what they predict there are "
            f"{', '.join(wrong)}, not 50 %. See the quantile plots, or take the tabulated device."
        )
    else:
        yield "The laws describe the readings: the middle half of what they predict holds half of them at every time."


def _title(part: str) -> str:
    title = PARTS[part].title
    return title[0].upper() + title[1:]
