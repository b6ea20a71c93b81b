"""Whether the linearisation holds: a few simulated chips against what it says of the very same chips."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.stats import t as student

from analognets.deploy.studies.ageing.gaussian import Chosen

__all__ = ["Check", "checked"]

MEAN, WIDEST, SPREAD = 0.001, 0.005, 1.15
"""Tolerances: of the mean accuracy; of the uncertainty that a few chips leave of it, which may also be `QUARTER` of the
95 % interval by the number of samples; of the factor on the spread."""
QUARTER = 0.25
LEVEL = 0.975
"""Confidence of the tests at each of two times."""


@dataclasses.dataclass(frozen=True)
class Check:
    """What a few simulated chips say of the linearisation at one time.

    Args:
        at: the time.
        chips: how many.
        difference: of their mean accuracy from what the linearisation says of them, on the chosen samples.
        error: half of its interval over the chips.
        ratio: of the spread of their accuracies to that of what the linearisation says of them.
        significance: confidence that this ratio is not 1, 0 to 1.
        allowed: largest `error` with which the chips say enough.
    """

    at: str
    chips: int
    difference: float
    error: float
    ratio: float
    significance: float
    allowed: float = WIDEST

    def failure(self) -> str:
        """Return what does not hold, as a sentence, or nothing."""
        told = f"On {self.chips} simulated chips at {self.at} the "
        figures = f"{100 * self.difference:+.2f} \N{PLUS-MINUS SIGN} {100 * self.error:.2f} points"
        if abs(self.difference) > max(MEAN, self.error):
            return f"{told}mean accuracy differs by {figures} from what the linearisation says of the same chips."
        if not self.error <= self.allowed:
            return f"{told}mean accuracy differs by {figures} from the linearised one, which is too uncertain."
        if not 1.0 / SPREAD <= self.ratio <= SPREAD and self.significance > LEVEL:
            return f"{told}accuracy spreads {self.ratio:.2f} times as much as the linearisation says of the same chips."
        return ""


def checked(at: str, simulated: np.ndarray, linear: np.ndarray, chosen: Chosen) -> Check:
    """Compare the accuracies of chips with what the linearisation says of each of them, by paired tests.

    Args:
        at: the time.
        simulated: whether each chip is right about each chosen sample, (chips, samples).
        linear: likewise, by mean margins and gradients and the weights of the very same chips.
        chosen: the samples.

    Source: Student's paired test, and that of Pitman and Morgan (1939) for paired variances.
    """
    real, said = (chosen.mean(one.astype(float)) for one in (simulated, linear))
    count, differences = len(real), real - said
    scatter = float(differences.std(ddof=1))
    error = float(student.ppf(0.5 + LEVEL / 2, count - 1)) * scatter / count**0.5
    share, samples = float(real.mean()), int(chosen.sizes.sum())
    allowed = max(WIDEST, QUARTER * 1.96 * (share * (1.0 - share) / samples) ** 0.5)
    spread, expected = float(real.std(ddof=1)), float(said.std(ddof=1))
    if scatter < 1e-12 or spread + expected < 1e-12:
        return Check(at, count, float(differences.mean()), error, 1.0, 0.0, allowed)
    ratio = spread / expected if expected > 0 else np.inf
    both = real + said
    related = float(np.corrcoef(differences, both)[0, 1]) if both.std() > 0 else 0.0
    value = abs(related) * ((count - 2) / max(1.0 - related**2, 1e-12)) ** 0.5
    significance = float(2 * student.cdf(value, count - 2) - 1)
    return Check(at, count, float(differences.mean()), error, ratio, significance, allowed)
