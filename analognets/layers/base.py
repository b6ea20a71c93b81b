"""What every analog layer has: converters, weight clipping, training noise and the product on the crossbar."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from analognets import crossbar as crossbars
from analognets.core.processor import multiplies_bfloat16
from analognets.crossbar import PlainTile, Tile, Tiling, draw_periphery, tiled_product
from analognets.crossbar.converters import RANGE_GRADIENTS
from analognets.crossbar.read_out import prepare_pool
from analognets.errors import ConversionError, InvalidArgumentError, check_choice, check_number
from analognets.layers.adc_gain import ADCGain, PositiveRange, gain_from_config, gain_to_config
from analognets.layers.aged_weights import DRIFT_TIME, AgedKernel, aged, drawn_time
from analognets.layers.calibrated import Calibrated, check_not_quantized
from analognets.layers.noise_realization import NoiseRealization, StepSeeds
from analognets.layers.ranges import FrozenRange, along_columns, largest_weights, over_kernel, range_shape
from analognets.layers.replicas import differ_by_replica
from analognets.layers.weight_noise import NOISE_MODELS, dropped, noisy
from analognets.units import parse_duration

__all__ = ["AnalogLayer"]


class AnalogLayer(Calibrated):
    """Mixin that turns a Keras layer with one kernel into its analog version.

    y = bias + sum over row blocks of ADC( F( DAC(x), W ) )

    with DAC range alpha (`input_range`), weight range gamma (W_max) and ADC range S * alpha * gamma. On hardware that
    is all converters (AON-CiM) F is the plain product; else it has the non-idealities of `analognets.crossbar.forward`.
    In training W has noise drawn anew each batch, the same in forward and backward pass. In inference without a
    programmed chip only the converters act, so that it is deterministic. With ideal converters and no noise the layer
    equals its Keras layer. Converters are bypassed until `analognets.layers.calibrate` has set their ranges.

    Args:
        crossbar: an `analognets.crossbar.Crossbar`, the name of a preset or a config.
        weight_noise: eta >= 0. Gaussian: standard deviation of the training noise as a share of gamma; device: factor
            of the devices' own noise.
        adc_gain: the `ADCGain` to share with other layers; None makes one of its own.
        calibrated: whether the converter ranges have been set.
        seed: seed of the training noise.
        noise_model: "gaussian" or "device", see `analognets.layers.weight_noise`; or "drift": devices that are read at
            a time drawn for each step, log-uniform from their first reading to `drift_until`, with the drift
            compensation of the crossbar, see `analognets.layers.aged_weights`.
        drop_connect: share of the weights that are 0 in a training step, 0 to 0.9.
        nonnegative: whether the inputs are never negative, as `calibrate` has found; spares work where |x| is needed.
        drift_until: latest time of the noise model "drift": seconds since programming, or a text such as "1y".
        range_gradient: "saturated" or "step": what converter ranges learn from, see `analognets.crossbar.convert`.

    Raises:
        InvalidArgumentError: an argument is out of range.
        UnknownNameError: no hardware preset has that name.

    Examples:
        >>> layer = analognets.layers.AnalogDense(2, crossbar="aon_cim_4bit", weight_noise=0.1)
        >>> isinstance(layer, AnalogLayer), isinstance(layer, keras.layers.Dense)
        (True, True)
        >>> layer.build((None, 3))
        >>> layer.crossbar.adc_bits, layer.crossbar_shape()
        (4, (3, 2))

    Source: AnalogNets (arXiv 2111.06503), from memory; Joshi et al., Nat. Commun. 11:2473 (2020) for the Gaussian
    noise; Rasch et al., Nat. Commun. 14:5282 (2023), eq. 1 and 2, for the tiles with non-idealities (verified).
    """

    adc_gain: ADCGain

    def __init__(
        self,
        *args: Any,
        crossbar: Any = "aon_cim_8bit",
        weight_noise: float = 0.0,
        adc_gain: ADCGain | None = None,
        calibrated: bool = False,
        seed: int | None = None,
        noise_model: str = "gaussian",
        drop_connect: float = 0.0,
        nonnegative: bool = False,
        drift_until: float | str = "1y",
        range_gradient: str = "saturated",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        owner = type(self).__name__
        check_not_quantized(self)
        self.crossbar = crossbars.get(crossbar)
        self.prepare_draws()
        self.weight_noise = check_number(owner, "weight_noise", weight_noise, 0.0, 10.0)
        check_choice(owner, "noise_model", noise_model, NOISE_MODELS)
        self.noise_model = noise_model
        self.drift_until = parse_duration(drift_until)
        check_choice(owner, "range_gradient", range_gradient, RANGE_GRADIENTS)
        self.range_gradient = range_gradient
        self.drop_connect = check_number(owner, "drop_connect", drop_connect, 0.0, 0.9)
        self.nonnegative = bool(nonnegative)
        if not (adc_gain is None or isinstance(adc_gain, ADCGain)):
            raise InvalidArgumentError(
                f"`adc_gain` of {type(self).__name__} must be an ADCGain or None. Received: adc_gain={adc_gain!r}."
            )
        self.share_gain(ADCGain(name="adc_gain") if adc_gain is None else adc_gain)
        self.calibrated = bool(calibrated)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        # The same in all layers of a model, so that in a step all of them are read at one time.
        self.time_generator = keras.random.SeedGenerator(0, name=DRIFT_TIME) if noise_model == "drift" else None
        for generator in (self.seed_generator, self.time_generator):
            if generator is not None:
                differ_by_replica(generator.state)
        self._observer: Any = None
        self._fixed: NoiseRealization | None = None

    def build(self, input_shape: Any) -> None:
        rank, self.lora_rank = getattr(self, "lora_rank", None), None  # adapters come last, as by `enable_lora`
        super().build(input_shape)
        self.built = False
        self.tiling = Tiling(self.crossbar_shape(), self.crossbar.rows, self.crossbar.cols)
        blocks = self.tiling.shape[0] if self.crossbar.input_range == "tile" else 1
        settings = {"dtype": "float32", "autocast": False}
        one = keras.initializers.Constant(1.0)
        self.input_range = self.add_weight(
            name="input_range",
            shape=() if blocks == 1 else (blocks,),
            initializer=one,
            constraint=PositiveRange(),
            **settings,
        )
        self.w_max = self.add_weight(
            name="w_max",
            shape=range_shape(self.tiling, self.crossbar.weight_scale),
            initializer="zeros",
            trainable=False,
            **settings,
        )
        self.noise_scale = self.add_weight(name="noise_scale", shape=(), initializer=one, trainable=False, **settings)
        inner = self.kernel_variable.constraint
        self.kernel_variable.constraint = FrozenRange(self.w_max, self.range_on_kernel, inner)
        self.built = True
        self.adc_gain.follow_users()
        if rank:
            self.enable_lora(rank, lora_alpha=self.lora_alpha)

    def share_gain(self, gain: ADCGain) -> None:
        """Use this ADC gain, in a layer that is built already too."""
        locked = self._tracker.locked
        self._tracker.unlock()
        if getattr(self, "adc_gain", None) is not None:
            self._tracker.untrack(self.adc_gain)
            self.adc_gain.users.discard(self)
        self.adc_gain = gain
        gain.users.add(self)
        self._tracker.locked = locked
        if self.built:
            gain.follow_users()

    def prepare_draws(self) -> None:
        """Make what noise is drawn from in advance, outside of compiled functions."""
        if not self.crossbar.plain:
            prepare_pool()

    @property
    def kernel_variable(self) -> keras.Variable:
        """The trainable kernel."""
        return self._kernel

    def crossbar_shape(self) -> tuple[int, ...]:
        """Shape (..., inputs, outputs) of the kernel as it lies on the crossbar."""
        return tuple(self.kernel_variable.shape)

    def to_crossbar(self, kernel: Any) -> Any:
        """Lay an array of the kernel variable's shape out as on the crossbar, with `crossbar_shape()`."""
        return kernel

    def from_crossbar(self, array: Any) -> Any:
        """Return an array of `crossbar_shape()` in the shape of the kernel variable; the inverse of `to_crossbar`."""
        return array

    def crossbar_kernel(self) -> Any:
        """The float32 kernel as it lies on the crossbar, with `crossbar_shape()`."""
        return self.to_crossbar(self.within_range(ops.convert_to_tensor(self.kernel_variable, "float32")))

    def weight_range(self) -> Any:
        """Gamma (W_max): frozen by `freeze_weight_range`, else the largest |weight| now; of the shape of `w_max`."""
        frozen = ops.convert_to_tensor(self.w_max, "float32")
        return ops.where(frozen > 0, frozen, self.largest_weights())

    def largest_weights(self) -> Any:
        """The largest |weight| of the layer, of each tile or of each column, as the crossbar scales its weights."""
        kernel = ops.cast(ops.stop_gradient(ops.convert_to_tensor(self.kernel_variable)), "float32")
        kind = self.crossbar.weight_scale
        return largest_weights(kernel if kind == "layer" else self.to_crossbar(kernel), self.tiling, kind)

    def range_on_kernel(self, gamma: Any) -> Any:
        """Return gamma as a scalar, or spread over the kernel variable's shape."""
        if len(gamma.shape) == 0:
            return gamma
        spread = over_kernel(gamma, self.tiling)
        return self.from_crossbar(ops.broadcast_to(spread, self.crossbar_shape()))

    def within_range(self, kernel: Any) -> Any:
        """Return a kernel inside of +-gamma where gamma is frozen.

        The constraint keeps it there in training; optimizers that write averages back (`use_ema`) pass it by.
        """
        frozen = ops.convert_to_tensor(self.w_max, "float32")
        limit = ops.cast(self.range_on_kernel(frozen), kernel.dtype)
        beyond = ops.logical_and(limit > 0, ops.abs(kernel) > limit)
        return ops.where(beyond, ops.sign(kernel) * limit, kernel)

    def adc_range(self, gamma: Any = None) -> Any:
        """r_ADC = S * r_DAC * W_max, in the unit of the layer's output; on hardware with one range per layer."""
        return self.adc_gain.gain * self.input_range * (self.weight_range() if gamma is None else gamma)

    def effective_kernel(self, training: bool | None) -> Any:
        """The kernel the product sees, in the shape of the kernel variable: in training with noise."""
        kernel = self.within_range(ops.convert_to_tensor(self.kernel_variable, dtype=self.compute_dtype))
        if not training:
            return kernel
        kernel = self._with_unused_ranges(kernel)
        if self.weight_noise and self.noise_model != "drift":
            kernel = noisy(
                ops.cast(kernel, "float32"),
                self.range_on_kernel(self.weight_range()),
                self.crossbar.device,
                model=self.noise_model,
                strength=self.weight_noise * self.noise_scale,
                seed=self.seed_generator,
            )
        if self.drop_connect:
            kernel = dropped(kernel, self.drop_connect, self.seed_generator)
        return ops.cast(kernel, self.compute_dtype)

    def aged_kernel(self, kernel: Any, time: Any, strength: Any, seed: Any) -> AgedKernel:
        """Return a kernel of the kernel variable's shape as new devices hold it at a time, laid out on the crossbar.

        Args:
            kernel: of the kernel variable's shape.
            time: seconds since programming, a scalar tensor.
            strength: as in `analognets.layers.aged_weights.aged`.
            seed: a SeedGenerator.
        """
        kernel = self.to_crossbar(ops.cast(kernel, "float32"))
        gamma = over_kernel(self.weight_range(), self.tiling)
        return aged(kernel, gamma, self.crossbar, self.tiling, time=time, strength=strength, seed=seed)

    def _with_unused_ranges(self, kernel: Any) -> Any:
        for unused in self.unused_ranges():
            kernel = kernel + ops.cast(0.0 * ops.sum(unused), kernel.dtype)
        return kernel

    def unused_ranges(self) -> list[Any]:
        """Ranges no converter uses now; added as zeros they get a gradient of zero, so Keras has none to miss."""
        if not self.calibrated or self.crossbar.dac_bits is None and self.crossbar.adc_bits is None:
            return [self.input_range, self.adc_gain.gain]
        unused = self.crossbar.adc_bits is None or self.crossbar.adc_gain == "fixed"
        return [self.adc_gain.gain] if unused else []

    def product(self, inputs: Any, kernel: Any) -> Any:
        """The plain product (matrix product or convolution) of inputs and kernel."""
        raise ConversionError(f"{type(self).__name__} must define its product. Received a layer without one.")

    def programmed_product(self, inputs: Any, kernel: Any) -> Any:
        """The plain product with a kernel of `crossbar_shape()`."""
        return self.product(inputs, kernel)

    def product_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of what `product` makes of inputs of a shape."""
        return tuple(self.compute_output_shape(input_shape))

    @property
    def channel_axis(self) -> int:
        """Axis of the channels in inputs and outputs."""
        return 1 if getattr(self, "data_format", "channels_last") == "channels_first" else -1

    @property
    def splits_rows(self) -> bool:
        """Whether training sees several row blocks."""
        return self.tiling.shape[0] > 1

    def reads_data(self) -> bool:
        """Whether nothing is trained in front of the layer, and it is one that gains by knowing."""
        return False

    def draw_periphery(self, seeds: list[Any]) -> list[dict[str, Any]]:
        """Return the periphery of each row block: `analognets.crossbar.draw_periphery`."""
        *positions, _, outputs = self.crossbar_shape()
        shapes = [(*positions, last - first, outputs) for first, last in self.tiling.row_blocks]
        return [draw_periphery(self.crossbar, shape, seed) for shape, seed in zip(shapes, seeds, strict=True)]

    def realization(self, training: bool | None) -> NoiseRealization:
        """Return what the layer multiplies by now: what is fixed, else a kernel with noise drawn for this call."""
        if self._fixed is not None:
            return self._fixed
        kernel = self.effective_kernel(training)
        whole = not self.calibrated or self.crossbar.plain and not self.splits_rows
        scales = input_scales = None
        if training and self.weight_noise and self.time_generator is not None:
            time = drawn_time(self.crossbar.device.first_reading, self.drift_until, self.time_generator)
            strength = self.weight_noise * self.noise_scale
            kernel, scales, input_scales = self.aged_kernel(kernel, time, strength, self.seed_generator)
            kernel = ops.cast(self.from_crossbar(kernel) if whole else kernel, self.compute_dtype)
        elif not whole:
            kernel = self.to_crossbar(kernel)
        return NoiseRealization(
            kernel,
            kind="training" if training else "inference",
            whole=whole,
            scales=scales,
            input_scales=input_scales,
            seed=self.seed_generator,
        )

    def realization_of_loop(self, training: bool | None, *, tells_step: bool = False) -> NoiseRealization | None:
        """Return what the layer multiplies by in all steps of a loop over time, or None while it is observed.

        All that does not depend on the step is computed here. A loop that `tells_step` calls `seed.at(step)` where the
        seed is a `StepSeeds`; else the products count in a variable.
        """
        if self._observer is not None:
            return None
        fixed, gamma, seed = self._fixed, self.weight_range(), self.seed_generator
        if fixed is None:
            random = bool(training) and self.calibrated and not self.crossbar.plain
        else:
            seed = fixed.seed
            random = fixed.kind != "inference" and not (fixed.whole or self.crossbar.plain)
        if random and tells_step and seed is not None:
            seed = StepSeeds(seed)
        now = self.realization(training).replace(gamma=gamma, seed=seed)
        if random and fixed is None:
            now = now.replace(periphery=self.draw_periphery([self.seed_generator] * self.tiling.shape[0]))
        return now if now.whole or self.crossbar.plain else now.replace(tiles=self.tiles(now))

    def tiles(self, now: NoiseRealization) -> list[Tile]:
        """Return the tiles that multiply by a realization: one for each row block, or one for it as a whole."""
        kernels, product = [now.kernel], self.product
        if not now.whole:
            kernels = [now.kernel[..., first:last, :] for first, last in self.tiling.row_blocks]
            product = self.programmed_product
        own: list[dict[str, Any]] = [
            {
                "input_scale": None if now.input_scales is None else now.input_scales[i],
                "output_scale": None if now.scales is None else along_columns(now.scales, self.tiling, i),
                "product": product,
                "axis": self.channel_axis,
                "range_gradient": self.range_gradient if now.kind == "training" else "saturated",
                "reads_data": now.kind == "training" and len(kernels) == 1 and self.reads_data(),
            }
            for i in range(len(kernels))
        ]
        if now.whole or self.crossbar.plain:
            alpha, ranges = self.input_range if self.calibrated else None, now.adc_ranges
            if ranges is None:
                ranges = [self.adc_range(now.gamma) if self.calibrated else None] * len(kernels)
            return [
                PlainTile(self.crossbar, kernel, self.compute_dtype, input_range=alpha, adc_range=ranges[i], **own[i])
                for i, kernel in enumerate(kernels)
            ]
        crossbar = self.crossbar.replace(nonidealities=()) if now.kind == "inference" else self.crossbar
        gamma, alpha = self.weight_range() if now.gamma is None else now.gamma, self.input_range
        in_bfloat16 = now.kind == "training" and self.compute_dtype == "bfloat16"
        side = in_bfloat16 and keras.backend.backend() == "tensorflow" and multiplies_bfloat16()
        return [
            Tile(
                crossbar,
                kernel,
                self.compute_dtype,
                input_range=alpha[i] if len(alpha.shape) else ops.convert_to_tensor(alpha),
                weight_scale=along_columns(gamma, self.tiling, i),
                adc_bound=None if crossbar.adc_gain == "fixed" else self.adc_gain.gain,
                seed=now.seed,
                periphery=None if now.periphery is None else now.periphery[i],
                nonnegative=self.nonnegative,
                straight_through=now.kind == "training",
                bfloat16="all" if now.bfloat16 else "side" if side else "none",
                one_pass=now.one_pass,
                **own[i],
            )
            for i, kernel in enumerate(kernels)
        ]

    def analog_product(self, inputs: Any, training: bool | None) -> Any:
        """DAC, product on the tiles, ADC, and digital adapters: the layer without bias and activation."""
        return self.with_adapters(self.crossbar_product(inputs, training), inputs)

    def crossbar_product(self, inputs: Any, training: bool | None) -> Any:
        """DAC, product on the tiles, ADC."""
        self.note_caller()
        if self._observer is not None:
            return self._observer(self, inputs)
        now = self.realization(training)
        tiles = self.tiles(now) if now.tiles is None else now.tiles
        return tiled_product(tiles, self.tiling.row_blocks, inputs)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        outputs = self.analog_product(inputs, training)
        if self.use_bias:
            shape = [1] * len(outputs.shape)
            shape[self.channel_axis] = -1
            outputs = outputs + ops.reshape(ops.cast(self.bias, outputs.dtype), shape)
        return outputs if self.activation is None else self.activation(outputs)

    @contextlib.contextmanager
    def fixed_noise(self, realization: NoiseRealization | None) -> Iterator[NoiseRealization | None]:
        """While active, the layer multiplies by this realization, such as the weights read from a chip.

        Args:
            realization: None changes nothing.
        """
        before = self._fixed
        self._fixed = before if realization is None else realization
        try:
            yield realization
        finally:
            self._fixed = before

    @property
    def trainable(self) -> bool:
        """Whether the layer is trained; its ADC gain is as long as one of the layers that share it is."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        """Set it for the kernel, bias and ranges; the gain follows all layers that share it."""
        gain = self.adc_gain
        before = gain.trainable
        keras.layers.Layer.trainable.fset(self, value)
        gain._trainable = before
        gain.follow_users()
        if self.adapters():
            self.kernel_variable.trainable = False

    def quantize(self, mode: Any = None, **kwargs: Any) -> None:
        """Refuse to be quantised by Keras, which would make the layer digital.

        Raises:
            ConversionError: always.
        """
        raise ConversionError(
            f"Layer '{self.name}' ({type(self).__name__}) lies on a crossbar and can't be quantised by Keras. "
            f"Received: mode={mode!r}. Choose a crossbar with other converters, or call to_digital(model) first."
        )

    def freeze_weight_range(self, limit: Any) -> None:
        """Set W_max to `limit` and clip the kernel to it, from now on after every training step too.

        Args:
            limit: > 0, a number, or an array of the shape of `w_max`.
        """
        self.w_max.assign(ops.broadcast_to(ops.convert_to_tensor(limit, "float32"), self.w_max.shape))
        self.kernel_variable.constraint.refresh()
        limit = ops.cast(self.range_on_kernel(ops.convert_to_tensor(self.w_max)), self.kernel_variable.dtype)
        self.kernel_variable.assign(ops.clip(ops.convert_to_tensor(self.kernel_variable), -limit, limit))

    def get_config(self) -> dict[str, Any]:
        """Return the configuration as plain data; a shared ADC gain is saved as one object."""
        return {
            **super().get_config(),
            "crossbar": keras.saving.serialize_keras_object(self.crossbar),
            "weight_noise": self.weight_noise,
            "adc_gain": gain_to_config(self.adc_gain),
            "calibrated": self.calibrated,
            "seed": self.seed,
            "noise_model": self.noise_model,
            "drop_connect": self.drop_connect,
            "nonnegative": self.nonnegative,
            "drift_until": self.drift_until,
            "range_gradient": self.range_gradient,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AnalogLayer:
        """Build the layer from `get_config`'s data."""
        config = dict(config)
        if isinstance(config.get("crossbar"), dict):
            config["crossbar"] = keras.saving.deserialize_keras_object(config["crossbar"])
        if isinstance(config.get("adc_gain"), dict):
            config["adc_gain"] = gain_from_config(config["adc_gain"])
        return super().from_config(config)
