"""How drift depends on temperature: the activation energy of the exponent, where cells were read at several."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.optimize import minimize_scalar

from analognets.devices.fitted import BOLTZMANN
from analognets.devices.fitting.measurements import MIN_CELLS
from analognets.devices.fitting.search import FitTask, Model

__all__ = ["NAME", "Warm", "energy_steps", "fit_energy", "first_energy", "warm_of"]

NAME = "activation_energy"
RANGE = (-1.0, 2.0)
"""In eV."""
STEP = 1e-3
"""In eV, of difference quotients."""
APART = 5.0
"""Kelvin between temperatures of which one tells something else than the other."""


@dataclasses.dataclass(frozen=True)
class Warm:
    """Temperatures of the cells.

    Args:
        kelvin: of each cell.
        reference: their median, at which the laws hold.
    """

    kelvin: np.ndarray
    reference: float

    def at(self, task: FitTask, energy: float) -> FitTask:
        """Return a task of plain times with the exponents of another energy: ln D times the Arrhenius factor."""
        cells = dataclasses.replace(task.cells, log_time=task.cells.log_time * self.factor(energy)[:, None])
        return dataclasses.replace(task, cells=cells)

    def factor(self, energy: float) -> np.ndarray:
        """Return the Arrhenius factor of the exponent of each cell."""
        return np.exp(-energy / BOLTZMANN * (1.0 / self.kelvin - 1.0 / self.reference))


def warm_of(kelvin: np.ndarray | None, task: FitTask) -> Warm | None:
    """Return the temperatures if there are at least two that differ by 5 K, with 20 cells each, and drift."""
    if kelvin is None or not task.drifts:
        return None
    reference = float(np.median(kelvin))
    cold, hot = kelvin <= kelvin.min() + 0.5 * APART, kelvin >= kelvin.max() - 0.5 * APART
    if np.ptp(kelvin) < APART or min(cold.sum(), hot.sum()) < MIN_CELLS:
        return None
    return Warm(kelvin, reference)


def first_energy(task: FitTask, warm: Warm) -> float:
    """Return an energy to start from: a line through ln of the exponents of single cells over 1 / T."""
    cells = task.cells
    weight = cells.positive / cells.variance
    total = np.maximum(weight.sum(1), 1e-12)
    time = cells.log_time - ((weight * cells.log_time).sum(1) / total)[:, None]
    bottom = (weight * time**2).sum(1)
    exponent = -(weight * time * cells.log_y).sum(1) / np.maximum(bottom, 1e-12)
    seen = (exponent > 1e-3) & (bottom > 1e-6) & (task.scale.g > 0.1)
    if seen.sum() < MIN_CELLS or np.ptp(warm.kelvin[seen]) < APART:
        return 0.0
    slope = np.polyfit(1.0 / warm.kelvin[seen], np.log(exponent[seen]), 1)[0]
    return float(np.clip(-slope * BOLTZMANN, *RANGE))


def fit_energy(task: FitTask, warm: Warm, model: Model, energy: float) -> float:
    """Return the most likely energy, the laws of drift fitted anew at each that is tried (scipy's bounded Brent)."""

    def loss(one: float) -> float:
        _, log = warm.at(task, one).maximise(model, ["drift_mean", "drift_spread"], steps=15, precision=1e-8)
        return -log

    low, high = max(RANGE[0], energy - 0.2), min(RANGE[1], energy + 0.2)
    done = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-3, "maxiter": 15})
    return float(done.x)


def energy_steps(task: FitTask, warm: Warm, model: Model, energy: float, weights: np.ndarray) -> np.ndarray:
    """Return how the energy differs in replicates of the cells: one Newton step together with the mean exponent.

    Args:
        task: of plain times.
        warm: temperatures.
        model: fitted laws.
        energy: fitted.
        weights: of the cells in each replicate, (replicates, cells).
    """
    low, here, high = (warm.at(task, energy + step).posterior(model, curvature=not step) for step in (-STEP, 0.0, STEP))
    slopes = task.slopes(model, "drift_mean")
    score = np.concatenate([slopes * here.score[:, 2, None], ((high.log - low.log) / (2 * STEP))[:, None]], axis=1)
    cross = -(high.score[:, 2] - low.score[:, 2]) / (2 * STEP)
    last = slopes.shape[1]
    matrix = np.zeros((len(score), last + 1, last + 1))
    matrix[:, :last, :last] = slopes[:, :, None] * slopes[:, None, :] * here.curvature[:, 2, 2, None, None]
    matrix[:, :last, last] = matrix[:, last, :last] = slopes * cross[:, None]
    matrix[:, last, last] = -(high.log - 2.0 * here.log + low.log) / STEP**2
    totals, scores = np.tensordot(weights, matrix, axes=1), weights @ score
    steps = np.array(
        [np.linalg.lstsq(total, one, rcond=1e-9)[0][-1] for total, one in zip(totals, scores, strict=True)]
    )
    return np.clip(energy + steps, *RANGE)
