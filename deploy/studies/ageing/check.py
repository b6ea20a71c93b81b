"""Whether the linearisation holds: a few simulated chips against what it says of the very same chips."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.stats import chi2
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
        error: half of its interval, over chips and samples.
        unsure: half of its interval over the chips alone.
        allowed: largest `unsure` with which the chips say enough.
        ratio: of the spread of their accuracies to the predicted one.
        significance: confidence that this ratio is not 1, 0 to 1.
    """

    at: str
    chips: int
    difference: float
    error: float
    unsure: float
    allowed: float
    ratio: float
    significance: float

    def failure(self) -> str:
        """Return what does not hold, as a sentence, or nothing."""
        told = f"On {self.chips} simulated chips at {self.at} the "
        figures = f"{100 * self.difference:+.2f} \N{PLUS-MINUS SIGN} {100 * self.error:.2f} points"
        if abs(self.difference) > max(MEAN, self.error):
            return f"{told}mean accuracy differs by {figures} from what the linearisation says of the same chips."
        if not self.unsure <= self.allowed:
            return f"{told}mean accuracy differs by {figures} from the linearised one, which is too uncertain."
        if not 1.0 / SPREAD <= self.ratio <= SPREAD and self.significance > LEVEL:
            return f"{told}accuracy spreads {self.ratio:.2f} times as much as the linearisation says."
        return ""


def checked(at: str, simulated: np.ndarray, linear: np.ndarray, chosen: Chosen, spread: float) -> Check:
    """Compare the accuracies of chips with what the linearisation says of each of them.

    The rounding of converters is another one on each chip, but one for each sample in the mean network, so samples
    count as drawn at random beside the chips.

    Args:
        at: the time.
        simulated: whether each chip is right about each chosen sample, (chips, samples).
        linear: likewise, by mean margins and gradients and the weights of the very same chips.
        chosen: the samples.
        spread: predicted standard deviation over chips of the accuracy on the chosen samples.

    Source: Student's paired test of the mean, and the chi-square test of a variance.
    """
    real, said = (chosen.mean(one.astype(float)) for one in (simulated, linear))
    count, differences = len(real), real - said
    quantile = float(student.ppf(0.5 + LEVEL / 2, count - 1))
    over_chips = float(differences.var(ddof=1)) / count
    over_samples = chosen.variance((simulated * 1.0 - linear).mean(axis=0), finite=False)
    share, samples = float(real.mean()), int(chosen.sizes.sum())
    allowed = max(WIDEST, QUARTER * 1.96 * (share * (1.0 - share) / samples) ** 0.5)
    square = float(real.var(ddof=1)) / max(spread, 1.0 / samples) ** 2
    below = float(chi2.cdf((count - 1) * square, count - 1))
    return Check(
        at,
        count,
        difference=float(differences.mean()),
        error=quantile * (over_chips + over_samples) ** 0.5,
        unsure=quantile * over_chips**0.5,
        allowed=allowed,
        ratio=square**0.5 if spread > 1.0 / samples else max(square**0.5, 1.0),
        significance=abs(2.0 * below - 1.0),
    )
