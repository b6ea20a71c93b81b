"""Evaluation data as arrays, and the accuracy of a model's outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from analognets.errors import InvalidArgumentError

__all__ = [
    "accuracy",
    "arrays",
    "as_arrays",
    "batches_of",
    "check_counts",
    "check_unmasked",
    "decisions",
    "holds_arrays",
    "is_pair",
    "samples_in",
    "the_one",
    "together",
]

SLACK = 1e-3
"""By so much a probability may be beyond 0 and 1, in half precision too."""


def accuracy(labels: Any, outputs: Any) -> float:
    """Return the share of samples whose largest output (or output > 0.5, if there is one) is the label.

    Args:
        labels: classes from 0 as whole numbers, one a sample (or one a position of each sample), a column of them, or
            one-hot rows; for a single output 0 and 1, or False and True.
        outputs: (samples, ..., classes), or one number a sample, the probability of class 1.

    Raises:
        InvalidArgumentError: there are several outputs, or several sets of labels; an output is NaN; labels are none
            of these classes, or don't fit to the outputs; a single output is beyond 0 and 1.

    Examples:
        >>> accuracy([0, 1, 1, 0], [[2.0, 1.0], [0.0, 3.0], [1.0, 0.5], [4.0, 0.0]])
        0.75
        >>> accuracy([0, 1], [0.2, 0.9])
        1.0
    """
    truth, chosen, _ = decisions(labels, outputs)
    return float(np.mean(chosen == truth))


def decisions(labels: Any, outputs: Any) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the true and the chosen class of every sample (or position), both flat, and how many classes there are.

    Args:
        labels: as `accuracy` takes them.
        outputs: likewise.

    Raises:
        InvalidArgumentError: as `accuracy`.
    """
    labels, outputs = (the_one(what, arrays(value)) for what, value in (("labels", labels), ("outputs", outputs)))
    if outputs.dtype.kind == "V" and "float" in outputs.dtype.name:  # bfloat16 and smaller, of other packages
        outputs = outputs.astype(np.float32)
    outputs = outputs[:, None] if outputs.ndim == 1 else outputs
    check_outputs(outputs)
    classes = max(2, outputs.shape[-1])
    if outputs.shape[-1] == 1:
        check_probabilities(outputs)
        truth, chosen = one_label(labels, outputs.shape[:-1]), (outputs[..., 0] > 0.5).astype(int)
    else:
        hot = labels.ndim == outputs.ndim and labels.shape[-1] != 1
        truth = one_hot(labels, outputs) if hot else one_label(labels, outputs.shape[:-1])
        chosen = outputs.argmax(-1)
    return whole_labels(truth, classes, outputs.shape[-1] == 1).ravel(), chosen.ravel(), classes


def check_outputs(outputs: np.ndarray) -> None:
    """Refuse outputs that are no finite scores: text, none, or NaN."""
    if outputs.dtype.kind not in "fiub" or outputs.ndim < 2 or not outputs.size:
        raise InvalidArgumentError(
            "Outputs must be numbers of shape (samples, classes), for at least one sample. Received: dtype "
            f"{outputs.dtype}, shape {outputs.shape}. Give metric=function(labels, outputs) for others."
        )
    bad = np.isnan(outputs).any(axis=tuple(range(1, outputs.ndim))) if outputs.dtype.kind == "f" else np.zeros(1)
    if bad.any():
        raise InvalidArgumentError(
            f"Outputs that are not a number have no largest one. Received: NaN for {int(bad.sum())} of {len(bad)} "
            "samples. Look for NaN in the inputs and in the weights."
        )


def check_unmasked(model: keras.Model) -> None:
    """Refuse a model that answers for each position of padded sequences: `accuracy` would count the padding.

    Only functional and Sequential models tell that their outputs have a mask.

    Raises:
        InvalidArgumentError: the outputs have a mask.
    """
    tensors = getattr(model, "outputs", None) or ()
    if any(getattr(tensor, "_keras_mask", None) is not None and len(tensor.shape) > 2 for tensor in tensors):
        raise InvalidArgumentError(
            "The accuracy of masked sequences would count their padding. Received: model "
            f"'{model.name}', whose outputs have a mask. Call evaluate with metric=function(labels, outputs) that "
            "leaves the padding out."
        )


