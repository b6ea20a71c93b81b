"""Maximum likelihood of the laws of a device, and the simplest law of each part that the readings support."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize

from analognets.devices.fitting.bends import FEWEST, bends
from analognets.devices.fitting.laws import PARTS, Law, Scale, laws_of
from analognets.devices.fitting.likelihood import FINE_NODES, NODES, Cells, Likelihood, posterior

__all__ = ["SUPPORTED", "Alternative", "Model", "Solved", "FitTask", "parabolas", "search", "start_of"]

ORDER = tuple(PARTS)
SWEEPS = 2
SUPPORTED = 2.0
"""Laws whose AIC lies so little above the lowest are supported by the data as well (Burnham and Anderson 2002)."""
CLOSE = 6.0
"""Laws whose AIC is so much above the lowest are not counted as possible."""
BENDS = 12
"""Places along ln g at which a law may bend where its search starts."""
NO_READ_NOISE = 1e-4
"""Q where single readings can't tell read noise from programming noise."""


@dataclasses.dataclass(frozen=True)
class Solved:
    """A law with its constants."""

    law: Law
    constants: np.ndarray


Model = Mapping[str, Solved]
"""A law for each part; parts without one are switched off."""


@dataclasses.dataclass(frozen=True)
class Alternative:
    """Another law of one part, as likely as its AIC says.

    Args:
        part: whose law differs.
        solved: the other law, fitted with all other parts as they are.
        excess: its AIC above that of the chosen law.
    """

    part: str
    solved: Solved
    excess: float


@dataclasses.dataclass(frozen=True)
class FitTask:
    """What is fitted.

    Args:
        cells: readings.
        scale: their conductances.
        drifts: whether drift is fitted.
        noisy: whether read noise is fitted.
        nodes: of the quadrature over what is hidden of a cell.
    """

    cells: Cells
    scale: Scale
    drifts: bool
    noisy: bool
    nodes: int = NODES

    def fine(self) -> FitTask:
        """Return the task with the quadrature for what is reported."""
        return dataclasses.replace(self, nodes=FINE_NODES)

    @property
    def parts(self) -> list[str]:
        """The parts that are fitted."""
        off = (() if self.drifts else ("drift_mean", "drift_spread")) + (() if self.noisy else ("read_noise",))
        return [part for part in ORDER if part not in off]

    def values(self, model: Model) -> np.ndarray:
        """Return the five values of each cell, shape (5, cells), not below their floors."""
        found = np.empty((len(ORDER), len(self.cells)))
        for row, part in enumerate(ORDER):
            floor = self._floor(part)
            if part in model:
                values = model[part].law.values(model[part].constants, self.scale)
                found[row] = values if floor is None else np.maximum(values, floor)
            else:
                found[row] = {"read_noise": NO_READ_NOISE, "drift_spread": 1.0}.get(part, 0.0)
        return found

    def slopes(self, model: Model, part: str) -> np.ndarray:
        """Return the derivatives of a part's values by its constants, shape (cells, constants)."""
        solved, floor = model[part], self._floor(part)
        slopes = solved.law.slopes(solved.constants, self.scale)
        if floor is not None:
            slopes = slopes * (solved.law.values(solved.constants, self.scale) > floor)[:, None]
        return slopes

    def _floor(self, part: str) -> float | None:
        floor = PARTS[part].floor
        return None if floor is None else floor * (self.scale.g_max if part == "programming_spread" else 1.0)

    def posterior(self, model: Model, *, curvature: bool = False) -> Likelihood:
        """Return what the readings say at these laws."""
        values = self.values(model)
        return posterior(self.cells, values, drifts=self.drifts, curvature=curvature, nodes=self.nodes)

    def aic(self, model: Model) -> float:
        """Return 2 constants - 2 ln likelihood."""
        return 2.0 * sum(solved.law.free for solved in model.values()) - 2.0 * float(self.posterior(model).log.sum())

    def maximise(
        self, model: Model, parts: Sequence[str], *, steps: int, precision: float = 1e-10
    ) -> tuple[dict[str, Solved], float]:
        """Return the model with the most likely constants of some parts, and ln of its likelihood (L-BFGS-B)."""
        chosen = [part for part in parts if model[part].law.free]
        if not chosen:
            return dict(model), float(self.posterior(model).log.sum())
        units = np.concatenate([model[part].law.units for part in chosen])
        bounds = np.array([bound for part in chosen for bound in model[part].law.bounds]) / units[:, None]
        ends = np.cumsum([model[part].law.free for part in chosen])[:-1]
        count = len(self.cells)

        def with_constants(x: np.ndarray) -> dict[str, Solved]:
            pieces = np.split(x * units, ends)
            return {**model, **{p: Solved(model[p].law, c) for p, c in zip(chosen, pieces, strict=True)}}

        def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
            now = with_constants(x)
            found = self.posterior(now)
            slope = [self.slopes(now, part).T @ found.score[:, ORDER.index(part)] for part in chosen]
            total = float(found.log.sum())
            if not np.isfinite(total):
                return 1e10, np.zeros(len(x))
            return -total / count, -np.concatenate(slope) * units / count

        start = np.clip(np.concatenate([model[part].constants for part in chosen]) / units, *bounds.T)
        limits: Any = bounds
        options: Any = {"maxiter": steps, "ftol": precision, "gtol": 1e-6}
        done = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits, options=options)
        return with_constants(np.asarray(done.x)), -float(done.fun) * count


