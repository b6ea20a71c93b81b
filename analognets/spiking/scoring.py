"""How well observed spikes meet wanted ones: matched one to one within a tolerance, false ones counted apart."""

from __future__ import annotations

import dataclasses

import numpy as np

from analognets.errors import InvalidArgumentError, check_integer, check_number
from analognets.spiking.trains import SpikeTrains

__all__ = ["SpikeScore", "chance_share", "score_spikes"]


@dataclasses.dataclass(frozen=True)
class SpikeScore:
    """What a comparison of spike trains found.

    Args:
        targets: how many spikes were wanted.
        observed: how many there were.
        met: how many wanted ones have an observed one of their own within the tolerance.
        tolerance: in ms.

    Examples:
        >>> score = SpikeScore(targets=10, observed=12, met=9, tolerance=5.0)
        >>> score.share, score.false_spikes
        (0.9, 3)
    """

    targets: int
    observed: int
    met: int
    tolerance: float

    @property
    def share(self) -> float:
        """Share of the wanted spikes that were met, 0 to 1."""
        return self.met / self.targets

    @property
    def false_spikes(self) -> int:
        """Observed spikes that meet no wanted one."""
        return self.observed - self.met

    @property
    def false_share(self) -> float:
        """False spikes for each wanted one."""
        return self.false_spikes / self.targets

    def __add__(self, other: SpikeScore) -> SpikeScore:
        if self.tolerance != other.tolerance:
            raise InvalidArgumentError(
                f"Scores of one tolerance can be added. Received: {self.tolerance:g} and {other.tolerance:g} ms."
            )
        return SpikeScore(
            self.targets + other.targets, self.observed + other.observed, self.met + other.met, self.tolerance
        )


def score_spikes(target: SpikeTrains, observed: SpikeTrains, tolerance: float) -> SpikeScore:
    """Match spikes of the same channel one to one, as many as possible, at most `tolerance` apart.

    No observed spike counts for two wanted ones, so a neuron that fires all the time is not rewarded twice.

    Args:
        target: wanted spikes, at least one.
        observed: of the same channels and window.
        tolerance: in ms, >= 0; a pair exactly that far apart counts.

    Raises:
        InvalidArgumentError: the trains don't fit together, or no spike is wanted.

    Examples:
        >>> from analognets.spiking import SpikeTrains
        >>> target, observed = (SpikeTrains.from_lists([[10.0, one]], 100.0) for one in (60.0, 62.0))
        >>> score_spikes(target, observed, tolerance=5.0)
        SpikeScore(targets=2, observed=2, met=2, tolerance=5.0)
    """
    tolerance = check_number("score_spikes", "tolerance", tolerance, 0.0, 1e9, unit="ms")
    target.require_spikes("The target of a score")
    if (target.n_channels, target.duration) != (observed.n_channels, observed.duration):
        raise InvalidArgumentError(
            "Wanted and observed spikes must have the same channels and window. Received: "
            f"{target.n_channels} channels of {target.duration:g} ms and {observed.n_channels} of "
            f"{observed.duration:g} ms."
        )
    stride = target.duration + 2 * tolerance + 1.0  # no spike can match one of another channel
    wanted = np.sort(target.times + stride * target.channels)
    found = np.sort(observed.times + stride * observed.channels)
    met = _matches(wanted.tolist(), found.tolist(), tolerance + 1e-6)
    return SpikeScore(len(target), len(observed), met, tolerance)


def _matches(wanted: list[float], found: list[float], tolerance: float) -> int:
    """Return the size of a largest matching of two sorted lists: each takes the earliest partner that is left."""
    met = at = 0
    for time in wanted:
        while at < len(found) and found[at] < time - tolerance:
            at += 1
        if at < len(found) and found[at] <= time + tolerance:
            met += 1
            at += 1
    return met


def chance_share(target: SpikeTrains, observed: SpikeTrains, tolerance: float, *, shifts: int = 20) -> float:
    """Return the share of wanted spikes that the same observed ones would meet at other times: the level of chance.

    Args:
        target: as in `score_spikes`.
        observed: their times are moved round the window by equal parts of it, and the shares averaged.
        tolerance: in ms.
        shifts: how many times, 1 to 1000.

    Examples:
        >>> from analognets.spiking import SpikeTrains
        >>> target, observed = (SpikeTrains.from_lists([[10.0, one]], 100.0) for one in (60.0, 62.0))
        >>> round(chance_share(target, observed, 5.0), 2)
        0.17
    """
    count = check_integer("chance_share", "shifts", shifts, 1, 1000)
    shares = []
    for number in range(count):
        times = (observed.times + target.duration * (number + 1) / (count + 1)) % target.duration
        shares.append(
            score_spikes(
                target, SpikeTrains(times, observed.channels, observed.n_channels, observed.duration), tolerance
            ).share
        )
    return float(np.mean(shares))
