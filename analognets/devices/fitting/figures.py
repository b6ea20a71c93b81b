"""Pictures of a fit: laws with what cells of neighbouring targets show, and quantile plots by level and time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

from analognets.core.figures import COLOURS, new_figure, saved
from analognets.devices.fitted import FittedDevice
from analognets.devices.pcm import polynomial

if TYPE_CHECKING:
    from analognets.devices.fitting.fit import DeviceFit

__all__ = ["laws_figure", "quantiles_figure"]

POINTS = 200
GROUPS = 12
REPLICATES = 64


def _curves(device: FittedDevice, g: np.ndarray) -> dict[str, np.ndarray]:
    """Return the laws at some g = G / g_max."""
    tensor = ops.convert_to_tensor(g.astype(np.float32))
    log_g = ops.log(ops.maximum(tensor, 1e-7))
    mean, spread = device.drift_moments(tensor, log_g)
    found = {
        "mean programming error (uS)": polynomial(tensor, device.programming_bias_fit) + 0.0 * tensor,
        "programming noise (uS)": device.programming_deviation(tensor),
        "mean drift exponent": mean * device.drift_scale,
        "spread of the drift exponent": spread * device.drift_scale,
        "read noise Q": device.read_amplitude(tensor, log_g) * device.read_noise_scale,
    }
    return {name: ops.convert_to_numpy(values) for name, values in found.items()}


def laws_figure(fit: DeviceFit, path: Any = None) -> Any:
    """Draw each law over the target conductance, with the 95 % band of the bootstrap and first errors of the cells.

    Args:
        fit: from `fit_device`.
        path: of the picture, or None.
    """
    figure = new_figure(13.0, 3.2)
    axes = figure.subplots(1, 5)
    device = fit.device
    g = np.linspace(0.004, 1.0, POINTS)
    replicates = [
        _curves(device.drawn(number), g) for number in range(min(REPLICATES, len(device.uncertainty["draws"])))
    ]
    for axis, (name, values) in zip(axes, _curves(device, g).items(), strict=True):
        low, high = np.quantile([one[name] for one in replicates], [0.025, 0.975], axis=0)
        axis.fill_between(g * device.g_max, low, high, color=COLOURS[5], alpha=0.4, lw=0)
        axis.plot(g * device.g_max, values, color=COLOURS[0])
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("target (uS)")
    cells = fit.measurements.only(fit.stuck.ordinary)
    error = cells.conductance[:, 0] - cells.target
    for group in np.array_split(np.argsort(cells.target), min(GROUPS, len(cells) // 10 + 1)):
        place = cells.target[group].mean()
        axes[0].plot(place, error[group].mean(), "o", color=COLOURS[1], ms=3)
        axes[1].plot(place, error[group].std(), "o", color=COLOURS[1], ms=3)
    return saved(figure, path)


def quantiles_figure(fit: DeviceFit, path: Any = None) -> Any:
    """Draw measured against predicted quantiles of the error, one panel for each group of levels and of times.

    Args:
        fit: from `fit_device`.
        path: of the picture, or None.
    """
    found = fit.residuals
    levels, times = found.level_groups(), found.time_groups()
    figure = new_figure(2.6 * len(times) + 0.6, 2.4 * len(levels) + 0.4)
    axes = figure.subplots(len(levels), len(times), squeeze=False)
    shares = np.linspace(0.01, 0.99, 99)
    measured, predicted = found.measured - found.target[:, None], found.predicted - found.target[:, None]
    for row, (level, cells) in enumerate(levels):
        for column, (time, readings) in enumerate(times):
            axis, chosen = axes[row, column], cells[:, None] & readings
            if chosen.sum() > 1:
                one = np.quantile(predicted[:, chosen], shares)
                two = np.quantile(measured[chosen], shares)
                axis.plot(one, two, ".", color=COLOURS[0], ms=3)
                ends = [min(one.min(), two.min()), max(one.max(), two.max())]
                axis.plot(ends, ends, color=COLOURS[7], lw=0.7)
            axis.set_title(f"{level}, {time}", fontsize=8)
            axis.tick_params(labelsize=7)
    figure.supxlabel("predicted deviation from the target (uS)", fontsize=9)
    figure.supylabel("measured deviation (uS)", fontsize=9)
    return saved(figure, path)
