"""The product on tiles with all of their non-idealities: y = alpha * gamma * ADC(F(DAC(x / alpha), W / gamma))."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from keras import ops

from analognets.core.one_pass import one_pass
from analognets.crossbar.converters import convert, slope_to_range, steps
from analognets.crossbar.hardware import Crossbar
from analognets.crossbar.nonideality import Column, NonIdeality, Term, draw_normal
from analognets.crossbar.read_out import draw_read_out, draw_read_out_parts, joined_parts
from analognets.errors import InvalidArgumentError

__all__ = ["PlainTile", "Tile", "draw_periphery", "forward", "pays_in_one_pass", "tiled_product"]

PASS_FROM = 1000
"""Outputs of a sample from which it pays to compile what follows the products."""

_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "signed": lambda x: x,
    "magnitude": ops.abs,
    "square": ops.square,
    "negative": lambda x: ops.relu(-x),
}


def forward(crossbar: Crossbar, inputs: Any, weights: Any, **settings: Any) -> Any:
    """Return the outputs of one tile: those of `Tile`, made for these inputs alone.

    Args:
        crossbar: as for `Tile`.
        inputs: x; whatever `product` takes.
        weights: as for `Tile`.
        **settings: of `Tile`.

    Raises:
        InvalidArgumentError: as for `Tile`.

    Examples:
        >>> hardware = analognets.crossbar.get("aon_cim_8bit")
        >>> outputs = forward(hardware, np.ones((1, 4)), np.full((4, 2), 0.5), adc_bound=3.0)
        >>> print(np.round(outputs, 2))
        [[2.01 2.01]]
    """
    inputs = ops.convert_to_tensor(inputs)
    return Tile(crossbar, weights, inputs.dtype, **settings)(inputs)


def tiled_product(tiles: Sequence[Tile], row_blocks: Sequence[tuple[int, int]], inputs: Any) -> Any:
    """Return the sum of the results of the tiles of all row blocks, which the inputs are cut for.

    Args:
        tiles: one for each row block; a single one gets all inputs.
        row_blocks: range of input channels of each, as in `Tiling`.
        inputs: x, with the channels on the axis of the tiles.

    Examples:
        >>> hardware = analognets.crossbar.Crossbar(rows=2, dac_bits=None, adc_bits=None)
        >>> tiles = [Tile(hardware, np.ones((2, 1)), "float32") for _ in range(2)]
        >>> tiled_product(tiles, ((0, 2), (2, 4)), np.ones((1, 4), "float32")).numpy().tolist()
        [[4.0]]
    """
    if len(tiles) == 1:
        return tiles[0](inputs)
    shared = tiles[0].shares_dac
    edges = [first for first, _ in row_blocks[1:]]
    parts = ops.split(tiles[0].dac(inputs) if shared else inputs, edges, axis=tiles[0].axis)
    total = None
    for tile, part in zip(tiles, parts, strict=True):
        outputs = tile.after_dac(part) if shared else tile(part)
        total = outputs if total is None else total + outputs
    return total


def draw_periphery(crossbar: Crossbar, kernel_shape: tuple[int, ...], seed: Any) -> dict[str, Any]:
    """Return the periphery of one tile, what its read-out is made with: standard-normal arrays by non-ideality.

    The same seed gives the same numbers at any strength, so that of one chip a sweep sees one effect grow.

    Args:
        crossbar: the hardware.
        kernel_shape: (..., inputs, outputs) of the weights on this tile.
        seed: whole number >= 0, or a SeedGenerator; None if there is nothing to draw.

    Raises:
        InvalidArgumentError: a seed is needed and missing.

    Examples:
        >>> hardware = analognets.crossbar.get("aimc_standard").scaled("output_noise", 0.0)
        >>> hardware = hardware.with_strength("adc_gain_spread", 0.1)
        >>> {name: tuple(array.shape) for name, array in draw_periphery(hardware, (64, 8), seed=0).items()}
        {'adc_gain_spread': (8,)}
    """
    shapes = {one.name: one.periphery_shape(tuple(kernel_shape)) for one in crossbar.nonidealities if one.active}
    return {name: draw_normal(shape, seed, f"chip {name}") for name, shape in shapes.items() if shape is not None}


def pays_in_one_pass(shape: Sequence[Any]) -> bool:
    """Return whether outputs are many enough for one pass over memory behind the products, which must be compiled.

    A dense layer's are not, which may be in a loop over time.

    Args:
        shape: of the outputs; its first size, that of the batch, does not matter.

    Examples:
        >>> pays_in_one_pass((None, 32, 32, 16)), pays_in_one_pass((None, 2000))
        (True, False)
    """
    sizes = shape[1:]
    return len(sizes) > 1 and all(isinstance(size, int) for size in sizes) and math.prod(sizes) >= PASS_FROM


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

    def __init__(self, seed: Any, dtype: Any, draw: Any = None) -> None:
        self.seed, self.dtype, self.draw = seed, dtype, draw
        self.constant = 0.0
        self.varying: Any = None
        self.drawn = 0

    def add(self, variance: Any) -> None:
        if isinstance(variance, float):
            self.constant += variance
        else:
            variance = ops.cast(variance, self.dtype)
            self.varying = variance if self.varying is None else self.varying + variance

    def release(self, outputs: Any) -> Any:
        """Return the outputs with all noise so far; no gradient goes through it."""
        if self.varying is None and self.constant == 0.0:
            return outputs
        draw = self.draw
        if draw is None:
            draw = draw_read_out(ops.shape(outputs), self.seed, f"read-out noise {self.drawn}")
        draw = ops.cast(draw, self.dtype)
        if self.varying is None:
            noise = draw * math.sqrt(self.constant)
        else:  # some convolution algorithms return sums of squares a rounding below zero
            variance = self.varying + self.constant
            noise = draw * ops.sqrt(variance if self.constant > 1e-5 else ops.maximum(variance, 0.0))
        self.constant, self.varying, self.drawn = 0.0, None, self.drawn + 1
        return outputs + ops.stop_gradient(noise)


class Tile:
    """One tile, with all that does not depend on its inputs prepared: a loop over time makes it once, in front.

    y = b * alpha * gamma * ADC( F( DAC(a x / alpha), W / gamma ) )

    F is the plain product with the crossbar's non-idealities, each at its place: input noise, product, IR drop,
    short-term noise, ADC non-linearity, polarity asymmetry, output noise, ADC gain and offset. Gaussian noises that
    follow each other are drawn as one. Whatever else the product needs is asked of `product` too, so a dense layer, a
    convolution or an einsum are all the same here: `product` only has to be linear in both of its arguments.

    Args:
        crossbar: the hardware; its device is not used here, `weights` are what the devices hold now.
        weights: W, shape (..., inputs, outputs), at most `crossbar.rows` rows; the sum over tiles is the caller's.
        dtype: of the inputs.
        input_range: alpha > 0, the range of the DAC: a scalar.
        weight_scale: gamma > 0, the weight at g_max: a scalar, or a vector with one number per column.
        adc_bound: bound of the ADC where 1 is a full input on a full weight; None: that of the crossbar.
        input_scale: a, a digital factor of the inputs, a scalar; None: 1.
        output_scale: b, a digital factor of the outputs, such as drift compensation: a scalar, or a vector with one
            number per column; None: 1.
        seed: whole number, or a SeedGenerator where each call must draw anew, as in a compiled function; None if
            nothing is random.
        periphery: what `draw_periphery` returned; None: drawn from `seed`, that of another chip for each tile.
        product: function of (inputs, kernel).
        axis: axis of the columns in the outputs.
        joint: whether `product` may be given kernels with another number of outputs than the weights have, so that
            products of the same inputs are computed at once. False for grouped and depthwise convolutions.
        nonnegative: the inputs are known not to be negative, as after a ReLU, which spares work.
        straight_through: the gradient is that of the converters and the plain product; False: also that of the
            deterministic non-idealities.
        range_gradient: of the converters, see `convert`.
        bfloat16: what is computed in bfloat16, as it pays where the processor multiplies that: "none"; "side": the
            products that the non-idealities need besides the main one; "all": all products.
        reads_data: the inputs are data that nothing is trained in front of, so the gradient to the range of the DAC is
            computed without the one to the inputs, which can cost more than all else that a first layer does.
        one_pass: whether many outputs (`pays_in_one_pass`) are computed in one pass over memory behind the products, in
            a function that TensorFlow compiles; that rounds differently. Training and bfloat16 always do.

    Raises:
        InvalidArgumentError: the weights have more rows than a tile, the ADC has no bound, or a seed is missing.

    Examples:
        >>> hardware = analognets.crossbar.Crossbar(dac_bits=4, adc_bits=None)
        >>> tile = Tile(hardware, np.array([[0.5], [0.25]]), "float32", weight_scale=0.5)
        >>> print(np.round(tile(np.array([[1.0, -0.5]], "float32")), 3))
        [[0.357]]

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), eq. 1 and 2; order as in aihwkit (both verified).
    """

    shares_dac = False
    """Whether the tiles of other row blocks convert their inputs in the same way, so that it is done once for all."""

    def __init__(
        self,
        crossbar: Crossbar,
        weights: Any,
        dtype: Any,
        *,
        input_range: Any = 1.0,
        weight_scale: Any = 1.0,
        adc_bound: Any = None,
        input_scale: Any = None,
        output_scale: Any = None,
        seed: Any = None,
        periphery: Mapping[str, Any] | None = None,
        product: Callable[[Any, Any], Any] = ops.matmul,
        axis: int = -1,
        joint: bool = True,
        nonnegative: bool = False,
        straight_through: bool = True,
        range_gradient: str = "saturated",
        bfloat16: Literal["none", "side", "all"] = "none",
        reads_data: bool = False,
        one_pass: bool = False,
    ) -> None:
        self.range_gradient, self.reads_data, self.bfloat16 = range_gradient, reads_data, bfloat16
        self.one_pass = one_pass
        self.crossbar, self.seed, self.product, self.axis, self.joint = crossbar, seed, product, axis, joint
        self.nonnegative, self.straight_through, self.input_range = nonnegative, straight_through, input_range
        self.input_scale, self.output_scale = input_scale, output_scale
        self.bound = _checked_bound(crossbar, weights, adc_bound)
        self.active = [one for one in crossbar.nonidealities if one.active]
        kernel = ops.cast(weights, dtype) / ops.cast(weight_scale, dtype)
        self.scale = ops.convert_to_tensor(weight_scale, "float32") * input_range
        self.periphery = draw_periphery(crossbar, tuple(kernel.shape), seed) if periphery is None else periphery
        fixed = ops.stop_gradient(kernel) if straight_through else kernel
        terms = [one.terms(fixed, self.periphery.get(one.name)) for one in self.active]
        self.columns = int(kernel.shape[-1])
        self.kernels, self.members, self.wanted = self._grouped(kernel, terms)

    def __call__(self, inputs: Any) -> Any:
        """Return the outputs of the tile."""
        if not self.reads_data or self.input_range is None:
            return self.after_dac(self.dac(inputs))
        inputs, fixed = self._scaled_inputs(inputs), ops.stop_gradient(ops.convert_to_tensor(self.input_range))
        converted = convert(inputs, fixed, self.crossbar.dac_bits)
        before, after = ops.cast(inputs, "float32"), ops.cast(converted, "float32")
        slope = slope_to_range(before, after, fixed, self.crossbar.dac_bits, self.range_gradient)
        return self.after_dac(converted, ops.stop_gradient(ops.cast(slope, converted.dtype)))

    def dac(self, inputs: Any) -> Any:
        """Return the inputs as the DACs give them to the rows."""
        inputs = self._scaled_inputs(inputs)
        if self.input_range is None:
            return inputs
        return convert(inputs, self.input_range, self.crossbar.dac_bits, range_gradient=self.range_gradient)

    def _scaled_inputs(self, inputs: Any) -> Any:
        inputs = ops.convert_to_tensor(inputs)
        return inputs if self.input_scale is None else inputs * ops.cast(self.input_scale, inputs.dtype)

    def _main_product(self, inputs: Any, kernel: Any, slope: Any) -> Any:
        """Return the plain product.

        With a slope of the inputs, the gradient to the range of the DAC goes by weights of further channels, which are
        0: it costs no pass of its own then, since a product of few channels takes as long with twice as many.
        """
        if slope is None:
            return self.product(inputs, kernel)
        moved = self.input_range - ops.stop_gradient(self.input_range)
        both = [kernel, ops.stop_gradient(kernel) * ops.cast(moved, kernel.dtype)]
        return self.product(ops.concatenate([inputs, slope], axis=self.axis), ops.concatenate(both, axis=-2))

    def after_dac(self, inputs: Any, slope: Any = None) -> Any:
        """Return the outputs of the tile for inputs that have been converted.

        Args:
            inputs: x behind the DACs.
            slope: their derivative by the range of the DAC, where no gradient leads from them to it.
        """
        for one in self.active:
            disturbance = one.input_disturbance(ops.shape(inputs), self.seed)
            if disturbance is not None:
                inputs = inputs + ops.cast(disturbance * self.input_range, inputs.dtype)
        main, raw = self._products(inputs, slope)
        if self._pays_in_one_pass(main, raw):
            return self._read_out_in_one_pass(main, raw, inputs.dtype)
        return self._read_out(main, raw, inputs.dtype)

    def _read_out(self, main: Any, raw: dict[str, list[Any]], dtype: Any, draw: Any = None) -> Any:
        """Return the outputs of the tile for the results of its products."""
        outputs, products = self._sorted(main, raw, dtype)
        draw = None if draw is None else joined_parts(draw, ops.shape(outputs))
        return self._converted(self._disturbed(outputs, products, draw))

    def _pays_in_one_pass(self, main: Any, raw: dict[str, list[Any]]) -> bool:
        """Whether all between the products and the ADC is done in one pass over memory, which rounds differently.

        That does not matter in bfloat16, and in training, where it is noise that no gradient goes through; elsewhere
        it is asked for.
        """
        exact = self.bfloat16 == "none" and not self.straight_through and not self.one_pass
        if exact or not raw or any(_responds(one) for one in self.active):
            return False
        return pays_in_one_pass(self._output_shape(main, raw))

    def _output_shape(self, main: Any, raw: dict[str, list[Any]]) -> list[Any]:
        if main is not None:
            return list(ops.shape(main))
        shape = list(ops.shape(raw["signed"][0]))
        shape[self.axis] = self.columns
        return shape

    def _read_out_in_one_pass(self, main: Any, raw: dict[str, list[Any]], dtype: Any) -> Any:
        noisy = any(type(one).variance is not NonIdeality.variance for one in self.active)
        shape = self._output_shape(main, raw)
        draw = draw_read_out_parts(shape, self.seed, "read-out noise 0") if noisy else None
        if not self.straight_through:
            whole = one_pass(lambda main, raw, draw: self._read_out(main, raw, dtype, draw))
            return whole(main, raw, draw)

        def added(raw: dict[str, list[Any]], draw: Any) -> Any:
            draw = None if draw is None else joined_parts(draw, shape)
            return self._disturbed(ops.zeros((), dtype), self._sorted(None, raw, dtype)[1], draw)

        side = one_pass(added)
        fixed = {kind: [ops.stop_gradient(one) for one in own] for kind, own in raw.items()}
        return self._converted(main + ops.stop_gradient(side(fixed, draw)))

    def _converted(self, outputs: Any) -> Any:
        """Return what the ADC makes of outputs, in the unit of the layer's."""
        converted = convert(outputs, self.bound, self.crossbar.adc_bits, range_gradient=self.range_gradient)
        outputs = self._scaled(converted, self.scale)
        return outputs if self.output_scale is None else self._scaled(outputs, self.output_scale)

    def in_adc_steps(self, outputs: Any) -> Any:
        """Return outputs, or a difference of them, in steps of the ADC; of an ideal one in shares of 1/255 of 1."""
        bits = self.crossbar.adc_bits
        step = self.scale * (1.0 / 255 if bits is None else self.bound / steps(bits))
        step = step if self.output_scale is None else step * self.output_scale
        return self._scaled(outputs, 1.0 / ops.convert_to_tensor(step, "float32"))

    def _scaled(self, outputs: Any, factor: Any) -> Any:
        """Return the outputs times a scalar, or a vector with one number per column."""
        along = Column(len(outputs.shape), self.axis).along(factor) if len(ops.shape(factor)) else factor
        return outputs * ops.cast(along, outputs.dtype)

    def _disturbed(self, outputs: Any, products: list[list[Any]], draw: Any = None) -> Any:
        """Return the outputs as they reach the ADC; with noise from a draw that was made before, if there is one."""
        noise, straight = _Noise(self.seed, outputs.dtype, draw), self.straight_through
        column = Column(len(outputs.shape), self.axis)
        for one, own in zip(self.active, products, strict=True):
            offset = one.offset(own)
            if offset is not None:
                outputs = outputs + (ops.stop_gradient(offset) if straight else offset)
            noise.add(one.variance(own))
            if _responds(one):
                outputs = noise.release(outputs)
                response = one.response(outputs, self.periphery.get(one.name), column)
                outputs = outputs + ops.stop_gradient(response - outputs) if straight else response
        return noise.release(outputs)

    def _grouped(
        self, kernel: Any, wanted: Sequence[Sequence[Term]]
    ) -> tuple[dict[str, list[Any]], dict[str, list[tuple[int, int]]], list[int]]:
        """Return kernels, and whose terms they belong to, by the function of the inputs they are multiplied with.

        Where the gradient is that of the plain product, that one is computed by itself, as "main".
        """
        groups: dict[str, list[Any]] = {"main": [kernel]}
        members: dict[str, list[tuple[int, int]]] = {"main": [(-1, -1)]}
        if not self.straight_through and self.joint:
            groups, members = {"signed": [kernel]}, {"signed": [(-1, -1)]}
        for i, terms in enumerate(wanted):
            for j, term in enumerate(terms):
                kind = "signed" if term.inputs == "magnitude" and self.nonnegative else term.inputs
                if kind == "negative" and self.nonnegative:
                    continue
                groups.setdefault(kind, []).append(term.kernel)
                members.setdefault(kind, []).append((i, j))
        unit = 1.0 / ops.cast(self.input_range, kernel.dtype)
        kernels = {}
        for kind, own in groups.items():
            own = [one * (unit * unit if kind == "square" else unit) for one in own]
            if not self.joint:
                own = [one if one.shape == kernel.shape else ops.broadcast_to(one, kernel.shape) for one in own]
            own = [ops.cast(one, self._product_dtype(kind, one.dtype)) for one in own]
            kernels[kind] = [ops.concatenate(own, axis=-1)] if self.joint and len(own) > 1 else own
        self.edges = {kind: np.cumsum([one.shape[-1] for one in own])[:-1].tolist() for kind, own in groups.items()}
        return kernels, members, [len(terms) for terms in wanted]

    def _product_dtype(self, kind: str, dtype: Any) -> Any:
        """Return what the products of a group are computed in; the main one is in "main", else in "signed"."""
        side = kind == "square" or self.straight_through and kind != "main"
        return "bfloat16" if self.bfloat16 == "all" or self.bfloat16 == "side" and side else dtype

    def _products(self, inputs: Any, slope: Any) -> tuple[Any, dict[str, list[Any]]]:
        """Return the main product if it is computed by itself, and what comes of all others, by group."""
        main, raw = None, {}
        aside = ops.stop_gradient(inputs) if self.straight_through else inputs
        for kind, kernels in self.kernels.items():
            if kind == "main":
                own = ops.cast(inputs, kernels[0].dtype)
                main = ops.cast(self._main_product(own, kernels[0], slope), inputs.dtype)
                continue
            own = ops.cast(_FUNCTIONS[kind](aside), kernels[0].dtype)
            raw[kind] = [self.product(own, kernel) for kernel in kernels]
        return main, raw

    def _sorted(self, main: Any, raw: dict[str, list[Any]], dtype: Any) -> tuple[Any, list[list[Any]]]:
        """Return the main product, and those of each non-ideality's terms."""
        results = [[ops.zeros((), dtype)] * count for count in self.wanted]
        for kind, products in raw.items():
            own = [ops.cast(one, dtype) for one in products]
            if len(self.members[kind]) > len(own):
                own = ops.split(own[0], self.edges[kind], axis=self.axis)
            for (i, j), result in zip(self.members[kind], own, strict=True):
                if i < 0:
                    main = result
                else:
                    results[i][j] = result
        return main, results


