"""Weight clipping of stage 1."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from analognets.errors import check_number

__all__ = ["WeightClip"]


@keras.saving.register_keras_serializable(package="analognets")
class WeightClip(keras.constraints.Constraint):
    """Clip a kernel to +-sigma standard deviations of itself, measured anew at each step.

    w <- clip(w, -sigma * std(w), sigma * std(w))

    Args:
        sigma: how many standard deviations, > 0.

    Examples:
        >>> clip = WeightClip(sigma=1.0)
        >>> print(np.round(clip(np.array([-3.0, -1.0, 1.0, 3.0])), 3))
        [-2.236 -1.     1.     2.236]

    Source: AnalogNets (arXiv 2111.06503), stage 1 (from memory); Joshi et al. 2020 (alpha = 2).
    """

    def __init__(self, sigma: float = 2.0) -> None:
        self.sigma = check_number("WeightClip", "sigma", sigma, 1e-3, 1e3)

    def __call__(self, w: Any) -> Any:
        limit = self.sigma * ops.std(w)
        return ops.clip(w, -limit, limit)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration as plain data."""
        return {"sigma": self.sigma}
