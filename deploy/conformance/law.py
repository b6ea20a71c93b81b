"""The device law of a conformance bundle in NumPy: its moments under every named rule, and draws of it."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from analognets.core.checked import Section

__all__ = ["RULES", "Law", "Rules", "draw_weights", "quantise", "weight_moments"]

NODES, OTHER_NODES, EXPONENT_NODES = 241, 121, 201
"""Of the quadratures over the programming noise of a device and of its partner, and over drift exponents."""
REACH = 6.5
"""Standard deviations on either side that a quadrature covers."""
LOWEST = 1e-7
"""Floor of G / g_max inside of logarithms."""

Positive = Annotated[float, Field(gt=0)]
Converter = Literal["symmetric", "full_range", "floor", "unclipped", "none"]


class Law(Section):
    """PCM with g = G_target / g_max, N standard normal, ln natural, conductances in uS and times in seconds.

        programming  G_prog = max(0, G_target + (c0 + c1 g + c2 g^2) N)
        drift        G(t) = G_prog D(t)^-nu,  nu = |mu + sigma N|,  mu, sigma = clip(a ln g + b, low, high)
        read noise   G = max(0, G(t) (1 + Q sqrt(ln((t' + t_read) / (2 t_read))) N)),  Q = min(f / g^e, high)

    D and t' by the rule `drift_clock`, g of Q by `read_noise_reference`.

    Args:
        g_max: uS.
        programming: c0, c1, c2 in uS.
        drift_mean: a, b, low, high of mu.
        drift_spread: the same of sigma.
        read_noise: f, e, high of Q.
        t_0: seconds.
        t_read: seconds.

    Examples:
        >>> Law(g_max=20.0).programming[1]
        1.965

    Source: Nandakumar et al., ICECS 2019; Joshi et al. 2020; constants verified in IBM/aihwkit, inference/noise/pcm.py.
    """

    g_max: Positive = 25.0
    programming: tuple[float, float, float] = (0.26348, 1.9650, -1.1731)
    drift_mean: tuple[float, float, float, float] = (-0.0155, 0.0244, 0.049, 0.1)
    drift_spread: tuple[float, float, float, float] = (-0.0125, -0.0059, 0.008, 0.045)
    read_noise: tuple[float, float, float] = (0.0088, 0.65, 0.2)
    t_0: Positive = 20.0
    t_read: Positive = 250e-9


class Rules(Section):
    """What a simulator may do in one way or another.

    Args:
        read_noise_reference: whose conductance is in Q: "target" as documented, or "programmed".
        pair: "kept": both devices of a weight are programmed, drift and are read on their own; "collapsed": only the
            programmed weight is kept, and at each reading one device carries all of it and the other is 0.
        drift_clock: "since_programming": D = (t + t_0) / t_0, t' = t + t_0; "absolute": D = max(t, t_0) / t_0, t' = t.
        dac: of input converters. "symmetric": round(x / step) step with 2^b - 1 levels, step = range / (2^(b-1) - 1),
            clipped; "full_range": 2^b levels, step = range / 2^(b-1); "floor": as symmetric, rounded down;
            "unclipped": as symmetric, not clipped; "none": not converted.
        adc: of output converters, likewise.

    Examples:
        >>> Rules(pair="collapsed").read_noise_reference
        'target'
    """

    read_noise_reference: Literal["target", "programmed"] = "target"
    pair: Literal["kept", "collapsed"] = "kept"
    drift_clock: Literal["since_programming", "absolute"] = "since_programming"
    dac: Converter = "symmetric"
    adc: Converter = "symmetric"


RULES: dict[str, tuple[str, ...]] = {
    "read_noise_reference": ("target", "programmed"),
    "pair": ("kept", "collapsed"),
    "drift_clock": ("since_programming", "absolute"),
    "dac": ("symmetric", "full_range", "floor", "unclipped", "none"),
    "adc": ("symmetric", "full_range", "floor", "unclipped", "none"),
}
"""Choices of each rule."""


def quantise(values: np.ndarray, bits: int, full_scale: float, rule: str) -> np.ndarray:
    """Return what a converter makes of values under a rule."""
    if rule == "none":
        return values
    if rule == "full_range":
        half = 2 ** (bits - 1)
        return np.clip(np.round(values * half / full_scale), -half, half - 1) * (full_scale / half)
    top = 2 ** (bits - 1) - 1
    levels = (np.floor if rule == "floor" else np.round)(values * top / full_scale)
    return (levels if rule == "unclipped" else np.clip(levels, -top, top)) * (full_scale / top)


@dataclasses.dataclass(frozen=True)
class _Device:
    """What the law says of a device with a target."""

    law: Law
    target: float

    @property
    def g(self) -> float:
        return self.target / self.law.g_max

    @property
    def deviation(self) -> float:
        c0, c1, c2 = self.law.programming
        return max(c0 + c1 * self.g + c2 * self.g**2, 0.0)

    def exponent(self) -> tuple[float, float]:
        log_g = math.log(max(self.g, LOWEST))
        a, b, low, high = self.law.drift_mean
        slope, offset, least, most = self.law.drift_spread
        return float(np.clip(a * log_g + b, low, high)), float(np.clip(slope * log_g + offset, least, most))

    def programmed(self, nodes: int) -> tuple[np.ndarray, np.ndarray]:
        """Return conductances after programming with their weights."""
        normal, share = _normal(nodes)
        return np.maximum(self.target + self.deviation * normal, 0.0), share

    def decay(self, log_time: float) -> tuple[float, float]:
        """Return mean and mean square of D^-nu."""
        normal, share = _normal(EXPONENT_NODES)
        mean, spread = self.exponent()
        factor = np.exp(-np.abs(mean + spread * normal) * log_time)
        return float(share @ factor), float(share @ factor**2)


def _normal(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    values = np.linspace(-REACH, REACH, nodes)
    density = np.exp(-(values**2) / 2)
    return values, density / density.sum()


def amplitude(law: Law, conductance: Any) -> Any:
    """Return Q of a reference conductance in uS."""
    factor, power, high = law.read_noise
    return np.minimum(factor / np.maximum(np.asarray(conductance) / law.g_max, LOWEST) ** power, high)


def clock(law: Law, rules: Rules, seconds: float) -> tuple[float, float]:
    """Return ln D(t), and the deviation of the read noise for Q = 1."""
    since = seconds + law.t_0 if rules.drift_clock == "since_programming" else seconds
    log_time = math.log(max(since / law.t_0, 1.0))
    return log_time, math.sqrt(math.log(max((since + law.t_read) / (2 * law.t_read), 1.0)))


def _rectified(relative: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and mean square of max(0, 1 + q N)."""
    from scipy.special import ndtr

    q = np.maximum(np.asarray(relative, np.float64), 1e-12)
    below = ndtr(1 / q)
    density = np.exp(-0.5 / q**2) / math.sqrt(2 * math.pi)
    return below + q * density, (1 + q**2) * below + q * density


def weight_moments(
    law: Law, rules: Rules, level: float, seconds: float | None, *, read: bool, top: float = 1.0
) -> tuple[float, float]:
    """Return mean and standard deviation of G+ - G- in uS of a weight whose G+ has a target and whose G- has 0.

    Args:
        law: of the devices.
        rules: how it is applied.
        level: target of G+ in uS.
        seconds: since programming; None: right after it, neither drifted nor read.
        read: with read noise.
        top: largest programmed weight of a tile over g_max, which collapsed pairs are scaled by.
    """
    devices = _Device(law, level), _Device(law, 0.0)
    if seconds is not None and rules.pair == "collapsed":
        mean, square = _collapsed(law, rules, devices, seconds, read, top)
        return mean, math.sqrt(max(square - mean**2, 0.0))
    found = [_single(law, rules, device, seconds, read) for device in devices]
    variance = sum(square - mean**2 for mean, square in found)
    return found[0][0] - found[1][0], math.sqrt(max(variance, 0.0))


def _single(law: Law, rules: Rules, device: _Device, seconds: float | None, read: bool) -> tuple[float, float]:
    """Return mean and mean square of a device of a kept pair."""
    values, share = device.programmed(NODES)
    first, second = np.ones_like(values), np.ones_like(values)
    decay = 1.0, 1.0
    if seconds is not None:
        log_time, deviation = clock(law, rules, seconds)
        decay = device.decay(log_time)
        if read:
            reference = values if rules.read_noise_reference == "programmed" else np.full_like(values, device.target)
            first, second = _rectified(amplitude(law, reference) * deviation)
    return float(share @ (values * first)) * decay[0], float(share @ (values**2 * second)) * decay[1]


def _collapsed(
    law: Law, rules: Rules, devices: tuple[_Device, _Device], seconds: float, read: bool, top: float
) -> tuple[float, float]:
    """Return mean and mean square of a weight of which one device carries all."""
    (plus, share), (minus, other) = devices[0].programmed(NODES), devices[1].programmed(OTHER_NODES)
    weight, joint = plus[:, None] - minus[None, :], share[:, None] * other[None, :]
    size, positive = np.abs(weight), weight >= 0
    log_time, deviation = clock(law, rules, seconds)
    decays = [device.decay(log_time) for device in devices]
    first, second = (np.where(positive, decays[0][order], decays[1][order]) for order in (0, 1))
    if read:
        target = np.where(positive, devices[0].target, devices[1].target)
        reference = size / top if rules.read_noise_reference == "programmed" else target
        more, square = _rectified(amplitude(law, reference) * deviation)
        first, second = first * more, second * square
    return float((joint * weight * first).sum()), float((joint * size**2 * second).sum())


def draw_weights(
    law: Law, rules: Rules, targets: np.ndarray, seconds: float | None, *, read: bool, rng: np.random.Generator
) -> np.ndarray:
    """Draw one chip: G+ - G- in uS of weights with signed targets in uS."""
    wanted = np.stack([np.maximum(targets, 0.0), np.maximum(-targets, 0.0)])
    g = wanted / law.g_max
    c0, c1, c2 = law.programming
    programmed = np.maximum(wanted + np.maximum(c0 + c1 * g + c2 * g**2, 0.0) * rng.standard_normal(wanted.shape), 0.0)
    log_g = np.log(np.maximum(g, LOWEST))
    (a, b, low, high), (slope, offset, least, most) = law.drift_mean, law.drift_spread
    spread = np.clip(slope * log_g + offset, least, most) * rng.standard_normal(wanted.shape)
    exponent = np.abs(np.clip(a * log_g + b, low, high) + spread)
    weight = programmed[0] - programmed[1]
    if seconds is None:
        return np.asarray(weight)
    reference = programmed if rules.read_noise_reference == "programmed" else wanted
    if rules.pair == "collapsed":
        programmed = np.stack([np.maximum(weight, 0.0), np.maximum(-weight, 0.0)])
        scaled = programmed * (law.g_max / np.abs(weight).max())
        reference = scaled if rules.read_noise_reference == "programmed" else wanted
    log_time, deviation = clock(law, rules, seconds)
    now = programmed * np.exp(-exponent * log_time)
    if read:
        noise = amplitude(law, reference) * deviation * rng.standard_normal(wanted.shape)
        now = np.maximum(now * (1 + noise), 0.0)
    return np.asarray(now[0] - now[1])
