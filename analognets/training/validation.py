"""Validation while training: of the model as it is, and of noisy copies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np

from analognets.layers import AnalogLayer, analog_layers
from analognets.layers.aged_weights import drawn_time
from analognets.layers.ranges import over_kernel
from analognets.layers.weight_noise import noisy

__all__ = ["evaluate", "evaluate_noisy", "noisy_weights", "op_by_op"]


def evaluate(net: keras.Model, dataset: Any) -> dict[str, float]:
    """Return loss and accuracy of a compiled model on a dataset."""
    return {key: float(value) for key, value in net.evaluate(dataset, verbose=0, return_dict=True).items()}


def evaluate_noisy(net: keras.Model, dataset: Any, *, copies: int, eta: float, seed: int) -> dict[str, float]:
    """Return the mean accuracy of copies of the model with weight noise.

    Args:
        net: a compiled analog model; its weights are as before afterwards.
        dataset: of (inputs, labels).
        copies: how many, at least 1.
        eta: standard deviation of the noise as a share of W_max, or factor of the devices' noise.
        seed: of the noise.

    Source: Buechel et al., ICLR 2022, choose their models by the mean of three copies.
    """
    rng = np.random.default_rng(seed)
    scores = []
    with op_by_op(net):
        for _ in range(copies):
            with noisy_weights(net, eta, rng):
                scores.append(evaluate(net, dataset)["accuracy"])
    return {"val_noisy_accuracy": float(np.mean(scores))}


def _one_draw(layer: AnalogLayer, kernel: Any, eta: float, seed: int) -> Any:
    """Return a kernel with one draw of the layer's noise; drift compensation is multiplied into aged weights."""
    kernel = keras.ops.cast(kernel, "float32")
    if layer.noise_model != "drift":
        gamma, device = layer.range_on_kernel(layer.weight_range()), layer.crossbar.device
        return noisy(kernel, gamma, device, model=layer.noise_model, strength=eta, seed=seed)
    generator = keras.random.SeedGenerator(seed)
    time = drawn_time(layer.crossbar.device.first_reading, layer.drift_until, generator)
    old = layer.aged_kernel(kernel, time, eta, generator)
    if old.scales is None:
        return layer.from_crossbar(old.kernel)
    factor = old.scales if old.input_scales is None else old.scales * old.input_scales[:, None]
    return layer.from_crossbar(old.kernel * over_kernel(factor, layer.tiling))


@contextmanager
def noisy_weights(net: keras.Model, eta: float, rng: np.random.Generator) -> Iterator[None]:
    """While active, analog layers multiply by one draw of the noise they are trained with, eta times.

    The kernels stay as they are: noise goes beyond W_max, where they would be clipped. What is compiled keeps the old
    weights, see `op_by_op`.
    """
    with ExitStack() as stack:
        for layer in analog_layers(net):
            noise = _one_draw(layer, layer.kernel_variable.value, eta, int(rng.integers(1 << 31)))
            now = layer.realization(training=False)
            kernel = keras.ops.cast(noise if now.whole else layer.to_crossbar(noise), now.kernel.dtype)
            stack.enter_context(layer.fixed_noise(now.replace(kernel=kernel)))
        yield


@contextmanager
def op_by_op(net: keras.Model) -> Iterator[None]:
    """While active, `evaluate` of a compiled model calls the layers as they are, without its compiled function."""
    function, eager = net.test_function, net.run_eagerly
    net.test_function, net.run_eagerly = None, True
    try:
        yield
    finally:
        net.test_function, net.run_eagerly = function, eager
