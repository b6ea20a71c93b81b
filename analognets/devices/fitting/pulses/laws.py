"""Maximum likelihood of the laws of one direction of pulses, the law that the curves support, and replicates."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize

from analognets.devices.fitting.pulses.likelihood import Kind, PulseTask
from analognets.devices.fitting.search import CLOSE, SUPPORTED

__all__ = ["Direction", "Fitted", "fit_direction"]

STEP = 1e-3
"""Of differences over logarithms of constants."""
ROUNDS = 3
PIECE = 16
GRID = 64
"""Values of a spread at which its likelihood is taken, where the most likely one is 0."""
LEAST_CELLS = 10
"""Cells from which on a spread between them can be told."""
LOW = {"spread": 1e-5, "share": 1e-3, "read": 1e-5, "step_spread": 1e-3, "limit_spread": 1e-3, "loss": 1e-6}
HIGH = {"spread": 1.0, "share": 1e2, "read": 1.0, "step_spread": 2.0, "limit_spread": 2.0, "loss": 0.95}
"""Bounds of constants; of those in uS as shares of the range that the curves cover."""
AT_EDGE = 1e-3
FRESH = 0.5
"""Share of what a constant is at first that it starts from again, where a simpler law left less of it."""


@dataclasses.dataclass(frozen=True)
class Fitted:
    """One law with its constants.

    Args:
        kind: which constants it has.
        theta: their logarithms.
        log: logarithm of the likelihood.
    """

    kind: Kind
    theta: np.ndarray
    log: float

    @property
    def aic(self) -> float:
        """2 constants - 2 ln likelihood."""
        return 2.0 * len(self.theta) - 2.0 * self.log

    def values(self) -> dict[str, float]:
        """Return all constants by the names of the likelihood."""
        return {name: float(value) for name, value in self.kind.values(self.theta).items()}


@dataclasses.dataclass(frozen=True)
class Direction:
    """What was found of one direction.

    Args:
        chosen: the law of lowest AIC; of those within 2 of it the one with the fewest constants.
        others: other laws with their AIC above that of the chosen one.
        task: what was fitted.
    """

    chosen: Fitted
    others: tuple[tuple[Fitted, float], ...]
    task: PulseTask

    def draws(self, weights: np.ndarray, random: np.random.Generator) -> dict[str, np.ndarray]:
        """Return constants of replicates: one Newton step for the resampled units, from the law of each replicate.

        The law is drawn in proportion to its Akaike weight. A spread of which the most likely value is 0 is drawn in
        proportion to its likelihood.

        Args:
            weights: of units in each replicate, (replicates, units); see `units`.
            random: what is drawn.
        """
        numbers = random.random(len(weights))
        laws = [self.chosen, *(one for one, _ in self.others)]
        shares = np.exp(-0.5 * np.array([0.0, *(excess for _, excess in self.others)]))
        places = np.searchsorted(np.cumsum(shares / shares.sum()), numbers, side="right").clip(max=len(laws) - 1)
        found: dict[str, np.ndarray] = {}
        for place, law in enumerate(laws):
            mine = np.flatnonzero(places == place)
            if not mine.size:
                continue
            values = law.kind.values(_moved(self.task, law, weights[mine], random))
            for name, value in values.items():
                found.setdefault(name, np.zeros(len(numbers)))[mine] = value
        return found

    @property
    def units(self) -> int:
        """How many independent units there are: cells, or the readings of a single curve."""
        return len(_units(self.task, self.chosen.kind, self.chosen.theta[None])[0])


def fit_direction(task: PulseTask, *, fixed_read: float | None = None) -> Direction:
    """Return the laws of one direction: linear or soft bound, spread constant or a share of the step, spreads of cells.

    Args:
        task: curves.
        fixed_read: read noise in uS that is known from elsewhere, or None: it is fitted.
    """
    fixed = () if fixed_read is None else (("read", fixed_read),)
    read = () if fixed else ("read",)
    own = ("step_spread",) if len(task.cells) >= LEAST_CELLS else ()
    start = _start(task)
    found: list[Fitted] = []

    def tried(names: Sequence[str], near: Fitted | None = None) -> Fitted:
        known = {} if near is None else near.values()
        # A spread that a poorer law drove to 0 would stay there: its likelihood is flat in the logarithm.
        first = {name: max(known.get(name, 0.0), FRESH * value) for name, value in start.items()}
        task.modes[:] = 0.0  # those of another law may be far from this one's
        one = _maximised(task, Kind(tuple(names), fixed), first)
        found.append(one)
        return one

    linear = tried(("step", "spread", *read, *own))
    bound = tried(("step", "loss", "spread", *read, *own), linear)
    best = bound if bound.aic < linear.aic else linear
    if own and "loss" in best.kind.names:
        wider = tried((*best.kind.names, "limit_spread"), best)
        best = min(best, wider, key=lambda one: one.aic)
    tried([{"spread": "share"}.get(name, name) for name in best.kind.names], best)
    lowest = min(one.aic for one in found)
    near = [one for one in found if one.aic <= lowest + SUPPORTED]
    chosen = min(near, key=lambda one: (len(one.theta), one.aic))
    log = task.log(chosen.kind, chosen.theta[None], keep=True)  # the modes are those of the chosen law
    chosen = dataclasses.replace(chosen, log=float(log.sum()))
    others = [(one, one.aic - chosen.aic) for one in found if one.kind != chosen.kind]
    return Direction(chosen, tuple((one, excess) for one, excess in others if excess < CLOSE), task)


def _start(task: PulseTask) -> dict[str, float]:
    """Return constants to start from: a line through steps over the way, and what their neighbours share."""
    way, step = task.steps()
    low = way <= np.quantile(way, 0.5)
    slope = float(np.polyfit(way, step, 1)[0]) if np.ptp(way) > 0 else 0.0
    spread = float(step.std())
    first = max(float(step[low].mean()), float(step.mean()), 0.02 * spread, 1e-9)
    return {
        "step": first, "loss": float(np.clip(-slope, 1e-4, 0.5)), "spread": max(0.8 * spread, 1e-9),
        "share": float(np.clip(0.8 * spread / first, 1e-3, 50.0)), "read": max(0.3 * spread, 1e-9),
        "step_spread": 0.1, "limit_spread": 0.1,
    }  # fmt: skip


def _bounds(task: PulseTask, kind: Kind) -> np.ndarray:
    span = float(np.ptp(task.way[task.there])) or 1.0
    rows = []
    for name in kind.names:
        low, high = LOW.get(name, 1e-6), HIGH.get(name, 1.0)
        scale = span if name in ("step", "spread", "read") else 1.0
        rows.append((np.log(low * scale), np.log(high * scale)))
    return np.array(rows)


def _maximised(task: PulseTask, kind: Kind, first: dict[str, float]) -> Fitted:
    """Return the most likely constants (L-BFGS-B over their logarithms)."""
    bounds = _bounds(task, kind)
    theta = np.clip(np.log([first[name] for name in kind.names]), *bounds.T)
    count = int(task.there.sum())

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        logs = task.log(kind, _stencil(x)).sum(-1)
        if not np.isfinite(logs).all():
            return 1e10, np.zeros(len(x))
        up, down = logs[1 : 1 + len(x)], logs[1 + len(x) :]
        return -float(logs[0]) / count, -(up - down) / (2.0 * STEP * count)

    limits: Any = bounds
    options: Any = {"maxiter": 60, "ftol": 1e-10, "gtol": 1e-6}
    if len(task.cells) < LEAST_CELLS:  # a short curve may have two tops: all noise in steps, or all in readings
        other = theta.copy()
        for name, factor in (("spread", 0.25), ("share", 0.25), ("read", 2.5)):
            if name in kind.names:
                other[kind.names.index(name)] += np.log(factor)
        runs = [minimize(loss, np.clip(one, *bounds.T), jac=True, method="L-BFGS-B", bounds=limits, options=options)
                for one in (theta, other)]  # fmt: skip
        theta = np.asarray(min(runs, key=lambda run: run.fun).x)
    last = np.inf
    for _ in range(ROUNDS):
        done = minimize(loss, theta, jac=True, method="L-BFGS-B", bounds=limits, options=options)
        theta = np.asarray(done.x)
        now = -float(task.log(kind, theta[None], keep=True).sum())
        if abs(last - now) < 1e-2:
            break
        last = now
    return Fitted(kind, theta, -now)


def _stencil(theta: np.ndarray) -> np.ndarray:
    """Return theta, and theta with each constant a step up, and each a step down."""
    moves = STEP * np.eye(len(theta))
    return np.concatenate([theta[None], theta + moves, theta - moves])


def _units(task: PulseTask, kind: Kind, theta: np.ndarray) -> np.ndarray:
    """Return the logarithms that independent units add, (rows, units): of cells, or of a single cell's readings."""
    if len(task.cells) > 1:
        return task.log(kind, theta)
    return task.readings(kind.values(theta))[..., task.there]


