"""What an ONNX name stands for while a network is imported: a constant, or a Keras tensor in an order of its own.

Operators that only move axes change the order and make no layer. So a network with channels first becomes one with
channels last, and the transpositions that an exporter wrote around each layer vanish.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

__all__ = ["PROBES", "Constant", "Product", "Value", "channels_last", "constant"]

PROBES = (1009, 2003)
"""Two batch sizes with which shapes are worked out; an entry that differs between them depends on the batch."""


@dataclasses.dataclass(frozen=True)
class Constant:
    """A constant, as it is at either of the two batch sizes; most are the same array.

    Args:
        first: at the first of `PROBES`.
        second: at the second.
    """

    first: np.ndarray
    second: np.ndarray

    @property
    def fixed(self) -> bool:
        """Whether it does not depend on the batch."""
        return self.first is self.second

    def without_batch(self) -> np.ndarray | None:
        """Return the array; of one that repeats along the batch a single entry there; None if its values depend."""
        if self.fixed:
            return self.first
        one, two = self.first, self.second
        if one.ndim != two.ndim:
            return None
        for axis in range(one.ndim):
            if one.shape[axis] != two.shape[axis]:
                one, two = one.take([0], axis), two.take([0], axis)
        return one if np.array_equal(one, two) else None


def constant(first: Any, second: Any = None) -> Constant:
    """Return a constant; of two arrays that are equal, one that is fixed."""
    one = np.asarray(first)
    if second is None:
        return Constant(one, one)
    two = np.asarray(second)
    return Constant(one, one) if one.shape == two.shape and np.array_equal(one, two) else Constant(one, two)


class Product:
    """A layer with a kernel that is not made yet, so that a bias and a scale that follow it can become part of it.

    Args:
        make: returns the layer; given whether it has a bias.
        inputs: what it is called on.
        kernel: in the layer's layout, its outputs in the order of `ravel` of the axes `outputs`.
        bias: one number an output, or None.
        outputs: the axes of the kernel that are its outputs.
        final: whether nothing may become part of it any more, because something else uses its output too.
    """

    def __init__(
        self,
        make: Callable[[bool], keras.layers.Layer],
        inputs: Any,
        kernel: np.ndarray,
        bias: np.ndarray | None,
        outputs: tuple[int, ...] = (-1,),
    ) -> None:
        self.make, self.inputs, self.kernel, self.bias, self.outputs = make, inputs, kernel, bias, outputs
        self.final = False
        self.shape = tuple(make(False).compute_output_shape(inputs.shape))
        self._made: Any = None

    @property
    def channels(self) -> int:
        """How many outputs it has."""
        return math.prod(self.kernel.shape[axis] for axis in self.outputs)

    def add(self, offset: np.ndarray) -> None:
        """Add to the bias."""
        self.bias = np.broadcast_to(offset, (self.channels,)) + (0.0 if self.bias is None else self.bias)

    def scale(self, factor: np.ndarray) -> None:
        """Multiply each output."""
        factor = np.broadcast_to(factor, (self.channels,))
        shape = [1] * self.kernel.ndim
        for axis in self.outputs:
            shape[axis] = self.kernel.shape[axis]
        self.kernel = self.kernel * factor.reshape(shape)
        self.bias = None if self.bias is None else self.bias * factor

    def made(self) -> Any:
        """Return the output of the layer."""
        if self._made is None:
            layer = self.make(self.bias is not None)
            self._made = layer(self.inputs)
            layer.set_weights([self.kernel] if self.bias is None else [self.kernel, self.bias])
        return self._made


@dataclasses.dataclass(frozen=True)
class Value:
    """A tensor of the network.

    Args:
        source: a Keras tensor, or a product that makes one.
        order: for each axis of the Keras tensor, which axis of ONNX it is.
        many: the axis of unknown length holds so many times the batch.
        index: for each place on the last axis, its place in ONNX; None: the same.
        merged: ONNX has all axes but the last one as a single axis.
    """

    source: Any
    order: tuple[int, ...]
    many: int = 1
    index: np.ndarray | None = None
    merged: bool = False

    @property
    def tensor(self) -> Any:
        """The Keras tensor, as it is; look at the order."""
        return self.source.made() if isinstance(self.source, Product) else self.source

    @property
    def product(self) -> Product | None:
        """The product that something may still become part of."""
        return self.source if isinstance(self.source, Product) and not self.source.final else None

    @property
    def dims(self) -> tuple[int | None, ...]:
        """The shape of the Keras tensor."""
        return tuple(self.source.shape)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The shape in ONNX, None for the batch."""
        if self.merged:
            return (None, self.dims[-1])
        return tuple(self.dims[self.order.index(axis)] for axis in range(len(self.order)))

    @property
    def rank(self) -> int:
        """Number of axes in ONNX."""
        return len(self.shape)

    @property
    def repeats(self) -> int:
        """How many times the batch ONNX's axis of unknown length holds."""
        return self.many * math.prod(size or 1 for size in self.dims[:-1]) if self.merged else self.many

    @property
    def elements(self) -> int:
        """How many numbers an example has."""
        return self.many * math.prod(size or 1 for size in self.dims)

    @property
    def dtype(self) -> str:
        """Of the tensor."""
        return str(self.tensor.dtype)

    def same(self, tensor: Any) -> Value:
        """Return a value for what an elementwise operation makes of this one."""
        return dataclasses.replace(self, source=tensor)

    def plain(self) -> Value:
        """Return it with all its axes and the last one in order; the order of axes stays."""
        tensor = self.source
        if self.index is not None:
            tensor = ops.take(self.tensor, np.argsort(self.index), axis=-1)
        if self.merged:
            tensor = ops.reshape(self.tensor if tensor is self.source else tensor, (-1, self.dims[-1]))
            return Value(tensor, (0, 1), self.repeats)
        return Value(tensor, self.order, self.many)

    def ordered(self, order: Sequence[int] | None = None) -> Value:
        """Return it with its axes in an order; None: in that of ONNX."""
        found = self.plain()
        wanted = tuple(order) if order is not None else tuple(range(len(found.order)))
        if found.order == wanted:
            return found
        steps = [found.order.index(axis) for axis in wanted]
        if steps[0] == 0:
            tensor = keras.layers.Permute(tuple(steps[1:]))(found.tensor)
        else:
            tensor = ops.transpose(found.tensor, steps)
        return Value(tensor, wanted, found.many)


def channels_last(rank: int) -> tuple[int, ...]:
    """Return the order of a Keras tensor whose ONNX axes are batch, channels and space."""
    return (0, *range(2, rank), 1)


def fresh(tensor: Any, many: int = 1) -> Value:
    """Return the value of a tensor whose axes are those of ONNX."""
    return Value(tensor, tuple(range(len(tensor.shape))), many)
