"""The mean network: the analog network with the conductances that its devices hold on average."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from analognets.deploy.studies.ageing.moments import WeightMoments, weight_moments
from analognets.layers import AnalogLayer
from analognets.layers.noise_realization import NoiseRealization
from analognets.layers.ranges import over_kernel

__all__ = ["LayerLaw", "compensating", "layer_laws", "mean_reads"]


@dataclasses.dataclass(frozen=True)
class LayerLaw:
    """Targets of a layer's devices and the law they follow.

    Args:
        layer: itself.
        weights: W / gamma, in [-1, 1], as on the crossbar.
        gamma: spread over the kernel, or a number.
        moments: of the devices.
    """

    layer: AnalogLayer
    weights: np.ndarray
    gamma: np.ndarray
    moments: WeightMoments

    def mean(self, time: int) -> np.ndarray:
        """Return E w of all weights at a time of the moments, by its number."""
        return self._signed(self.moments.mean[time])

    @property
    def first_mean(self) -> np.ndarray:
        """E w at the reading that drift compensation refers to."""
        return self._signed(self.moments.first_mean)

    def _signed(self, law: np.ndarray) -> np.ndarray:
        return np.sign(self.weights) * self.moments.at(law, self.weights)

    def factors(self, time: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return a, b, c with w(t) = E w(t) + a u and w(first) = E w(first) + b u + c v, for white u and v."""
        now = self.moments.at(self.moments.variance[time], self.weights)
        first = self.moments.at(self.moments.first_variance, self.weights)
        both = self.moments.at(self.moments.covariance[time], self.weights)
        a = np.sqrt(now)
        b = np.divide(both, a, out=np.zeros_like(a), where=a > 0)
        return a, b, np.sqrt(np.maximum(first - b**2, 0.0))


def layer_laws(layers: Sequence[AnalogLayer], times: Sequence[float], first: float, seed: int) -> list[LayerLaw]:
    """Return the laws of all layers; layers on equal hardware share their moments.

    Args:
        layers: calibrated analog layers.
        times: seconds since programming.
        first: time of the reading that drift compensation refers to.
        seed: of the sampled devices.
    """
    known: list[tuple[Any, WeightMoments]] = []
    found = []
    for layer in layers:
        moments = next((moments for crossbar, moments in known if crossbar == layer.crossbar), None)
        if moments is None:
            moments = weight_moments(layer.crossbar, times, first, seed=seed)
            known.append((layer.crossbar, moments))
        gamma = np.asarray(ops.convert_to_numpy(over_kernel(layer.weight_range(), layer.tiling)), np.float32)
        weights = np.asarray(ops.convert_to_numpy(layer.crossbar_kernel()), np.float32) / gamma
        found.append(LayerLaw(layer, np.clip(weights, -1.0, 1.0), gamma, moments))
    return found


def compensating(layer: AnalogLayer, read: NoiseRealization) -> np.ndarray:
    """Return the factor of a drift compensation on each weight, before and after the converters together."""
    factors = np.asarray(read.scales)
    if read.input_scales is not None:
        factors = factors * np.asarray(read.input_scales)[:, None]
    return layer.tiling.expand(factors)


def mean_reads(
    laws: Sequence[LayerLaw], time: int, reads: Sequence[Sequence[NoiseRealization]]
) -> list[NoiseRealization]:
    """Return the mean network at a time: what each layer multiplies by.

    The factors of the drift compensation go by sums over many devices, so a few chips give their mean; what else a
    chip has of its own, such as offsets of its ADCs, is that of the first one.

    Args:
        laws: of all layers.
        time: number of the time in the laws.
        reads: of a few chips at that time.
    """
    found = []
    for law, *ones in zip(laws, *reads, strict=True):
        inputs = [one.input_scales for one in ones if one.input_scales is not None]
        found.append(
            ones[0].replace(
                kernel=ops.convert_to_tensor(law.mean(time) * law.gamma),
                scales=np.mean([one.scales for one in ones], axis=0),
                input_scales=np.mean(inputs, axis=0) if inputs else None,
            )
        )
    return found
