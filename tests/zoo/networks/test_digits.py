"""Networks for MNIST: their shapes, that they learn, the GAN's step, and the distance between sets of pictures."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from analognets.errors import InvalidArgumentError
from analognets.training.in_memory import MixedPrecision
from analognets.zoo.networks.digits import mnist_cnn, mnist_mlp
from analognets.zoo.networks.gan import MnistGAN, frechet_distance, mnist_gan
from analognets.zoo.tasks import find_recipe


def pictures(count: int = 64) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.uniform(size=(count, 28, 28, 1)) > 0.8).astype("float32")


def test_the_perceptron_is_the_one_of_the_paper() -> None:
    model = mnist_mlp()
    assert model.count_params() == 198_760
    assert [layer.units for layer in model.layers[2:]] == [250, 10]
    out = model.predict(pictures(4), verbose=0)
    assert out.shape == (4, 10) and out.min() > 0 and out.max() < 0.5, "outputs begin near the prior"


def test_the_convolutional_network_takes_pictures() -> None:
    assert mnist_cnn(widths=(4, 8), hidden=16).predict(pictures(2), verbose=0).shape == (2, 10)


def test_recipes_are_found_with_either_dash() -> None:
    assert find_recipe("mnist-mlp") == find_recipe("mnist_mlp")
    for name in ("mnist_mlp", "mnist_cnn", "mnist_gan", "kws_lstm_on_device"):
        recipe = find_recipe(name)
        assert recipe.on_device is not None and not recipe.learns_on_devices
        assert recipe.replace(["on_device.enabled=true"]).learns_on_devices


@pytest.mark.parametrize("on_devices", [False, True])
def test_a_step_of_the_gan_moves_each_network_down_its_own_loss(on_devices: bool) -> None:
    keras.utils.set_random_seed(0)
    model = mnist_gan(latent=8, width=4)
    rule = keras.optimizers.SGD(0.1)
    model.compile(MixedPrecision(rule, devices_per_polarity=8) if on_devices else rule, jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    real, kept = tf.constant(pictures(16)), model.get_weights()
    parts = {"generator": model.generator, "discriminator": model.discriminator}
    with tf.GradientTape(persistent=True) as tape:
        losses = dict(zip(parts, model.losses_of(real, True), strict=True))
    wanted = {n: tape.gradient(losses[n], [v.value for v in net.trainable_variables]) for n, net in parts.items()}
    assert all(np.abs(gradient.numpy()).max() > 0 for found in wanted.values() for gradient in found)
    model.set_weights(kept)
    history = model.fit(pictures(), epochs=1, batch_size=16, verbose=0).history
    assert {"loss", "generator_loss", "discriminator_loss"} <= history.keys()
    assert history["loss"][0] == pytest.approx(history["generator_loss"][0] + history["discriminator_loss"][0])
    moved = [not np.array_equal(one, other) for one, other in zip(model.get_weights(), kept, strict=True)]
    assert all(moved[: len(model.trainable_variables)])
    if on_devices:
        assert len(model.optimizer.synapses) == 6
        assert int(model.optimizer.iterations) == 4


def test_the_gan_learns_a_single_picture() -> None:
    keras.utils.set_random_seed(0)
    model = MnistGAN(latent=4, width=4, seed=1)
    model(tf.zeros((1, 28, 28, 1)))
    one = np.zeros((320, 28, 28, 1), "float32")
    one[:, 8:20, 8:20] = 1.0
    model.compile(keras.optimizers.Adam(2e-3, beta_1=0.5), jit_compile=False)
    before = np.abs(model.generate(20) - one[:20]).mean()
    model.fit(one, epochs=8, batch_size=16, verbose=0)
    assert np.abs(model.generate(20) - one[:20]).mean() < 0.4 * before


def test_the_gan_is_kept_in_files(tmp_path) -> None:
    model = mnist_gan(latent=8, width=4)
    model.save(tmp_path / "gan.keras")
    again = keras.models.load_model(tmp_path / "gan.keras")
    np.testing.assert_array_equal(again.generate(3, seed=1), model.generate(3, seed=1))
    with pytest.raises(InvalidArgumentError, match="Use the front end grey_28"):
        mnist_gan((32, 32, 3))


def test_the_frechet_distance_of_normal_sets_is_the_formula() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=(200_000, 3))
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)
    moved = one @ np.diag([1.0, 2.0, 0.5]) + [1.0, 0.0, -2.0]
    assert frechet_distance(one, moved) == pytest.approx(5 + 0 + 1 + 0.25, rel=0.02)
    with pytest.raises(InvalidArgumentError, match="two tables"):
        frechet_distance(one, one[:, :2])
