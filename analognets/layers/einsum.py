"""EinsumDense on a crossbar, for equations that are one matrix product per position."""

from __future__ import annotations

import dataclasses
import math
import string
from typing import Any

import keras
from keras import ops

from analognets.errors import ConversionError
from analognets.layers.base import AnalogLayer

__all__ = ["AnalogEinsumDense", "EinsumPlan", "einsum_plan"]


@dataclasses.dataclass(frozen=True)
class EinsumPlan:
    """How an einsum of inputs and a kernel is a matrix product: axes to transpose, and how many belong together.

    Args:
        inputs: axes of the inputs, those that stay first, then those that are summed over.
        kernel: axes of the kernel, those that are summed over first, then those of the output.
        outputs: axes of (positions..., outputs...) in the order of the equation.
        summed: how many axes are summed over.
    """

    inputs: tuple[int, ...]
    kernel: tuple[int, ...]
    outputs: tuple[int, ...]
    summed: int


def einsum_plan(equation: str, rank: int) -> EinsumPlan:
    """Return how an equation such as "abc,cde->abde" is a matrix product for inputs with `rank` axes.

    Raises:
        ConversionError: it is none, for example since the kernel has an axis in common with inputs and outputs.
    """
    left, _, result = equation.replace(" ", "").partition("->")
    data, _, kernel = left.partition(",")
    if "..." in data:
        unused = [letter for letter in string.ascii_letters if letter not in equation]
        dots = "".join(unused[: rank - len(data) + 3])
        data, result = data.replace("...", dots), result.replace("...", dots)
    letters = (data, kernel, result)
    why = ""
    if any(len(set(one)) < len(one) for one in letters) or "..." in kernel or len(data) != rank:
        why = "an axis stands twice, or the ellipsis or the number of axes do not fit"
    elif set(data) & set(kernel) & set(result):
        why = "the kernel holds one matrix for each index of an axis, which would be as many crossbars"
    elif not set(data) & set(kernel) or not set(kernel) & set(result):
        why = "no axis of the inputs is summed over, or none of the outputs is the kernel's"
    elif set(data) - set(kernel) - set(result) or set(kernel) - set(data) - set(result):
        why = "an axis of one factor alone is summed over"
    if why:
        raise ConversionError(
            f"Only an einsum that is one matrix product per position can be on a crossbar: {why}. Received: "
            f"'{equation}' for inputs with {rank} axes. Leave this layer digital."
        )
    summed = [letter for letter in kernel if letter in data]
    out = [letter for letter in kernel if letter in result]
    stays = [letter for letter in data if letter not in summed]
    return EinsumPlan(
        tuple(data.index(letter) for letter in [*stays, *summed]),
        tuple(kernel.index(letter) for letter in [*summed, *out]),
        tuple([*stays, *out].index(letter) for letter in result),
        len(summed),
    )


def _transposed(array: Any, axes: tuple[int, ...]) -> Any:
    return array if axes == tuple(range(len(axes))) else ops.transpose(array, axes)


@keras.saving.register_keras_serializable(package="analognets")
class AnalogEinsumDense(AnalogLayer, keras.layers.EinsumDense):
    """Einsum with a kernel, computed on crossbar tiles: y = activation(bias + ADC(DAC(x) W)).

    Takes every argument of `keras.layers.EinsumDense` and those of `analognets.layers.base.AnalogLayer`. A row of the
    tile is an index of all axes that are summed over, a column one of all output axes of the kernel; inputs are laid
    out as (positions..., rows) for it. The equation must be one matrix product per position: no kernel with one matrix
    for each index of some axis.

    Raises:
        InvalidArgumentError: an argument is out of range.
        ConversionError: when it is built: the equation is no such product.

    Source: as `AnalogLayer`.

    Examples:
        >>> layer = AnalogEinsumDense("abc,cde->abde", output_shape=(None, 2, 8), bias_axes="de")
        >>> print(layer(np.ones((4, 5, 3))).shape)
        (4, 5, 2, 8)
    """

    def build(self, input_shape: Any) -> None:
        self.plan = einsum_plan(self.equation, len(input_shape))
        super().build(input_shape)

    @property
    def use_bias(self) -> bool:
        """Whether there is a bias, of whatever axes."""
        return self.bias_axes is not None

    def crossbar_shape(self) -> tuple[int, ...]:
        sizes = [int(self.kernel_variable.shape[axis]) for axis in self.plan.kernel]
        return math.prod(sizes[: self.plan.summed]), math.prod(sizes[self.plan.summed :])

    def to_crossbar(self, kernel: Any) -> Any:
        return ops.reshape(_transposed(kernel, self.plan.kernel), self.crossbar_shape())

    def from_crossbar(self, array: Any) -> Any:
        axes = self.plan.kernel
        sizes = [int(self.kernel_variable.shape[axis]) for axis in axes]
        return _transposed(ops.reshape(array, sizes), tuple(axes.index(axis) for axis in range(len(axes))))

    def product(self, inputs: Any, kernel: Any) -> Any:
        """The product of inputs (positions..., rows) and a kernel in the shape of the variable."""
        return ops.matmul(inputs, self.to_crossbar(kernel))

    def programmed_product(self, inputs: Any, kernel: Any) -> Any:
        return ops.matmul(inputs, kernel)

    def product_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*input_shape[:-1], self.crossbar_shape()[-1])

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        plan = self.plan
        inputs = _transposed(inputs, plan.inputs)
        positions = len(plan.inputs) - plan.summed
        if plan.summed > 1:
            inputs = ops.reshape(inputs, (*ops.shape(inputs)[:positions], self.crossbar_shape()[0]))
        outputs = self.analog_product(inputs, training)
        columns = [int(self.kernel_variable.shape[axis]) for axis in plan.kernel[plan.summed :]]
        if len(columns) > 1:
            outputs = ops.reshape(outputs, (*ops.shape(outputs)[:-1], *columns))
        outputs = _transposed(outputs, plan.outputs)
        if self.bias is not None:
            outputs = outputs + ops.cast(self.bias, outputs.dtype)
        return outputs if self.activation is None else self.activation(outputs)
