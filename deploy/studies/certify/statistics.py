"""The statistics of a certificate: exact sequential binomial tests, and bounds of an accuracy measured on some samples.

A chip is good or not, and chips are independent. "Few" events among n of them reject that their share is s or more.
A test looks after every chip, and stops at the first n with at most c_n events. The c_n are the largest for which

    P_s(stopped by n)  <=  error * n^2 / (n^2 + n_0^2),      n_0 = ln(error) / ln(Y)

holds, with the probability computed exactly over all paths. n_0 is how many good chips in a row a test of fixed size
needs for a yield Y. The right side never exceeds `error`, however long the test runs, so that it may go on with more
chips than were planned. The probability grows as the share falls below s, so that s itself is the worst case.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

__all__ = ["Audit", "FewEvents", "accuracy_bounds"]

TOLERANCE = 1e-9
IMPOSSIBLE = 1e-22
"""A number of events less probable than this is left out."""


class Paths:
    """How probable each number of events is, for tests that have not stopped; numbers as good as impossible go."""

    def __init__(self) -> None:
        self.first = 0
        self.mass = np.ones(1)

    def one_chip_more(self, share: float) -> None:
        """Count a further chip, an event with the probability `share`."""
        longer = np.zeros(len(self.mass) + 1)
        longer[:-1] = self.mass * (1.0 - share)
        longer[1:] += self.mass * share
        kept = np.flatnonzero(longer > IMPOSSIBLE)
        low, high = (int(kept[0]), int(kept[-1]) + 1) if len(kept) else (0, 1)
        self.first, self.mass = self.first + low, longer[low:high]

    def stop(self, events: int) -> float:
        """Stop all tests with so many events or fewer, and return how probable they were."""
        count = max(events + 1 - self.first, 0)
        stopped = float(self.mass[:count].sum())
        self.mass[:count] = 0.0
        return stopped

    def most(self, allowed: float) -> int:
        """Return the largest number of events of which so many or fewer are at most as probable as `allowed`, or -1."""
        count = int(np.searchsorted(np.cumsum(self.mass), allowed, side="right"))
        return self.first + count - 1 if count else -1


class FewEvents:
    """A sequential test that rejects "the share of events is `share` or more" when there are few of them.

    Args:
        share: s, between 0 and 1.
        error: largest probability of a wrong rejection, between 0 and 1.
        scale: n_0 in chips, > 0: how soon the error is spent.
    """

    def __init__(self, share: float, error: float, scale: float) -> None:
        self.share, self.error, self.scale = share, error, scale
        self._limits: list[int] = []
        self._paths = Paths()
        self._spent = 0.0

    def limit(self, chips: int) -> int:
        """Return c_n, with how many events or fewer the test stops after so many chips; -1: with none."""
        while len(self._limits) < chips:
            number = len(self._limits) + 1
            self._paths.one_chip_more(self.share)
            allowed = self.error * number**2 / (number**2 + self.scale**2)
            before = self._limits[-1] if self._limits else -1
            self._limits.append(max(before, self._paths.most(allowed - self._spent)))
            self._spent += self._paths.stop(self._limits[-1])
        return self._limits[chips - 1]

    def fewest(self) -> int:
        """Return the least number of chips after which the test can stop."""
        number = 1
        while self.limit(number) < 0:
            number += 1
        return number

    def probability(self, chips: int, share: float, events: int | None = None) -> float:
        """Return how probable it is that the test stops by then, or stops earlier or has so few events then.

        Args:
            chips: how many, at least 1.
            share: of the events, 0 to 1.
            events: at most so many after the last chip count, whether the test stops there or not; None: its limit.
        """
        paths, stopped = Paths(), 0.0
        for number in range(1, chips):
            paths.one_chip_more(share)
            stopped += paths.stop(self.limit(number))
        paths.one_chip_more(share)
        return stopped + paths.stop(self.limit(chips) if events is None else events)

    def bound(self, chips: int, events: int) -> float:
        """Return the upper bound of the share of events, with confidence 1 - error, after a test that ended so.

        Outcomes are ordered by when the test stops, then by the number of events; the bound is the share at which
        outcomes up to the one seen have the probability `error`. For one look this is the bound of Clopper and Pearson.

        Args:
            chips: how many the test saw, at least 1.
            events: among them.

        Source: Jennison and Turnbull, Technometrics 25(1), 1983 (from memory).
        """
        from scipy.optimize import brentq

        if events >= chips:
            return 1.0

        def excess(share: float) -> float:
            return self.probability(chips, share, events) - self.error

        return float(brentq(excess, 0.0, 1.0, xtol=TOLERANCE))


@dataclasses.dataclass
class Audit:
    """Chips that are counted one after the other until it is decided whether the yield is `min_yield` or not.

    Args:
        min_yield: share of chips that are to be good, between 0 and 1.
        error: largest probability of a wrong promise, and of a wrong refusal.
        chips: counted so far.
        good: of them that are good for certain.
        bad: of them that are not good for certain. What is neither counts against either answer.
    """

    min_yield: float
    error: float
    chips: int = 0
    good: int = 0
    bad: int = 0

    def __post_init__(self) -> None:
        scale = math.log(self.error) / math.log(self.min_yield)
        self.promise = FewEvents(1.0 - self.min_yield, self.error, scale)
        self.refusal = FewEvents(self.min_yield, self.error, scale)

    def count(self, low: float, high: float, wanted: float) -> None:
        """Count a chip whose accuracy lies between two bounds.

        Args:
            low: lower bound.
            high: upper bound.
            wanted: the accuracy of a good chip.
        """
        self.chips += 1
        self.good += low >= wanted
        self.bad += high < wanted

    @property
    def verdict(self) -> str:
        """What is decided: "pass", "fail" or "undecided"."""
        if self.chips and self.chips - self.good <= self.promise.limit(self.chips):
            return "pass"
        if self.chips and self.chips - self.bad <= self.refusal.limit(self.chips):
            return "fail"
        return "undecided"

    def reachable(self, most: int) -> bool:
        """Whether it can be decided with so many chips in all, as things stand."""
        if self.chips >= most:
            return False
        promise = self.chips - self.good <= self.promise.limit(most)
        return promise or self.chips - self.bad <= self.refusal.limit(most)

    def yield_bounds(self) -> tuple[float, float]:
        """Return the lower and the upper bound of the yield, each with confidence 1 - error."""
        low = 1.0 - self.promise.bound(self.chips, self.chips - self.good)
        return low, self.refusal.bound(self.chips, self.chips - self.bad)


def accuracy_bounds(accuracy: Any, variance: Any, *, groups: int, samples: int, error: float) -> tuple[Any, Any]:
    """Return the lower and the upper bound of accuracies, each of them wrong with the probability `error`.

    These are the bounds of Clopper and Pearson for n* samples, of which the share `accuracy` is right:

        n* = accuracy (1 - accuracy) / variance * (t(n - 1) / t(G - 1))^2,   at most n

    with quantiles t of Student's distribution at 1 - error. Samples of one group, such as the clips of a speaker, may
    depend on each other in any way. n* = n where all samples are right, or all wrong.

    Args:
        accuracy: share of the samples that are right, 0 to 1; a number or an array.
        variance: of that share, over groups drawn at random, >= 0; likewise.
        groups: G, at least 2.
        samples: n, at least G.
        error: of each bound, between 0 and 0.5.

    Source: Korn and Graubard, Survey Methodology 24(2), 1998 (from memory).
    """
    from scipy.stats import beta, t

    share, spread = np.asarray(accuracy, np.float64), np.asarray(variance, np.float64)
    ratio = float(t.ppf(1.0 - error, samples - 1) / t.ppf(1.0 - error, groups - 1))
    known = (spread > 0.0) & (share > 0.0) & (share < 1.0)
    effective = share * (1.0 - share) / np.where(known, spread, 1.0) * ratio**2
    effective = np.where(known, np.minimum(effective, samples), samples)
    right, wrong = effective * share, effective * (1.0 - share)
    low = np.where(right > 0.0, beta.ppf(error, np.where(right > 0.0, right, 1.0), wrong + 1.0), 0.0)
    high = np.where(wrong > 0.0, beta.ppf(1.0 - error, right + 1.0, np.where(wrong > 0.0, wrong, 1.0)), 1.0)
    return low[()], high[()]
