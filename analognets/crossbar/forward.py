"""The product on one tile with all of its non-idealities: y = alpha * gamma * ADC(F(DAC(x / alpha), W / gamma))."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

from analognets.crossbar.converters import convert
from analognets.crossbar.hardware import Crossbar
from analognets.crossbar.nonideality import Column, NonIdeality, Term, draw_normal
from analognets.crossbar.read_out import draw_read_out
from analognets.errors import InvalidArgumentError

__all__ = ["draw_chip", "forward"]

_POWERS = {"signed": 1, "magnitude": 1, "square": 2, "negative": 1}


def forward(
    crossbar: Crossbar,
    inputs: Any,
    weights: Any,
    *,
    input_range: Any = 1.0,
    weight_scale: Any = 1.0,
    adc_bound: Any = None,
    seed: Any = None,
    chip: dict[str, Any] | None = None,
    product: Callable[[Any, Any], Any] = ops.matmul,
    axis: int = -1,
    joint: bool = True,
    nonnegative: bool = False,
    straight_through: bool = True,
) -> Any:
    """Return the outputs of one tile.

    y = alpha * gamma * ADC( F( DAC(x / alpha), W / gamma ) )

    F is the plain product with the crossbar's non-idealities, each at its place: input noise, product, IR drop,
    short-term noise, ADC non-linearity, polarity asymmetry, output noise, ADC gain and offset. Gaussian noises that
    follow each other are drawn as one. Whatever else the product needs is asked of `product` too, so a dense layer, a
    convolution or an einsum are all the same here: `product` only has to be linear in both of its arguments.

    Args:
        crossbar: the hardware; its device is not used here, `weights` are what the devices hold now.
        inputs: x; whatever `product` takes.
        weights: W, shape (..., inputs, outputs), at most `crossbar.rows` rows; the sum over tiles is the caller's.
        input_range: alpha > 0, the range of the DAC: a scalar.
        weight_scale: gamma > 0, the weight at g_max: a scalar, or a vector with one number a column.
        adc_bound: bound of the ADC where 1 is a full input on a full weight; None: that of the crossbar.
        seed: whole number, or a SeedGenerator where each call must draw anew, as in a compiled function; None if
            nothing is random.
        chip: what `draw_chip` returned; None: the numbers of another chip at each call, from `seed`.
        product: function of (inputs, kernel).
        axis: axis of the columns in the outputs.
        joint: whether `product` may be given kernels with another number of outputs than the weights have, so that
            products of the same inputs are computed at once. False for grouped and depthwise convolutions.
        nonnegative: the inputs are known not to be negative, as after a ReLU, which spares work.
        straight_through: the gradient is that of the converters and the plain product; False: also that of the
            deterministic non-idealities.

    Raises:
        InvalidArgumentError: the weights have more rows than a tile, the ADC has no bound, or a seed is missing.

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), eq. 1 and 2; order as in aihwkit (both verified).
    """
    bound = _checked_bound(crossbar, weights, adc_bound)
    active = [one for one in crossbar.nonidealities if one.active]
    inputs = convert(ops.convert_to_tensor(inputs), input_range, crossbar.dac_bits)
    kernel = ops.cast(weights, inputs.dtype) / ops.cast(weight_scale, inputs.dtype)
    chip = draw_chip(crossbar, tuple(kernel.shape), seed) if chip is None else chip
    for one in active:
        disturbance = one.input_disturbance(ops.shape(inputs), seed)
        if disturbance is not None:
            inputs = inputs + ops.cast(disturbance * input_range, inputs.dtype)
    tile = _Tile(product, inputs, input_range, axis, joint, nonnegative)
    terms = [one.terms(kernel, chip.get(one.name)) for one in active]
    outputs, products = tile.products(kernel, terms, straight_through)
    noise = _Noise(seed)
    column = Column(len(outputs.shape), axis)
    for one, own in zip(active, products, strict=True):
        offset = one.offset(own)
        if offset is not None:
            outputs = outputs + (ops.stop_gradient(offset) if straight_through else offset)
        noise.add(one.variance(own))
        if _responds(one):
            outputs = noise.release(outputs)
            response = one.response(outputs, chip.get(one.name), column)
            outputs = outputs + ops.stop_gradient(response - outputs) if straight_through else response
    outputs = convert(noise.release(outputs), bound, crossbar.adc_bits)
    scale = ops.convert_to_tensor(weight_scale, "float32") * input_range
    return outputs * ops.cast(column.along(scale) if len(scale.shape) else scale, outputs.dtype)


def draw_chip(crossbar: Crossbar, kernel_shape: tuple[int, ...], seed: Any) -> dict[str, Any]:
    """Return what differs from chip to chip in the read-out of one tile: standard-normal arrays by non-ideality.

    The same seed gives the same numbers at any strength, so that of one chip a sweep sees one effect grow.

    Args:
        crossbar: the hardware.
        kernel_shape: (..., inputs, outputs) of the weights on this tile.
        seed: whole number >= 0, or a SeedGenerator; None if there is nothing to draw.

    Raises:
        InvalidArgumentError: a seed is needed and missing.
    """
    shapes = {one.name: one.chip_shape(tuple(kernel_shape)) for one in crossbar.nonidealities if one.active}
    return {name: draw_normal(shape, seed, f"chip {name}") for name, shape in shapes.items() if shape is not None}


def _checked_bound(crossbar: Crossbar, weights: Any, adc_bound: Any) -> Any:
    rows = math.prod(weights.shape[:-1])
    if rows > crossbar.rows:
        raise InvalidArgumentError(
            f"The weights of one tile can have {crossbar.rows} rows. Received: {rows}. Cut them with "
            "analognets.crossbar.Tiling and add the outputs of the tiles."
        )
    bound = crossbar.adc_bound if adc_bound is None else adc_bound
    if bound is None and crossbar.adc_bits is not None:
        raise InvalidArgumentError(
            f"The ADC of crossbar '{crossbar.name}' has no fixed bound. Received: adc_bound=None. Pass adc_bound, "
            "the ADC range divided by input range and weight scale."
        )
    return bound


def _responds(one: NonIdeality) -> bool:
    return type(one).response is not NonIdeality.response


class _Noise:
    """Gaussian noises that have not been added yet; independent ones add their variances."""

    def __init__(self, seed: Any) -> None:
        self.seed = seed
        self.constant = 0.0
        self.varying: Any = None
        self.drawn = 0

    def add(self, variance: Any) -> None:
        if isinstance(variance, float):
            self.constant += variance
        else:
            self.varying = variance if self.varying is None else self.varying + variance

    def release(self, outputs: Any) -> Any:
        """Return the outputs with all noise so far; no gradient goes through it."""
        if self.varying is None and self.constant == 0.0:
            return outputs
        draw = draw_read_out(ops.shape(outputs), self.seed, f"read-out noise {self.drawn}")
        draw = ops.cast(draw, outputs.dtype)
        if self.varying is None:
            noise = draw * math.sqrt(self.constant)
        else:  # some convolution algorithms return sums of squares a rounding below zero
            noise = draw * ops.sqrt(ops.maximum(self.varying + self.constant, 0.0))
        self.constant, self.varying, self.drawn = 0.0, None, self.drawn + 1
        return outputs + ops.stop_gradient(noise)


class _Tile:
    """The plain products of one call, those of the same inputs computed at once where that is allowed."""

    def __init__(
        self,
        product: Callable[[Any, Any], Any],
        inputs: Any,
        input_range: Any,
        axis: int,
        joint: bool,
        nonnegative: bool,
    ) -> None:
        self.product = product
        self.inputs = inputs
        self.input_range = ops.cast(input_range, inputs.dtype)
        self.axis = axis
        self.joint = joint
        self.nonnegative = nonnegative

    def products(
        self, kernel: Any, wanted: Sequence[Sequence[Term]], straight_through: bool
    ) -> tuple[Any, list[list[Any]]]:
        """Return the main product, and those of each non-ideality's terms."""
        results: list[list[Any]] = [[None] * len(terms) for terms in wanted]
        groups: dict[str, list[tuple[int, int, Any]]] = {}
        for i, terms in enumerate(wanted):
            for j, term in enumerate(terms):
                kind = "signed" if term.inputs == "magnitude" and self.nonnegative else term.inputs
                if kind == "negative" and self.nonnegative:
                    results[i][j] = ops.zeros((), self.inputs.dtype)
                    continue
                groups.setdefault(kind, []).append((i, j, term.kernel))
        main = None
        if not straight_through and "signed" in groups and self.joint:
            groups["signed"].insert(0, (-1, -1, kernel))
        else:
            main = self._product("signed", [kernel])[0]
        inputs = self.inputs
        if straight_through:
            self.inputs = ops.stop_gradient(inputs)
        for kind, members in groups.items():
            kernels = [ops.stop_gradient(k) if straight_through else k for _, _, k in members]
            for (i, j, _), result in zip(members, self._product(kind, kernels, kernel.shape), strict=True):
                if i < 0:
                    main = result
                else:
                    results[i][j] = result
        self.inputs = inputs
        return main, results

    def _product(self, kind: str, kernels: list[Any], shape: Sequence[int] = ()) -> list[Any]:
        inputs = self.inputs
        if kind == "magnitude":
            inputs = ops.abs(inputs)
        elif kind == "square":
            inputs = ops.square(inputs)
        elif kind == "negative":
            inputs = ops.relu(-inputs)
        unit = self.input_range ** -_POWERS[kind]
        kernels = [kernel * unit for kernel in kernels]
        if not self.joint:
            kernels = [ops.broadcast_to(k, shape) if shape and tuple(k.shape) != tuple(shape) else k for k in kernels]
        if len(kernels) == 1 or not self.joint:
            return [self.product(inputs, kernel) for kernel in kernels]
        edges, last = [], 0
        for kernel in kernels[:-1]:
            last += kernel.shape[-1]
            edges.append(last)
        together = self.product(inputs, ops.concatenate(kernels, axis=-1))
        return list(ops.split(together, edges, axis=self.axis))
