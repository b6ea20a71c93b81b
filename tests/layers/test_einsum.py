"""AnalogEinsumDense against Keras' EinsumDense, in one tile and in many."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from analognets.conversion import to_analog, to_digital
from analognets.crossbar import Crossbar
from analognets.errors import ConversionError
from analognets.layers import AnalogEinsumDense, calibrate
from analognets.layers.einsum import einsum_plan
from analognets.layers.noise_realization import NoiseRealization

L = keras.layers
IDEAL = Crossbar(dac_bits=None, adc_bits=None)
CASES = [
    ("ab,bc->ac", 5, "c", (4, 3)),
    ("abc,cde->abde", (None, 3, 2), "de", (3, 6, 4)),
    ("abc,cde->abde", (None, 3, 2), "e", (3, 6, 4)),
    ("abcd,cde->abe", (None, 6), "e", (3, 5, 4, 2)),
    ("abcd,dce->aeb", (6, 5), "e", (3, 5, 4, 2)),
    ("...x,xy->...y", 5, "y", (2, 3, 4)),
    ("ab...,bc->ac...", (5, 4), None, (3, 6, 4)),
]


def twins(case: tuple, **settings) -> tuple[AnalogEinsumDense, L.EinsumDense, np.ndarray]:
    equation, output_shape, bias_axes, shape = case
    rng = np.random.default_rng(0)
    plain = L.EinsumDense(equation, output_shape, bias_axes=bias_axes, activation="tanh")
    analog = AnalogEinsumDense(equation, output_shape, bias_axes=bias_axes, activation="tanh", **settings)
    for layer in (plain, analog):
        layer.build(shape)
    plain.set_weights([rng.normal(size=weight.shape) for weight in plain.get_weights()])
    analog.kernel_variable.assign(plain.kernel)
    if bias_axes:
        analog.bias.assign(plain.bias)
    return analog, plain, rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("case", CASES, ids=[f"{case[0]}-{case[2]}" for case in CASES])
def test_equal_to_keras_whole_in_tiles_programmed_and_in_gradients(case) -> None:
    for tile in ({}, {"rows": 2, "cols": 2}, {"rows": 1, "cols": 1}):
        analog, plain, inputs = twins(case, crossbar=IDEAL.replace(**tile), calibrated=True)
        for training in (False, True):
            np.testing.assert_allclose(analog(inputs, training=training), plain(inputs), rtol=1e-5, atol=1e-6)
        with analog.fixed_noise(NoiseRealization(analog.crossbar_kernel())):
            np.testing.assert_allclose(analog(inputs), plain(inputs), rtol=1e-5, atol=1e-6)
    kernel = analog.kernel_variable.value
    np.testing.assert_array_equal(analog.from_crossbar(analog.to_crossbar(kernel)), kernel)
    assert analog.compute_output_shape(inputs.shape) == plain.compute_output_shape(inputs.shape)
    gradients = []
    for layer, variable in ((analog, analog.kernel_variable), (plain, plain._kernel)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(inputs)))
        gradients.append(tape.gradient(loss, variable.value))
    np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-5)


def test_a_tall_einsum_is_converted_row_block_by_row_block() -> None:
    inputs = keras.Input((5, 4, 3))
    model = keras.Model(inputs, L.EinsumDense("abcd,cde->abe", (None, 6), bias_axes="e", name="merge")(inputs))
    hardware = Crossbar(rows=5, cols=4, dac_bits=12, adc_bits=12)
    data = np.random.default_rng(0).normal(size=(40, 5, 4, 3)).astype(np.float32)
    analog = to_analog(model, hardware)
    (entry,) = analog.conversion_report.converted
    assert (entry.rows, entry.cols, entry.tiles, entry.macs) == (12, 6, 3 * 2, 5 * 72)
    calibrate(analog, data)
    np.testing.assert_allclose(analog(data), model(data), atol=0.02)
    assert not np.array_equal(analog(data), model(data))
    np.testing.assert_allclose(to_digital(analog)(data), model(data), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("equation", "rank", "why"),
    [
        ("abc,bcd->abd", 3, "one matrix for each index"),
        ("ab,cd->abcd", 2, "no axis of the inputs is summed over"),
        ("ab,b->a", 2, "or none of the outputs"),
        ("abc,cd->ad", 3, "an axis of one factor alone"),
        ("ab,bc->ac", 3, "do not fit"),
        ("aab,bc->ac", 3, "stands twice"),
    ],
)
def test_other_equations_are_one_sentence(equation, rank, why) -> None:
    with pytest.raises(ConversionError, match=why):
        einsum_plan(equation, rank)


def test_a_batched_kernel_stays_digital_and_says_why() -> None:
    inputs = keras.Input((4, 3))
    batched = L.EinsumDense("abc,bcd->abd", (4, 5), name="batched")(inputs)
    report = to_analog(keras.Model(inputs, L.Dense(2)(batched))).conversion_report
    (left,) = report.left
    assert left.why == "its equation 'abc,bcd->abd' is not one matrix product per position"
    with pytest.raises(ConversionError, match="Leave this layer digital"):
        AnalogEinsumDense("abc,bcd->abd", (4, 5)).build((None, 4, 3))
