"""The samples that chips are judged on: arrays, or a dataset that is read anew for each reading of a chip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from analognets.deploy.chips.runtime import Runner
from analognets.deploy.evaluation import as_arrays, batches_of, check_counts, holds_arrays, together
from analognets.errors import InvalidArgumentError

__all__ = ["HeldSamples", "StreamedSamples", "samples_of"]

HELD_BYTES = 1 << 27
"""Size of the inputs up to which a dataset is read once and kept, instead of anew for each reading."""


class HeldSamples:
    """Samples in memory.

    Args:
        inputs: an array, or a structure of arrays.
        labels: likewise.
    """

    def __init__(self, inputs: Any, labels: Any) -> None:
        self.inputs = inputs
        self.labels = labels

    def outputs(self, runner: Runner) -> tuple[Any, Any]:
        """Return the labels, and the outputs of a runner for all samples."""
        return self.labels, runner.predict(self.inputs, self.labels)


class StreamedSamples:
    """A dataset of batches (inputs, labels) of which one batch at a time is in memory.

    Args:
        batches: can be iterated over again and again, as a `tf.data.Dataset` or a `keras.utils.PyDataset`.
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches = batches

    def outputs(self, runner: Runner) -> tuple[Any, Any]:
        """Return the labels, and the outputs of a runner for all samples, in the order in which they come now."""
        labels: list[Any] = []
        pieces = list(runner.batches_of(self._inputs(labels)))
        if not pieces:
            raise InvalidArgumentError("A dataset must give its batches for each reading. Received: none any more.")
        return joined(labels), joined(pieces)

    def _inputs(self, labels: list[Any]) -> Iterator[Any]:
        for inputs, own in batches_of(self.batches):
            check_counts(inputs, own)
            labels.append(own)
            yield inputs


def joined(pieces: list[Any]) -> Any:
    """Return batches of arrays, or of structures of them, as one."""
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *pieces)


def samples_of(data: Any, inputs_wanted: int | None) -> HeldSamples | StreamedSamples:
    """Return evaluation data: in memory if they are arrays, a small dataset, or one that can be read only once.

    Args:
        data: as `analognets.deploy.evaluation.as_arrays` takes them.
        inputs_wanted: how many inputs the model has.

    Raises:
        InvalidArgumentError: the data are of another kind, or a dataset has no end.
    """
    again = isinstance(data, Iterable) and not isinstance(data, (list, tuple, dict, str, Iterator))
    if holds_arrays(data, inputs_wanted) or hasattr(data, "shape") or not again:
        return HeldSamples(*as_arrays(data, inputs_wanted))
    if has_no_end(data):
        raise InvalidArgumentError(
            f"Evaluation data must have an end. Received: {type(data).__name__} that repeats for ever. Leave repeat() "
            "away, or give data.take(batches)."
        )
    pairs, size = [], 0
    for pair in batches_of(data):
        pairs.append(pair)
        size += sum(leaf.nbytes for leaf in keras.tree.flatten(pair[0]))
        if size > HELD_BYTES:
            check_counts(*pair)
            return StreamedSamples(data)
    return HeldSamples(*together(pairs))


def has_no_end(data: Any) -> bool:
    """Whether a dataset says that it never ends."""
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches is None
    cardinality = getattr(data, "cardinality", None)
    return cardinality is not None and int(cardinality()) == -1
