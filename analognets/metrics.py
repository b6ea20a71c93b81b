"""Figures of merit of analog networks, with their uncertainty, in plain NumPy and SciPy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analognets.errors import InvalidArgumentError

__all__ = [
    "ISO_ACCURACY",
    "Interval",
    "chance_error",
    "cluster_variance",
    "drift_cells",
    "format_interval",
    "mean_interval",
    "normalized_accuracy",
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
    middle: float, low: float | None, high: float | None, *, form: str = "{:.2f}", scale: float = 1.0
) -> str:
    """Return a figure with half its interval, as far as that is known.

    Args:
        middle: the figure.
        low: lower end of its interval; None or nan if it is not known.
        high: upper end, likewise.
        form: of the figure.
        scale: of what is shown: 100 shows shares in percent.

    Examples:
        >>> format_interval(0.914, 0.901, 0.927, scale=100)
        '91.40 ± 1.30'
        >>> format_interval(0.5, None, None, form="{:+.2f}")
        '+0.50'
    """
    text = form.format(scale * middle)
    if low is None or high is None or low != low or high != high:
        return text
    return f"{text} \N{PLUS-MINUS SIGN} {scale * (high - low) / 2:.2f}"


LOSSES = {"loss": "loss to float", "digital_loss": "loss to digital"}
"""Losses of a drift table in points of percent: to the float network before training for hardware, and to the same
weights run digitally."""


def drift_cells(row: Mapping[Any, Any]) -> dict[str, str]:
    """Return a row of a drift table for people, by the headings of its columns; losses that are not known are left out.

    Args:
        row: mean, std, chips, at and drift_compensation, and as far as they are known low and high, and for each of
            `LOSSES` its value and ends.

    Examples:
        >>> row = {"mean": 0.914, "std": 0.004, "low": 0.91, "high": 0.918, "at": "1d", "chips": 25}
        >>> cells = drift_cells({**row, "drift_compensation": True})
        >>> cells["accuracy %"], cells["chips"]
        ('91.40 ± 0.40', '25')
    """
    std, losses = row["std"], {key: name for key, name in LOSSES.items() if row.get(key) is not None}
    return {
        "since programming": str(row["at"]),
        "accuracy %": format_interval(row["mean"], row.get("low"), row.get("high"), scale=100),
        "std over chips": "-" if std is None or std != std else f"{100 * std:.2f}",
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
