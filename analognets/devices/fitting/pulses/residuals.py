"""Where each reading of a pulse curve lies among those that the fitted device predicts from the curve's first one."""

from __future__ import annotations

import numpy as np
from keras import ops

from analognets.devices.fitting.pulses.curves import PulseCurves
from analognets.devices.fitting.residuals import COPIES, Residuals
from analognets.devices.pulsed_fitted import PulsedFitted

__all__ = ["predicted_curves", "pulse_residuals"]

MOST_CURVES = 500
MOST_NUMBERS = 40
"""Pulse numbers that are compared, at most."""


def predicted_curves(
    device: PulsedFitted, first: np.ndarray, down: bool, numbers: np.ndarray, *, copies: int, seed: int
) -> np.ndarray:
    """Return readings of simulated devices after so many pulses, (copies, curves, numbers).

    Args:
        device: that is simulated, each copy with factors of its own.
        first: conductance in uS that each curve starts from.
        down: whether pulses depress.
        numbers: pulses from the start, rising whole numbers.
        copies: for each curve.
        seed: of all draws.
    """
    shape = (copies, len(first))
    state = device.reset(shape, seed=seed)
    start = np.clip(np.broadcast_to(first, shape), device.g_min * 0.1, device.g_max).astype(np.float32)
    state = {**state, "conductance": ops.convert_to_tensor(start)}
    give = device.depress_with if down else device.pulse_with
    found, wanted = [], {int(one) for one in numbers}
    for number in range(int(numbers.max()) + 1):
        if number:
            state = give(state, device.pulse_draws(shape, seed + 2 * number), time=0.0)
        if number in wanted:
            draws = device.read_draws(shape, seed + 2 * number + 1)
            found.append(ops.convert_to_numpy(device.read_with(state, 0.0, draws)))
    return np.stack(found, axis=-1)


def pulse_residuals(device: PulsedFitted, curves: PulseCurves, *, seed: int = 0) -> tuple[Residuals, np.ndarray]:
    """Return the places of readings after the first of each curve, and whether the curve depresses.

    Pulses are counted from the first reading of a curve. Where there are many, some curves and pulse numbers stand for
    all.

    Args:
        device: that predicts.
        curves: measured ones.
        seed: of what is drawn.
    """
    random, parts = np.random.default_rng(seed), []
    for down in (False, True):
        chosen = np.flatnonzero(curves.down == down)
        if len(chosen) > MOST_CURVES:
            chosen = np.sort(random.choice(chosen, MOST_CURVES, replace=False))
        if not len(chosen):
            continue
        first = curves.conductance[chosen, 0]
        since = curves.number[chosen] - curves.number[chosen, :1]
        numbers = np.unique(since[np.isfinite(since)]).astype(int)
        if len(numbers) > MOST_NUMBERS:
            numbers = numbers[np.unique(np.linspace(0, len(numbers) - 1, MOST_NUMBERS).round().astype(int))]
        predicted = predicted_curves(device, first, down, numbers, copies=COPIES, seed=seed + 7 * down + 1)
        measured = np.full((len(chosen), len(numbers)), np.nan)
        for column, number in enumerate(numbers):
            rows, places = np.nonzero(since == number)
            measured[rows, column] = curves.conductance[chosen][rows, places]
        kept = numbers > 0
        time = np.where(np.isfinite(measured), numbers.astype(np.float64), np.nan)
        parts.append((first, time[:, kept], measured[:, kept], predicted[..., kept], np.full(len(chosen), down)))
    width = max(part[1].shape[1] for part in parts)

    def padded(values: np.ndarray) -> np.ndarray:
        missing = [(0, 0)] * (values.ndim - 1) + [(0, width - values.shape[-1])]
        return np.pad(values, missing, constant_values=np.nan)

    time, measured, predicted = (
        np.concatenate([padded(part[place]) for part in parts], axis=-2) for place in (1, 2, 3)
    )
    below = (predicted < measured).mean(0)
    same = (predicted == measured).mean(0)
    place = np.where(np.isfinite(measured), (below + 0.5 * same) * COPIES / (COPIES + 1) + 0.5 / (COPIES + 1), np.nan)
    target = np.concatenate([part[0] for part in parts])
    return Residuals(target, time, measured, predicted, place), np.concatenate([part[4] for part in parts])
