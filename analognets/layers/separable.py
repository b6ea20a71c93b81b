"""Separable convolutions on a crossbar: the depthwise and the pointwise product on tiles of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import keras

from analognets.layers.composite import AnalogComposite, kernel_of
from analognets.layers.convolution import AnalogConv1D, AnalogConv2D, AnalogDepthwiseConv1D, AnalogDepthwiseConv2D

__all__ = ["AnalogSeparableConv1D", "AnalogSeparableConv2D"]

L = keras.layers
DEPTHWISE, POINTWISE = "depthwise", "pointwise"


class AnalogSeparable(AnalogComposite):
    """Mixin for the separable convolutions."""

    classes: ClassVar[Mapping[str, tuple[Any, Any]]] = {}
    """The analog and the digital layer of each product."""

    @property
    def product_attributes(self) -> Mapping[str, str]:
        return {DEPTHWISE: "depthwise", POINTWISE: "pointwise"}

    def make_products(self, settings: dict[str, dict[str, Any] | None]) -> None:
        self.depthwise = self.make_product(
            DEPTHWISE,
            settings[DEPTHWISE],
            *self.classes[DEPTHWISE],
            kernel_size=self.kernel_size,
            depth_multiplier=self.depth_multiplier,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
            use_bias=False,
            depthwise_initializer=self.depthwise_initializer,
            depthwise_regularizer=self.depthwise_regularizer,
            depthwise_constraint=self.depthwise_constraint,
        )
        self.pointwise = self.make_product(
            POINTWISE,
            settings[POINTWISE],
            *self.classes[POINTWISE],
            filters=self.filters,
            kernel_size=1,
            data_format=self.data_format,
            activation=self.activation,
            use_bias=self.use_bias,
            kernel_initializer=self.pointwise_initializer,
            kernel_regularizer=self.pointwise_regularizer,
            kernel_constraint=self.pointwise_constraint,
            bias_initializer=self.bias_initializer,
            bias_regularizer=self.bias_regularizer,
            bias_constraint=self.bias_constraint,
        )

    @property
    def depthwise_kernel(self) -> keras.Variable:
        """The kernel of the depthwise product."""
        return kernel_of(self.depthwise)

    @property
    def pointwise_kernel(self) -> keras.Variable:
        """The kernel of the pointwise product."""
        return kernel_of(self.pointwise)

    @property
    def bias(self) -> keras.Variable | None:
        """The bias of the pointwise product, or None."""
        return self.pointwise.bias

    def build(self, input_shape: Any) -> None:
        self.depthwise.build(tuple(input_shape))
        self.pointwise.build(self.depthwise.compute_output_shape(tuple(input_shape)))
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        for layer in (self.depthwise, self.pointwise):
            inputs = layer(inputs, training=training) if layer._call_has_training_arg else layer(inputs)
        return inputs

    def variables_of(self, layer: Any) -> list[keras.Variable]:
        return [layer.depthwise_kernel, layer.pointwise_kernel, *([] if layer.bias is None else [layer.bias])]

    def own_variables(self) -> list[keras.Variable]:
        return self.variables_of(self)


@keras.saving.register_keras_serializable(package="analognets")
class AnalogSeparableConv1D(AnalogSeparable, keras.layers.SeparableConv1D):
    """Separable 1-D convolution computed on crossbar tiles; see `AnalogSeparableConv2D`.

    Takes every argument of `keras.layers.SeparableConv1D` and those of `AnalogComposite`.

    Examples:
        >>> layer = AnalogSeparableConv1D(6, 3)
        >>> print(layer(np.ones((2, 10, 4))).shape)
        (2, 8, 6)

    Source: as `AnalogSeparableConv2D`.
    """

    classes: ClassVar[Mapping[str, tuple[Any, Any]]] = {
        DEPTHWISE: (AnalogDepthwiseConv1D, L.DepthwiseConv1D),
        POINTWISE: (AnalogConv1D, L.Conv1D),
    }


@keras.saving.register_keras_serializable(package="analognets")
class AnalogSeparableConv2D(AnalogSeparable, keras.layers.SeparableConv2D):
    """Separable 2-D convolution computed on crossbar tiles: y = activation(bias + pointwise(depthwise(x))).

    The products are the layers "<name>_depthwise" (`AnalogDepthwiseConv2D`, unrolled densely) and "<name>_pointwise"
    (`AnalogConv2D`, 1 x 1); between them lie an ADC and a DAC. With ideal converters and no noise it equals
    `keras.layers.SeparableConv2D`, whose arguments it takes, and those of `AnalogComposite`.

    Examples:
        >>> layer = AnalogSeparableConv2D(6, 3, name="separable")
        >>> print(layer(np.ones((2, 10, 10, 4))).shape)
        (2, 8, 8, 6)
        >>> [product.name for product in layer.products.values()]
        ['separable_depthwise', 'separable_pointwise']

    Source: derived from the definition of the layer; our reconstruction.
    """

    classes: ClassVar[Mapping[str, tuple[Any, Any]]] = {
        DEPTHWISE: (AnalogDepthwiseConv2D, L.DepthwiseConv2D),
        POINTWISE: (AnalogConv2D, L.Conv2D),
    }
