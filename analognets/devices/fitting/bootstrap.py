"""How well constants are known: a bootstrap over cells and over the laws that the data can't tell apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from analognets.devices.fitting.bends import bends
from analognets.devices.fitting.laws import PARTS, laws_of
from analognets.devices.fitting.likelihood import Likelihood
from analognets.devices.fitting.search import Alternative, FitTask, Model, Solved, parabolas

__all__ = ["Draws", "bootstrap", "constants_of"]

ORDER = tuple(PARTS)
BENT = ("drift_mean", "drift_spread")
"""Parts whose laws are lines that may stop."""
KNOTS = 20
"""Places along ln g at which a line may stop in a replicate."""
PIECE = 100
"""Replicates that are computed at once."""
WORST = 1e-9
"""Least eigenvalue of the information, as a share of the largest, in which a direction of constants counts as told."""


@dataclasses.dataclass(frozen=True)
class Draws:
    """Replicates of all constants.

    Args:
        names: of the constants, such as "programming_fit[0]".
        values: shape (replicates, constants).
        loose: constants of the chosen laws that the readings do not tell at all.
    """

    names: tuple[str, ...]
    values: np.ndarray
    loose: tuple[str, ...]

    def interval(self, share: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Return low and high ends of the intervals that hold this share of the replicates."""
        low, high = np.quantile(self.values, [(1.0 - share) / 2.0, (1.0 + share) / 2.0], axis=0)
        return low, high


def constants_of(task: FitTask, model: Model) -> dict[str, float]:
    """Return all constants of the device's fields by name."""
    found = {}
    for part, solved in model.items():
        for place, value in enumerate(solved.law.device(solved.constants, task.scale)):
            found[f"{PARTS[part].field}[{place}]"] = value
    return found


def bootstrap(
    task: FitTask,
    model: Model,
    alternatives: Sequence[Alternative],
    *,
    replicates: int,
    seed: int,
    more: Mapping[str, Callable[[np.ndarray], np.ndarray]] | None = None,
) -> Draws:
    """Return constants of resampled cells.

    A replicate takes as many cells as there are, with replacement. Scores and curvature of every cell are computed once
    and summed with the replicate's weights, so that replicates cost no fit. Programming and read noise have one of
    their laws in proportion to its Akaike weight exp(-excess of AIC / 2), with the constants after one Newton step from
    the fit. Lines of drift are fitted anew, over a grid of places where they may stop, and have the law of lowest AIC.

    Args:
        task: what was fitted.
        model: chosen laws with their constants.
        alternatives: other laws.
        replicates: how many.
        seed: of them.
        more: further constants by name, from the weights of the cells in each replicate, (replicates, cells).
    """
    random = np.random.default_rng(seed)
    others = [other for other in alternatives if other.part not in BENT]
    shares = np.exp(-0.5 * np.array([0.0, *(other.excess for other in others)]))
    numbers = random.choice(len(shares), replicates, p=shares / shares.sum())
    fitted = task.posterior(model, curvature=True)
    rows: list[dict[str, float]] = [{} for _ in range(replicates)]
    loose: set[str] = set()
    cells = len(task.cells)
    for begin in range(0, replicates, PIECE):
        piece = range(begin, min(begin + PIECE, replicates))
        weights = np.stack([np.bincount(random.integers(0, cells, cells), minlength=cells) for _ in piece])
        for number in np.unique(numbers[list(piece)]):
            other = others[number - 1] if number else None
            chosen = {**model, other.part: other.solved} if other else dict(model)
            mine = [at for at in piece if numbers[at] == number]
            found, open_ = _resampled(task, chosen, weights[[at - begin for at in mine]].astype(np.float64))
            loose |= set() if number else open_
            for at, one in zip(mine, found, strict=True):
                rows[at] = constants_of(task, one)
        for part in BENT:
            if part in model:
                lines = _bent(task, fitted, model, part, weights.astype(np.float64))
                for at, line in zip(piece, lines, strict=True):
                    rows[at].update({f"{PARTS[part].field}[{place}]": float(value) for place, value in enumerate(line)})
        for name, values in (more or {}).items():
            for at, value in zip(piece, values(weights.astype(np.float64)), strict=True):
                rows[at][name] = float(value)
    names = tuple(rows[0])
    return Draws(names, np.array([[row[name] for name in names] for row in rows]), tuple(sorted(loose)))


