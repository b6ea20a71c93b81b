"""The realistic crossbar in plain NumPy and double precision, written from the equations.

Inputs in [-1, 1] after the DAC, weights in [-1, 1]; nothing here is taken from the package.
"""

from __future__ import annotations

import numpy as np


def quantize(z, bound, bits):
    if bits is None:
        return z
    step = 2 * bound / (2**bits - 2)
    return np.clip(step * np.round(z / step), -bound, bound)


def ir_drop(x, w, factor, wire=0.35, conductance=5e-6):
    """Return the change of each output (vectors, columns), by loops over columns as the equations have it."""
    n = len(w)
    change = np.zeros((len(x), w.shape[1]))
    for i in range(w.shape[1]):
        a = wire * conductance * n * (np.abs(x) * np.abs(w[:, i])).sum(axis=1)
        c = 0.05 * a**3 - 0.2 * a**2 + 0.5 * a
        change[:, i] = -c * sum(w[j, i] * x[:, j] * (1 - (1 - j / n) ** 2) for j in range(n))
    return factor * change


def forward(
    x, weights, *, alpha=1.0, gamma=1.0, bound=10.0, dac_bits=None, adc_bits=None, ir=0.0, curvature=0.0, spread=0.0,
    zeta=None, asymmetry=0.0, phases=None, gain=0.0, gains=None, offset=0.0, offsets=None, slope_one_at=2.0,
):  # fmt: skip
    """Return y without the noise that is drawn anew at each product; chip numbers are standard normal."""
    x = quantize(x / alpha, 1.0, dac_bits)
    w = weights / gamma
    z = x @ w + (ir_drop(x, w, ir) if ir else 0.0)
    if curvature:
        zetas = np.abs(curvature * (1 + spread * zeta))
        z = (1 + slope_one_at / len(zetas) * zetas.sum()) ** 2 * z / (1 + np.abs(zetas * z))
    if asymmetry:
        positive, negative = np.maximum(x, 0), np.minimum(x, 0)
        z = z + (positive @ w + negative @ (w * (1 + asymmetry * phases))) - x @ w
    if gain:
        z = z * (1 + gain * gains)
    if offset:
        z = z + offset * offsets
    return alpha * gamma * quantize(z, bound, adc_bits)


def noise_deviation(x, weights, *, alpha=1.0, gamma=1.0, output=0.0, short_term=0.0, law="pcm"):
    """Return the standard deviation of each output, in the unit of y, from the noise of every single device."""
    x, w = x / alpha, weights / gamma
    deviation = short_term * (np.sqrt(np.abs(w)) if law == "pcm" else np.ones_like(w))
    variance = output**2 + np.einsum("bj,ji->bi", x**2, deviation**2)
    return alpha * gamma * np.sqrt(variance)
