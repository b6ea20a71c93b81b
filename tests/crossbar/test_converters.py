"""Laws of the symmetric converters: DAC and ADC follow one rule."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from analognets.crossbar import convert, levels
from analognets.crossbar.converters import check_bits
from analognets.errors import InvalidArgumentError

BITS = st.integers(2, 16)
RANGES = st.floats(1e-3, 1e3, allow_nan=False).map(np.float32)
VALUES = st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=50).map(lambda x: np.array(x, np.float32))
QUICK = settings(max_examples=60, deadline=None)


def converted(inputs: np.ndarray, value_range: float, bits: int | None) -> np.ndarray:
    return ops.convert_to_numpy(convert(ops.convert_to_tensor(inputs), value_range, bits))


@pytest.mark.parametrize("bits", range(2, 17))
def test_a_converter_has_two_to_the_b_less_one_levels(bits: int) -> None:
    sweep = np.linspace(-1.2, 1.2, 6 * 2**bits + 1, dtype=np.float32)
    found = np.unique(np.round(converted(sweep, 1.0, bits) * (2 ** (bits - 1) - 1)))
    assert len(found) == levels(bits) == 2**bits - 1


@QUICK
@given(VALUES, RANGES, BITS)
def test_values_lie_on_the_grid_within_half_a_step(values: np.ndarray, value_range: np.float32, bits: int) -> None:
    outputs = converted(values * value_range, value_range, bits)
    steps = 2 ** (bits - 1) - 1
    in_steps = outputs.astype(np.float64) / value_range * steps
    rounding = steps * 1e-6
    assert np.all(np.abs(in_steps - np.round(in_steps)) <= rounding)
    assert np.all(np.abs(in_steps - np.clip(values, -1, 1).astype(np.float64) * steps) <= 0.5 + rounding)


@QUICK
@given(VALUES, RANGES, BITS)
def test_symmetric_up_to_ties(values: np.ndarray, value_range: np.float32, bits: int) -> None:
    steps = 2 ** (bits - 1) - 1
    distance_to_tie = np.abs(np.abs(values.astype(np.float64) * steps) % 1 - 0.5)
    clear = values[(distance_to_tie > steps * 1e-5) | (np.abs(values) > 1)] * value_range
    difference = converted(-clear, value_range, bits) + converted(clear, value_range, bits)
    assert np.all(np.abs(difference) <= 1e-6 * value_range)


@QUICK
@given(VALUES, RANGES, BITS)
def test_idempotent_monotone_and_bounded(values: np.ndarray, value_range: np.float32, bits: int) -> None:
    outputs = converted(np.sort(values) * value_range, value_range, bits)
    assert np.all(np.diff(outputs) >= 0)
    assert np.all(np.abs(outputs) <= value_range * (1 + 1e-6))
    np.testing.assert_allclose(converted(outputs, value_range, bits), outputs, rtol=0, atol=value_range * 1e-6)


@pytest.mark.parametrize("bits", [2, 4, 6, 8, 12, 16])
@pytest.mark.parametrize("value_range", [1e-3, 0.3, 1.0, 7.7, 1e4])
def test_zero_stays_exactly_zero(bits: int, value_range: float) -> None:
    assert np.all(converted(np.zeros(3, np.float32), value_range, bits) == 0)


def test_an_ideal_converter_is_the_identity() -> None:
    values = np.array([-1e9, -0.123, 0, 3e-7, 1e9], np.float32)
    np.testing.assert_array_equal(converted(values, 1.0, None), values)


def gradients(values: np.ndarray, value_range: float | np.ndarray, axis: int | None = None) -> tuple:
    x, r = tf.constant(values), tf.constant(value_range, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([x, r])
        outputs = tf.reduce_sum(convert(x, r, 8, axis=axis) * tf.reshape(tf.range(1.0, x.shape[0] + 1), (-1, 1)))
    return tuple(gradient.numpy() for gradient in tape.gradient(outputs, [x, r]))


def test_gradient_passes_inside_of_the_range_and_stops_outside() -> None:
    to_inputs, to_range = gradients(np.array([[-3.0], [-0.9], [0.2], [0.95], [2.0], [4.0]], np.float32), 1.0)
    np.testing.assert_array_equal(to_inputs[:, 0], [0, 2, 3, 4, 0, 0])
    assert to_range == -1 + 5 + 6


def test_a_vector_of_ranges_converts_each_column_by_its_own() -> None:
    values = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    ranges = np.array([0.5, 1.0, 3.0], np.float32)
    together = ops.convert_to_numpy(convert(ops.convert_to_tensor(values), ranges, 6, axis=-1))
    alone = np.stack([converted(values[:, i], ranges[i], 6) for i in range(3)], axis=1)
    np.testing.assert_array_equal(together, alone)
    first = ops.convert_to_numpy(convert(ops.convert_to_tensor(values.T), ranges, 6, axis=0))
    np.testing.assert_array_equal(first, alone.T)


def test_gradient_to_a_vector_of_ranges() -> None:
    to_inputs, to_ranges = gradients(np.array([[2.0, 0.5], [-2.0, 9.0]], np.float32), np.array([1.0, 1.0]), axis=-1)
    np.testing.assert_array_equal(to_inputs, [[0, 1], [0, 0]])
    np.testing.assert_array_equal(to_ranges, [1 - 2, 2])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_the_type_of_the_inputs_is_kept(dtype: str) -> None:
    outputs = convert(ops.cast(np.linspace(-2, 2, 9), dtype), 1.0, 4)
    assert keras.backend.standardize_dtype(outputs.dtype) == dtype


@pytest.mark.parametrize("bits", [1, 17, 0, -8, 7.5, "8", True])
def test_wrong_bits_are_one_sentence(bits: object) -> None:
    for call in (lambda: convert(np.ones(2, np.float32), 1.0, bits), lambda: levels(bits)):  # noqa: B023
        with pytest.raises(InvalidArgumentError, match=r"`bits` of \w+ must be a whole number from 2 to 16\. Received"):
            call()
    with pytest.raises(InvalidArgumentError, match="`adc_bits` of Crossbar"):
        check_bits("Crossbar", "adc_bits", bits)
    assert check_bits("Crossbar", "adc_bits", None) is None


@QUICK
@given(VALUES, RANGES, st.integers(2, 8))
def test_the_step_gradient_to_a_range_is_that_of_rounding_and_saturation(
    values: np.ndarray, value_range: np.float32, bits: int
) -> None:
    inputs, r = tf.constant(values * value_range), tf.Variable(value_range)
    with tf.GradientTape() as tape:
        outputs = convert(inputs, r, bits, range_gradient="step")
        total = tf.reduce_sum(outputs)
    plain = converted(inputs.numpy(), value_range, bits)
    np.testing.assert_array_equal(outputs.numpy(), plain)
    x = inputs.numpy().astype(np.float64)
    edge = np.abs(np.abs(x) / value_range - 1) < 1e-5  # on the edge either form is right
    wanted = np.where(np.abs(x) > value_range, np.sign(x), (plain - x) / value_range)
    assert abs(float(tape.gradient(total, r)) - wanted.sum()) < 1e-3 * len(x) + 2 * edge.sum()
