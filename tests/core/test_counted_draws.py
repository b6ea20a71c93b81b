from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets.core import counted_draws
from analognets.core.counted_draws import stateless_normal, stateless_uniform


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31 - 1), st.lists(st.integers(0, 9), max_size=4))
def test_numbers_are_those_of_tensorflow(seed: int, shape: list[int]) -> None:
    uniform, normal = stateless_uniform(shape, seed), stateless_normal(shape, seed)
    np.testing.assert_array_equal(uniform, tf.random.stateless_uniform(shape, (seed, 0)))
    np.testing.assert_allclose(normal, tf.random.stateless_normal(shape, (seed, 0)), rtol=2e-6, atol=2e-6)
    assert uniform.dtype == normal.dtype == np.float32


def test_many_numbers_are_worked_on_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counted_draws, "PIECE", 1000)
    found = stateless_normal((40_003,), 7)
    np.testing.assert_allclose(found, tf.random.stateless_normal((40_003,), (7, 0)), rtol=2e-6, atol=3e-6)
    assert abs(found.mean()) < 5 / math.sqrt(found.size) and abs(found.std() - 1) < 5 / math.sqrt(2 * found.size)
