"""Keras callbacks of hardware-aware training, and what makes an epoch repeatable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from analognets.core.seeds import epoch_seed, seed_of_words
from analognets.errors import InvalidArgumentError, check_integer, check_number
from analognets.layers import analog_layers, freeze_weight_range
from analognets.layers.aged_weights import DRIFT_TIME
from analognets.layers.replicas import differ_by_replica
from analognets.training.distillation import Distiller

__all__ = [
    "BatchProgress",
    "EpochSeeds",
    "NoiseRamp",
    "WeightRangeRefresh",
    "reseed",
    "set_noise_scale",
    "trained_network",
]


def trained_network(model: keras.Model) -> keras.Model:
    """Return the network that a model's `fit` trains: the student of a `Distiller`, whose teachers stay as they are."""
    return model.student if isinstance(model, Distiller) else model


def set_noise_scale(model: keras.Model, scale: float) -> None:
    """Set the share of the weight noise that the analog layers of a trained model have now, 0 to 1."""
    for layer in analog_layers(trained_network(model)):
        layer.noise_scale.assign(scale)


class NoiseRamp(keras.callbacks.Callback):
    """Let the weight noise of all analog layers grow in equal steps, one an epoch.

    scale(epoch) = (epoch + 1 - start_epoch) / (end_epoch - start_epoch), clipped to 0 ... 1

    So there is no noise before `start_epoch`, and full noise in epoch `end_epoch - 1` and after. Epochs count from 0.
    The scale depends on the epoch alone; it multiplies the layers' eta. After the training it is 1 again.

    Args:
        start_epoch: first epoch with noise, at least 0.
        end_epoch: end of the ramp, at least `start_epoch`; equal to it is a jump to full noise.

    Raises:
        InvalidArgumentError: an epoch is negative, or the end comes before the start.
        ConversionError: in `fit`, if the model has no analog layer.

    Examples:
        >>> ramp = NoiseRamp(start_epoch=0, end_epoch=10)
        >>> [ramp.scale(epoch) for epoch in (0, 4, 9, 19)]
        [0.1, 0.5, 1.0, 1.0]
    """

    def __init__(self, start_epoch: int = 0, end_epoch: int = 0) -> None:
        super().__init__()
        self.start_epoch = check_integer("NoiseRamp", "start_epoch", start_epoch, 0, 1 << 30)
        self.end_epoch = check_integer("NoiseRamp", "end_epoch", end_epoch, 0, 1 << 30)
        if self.end_epoch < self.start_epoch:
            raise InvalidArgumentError(
                "`end_epoch` of NoiseRamp must not come before its start_epoch. "
                f"Received: start_epoch={start_epoch}, end_epoch={end_epoch}."
            )

    def scale(self, epoch: int) -> float:
        """Return the factor of the noise in an epoch, 0 to 1."""
        length = self.end_epoch - self.start_epoch
        if length == 0:
            return float(epoch >= self.start_epoch)
        return min(max((epoch + 1 - self.start_epoch) / length, 0.0), 1.0)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        set_noise_scale(self.model, self.scale(epoch))

    def on_train_end(self, logs: Any = None) -> None:
        set_noise_scale(self.model, 1.0)


class WeightRangeRefresh(keras.callbacks.Callback):
    """Set W_max of all analog layers anew at the start of each epoch, until it is frozen.

    W_max = sigma * std(W); kernels are clipped to it from then on. For models that are trained as analog models from
    the start; the two-stage training clips in stage 1 and freezes W_max at its end.

    Args:
        sigma: in standard deviations of the kernel, > 0; None is the largest weight.
        until_epoch: first epoch that leaves W_max as it is; None refreshes to the end.

    Raises:
        InvalidArgumentError: an argument is out of range.
        ConversionError: in `fit`, if the model has no analog layer.

    Source: AnalogNets (arXiv 2111.06503), from memory.
    """

    def __init__(self, sigma: float | None = 2.0, *, until_epoch: int | None = None) -> None:
        super().__init__()
        self.sigma = None if sigma is None else check_number("WeightRangeRefresh", "sigma", sigma, 1e-3, 1e3)
        if until_epoch is not None:
            check_integer("WeightRangeRefresh", "until_epoch", until_epoch, 0, 1 << 30)
        self.until_epoch = until_epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self.until_epoch is None or epoch < self.until_epoch:
            freeze_weight_range(trained_network(self.model), sigma=self.sigma)


class EpochSeeds(keras.callbacks.Callback):
    """Start every epoch's noise and dropout from a seed of its own, so that training can be resumed bit for bit.

    Args:
        seed: of the run, at least 0.
        stream: tells trainings with the same seed apart.
    """

    def __init__(self, seed: int, *, stream: str = "fit") -> None:
        super().__init__()
        self.seed = check_integer("EpochSeeds", "seed", seed, 0, (1 << 31) - 1)
        self.stream = stream

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        reseed(self.model, epoch_seed(self.seed, self.stream, epoch))


class BatchProgress(keras.callbacks.Callback):
    """Call a function after every batch with the number of batches done in this epoch.

    Args:
        report: takes the number of batches.
    """

    def __init__(self, report: Callable[[int], None]) -> None:
        super().__init__()
        self.report = report

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.report(batch + 1)


def reseed(model: keras.Model, seed: int) -> None:
    """Set every random generator of a model, those in nested layers included, to a state that `seed` decides.

    Each `keras.random.SeedGenerator` that a layer holds as an attribute gets a state of its own; those that draw the
    time of a training step all get the same one. Under `tf.distribute` each replica has states of its own. Python's,
    NumPy's and TensorFlow's global seeds are set too; randomness a layer draws from anything else is not reached.

    Args:
        model: a built model.
        seed: 0 to 2^31 - 1.
    """
    keras.utils.set_random_seed(seed)
    states = [v for v in model.variables if v.name == "seed_generator_state"]
    times = [v for v in states if DRIFT_TIME in v.path]
    for index, state in enumerate(v for v in states if DRIFT_TIME not in v.path):
        state.assign(np.array([seed_of_words([seed, index]), 0]))
    for state in times:
        state.assign(np.array([seed_of_words([seed, *DRIFT_TIME.encode()]), 0]))
    for state in states:
        differ_by_replica(state)
