"""Where weights lie: all of them, once, nowhere on top of each other."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets.deploy.accelerator import Accelerator, LayerWork, Placement, Workload, load_accelerator, place
from analognets.errors import ConversionError, InvalidArgumentError

AON_CIM = load_accelerator("aon_cim")
kernels = st.lists(
    st.tuples(st.sampled_from([1, 3, 9]), st.integers(1, 24), st.integers(1, 60)), min_size=1, max_size=8
)


def small(rows: int, cols: int, adcs: int, **changes: Any) -> Accelerator:
    return AON_CIM.replace(array={"rows": rows, "cols": cols}, adcs=adcs, **changes)


def layer(name: str, kernel: tuple[int, ...], positions: int = 1) -> LayerWork:
    return LayerWork(name, "Dense", kernel, math.prod(kernel), positions, 1, 1, 1)


def check(placement: Placement) -> None:
    """Every block inside its array, no two on one another, every weight in exactly one block."""
    rows, cols = placement.accelerator.array.rows, placement.accelerator.array.cols
    taken = np.zeros((placement.arrays, rows, cols), int)
    for block in placement.blocks:
        assert 0 <= block.row <= rows - block.rows and 0 <= block.col <= cols - block.cols
        taken[block.array, block.row : block.row + block.rows, block.col : block.col + block.cols] += 1
    assert taken.max() == 1
    assert taken.any(axis=(1, 2)).all(), "an array without a block"
    assert taken.sum() == placement.cells
    for work in placement.workload.analog:
        held = np.zeros(work.kernel[-2:], int)
        for block in placement.of(work.name):
            held[slice(*block.inputs), slice(*block.outputs)] += 1
            assert block.rows == math.prod(work.kernel[:-2]) * (block.inputs[1] - block.inputs[0])
        assert (held == 1).all()
        assert sum(block.cells for block in placement.of(work.name)) == work.rows * work.cols


@settings(max_examples=30, deadline=None)
@given(kernels, st.integers(30, 80), st.integers(20, 80), st.data())
def test_every_weight_lies_in_one_place(
    shapes: list[tuple[int, ...]], rows: int, cols: int, data: st.DataObject
) -> None:
    adcs = data.draw(st.integers(1, cols))
    chip = small(
        rows,
        cols,
        adcs,
        arrays=data.draw(st.integers(1, 20)),
        arrays_at_once=data.draw(st.sampled_from(["one", "all"])),
    )
    work = Workload("random", tuple(layer(f"l{number}", shape) for number, shape in enumerate(shapes)))
    placement = place(work, chip)
    check(placement)
    assert placement.arrays >= math.ceil(sum(math.prod(shape) for shape in shapes) / (rows * cols))
    assert place(work, chip) == placement


def test_analognet_kws_by_hand(kws: Workload) -> None:
    placement = place(kws, "aon_cim")
    check(placement)
    table = placement.table().set_index("layer")
    assert table[["rows", "cols", "positions", "passes"]].to_numpy().tolist() == [
        [40, 84, 490, 490],
        [756, 112, 125, 125],
        [1008, 84, 125, 125],
        [756, 84, 125, 125],
        [756, 84, 125, 125],
        [84, 12, 1, 1],
    ]
    assert placement.total_passes == 991
    assert placement.utilisation == placement.effective_utilisation == 300_720 / 524_288
    assert table["utilisation"].sum() == pytest.approx(placement.utilisation)
    assert placement.fits and placement.arrays == 1
    assert placement.statement == "6 layers lie on 1 array of 1024 x 512 cells of 'aon_cim'."


def test_analognet_vww_fits_one_array(vww: Workload) -> None:
    placement = place(vww, "aon_cim")
    check(placement)
    assert placement.arrays == 1
    assert placement.utilisation == pytest.approx(0.675, abs=0.005)


@pytest.mark.parametrize(
    ("kernel", "blocks", "passes"),
    [
        ((100, 40), 1, 1),  # 40 columns in one pass of 40 ADCs
        ((100, 41), 1, 2),
        ((101, 40), 2, 2),  # too tall by a row: two blocks
        ((3, 50, 90), 2, 6),  # 33 channels of 3 rows a block; 90 columns are three passes
    ],
)
def test_passes_are_positions_times_converter_groups_of_all_blocks(
    kernel: tuple[int, ...], blocks: int, passes: int
) -> None:
    placement = place(Workload("one", (layer("l", kernel, positions=7),)), small(100, 100, 40))
    assert placement.statement.startswith("1 layer lies on ")
    assert len(placement.blocks) == blocks
    assert placement.total_passes == 7 * passes


def test_strips_of_the_converters_width_never_cost_a_pass() -> None:
    for shapes in itertools.product([(90, 55), (60, 100), (30, 70)], repeat=3):
        work = Workload("strips", tuple(layer(f"l{number}", shape) for number, shape in enumerate(shapes)))
        placement = place(work, small(100, 100, 40))
        assert placement.total_passes == sum(math.ceil(cols / 40) for _, cols in shapes)
        check(placement)


def test_what_does_not_fit_goes_to_further_arrays_and_is_said(product: Callable[..., LayerWork]) -> None:
    work = Workload("large", (product("wide", 1024, 700), product("other", 1000, 400)))
    placement = place(work, "aon_cim")
    check(placement)
    assert placement.arrays == 3
    assert not placement.fits
    assert "2 more would be needed" in placement.statement
    assert "wide (" in placement.statement
    assert place(work, AON_CIM.replace(arrays=3)).fits


def test_depthwise_cells_are_mostly_zeros() -> None:
    import keras

    model = keras.Sequential(
        [keras.Input((8, 8, 40)), keras.layers.DepthwiseConv2D(3, name="dw"), keras.layers.Conv2D(4, 1)]
    )
    placement = place(model, "aon_cim")
    cells, weights = 9 * 40 * 40 + 160, 9 * 40 + 160
    assert (placement.cells, placement.weights) == (cells, weights)
    assert placement.effective_utilisation == pytest.approx(placement.utilisation * weights / cells)
    digital = place(model, "aon_cim", depthwise="digital")
    assert digital.cells == digital.weights == 160
    assert "Digital (depthwise layers are left digital): dw." in digital.statement
    assert digital.of("dw") == ()


def test_a_layer_too_tall_for_any_array_is_digital(product: Callable[..., LayerWork]) -> None:
    work = Workload("tall", (product("window", 101, 1, 4), product("fits", 50, 4)))
    placement = place(work, small(100, 100, 40))
    assert [item.name for item in placement.workload.digital] == ["window"]
    assert "more than the 100 rows" in placement.statement
    with pytest.raises(ConversionError, match="no layer left for the arrays of 'aon_cim'"):
        place(dataclasses.replace(work, layers=work.layers[:1]), small(100, 100, 40))


def test_arrays_that_work_at_once_share_out_the_blocks_of_a_layer(product: Callable[..., LayerWork]) -> None:
    work = Workload("shared out", (product("a", 400, 50), product("b", 200, 50)))
    placement = place(work, small(100, 100, 50, arrays=4, arrays_at_once="all"))
    check(placement)
    assert len({block.array for block in placement.of("a")}) == 4
    assert len({block.array for block in placement.of("b")}) == 2


def test_plain_data_and_text(kws: Workload) -> None:
    placement = place(kws, "aon_cim")
    data = placement.to_dict()
    assert sum(block["rows"] * block["cols"] for block in data["blocks"]) == data["cells"]
    assert "57.4 % of the cells in use" in str(placement)


@pytest.mark.parametrize("settings", [{"depthwise": "digital"}, {"digital": ["conv_1"]}, {"input_shape": (49, 10, 1)}])
def test_a_workload_has_its_settings_already(kws: Workload, settings: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"was made with its settings. Received: depthwise="):
        place(kws, "aon_cim", **settings)
