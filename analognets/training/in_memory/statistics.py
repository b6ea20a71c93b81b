"""What happened to the devices of an array in training."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from analognets.training.in_memory.synapses import COUNTERS, Synapses

__all__ = ["report"]


def report(array: Synapses, *, bins: int = 24) -> dict[str, Any]:
    """Return the statistics of the devices of one variable since the initial writing.

    Args:
        array: the devices.
        bins: of the histograms between 0 and the device's g_max.

    Returns:
        `synapses`, `devices`; `set_pulses`, `resets`, `refreshed_pairs` (sums) and `pulses_per_weight`;
        `saturated_pairs`: share of pairs with a device above `refresh_above`; `edges`, `g_plus`, `g_minus`: histograms
        of the stored conductances in uS; `epsilon` and, in the same unit of weights, `next_step_mean` and
        `next_step_spread`: what one more SET pulse would do, averaged over all devices; `pending`: root mean square of
        chi / epsilon.
    """
    copies, size = array.copies, array.size
    counts = dict(zip(COUNTERS, (int(count) for count in array.counts.numpy()), strict=True))
    conductance = array.state["conductance"].numpy()
    plus, minus = conductance[: copies * size], conductance[copies * size :]
    pulses = array.state["pulses"].numpy().astype("float32")
    mean, spread = (
        np.asarray(keras.ops.convert_to_numpy(part)) for part in array.device.step_moments(conductance, pulses + 1)
    )
    edges = np.linspace(0.0, array.device.g_max, bins + 1)
    return {
        "synapses": size,
        "devices": 2 * copies * size,
        "set_pulses": counts["set"],
        "resets": counts["reset"],
        "refreshed_pairs": counts["refreshed"],
        "pulses_per_weight": counts["set"] / size,
        "saturated_pairs": float(np.mean(np.maximum(plus, minus) > array.rules.refresh_above)),
        "edges": edges.tolist(),
        "g_plus": np.histogram(plus, edges)[0].tolist(),
        "g_minus": np.histogram(minus, edges)[0].tolist(),
        "epsilon": array.epsilon,
        "next_step_mean": float(mean.mean() * array.scale),
        "next_step_spread": float(spread.mean() * array.scale),
        "pending": float(np.sqrt(np.mean(np.square(array.chi.numpy() / array.epsilon)))),
    }
