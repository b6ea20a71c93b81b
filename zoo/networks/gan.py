"""A generative adversarial network for MNIST, and a distance between what it draws and what is real."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from analognets.core.backend import check_backend
from analognets.errors import InvalidArgumentError, check_integer
from analognets.zoo.networks.builders import builder

__all__ = ["MnistGAN", "frechet_distance", "mnist_gan"]

L = keras.layers


@keras.saving.register_keras_serializable(package="analognets")
class MnistGAN(keras.Model):
    """Generator and discriminator that are trained against each other, both in one step of one optimizer.

    Discriminator:  mean log(1 + e^-D(x)) + mean log(1 + e^D(G(z)))   down by its own weights
    Generator:      mean log(1 + e^-D(G(z)))                          down by its own weights

    Both gradients are taken at the same weights. The labels of the data are not used. Called on pictures it returns the
    discriminator's logits; `generate` draws pictures.

    Args:
        latent: size of z, whose entries are standard-normal.
        width: filters of the layers next to the picture; the inner ones have twice as many.
        seed: of z in training; None takes one from the global seed of Keras.
        **kwargs: of `keras.Model`.

    Source: ours, in the manner of Radford et al. (arXiv 1511.06434); that of arXiv 2001.11773 could not be found.
    """

    classifies = False

    def __init__(self, latent: int = 64, width: int = 16, seed: int | None = None, **kwargs: Any) -> None:
        check_backend("MnistGAN is trained", "tensorflow")
        super().__init__(**kwargs)
        self.latent = check_integer("MnistGAN", "latent", latent, 1, 4096)
        self.width = check_integer("MnistGAN", "width", width, 1, 4096)
        self.seed = seed
        self.draws = keras.random.SeedGenerator(seed)
        self.generator = keras.Sequential(
            [
                keras.Input((latent,)),
                L.Dense(7 * 7 * 2 * width, use_bias=False, name="generator_dense"),
                L.BatchNormalization(momentum=0.9, name="generator_norm_1"),
                L.ReLU(),
                L.Reshape((7, 7, 2 * width)),
                L.Conv2DTranspose(width, 5, 2, "same", use_bias=False, name="generator_conv"),
                L.BatchNormalization(momentum=0.9, name="generator_norm_2"),
                L.ReLU(),
                L.Conv2DTranspose(1, 5, 2, "same", activation="sigmoid", name="generator_picture"),
            ],
            name="generator",
        )
        self.discriminator = keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                L.Conv2D(width, 5, 2, "same", name="discriminator_conv_1"),
                L.LeakyReLU(0.2),
                L.Conv2D(2 * width, 5, 2, "same", name="discriminator_conv_2"),
                L.LeakyReLU(0.2),
                L.Flatten(),
                L.Dense(1, name="discriminator_logit"),
            ],
            name="discriminator",
        )
        self.means = [keras.metrics.Mean(name=name) for name in ("loss", "generator_loss", "discriminator_loss")]

    @property
    def metrics(self) -> list[Any]:
        """The running means of the losses."""
        return self.means

    def build(self, input_shape: Any) -> None:
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.discriminator(inputs, training=training)

    def generate(self, count: int, *, seed: int = 0) -> np.ndarray:
        """Return drawn pictures, float32 (count, 28, 28, 1) from 0 to 1."""
        z = np.random.default_rng(seed).normal(size=(count, self.latent)).astype("float32")
        return np.asarray(self.generator.predict(z, batch_size=500, verbose=0))

    def losses_of(self, pictures: Any, training: bool) -> tuple[Any, Any]:
        """Return the losses of generator and discriminator on a batch and as many drawn pictures."""
        z = keras.random.normal((tf.shape(pictures)[0], self.latent), seed=self.draws)
        drawn = self.generator(z, training=training)
        real = self.discriminator(pictures, training=training)
        fake = self.discriminator(drawn, training=training)
        softplus = tf.nn.softplus
        return tf.reduce_mean(softplus(-fake)), tf.reduce_mean(softplus(-real)) + tf.reduce_mean(softplus(fake))

    def train_step(self, data: Any) -> dict[str, Any]:
        """Move both networks down their losses on a batch, and return the running means of these."""
        pictures = keras.utils.unpack_x_y_sample_weight(data)[0]
        parts = [self.generator.trainable_variables, self.discriminator.trainable_variables]
        with tf.GradientTape(persistent=True) as tape:
            losses = self.losses_of(pictures, True)
        gradients: dict[str, Any] = {}
        for loss, variables in zip(losses, parts, strict=True):
            found = tape.gradient(loss, [variable.value for variable in variables])
            gradients |= {variable.path: gradient for variable, gradient in zip(variables, found, strict=True)}
        variables = self.trainable_variables
        self.optimizer.apply([gradients[variable.path] for variable in variables], variables)
        return self._tell(losses)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Return the running means of the losses."""
        return self._tell(self.losses_of(keras.utils.unpack_x_y_sample_weight(data)[0], False))

    def _tell(self, losses: tuple[Any, Any]) -> dict[str, Any]:
        for mean, value in zip(self.means, (losses[0] + losses[1], *losses), strict=True):
            mean.update_state(value)
        return {mean.name: mean.result() for mean in self.means}

    def get_config(self) -> dict[str, Any]:
        """Return the configuration as plain data."""
        return {**super().get_config(), "latent": self.latent, "width": self.width, "seed": self.seed}


@builder
def mnist_gan(
    input_shape: Sequence[int] = (28, 28, 1),
    *,
    classes: int = 10,
    latent: int = 64,
    width: int = 16,
    name: str = "mnist_gan",
) -> MnistGAN:
    """Build the `MnistGAN` for pictures of 28 x 28 pixels from 0 to 1.

    Args:
        input_shape: of the pictures, (28, 28, 1).
        classes: not used: the network sees no labels.
        latent: size of what a picture is drawn from.
        width: filters of the layers next to the picture.
        name: of the model.

    Raises:
        InvalidArgumentError: the pictures have another shape.

    Examples:
        >>> gan = mnist_gan(width=2)
        >>> gan.generate(3, seed=0).shape
        (3, 28, 28, 1)
    """
    if tuple(input_shape) != (28, 28, 1):
        raise InvalidArgumentError(
            f"mnist_gan draws pictures of shape (28, 28, 1). Received: {tuple(input_shape)}. Use the front end grey_28."
        )
    model = MnistGAN(latent, width, name=name)
    model(tf.zeros((1, 28, 28, 1)))
    return model


def frechet_distance(real: Any, drawn: Any) -> float:
    """Return the Frechet distance of two sets of features, taken as normal distributions.

    d^2 = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2)

    Args:
        real: features (pictures, features), more pictures than features.
        drawn: features (pictures, features).

    Returns:
        d^2, in the squared unit of the features; 0 for equal means and covariances.

    Raises:
        InvalidArgumentError: the sets don't fit each other, or are too small.

    Source: Heusel et al., arXiv 1706.08500 (there with the features of an Inception network).
    """
    one, other = (np.asarray(values, np.float64) for values in (real, drawn))
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1] or min(len(one), len(other)) < 2:
        raise InvalidArgumentError(
            "frechet_distance takes two tables (pictures, features) with the same features and two or more rows. "
            f"Received: shapes {one.shape} and {other.shape}."
        )
    first, second = (np.atleast_2d(np.cov(values, rowvar=False)) for values in (one, other))
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second @ root), 0.0)).sum()  # tr (C1 C2)^1/2
    gap = one.mean(0) - other.mean(0)
    return float(max(gap @ gap + np.trace(first + second) - 2 * shared, 0.0))