def check_probabilities(outputs: np.ndarray) -> None:
    """Refuse single outputs that are no probabilities, of which 0.5 would be no limit."""
    low, high = float(outputs.min()), float(outputs.max())
    if low < -SLACK or high > 1 + SLACK:
        raise InvalidArgumentError(
            f"A single output must be the probability of class 1, from 0 to 1. Received: {low:.4g} to {high:.4g}. End "
            "the network with a sigmoid, or give metric=function(labels, outputs)."
        )


def one_label(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return labels of one number each in a shape; a last axis of 1 is taken away."""
    if labels.shape == (*shape, 1):
        labels = labels[..., 0]
    if labels.shape != shape:
        raise InvalidArgumentError(
            f"Labels must be one class a sample, of shape {shape} for these outputs, or one-hot rows. Received: shape "
            f"{labels.shape}."
        )
    return labels


def one_hot(labels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Return the classes of one-hot labels, or of rows of probabilities."""
    if labels.shape != outputs.shape:
        raise InvalidArgumentError(
            "One-hot labels must be as wide as the outputs. Received: labels of shape "
            f"{labels.shape} for outputs of shape {outputs.shape}."
        )
    if labels.dtype.kind not in "fiub" or labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise InvalidArgumentError(
            f"One-hot labels must be finite numbers. Received: dtype {labels.dtype} with other values."
        )
    several = (labels == labels.max(-1, keepdims=True)).sum(-1) != 1
    if several.any():
        row = labels[several][0].tolist()
        raise InvalidArgumentError(
            "One-hot labels must have one largest number a row, the class. Received: "
            f"{int(several.sum())} rows without, such as {row if len(row) <= 12 else [*row[:12], '...']}. Give "
            "metric=function(labels, outputs) for several classes a sample."
        )
    return labels.argmax(-1)


def whole_labels(labels: np.ndarray, classes: int, single: bool) -> np.ndarray:
    """Return labels as integers, checked to be classes from 0 to classes - 1."""
    allowed = "0 and 1 (or False and True)" if single else f"whole numbers from 0 to {classes - 1}"
    if labels.dtype.kind == "O":
        try:
            labels = np.array(labels.tolist())
        except ValueError:
            raise InvalidArgumentError(
                f"Labels must be {allowed}, one for each output. Received: lists of different lengths."
            ) from None
    if labels.dtype.kind not in "fiub":
        raise InvalidArgumentError(
            f"Labels must be {allowed}, in the order of the outputs. Received: {labels.dtype.name} such as "
            f"{labels.ravel()[0]!r}. Give each label's place in the list of classes."
        )
    known = np.isfinite(labels) & (labels >= 0) & (labels < classes) & (labels == np.floor(labels))
    if not known.all():
        wrong = np.unique(labels[~known])
        shown = ", ".join(str(value) for value in wrong[:5].tolist()) + (", ..." if len(wrong) > 5 else "")
        lowest, highest = (np.nanmin(labels), np.nanmax(labels)) if np.isfinite(labels).any() else (0, 0)
        if set(np.unique(labels).tolist()) <= {-1, 1}:
            advice = " Write -1 as 0."
        elif lowest == 1 and highest == classes:
            advice = " If classes are counted from 1, subtract 1."
        else:
            advice = ""
        raise InvalidArgumentError(
            f"Labels must be {allowed}. Received: {shown} for {int((~known).sum())} of {labels.size} labels.{advice}"
        )
    return labels.astype(int)


def the_one(what: str, value: Any) -> np.ndarray:
    """Return the only array of a structure."""
    leaves = keras.tree.flatten(value)
    if len(leaves) != 1:
        names = ", ".join(map(str, value)) if isinstance(value, dict) else str(len(leaves))
        raise InvalidArgumentError(
            f"A model with several {what} has no single accuracy: give metric=function(labels, outputs) that returns "
            f"a number. Received: a {type(value).__name__} of {what} ({names})."
        )
    return leaves[0]


def arrays(part: Any) -> Any:
    """Return an array, or a list, tuple or dict of arrays; a list of numbers is one array."""
    if isinstance(part, dict):
        return {key: arrays(value) for key, value in part.items()}
    if not hasattr(part, "shape") and all(np.ndim(leaf) for leaf in keras.tree.flatten(part)):
        return keras.tree.map_structure(np.asarray, part)
    return np.asarray(part)


def is_pair(data: Any) -> bool:
    """Whether data is (inputs, labels) rather than a sequence of batches, which are pairs or triples themselves."""
    if not isinstance(data, tuple) or len(data) != 2:
        return False
    if isinstance(data[0], (list, tuple)):
        return bool(data[0]) and all(hasattr(leaf, "shape") for leaf in keras.tree.flatten(data))
    return isinstance(data[0], dict) or hasattr(data[0], "shape")


def as_arrays(data: Any, inputs_wanted: int | None = 1) -> tuple[Any, Any]:
    """Return (inputs, labels) as arrays, or structures of arrays, from a pair or from a dataset of batches.

    Args:
        data: a pair, or an iterable of pairs.
        inputs_wanted: how many inputs the model has; a pair of pairs is two batches if it has one.
    """
    if holds_arrays(data, inputs_wanted):
        inputs, labels = (arrays(part) for part in data)
        check_counts(inputs, labels)
        return inputs, labels
    return together(list(batches_of(data)))


def holds_arrays(data: Any, inputs_wanted: int | None) -> bool:
    """Whether evaluation data are a pair (inputs, labels), not batches."""
    batches = isinstance(data, tuple) and inputs_wanted == 1 and isinstance(data[0] if data else None, tuple)
    return is_pair(data) and not batches


def batches_of(data: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the batches of a dataset as arrays (inputs, labels)."""
    for batch in data if isinstance(data, Iterable) and not hasattr(data, "shape") else [data]:
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise InvalidArgumentError(
                "Evaluation data must be (inputs, labels) arrays or batches of (inputs, labels). "
                f"Received: {type(data).__name__} of {type(batch).__name__}."
            )
        inputs, labels = (arrays(part) for part in batch)
        yield inputs, labels


def together(pairs: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    """Return batches (inputs, labels) as one pair."""
    if not pairs:
        raise InvalidArgumentError("Evaluation data must hold at least one batch of (inputs, labels).")
    inputs, labels = (
        keras.tree.map_structure(lambda *parts: np.concatenate(parts), *part) for part in zip(*pairs, strict=True)
    )
    check_counts(inputs, labels)
    return inputs, labels


def check_counts(inputs: Any, labels: Any) -> None:
    """Refuse data without samples, or with another number of labels."""
    counts = samples_in(inputs), samples_in(labels)
    if counts[0] != counts[1] or counts[0] == 0:
        raise InvalidArgumentError(
            "Evaluation data needs as many labels as inputs, at least one. "
            f"Received: {counts[0]} inputs, {counts[1]} labels."
        )


def samples_in(inputs: Any) -> int:
    """Return how many samples there are in an array, or in each of a list, tuple or dict of arrays.

    Raises:
        InvalidArgumentError: the arrays differ in their number of samples, or there is none.
    """
    leaves = keras.tree.flatten(inputs)
    counts = {len(leaf) if np.ndim(leaf) else 0 for leaf in leaves}
    if len(counts) != 1:
        shapes = ", ".join(str(np.shape(leaf)) for leaf in leaves) or "none"
        raise InvalidArgumentError(f"All inputs must have as many samples as each other. Received: shapes {shapes}.")
    return counts.pop()
