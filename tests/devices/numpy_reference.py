"""The equations of the PCM devices in plain NumPy and double precision, not taken from the package."""

from __future__ import annotations

import numpy as np

PCM = {"g_max": 25.0, "t_read": 250e-9}
HERMES = {1: {"g_max": 10.35, "t_read": 512e-9}, 2: {"g_max": 20.7, "t_read": 512e-9}}


def pcm_statistics(g, q_of):
    """Return sigma_prog (uS, at 25 uS), mu_nu and sigma_nu of targets g, and Q of references q_of, both in [0, 1]."""
    log_g = np.log(np.maximum(g, 1e-7))
    sigma = np.maximum(0.26348 + 1.9650 * g - 1.1731 * g**2, 0)
    mu = np.clip(-0.0155 * log_g + 0.0244, 0.049, 0.1)
    spread = np.clip(-0.0125 * log_g - 0.0059, 0.008, 0.045)
    return sigma, mu, spread, np.minimum(0.0088 / np.maximum(q_of**0.65, 1e-3), 0.2)


def hermes_statistics(g, q_of, devices):
    log_g, log_q = np.log(np.maximum(g, 1e-7)), np.log(np.maximum(q_of, 1e-7))
    mu = np.where(g < 0.0945, np.clip(-0.0387 * log_g - 0.0182, 0.072, 0.13), -0.0436 * g**2 - 0.0126 * g + 0.0736)
    if devices == 2:
        sigma = 0.16603222 + 4.71806468 * g - 8.48101252 * g**2 + 4.68961419 * g**3
        low = np.clip(-0.0117 * log_g - 0.0057, 0.0091, 0.04)
        spread = np.where(g < 0.3055, low, -0.0118 * g**2 + 0.0093 * g + 0.0073)
        low = np.clip(-0.0117 * log_q - 0.0069, 0.015, 0.04)
        q = np.where(q_of < 0.16, low, 0.0069 * q_of**3 - 0.0280 * q_of**2 + 0.0211 * q_of + 0.0123)
    else:
        sigma = 0.15781817 + 2.32443916 * g - 2.16310839 * g**2 + 0.68841818 * g**3
        low = np.clip(-0.0120 * log_g - 0.0023, 0.0124, 0.04)
        spread = np.where(g < 0.3039, low, -0.0165 * g**2 + 0.0116 * g + 0.0104)
        low = np.clip(-0.0078 * log_q + 0.0038, 0.0179, 0.04)
        q = np.where(q_of < 0.1591, low, 0.0664 * q_of**3 - 0.1352 * q_of**2 + 0.0768 * q_of + 0.0088)
    return sigma, mu, spread, q


def program(g_target, draws, statistics, *, g_max, fit_g_max, scale=1.0, reference="target"):
    """Return (G_prog in uS, nu, Q) for the standard-normal draws."""
    g = g_target / g_max
    sigma = statistics(g, g)[0] * g_max / fit_g_max
    programmed = np.maximum(g_target + scale * sigma * draws["programming"], 0)
    _, mu, spread, q = statistics(g, g if reference == "target" else programmed / g_max)
    return programmed, np.abs(mu + spread * draws["drift"]), q


def read(programmed, nu, q, time, normal, *, t_0, t_read, clock="absolute", divisor=2.0, drift=1.0, noise=1.0):
    """Return G(t) in uS; `normal` is the standard-normal draw of this reading."""
    if clock == "absolute":
        t, decades = time, max(time, t_0) / t_0
    else:
        t, decades = time + t_0, (time + t_0) / t_0
    drifted = programmed * decades ** (-nu * drift)
    deviation = np.sqrt(max(np.log((t + t_read) / (divisor * t_read)), 0))
    return np.maximum(drifted + noise * drifted * q * deviation * normal, 0)


def brownian(path, time, knots, t_read):
    """Return X(t) at one time: whole pieces add up, the last one counts by the square root of the share gone."""
    log_time = np.log((time + t_read) / (2 * t_read))
    edges = [0.0, *[np.log((knot + t_read) / (2 * t_read)) for knot in knots]]
    total = np.zeros(path.shape[1:])
    for i, normal in enumerate(path):
        width = edges[i + 1] - edges[i]
        last = i == len(path) - 1
        if log_time >= edges[i + 1] and not last:
            total = total + np.sqrt(width) * normal
        else:
            share = (log_time - edges[i]) / width
            return total + np.sqrt(max(share, 0) * width) * normal
    return total
