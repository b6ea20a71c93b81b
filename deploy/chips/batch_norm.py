"""Batch-norm statistics re-estimated on a drifted chip (AdaBS)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from analognets.deploy.chips.loading import compensated
from analognets.layers import AnalogLayer
from analognets.layers.kept_state import kept_state
from analognets.layers.noise_realization import NoiseRealization

__all__ = ["restored_statistics"]

RANDOM_RATES = ("rate", "stddev")


def _without_randomness(model: keras.Model) -> list[tuple[Any, str, Any]]:
    """Switch dropout and activation noise off; returns what to set back."""
    changed = []
    for layer in model._flatten_layers():
        for name in RANDOM_RATES:
            if isinstance(getattr(layer, name, None), (int, float)) and hasattr(layer, "seed_generator"):
                changed.append((layer, name, getattr(layer, name)))
                setattr(layer, name, 0)
    return changed


@contextlib.contextmanager
def restored_statistics(
    model: keras.Model,
    layers: Sequence[AnalogLayer],
    reads: Sequence[NoiseRealization],
    drift_compensation: bool,
    inputs: Any,
) -> Iterator[None]:
    """While active, the batch-norms hold statistics measured on `inputs` with these weights; then the old ones again.

    Does nothing if `inputs` is None. The statistics are those of one pass over all inputs in training mode, layer after
    layer, with the weights as read from the chip.

    Source: AdaBS of Joshi et al., Nat. Commun. 11:2473 (2020); one full pass instead of a moving average is our
    simplification.
    """
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    if inputs is None or not norms:
        yield
        return
    saved = [(norm, norm.momentum, norm.moving_mean.numpy(), norm.moving_variance.numpy()) for norm in norms]
    changed: list[tuple[Any, str, Any]] = []
    try:
        changed = _without_randomness(model)
        for norm in norms:
            norm.momentum = 0.0
        statistics = [variable for norm in norms for variable in (norm.moving_mean, norm.moving_variance)]
        with contextlib.ExitStack() as stack:
            stack.enter_context(kept_state(model, but=statistics))
            for layer, read in zip(layers, reads, strict=True):
                stack.enter_context(layer.fixed_noise(compensated(layer, read, drift_compensation)))
            model(keras.tree.map_structure(np.asarray, inputs), training=True)
        yield
    finally:
        for layer, name, value in changed:
            setattr(layer, name, value)
        for norm, momentum, mean, variance in saved:
            norm.momentum = momentum
            norm.moving_mean.assign(mean)
            norm.moving_variance.assign(variance)
