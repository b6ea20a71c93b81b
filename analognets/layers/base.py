"""What every analog layer has: converters, weight clipping, training noise and the product on the crossbar."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from analognets import crossbar as crossbars
from analognets.crossbar import Tiling, convert
from analognets.errors import ConversionError, InvalidArgumentError, check_number
from analognets.layers.adc_gain import ADCGain, PositiveRange, gain_from_config, gain_to_config

__all__ = ["AnalogLayer"]


if TYPE_CHECKING:
    from keras.layers import Layer as Base
else:
    Base = object


def check_modelled(crossbar: crossbars.Crossbar) -> crossbars.Crossbar:
    """Return the crossbar if analog layers compute all it asks for; leaving something out in silence would flatter it.

    Raises:
        ConversionError: it has settings that so far only `analognets.crossbar.forward` models.
    """
    plain = {"adc_gain": ("shared", "per_layer"), "weight_scale": ("layer",), "input_range": ("layer",)}
    plain["inactive_device"] = ("programmed",)
    beyond = [f"{name}='{getattr(crossbar, name)}'" for name, known in plain.items()
              if getattr(crossbar, name) not in known]  # fmt: skip
    beyond += [one.name for one in crossbar.nonidealities]
    if beyond:
        raise ConversionError(
            f"Analog layers don't model all of the hardware '{crossbar.name}' yet: {', '.join(beyond)}. Take another "
            "hardware, such as 'aon_cim_8bit', or compute single products with analognets.crossbar.forward."
        )
    return crossbar


class AnalogLayer(Base):
    """Mixin that turns a Keras layer with one kernel into its analog version.

    y = bias + sum over row blocks of ADC( F( DAC(x), W ) )

    with DAC range r_DAC (`input_range`), ADC range S * r_DAC * W_max and, in training, F the product with
    W + N(0, (eta * W_max)^2) drawn anew each batch. With ideal converters and no noise the layer equals its Keras
    layer. Converters are bypassed until `analognets.layers.calibrate` has set their ranges.

    Args:
        crossbar: an `analognets.crossbar.Crossbar`, the name of a preset or a config.
        weight_noise: eta >= 0, standard deviation of the training noise as a share of W_max.
        adc_gain: the `ADCGain` to share with other layers; None makes one of its own.
        calibrated: whether the converter ranges have been set.
        seed: seed of the training noise.

    Raises:
        InvalidArgumentError: an argument is out of range.
        UnknownNameError: no hardware preset has that name.

    Source: AnalogNets (arXiv 2111.06503), from memory; Joshi et al., Nat. Commun. 11:2473 (2020) for the noise.
    """

    def __init__(
        self,
        *args: Any,
        crossbar: Any = "aon_cim_8bit",
        weight_noise: float = 0.0,
        adc_gain: ADCGain | None = None,
        calibrated: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.crossbar = check_modelled(crossbars.get(crossbar))
        self.weight_noise = check_number(type(self).__name__, "weight_noise", weight_noise, 0.0, 10.0)
        if not (adc_gain is None or isinstance(adc_gain, ADCGain)):
            raise InvalidArgumentError(
                f"`adc_gain` of {type(self).__name__} must be an ADCGain or None. Received: adc_gain={adc_gain!r}."
            )
        self.adc_gain = ADCGain(name="adc_gain") if adc_gain is None else adc_gain
        self.calibrated = bool(calibrated)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self._observer: Any = None
        self._programmed: tuple[Any, list[Any] | None] | None = None

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.built = False
        self.tiling = Tiling(self.crossbar_shape(), self.crossbar.rows, self.crossbar.cols)
        settings = {"shape": (), "dtype": "float32", "autocast": False}
        one = keras.initializers.Constant(1.0)
        self.input_range = self.add_weight(name="input_range", initializer=one, constraint=PositiveRange(), **settings)
        self.w_max = self.add_weight(name="w_max", initializer="zeros", trainable=False, **settings)
        self.noise_scale = self.add_weight(name="noise_scale", initializer=one, trainable=False, **settings)
        self.kernel_variable.constraint = FrozenRange(self.w_max, self.kernel_variable.constraint)
        self.built = True

    @property
    def kernel_variable(self) -> keras.Variable:
        """The trainable kernel."""
        return self._kernel

    def crossbar_shape(self) -> tuple[int, ...]:
        """Shape (..., inputs, outputs) of the kernel as it lies on the crossbar."""
        return tuple(self.kernel_variable.shape)

    def crossbar_kernel(self) -> Any:
        """The float32 kernel as it lies on the crossbar, with `crossbar_shape()`."""
        return ops.convert_to_tensor(self.kernel_variable.value, "float32")

    def weight_range(self) -> Any:
        """W_max: frozen by `freeze_weight_range`, else the largest |weight| now."""
        largest = ops.max(ops.abs(ops.stop_gradient(self.kernel_variable.value)))
        frozen = ops.convert_to_tensor(self.w_max, "float32")
        return ops.where(frozen > 0, frozen, ops.maximum(ops.cast(largest, "float32"), PositiveRange.smallest))

    def adc_range(self) -> Any:
        """r_ADC = S * r_DAC * W_max, in the unit of the layer's output."""
        return self.adc_gain.gain * self.input_range * self.weight_range()

    def effective_kernel(self, training: bool | None) -> Any:
        """The kernel the product sees: plus N(0, (eta * W_max)^2) in training."""
        kernel = ops.convert_to_tensor(self.kernel_variable, dtype=self.compute_dtype)
        if not training:
            return kernel
        for unused in self.unused_ranges():
            kernel = kernel + ops.cast(0.0 * unused, kernel.dtype)
        if self.weight_noise == 0:
            return kernel
        deviation = self.weight_noise * self.noise_scale * self.weight_range()
        noise = keras.random.normal(kernel.shape, dtype="float32", seed=self.seed_generator)
        return kernel + ops.cast(noise * deviation, kernel.dtype)

    def unused_ranges(self) -> list[Any]:
        """Ranges no converter uses now; added as zeros they get a gradient of zero, so Keras has none to miss."""
        if not self.calibrated or self.crossbar.dac_bits is None and self.crossbar.adc_bits is None:
            return [self.input_range, self.adc_gain.gain]
        return [self.adc_gain.gain] if self.crossbar.adc_bits is None else []

    def product(self, inputs: Any, kernel: Any) -> Any:
        """The plain product (matrix product or convolution) of inputs and kernel."""
        raise ConversionError(f"{type(self).__name__} must define its product. Received a layer without one.")

    def programmed_product(self, inputs: Any, kernel: Any) -> Any:
        """The plain product with a kernel of `crossbar_shape()`."""
        return self.product(inputs, kernel)

    @property
    def channel_axis(self) -> int:
        """Axis of the channels in inputs and outputs."""
        return 1 if getattr(self, "data_format", "channels_last") == "channels_first" else -1

    @property
    def splits_rows(self) -> bool:
        """Whether training sees several row blocks."""
        return self.tiling.shape[0] > 1

    def tiled_product(self, inputs: Any, kernel: Any, adc_ranges: list[Any] | None, product: Any) -> Any:
        """Sum the ADC results of the row blocks; `adc_ranges` has a scalar or a column vector for each, or is None."""
        total = None
        for i, (first, last) in enumerate(self.tiling.row_blocks):
            part = ops.take(inputs, range(first, last), axis=self.channel_axis) if self.splits_rows else inputs
            outputs = product(part, kernel[..., first:last, :])
            if adc_ranges is not None:
                axis = None if len(ops.shape(adc_ranges[i])) == 0 else self.channel_axis
                outputs = convert(outputs, adc_ranges[i], self.crossbar.adc_bits, axis=axis)
            total = outputs if total is None else total + outputs
        return total

    def analog_product(self, inputs: Any, training: bool | None) -> Any:
        """DAC, product on the tiles, ADC: the layer without bias and activation."""
        if self._observer is not None:
            return self._observer(self, inputs)
        if self.calibrated:
            inputs = convert(inputs, self.input_range, self.crossbar.dac_bits)
        if self._programmed is not None:
            kernel, adc_ranges = self._programmed
            kernel = ops.cast(kernel, inputs.dtype)
            return self.tiled_product(inputs, kernel, adc_ranges, self.programmed_product)
        kernel = self.effective_kernel(training)
        if not self.calibrated:
            return self.product(inputs, kernel)
        if not self.splits_rows:
            return convert(self.product(inputs, kernel), self.adc_range(), self.crossbar.adc_bits)
        return self.tiled_product(inputs, kernel, [self.adc_range()] * len(self.tiling.row_blocks), self.product)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        outputs = self.analog_product(inputs, training)
        if self.use_bias:
            shape = [1] * len(outputs.shape)
            shape[self.channel_axis] = -1
            outputs = outputs + ops.reshape(ops.cast(self.bias, outputs.dtype), shape)
        return outputs if self.activation is None else self.activation(outputs)

    @contextlib.contextmanager
    def programmed(self, kernel: Any, adc_ranges: list[Any] | None) -> Iterator[None]:
        """While active, the layer computes with the weights read from a chip, of `crossbar_shape()`."""
        self._programmed = (kernel, adc_ranges)
        try:
            yield
        finally:
            self._programmed = None

    def save_own_variables(self, store: Any) -> None:
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store: Any) -> None:
        keras.layers.Layer.load_own_variables(self, store)
        self.kernel_variable.constraint.refresh()

    def freeze_weight_range(self, limit: float) -> None:
        """Set W_max to `limit` and clip the kernel to it, from now on after every training step too."""
        self.w_max.assign(limit)
        self.kernel_variable.constraint.refresh()
        self.kernel_variable.assign(ops.clip(self.kernel_variable.value, -limit, limit))

    def get_config(self) -> dict[str, Any]:
        """Return the configuration as plain data; a shared ADC gain is saved as one object."""
        return {
            **super().get_config(),
            "crossbar": keras.saving.serialize_keras_object(self.crossbar),
            "weight_noise": self.weight_noise,
            "adc_gain": gain_to_config(self.adc_gain, self),
            "calibrated": self.calibrated,
            "seed": self.seed,
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


class FrozenRange:
    """Constraint of an analog kernel: inside of +-W_max once W_max is frozen, after any constraint of the user.

    JAX can't read the variable W_max while the optimizer runs, so there the number is taken over by `refresh`.
    """

    def __init__(self, w_max: keras.Variable, inner: Any) -> None:
        self.w_max = w_max
        self.inner = inner
        self.number = 0.0

    def refresh(self) -> None:
        """Take over the present W_max."""
        self.number = float(ops.convert_to_numpy(self.w_max.value))

    def __call__(self, w: Any) -> Any:
        w = ops.convert_to_tensor(w if self.inner is None else self.inner(w))
        limit = ops.cast(self.number if keras.backend.backend() == "jax" else self.w_max, w.dtype)
        return ops.where(limit > 0, ops.clip(w, -limit, limit), w)
