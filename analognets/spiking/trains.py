"""Spike trains: which channel fires when, in milliseconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from analognets.errors import InvalidArgumentError, check_integer, check_number

__all__ = ["SpikeTrains", "check_step"]

_SLACK = 1e-9


def check_step(dt: float, refractory: float | None = None) -> float:
    """Return the time step in ms.

    Raises:
        InvalidArgumentError: it is not positive, or longer than the refractory time, which it then can't resolve.
    """
    dt = check_number("a simulation", "dt", dt, 1e-6, 1e6, unit="ms")
    if refractory is not None and dt > refractory * (1 + _SLACK):
        raise InvalidArgumentError(
            f"The time step must not be longer than the refractory time. Received: dt={dt:g} ms with "
            f"refractory={refractory:g} ms. Use dt of at most {refractory:g} ms."
        )
    return dt


@dataclasses.dataclass(frozen=True, eq=False)
class SpikeTrains:
    """Spikes of several channels in a window of time, sorted by time.

    Args:
        times: in ms, 0 <= t < duration.
        channels: the channel of each spike, 0 to n_channels - 1.
        n_channels: how many channels there are, silent ones counted.
        duration: of the window in ms.

    Raises:
        InvalidArgumentError: a time or a channel lies outside, or the lengths differ.

    Examples:
        >>> trains = SpikeTrains.from_lists([[1.0, 4.0], [], [2.5]], duration=10.0)
        >>> len(trains), trains.counts().tolist(), trains.to_dense(0.5).shape
        (3, [2, 0, 1], (20, 3))
    """

    times: np.ndarray
    channels: np.ndarray
    n_channels: int
    duration: float

    def __post_init__(self) -> None:
        times, channels = np.asarray(self.times, dtype="float64"), np.asarray(self.channels)
        count = check_integer("SpikeTrains", "n_channels", self.n_channels, 1, 2**31 - 1)
        duration = check_number("SpikeTrains", "duration", self.duration, 1e-9, 1e9, unit="ms")
        if times.ndim != 1 or times.shape != channels.shape:
            raise InvalidArgumentError(
                "`times` and `channels` of SpikeTrains must be one-dimensional and of one length. Received: shapes "
                f"{times.shape} and {channels.shape}."
            )
        if times.size and channels.dtype.kind not in "iu":
            raise InvalidArgumentError(
                f"`channels` of SpikeTrains must be whole numbers. Received: {channels.dtype}. Number them from 0."
            )
        if times.size and not (np.isfinite(times).all() and times.min() >= 0 and times.max() < duration):
            raise InvalidArgumentError(
                f"Times of spikes must lie in [0, {duration:g}) ms. Received: {times.min():g} to {times.max():g} ms. "
                "Cut them to the window, or make `duration` longer."
            )
        if times.size and not (channels.min() >= 0 and channels.max() < count):
            raise InvalidArgumentError(
                f"Channels of spikes must be 0 to {count - 1}. Received: {channels.min()} to {channels.max()}."
            )
        order = np.lexsort((channels, times))
        values = {"times": times[order], "channels": channels[order].astype("int64"), "n_channels": count}
        for name, value in {**values, "duration": duration}.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.times)

    @classmethod
    def from_lists(cls, trains: Sequence[Iterable[float]], duration: float) -> SpikeTrains:
        """Build from one list of times in ms for each channel."""
        lists = [np.asarray(list(train), dtype="float64") for train in trains]
        channels = np.repeat(np.arange(len(lists)), [len(times) for times in lists])
        return cls(np.concatenate([*lists, np.zeros(0)]), channels, len(lists), duration)

    @classmethod
    def from_dense(cls, spikes: Any, dt: float) -> SpikeTrains:
        """Build from an array (steps, channels) that is not zero where a channel fires; a spike of step k is at k dt.

        Raises:
            InvalidArgumentError: the array has not two axes.
        """
        spikes = np.asarray(spikes)
        if spikes.ndim != 2:
            raise InvalidArgumentError(
                f"Dense spikes must have the axes (steps, channels). Received: shape {spikes.shape}. Give one example "
                "at a time."
            )
        dt = check_step(dt)
        steps, channels = np.nonzero(spikes)
        return cls(steps * dt, channels, spikes.shape[1], spikes.shape[0] * dt)

    def steps(self, dt: float) -> np.ndarray:
        """Return the step each spike falls into: floor(t / dt)."""
        return np.floor(self.times / check_step(dt) + 1e-6).astype("int64").clip(max=self.n_steps(dt) - 1)

    def n_steps(self, dt: float) -> int:
        """Return how many steps the window has: duration / dt, rounded."""
        return max(1, round(self.duration / check_step(dt)))

    def to_dense(self, dt: float, dtype: str = "float32") -> np.ndarray:
        """Return the number of spikes in each step, an array (steps, channels)."""
        dense = np.zeros((self.n_steps(dt), self.n_channels), dtype)
        np.add.at(dense, (self.steps(dt), self.channels), 1)
        return dense

    def lists(self) -> list[np.ndarray]:
        """Return the times in ms of each channel."""
        order = np.argsort(self.channels, kind="stable")
        return np.split(self.times[order], np.cumsum(self.counts())[:-1])

    def counts(self) -> np.ndarray:
        """Return the number of spikes of each channel."""
        return np.bincount(self.channels, minlength=self.n_channels)

    def rates(self) -> np.ndarray:
        """Return the mean rate of each channel in Hz."""
        return self.counts() * (1000.0 / self.duration)

    def require_spikes(self, what: str) -> SpikeTrains:
        """Return these trains if they hold a spike.

        Args:
            what: what they are, for the message.

        Raises:
            InvalidArgumentError: no channel fires at all, so that nothing can be learned from or to them.
        """
        if not len(self):
            raise InvalidArgumentError(
                f"{what} must hold at least one spike. Received: {self.n_channels} empty spike trains of "
                f"{self.duration:g} ms. Raise the rate, or choose another signal."
            )
        return self
