"""Networks for MNIST that are small enough to be learned on simulated devices: a perceptron and a convolutional one."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from analognets.zoo.networks.builders import builder

__all__ = ["mnist_cnn", "mnist_mlp"]


@builder
def mnist_mlp(
    input_shape: Sequence[int] = (28, 28, 1),
    *,
    classes: int = 10,
    hidden: int = 250,
    prior: float | None = -2.2,
    name: str = "mnist_mlp",
) -> keras.Model:
    """Build the 784-250-10 perceptron with sigmoid units.

    Args:
        input_shape: (height, width, 1) of the pictures.
        classes: number of outputs.
        hidden: units of the hidden layer.
        prior: first bias of the outputs; ln(0.1 / 0.9) = -2.2 is the prior of one class in ten. With large learning
            rates and squared errors the first batches else push all outputs down at once, for good. None: 0.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, height, width, 1) from 0 to 1, outputs (batch, classes) from 0 to 1, for
        the loss `half_squares`.

    Examples:
        >>> net = mnist_mlp(hidden=250)
        >>> net.output_shape, net.count_params()
        ((None, 10), 198760)

    Source: Nandakumar et al., arXiv 2001.11773 (the sizes from memory); `prior` is ours.
    """
    inputs = keras.Input(tuple(input_shape), name="image")
    x = keras.layers.Flatten(name="pixels")(inputs)
    x = keras.layers.Dense(hidden, activation="sigmoid", name="hidden")(x)
    first = keras.initializers.Constant(0.0 if prior is None else prior)
    x = keras.layers.Dense(classes, activation="sigmoid", bias_initializer=first, name="output")(x)
    return keras.Model(inputs, x, name=name)


@builder
def mnist_cnn(
    input_shape: Sequence[int] = (28, 28, 1),
    *,
    classes: int = 10,
    widths: Sequence[int] = (16, 32),
    hidden: int = 64,
    name: str = "mnist_cnn",
) -> keras.Model:
    """Build a small convolutional network: 5x5 convolutions, each with 2x2 max-pooling, then two dense layers.

    Args:
        input_shape: (height, width, channels) of the pictures.
        classes: number of outputs.
        widths: filters of the convolutions.
        hidden: units of the dense layer before the last.
        name: of the model.

    Returns:
        A functional Keras model; input (batch, height, width, channels), output logits (batch, classes).

    Examples:
        >>> net = mnist_cnn((28, 28, 1), widths=(4, 8), hidden=16)
        >>> net.output_shape, net.count_params()
        ((None, 10), 7406)

    Source: ours; the convolutional network of arXiv 2001.11773 could not be found.
    """
    inputs = x = keras.Input(tuple(input_shape), name="image")
    for number, width in enumerate(widths, start=1):
        x = keras.layers.Conv2D(width, 5, padding="same", use_bias=False, name=f"conv_{number}")(x)
        x = keras.layers.MaxPooling2D(2, name=f"pool_{number}")(x)
        x = keras.layers.BatchNormalization(momentum=0.95, name=f"norm_{number}")(x)
        x = keras.layers.ReLU(name=f"relu_{number}")(x)
    x = keras.layers.Flatten(name="flat")(x)
    x = keras.layers.Dense(hidden, activation="relu", name="hidden")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x), name=name)
