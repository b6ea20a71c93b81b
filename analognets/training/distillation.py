"""Knowledge distillation: a network that also learns from the outputs of its teachers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from analognets.errors import InvalidArgumentError, check_number

__all__ = ["Distiller"]


class Distiller(keras.Model):
    """Train a network on the labels and on the softened outputs of a frozen teacher, or the mean of several.

        L = (1 - a) * L_labels + a * T^2 * KL( mean_k softmax(z_k / T) || softmax(z_student / T) )

    Compile and fit it like any model: only the student's variables are trained, and what is compiled as the loss is
    L_labels. Weights of samples and classes count in both parts. Teachers run in inference mode on the same batch.
    Evaluation and prediction are the student's alone.

    Args:
        student: a built model with one output of shape (batch, classes).
        teacher: a built model of the same outputs, such as the float network, or a sequence of at least one; they are
            left as they are.
        temperature: T, 1 to 100.
        soft_share: a, from 0 (labels alone) to 1 (the teachers alone).
        from_logits: whether all models' outputs are logits or probabilities.

    Raises:
        InvalidArgumentError: a number is out of range, there is no teacher, or the models' outputs differ in shape.

    Source: Rasch et al., Nat. Commun. 14:5282 (2023): T = 10, 75 % soft and 25 % hard labels (verified). The factor T^2
    keeps the two parts' gradients comparable (Hinton et al., arXiv 1503.02531), where an ensemble teaches too; whether
    the first paper has it is not known.

    Examples:
        >>> trainer = Distiller(analognets.conversion.same_model(analog), teacher=model)
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> trainer.compile("adam", loss, jit_compile=False)
        >>> sorted(trainer.fit(x, y, verbose=0).history)
        ['loss']
    """

    def __init__(
        self,
        student: keras.Model,
        teacher: keras.Model | Sequence[keras.Model],
        *,
        temperature: float = 10.0,
        soft_share: float = 0.75,
        from_logits: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"name": f"distilled_{student.name}", **kwargs})
        self.temperature = check_number("Distiller", "temperature", temperature, 1.0, 100.0)
        self.soft_share = check_number("Distiller", "soft_share", soft_share, 0.0, 1.0)
        self.from_logits = bool(from_logits)
        teachers = [teacher] if isinstance(teacher, keras.Model) else list(teacher)
        shapes = [getattr(model, "output_shape", None) for model in (student, *teachers)]
        if not teachers or len(set(map(str, shapes))) > 1 or not isinstance(shapes[0], tuple):
            raise InvalidArgumentError(
                "Distiller needs a student and at least one teacher, each with one output of the same shape. "
                f"Received: {' and '.join(map(str, shapes))}."
            )
        self.student = student
        self.teachers = teachers
        self.built = True

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """Those of the student."""
        return self.student.trainable_variables

    @property
    def trainable_weights(self) -> list[keras.Variable]:
        """Those of the student."""
        return self.student.trainable_weights

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.student(inputs, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return the mean of the loss over a batch; in evaluation that of the labels alone."""
        hard = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        if not training:
            return hard
        targets = self._targets(x)
        divergence = ops.exp(targets) * (targets - self._log_probabilities(y_pred))
        each = ops.sum(divergence, axis=-1)
        if sample_weight is not None:
            each = each * ops.reshape(ops.cast(sample_weight, each.dtype), (-1, *[1] * (len(each.shape) - 1)))
        soft = self.temperature**2 * ops.mean(each)
        return (1.0 - self.soft_share) * hard + self.soft_share * ops.cast(soft, hard.dtype)

    def _targets(self, x: Any) -> Any:
        """Return the logarithm of the teachers' mean probabilities, of shape (batch, classes)."""
        each = [self._log_probabilities(ops.stop_gradient(teacher(x, training=False))) for teacher in self.teachers]
        if len(each) == 1:
            return each[0]
        return ops.logsumexp(ops.stack(each), axis=0) - math.log(len(each))

    def _log_probabilities(self, outputs: Any) -> Any:
        outputs = ops.cast(outputs, "float32")
        logits = outputs if self.from_logits else ops.log(ops.clip(outputs, keras.config.epsilon(), 1.0))
        return ops.log_softmax(logits / self.temperature, axis=-1)
