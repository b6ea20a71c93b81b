"""What programmed chips go by: the weights and the drift compensation that the model had when they were programmed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from analognets.core.provenance import sha256_of_all
from analognets.devices import DriftCompensation
from analognets.errors import InvalidArgumentError
from analognets.layers import analog_layers

__all__ = ["Origin", "check_reference", "model_fingerprint"]


class Origin(NamedTuple):
    """What a model was when chips were made of it.

    Args:
        fingerprint: of its kernels.
        rules: drift compensation of each layer, by which the references were taken.
    """

    fingerprint: str
    rules: tuple[DriftCompensation | None, ...]

    @classmethod
    def of(cls, model: keras.Model) -> Origin:
        """Return what a model is now."""
        return cls(model_fingerprint(model), tuple(layer.crossbar.drift_compensation for layer in analog_layers(model)))

    def check(self, model: keras.Model) -> None:
        """Raise an InvalidArgumentError if the model has other weights, or a rule that can't use the references."""
        if model_fingerprint(model) != self.fingerprint:
            raise InvalidArgumentError(
                f"The chips of model '{model.name}' hold the weights that it had when they were programmed. Received: "
                "other weights, with which they don't go together. Call analognets.deploy.program(model) again, or "
                "load the old weights."
            )
        for layer, rule in zip(analog_layers(model), self.rules, strict=True):
            check_reference(rule, layer.crossbar.drift_compensation, layer.name, InvalidArgumentError)


def check_reference(
    taken: DriftCompensation | None, now: DriftCompensation | None, layer: str, error: type[Exception]
) -> None:
    """Raise if a reference that was taken by one rule does not serve another one.

    Args:
        taken: the rule when the chip was programmed.
        now: that of the layer, or None.
        layer: its name.
        error: to raise.
    """
    if now is not None and (taken is None or not now.reads_like(taken)):
        raise error(
            f"The reference of layer '{layer}' was taken by another drift compensation than {now!r}. Received: "
            f"{'none' if taken is None else repr(taken)}. Set that with analognets.layers.set_hardware, or programme "
            "the model again."
        )


def model_fingerprint(model: keras.Model) -> str:
    """Return the sha256 of names, shapes and values of the kernels that get programmed."""
    return sha256_of_all(_kernels(model))


def _kernels(model: keras.Model) -> Iterator[Any]:
    for layer in analog_layers(model):
        kernel = np.asarray(layer.kernel_variable.value).astype(np.float32, copy=False)
        yield f"{layer.name}{kernel.shape}"
        yield kernel
