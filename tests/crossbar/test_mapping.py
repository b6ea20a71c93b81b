"""Weights become conductances and come back; tiles cover each weight once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from analognets.crossbar import Tiling, conductances_to_weights, matrix_shape, weights_to_conductances
from analognets.errors import ConversionError

QUICK = settings(max_examples=80, deadline=None)
WEIGHTS = st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=40).map(lambda x: np.array(x, np.float32))
SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 40), st.integers(1, 40))


@QUICK
@given(WEIGHTS, st.floats(1e-3, 1e3), st.sampled_from([10.35, 20.7, 25.0]))
def test_round_trip_through_a_differential_pair(weights: np.ndarray, weight_max: float, g_max: float) -> None:
    weights = weights / 3 * np.float32(weight_max)
    pair = ops.convert_to_numpy(weights_to_conductances(weights, weight_max, g_max))
    assert pair.shape == (2, *weights.shape)
    assert pair.min() >= 0 and pair.max() <= np.float32(g_max)
    assert np.all(np.min(pair, axis=0) == 0), "one device of each pair must be at 0"
    back = ops.convert_to_numpy(conductances_to_weights(pair, weight_max, g_max))
    np.testing.assert_allclose(back, weights, rtol=1e-5, atol=1e-6 * weight_max)


def test_weights_beyond_the_range_are_clipped() -> None:
    pair = ops.convert_to_numpy(weights_to_conductances(np.array([-2.0, 0.5, 9.0], np.float32), 1.0, 25.0))
    np.testing.assert_allclose(pair, [[0, 12.5, 25], [25, 0, 0]])


@QUICK
@given(SHAPES, st.integers(1, 60), st.integers(1, 20))
def test_tiles_cover_each_weight_once_and_fit(shape: tuple[int, ...], rows: int, cols: int) -> None:
    positions = shape[0] * shape[1]
    if positions > rows:
        with pytest.raises(ConversionError, match=f"needs {positions} rows for one input channel, a tile has {rows}"):
            Tiling(shape, rows, cols)
        return
    tiling = Tiling(shape, rows, cols)
    covered = np.zeros(shape, int)
    for _, _, (inputs, outputs) in tiling.blocks():
        tile = covered[..., inputs, outputs]
        tile_rows, tile_cols = matrix_shape(tile.shape)
        assert 0 < tile_rows <= rows and 0 < tile_cols <= cols
        covered[..., inputs, outputs] += 1
    assert np.all(covered == 1)
    fewest = -(-shape[2] // (rows // positions)), -(-shape[3] // cols)
    assert tiling.shape == fewest


def test_expand_gives_each_weight_the_number_of_its_tile() -> None:
    tiling = Tiling((3, 3, 10, 7), 9 * 4, 3)
    numbers = np.arange(np.prod(tiling.shape)).reshape(tiling.shape)
    spread = tiling.expand(numbers)
    assert spread.shape == (10, 7)
    for i, j, (inputs, outputs) in tiling.blocks():
        assert np.all(spread[inputs, outputs] == numbers[i, j])


def test_a_vector_kernel_is_a_matrix_of_rows_and_columns() -> None:
    assert matrix_shape((10, 4, 1, 84)) == (40, 84)
    assert matrix_shape((84, 12)) == (84, 12)
    assert Tiling((84, 12), 1024, 512).shape == (1, 1)
