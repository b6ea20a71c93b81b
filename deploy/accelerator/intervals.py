"""How far energy constants are known: all that meet the published figures, and what they allow for any other energy."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from analognets.deploy.accelerator.design import Accelerator
from analognets.deploy.accelerator.energy import TERMS, EventEnergy
from analognets.deploy.accelerator.held import PublishedFigure
from analognets.errors import InvalidArgumentError

__all__ = ["ConstantSet"]

SLACK = 1e-6
"""Relative slack of a comparison with a figure's bounds: that of rounding."""


class ConstantSet:
    """All energy constants of an accelerator that meet its published figures within their precision.

        { c >= 0 : operations / (figure (1 + p)) <= sum over terms of c_term n_term <= operations / (figure (1 - p)) }

    A polytope, since energy is linear in the constants; the extremes of an energy over it are two linear programs, so
    they are exact. `scaled` figures bind c / s with one factor s > 0 that they share. A constant whose events no figure
    counts stays at its value.

    Args:
        accelerator: its `energy` must be an `EventEnergy` that meets its `held_to`; else `reason` says why nothing is
            known.

    Source: our reconstruction.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.energy = accelerator.energy
        self.figures = accelerator.held_to
        self.reason = self._why_not(accelerator.name)

    def _why_not(self, name: str) -> str:
        if type(self.energy) is not EventEnergy:
            return f"'{name}' has an energy law of its own"
        if all(figure.scaled for figure in self.figures):
            return f"'{name}' names no published figures that its energy constants meet (`held_to`)"
        for figure in self.figures:
            if not figure.scaled and not self.meets(figure):
                found = figure.operations / self.pj(figure.events) if self.pj(figure.events) else math.inf
                return (
                    f"the constants of '{name}' give {found:.4g} where {figure} is published, beyond its precision of "
                    f"{100 * figure.precision:g} %"
                )
        if not self._scale_exists():
            return f"the constants of '{name}' are in no proportion that its scaled figures allow"
        return ""

    def pj(self, events: Mapping[str, float]) -> float:
        """Return the energy in pJ that the accelerator's own constants give."""
        return sum(getattr(self.energy, term).value * events.get(term, 0.0) for term in TERMS)

    def meets(self, figure: PublishedFigure) -> bool:
        """Return whether the accelerator's own constants meet a figure within its precision."""
        low, high = figure.energy_pj
        return low * (1 - SLACK) <= self.pj(figure.events) <= high * (1 + SLACK)

    def _scale_exists(self) -> bool:
        """Return whether one factor takes the constants into the bounds of all scaled figures."""
        ratios = [
            (self.pj(figure.events) / figure.energy_pj[1], self.pj(figure.events) / figure.energy_pj[0])
            for figure in self.figures
            if figure.scaled
        ]
        least, most = max((low for low, _ in ratios), default=0.0), min((high for _, high in ratios), default=math.inf)
        return least <= most * (1 + SLACK)

    def fitted(self, bits: int, operations: int, events: Mapping[str, float]) -> PublishedFigure | None:
        """Return the figure whose very inference this is, or None of one that nothing was fitted to."""
        for figure in () if self.reason else self.figures:
            same = (figure.bits, figure.operations, figure.scaled) == (bits, operations, False)
            if same and all(math.isclose(events[term], figure.events.get(term, 0.0), rel_tol=1e-6) for term in TERMS):
                return figure
        return None

    def unheld(self, events: Mapping[str, float]) -> list[str]:
        """Return the terms of an energy that no published figure counts, so that they stay at their constants."""
        return [term for term in TERMS if events.get(term) and not any(f.events.get(term) for f in self.figures)]

    def bounds_pj(self, events: Mapping[str, float]) -> tuple[float, float] | None:
        """Return the least and the largest energy in pJ that the set allows; None where nothing is known.

        Args:
            events: pJ for a constant of 1, by term.
        """
        if self.reason:
            return None
        own = self.pj(events)
        if own == 0 and not any(events.values()):
            return 0.0, 0.0
        aim = np.array([events.get(term, 0.0) for term in TERMS])
        low, high = (self._extreme(sign * aim) for sign in (1.0, -1.0))
        return min(low, own), max(-high, own)  # the solver's tolerance must not leave the accelerator's own out

    @functools.cached_property
    def _program(self) -> dict[str, Any]:
        """The linear program: rows of the figures over their energy, columns of one size, the factor last."""
        matrix, limits = [], []
        for figure in self.figures:
            row = np.array([figure.events.get(term, 0.0) for term in TERMS])
            for bound, sign in zip(figure.energy_pj, (-1.0, 1.0), strict=True):  # sign * (c n - s bound) <= 0
                middle = figure.operations / figure.tops_per_watt
                factor = -sign * bound / middle if figure.scaled else 0.0
                matrix.append([*(sign * row / middle), factor])
                limits.append(0.0 if figure.scaled else sign * bound / middle)
        table = np.array(matrix)
        held = np.abs(table[:, :-1]).max(axis=0)
        sizes = np.array([*np.where(held > 0, held, 1.0), 1.0])
        own = [getattr(self.energy, term).value for term in TERMS]
        bounds = [(0.0, None) if count > 0 else (value, value) for value, count in zip(own, held, strict=True)] + [
            (0.0, None)
        ]
        return {"A_ub": table / sizes, "b_ub": np.array(limits), "bounds": bounds, "sizes": sizes}

    def _extreme(self, aim: np.ndarray) -> float:
        """Return the least value of sum(aim c) over the set."""
        from scipy.optimize import linprog

        program = dict(self._program)
        goal = np.append(aim, 0.0) / program.pop("sizes")
        unit = float(np.abs(goal).max())
        found = linprog(goal / unit, method="highs", **program)
        if not found.success:
            raise InvalidArgumentError(
                f"The constants that meet the published figures have no extreme energy: {found.message} Check "
                "`held_to` of the accelerator."
            )
        return float(found.fun or 0.0) * unit
