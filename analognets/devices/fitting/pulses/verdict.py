"""What pulse curves tell of a device and what they can't, one sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from analognets.devices.fitting.pulses.curves import DOWN, UP
from analognets.devices.fitting.search import SUPPORTED

if TYPE_CHECKING:
    from analognets.devices.fitting.pulses.fit import PulsedFit

__all__ = ["pulse_groups", "pulse_verdict"]

FEW = 30
"""Cells below which a spread between devices is known to 13 % at best."""
OFF = 0.05
NOTHING = 1e-3
"""A spread below this share of the step counts as 0."""
LONG = 3.0
"""An exponential law is told well from curves that go on for so many times its constant."""


def pulse_groups(fit: PulsedFit, direction: str) -> list[tuple[str, np.ndarray]]:
    """Return at most four groups of the readings of a direction by pulse number, as a title and a mask."""
    rows = fit.down == (direction == DOWN)
    numbers = fit.residuals.time
    known = np.unique(numbers[rows][np.isfinite(numbers[rows])])
    groups = []
    for part in np.array_split(known, min(4, len(known))):
        mask = rows[:, None] & (numbers >= part[0]) & (numbers <= part[-1])
        title = f"{part[0]:g}" if len(part) == 1 else f"{part[0]:g} to {part[-1]:g}"
        groups.append((f"{direction}, pulses {title}", mask))
    return groups


def pulse_verdict(fit: PulsedFit) -> tuple[str, ...]:
    """Return the sentences: what can't be told at all, what is uncertain, and last whether the laws fit."""
    return (
        *_not_told(fit),
        *_laws(fit),
        *_shape(fit),
        *_constants(fit),
        *_scatter(fit),
        *fit.measurements.notes,
        *_fit(fit),
    )


def _not_told(fit: PulsedFit) -> Iterator[str]:
    curves = fit.measurements
    if not curves.down.any():
        yield (
            "Depression can't be told: the table holds potentiation only; the device is lowered by RESET, as learning "
            "with pairs of devices does it."
        )
    if len(curves) == 1:
        yield (
            "How devices differ can't be told from one curve: all have its constants. If it is the mean of several "
            "cells, the spread from pulse to pulse is that of the mean."
        )
    elif len(curves) < FEW:
        yield f"There are only {len(curves)} cells: spreads between devices are rough."
    yield (
        "Drift can't be told from pulse curves: it is left out. The error of a verified write is not measured either: "
        "a third of the first step is assumed."
    )
    if curves.down.any():
        yield "Whether a device that steps far upwards also does downwards is not asked: both are drawn independently."


def _laws(fit: PulsedFit) -> Iterator[str]:
    for direction, law, excess in fit.alternatives:
        if excess < SUPPORTED:
            yield f"{direction.capitalize()}: the data can't tell '{fit.laws[direction]}' from '{law}'."


def _shape(fit: PulsedFit) -> Iterator[str]:
    for direction in (UP, DOWN):
        found: tuple[float, float] | None = getattr(fit.device, f"{direction}_fit")
        if found is None:
            continue
        pulses = fit.measurements.pulses(direction)
        if not found[1]:
            yield f"{direction.capitalize()} is linear over {pulses} pulses: {found[0]:.3g} uS each; no end was seen."
            continue
        decay = -1.0 / np.log1p(-min(found[1], 0.999))
        yield (
            f"{direction.capitalize()} has a soft bound at {fit.device.limit(direction):.3g} uS: steps fall by e in "
            f"{decay:.3g} pulses (NeuroSim's A: {decay / pulses:.3g} of {pulses} pulses)."
        )
        if pulses < LONG * decay:
            yield f"The bound of {direction} lies beyond the {pulses} pulses that were measured: it is extrapolated."


def _value_and_ends(fit: PulsedFit, name: str) -> tuple[float, float, float]:
    """Return a constant and the ends of its interval."""
    row: Any = fit.constants.loc[name]
    return float(row["value"]), float(row["low"]), float(row["high"])


def _constants(fit: PulsedFit) -> Iterator[str]:
    for name in ("potentiation_device_spreads[0]", "depression_device_spreads[0]"):
        if name not in fit.told:
            continue
        value, low, high = _value_and_ends(fit, name)
        if high > 2.0 * max(value, 1e-9):
            yield f"The spread {name} may be anything from {low:.2g} to {high:.2g}."


def _scatter(fit: PulsedFit) -> Iterator[str]:
    for direction in (UP, DOWN):
        name = f"{direction}_spread_fit[0]"
        if name not in fit.told:
            continue
        value, _, high = _value_and_ends(fit, name)
        if value <= NOTHING * getattr(fit.device, f"{direction}_fit")[0]:
            yield (
                f"{direction.capitalize()}: the spread from pulse to pulse can't be told from read noise; it is at "
                f"most {high:.2g} uS."
            )


def _fit(fit: PulsedFit) -> Iterator[str]:
    if len(fit.measurements) == 1:
        rows = fit.residuals.place[np.isfinite(fit.residuals.place)]
        inside = float(((rows > 0.025) & (rows < 0.975)).mean())
        yield (
            f"{100 * inside:.0f} % of the readings of the one curve lie in the 95 % band of the device: "
            f"{'the laws describe it' if inside > 0.8 else 'the laws do not describe it, see the quantile plots'}."
        )
        return
    wrong = []
    for direction in (UP, DOWN):
        if not (fit.down == (direction == DOWN)).any():
            continue
        for title, mask in pulse_groups(fit, direction):
            share, cells = fit.residuals.middle(mask), int(mask.any(1).sum())
            # Readings of a curve depend on each other: their count is that of the curves.
            if abs(share - 0.5) > max(OFF, 3.0 * (0.25 / max(cells, 1)) ** 0.5):
                wrong.append(f"{100 * share:.0f} % ({title})")
    if wrong:
        yield (
            f"The laws do not describe the data: of readings in the middle half of what they predict there are "
            f"{', '.join(wrong)}, not 50 %. See the quantile plots."
        )
    else:
        yield "The laws describe the curves: the middle half of what they predict holds half of the readings."
