"""Background noise made from nothing: white, pink and brown noise, mains hum, and a murmur that comes and goes."""

from __future__ import annotations

import numpy as np

from analognets.core.seeds import generator
from analognets.datasets.base import SAMPLE_RATE

__all__ = ["LOUDNESS", "coloured", "hum", "recordings"]

LOUDNESS = 0.03
"""Root mean square of each recording, share of full scale."""


def coloured(samples: int, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """Return noise of unit power whose power density falls as 1/f^exponent: 0 white, 1 pink, 2 brown.

    Args:
        samples: how many, 2 or more.
        exponent: 0 to 4.
        rng: random generator.
    """
    bins = samples // 2 + 1
    spectrum = rng.standard_normal(bins) + 1j * rng.standard_normal(bins)
    frequency = np.arange(bins) * (SAMPLE_RATE / samples)
    spectrum *= np.maximum(frequency, 20.0) ** (-exponent / 2)
    spectrum[0] = 0
    sound = np.fft.irfft(spectrum, samples)
    return sound / np.sqrt(np.mean(sound**2))


def hum(samples: int, mains: float, rng: np.random.Generator) -> np.ndarray:
    """Return hum of unit power: the first twelve harmonics of the mains over faint white noise.

    Args:
        samples: how many.
        mains: frequency of the mains, Hz.
        rng: random generator.
    """
    time = np.arange(samples) / SAMPLE_RATE
    sound = 0.05 * rng.standard_normal(samples)
    for harmonic in range(1, 13):
        phase = rng.uniform(0, 2 * np.pi)
        sound += rng.uniform(0.3, 1) / harmonic * np.sin(2 * np.pi * mains * harmonic * time + phase)
    return sound / np.sqrt(np.mean(sound**2))


def recordings(seconds: float, seed: int) -> dict[str, np.ndarray]:
    """Return float32 noise recordings at 16 kHz by name, each of loudness `LOUDNESS`, saturated at full scale.

    Args:
        seconds: length of each.
        seed: the same seed gives the same noise.
    """
    samples = round(seconds * SAMPLE_RATE)

    def murmur(rng: np.random.Generator) -> np.ndarray:
        swell = np.exp(0.7 * coloured(samples, 2.0, rng))
        return coloured(samples, 1.0, rng) * swell / np.sqrt(np.mean(swell**2))

    makers = {
        "white": lambda rng: coloured(samples, 0.0, rng),
        "pink": lambda rng: coloured(samples, 1.0, rng),
        "brown": lambda rng: coloured(samples, 2.0, rng),
        "hum_50": lambda rng: hum(samples, 50.0, rng),
        "hum_60": lambda rng: hum(samples, 60.0, rng),
        "murmur": murmur,
    }
    return {
        name: np.clip(LOUDNESS * make(generator(seed, "noise", name)), -1, 1).astype(np.float32)
        for name, make in makers.items()
    }