def start_of(task: FitTask) -> dict[str, Solved]:
    """Return constants of the simplest laws from medians of the readings, from which the search starts."""
    cells = task.cells
    there = cells.positive.sum(-1) > 0
    first = np.where(cells.positive[:, 0] > 0, np.exp(cells.log_y[:, 0]), 0.0)
    error = first - cells.target
    spread = 1.4826 * float(np.median(np.abs(error - np.median(error))))
    found: dict[str, list[float]] = {
        "programming_mean": [],
        "programming_spread": [max(spread, 1e-3 * task.scale.g_max)],
    }
    weight = cells.positive / cells.variance
    total = np.maximum(weight.sum(-1), 1e-9)
    time = cells.log_time - ((weight * cells.log_time).sum(-1) / total)[:, None]
    log_y = cells.log_y - ((weight * cells.log_y).sum(-1) / total)[:, None]
    bottom = (weight * time**2).sum(-1)
    seen = there & (bottom > 1e-6) & (cells.target > 0.05 * task.scale.g_max)
    exponents = -((weight * time * log_y).sum(-1) / np.maximum(bottom, 1e-9))[seen]
    mean = float(np.median(exponents)) if task.drifts and exponents.size else 0.0
    rest = (log_y + mean * time) * cells.positive
    if exponents.size:
        rest[seen] = (log_y[seen] + exponents[:, None] * time[seen]) * cells.positive[seen]
    several = cells.positive.sum(-1) > (2 if task.drifts else 1)
    squares = (rest**2 / cells.variance)[several].sum() / max(1.0, (cells.positive[several].sum(-1) - 1.5).sum())
    found["drift_mean"] = [float(np.clip(mean, 1e-3, 1.0))]
    off = 1.4826 * float(np.median(np.abs(exponents - mean))) if exponents.size else 0.01
    found["drift_spread"] = [float(np.clip(0.7 * off, 2e-3, 0.5))]
    found["read_noise"] = [float(np.clip(np.sqrt(squares), 1e-4, 0.3))]
    return {part: Solved(laws_of(part, task.scale)[0], np.array(found[part])) for part in task.parts}


def _starts(task: FitTask, model: Model, law: Law, before: Solved, part: str) -> list[np.ndarray]:
    """Return where to start a law, from the fitted one that has fewer constants."""
    known, scale = before.constants, task.scale
    if law.name == "line in ln g" and before.law.name == "constant":
        known = np.array([-0.1 * known[0], known[0]])
    if "stops" not in law.name:
        return [np.concatenate([known, np.zeros(law.free - len(known))])]
    if law.name.startswith("power"):
        values = before.law.values(known, scale)
        return [np.array([*known[:2], np.quantile(values, share)]) for share in (0.8, 0.95)]
    return _bent(task, {**model, part: before}, law, part)


def _bent(task: FitTask, model: Model, law: Law, part: str) -> list[np.ndarray]:
    """Return starts of a line with stops: the best four of a grid of places, at the likelihood's parabolas so far."""
    stiff, pull = parabolas(task, model, part)
    found = bends(task.scale, stiff, pull, np.ones((1, len(stiff))), places=BENDS, most=law.free)
    low = "low" in law.name
    fitting = (found.constants == law.free) & ((found.at_low[0] == low) | (law.free == 4)) & np.isfinite(found.gain[0])
    columns = [0, 1, *{4: (2, 3), 3: (2,) if low else (3,)}[law.free]]
    order = np.flatnonzero(fitting)[np.argsort(-found.gain[0, fitting])][:4]
    plain = np.concatenate([model[part].constants, np.quantile(task.values(model)[ORDER.index(part)], [0.2, 0.8])])
    return [found.line[0, place, columns] for place in order] or [plain[columns]]


