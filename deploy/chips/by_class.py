"""What an evaluation says about each class: accuracy, what it is taken for, false alarms and misses of detectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analognets.deploy.chips.decisions import MODE, READING, Decisions, in_order
from analognets.errors import InvalidArgumentError
from analognets.metrics import mean_interval, share_interval

__all__ = ["by_class"]


def by_class(
    confusion: pd.DataFrame | Decisions, names: Sequence[str] | None = None, *, groups: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return the accuracy of each class at each time, mean and standard deviation over chips, and what it is taken for.

    Args:
        confusion: of `Decisions.confusion`; or the decisions themselves, from which the intervals are known too.
        names: of the classes, in the order of the outputs; None: their numbers.
        groups: with decisions: what makes samples dependent, one a sample, see `Decisions.summary`.

    Returns:
        A row for each time, mode and class: drift_compensation, seconds, at, class, samples (of that class on each
        chip), accuracy, std, chips, and for each class a column "as NAME", the mean share that was taken for it. With
        two classes, the second one being what a detector looks for, also false_alarm_rate, the share of samples of the
        first class that were taken for the second, and miss_rate, the share of the second taken for the first. What has
        no sample is NaN. From decisions also low and high, the ends of the accuracy's 95 % interval over chips and
        samples, and those of the two rates, false_alarm_rate_low and so on.

    Raises:
        InvalidArgumentError: there is another number of names than of classes.

    Examples:
        >>> decisions = chips.decide((x, y), at=["1d"])
        >>> table = by_class(decisions.confusion(), names=["a", "b", "c", "d"])
        >>> table[["at", "class", "samples", "chips"]].head(2)
           at class  samples  chips
        0  1d     a       10      3
        1  1d     b       10      3
    """
    decisions = confusion if isinstance(confusion, Decisions) else None
    confusion = confusion.confusion() if isinstance(confusion, Decisions) else confusion
    classes = int(confusion["label"].max()) + 1
    called = [str(number) for number in range(classes)] if names is None else [str(name) for name in names]
    if len(called) != classes:
        raise InvalidArgumentError(
            f"There must be one name for each of {classes} classes. Received: {len(called)} names."
        )
    rows: list[dict[str, Any]] = []
    ends = {} if decisions is None else _ends(decisions, groups)
    for (mode, seconds, at), part in confusion.groupby(MODE, sort=False):
        chips = len(part[READING].drop_duplicates())
        part = part.sort_values([*READING, "label", "output"])
        counts = part["count"].to_numpy().reshape(chips, classes, classes)
        samples = counts.sum(axis=2)
        with np.errstate(invalid="ignore"):
            shares = counts / samples[:, :, None]
        spread = shares.std(axis=0, ddof=1) if chips > 1 else np.full((classes, classes), np.nan)
        means = shares.mean(axis=0)
        detector = {"false_alarm_rate": means[0, 1], "miss_rate": means[1, 0]} if classes == 2 else {}
        known = ends.get((mode, seconds, at))
        if known is not None and classes == 2:
            for number, rate in enumerate(("false_alarm_rate", "miss_rate")):
                detector |= {f"{rate}_low": 1.0 - known[number][1], f"{rate}_high": 1.0 - known[number][0]}
        for number, name in enumerate(called):
            rows.append(
                {
                    "drift_compensation": mode,
                    "seconds": seconds,
                    "at": at,
                    "class": name,
                    "samples": int(samples[0, number]),
                    "accuracy": means[number, number],
                    "std": spread[number, number],
                    "chips": chips,
                    **({} if known is None else dict(zip(("low", "high"), known[number], strict=True))),
                    **detector,
                    **{f"as {other}": means[number, place] for place, other in enumerate(called)},
                }
            )
    return in_order(pd.DataFrame(rows))


def _ends(found: Decisions, groups: Sequence[str] | None) -> dict[Any, list[tuple[float, float]]]:
    """Return the ends of the interval of each class's accuracy, by time and mode."""
    owners, right = np.array(found.owners(groups)), (found.chosen == found.truth).astype(np.float32)
    ends: dict[Any, list[tuple[float, float]]] = {}
    for key, part in found.readings.groupby(MODE, sort=False):
        ends[key] = []
        for number in range(found.classes):
            own = found.truth == number
            ends[key].append(_ends_of(right[part.index][:, own], owners[own].tolist()))
    return ends


def _ends_of(right: np.ndarray, owners: list[str]) -> tuple[float, float]:
    """Return the ends of the interval of one class; where all samples are right, or none, by the number of groups."""
    if not owners:
        return np.nan, np.nan
    mean = mean_interval(right, owners)
    if mean.mean in (0.0, 1.0):
        return share_interval(mean.mean, mean.groups)
    return mean.low, mean.high
