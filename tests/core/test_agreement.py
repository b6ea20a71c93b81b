"""The measures by which an exported network is judged, and those that must be refused."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analognets.core.agreement import INT8_LIMIT, largest_difference, relative_error
from analognets.deploy.export.inputs import answers

arrays = st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=8).map(lambda v: np.array([v], np.float32))


@given(arrays, st.floats(0.01, 100))
def test_a_copy_has_no_error_and_the_error_has_no_unit(right: np.ndarray, factor: float) -> None:
    assert relative_error([right], [right]) == largest_difference([right], [right]) == 0
    if np.abs(right).max() > 1e-3:
        mine = right + 0.1 * np.abs(right).max()
        assert relative_error([mine * factor], [right * factor]) == pytest.approx(
            relative_error([mine], [right]), rel=1e-3
        )
        assert largest_difference([mine], [right]) == pytest.approx(0.1, rel=1e-3)


@given(arrays)
def test_a_negated_or_shuffled_network_is_far_beyond_the_limit(right: np.ndarray) -> None:
    if np.abs(right).max() > 1e-3:
        assert relative_error([-right], [right]) == pytest.approx(2, rel=1e-3)
        assert relative_error([np.zeros_like(right)], [right]) == pytest.approx(1, rel=1e-3)


def test_rounding_to_the_nearest_step_is_within_the_limit_even_of_tiny_outputs() -> None:
    right = np.full((4, 3), 1e-4, np.float32)
    assert relative_error([np.zeros_like(right)], [right], [1 / 256]) < INT8_LIMIT
    assert relative_error([np.zeros_like(right)], [right]) == 1


def test_what_can_not_be_compared_is_infinitely_far() -> None:
    one, two, bad = np.ones((2, 3)), np.ones((2, 4)), np.full((2, 3), np.nan)
    for measure in (relative_error, largest_difference):
        assert measure([one], [two]) == measure([one], []) == measure([bad], [one]) == math.inf
    assert largest_difference([bad], [bad]) == 0


class Counting(keras.layers.Layer):
    """Counts its calls."""

    def build(self, input_shape: Any) -> None:
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

    def call(self, inputs: Any) -> Any:
        self.calls.assign_add(1.0)
        return inputs


def test_answers_leave_all_of_the_state_as_it_was() -> None:
    inputs = keras.Input((3, 2), batch_size=1)
    model = keras.Model(inputs, keras.layers.GRU(2, stateful=True)(Counting()(inputs)))
    model(np.ones((1, 3, 2), np.float32))
    before = [np.array(one) for one in (model.layers[1].calls, *model.layers[2].states)]
    first = answers(model, [np.ones((1, 3, 2), np.float32)])
    second = answers(model, [np.ones((1, 3, 2), np.float32)])
    for one, other in zip(first.values(), second.values(), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(before, (model.layers[1].calls, *model.layers[2].states), strict=True):
        np.testing.assert_array_equal(one, np.array(other))
