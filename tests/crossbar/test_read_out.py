"""Numbers of the read-out noise from the stored pool: normal, independent in a call, uncorrelated between calls."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from analognets import crossbar
from analognets.crossbar import forward, read_out
from analognets.crossbar.nonideality import draw_normal
from analognets.crossbar.read_out import draw_read_out, prepare_pool

SIGMAS = 5.0
SHAPE = (1 << 13, 4, 8)
COUNT = math.prod(SHAPE)


@pytest.fixture(scope="module")
def calls() -> np.ndarray:
    """Return eight calls of one generator, one after the other, as float64."""
    prepare_pool()
    generator = keras.random.SeedGenerator(11)
    return np.stack([ops.convert_to_numpy(draw_read_out(SHAPE, generator, "noise")) for _ in range(8)]).astype(float)


def correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the circular correlation of two sequences at every shift."""
    one, two = ((flat - flat.mean()) / flat.std() for flat in (first.ravel(), second.ravel()))
    return np.fft.irfft(np.fft.rfft(one) * np.conj(np.fft.rfft(two)), one.size) / one.size


def most(count: int, deviation: float) -> float:
    """Return what the largest of so many normal numbers hardly exceeds: once in 10,000 tests."""
    return deviation * math.sqrt(2 * math.log(count * 1e4))


def test_moments_and_tails_are_normal(calls: np.ndarray) -> None:
    flat = calls.ravel()
    assert abs(flat.mean()) < SIGMAS / math.sqrt(flat.size)
    assert abs(flat.var() - 1) < SIGMAS * math.sqrt(2 / flat.size)
    assert abs(np.mean(flat**3)) < SIGMAS * math.sqrt(15 / flat.size)
    assert abs(np.mean(flat**4) - 3) < SIGMAS * math.sqrt(96 / flat.size)
    for edge in (-4, -3, -2, -1, 0, 1, 2, 3, 4):
        share = 0.5 * math.erfc(-edge / math.sqrt(2))
        assert abs(np.mean(flat < edge) - share) < SIGMAS * math.sqrt(share * (1 - share) / flat.size)
    for call in calls:
        assert abs(call.mean()) < SIGMAS / math.sqrt(COUNT)
        assert abs(call.var() - 1) < SIGMAS * math.sqrt(2 / COUNT)


def test_numbers_of_a_call_are_independent(calls: np.ndarray) -> None:
    bound = most(COUNT, 1 / math.sqrt(COUNT))
    for call in calls[:3]:
        for values in (call, call**2, np.abs(call)):
            itself = correlation(values, values)
            assert itself[0] == pytest.approx(1)
            assert np.abs(itself[1:]).max() < bound
    columns = np.corrcoef(calls[0].reshape(-1, 32).T) - np.eye(32)
    assert np.abs(columns).max() < most(32 * 31 // 2, 1 / math.sqrt(COUNT / 32))
    assert len(np.unique(np.abs(calls[0]))) > 0.98 * COUNT  # float32 has 2^23 values in an octave


def test_calls_are_uncorrelated_at_every_shift_and_hardly_dependent(calls: np.ndarray) -> None:
    """Signs are common to a row of eight, which widens the bound at the four shifts that share numbers."""
    bound = most(COUNT, math.sqrt((1 + 8 / 16) / COUNT))
    for first in range(4):
        for second in range(first + 1, 5):
            assert np.abs(correlation(calls[first], calls[second])).max() < bound
            squares = correlation(calls[first] ** 2, calls[second] ** 2)
            assert np.abs(squares).max() < 1 / 16 + bound
            same = np.corrcoef(calls[first].ravel(), calls[second].ravel())[0, 1]
            assert abs(same) < SIGMAS / math.sqrt(COUNT)


def test_the_same_state_of_a_generator_gives_the_same_numbers(calls: np.ndarray) -> None:
    generator = keras.random.SeedGenerator(11)
    again = ops.convert_to_numpy(draw_read_out(SHAPE, generator, "noise"))
    np.testing.assert_array_equal(again, calls[0].astype("float32"))
    other = ops.convert_to_numpy(draw_read_out(SHAPE, keras.random.SeedGenerator(12), "noise"))
    assert np.mean(other == again) < 1e-3


def test_whole_numbers_single_axes_and_other_backends_draw_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    np.testing.assert_array_equal(draw_read_out((9, 4), 3, "noise"), draw_normal((9, 4), 3, "noise"))
    seeds = [keras.random.SeedGenerator(5) for _ in range(2)]
    np.testing.assert_array_equal(draw_read_out((9,), seeds[0], "noise"), draw_normal((9,), seeds[1], "noise"))
    monkeypatch.setattr(read_out, "_pool", [])
    np.testing.assert_array_equal(draw_read_out((9, 4), seeds[0], "noise"), draw_normal((9, 4), seeds[1], "noise"))
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    prepare_pool()
    assert read_out._pool == []


def test_a_pool_is_not_made_while_a_function_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_out, "_pool", [])
    monkeypatch.setattr(read_out, "LENGTH", 1 << 10)
    tf.function(prepare_pool, autograph=False)()
    assert read_out._pool == []
    prepare_pool()
    assert len(read_out._pool) == read_out.PARTS


@pytest.mark.parametrize("largest", [read_out.LARGEST, 100])
def test_the_number_of_rows_may_be_unknown(monkeypatch: pytest.MonkeyPatch, largest: int) -> None:
    prepare_pool()
    monkeypatch.setattr(read_out, "LARGEST", largest)
    generator = keras.random.SeedGenerator(4)
    run = tf.function(
        lambda x: draw_read_out(ops.shape(x), generator, "noise"),
        input_signature=[tf.TensorSpec((None, 3, 8))],
        autograph=False,
    )
    small, large = (run(np.zeros((rows, 3, 8), "float32")).numpy() for rows in (4, 4000))
    assert small.shape == (4, 3, 8)
    assert large.shape == (4000, 3, 8)
    assert abs(large.std() - 1) < SIGMAS / math.sqrt(2 * large.size)
    assert abs(large.mean()) < SIGMAS / math.sqrt(large.size)
    assert run.experimental_get_tracing_count() == 1


def test_the_product_has_the_same_moments_either_way() -> None:
    """Read-out noise of one product, repeated: variance by column from the pool and from single draws."""
    prepare_pool()
    rng = np.random.default_rng(0)
    x = np.repeat(rng.uniform(-1, 1, (1, 30)).astype("float32"), 8000, axis=0)
    w = rng.uniform(-1, 1, (30, 5)).astype("float32")
    hardware = crossbar.get("aimc_standard").without("dac_bits", "adc_bits", "ir_drop").scaled("short_term_noise", 10)
    deviation = np.sqrt(0.04**2 + 0.175**2 * (np.abs(w).T @ x[0] ** 2))
    for seed in (3, keras.random.SeedGenerator(3)):
        noise = ops.convert_to_numpy(forward(hardware, x, w, seed=seed)) - x @ w
        assert np.all(np.abs(noise.std(0) / deviation - 1) < SIGMAS / math.sqrt(2 * len(x)))
        assert np.all(np.abs(noise.mean(0)) < SIGMAS * deviation / math.sqrt(len(x)))
