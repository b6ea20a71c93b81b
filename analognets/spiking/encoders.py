"""Sound to spikes by a filter bank like the cochlea's; pictures to wanted spikes, and back."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from scipy.signal import gammatone, lfilter, sosfilt, tf2sos

from analognets.errors import InvalidArgumentError, check_choice, check_integer, check_number
from analognets.spiking.trains import SpikeTrains

__all__ = ["Cochlea", "PixelCode"]

SILENT = 1e-4
"""Share of full scale below which a sound counts as silence (-80 dB)."""

GRID = 1.0
"""Step of the band's envelopes in ms."""


@dataclasses.dataclass(frozen=True)
class Cochlea:
    """Sound to spikes: gammatone bands, half-wave rectified, smoothed and compressed, then rate or level coding.

        e_b(t) = (low-pass of max(0, band b) / its largest value over all bands)^compression
        rate:   a channel fires whenever the integral of max_rate e_b(t) has grown by one
        level:  the "up" channel of a band fires when e_b has risen by `level`, its "down" channel when it has fallen

    Centre frequencies lie evenly on the ERB scale. Sub-sampling keeps every n-th spike of a channel.

    Args:
        channels: of the spikes: as many bands with rate coding, half as many (up, down) with level coding.
        duration: of the window in ms.
        coding: "rate" or "level".
        max_rate: in Hz before sub-sampling, > 0.
        subsample: n >= 1.
        level: step of level coding, a share of the largest envelope, above 0 and up to 1.
        low: lowest centre frequency in Hz.
        high: highest, below half the sampling rate.
        sample_rate: of the sound in Hz.
        smoothing: cut-off of the low-pass in Hz.
        compression: exponent, above 0 and up to 1.

    Raises:
        InvalidArgumentError: a setting is out of range.

    Examples:
        >>> sound = np.sin(2 * np.pi * 440 * np.arange(8000) / 16_000)
        >>> trains = Cochlea(channels=16, duration=500.0).encode(sound)
        >>> trains.n_channels, int(trains.counts().argmax())
        (16, 3)

    Source: gammatone filters of scipy.signal.gammatone (Slaney 1993), ERB scale of Glasberg and Moore 1990. 132
    sub-sampled channels in 1250 ms are the published experiment's (arXiv 1905.11929, which used a silicon cochlea);
    everything else is our reconstruction.
    """

    channels: int = 132
    duration: float = 1250.0
    coding: str = "rate"
    max_rate: float = 100.0
    subsample: int = 4
    level: float = 0.1
    low: float = 120.0
    high: float = 7000.0
    sample_rate: int = 16000
    smoothing: float = 40.0
    compression: float = 0.3

    def __post_init__(self) -> None:
        check_integer("Cochlea", "channels", self.channels, 2, 4096)
        check_choice("Cochlea", "coding", self.coding, ("rate", "level"))
        check_integer("Cochlea", "subsample", self.subsample, 1, 1000)
        check_integer("Cochlea", "sample_rate", self.sample_rate, 1000, 400_000)
        ranges = {
            "duration": (1.0, 1e6, "ms"),
            "max_rate": (1e-3, 1e4, "Hz"),
            "level": (1e-3, 1.0, ""),
            "low": (20.0, 0.49 * self.sample_rate, "Hz"),
            "high": (20.0, 0.49 * self.sample_rate, "Hz"),
            "smoothing": (1.0, 1e4, "Hz"),
            "compression": (1e-2, 1.0, ""),
        }
        for name, (low, high, unit) in ranges.items():
            check_number("Cochlea", name, getattr(self, name), low, high, unit=unit)
        if not self.low < self.high:
            raise InvalidArgumentError(
                f"`high` of Cochlea must be above low. Received: high={self.high:g}, low={self.low:g} Hz."
            )
        if self.coding == "level" and self.channels % 2:
            raise InvalidArgumentError(
                "Level coding needs an even number of channels, up and down for each band. Received: "
                f"channels={self.channels}."
            )

    @property
    def bands(self) -> int:
        """How many gammatone filters there are."""
        return self.channels if self.coding == "rate" else self.channels // 2

    def centres(self) -> np.ndarray:
        """Return the centre frequencies in Hz, evenly spaced on the ERB-rate scale 21.4 log10(1 + 0.00437 f)."""
        low, high = (21.4 * math.log10(1 + 0.00437 * f) for f in (self.low, self.high))
        return (10 ** (np.linspace(low, high, self.bands) / 21.4) - 1) / 0.00437

    def envelopes(self, sound: Any) -> np.ndarray:
        """Return e_b(t), an array (steps of 1 ms, bands), 0 to 1.

        Args:
            sound: int16 or float (samples,) at `sample_rate`; what is longer than the window is cut off.

        Raises:
            InvalidArgumentError: the sound is shorter than the window, silent or not finite.
        """
        sound = np.asarray(sound)
        scale = 32768.0 if sound.dtype.kind in "iu" else 1.0
        sound = np.asarray(sound, dtype="float64") / scale
        wanted = round(self.duration * self.sample_rate / 1000)
        if sound.ndim != 1 or not np.isfinite(sound).all():
            raise InvalidArgumentError(
                f"A sound must be one channel of finite samples. Received: shape {sound.shape}. Mix channels first."
            )
        if len(sound) < wanted:
            raise InvalidArgumentError(
                f"The sound must be at least as long as the window of {self.duration:g} ms. Received: "
                f"{1000 * len(sound) / self.sample_rate:g} ms. Stretch or pad it, or make the window shorter."
            )
        sound = sound[:wanted]
        if np.abs(sound).max() < SILENT:
            raise InvalidArgumentError(
                f"The sound must not be silent. Received: a peak of {np.abs(sound).max():.2g} of full scale, less than "
                f"{SILENT:g}. Check the recording and its loudness."
            )
        smooth = math.exp(-2 * math.pi * self.smoothing / self.sample_rate)
        grid = np.minimum((np.arange(round(self.duration / GRID)) + 1) * GRID * self.sample_rate / 1000, wanted)
        found = np.empty((len(grid), self.bands))
        for band, centre in enumerate(self.centres()):
            filtered = sosfilt(tf2sos(*gammatone(centre, "iir", fs=self.sample_rate)), sound)
            envelope = lfilter([1 - smooth], [1, -smooth], np.maximum(filtered, 0.0))
            found[:, band] = envelope[grid.astype(int) - 1]
        return (found / found.max()) ** self.compression

    def encode(self, sound: Any, *, seed: int = 0) -> SpikeTrains:
        """Return the spikes of a sound.

        Args:
            sound: as in `envelopes`.
            seed: of the phases channels start with (rate coding).

        Raises:
            InvalidArgumentError: the sound is too short, silent or not finite, or no spike is left.
        """
        envelopes = self.envelopes(sound)
        coded = self._rates(envelopes, seed) if self.coding == "rate" else self._levels(envelopes)
        kept = [times[self.subsample - 1 :: self.subsample] for times in coded]
        return SpikeTrains.from_lists(kept, self.duration).require_spikes("The encoding of a sound")

    def _rates(self, envelopes: np.ndarray, seed: int) -> list[np.ndarray]:
        """Integrate the rate from a random phase of the sub-sampled train on, and fire at whole numbers."""
        phase = self.subsample * np.random.default_rng([seed, 132]).random(self.bands)
        grown = phase + np.cumsum(envelopes, axis=0) * (self.max_rate * GRID / 1000)
        begin = np.vstack([phase, grown])
        ends = np.arange(len(grown) + 1) * GRID
        trains = []
        for band in range(self.bands):
            marks = np.arange(1, math.floor(grown[-1, band]) + 1)
            times = np.interp(marks, begin[:, band], ends)
            trains.append(times[(times >= 0) & (times < self.duration) & (marks > phase[band])])
        # Whole numbers below the phase were passed before the window: only their count matters to the sub-sampling.
        return [np.concatenate([np.full(math.floor(p), -1.0), t]) for p, t in zip(phase, trains, strict=True)]

    def _levels(self, envelopes: np.ndarray) -> list[np.ndarray]:
        """Send a spike up or down whenever a band has left its last level by a step."""
        up: list[list[float]] = [[] for _ in range(self.bands)]
        down: list[list[float]] = [[] for _ in range(self.bands)]
        last = np.zeros(self.bands)
        for number, now in enumerate(envelopes):
            for band in np.flatnonzero(np.abs(now - last) >= self.level):
                (up if now[band] > last[band] else down)[band].append(number * GRID)
                last[band] += math.copysign(self.level, now[band] - last[band])
        return [np.array(times) for times in (*up, *down)]


