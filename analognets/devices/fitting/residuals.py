"""Where each measured reading lies among those that a device predicts for its target and its time."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from keras import ops

from analognets.devices.base import Device
from analognets.devices.fitting.measurements import Measurements
from analognets.units import format_duration

__all__ = ["Residuals", "residuals_of", "simulated"]

COPIES = 60
"""Simulated cells for each measured one."""
MOST_CELLS = 3_000
GROUPS = 4
"""So many groups of times are told apart, at most."""


@dataclasses.dataclass(frozen=True)
class Residuals:
    """Places of readings among the predicted ones: uniform between 0 and 1 if the device is right.

    Args:
        target: in uS, of each cell that was compared.
        time: seconds, (cells, readings); NaN where there is none.
        measured: in uS, the same shape.
        predicted: simulated readings in uS, (copies, cells, readings).
        place: share of the simulated readings that lie below, the same shape as `measured`.
    """

    target: np.ndarray
    time: np.ndarray
    measured: np.ndarray
    predicted: np.ndarray
    place: np.ndarray

    def time_groups(self) -> list[tuple[str, np.ndarray]]:
        """Return at most 4 groups of readings by time, as a title and a mask."""
        return _groups(self.time, GROUPS, lambda low, high: _span(low, high, format_time))

    def level_groups(self, count: int = GROUPS) -> list[tuple[str, np.ndarray]]:
        """Return groups of cells by target, as a title and a mask."""
        return _groups(self.target, count, lambda low, high: _span(low, high, "{:.3g}".format) + " uS")

    def middle(self, chosen: np.ndarray) -> float:
        """Return the share of some readings in the middle half of the predicted ones."""
        place = self.place[chosen & np.isfinite(self.place)]
        return float(((place > 0.25) & (place < 0.75)).mean()) if place.size else 0.5

    def to_dict(self) -> list[dict[str, Any]]:
        """Return shares by group of times: below the predicted median, within the middle half, within 95 %."""
        rows = []
        for title, mask in self.time_groups():
            place = self.place[mask]
            rows.append({
                "time": title,
                "readings": int(place.size),
                "below_median": float((place < 0.5).mean()),
                "in_middle_half": self.middle(mask),
                "in_95_percent": float(((place > 0.025) & (place < 0.975)).mean()),
            })  # fmt: skip
        return rows


def format_time(seconds: float) -> str:
    """Return a time with three digits and a unit."""
    return format_duration(float(f"{seconds:.3g}"))


def _span(low: float, high: float, text: Any) -> str:
    return text(low) if text(low) == text(high) else f"{text(low)} to {text(high)}"


def _groups(values: np.ndarray, count: int, title: Any) -> list[tuple[str, np.ndarray]]:
    known = values[np.isfinite(values)]
    distinct = np.unique(known)
    if len(distinct) <= count:
        return [(title(one, one), values == one) for one in distinct]
    edges = np.unique(np.quantile(known, np.linspace(0.0, 1.0, count + 1)))
    found = []
    for place, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        mask = (values >= low) & ((values < high) | (place == len(edges) - 2))
        found.append((title(values[mask].min(), values[mask].max()), mask))
    return found


def simulated(
    device: Device, target: np.ndarray, time: np.ndarray, *, copies: int, seed: int, warmth: np.ndarray | None = None
) -> np.ndarray:
    """Return readings of simulated cells, (copies, cells, readings).

    Args:
        device: whose readings do not depend on each other but through its state.
        target: in uS, (cells,).
        time: seconds, (cells, readings).
        copies: cells for each target.
        seed: of all draws.
        warmth: factor of the drift exponent of each cell, or None.
    """
    state = device.program(np.broadcast_to(target, (copies, len(target))), seed)
    if warmth is not None:
        state["drift_exponent"] = state["drift_exponent"] * warmth.astype(np.float32)
    readings = []
    for number in range(time.shape[1]):
        when = ops.convert_to_tensor(time[:, number].astype(np.float32))
        draws = device.read_draws(device.shape_of(state), seed + 1 + number)
        readings.append(ops.convert_to_numpy(device.read_with(state, when, draws)))
    return np.stack(readings, axis=-1)


def residuals_of(device: Device, found: Measurements, *, warmth: np.ndarray | None = None, seed: int = 0) -> Residuals:
    """Return the places of the readings of at most 3,000 cells, drawn by chance where there are more.

    Args:
        device: that predicts.
        found: measured cells.
        warmth: factor of the drift exponent of each cell, or None.
        seed: of what is drawn.
    """
    if len(found) > MOST_CELLS:
        chosen = np.zeros(len(found), dtype=bool)
        chosen[np.random.default_rng(seed).choice(len(found), MOST_CELLS, replace=False)] = True
        found, warmth = found.only(chosen), None if warmth is None else warmth[chosen]
    there = np.isfinite(found.conductance)
    time = np.where(there, found.time, float(np.nanmin(found.time)))
    predicted = simulated(device, found.target, time, copies=COPIES, seed=seed, warmth=warmth)
    below = (predicted < found.conductance).mean(0)
    same = (predicted == found.conductance).mean(0)  # many predicted readings may be exactly 0
    place = np.where(there, (below + 0.5 * same) * COPIES / (COPIES + 1) + 0.5 / (COPIES + 1), np.nan)
    return Residuals(found.target, found.time, found.conductance, predicted, place)
