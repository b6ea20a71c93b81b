"""Whether the linearisation holds: a few simulated chips against what it says of the very same chips."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.stats import chi2
from scipy.stats import t as student

from analognets.deploy.studies.ageing.gaussian import Chosen, single_probability

__all__ = ["Check", "checked"]

ACCURACY, SLOPE, UNEXPLAINED = 0.0025, 0.15, 0.5
"""Tolerances: of the mean accuracy; of the factor on what close decisions move by; of the spread that chips have beside
the predicted one, as a share of it."""
TEST = 0.95


@dataclasses.dataclass(frozen=True)
class Check:
    """What a few simulated chips say of the linearisation at one time, sample by sample and chip by chip.

    Args:
        at: the time.
        chips: how many.
        shift: of the mean accuracy that the linearisation lacks.
        shift_error: half of the 95 % interval of `shift` over the chips.
        slope: by how much margins of chips differ from those of the mean network, as a multiple of what is predicted.
        slope_error: half of the 95 % interval of `slope`.
        unexplained: spread of the accuracy over chips that is not predicted, as a multiple of the predicted one; the
            lower 95 % bound.
    """

    at: str
    chips: int
    shift: float
    shift_error: float
    slope: float
    slope_error: float
    unexplained: float

    def failure(self) -> str:
        """Return what does not hold, as a sentence, or nothing."""
        told = f"On {self.chips} simulated chips at {self.at} "
        if abs(self.shift) > max(ACCURACY, self.shift_error):
            return told + (
                f"the mean accuracy is {100 * self.shift:+.2f} \N{PLUS-MINUS SIGN} {100 * self.shift_error:.2f} points "
                "from the linearised one."
            )
        if abs(self.slope - 1.0) > max(SLOPE, self.slope_error):
            return told + (
                f"close decisions move {self.slope:.2f} \N{PLUS-MINUS SIGN} {self.slope_error:.2f} times as much as "
                "the linearisation says."
            )
        if self.unexplained > UNEXPLAINED:
            return told + f"the accuracy spreads by {self.unexplained:.1f} times the predicted spread beside it."
        return ""


def checked(
    at: str,
    simulated: np.ndarray,
    linear: np.ndarray,
    margins: np.ndarray,
    deviations: np.ndarray,
    chosen: Chosen,
    spread: float,
) -> Check:
    """Compare chips with what the linearisation says of them.

    What it lacks for a chip and sample, e = margin - (mean margin + gradient . deviation of its weights), moves the
    probability of the sample to be right by Phi((m + e) / sigma) - Phi(m / sigma), which hardly depends on which chips
    were drawn. Its mean is the shift; its variance over chips, without what single samples scatter by, is spread that
    is not predicted. The slope is that of the margins' differences from the mean network on the predicted ones,
    weighted by how much a decision depends on them.

    Args:
        at: the time.
        simulated: margins of each chip to the strongest rival, (chips, samples).
        linear: differences from the mean network as predicted, likewise.
        margins: of the mean network, (samples,).
        deviations: predicted standard deviations of the margins.
        chosen: the samples.
        spread: predicted standard deviation of the accuracy over chips.
    """
    moved, count = simulated - margins, len(simulated)
    before = single_probability(margins, deviations)
    changes = single_probability(margins + moved - linear, deviations) - before
    shifts = chosen.mean(changes)
    own = float(chosen.weights**2 @ changes.var(axis=0, ddof=1))
    surplus = max(float(shifts.var(ddof=1)) - own, 0.0) * (count - 1) / chi2.ppf(TEST, count - 1)
    unexplained = surplus**0.5 / max(spread, 1e-4)
    near = np.zeros_like(margins)
    moving = deviations > 0
    near[moving] = np.exp(-0.5 * (margins[moving] / deviations[moving]) ** 2) / deviations[moving] ** 2
    weights = chosen.weights * near
    power, both = (linear**2) @ weights, (linear * moved) @ weights
    slope, parts = 1.0, np.zeros(count)
    if power.sum() > 0:
        slope = float(both.sum() / power.sum())
        parts = (both - slope * power) / power.mean()
    return Check(at, count, float(shifts.mean()), _half(shifts), slope, _half(parts), unexplained)


def _half(values: np.ndarray) -> float:
    """Return half of the 95 % interval of the mean of some chips."""
    count = len(values)
    return float(student.ppf(0.5 + TEST / 2, count - 1) * values.std(ddof=1) / count**0.5)
