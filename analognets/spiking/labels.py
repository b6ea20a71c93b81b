"""What neurons that learned without labels stand for: found from training pictures, used on others."""

from __future__ import annotations

import dataclasses

import numpy as np

from analognets.errors import InvalidArgumentError, check_choice, check_integer

__all__ = ["NeuronLabels"]


@dataclasses.dataclass(frozen=True, eq=False)
class NeuronLabels:
    """The mean responses of neurons to each class of labelled training pictures, and what follows from them.

    Args:
        responses: mean number of spikes (classes, neurons).
    """

    responses: np.ndarray

    @classmethod
    def assign(cls, counts: np.ndarray, labels: np.ndarray, classes: int) -> NeuronLabels:
        """Measure the responses.

        Args:
            counts: spikes (pictures, neurons) on training pictures.
            labels: their classes, 0 to classes - 1.
            classes: how many there are.

        Raises:
            InvalidArgumentError: counts and labels don't fit, or a class has no picture.
        """
        counts, labels = np.asarray(counts), np.asarray(labels)
        check_integer("NeuronLabels", "classes", classes, 2, 10**6)
        if counts.ndim != 2 or labels.shape != counts.shape[:1]:
            raise InvalidArgumentError(
                "Counts must be (pictures, neurons) with one label a picture. Received: shapes "
                f"{counts.shape} and {labels.shape}."
            )
        missing = sorted({*range(classes)} - {*labels.tolist()})
        if missing:
            raise InvalidArgumentError(
                f"Every class needs a training picture to find its neurons. Received: none of class {missing[0]}. Use "
                "more pictures."
            )
        return cls(np.stack([counts[labels == label].mean(axis=0) for label in range(classes)]))

    @property
    def classes(self) -> np.ndarray:
        """The class of each neuron: the one it responds to most; -1 for neurons that never fired."""
        return np.where(self.responses.sum(axis=0) > 0, self.responses.argmax(axis=0), -1)

    def classify(self, counts: np.ndarray, vote: str = "mean") -> np.ndarray:
        """Return the class of each picture.

        Args:
            counts: spikes (pictures, neurons).
            vote: "mean": the class whose neurons fired most in the mean (Diehl and Cook 2015); "weighted": every spike
                counts for all classes in proportion to its neuron's mean responses.
        """
        check_choice("NeuronLabels", "vote", vote, ("mean", "weighted"))
        counts = np.asarray(counts, dtype="float64")
        if vote == "weighted":
            total = self.responses.sum(axis=0)
            return (
                counts @ np.divide(self.responses, total, out=np.zeros_like(self.responses), where=total > 0).T
            ).argmax(axis=1)
        member = self.classes[:, None] == np.arange(len(self.responses))
        return (counts @ (member / np.maximum(member.sum(axis=0), 1))).argmax(axis=1)
