"""The product with all non-idealities against plain NumPy: exact where it is deterministic, moments where it is not."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from analognets import crossbar
from analognets.crossbar import Crossbar, draw_periphery, forward, list_nonidealities
from analognets.errors import InvalidArgumentError

SIGMAS = 5.0
FEW = settings(max_examples=15, deadline=None, derandomize=True)
PLAIN = Crossbar(rows=512, cols=512, device="ideal", dac_bits=None, adc_bits=None)
STANDARD = crossbar.get("aimc_standard")
STILL = STANDARD.without("short_term_noise", "output_noise")


def arrays(rows=60, columns=24, vectors=17, seed=0, alpha=1.0, gamma=1.0):
    rng = np.random.default_rng(seed)
    x = (rng.uniform(-1, 1, (vectors, rows)) * alpha).astype("float32")
    w = (np.clip(rng.normal(0, 0.4, (rows, columns)), -1, 1) * gamma).astype("float32")
    return x, w


def wide(*values):
    return [np.asarray(value, "float64") for value in values]


def assert_close(found, wanted, tolerance=1e-6):
    """Differences of at most so many parts of the largest output."""
    found = ops.convert_to_numpy(found)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * max(np.abs(wanted).max(), 1e-3))


def full_still_crossbar():
    """Return a crossbar with every effect that is fixed for a chip."""
    bare = PLAIN.with_nonideality("ir_drop", factor=8.0).with_nonideality("adc_nonlinearity", curvature=0.2, spread=0.3)
    bare = bare.with_strength("polarity_asymmetry", 0.2).with_strength("adc_gain_spread", 0.1)
    return bare.with_strength("adc_offset_spread", 0.05)


@FEW
@given(
    st.integers(1, 70), st.integers(1, 9), st.integers(0, 1000), st.floats(0.1, 9), st.floats(0.05, 4), st.booleans()
)
def test_everything_that_is_fixed_for_a_chip(crossbar_reference, rows, columns, seed, alpha, gamma, straight) -> None:
    gammas = (gamma * np.random.default_rng(seed).uniform(0.5, 1.5, columns)).astype("float32")
    x, w = arrays(rows, columns, 5, seed, alpha, gammas)
    hardware = full_still_crossbar()
    chip = {name: ops.convert_to_numpy(value) for name, value in draw_periphery(hardware, w.shape, seed).items()}
    assert set(chip) == {"adc_nonlinearity", "polarity_asymmetry", "adc_gain_spread", "adc_offset_spread"}
    found = forward(
        hardware,
        x,
        w,
        input_range=alpha,
        weight_scale=gammas,
        periphery=chip,
        straight_through=straight,
        joint=straight,
    )
    numbers = dict(zip(("zeta", "phases", "gains", "offsets"), wide(*(chip[name] for name in (
        "adc_nonlinearity", "polarity_asymmetry", "adc_gain_spread", "adc_offset_spread"))), strict=True))  # fmt: skip
    wanted = crossbar_reference.forward(
        *wide(x, w), alpha=alpha, gamma=gammas.astype("float64"), ir=8.0, curvature=0.2, spread=0.3, asymmetry=0.2,
        gain=0.1, offset=0.05, **numbers,
    )  # fmt: skip
    assert_close(found, wanted, 2e-6)


@FEW
@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 1000))
def test_with_converters_all_outputs_are_on_the_same_code(crossbar_reference, dac, adc, seed) -> None:
    """Inputs stay clear of the ties of the DAC, so only outputs within rounding of a tie of the ADC may differ."""
    alpha, steps = 2.5, 2 ** (dac - 1) - 1
    x, w = arrays(40, 11, 50, seed, 1.0)
    clear = np.abs(np.abs(x * steps) % 1 - 0.5) > 1e-3
    x = np.where(clear, x, np.round(x * steps) / steps).astype("float32") * np.float32(alpha)
    found = ops.convert_to_numpy(forward(STILL.replace(dac_bits=dac, adc_bits=adc), x, w, input_range=alpha))
    exact = crossbar_reference.forward(*wide(x, w), alpha=alpha, dac_bits=dac, ir=1.0)
    step = alpha * 20 / (2**adc - 2)
    wanted = crossbar_reference.forward(*wide(x, w), alpha=alpha, dac_bits=dac, adc_bits=adc, ir=1.0)
    tied = np.abs(np.abs(exact / step) % 1 - 0.5) < 1e-3
    assert tied.mean() < 0.02
    assert_close(found[~tied], wanted[~tied])
    assert np.abs(found - wanted).max() < 1.001 * step
    assert len(np.unique(np.round(found / step))) <= crossbar.levels(adc)


def test_outputs_saturate_at_the_bound() -> None:
    x, w = np.ones((1, 100), "float32"), np.ones((100, 1), "float32")
    y = forward(STILL.without("ir_drop"), 3 * x, 2 * w, input_range=3.0, weight_scale=2.0)
    np.testing.assert_allclose(ops.convert_to_numpy(y), [[60.0]], rtol=1e-6)
    y = forward(STILL.without("ir_drop"), 3 * x, 2 * w, input_range=3.0, weight_scale=2.0, adc_bound=20.0)
    np.testing.assert_allclose(ops.convert_to_numpy(y), [[120.0]], rtol=1e-6)


@pytest.mark.parametrize("law", ["pcm", "constant"])
@pytest.mark.parametrize("joint", [True, False])
def test_moments_of_the_noise(crossbar_reference, law, joint) -> None:
    """Mean and variance over many products of the same input, each within five standard errors of what is predicted."""
    draws, alpha = 4000, 1.7
    gamma = np.array([0.5, 2.0, 1.0], "float32")
    x, w = arrays(50, 3, 4, 3, alpha, gamma)
    hardware = PLAIN.with_nonideality("short_term_noise", deviation=0.3, law=law).with_strength("output_noise", 0.2)
    many = np.repeat(x[:, None], draws, axis=1)
    found = forward(hardware, many, w, input_range=alpha, weight_scale=gamma, seed=5, joint=joint)
    found = ops.convert_to_numpy(found).astype("float64")
    wanted = crossbar_reference.noise_deviation(
        *wide(x, w), alpha=alpha, gamma=gamma.astype("float64"), output=0.2, short_term=0.3, law=law
    )
    mean = crossbar_reference.forward(*wide(x, w), alpha=alpha, gamma=gamma.astype("float64"))
    assert np.all(np.abs(found.mean(1) - mean) < SIGMAS * wanted / math.sqrt(draws))
    assert np.all(np.abs(found.std(1) / wanted - 1) < SIGMAS / math.sqrt(2 * draws))
    normalised = (found - mean[:, None]) / wanted[:, None]
    assert abs(np.mean(normalised**4) - 3) < SIGMAS * math.sqrt(96 / normalised.size)
    columns = np.corrcoef(normalised.reshape(-1, 3).T) - np.eye(3)
    assert np.abs(columns).max() < SIGMAS / math.sqrt(4 * draws)


def test_the_law_of_short_term_noise_is_that_of_noisy_cells() -> None:
    """The exact law at the outputs against noise drawn for each cell and product."""
    x, w = arrays(30, 4, 1, 1)
    rng = np.random.default_rng(0)
    cells = w + 0.3 * np.sqrt(np.abs(w)) * rng.normal(size=(6000, *w.shape))
    slow = np.einsum("j,bji->bi", x[0], cells)
    hardware = PLAIN.with_strength("short_term_noise", 0.3)
    fast = ops.convert_to_numpy(forward(hardware, np.repeat(x, 6000, axis=0), w, seed=1))
    assert np.all(np.abs(slow.std(0) / fast.std(0) - 1) < SIGMAS / math.sqrt(6000))


def test_noise_before_and_behind_the_nonlinearity() -> None:
    """Short-term noise goes through the S shape, output noise does not: they are not drawn as one there."""
    x, w = np.full((20_000, 4), 1.0, "float32"), np.full((4, 1), 1.0, "float32")
    shape = PLAIN.with_nonideality("adc_nonlinearity", curvature=0.25)
    before = ops.convert_to_numpy(forward(shape.with_strength("short_term_noise", 0.05), x, w, seed=0))
    behind = ops.convert_to_numpy(forward(shape.with_strength("output_noise", 0.1), x, w, seed=0))
    slope = 2.25 / (1 + 0.25 * 4) ** 2  # of P z / (1 + z / 4) at z = 4
    assert before.std() == pytest.approx(0.05 * 2 * slope, rel=SIGMAS / math.sqrt(2 * len(x)))
    assert behind.std() == pytest.approx(0.1, rel=SIGMAS / math.sqrt(2 * len(x)))
    np.testing.assert_allclose([before.mean(), behind.mean()], 2.25 * 4 / 2, rtol=2e-3)


def test_input_noise_has_its_variance() -> None:
    x, w = arrays(40, 3, 1, 2, 2.0)
    y = forward(PLAIN.with_strength("input_noise", 0.1), np.repeat(x, 8000, axis=0), w, input_range=2.0, seed=3)
    wanted = 2.0 * 0.1 * np.sqrt((w**2).sum(0))
    assert np.all(np.abs(ops.convert_to_numpy(y).std(0) / wanted - 1) < SIGMAS / math.sqrt(2 * 8000))


@pytest.mark.parametrize("name", [n for n in list_nonidealities() if not n.startswith("stuck")])
def test_each_non_ideality_does_something_and_nothing_when_off(name) -> None:
    x, w = arrays()
    plain = ops.convert_to_numpy(forward(PLAIN, x, w))
    np.testing.assert_allclose(plain, x @ w, rtol=1e-5, atol=1e-5)
    on = PLAIN.with_strength(name, 0.3)
    assert np.abs(ops.convert_to_numpy(forward(on, x, w, seed=1)) - plain).max() > 1e-4
    for off in (on.without(name), on.with_strength(name, 0), on.scaled(name, 0)):
        np.testing.assert_array_equal(ops.convert_to_numpy(forward(off, x, w)), plain)


def everything() -> Crossbar:
    hardware = STANDARD
    for name in list_nonidealities():
        hardware = hardware.with_strength(name, 0.1)
    return hardware


def test_seeds_reproduce_and_differ() -> None:
    x, w = arrays()
    hardware = everything()
    first, again, other = (ops.convert_to_numpy(forward(hardware, x, w, seed=seed)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert np.mean(first == other) < 0.2
    chip = draw_periphery(hardware, w.shape, 1)
    same, new = (ops.convert_to_numpy(forward(hardware, x, w, seed=seed, periphery=chip)) for seed in (7, 8))
    assert np.mean(same == new) < 0.2
    for name, values in draw_periphery(hardware.scaled("polarity_asymmetry", 2), w.shape, 1).items():
        np.testing.assert_array_equal(values, chip[name])


def test_a_seed_generator_draws_anew_in_a_compiled_function() -> None:
    x, w = arrays()
    generator = keras.random.SeedGenerator(3)
    run = tf.function(lambda inputs, seed: forward(STANDARD, inputs, w, seed=seed), autograph=False)
    outputs = [run(tf.constant(x), generator).numpy() for _ in range(2)]
    assert np.mean(outputs[0] == outputs[1]) < 0.5
    assert run.experimental_get_tracing_count() == 1
    fixed = [tf.function(lambda inputs: forward(STANDARD, inputs, w, seed=1))(tf.constant(x)).numpy() for _ in range(2)]
    np.testing.assert_array_equal(fixed[0], fixed[1])


def test_the_number_of_vectors_may_be_unknown() -> None:
    _, w = arrays()
    inputs = keras.Input((None, 60))
    outputs = everything_layer(w)(inputs)
    model = keras.Model(inputs, outputs)
    assert model(np.zeros((2, 3, 60), "float32")).shape == (2, 3, 24)


def everything_layer(w):
    class Product(keras.layers.Layer):
        def call(self, inputs):
            return forward(everything(), inputs, w, seed=0)

        def compute_output_shape(self, shape):
            return (*shape[:-1], w.shape[-1])

    return Product()


@pytest.mark.parametrize("straight", [True, False])
@pytest.mark.parametrize("nonnegative", [True, False])
def test_a_convolution_is_the_matrix_product_of_its_patches(nonnegative, straight) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0 if nonnegative else -1, 1, (2, 9, 8, 3)).astype("float32")
    w = rng.uniform(-1, 1, (3, 2, 3, 5)).astype("float32")
    hardware = full_still_crossbar()
    chip = {name: ops.convert_to_numpy(value) for name, value in draw_periphery(hardware, w.shape, 0).items()}
    settings = {"nonnegative": nonnegative, "straight_through": straight, "input_range": 1.5}
    found = forward(hardware, x, w, periphery=chip, product=lambda a, k: ops.conv(a, k, strides=2), **settings)
    patches = ops.convert_to_numpy(ops.image.extract_patches(x, (3, 2), strides=(2, 2), padding="valid"))
    chip["polarity_asymmetry"] = chip["polarity_asymmetry"].reshape(-1, 5)
    wanted = forward(hardware, patches, w.reshape(-1, 5), periphery=chip, input_range=1.5)
    assert_close(found, ops.convert_to_numpy(wanted), 2e-6)


def test_columns_may_lie_on_another_axis() -> None:
    x, w = arrays()
    hardware = full_still_crossbar()
    chip = draw_periphery(hardware, w.shape, 0)
    gamma = np.linspace(0.5, 2, 24).astype("float32")
    usual = forward(hardware, x, w, periphery=chip, weight_scale=gamma)
    turned = forward(
        hardware, x, w, periphery=chip, weight_scale=gamma, axis=0, product=lambda a, k: ops.transpose(ops.matmul(a, k))
    )
    assert_close(ops.transpose(turned), ops.convert_to_numpy(usual))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_inputs(dtype) -> None:
    x, w = arrays()
    exact = ops.convert_to_numpy(forward(STILL, x, w))
    outputs = forward(STILL, ops.cast(x, dtype), w)
    assert keras.backend.standardize_dtype(outputs.dtype) == dtype
    error = ops.convert_to_numpy(ops.cast(outputs, "float32")) - exact
    assert np.sqrt(np.mean(error**2)) < 0.02 * exact.std()


def gradients(hardware, x, w, straight=True):
    x, w, alpha = tf.constant(x), tf.constant(w), tf.constant(2.0)
    gamma = tf.ones(w.shape[-1])
    with tf.GradientTape() as tape:
        tape.watch([x, w, alpha, gamma])
        y = forward(hardware, x, w, input_range=alpha, weight_scale=gamma, seed=1, straight_through=straight)
        loss = tf.reduce_sum(y * tf.range(1.0, w.shape[-1] + 1))
    return [gradient.numpy() for gradient in tape.gradient(loss, [x, w, alpha, gamma])]


def test_the_gradient_is_that_of_converters_and_plain_product() -> None:
    """With no saturation it is the gradient of x @ w; alpha and gamma have none, for the product does not know them."""
    x, w = arrays(30, 4, 9)
    to_x, to_w, to_alpha, to_gamma = gradients(STANDARD.with_strength("adc_gain_spread", 0.1), x, w)
    columns = np.arange(1.0, 5)
    np.testing.assert_allclose(to_x, np.tile(w @ columns, (9, 1)), rtol=1e-4, atol=1e-4)
    quantized = np.round(x / 2 * 127) / 127 * 2
    np.testing.assert_allclose(to_w, quantized.sum(0)[:, None] * columns, rtol=1e-3, atol=1e-3)
    assert all(np.all(np.isfinite(g)) for g in (to_alpha, to_gamma))


def test_a_true_gradient_also_follows_the_deterministic_part() -> None:
    """Against a numerical derivative of the IR drop."""
    x, w = arrays(20, 1, 1)
    hardware = PLAIN.with_strength("ir_drop", 100.0)
    to_x = gradients(hardware, x, w, straight=False)[0]
    shift = np.zeros_like(x)
    shift[0, 7] = 1e-2
    up, down = (ops.convert_to_numpy(forward(hardware, x + s, w, input_range=2.0)) for s in (shift, -shift))
    assert to_x[0, 7] == pytest.approx((up - down)[0, 0] / 2e-2, rel=2e-2)
    assert abs(to_x[0, 7] / w[7, 0] - 1) > 1e-3


def test_what_is_wrong_is_one_sentence() -> None:
    x, w = arrays(20, 3, 2)
    with pytest.raises(InvalidArgumentError, match=r"one tile can have 10 rows\. Received: 20\. Cut them with"):
        forward(STANDARD.replace(rows=10), x, w, seed=0)
    with pytest.raises(InvalidArgumentError, match=r"'aon_cim_8bit' has no fixed bound\. Received: adc_bound=None"):
        forward(crossbar.get("aon_cim_8bit"), x, w)
    with pytest.raises(InvalidArgumentError, match=r"read-out noise 0 needs a seed\. Received: seed=None"):
        forward(STANDARD, x, w)
    with pytest.raises(InvalidArgumentError, match="chip polarity_asymmetry needs a seed"):
        draw_periphery(PLAIN.with_strength("polarity_asymmetry", 0.1), (20, 3), None)
    with pytest.raises(InvalidArgumentError, match=r"`seed` of devices must be a whole number"):
        forward(STANDARD, x, w, seed=-1)
