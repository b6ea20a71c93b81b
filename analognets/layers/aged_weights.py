"""Weights as devices hold them some time after programming, with their drift compensation: noise for training."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import keras
from keras import ops

from analognets.crossbar import Crossbar, Tiling, program_with, programming_draws, read_draws, read_with, tile_responses

__all__ = ["DRIFT_TIME", "AgedKernel", "aged", "drawn_time"]

DRIFT_TIME = "drift_time"
"""Name of the generators that draw the time of a step."""


class AgedKernel(NamedTuple):
    """A kernel read from devices of an age, and what the digital part corrects by then.

    Args:
        kernel: W(t), of the shape on the crossbar.
        scales: b of each tile or column, as in `NoiseRealization`; None: 1.
        input_scales: a of each row block; None: 1.
    """

    kernel: Any
    scales: Any = None
    input_scales: Any = None


def drawn_time(first: float, until: float, seed: Any) -> Any:
    """Return a time in seconds, log-uniform between the first reading and `until`.

    Args:
        first: earliest time in seconds; below 1 s counts as 1 s.
        until: latest time in seconds; below `first` there is only `first`.
        seed: a SeedGenerator.
    """
    low = math.log(max(first, 1.0))
    high = max(math.log(max(until, 1.0)), low)
    return ops.exp(low + (high - low) * keras.random.uniform((), dtype="float32", seed=seed))


def aged(kernel: Any, gamma: Any, crossbar: Crossbar, tiling: Tiling, *, time: Any, strength: Any, seed: Any) -> Any:
    """Return a kernel as new devices hold it at a time, each call other devices.

    w(t) = d w + s (read(program(w), t) - d w),   y = b * tile(a x; w(t))

    d is the share of the weights that is left, sum w w(t) / sum w^2, and a, b are those of the crossbar's drift
    compensation for the devices drawn, as on a chip. The gradient to the kernel is d, so with compensation the layer
    has that of the clean weights.

    Args:
        kernel: W, float32, shape (..., inputs, outputs) as on the crossbar.
        gamma: the weight at g_max, that broadcasts to the kernel.
        crossbar: its device and its drift compensation are used.
        tiling: of the kernel.
        time: seconds since programming, a scalar tensor.
        strength: s >= 0: 1 is all noise of the devices, 0 leaves drift without spread.
        seed: a SeedGenerator.

    Returns:
        An `AgedKernel`.

    Source: ours; noise of the devices in training is of Rasch et al., Nat. Commun. 14:5282 (2023), at 20 s there.
    """
    clean = ops.stop_gradient(kernel)
    state = program_with(crossbar, clean, gamma, programming_draws(crossbar, tuple(clean.shape), seed))
    draws = read_draws(crossbar, tuple(clean.shape), seed)
    now = read_with(crossbar, state, time, draws)
    scales = input_scales = None
    if crossbar.drift_compensation is not None:
        rule, first = crossbar.drift_compensation, ops.convert_to_tensor(crossbar.device.first_reading, "float32")
        reference = tile_responses(crossbar, tiling, read_with(crossbar, state, first, draws))
        responses = tile_responses(crossbar, tiling, now)
        scales = ops.broadcast_to(rule.scale(reference, responses), ops.shape(responses))
        input_scales = rule.input_scale(reference, responses)
    changed = now * gamma
    left = ops.sum(changed * clean) / ops.maximum(ops.sum(ops.square(clean)), 1e-30)
    noise = ops.stop_gradient(changed - left * clean)
    return AgedKernel(ops.stop_gradient(left) * kernel + strength * noise, _fixed(scales), _fixed(input_scales))


def _fixed(factor: Any) -> Any:
    return None if factor is None else ops.stop_gradient(factor)
