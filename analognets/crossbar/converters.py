"""Digital-to-analog and analog-to-digital converters of a crossbar tile."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from analognets.errors import check_integer

__all__ = [
    "MAX_BITS",
    "MIN_BITS",
    "RANGE_GRADIENTS",
    "check_bits",
    "convert",
    "levels",
    "slope_to_range",
    "steps",
]

MIN_BITS, MAX_BITS = 2, 16
RANGE_GRADIENTS = ("saturated", "step")


def check_bits(owner: str, name: str, bits: int | None) -> int | None:
    """Return `bits` if it is None (an ideal converter) or a whole number from 2 to 16.

    Raises:
        InvalidArgumentError: it is neither.
    """
    return None if bits is None else check_integer(owner, name, bits, MIN_BITS, MAX_BITS)


def levels(bits: int) -> int:
    """Return how many values a symmetric converter has: 2^b - 1 (255 at 8 bit, zero included).

    Raises:
        InvalidArgumentError: `bits` is not a whole number from 2 to 16.

    Examples:
        >>> levels(8)
        255
    """
    return 2 ** check_integer("levels", "bits", bits, MIN_BITS, MAX_BITS) - 1


def steps(bits: int) -> int:
    """Return how many steps lie between zero and full scale: n = 2^(b-1) - 1 (127 at 8 bit).

    Examples:
        >>> steps(8)
        127
    """
    return 2 ** (bits - 1) - 1


def convert(
    inputs: Any, value_range: Any, bits: int | None, *, axis: int | None = None, range_gradient: str = "saturated"
) -> Any:
    """Convert with a symmetric uniform converter, the same rule for DAC and ADC.

    q(x; b, r) = r/n * round(clip(x, -r, r) * n/r),  n = 2^(b-1) - 1

    The gradient to x is 1 inside of the range and 0 outside. That to r is the sum of sign(x) over the saturated values
    (straight-through estimator of the PACT family), and with range_gradient="step" also of (q(x) - x) / r over the
    others, which tells a range that its steps are too wide.

    Args:
        inputs: tensor of any shape.
        value_range: r > 0 in the unit of the inputs; a scalar, or a vector along `axis`.
        bits: b from 2 to 16; None is an ideal converter that neither rounds nor saturates.
        axis: the axis of a vector-valued range.
        range_gradient: "saturated" or "step".

    Raises:
        InvalidArgumentError: `bits` is not None or a whole number from 2 to 16.

    Examples:
        >>> convert(ops.convert_to_tensor([0.1, 0.6, 3.0]), value_range=1.0, bits=2).numpy().tolist()
        [0.0, 1.0, 1.0]

    Source: AnalogNets (arXiv 2111.06503) from memory; the symmetric grid is the one of aihwkit's and Buechel's code;
    "step": learned step size quantization, Esser et al., ICLR 2020 (from memory), without their factor of the gradient,
    which Adam divides out.
    """
    if check_bits("convert", "bits", bits) is None:
        return inputs
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    value_range = ops.convert_to_tensor(value_range, dtype="float32")
    inputs = ops.cast(inputs, "float32")
    outputs = keras.quantizers.fake_quant_with_min_max_vars(
        inputs, -value_range, value_range, num_bits=bits, narrow_range=True, axis=axis
    )
    if range_gradient == "step":
        outputs = outputs + _rounding_gradient(inputs, outputs, value_range, axis)
    return ops.cast(outputs, dtype)


def slope_to_range(inputs: Any, outputs: Any, value_range: Any, bits: int | None, range_gradient: str) -> Any:
    """Return the derivative of each output of `convert` by the range, as `convert` gives it to gradients.

    Args:
        inputs: x, float32.
        outputs: q(x) of `convert`.
        value_range: r > 0, a scalar.
        bits: of the converter; None is an ideal one.
        range_gradient: of `convert`.
    """
    if bits is None:
        return ops.zeros_like(inputs)
    edge = steps(bits) * ((value_range + value_range) / (2 * steps(bits)))  # r as the converter rounds it
    inside = ops.abs(inputs) <= edge
    within = (outputs - inputs) / value_range if range_gradient == "step" else 0.0
    return ops.where(inside, within, ops.sign(inputs))


def _rounding_gradient(inputs: Any, outputs: Any, value_range: Any, axis: int | None) -> Any:
    """Return zeros whose gradient to the range is that of the rounding, (q(x) - x) / r inside of the range."""
    if axis is not None:
        shape = [1] * len(inputs.shape)
        shape[axis] = -1
        value_range = ops.reshape(value_range, shape)
    fixed = ops.stop_gradient(value_range)
    inside = ops.abs(inputs) <= fixed
    share = ops.where(inside, ops.stop_gradient(outputs - inputs) / fixed, 0.0)
    return share * (value_range - fixed)
