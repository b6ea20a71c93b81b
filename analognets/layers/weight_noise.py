"""Noise on the weights in training: Gaussian, or that of the devices; and drop-connect."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from analognets.devices import Device

__all__ = ["NOISE_MODELS", "dropped", "noisy"]

NOISE_MODELS = ("gaussian", "device", "drift")


def noisy(kernel: Any, gamma: Any, device: Device, *, model: str, strength: Any, seed: Any) -> Any:
    """Return a kernel with one draw of training noise; the gradient to the kernel is that of the clean one.

    gaussian: w' = w + strength * gamma * N
    device:   |w'| = | |w| + strength * gamma * sigma(|w| / gamma) * N |,  the sign of w is kept and 0 stays 0

    sigma is the spread of the device's first reading (`Device.first_deviation`): programming noise and read noise, no
    drift.

    Args:
        kernel: w, float32.
        gamma: the weight at g_max, a scalar or of the kernel's shape.
        device: the memory cell.
        model: "gaussian" or "device".
        strength: factor of the noise, >= 0.
        seed: a SeedGenerator.

    Source: Joshi et al., Nat. Commun. 11:2473 (2020) (Gaussian); Rasch et al., Nat. Commun. 14:5282 (2023), hardware-
    aware training (device noise times a scale; verified); the reflection at zero as aihwkit's PCM_NOISE (verified).
    """
    draw = keras.random.normal(kernel.shape, dtype="float32", seed=seed)
    if model == "gaussian":
        return kernel + draw * (strength * gamma)
    clean = ops.stop_gradient(kernel)
    size = ops.abs(clean)
    spread = device.first_deviation(ops.minimum(size / gamma, 1.0))
    changed = ops.sign(clean) * ops.abs(size + draw * spread * (strength * gamma))
    return kernel + ops.stop_gradient(changed - clean)


def dropped(kernel: Any, share: float, seed: Any) -> Any:
    """Return a kernel with a share of its weights at 0, others for each draw, without rescaling of the rest.

    Source: drop-connect of Rasch et al., Nat. Commun. 14:5282 (2023), supplement (verified): devices that hold nothing.
    """
    keep = keras.random.uniform(kernel.shape, dtype="float32", seed=seed) >= share
    return kernel * ops.cast(keep, kernel.dtype)
