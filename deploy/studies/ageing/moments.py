"""Mean and variance of what a pair of devices holds, as a function of its target and of time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from keras import ops

from analognets.core.seeds import derive_seed
from analognets.crossbar import Crossbar, program_with, programming_draws, read_draws, read_with
from analognets.errors import InvalidArgumentError

__all__ = ["WeightMoments", "weight_moments"]

LEVELS, SAMPLES = 65, 4096


@dataclasses.dataclass(frozen=True)
class WeightMoments:
    """Moments of pairs of devices, in units of the weight that maps to g_max.

    Args:
        levels: targets w from 0 to 1, rising.
        mean: of each time and level, E w(t); that of -w is its negative.
        variance: likewise, Var w(t).
        first_mean: of each level, of the reading that drift compensation refers to.
        first_variance: likewise.
        covariance: of each time and level, Cov(w(t), w(first reading)).
    """

    levels: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    first_mean: np.ndarray
    first_variance: np.ndarray
    covariance: np.ndarray

    def at(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return a law over levels at the magnitudes of weights W / gamma."""
        return np.interp(np.abs(weights), self.levels, values).astype(np.float32)


def weight_moments(
    crossbar: Crossbar,
    times: Sequence[float],
    first: float,
    *,
    levels: int = LEVELS,
    samples: int = SAMPLES,
    seed: int = 0,
) -> WeightMoments:
    """Return the moments of the weights on a crossbar, stuck and unused devices included, of any device.

    They are taken from pairs that are programmed and read once for each time; levels lie more densely near 0, where
    laws of devices are steep.

    Args:
        crossbar: the hardware.
        times: seconds since programming.
        first: time of the reading that drift compensation refers to.
        levels: how many targets are tabulated, at least 3.
        samples: pairs for each of them; the standard error of a mean is sigma / sqrt(samples).
        seed: of the devices.

    Raises:
        InvalidArgumentError: the device gives numbers without a mean or a variance.
    """
    targets = np.linspace(0.0, 1.0, levels) ** 2
    weights = np.repeat(targets[:, None], samples, axis=1).astype(np.float32)
    state = program_with(crossbar, weights, 1.0, programming_draws(crossbar, weights.shape, derive_seed(seed, "cells")))

    def read(seconds: float, purpose: str) -> np.ndarray:
        draws = read_draws(crossbar, weights.shape, derive_seed(seed, purpose, repr(float(seconds))))
        held = read_with(crossbar, state, ops.convert_to_tensor(seconds, "float32"), draws)
        return np.asarray(ops.convert_to_numpy(held), np.float64)

    start = read(first, "reference")
    now = [read(float(seconds), "read") for seconds in times]
    found = WeightMoments(
        targets,
        np.stack([one.mean(axis=1) for one in now]),
        np.stack([one.var(axis=1, ddof=1) for one in now]),
        start.mean(axis=1),
        start.var(axis=1, ddof=1),
        np.stack(
            [((one - one.mean(1, keepdims=True)) * (start - start.mean(1, keepdims=True))).mean(1) for one in now]
        ),
    )
    if not all(np.isfinite(value).all() for value in dataclasses.astuple(found)):
        raise InvalidArgumentError(
            f"Ageing is predicted from mean and variance of the conductance. Received: the device "
            f"{type(crossbar.device).__name__}, whose readings are not finite. Simulate chips instead."
        )
    return found
