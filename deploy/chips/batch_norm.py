"""Batch-norm statistics re-estimated on a drifted chip (AdaBS)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from analognets.deploy.chips.loading import compensated
from analognets.errors import InvalidArgumentError
from analognets.layers import AnalogLayer
from analognets.layers.kept_state import kept_state
from analognets.layers.noise_realization import NoiseRealization

__all__ = [
    "Statistics",
    "batch_norms",
    "check_measurable",
    "estimated_statistics",
    "held_statistics",
    "restored_statistics",
]

Statistics = Sequence[tuple[np.ndarray, np.ndarray]]
"""Mean and variance of each batch-norm, in the order of `batch_norms`."""
RANDOM_RATES = ("rate", "stddev", "dropout", "recurrent_dropout")
"""Attributes by which layers say how much they change their inputs at random."""
MARK = {"float16": 2.0**14}
"""Mean in front of a batch-norm, far from any that inputs have, by its type; 2^40 for those of a wider range."""
FEW = 2
"""Samples on which the calls of batch-norms are counted."""


def batch_norms(model: keras.Model) -> list[Any]:
    """Return the batch-norms of a model, those of nested models included."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]


def _draws(layer: Any) -> bool:
    """Whether a layer draws random numbers."""
    return any(isinstance(value, keras.random.SeedGenerator) for value in vars(layer).values())


def _rates(layer: Any) -> list[str]:
    """Return the attributes that say how much a layer changes its inputs at random."""
    return [name for name in RANDOM_RATES if isinstance(vars(layer).get(name), (int, float))] if _draws(layer) else []


def _without_randomness(model: keras.Model) -> list[tuple[Any, str, Any]]:
    """Switch dropout and activation noise off; returns what to set back."""
    changed = [(layer, name, getattr(layer, name)) for layer in model._flatten_layers() for name in _rates(layer)]
    for layer, name, _ in changed:
        setattr(layer, name, 0)
    return changed


@contextlib.contextmanager
def _measuring(model: keras.Model, norms: Sequence[Any], momentum: float = 0.0) -> Iterator[None]:
    """While active, a call in training mode leaves the statistics of its batch in the batch-norms, also in frozen ones.

    Afterwards the model is as it was, with its old statistics.
    """
    saved = [(one, one.momentum, one.trainable, one.moving_mean.numpy(), one.moving_variance.numpy()) for one in norms]
    learned = [(variable, variable.trainable) for one in norms for variable in one.variables]
    statistics = [variable for norm in norms for variable in (norm.moving_mean, norm.moving_variance)]
    changed: list[tuple[Any, str, Any]] = []
    try:
        changed = _without_randomness(model)
        for norm in norms:
            norm.momentum = momentum
            if not norm.trainable:
                norm.trainable = True
        with kept_state(model, but=statistics):
            yield
    finally:
        for layer, name, value in changed:
            setattr(layer, name, value)
        for norm, old, trainable, mean, variance in saved:
            norm.momentum = old
            if not trainable:
                norm.trainable = False
            norm.moving_mean.assign(mean)
            norm.moving_variance.assign(variance)
        for variable, was_trained in learned:
            if variable.trainable != was_trained:
                variable.trainable = was_trained


def check_measurable(model: keras.Model, inputs: Any) -> None:
    """Raise unless one pass in training mode tells what each batch-norm sees when the model infers.

    Args:
        model: with at least one batch-norm.
        inputs: arrays of samples, of which a few are taken.

    Raises:
        InvalidArgumentError: a layer changes its inputs at random in training mode in a way that can't be switched off,
            or a batch-norm is called several times, of which each has statistics of its own.
    """
    for layer in model._flatten_layers():
        if _draws(layer) and not _rates(layer) and not type(layer).__module__.startswith("analognets."):
            raise InvalidArgumentError(
                "AdaBS measures what a chip infers, without random changes. Received: layer "
                f"'{layer.name}' ({type(layer).__name__}) of model '{model.name}', which draws at random in training. "
                "Build the model without it, with the same weights."
            )
    few = next((tensor.shape[0] for tensor in getattr(model, "inputs", None) or () if tensor.shape[0]), FEW)
    norms = batch_norms(model)
    marks = [MARK.get(keras.backend.standardize_dtype(norm.moving_mean.dtype), 2.0**40) for norm in norms]
    with _measuring(model, norms, momentum=0.5):  # each call halves the mark
        for norm, mark in zip(norms, marks, strict=True):
            norm.moving_mean.assign(np.full(norm.moving_mean.shape, mark))
        model(keras.tree.map_structure(lambda leaf: np.asarray(leaf)[:few], inputs), training=True)
        left = [float(np.max(norm.moving_mean.numpy())) for norm in norms]
    for norm, mark, mean in zip(norms, marks, left, strict=True):
        if mean < 0.3 * mark:
            raise InvalidArgumentError(
                "AdaBS measures batch-norms that are called once in an inference. Received: batch-norm "
                f"'{norm.name}' of model '{model.name}', which is called several times. Give each call a batch-norm of "
                "its own, or leave AdaBS out."
            )


