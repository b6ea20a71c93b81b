"""A digital layer that adds or multiplies stored numbers, for operations with constants in imported networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from analognets.errors import check_choice, check_integer

__all__ = ["WithConstant"]

OPERATIONS = ("add", "divide", "maximum", "minimum", "multiply", "power", "subtract")


@keras.saving.register_keras_serializable(package="analognets")
class WithConstant(keras.layers.Layer):
    """Apply an operation of `keras.ops` to the input and a stored array, which is a weight: y = op(x, c).

    Args:
        operation: "add", "subtract", "multiply", "divide", "maximum", "minimum" or "power".
        shape: of the array, broadcast against the input; 1 at the batch.
        constant_first: y = op(c, x).

    Raises:
        InvalidArgumentError: there is no such operation, or a length is not positive.

    Examples:
        >>> layer = WithConstant("add", (1, 3))
        >>> layer(np.zeros((2, 3))).numpy().tolist()
        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """

    def __init__(self, operation: str, shape: Sequence[int], *, constant_first: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_choice("WithConstant", "operation", operation, OPERATIONS)
        self.operation, self.constant_first = operation, constant_first
        self.shape = tuple(check_integer("WithConstant", "shape", size, 1, 1 << 31) for size in shape)

    def build(self, input_shape: Any) -> None:
        start = "zeros" if self.operation in ("add", "subtract") else "ones"
        self.constant = self.add_weight(name="constant", shape=self.shape, initializer=start)
        self.built = True

    def call(self, inputs: Any) -> Any:
        constant = ops.cast(self.constant, inputs.dtype)
        pair = (constant, inputs) if self.constant_first else (inputs, constant)
        return getattr(ops, self.operation)(*pair)

    def compute_output_shape(self, input_shape: Any) -> Any:
        shape = (*(1,) * (len(input_shape) - len(self.shape)), *self.shape)
        return tuple(one if stored == 1 else stored for one, stored in zip(input_shape, shape, strict=True))

    def get_config(self) -> dict[str, Any]:
        own = {"operation": self.operation, "shape": list(self.shape), "constant_first": self.constant_first}
        return {**super().get_config(), **own}
