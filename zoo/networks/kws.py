"""Keyword-spotting networks."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from analognets.zoo.networks.builders import builder

__all__ = ["analognet_kws"]


@builder
def analognet_kws(
    input_shape: Sequence[int] = (49, 10, 1),
    *,
    classes: int = 12,
    widths: Sequence[int] = (84, 112, 84, 84, 84),
    dropout: float = 0.0,
    momentum: float = 0.95,
    name: str = "analognet_kws",
) -> keras.Model:
    """Build AnalogNet-KWS, our reconstruction: no depthwise layer, all layers on one 1024 x 512 array.

    conv 10x4 1->84; conv 3x3 84->112 stride 2; conv 3x3 112->84; 84->84; 84->84; average pool; dense 84->12: 300,720
    weights, 57.4 % of the array; every layer has at most 1008 rows and 112 columns. Batch-norm and ReLU follow every
    convolution and stay digital.

    Args:
        input_shape: (frames, coefficients, 1) of the MFCC features.
        classes: number of keywords, silence and unknown included.
        widths: filters of the five convolutions.
        dropout: share of pooled features dropped in training, 0 to 1.
        momentum: of the batch-norms' moving statistics, 0 to 1.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, frames, coefficients, 1), output logits (batch, classes).

    Examples:
        >>> analognet_kws((49, 10, 1), classes=12).output_shape
        (None, 12)

    Source: AnalogNets (arXiv 2111.06503) gives the utilisation (from memory); the layer list is our reconstruction from
    MicroNet-KWS-S with its depthwise-separable pairs replaced by 3x3 convolutions.
    """
    inputs = keras.Input(tuple(input_shape), name="mfcc")
    x = inputs
    for number, width in enumerate(widths):
        x = keras.layers.Conv2D(
            width,
            (10, 4) if number == 0 else 3,
            strides=2 if number == 1 else 1,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"conv_{number + 1}",
        )(x)
        x = keras.layers.BatchNormalization(momentum=momentum, name=f"norm_{number + 1}")(x)
        x = keras.layers.ReLU(name=f"relu_{number + 1}")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x), name=name)
