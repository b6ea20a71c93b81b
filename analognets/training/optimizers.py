"""Learning-rate schedule, optimizer and loss of a stage."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from analognets.training.recipe import Stage

__all__ = ["HalfSquares", "LabelAccuracy", "SmoothedCrossentropy", "WarmupSchedule", "make_loss", "make_optimizer"]

OPTIMIZERS = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW, "sgd": keras.optimizers.SGD}


@keras.saving.register_keras_serializable(package="analognets")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate that grows linearly and then falls as a cosine, or stays.

    lr(n) = peak * min(1, (n + 1) / warmup) * (floor + (1 - floor) * (1 + cos(pi * p)) / 2),
    p = (n - warmup) / (total - warmup) clipped to 0 ... 1; floor = 1 is constant after the warm-up.

    It depends on the optimizer's step count n alone, so a resumed training goes on where it stopped.

    Args:
        peak: highest learning rate, > 0.
        total_steps: of the whole stage, at least 1.
        warmup_steps: at least 0; more than `total_steps` counts as `total_steps`.
        floor: last learning rate as a share of `peak`, 0 to 1.
    """

    def __init__(self, peak: float, total_steps: int, warmup_steps: int = 0, floor: float = 0.0) -> None:
        super().__init__()
        self.peak = float(peak)
        self.total_steps = max(int(total_steps), 1)
        self.warmup_steps = min(int(warmup_steps), self.total_steps)
        self.floor = float(floor)

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        rise = ops.minimum((step + 1.0) / max(self.warmup_steps, 1), 1.0)
        progress = (step - self.warmup_steps) / max(self.total_steps - self.warmup_steps, 1)
        fall = (1.0 + ops.cos(math.pi * ops.clip(progress, 0.0, 1.0))) / 2.0
        return self.peak * rise * (self.floor + (1.0 - self.floor) * fall)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration as plain data."""
        return {
            "peak": self.peak,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
            "floor": self.floor,
        }


@keras.saving.register_keras_serializable(package="analognets")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross entropy of integer labels, or of shares of the classes, with label smoothing.

    L = -(1 - s) * sum over classes of share * log p - s * mean over classes of log p,  share = 1 for the label, else 0

    Args:
        smoothing: s, 0 to 1.
        from_logits: whether predictions are logits (log p by log-softmax) or probabilities.
    """

    def __init__(self, smoothing: float = 0.0, from_logits: bool = True, **kwargs: Any) -> None:
        super().__init__(**{"name": "smoothed_crossentropy", **kwargs})
        self.smoothing = float(smoothing)
        self.from_logits = bool(from_logits)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if self.from_logits:
            logs = ops.log_softmax(y_pred, axis=-1)
        else:
            logs = ops.log(ops.clip(y_pred, keras.config.epsilon(), 1.0))
        if are_shares(y_true, y_pred):
            shares = ops.cast(y_true, logs.dtype)
        else:
            labels = ops.cast(y_true, "int32")
            labels = ops.squeeze(labels, axis=-1) if len(labels.shape) == len(y_pred.shape) else labels
            shares = ops.one_hot(labels, ops.shape(logs)[-1], dtype=logs.dtype)
        chosen = ops.sum(shares * logs, axis=-1)
        return -(1.0 - self.smoothing) * chosen - self.smoothing * ops.mean(logs, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration as plain data."""
        return {**super().get_config(), "smoothing": self.smoothing, "from_logits": self.from_logits}


def are_shares(y_true: Any, y_pred: Any) -> bool:
    """Whether targets are shares of the classes, (batch, classes), as mixup makes them, and not labels."""
    return len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == y_pred.shape[-1] > 1


@keras.saving.register_keras_serializable(package="analognets")
class LabelAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """Share of the samples whose label, or class of the largest share, is the network's answer."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Count one batch; arguments as for any Keras metric."""
        labels = ops.argmax(y_true, axis=-1) if are_shares(y_true, y_pred) else y_true
        return super().update_state(labels, y_pred, sample_weight)


@keras.saving.register_keras_serializable(package="analognets")
class HalfSquares(keras.losses.Loss):
    """Half the sum of squared errors of integer labels.

    L = 1/2 sum over classes of (y - [class is label])^2

    Source: the loss of arXiv 2001.11773, from memory.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"name": "half_squares", **kwargs})

    def call(self, y_true: Any, y_pred: Any) -> Any:
        labels = ops.cast(y_true, "int32")
        if len(labels.shape) == len(y_pred.shape):
            labels = ops.squeeze(labels, axis=-1)
        wanted = ops.one_hot(labels, ops.shape(y_pred)[-1], dtype=y_pred.dtype)
        return 0.5 * ops.sum(ops.square(y_pred - wanted), axis=-1)


def make_loss(stage: Stage, from_logits: bool) -> keras.losses.Loss:
    """Return the loss a stage asks for."""
    return HalfSquares() if stage.loss == "half_squares" else SmoothedCrossentropy(stage.label_smoothing, from_logits)


def make_optimizer(
    stage: Stage,
    variables: Sequence[keras.Variable],
    *,
    steps_per_epoch: int,
    scaled: Sequence[keras.Variable] = (),
    scale: float = 1.0,
    wrap: Callable[[keras.optimizers.Optimizer], keras.optimizers.Optimizer] | None = None,
    replicas: int = 1,
) -> keras.optimizers.Optimizer:
    """Return the optimizer a stage asks for, built on `variables`.

    Args:
        stage: of the recipe.
        variables: the model's trainable variables; weight decay reaches those with two or more axes.
        steps_per_epoch: batches in an epoch.
        scaled: variables whose learning rate is multiplied by `scale`.
        scale: at least 0.
        wrap: makes another optimizer of it before it is built, such as `MixedPrecision`.
        replicas: of the strategy that it is made in.
    """
    schedule = WarmupSchedule(
        stage.learning_rate,
        stage.epochs * steps_per_epoch,
        round(stage.warmup_epochs * steps_per_epoch),
        stage.final_learning_rate_share if stage.schedule == "cosine" else 1.0,
    )
    kind = OPTIMIZERS[stage.optimizer]
    if scaled and scale != 1:
        chosen = {id(v) for v in scaled}
        kind = _with_scaled_steps(kind, [scale if id(v) in chosen else 1.0 for v in variables])
    if replicas > 1 and stage.clip_norm:
        kind = _with_common_clipping(kind, replicas)
    options: dict[str, Any] = {}
    if stage.optimizer == "sgd":
        momentum = 0.9 if stage.momentum is None else stage.momentum
        options = {"momentum": momentum, "nesterov": momentum > 0}
    elif stage.momentum is not None:
        options = {"beta_1": stage.momentum}
    decay = stage.weight_decay if stage.weight_decay or stage.optimizer == "adamw" else None
    optimizer = kind(schedule, weight_decay=decay, global_clipnorm=stage.clip_norm, **options)
    optimizer.exclude_from_weight_decay(var_list=[v for v in variables if len(v.shape) < 2])
    if wrap is not None:
        optimizer = wrap(optimizer)
    optimizer.build(list(variables))
    return optimizer


def _with_scaled_steps(base: Any, scales: list[float]) -> Any:
    """Return an optimizer class whose step on the i-th variable has its learning rate multiplied by scales[i].

    Scaling the gradient instead would do nothing with Adam.
    """

    class ScaledSteps(base):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(gradient, variable, learning_rate * scales[self._get_variable_index(variable)])

    return ScaledSteps


def _with_common_clipping(base: Any, replicas: int) -> Any:
    """Return an optimizer class that clips the gradient of the whole batch, as on one device.

    Keras clips each replica's part and adds them up afterwards.
    """
    import tensorflow as tf

    class CommonClipping(base):
        def _clip_gradients(self, grads: list[Any]) -> list[Any]:
            context = tf.distribute.get_replica_context()
            if context is None:
                return super()._clip_gradients(grads)
            found = [gradient for gradient in grads if gradient is not None]
            total = iter(super()._clip_gradients(list(context.all_reduce(tf.distribute.ReduceOp.SUM, found))))
            return [None if gradient is None else next(total) / replicas for gradient in grads]

    return CommonClipping
