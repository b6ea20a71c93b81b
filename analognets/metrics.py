"""Figures of merit of analog networks, with their uncertainty, in plain NumPy and SciPy."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analognets.errors import InvalidArgumentError, check_number

__all__ = [
    "ABOUT_BOUND",
    "ISO_ACCURACY",
    "ChipBound",
    "Interval",
    "chance_error",
    "chips_bound",
    "chips_interval",
    "chips_needed",
    "cluster_variance",
    "drift_cells",
    "format_bound",
    "format_interval",
    "known_ends",
    "mean_interval",
    "normalized_accuracy",
    "share_interval",
    "spread_interval",
]

ISO_ACCURACY = 0.99
"""A network above this normalised accuracy counts as accurate as its float version (Rasch et al. 2023, verified)."""


def chance_error(classes: int) -> float:
    """Return the error of guessing among equally frequent classes: 1 - 1 / classes.

    Raises:
        InvalidArgumentError: `classes` is less than 2.

    Examples:
        >>> chance_error(4)
        0.75
    """
    if classes < 2:
        raise InvalidArgumentError(f"Guessing needs at least 2 classes. Received: classes={classes!r}.")
    return 1.0 - 1.0 / classes


def normalized_accuracy(error: Any, float_error: Any, chance_error: Any) -> Any:
    """Return how much of the way from guessing to the float network is left.

    A* = 1 - (eps - eps_float) / (eps_chance - eps_float)

    1 is the float network, 0 is guessing; a network better than the float one is above 1. A network with A* > 0.99
    (`ISO_ACCURACY`) counts as iso-accurate.

    Args:
        error: test error(s) of the analog network: a number or an array.
        float_error: test error of the float network, in the same unit.
        chance_error: error of guessing, in the same unit; more than `float_error`.

    Returns:
        A float, or an array if one was given.

    Raises:
        InvalidArgumentError: a number is not finite, or guessing is not worse than the float network.

    Examples:
        >>> normalized_accuracy(error=0.125, float_error=0.0, chance_error=0.5)
        0.75

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), eq. 3 (verified).
    """
    values, reference, chance = (np.asarray(value, dtype=float) for value in (error, float_error, chance_error))
    if not all(np.all(np.isfinite(value)) for value in (values, reference, chance)):
        raise InvalidArgumentError(
            f"Errors must be finite numbers. Received: error={error!r}, float_error={float_error!r}, "
            f"chance_error={chance_error!r}."
        )
    if np.any(chance <= reference):
        raise InvalidArgumentError(
            "`chance_error` must be more than `float_error`, in the same unit. "
            f"Received: float_error={float_error!r}, chance_error={chance_error!r}."
        )
    result = 1.0 - (values - reference) / (chance - reference)
    return float(result) if result.ndim == 0 else result


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean and the half width of its confidence interval.

    Args:
        mean: the estimate.
        half_width: half of the interval, >= 0; nan where one chip and one group of samples tell nothing.
        groups: how many independent groups of test samples there are.
        chips: how many chips.

    Examples:
        >>> found = Interval(mean=0.914, half_width=0.013, groups=100, chips=25)
        >>> round(found.low, 3), round(found.high, 3)
        (0.901, 0.927)
    """

    mean: float
    half_width: float
    groups: int
    chips: int

    @property
    def low(self) -> float:
        """The lower end."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """The upper end."""
        return self.mean + self.half_width


def format_interval(
    middle: float, low: float | None, high: float | None, *, form: str = "{:.2f}", scale: float = 1.0, digits: int = 2
) -> str:
    """Return a figure with half its interval, as far as that is known.

    Args:
        middle: the figure.
        low: lower end of its interval; None or nan if it is not known.
        high: upper end, likewise.
        form: of the figure.
        scale: of what is shown: 100 shows shares in percent.
        digits: of half the interval, behind the point.

    Examples:
        >>> format_interval(0.914, 0.901, 0.927, scale=100)
        '91.40 ± 1.30'
        >>> format_interval(0.5, None, None, form="{:+.2f}")
        '+0.50'
    """
    text = form.format(scale * middle)
    if low is None or high is None or low != low or high != high:
        return text
    return f"{text} \N{PLUS-MINUS SIGN} {scale * (high - low) / 2:.{digits}f}"


FEW = 0.5
"""A bound that holds for a smaller share of the chips says nothing, so that none is given: with 4 chips or fewer."""
ABOUT_BOUND = (
    "Share of chips: with 95 % confidence at least this share of all chips has at least this accuracy, on these samples"
)
"""What stands under a table with bounds of `chips_bound`."""


def format_bound(share: float | None, accuracy: float | None) -> str:
    """Return what a share of the chips has at least, in percent, both rounded to the safe side; "-" if not known.

    Args:
        share: of the chips, 0 to 1.
        accuracy: 0 to 1.

    Examples:
        >>> format_bound(0.95, 0.91239)
        '95 % ≥ 91.23'
    """
    if share is None or accuracy is None or share != share or accuracy != accuracy:
        return "-"
    sure, least = (math.floor(round(factor * value, 6)) for factor, value in ((1e3, share), (1e4, accuracy)))
    return f"{sure / 10:g} % \N{GREATER-THAN OR EQUAL TO} {least / 100:.2f}"


LOSSES = {"loss": "loss to float", "digital_loss": "loss to digital"}
"""Losses of a drift table in points of percent: to the float network before training for hardware, and to the same
weights run digitally."""


def drift_cells(row: Mapping[Any, Any]) -> dict[str, str]:
    """Return a row of a drift table for people, by the headings of its columns; losses that are not known are left out.

    Args:
        row: mean, std, chips, at and drift_compensation, and as far as they are known low and high, bound and
            bound_share, and for each of `LOSSES` its value and ends.

    Examples:
        >>> row = {"mean": 0.914, "std": 0.004, "low": 0.91, "high": 0.918, "at": "1d", "chips": 25}
        >>> cells = drift_cells({**row, "drift_compensation": True})
        >>> cells["accuracy %"], cells["chips"]
        ('91.40 ± 0.40', '25')
    """
    bound = format_bound(row.get("bound_share"), row.get("bound"))
    std, losses = row["std"], {key: name for key, name in LOSSES.items() if row.get(key) is not None}
    return {
        "since programming": str(row["at"]),
        "accuracy %": format_interval(row["mean"], row.get("low"), row.get("high"), scale=100),
        "std over chips": "-" if std is None or std != std else f"{100 * std:.2f}",
        **({} if bound == "-" else {"share of chips": bound}),
        **{
            name: format_interval(row[key], row.get(f"{key}_low"), row.get(f"{key}_high"), form="{:+.2f}")
            for key, name in losses.items()
            if row[key] == row[key]
        },
        "chips": f"{row['chips']:.0f}",
        "drift compensation": "on" if str(row["drift_compensation"]) == "True" else "off",
    }


def cluster_variance(deviations: Any, groups: Sequence[str]) -> tuple[float, int]:
    """Return the variance of a mean over samples that depend on each other within groups, and the number of groups.

    G / (G - 1) * sum_g (sum_{i in g} d_i)^2 / n^2

    Args:
        deviations: d_i of each sample from the mean, shape (samples,).
        groups: the group of each sample; "" is a group of its own.

    Examples:
        >>> cluster_variance(np.array([0.5, -0.5, 0.25, -0.25]), ["a", "a", "b", "b"])
        (0.0, 2)

    Source: Cameron and Miller, J. Human Resources 50(2), 2015, eq. 11 (from memory).
    """
    own = [name or f" {number}" for number, name in enumerate(groups)]
    _, index = np.unique(own, return_inverse=True)
    count = int(index.max()) + 1
    sums = np.bincount(index, deviations)
    if count < 2:
        return float("nan"), count
    return count / (count - 1) * float(np.sum(sums**2)) / len(index) ** 2, count


def mean_interval(values: Any, groups: Sequence[str] | None = None, *, confidence: float = 0.95) -> Interval:
    """Return the mean over chips and test samples with a confidence interval that counts both as drawn at random.

    Var(mean) = G / (G - 1) * sum_g (sum_{i in g} (v_i - mean))^2 / n^2  +  Var_c(mean of chip c) / C

    v_i is the mean of sample i over the C chips, the samples of a group g (one speaker, say) are dependent, and groups
    and chips are independent. The half width is a quantile of Student's t with Welch's degrees of freedom. What is
    random in chip and sample alike is counted twice, so the interval is slightly wide. For the loss between two
    networks give the differences sample by sample: what both share then cancels.

    Args:
        values: shape (chips, samples) or (samples,): 1 where a sample is right and 0 where it is wrong, or any number.
        groups: the group of each sample, such as its speaker; "" is a group of its own. None: every sample is.
        confidence: of the interval, between 0 and 1.

    Raises:
        InvalidArgumentError: there is no sample, a value is not finite, or the groups are not one per sample.

    Examples:
        >>> found = mean_interval(np.array([[1, 0, 1, 1], [1, 1, 1, 0]]))
        >>> found.mean, found.chips, found.groups
        (0.75, 2, 4)

    Source: the variance of a mean of clusters (Cameron and Miller, J. Human Resources 50(2), 2015, eq. 11, from memory)
    and Welch-Satterthwaite.
    """
    from scipy.stats import t as student

    table = np.atleast_2d(np.asarray(values, dtype=float))
    chips, samples = table.shape[0], table.shape[-1]
    names = list(groups) if groups is not None else [""] * samples
    if table.ndim != 2 or samples == 0 or not np.isfinite(table).all() or len(names) != samples:
        raise InvalidArgumentError(
            "An interval needs finite values of shape (chips, samples) with one group per sample. "
            f"Received: shape {np.shape(values)} and {len(names)} groups."
        )
    mean = float(table.mean())
    parts = []
    clusters, count = cluster_variance(table.mean(axis=0) - mean, names)
    if count > 1:
        parts.append((clusters, count - 1))
    if chips > 1:
        parts.append((float(table.mean(axis=1).var(ddof=1)) / chips, chips - 1))
    variance = sum(part for part, _ in parts)
    if not parts:
        return Interval(mean, float("nan"), count, chips)
    if variance == 0.0:
        return Interval(mean, 0.0, count, chips)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    return Interval(mean, float(student.ppf(0.5 + confidence / 2, freedom) * variance**0.5), count, chips)


def spread_interval(mean: float, std: float | None, chips: int, *, confidence: float = 0.95) -> Interval:
    """Return the mean over chips with its confidence interval, from the standard deviation over chips.

    mean +- t(chips - 1) * std / sqrt(chips): chips count as drawn at random, the test samples as given. It is the
    interval of `mean_interval` for (chips, 1) values. A bootstrap over so few chips is too narrow: of 95 % intervals by
    `scipy.stats.bootstrap` (BCa) 86 % hold the mean with 5 chips and 92 % with 15, of these 95 % (a test shows both).

    Args:
        mean: over the chips.
        std: over the chips, with chips - 1 in the denominator; None or nan for one chip.
        chips: how many, at least 1.
        confidence: of the interval, between 0 and 1.

    Examples:
        >>> found = spread_interval(0.91, 0.01, chips=3)
        >>> round(found.half_width, 4)
        0.0248
    """
    from scipy.stats import t as student

    if chips < 2 or std is None or std != std:
        return Interval(float(mean), float("nan"), 1, int(chips))
    half = float(student.ppf(0.5 + confidence / 2, chips - 1)) * float(std) / math.sqrt(chips)
    return Interval(float(mean), half, 1, int(chips))


def known_ends(row: Mapping[Any, Any]) -> tuple[float, float]:
    """Return low and high of a row of a drift table; where it lacks them, those over chips, from mean, std and chips.

    Args:
        row: mean, and as far as they are known low, high, std and chips.

    Examples:
        >>> known_ends({"mean": 0.9, "low": 0.8, "high": 1.0})
        (0.8, 1.0)
    """
    low, high, std, chips = (row.get(name) for name in ("low", "high", "std", "chips"))
    if low is not None and high is not None and low == low and high == high:
        return float(low), float(high)
    if chips is None or chips != chips:
        return float("nan"), float("nan")
    found = spread_interval(float(row["mean"]), std, int(chips))
    return found.low, found.high


def chips_interval(values: Any, *, confidence: float = 0.95) -> Interval:
    """Return the mean over chips with its confidence interval, see `spread_interval`.

    For what differs between two states of the same chips give the differences chip by chip: what both share cancels.

    Args:
        values: one number a chip.
        confidence: of the interval, between 0 and 1.

    Raises:
        InvalidArgumentError: there is no number, or one is not finite.

    Examples:
        >>> found = chips_interval([0.90, 0.92, 0.91])
        >>> format_interval(found.mean, found.low, found.high, scale=100)
        '91.00 ± 2.48'
    """
    numbers = _chips(values)
    std = float(numbers.std(ddof=1)) if len(numbers) > 1 else None
    return spread_interval(float(numbers.mean()), std, len(numbers), confidence=confidence)


def share_interval(share: float, samples: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the ends of the exact interval of Clopper and Pearson of a share of independent samples.

    Where it is known which samples depend on each other, `mean_interval` is right and this one is too narrow.

    Args:
        share: of the samples that are right, 0 to 1.
        samples: how many, at least 1.
        confidence: of the interval, between 0 and 1.

    Raises:
        InvalidArgumentError: the share is none, or there is no sample.

    Examples:
        >>> low, high = share_interval(0.9, 100)
        >>> round(low, 3), round(high, 3)
        (0.824, 0.951)
    """
    from scipy.stats import binomtest

    share = check_number("share_interval", "share", share, 0.0, 1.0)
    if samples < 1:
        raise InvalidArgumentError(f"A share is of at least one sample. Received: samples={samples!r}.")
    found = binomtest(round(share * samples), int(samples)).proportion_ci(confidence, "exact")
    return float(found.low), float(found.high)