def _bent(task: FitTask, fitted: Likelihood, model: Model, part: str, weights: np.ndarray) -> np.ndarray:
    """Return slope, offset, low and high of the line with the lowest AIC in each replicate, (replicates, 4).

    The likelihood of each cell is taken as a parabola in the cell's value, as it is at the fit.
    """
    stiff, pull = parabolas(task, model, part, fitted)
    most = max(law.free for law in laws_of(part, task.scale))
    found = bends(task.scale, stiff, pull, weights, places=KNOTS, most=most)
    total, force = weights @ stiff, weights @ pull
    level = np.maximum(force / np.where(total > 0, total, 1.0), 0.0)
    flats = np.stack([np.zeros_like(level), level, level, level], axis=1)
    if not found.gain.shape[1]:
        return flats
    aic = 2.0 * found.constants - found.gain
    at = np.arange(len(level)), aic.argmin(1)
    flat = 2.0 - level * (2.0 * force - level * total)
    return np.where((flat <= aic[at])[:, None], flats, found.line[at])


def _resampled(task: FitTask, model: Model, weights: np.ndarray) -> tuple[list[dict[str, Solved]], set[str]]:
    """Return models after one Newton step for each row of weights, and names of constants that no step can tell."""
    parts = [part for part in model if model[part].law.free]
    units = np.concatenate([model[part].law.units for part in parts])
    start = np.concatenate([model[part].constants for part in parts])
    bounds = np.array([bound for part in parts for bound in model[part].law.bounds])
    names = [f"{PARTS[part].field}[{place}]" for part in parts for place in model[part].law.places]
    score, information = _of_cells(task, model, parts, units)
    values, vectors = np.linalg.eigh(information.sum(0))
    told = values > WORST * values.max()
    at_edge = (start <= bounds[:, 0]) | (start >= bounds[:, 1])
    open_ = {name for name, row, edge in zip(names, vectors, at_edge, strict=True)
             if edge or (row[~told] ** 2).sum() > 0.1}  # fmt: skip
    found = []
    ends = np.cumsum([model[part].law.free for part in parts])[:-1]
    for weight in weights:
        step = _step(np.tensordot(weight, information, axes=1), weight @ score) * units
        moved = np.clip(start + np.where(at_edge, 0.0, step), *bounds.T)
        pieces = np.split(moved, ends)
        found.append({**model, **{p: Solved(model[p].law, c) for p, c in zip(parts, pieces, strict=True)}})
    return found, open_


def _step(information: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return a Newton step along the directions that the cells tell."""
    values, vectors = np.linalg.eigh(information)
    kept = values > WORST * max(values.max(), 1e-300)
    inverse = np.where(kept, 1.0 / np.where(kept, values, 1.0), 0.0)
    return vectors @ (inverse * (vectors.T @ score))


def _of_cells(task: FitTask, model: Model, parts: Sequence[str], units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return score (cells, constants) and information (cells, constants, constants) in units of the constants."""
    found = task.posterior(model, curvature=True)
    slopes = [task.slopes(model, part) for part in parts]
    rows = [ORDER.index(part) for part in parts]
    score = np.concatenate([s * found.score[:, r, None] for s, r in zip(slopes, rows, strict=True)], axis=1)
    blocks = [
        [
            one[:, :, None] * other[:, None, :] * found.curvature[:, r, c, None, None]
            for other, c in zip(slopes, rows, strict=True)
        ]
        for one, r in zip(slopes, rows, strict=True)
    ]
    information = np.concatenate([np.concatenate(line, axis=2) for line in blocks], axis=1)
    return score * units, information * units[:, None] * units[None, :]
