"""Whether the linearisation holds: a few simulated chips against what it says of the very same chips."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.stats import chi2, norm
from scipy.stats import t as student

from analognets.deploy.studies.ageing.gaussian import Chosen
from analognets.deploy.studies.ageing.law import Accuracy, MarginLaw

__all__ = ["Check", "checked", "unsure"]

MEAN, SPREAD, COMMON = 0.001, 1.15, 0.1
"""Tolerances: of the mean accuracy; of the factor on its spread; of what samples have in common beyond the
linearisation, as a share of the variance that it gives."""
LEVEL = 0.99
"""Confidence of the tests at each time."""
FINEST = 1e-4
"""Errors below this do not count."""


@dataclasses.dataclass(frozen=True)
class Check:
    """What a few simulated chips say of the linearisation at one time.

    Args:
        at: the time.
        chips: how many.
        difference: of their mean accuracy from what the law of the margins says of them, on the chosen samples.
        error: half of its interval.
        common: variance of the accuracy by what the linearisation lacks on all samples alike, as a share of all of it.
        ratio: of the spread of their accuracies to the predicted one.
        significance: confidence that this ratio is not 1, 0 to 1.
    """

    at: str
    chips: int
    difference: float
    error: float
    common: float
    ratio: float
    significance: float

    def failure(self) -> str:
        """Return what does not hold, as a sentence, or nothing."""
        told = f"On {self.chips} simulated chips at {self.at} the "
        if abs(self.difference) > max(MEAN, self.error):
            figures = f"{100 * self.difference:+.2f} \N{PLUS-MINUS SIGN} {100 * self.error:.2f} points"
            return f"{told}mean accuracy differs by {figures} from what the linearisation says of the same chips."
        if self.common > COMMON:
            return (
                f"{told}margins of different samples move together by what the linearisation lacks: that adds "
                f"{100 * self.common:.0f} % to the predicted variance of the accuracy."
            )
        if not 1.0 / SPREAD <= self.ratio <= SPREAD and self.significance > LEVEL:
            return f"{told}accuracy spreads {self.ratio:.2f} times as much as the linearisation says."
        return ""


def checked(at: str, margins: np.ndarray, law: MarginLaw, accuracy: Accuracy, chosen: Chosen) -> Check:
    """Compare the accuracies of chips with what the linearisation says of each of them.

    The law takes what is left of the margins as independent over samples. Whether it is shows in
    a_c = sum_s v_s phi(z_s) / sigma_s * rest[c,s], by how much the rest moves the accuracy of chip c: its variance over
    chips is the sum of the variances of its terms if they are independent, and more if samples move together.

    Args:
        at: the time.
        margins: of each chip, (chips, samples, rivals).
        law: of the margins, from the same chips.
        accuracy: what follows from it.
        chosen: the samples.

    Source: Student's paired test of the mean, and the chi-square test of a variance; the sum of the rests is ours.
    """
    real = chosen.mean((margins > 0).all(axis=2).astype(float))
    count, differences = len(real), real - chosen.mean(np.asarray(accuracy.given))
    quantile, finest = float(student.ppf(0.5 + LEVEL / 2, count - 1)), 1.0 / int(chosen.sizes.sum())
    square = float(real.var(ddof=1)) / max(accuracy.chosen_variance, finest**2)
    below = float(chi2.cdf((count - 1) * square, count - 1))
    return Check(
        at,
        count,
        difference=float(differences.mean()),
        error=quantile * float(differences.std(ddof=1)) / count**0.5,
        common=common_variance(law, chosen) / max(accuracy.chosen_variance, finest**2),
        ratio=square**0.5 if accuracy.chosen_variance > finest**2 else max(square**0.5, 1.0),
        significance=abs(2.0 * below - 1.0),
    )


def common_variance(law: MarginLaw, chosen: Chosen) -> float:
    """Return the variance of the accuracy over chips by what is left of the margins of different samples together."""
    rows, nearest = np.arange(len(law.mean)), law.mean.argmin(axis=1)
    deviation = np.maximum(law.deviation[rows, nearest], 1e-20)
    weights = chosen.weights * norm.pdf(law.mean[rows, nearest] / deviation) / deviation
    terms = weights * (law.level - law.mean)[:, rows, nearest]
    return float(terms.sum(axis=1).var(ddof=1) - terms.var(axis=0, ddof=1).sum())


def unsure(at: str, chips: int, many: int, std: float, mean_errors: tuple[float, float], std_error: float) -> str:
    """Return in a sentence that the statistical error is larger than that of many simulated chips, or nothing.

    Args:
        at: the time.
        chips: how many are simulated.
        many: how many simulated chips would leave the largest errors that are allowed.
        std: standard deviation of the accuracy over chips.
        mean_errors: standard errors of its mean by the chips, and by the choice of samples.
        std_error: standard error of `std`.
    """
    more = "check_chips" if mean_errors[0] >= mean_errors[1] else "samples"
    total = (mean_errors[0] ** 2 + mean_errors[1] ** 2) ** 0.5
    for name, error, allowed, wanted in (
        ("mean accuracy", total, std / many**0.5, more),
        ("spread of the accuracy", std_error, std / (2 * many) ** 0.5, "check_chips"),
    ):
        if error > max(allowed, FINEST):
            return (
                f"On {chips} simulated chips at {at} the {name} is too uncertain: its standard error is "
                f"{100 * error:.2f} points, and {many} chips would leave {100 * allowed:.2f}; take more {wanted}."
            )
    return ""