def _moved(task: PulseTask, law: Fitted, weights: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return logarithms of constants after one Newton step for each row of weights."""
    kind, theta = law.kind, law.theta
    bounds = _bounds(task, kind)
    inner = (theta > bounds[:, 0] + AT_EDGE) & (theta < bounds[:, 1] - AT_EDGE)
    size = len(theta)
    rows = _stencil(theta)
    logs = _units(task, kind, rows)
    score = (logs[1 : 1 + size] - logs[1 + size :]) / (2.0 * STEP)
    information = _information(task, kind, theta)[np.ix_(inner, inner)]
    values, vectors = np.linalg.eigh(0.5 * (information + information.T))
    kept = values > 1e-6 * max(values.max(initial=0.0), 1e-300)
    inverse = (vectors * np.where(kept, 1.0 / np.where(kept, values, 1.0), 0.0)) @ vectors.T
    moved = np.tile(theta, (len(weights), 1))
    moved[:, inner] += np.clip(weights @ score[inner].T @ inverse, -5.0, 5.0)
    for place in np.flatnonzero(theta <= bounds[:, 0] + AT_EDGE):
        grid = np.tile(theta, (GRID, 1))
        grid[:, place] = np.linspace(bounds[place, 0], bounds[place, 1], GRID)
        log = np.concatenate([task.log(kind, grid[at : at + PIECE]).sum(-1) for at in range(0, GRID, PIECE)])
        mass = np.cumsum(np.exp(np.where(np.isfinite(log), log, -np.inf) - np.nanmax(log) + grid[:, place]))
        moved[:, place] = np.interp(random.random(len(weights)), mass / mass[-1], grid[:, place])
    return np.clip(moved, *bounds.T)


def _information(task: PulseTask, kind: Kind, theta: np.ndarray) -> np.ndarray:
    """Return minus the second derivatives of the total."""
    size, step = len(theta), 20.0 * STEP
    pairs = [(one, two) for one in range(size) for two in range(one, size)]
    rows = [theta]
    for one, two in pairs:
        for first in (step, -step):
            for second in (step, -step):
                moved = theta.copy()
                moved[one] += first
                moved[two] += second
                rows.append(moved)
    logs = np.concatenate(
        [task.log(kind, np.array(rows[at : at + PIECE])).sum(-1) for at in range(0, len(rows), PIECE)]
    )
    found = np.zeros((size, size))
    for number, (one, two) in enumerate(pairs):
        a, b, c, d = logs[1 + 4 * number : 5 + 4 * number]
        bend = (a - b - c + d) / (4.0 * step**2)
        found[one, two] = found[two, one] = -bend
    return found