class PlainTile(Tile):
    """The fast form of `Tile` for hardware that is all converters, without the passes that scale to ranges of 1.

    y = b * ADC( DAC(a x) W ),  with the ranges alpha of the DAC and r of the ADC, r = S * alpha * gamma

    Args:
        crossbar, weights, dtype, input_scale, output_scale, product, axis, range_gradient: as for `Tile`; `weights` may
            be of whatever shape `product` takes.
        reads_data: likewise.
        input_range: alpha > 0, a scalar; None: no DAC.
        adc_range: r > 0, in the unit of the outputs: a scalar, or a vector with one number per column; None: no ADC.

    Examples:
        >>> hardware = analognets.crossbar.get("aon_cim_4bit")
        >>> tile = PlainTile(hardware, np.array([[0.5], [0.25]]), "float32", input_range=1.0, adc_range=0.7)
        >>> print(np.round(tile(np.array([[1.0, 1.0]])), 3))
        [[0.7]]

    Source: as for `Tile`.
    """

    def __init__(
        self,
        crossbar: Crossbar,
        weights: Any,
        dtype: Any,
        *,
        input_range: Any = None,
        adc_range: Any = None,
        input_scale: Any = None,
        output_scale: Any = None,
        product: Callable[[Any, Any], Any] = ops.matmul,
        axis: int = -1,
        range_gradient: str = "saturated",
        reads_data: bool = False,
    ) -> None:
        self.crossbar, self.product, self.axis, self.range_gradient = crossbar, product, axis, range_gradient
        self.reads_data = reads_data
        self.input_range, self.adc_range = input_range, adc_range
        self.input_scale, self.output_scale = input_scale, output_scale
        self.kernel = ops.cast(weights, dtype)
        self.shares_dac = input_scale is None

    def after_dac(self, inputs: Any, slope: Any = None) -> Any:
        """Return the outputs of the tile for inputs that have been converted; as `Tile.after_dac`."""
        outputs = self._main_product(inputs, self.kernel, slope)
        if self.adc_range is not None:
            axis = self.axis if len(ops.shape(self.adc_range)) else None
            bits, kind = self.crossbar.adc_bits, self.range_gradient
            outputs = convert(outputs, self.adc_range, bits, axis=axis, range_gradient=kind)
        return outputs if self.output_scale is None else self._scaled(outputs, self.output_scale)
