"""Margins: how far the score of the true class is above those of its rivals."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from keras import ops

__all__ = ["Scores", "margins_of", "scores_of"]

SMALLEST = 1e-30


@dataclasses.dataclass(frozen=True)
class Scores:
    """What margins are differences of: outputs, or their logarithms where these are probabilities, which are linear.

    Args:
        log: whether outputs are probabilities.
        single: whether there is one output, of class 1.
    """

    log: bool
    single: bool

    def of(self, outputs: Any) -> Any:
        """Return scores (samples, classes) of outputs (samples, classes) or (samples, 1); a tensor or an array."""
        if self.single:
            outputs = ops.concatenate([1.0 - outputs, outputs], axis=-1)
        return ops.log(ops.maximum(outputs, SMALLEST)) if self.log else ops.convert_to_tensor(outputs)

    def margins(self, outputs: Any, classes: Any) -> Any:
        """Return the margins of one sample.

        Args:
            outputs: (1, classes).
            classes: the true one, then its rivals.
        """
        scores = ops.take(self.of(outputs)[0], classes)
        return scores[0] - scores[1:]


def scores_of(outputs: np.ndarray) -> Scores:
    """Return how margins follow from outputs of this kind."""
    single = outputs.shape[-1] == 1
    inside = bool(((outputs >= 0) & (outputs <= 1)).all())
    return Scores(inside and (single or bool(np.allclose(outputs.sum(-1), 1.0, atol=1e-3))), single)


def margins_of(scores: np.ndarray, truth: np.ndarray, rivals: np.ndarray) -> np.ndarray:
    """Return by how much the score of each sample's true class is above those of its rivals, (samples, rivals).

    Of equal scores, which converters of few levels give, that of the lower class counts as higher by a trifle, as the
    largest output is chosen.
    """
    rows = np.arange(len(truth))
    margins = scores[rows, truth][:, None] - scores[rows[:, None], rivals]
    return np.where(margins == 0, np.where(truth[:, None] < rivals, SMALLEST, -SMALLEST), margins)