def estimated_statistics(
    model: keras.Model,
    layers: Sequence[AnalogLayer],
    reads: Sequence[NoiseRealization],
    drift_compensation: bool,
    inputs: Any,
) -> Statistics:
    """Return mean and variance in front of each batch-norm, measured on `inputs` with the weights as read from a chip.

    Each is measured while all batch-norms before it hold the new statistics already, as a chip does it: layer after
    layer, running sums of each channel over all inputs. One pass in training mode over all of them at once gives the
    same numbers. The model is left as it was.

    Args:
        model: with at least one batch-norm.
        layers: its analog layers.
        reads: what `Chip.read` returned, one for each of them.
        drift_compensation: with the digital drift compensation, or with factors of 1.
        inputs: all samples.

    Raises:
        InvalidArgumentError: a batch-norm keeps its statistics in training mode too, or the numbers are not finite.

    Source: AdaBS of Joshi et al., Nat. Commun. 11:2473 (2020); full sums instead of a moving average are our
    simplification.
    """
    norms = batch_norms(model)
    with _measuring(model, norms), contextlib.ExitStack() as stack:
        marks = [norm.moving_mean.numpy() + 1.0 for norm in norms]
        for norm, mark in zip(norms, marks, strict=True):
            norm.moving_mean.assign(mark)
        for layer, read in zip(layers, reads, strict=True):
            stack.enter_context(layer.fixed_noise(compensated(layer, read, drift_compensation)))
        model(keras.tree.map_structure(np.asarray, inputs), training=True)
        found = [(norm.moving_mean.numpy(), norm.moving_variance.numpy()) for norm in norms]
    for norm, mark, (mean, variance) in zip(norms, marks, found, strict=True):
        if np.array_equal(mean, mark):
            raise InvalidArgumentError(
                "AdaBS measures batch-norms that normalise by their inputs in training mode. Received: batch-norm "
                f"'{norm.name}' of model '{model.name}', which is not called or is called with training=False. Build "
                "the model without that argument."
            )
        if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
            raise InvalidArgumentError(
                f"AdaBS needs finite numbers in front of each batch-norm. Received: NaN or infinity at '{norm.name}'. "
                "Look for NaN in the inputs and in the weights."
            )
    return found


@contextlib.contextmanager
def held_statistics(model: keras.Model, statistics: Statistics | None) -> Iterator[None]:
    """While active, the batch-norms of a model hold these statistics; then the old ones again.

    Args:
        model: whose they are.
        statistics: None changes nothing.
    """
    if statistics is None:
        yield
        return
    norms = batch_norms(model)
    saved = [(norm.moving_mean.numpy(), norm.moving_variance.numpy()) for norm in norms]
    try:
        for norm, (mean, variance) in zip(norms, statistics, strict=True):
            norm.moving_mean.assign(mean)
            norm.moving_variance.assign(variance)
        yield
    finally:
        for norm, (mean, variance) in zip(norms, saved, strict=True):
            norm.moving_mean.assign(mean)
            norm.moving_variance.assign(variance)


@contextlib.contextmanager
def restored_statistics(
    model: keras.Model,
    layers: Sequence[AnalogLayer],
    reads: Sequence[NoiseRealization],
    drift_compensation: bool,
    inputs: Any,
) -> Iterator[None]:
    """While active, the batch-norms hold statistics measured on `inputs` with these weights; then the old ones again.

    Does nothing if `inputs` is None or there is no batch-norm; see `estimated_statistics`.
    """
    measured = inputs is not None and batch_norms(model)
    found = estimated_statistics(model, layers, reads, drift_compensation, inputs) if measured else None
    with held_statistics(model, found):
        yield
