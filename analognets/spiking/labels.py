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

    Examples:
        >>> counts, labels = np.array([[9, 0], [1, 8], [7, 1]]), np.array([0, 1, 0])
        >>> known = NeuronLabels.assign(counts, labels, classes=2)
        >>> known.classify(np.array([[5, 1], [0, 4]])).tolist()
        [0, 1]
    """

    responses: np.ndarray

    @classmethod
    def assign(cls, counts: np.ndarray, labels: np.ndarray, classes: int) -> NeuronLabels:
        """Measure the responses.

        Args:
            counts: spikes (pictures, neurons) on training pictures, >= 0.
            labels: their classes, whole numbers from 0 to classes - 1.
            classes: how many there are.

        Raises:
            InvalidArgumentError: counts and labels don't fit, a label is none of the classes, or a class has no
                picture.
        """
        check_integer("NeuronLabels", "classes", classes, 2, 10**6)
        counts, labels = checked_counts(counts), np.asarray(labels)
        if labels.shape != counts.shape[:1]:
            raise InvalidArgumentError(
                "Counts must be (pictures, neurons) with one label a picture. Received: shapes "
                f"{counts.shape} and {labels.shape}."
            )
        if labels.dtype.kind not in "iub" or not np.all((labels >= 0) & (labels < classes)):
            wrong = next((one for one in labels.tolist() if one not in range(classes)), labels.dtype)
            raise InvalidArgumentError(
                f"Labels of pictures must be whole numbers from 0 to {classes - 1}. Received: {wrong!r}."
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
        """Return the class of each picture; -1 where no neuron with a class fired, so that nothing was recognised.

        Args:
            counts: spikes (pictures, neurons), >= 0.
            vote: "mean": the class whose neurons fired most in the mean (Diehl and Cook 2015); "weighted": every spike
                counts for all classes in proportion to its neuron's mean responses.
        """
        check_choice("NeuronLabels", "vote", vote, ("mean", "weighted"))
        counts = checked_counts(counts)
        if counts.shape[1] != self.responses.shape[1]:
            raise InvalidArgumentError(
                f"Counts must be (pictures, {self.responses.shape[1]}), one for each neuron with a label. Received: "
                f"shape {counts.shape}."
            )
        if vote == "weighted":
            total = self.responses.sum(axis=0)
            shares = np.divide(self.responses, total, out=np.zeros_like(self.responses), where=total > 0)
        else:
            member = self.classes[:, None] == np.arange(len(self.responses))
            shares = (member / np.maximum(member.sum(axis=0), 1)).T
        votes = counts @ shares.T
        return np.where(votes.max(axis=1) > 0, votes.argmax(axis=1), -1)


def checked_counts(counts: np.ndarray) -> np.ndarray:
    """Return spike counts as float64 (pictures, neurons).

    Raises:
        InvalidArgumentError: they have another shape, or are no numbers >= 0.
    """
    counts = np.asarray(counts)
    if counts.ndim != 2 or counts.dtype.kind not in "fiub":
        raise InvalidArgumentError(
            "Counts must be (pictures, neurons) with one label a picture. Received: shape "
            f"{counts.shape}, dtype {counts.dtype}."
        )
    if not np.all(counts >= 0):
        raise InvalidArgumentError(
            f"Counts of spikes must be >= 0. Received: {int((~(counts >= 0)).sum())} negative or NaN ones."
        )
    return counts.astype("float64")