@dataclasses.dataclass(frozen=True)
class PixelCode:
    """Pictures to wanted spike trains, one neuron a pixel: brighter pixels fire more often.

        n = round(most * intensity) spikes, one in each of n equal parts of [start, duration), at a random place of it

    The random place leaves out the last `gap` ms of a part, so spikes of a pixel are at least `gap` apart.

    Args:
        shape: rows and columns of the pictures.
        duration: of the window in ms.
        most: spikes of a pixel of intensity 1, at least 1.
        start: in ms: no spike is wanted before, because the first inputs have to arrive.
        gap: shortest interval in ms.

    Raises:
        InvalidArgumentError: a setting is out of range, or the spikes don't fit into the window.

    Examples:
        >>> code = PixelCode(shape=(1, 2), duration=500.0)
        >>> trains = code.encode([[1.0, 0.3]], seed=0)
        >>> trains.counts().tolist(), code.decode(trains).tolist()
        ([10, 3], [[1.0, 0.3]])

    Source: spike times that stand for pixel intensities, 168 outputs and 1250 ms are the published experiment's
    (arXiv 1905.11929); 14 x 12 pixels and this code are our reconstruction.
    """

    shape: tuple[int, int] = (14, 12)
    duration: float = 1250.0
    most: int = 10
    start: float = 30.0
    gap: float = 30.0

    def __post_init__(self) -> None:
        if len(self.shape) != 2 or min(self.shape) < 1:
            raise InvalidArgumentError(
                f"`shape` of PixelCode must be rows and columns, 1 or more. Received: {self.shape!r}."
            )
        check_number("PixelCode", "duration", self.duration, 1.0, 1e6, unit="ms")
        check_integer("PixelCode", "most", self.most, 1, 10_000)
        check_number("PixelCode", "start", self.start, 0.0, self.duration, unit="ms")
        check_number("PixelCode", "gap", self.gap, 0.0, self.duration, unit="ms")
        if self.most * self.gap >= self.duration - self.start:
            raise InvalidArgumentError(
                f"{self.most} spikes {self.gap:g} ms apart don't fit between {self.start:g} and {self.duration:g} ms. "
                "Lower `most` or `gap`."
            )

    def encode(self, picture: Any, *, seed: int = 0) -> SpikeTrains:
        """Return the wanted spikes of a picture, channel = row * columns + column.

        Args:
            picture: (rows, columns), 0 to 1.
            seed: of the places.

        Raises:
            InvalidArgumentError: the picture has another shape, values outside of 0 to 1, or no bright pixel.
        """
        picture = np.asarray(picture, dtype="float64")
        if picture.shape != tuple(self.shape) or not (np.isfinite(picture).all() and 0 <= picture.min()):
            raise InvalidArgumentError(
                f"A picture must have {self.shape[0]} x {self.shape[1]} values from 0 to 1. Received: shape "
                f"{picture.shape}, least {picture.min():g}."
            )
        if picture.max() > 1:
            raise InvalidArgumentError(
                f"A picture must have values from 0 to 1. Received: largest {picture.max():g}. Divide by it."
            )
        rng = np.random.default_rng([seed, 168])
        lists = []
        for count in np.rint(self.most * picture.ravel()).astype(int):
            edges = np.linspace(self.start, self.duration, count + 1) if count else np.zeros(1)
            part = np.diff(edges)
            lists.append(edges[:-1] + rng.random(count) * np.maximum(part - self.gap, 0.0))
        return SpikeTrains.from_lists(lists, self.duration).require_spikes("The wanted spikes of a picture")

    def decode(self, trains: SpikeTrains) -> np.ndarray:
        """Return the picture (rows, columns) that spikes stand for: n / most, at most 1."""
        return np.minimum(trains.counts().reshape(self.shape) / self.most, 1.0)
