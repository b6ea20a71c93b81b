"""The likelihood of pulse curves: a Kalman filter over pulses, the factors of each cell integrated out (Laplace).

With x the way from the start, a device with the factors f and h goes x <- x + f (c - (r / h) x) + sd N at each pulse,
and is read with noise. That is linear in x, so that the readings of a curve are normal with moments that a Kalman
filter gives exactly, also over several pulses between two readings. A curve counts from its first reading on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from analognets.devices.fitting.pulses.curves import PulseCurves

__all__ = ["NAMES", "Kind", "PulseTask"]

NAMES = ("step", "loss", "spread", "share", "read", "step_spread", "limit_spread")
"""Constants of a direction: c in uS, r, spread in uS, share, read noise in uS, s_step, s_limit; fits use logarithms."""
STENCIL = 0.05
"""Step of the differences over the standard-normal numbers behind f and h."""
FAR = 8.0
NEWTON = 40
"""Most trials of a step towards the most likely factors, from where the last ones were found."""
LONGEST = 4.0
"""Longest step towards the most likely factors of a cell, in standard deviations between cells."""
NEAR = 1e-3
"""What the logarithm may still gain, by the parabola through it, where factors count as the most likely ones."""
MOST_READINGS = 40_000
"""Readings beyond that are thinned out evenly along the pulses."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """Which constants a law has.

    Args:
        names: those that are fitted, of `NAMES`.
        fixed: values of others; all that are in neither are 0.
    """

    names: tuple[str, ...]
    fixed: tuple[tuple[str, float], ...] = ()

    @property
    def title(self) -> str:
        """Name of the law of the mean step."""
        return "exponential (soft bound)" if "loss" in self.names else "linear"

    @property
    def scatter(self) -> str:
        """Name of the law of the spread of a step."""
        return "share of the step" if "share" in self.names else "constant"

    def values(self, theta: np.ndarray) -> dict[str, np.ndarray]:
        """Return all constants from logarithms, (..., fitted constants)."""
        found = {name: np.zeros(theta.shape[:-1]) for name in NAMES}
        found |= {name: np.full(theta.shape[:-1], value) for name, value in self.fixed}
        return found | {name: np.exp(theta[..., place]) for place, name in enumerate(self.names)}


class PulseTask:
    """Curves of one direction, as the filter takes them.

    Args:
        curves: of one direction.
        start: what the way is counted from in uS.
        sign: 1 for potentiation, -1 for depression.
    """

    def __init__(self, curves: PulseCurves, start: float, sign: float) -> None:
        number, way = _thinned(curves.number), sign * (curves.conductance - start)
        way = np.where(np.isfinite(number), way, np.nan)
        there = np.isfinite(way)
        order = np.argsort(~there, axis=1, kind="stable")
        there, way, number = (np.take_along_axis(one, order, 1) for one in (there, way, number))
        width = int(there.sum(1).max())
        self.there, self.way = there[:, :width], np.where(there, way, 0.0)[:, :width]
        number = np.where(there, number, 0.0)[:, :width]
        self.gap = np.maximum(np.diff(number, axis=1, prepend=0.0), 0.0)
        self.gap[:, 1:] = np.where(self.there[:, 1:], self.gap[:, 1:], 1.0)
        self.cells, self.owner = np.unique(curves.owner, return_inverse=True)
        self.modes = np.zeros((len(self.cells), 2))

    def steps(self) -> tuple[np.ndarray, np.ndarray]:
        """Return ways before pulses and mean steps of a pulse from there, of all neighbouring readings."""
        both = self.there[:, 1:] & self.there[:, :-1]
        step = (self.way[:, 1:] - self.way[:, :-1]) / np.maximum(self.gap[:, 1:], 1.0)
        return self.way[:, :-1][both], step[both]

    def readings(self, values: dict[str, np.ndarray], f: Any = 1.0, h: Any = 1.0) -> np.ndarray:
        """Return the logarithm of each reading's density given those before, (..., curves, readings).

        Args:
            values: of `Kind.values`, with axes that go before those of the curves.
            f: factor of the step of each curve.
            h: factor of its limit.
        """
        c, r, spread, share, read = (values[name][..., None] for name in NAMES[:5])
        step, loss = f * c, np.minimum(f * r / h, 0.999)
        shape = np.broadcast_shapes(np.shape(step), np.shape(loss), self.way.shape[:1])
        found = np.zeros((*shape, self.way.shape[1]))
        noise = read**2
        mean, variance = np.broadcast_to(self.way[:, 0], shape), np.broadcast_to(noise, shape)
        last: Any = None
        for at in range(1, self.way.shape[1]):
            gap, there = self.gap[:, at], self.there[:, at]
            if last is None or not np.array_equal(gap, last):
                kept, pushed, gathered, faded = _over(gap, step, loss)
                last = gap
            before = (share * (step - loss * mean)) ** 2 * faded
            mean, variance = kept * mean + pushed, kept**2 * variance + spread**2 * gathered + before
            total = variance + noise + 1e-300
            off = self.way[:, at] - mean
            found[..., at] = np.where(there, -0.5 * (np.log(2.0 * np.pi * total) + off**2 / total), 0.0)
            gain = np.where(there, variance / total, 0.0)
            mean, variance = mean + gain * off, variance * (1.0 - gain)
        return found

    def by_cell(self, logs: np.ndarray) -> np.ndarray:
        """Return sums over the curves of each cell of numbers (..., curves)."""
        if len(self.cells) == len(self.owner):
            order = np.empty_like(self.owner)
            order[self.owner] = np.arange(len(self.owner))
            return logs[..., order]
        return logs @ np.eye(len(self.cells))[self.owner]

    def log(self, kind: Kind, theta: np.ndarray, *, keep: bool = False) -> np.ndarray:
        """Return the logarithm of the likelihood of each cell, (rows of theta, cells).

        Args:
            kind: which constants theta holds.
            theta: logarithms of constants, (rows, constants).
            keep: whether the factors that are found for the first row are where to start from next time.
        """
        values = {name: value[:, None] for name, value in kind.values(theta).items()}
        own = [place for place, name in enumerate(NAMES[5:]) if name in kind.names or name in dict(kind.fixed)]
        if not own:
            plain = {name: value[:, 0] for name, value in values.items()}
            return self.by_cell(self.readings(plain).sum(-1))
        scales = np.stack([values[NAMES[5 + place]][:, 0] for place in own], axis=-1)[:, None, :]
        z, value, slope, bend = self._most_likely(values, scales, own)
        move = np.clip(z + _solved(bend, slope), -FAR, FAR) - z
        if keep:
            self.modes[:, own] = (scales * (z + move))[0]
        gained = np.clip(0.5 * (slope * move).sum(-1), 0.0, 1.0)  # of a parabola that starts near its top
        return value + gained - 0.5 * np.log(np.linalg.det(bend))

    def _most_likely(
        self, values: dict[str, np.ndarray], scales: np.ndarray, own: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the most likely factors of each row and cell, and what `_around` says there.

        Newton's steps from the last factors, halved where the logarithm does not rise.
        """
        last = np.clip(self.modes[None][..., own] / np.maximum(scales, 1e-6), -FAR, FAR)
        z = np.broadcast_to(last, (len(values["step"]), *last.shape[1:])).copy()
        found: tuple[np.ndarray, ...] = self._around(values, scales, z, own)
        step = _newton(found[1], found[2], z)
        for _ in range(NEWTON):
            gain = np.abs((found[1] * step).sum(-1))
            if (gain < NEAR).all():
                break
            tried = self._around(values, scales, z + step, own)
            better = tried[0] >= found[0]
            z = np.where(better[..., None], z + step, z)
            found = tuple(
                np.where(better[(..., *[None] * (one.ndim - 2))], new, one)
                for one, new in zip(found, tried, strict=True)
            )
            step = np.where(better[..., None], _newton(found[1], found[2], z), 0.5 * step)
        value, slope, bend = found
        return z, value, slope, bend

    def _around(
        self, values: dict[str, np.ndarray], scales: np.ndarray, z: np.ndarray, own: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return value, slope and minus the second derivatives of the joint logarithm at z, of each row and cell."""
        count = len(own)
        moves = np.zeros((1 + 2 * count + (count > 1), count))
        for place in range(count):
            moves[1 + 2 * place, place], moves[2 + 2 * place, place] = STENCIL, -STENCIL
        moves[1 + 2 * count :] = STENCIL
        tried = z[:, None] + moves[None, :, None]  # (rows, stencil, cells, factors)
        factors = [np.ones(1), np.ones(1)]
        for place, kind in enumerate(own):
            factors[kind] = np.exp(scales[:, None, :, place] * tried[..., place])[..., self.owner]
        log = self.by_cell(self.readings(values, *factors).sum(-1)) - 0.5 * (tried**2).sum(-1)
        value, up, down = log[:, 0], log[:, 1 : 1 + 2 * count : 2], log[:, 2 : 2 + 2 * count : 2]
        slope = np.moveaxis(up - down, 1, -1) / (2.0 * STENCIL)
        own_bends = np.maximum(np.moveaxis(2.0 * value[:, None] - up - down, 1, -1) / STENCIL**2, 1.0)
        bend = own_bends[..., None] * np.eye(count)
        if count > 1:
            plane = value + STENCIL * slope.sum(-1) - 0.5 * STENCIL**2 * own_bends.sum(-1)
            cross = (plane - log[:, -1]) / STENCIL**2
            most = 0.98 * np.sqrt(own_bends.prod(-1))
            bend[..., 0, 1] = bend[..., 1, 0] = np.clip(cross, -most, most)
        return value, slope, bend


def _newton(slope: np.ndarray, bend: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return a step towards the top of a parabola, not longer than `LONGEST` and within `FAR`."""
    return np.clip(z + np.clip(_solved(bend, slope), -LONGEST, LONGEST), -FAR, FAR) - z


def _solved(bend: np.ndarray, slope: np.ndarray) -> np.ndarray:
    return np.linalg.solve(bend, slope[..., None])[..., 0]


def _over(gap: np.ndarray, step: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return what `gap` pulses do: share of the way that is kept, way that is added, and the growth of two variances.

    The second belongs to spreads that are a share of the step, which shrinks with every pulse.
    """
    small = loss < 1e-9
    safe = np.where(small, 0.5, loss)
    rest = np.exp(gap * np.log1p(-safe))
    kept = np.where(small, 1.0, rest)
    pushed = step * np.where(small, gap, (1.0 - rest) / safe)
    gathered = np.where(small, gap, (1.0 - rest**2) / (1.0 - (1.0 - safe) ** 2))
    faded = np.where(small, gap, gap * (rest / (1.0 - safe)) ** 2)
    return kept, pushed, gathered, faded


def _thinned(number: np.ndarray) -> np.ndarray:
    """Return pulse numbers without those of readings that are too many."""
    count = int(np.isfinite(number).sum())
    every = max(1, -(-count // MOST_READINGS))
    if every == 1:
        return number
    kept = np.zeros(number.shape[1], dtype=bool)
    kept[::every] = kept[-1] = True
    return np.where(kept, number, np.nan)