def parabolas(
    task: FitTask, model: Model, part: str, fitted: Likelihood | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return curvature and pull of each cell's likelihood in the value of one part, as `bends` takes them.

    Args:
        task: what is fitted.
        model: at whose values.
        part: of which.
        fitted: the likelihood there with its curvature, or None: it is computed.
    """
    found, row = fitted or task.posterior(model, curvature=True), ORDER.index(part)
    stiff = found.curvature[:, row, row]
    return stiff, stiff * task.values(model)[row] + found.score[:, row]


def _candidates(task: FitTask, model: Model, part: str, known: Mapping[str, Solved]) -> list[tuple[float, Solved]]:
    """Return laws of a part, fitted with the other parts as they are, with their AIC.

    A law is left out if the simpler one that it extends was no better than the one before.

    Args:
        task: what is fitted.
        model: the other parts.
        part: whose laws are tried.
        known: laws with constants from before, to start from.
    """
    found: list[tuple[float, Solved]] = []
    solved: dict[str, Solved] = {}
    others = sum(one.law.free for name, one in model.items() if name != part)
    for law in laws_of(part, task.scale):
        if _hopeless(law, found):
            continue
        if law.name in known:
            starts = [known[law.name].constants]
        else:
            before = _simpler(law, solved)
            starts = [model[part].constants] if before is None else _starts(task, model, law, before, part)
        tried = [{**model, part: Solved(law, start)} for start in starts]
        best = tried[0] if len(tried) == 1 else min(tried, key=task.aic)
        after, log = task.maximise(best, [part], steps=30, precision=1e-7)
        if _idle(task, after, part):
            continue
        solved[law.name] = after[part]
        found.append((2.0 * (law.free + others) - 2.0 * log, after[part]))
    return found


def _idle(task: FitTask, model: Model, part: str) -> bool:
    """Whether a value at which a law stops is that of too few cells to be told."""
    stops = [column for column, place in enumerate(model[part].law.places) if place >= 2]
    if not stops or "stops" not in model[part].law.name:
        return False
    return bool((task.slopes(model, part)[:, stops].sum(0) < FEWEST).any())


def _hopeless(law: Law, found: Sequence[tuple[float, Solved]]) -> bool:
    """Whether a law with more constants can be left out, since the last ones helped nothing."""
    by_name = {one.law.name: aic for aic, one in found}
    lowest = min(by_name.values(), default=np.inf)
    if law.name == "line in ln g that stops at a low and high value":
        bent = [aic for name, aic in by_name.items() if "stops" in name]
        return by_name["line in ln g"] < min(bent, default=np.inf)
    if len(found) < 3 or "stops" in law.name:
        return False
    return found[-1][0] > lowest + 1.5


def _simpler(law: Law, solved: Mapping[str, Solved]) -> Solved | None:
    """Return the fitted law that this one extends."""
    if not solved:
        return None
    if "stops" in law.name and law.name.startswith("line"):
        return solved["line in ln g"]
    return list(solved.values())[-1]


def search(task: FitTask) -> tuple[dict[str, Solved], list[Alternative]]:
    """Return the most likely model whose parts have the laws of lowest AIC, and other laws that are nearly as good.

    The parts are gone through in turn, twice, each with the others as they are; all constants are then fitted
    together. Of the laws whose AIC lies within 2 of the lowest, which the data support as well, the simplest is taken.
    """
    model = start_of(task)
    model, _ = task.maximise(model, task.parts, steps=40)
    found: dict[str, list[tuple[float, Solved]]] = {}
    for sweep in range(SWEEPS):
        before = {part: solved.law.name for part, solved in model.items()}
        for part in ("drift_mean", "read_noise", "programming_spread", "drift_spread", "programming_mean"):
            if part in model:
                known = {one.law.name: one for _, one in found.get(part, [])} | {model[part].law.name: model[part]}
                found[part] = _candidates(task, model, part, known)
                lowest = min(aic for aic, _ in found[part])
                enough = [pair for pair in found[part] if pair[0] <= lowest + SUPPORTED]
                model[part] = min(enough, key=lambda pair: (pair[1].law.free, pair[0]))[1]
        if sweep and before == {part: solved.law.name for part, solved in model.items()}:
            break
        model, _ = task.maximise(model, task.parts, steps=60)
    model, _ = task.maximise(model, task.parts, steps=300)
    task = task.fine()
    model, log = task.maximise(model, task.parts, steps=100)
    aic = 2.0 * sum(solved.law.free for solved in model.values()) - 2.0 * log
    others = []
    for part, pairs in found.items():
        for _, solved in pairs:
            if solved.law.name != model[part].law.name:
                excess = task.aic({**model, part: solved}) - aic
                if excess < CLOSE:
                    others.append(Alternative(part, solved, excess))
    return model, others