@dataclasses.dataclass(frozen=True)
class ChipBound:
    """With `confidence` at least `share` of all chips have at least `value`.

    Args:
        share: of all chips, also those that were never made, 0 to 1; nan if so few chips say nothing.
        value: the least one of that share; nan likewise.
        confidence: of the statement.
        chips: how many were measured.

    Examples:
        >>> bound = chips_bound(np.linspace(0.90, 0.95, 59))
        >>> bound.share, round(bound.value, 2), bound.chips
        (0.95, 0.9, 59)
    """

    share: float
    value: float
    confidence: float
    chips: int


def chips_needed(share: float = 0.95, confidence: float = 0.95) -> int:
    """Return with how many chips the lowest of them is a bound for this share of all: share^n <= 1 - confidence.

    Examples:
        >>> chips_needed(0.95, 0.95)
        59
    """
    share = check_number("chips_needed", "share", share, 1e-6, 1.0 - 1e-9)
    confidence = check_number("chips_needed", "confidence", confidence, 1e-6, 1.0 - 1e-9)
    return max(1, math.ceil(round(math.log(1.0 - confidence) / math.log(share), 9)))


def chips_bound(values: Any, share: float = 0.95, *, confidence: float = 0.95) -> ChipBound:
    """Return what at least a share of all chips has, whatever the distribution: an exact bound of order statistics.

    The k-th lowest of n chips is taken, with the largest k for which at least k of n chips lie in the lowest 1 - share
    of all with the probability `confidence`. Where n is too small for that (25 chips say little about the lowest 5 %),
    the lowest chip is taken, with the share it is a bound for: (1 - confidence)^(1 / n).

    Args:
        values: one number a chip, such as its accuracy.
        share: wanted, between 0 and 1.
        confidence: between 0 and 1.

    Raises:
        InvalidArgumentError: there is no number, or one is not finite; share or confidence is out of range.

    Examples:
        >>> found = chips_bound([0.91, 0.90, 0.93, 0.92, 0.91, 0.90, 0.92, 0.94])
        >>> round(found.share, 3), found.value
        (0.688, 0.9)

    Source: Wilks, Ann. Math. Stat. 12(1), 1941 (from memory).
    """
    from scipy.stats import quantile_test

    numbers = _chips(values)
    count = len(numbers)
    if count >= chips_needed(share, confidence):
        test = quantile_test(numbers, q=0.0, p=1.0 - share, alternative="greater")
        found: Any = test.confidence_interval(confidence)
        if found.low == found.low:
            return ChipBound(float(share), float(found.low), float(confidence), count)
    supported = (1.0 - confidence) ** (1.0 / count)
    if supported < FEW:
        return ChipBound(float("nan"), float("nan"), float(confidence), count)
    return ChipBound(supported, float(numbers.min()), float(confidence), count)


def _chips(values: Any) -> np.ndarray:
    """Return one finite number a chip."""
    numbers = np.asarray(values, dtype=float).reshape(-1)
    if not len(numbers) or not np.isfinite(numbers).all():
        raise InvalidArgumentError(
            f"Chips need one finite number each, at least one chip. Received: {np.shape(values)} values, "
            f"{int((~np.isfinite(numbers)).sum())} of them not finite."
        )
    return numbers
