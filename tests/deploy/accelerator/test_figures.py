"""Pictures: every block is drawn once, and the conductance map holds what was programmed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from analognets.deploy.accelerator import cost, place
from analognets.deploy.accelerator.figures import (
    conductance_figure,
    conductance_map,
    energy_figure,
    floorplan_figure,
    timeline_figure,
)
from analognets.deploy.chips.chips import Chips, program
from analognets.errors import ConversionError, InvalidArgumentError


@pytest.fixture(scope="module")
def chips(make: Callable[..., Any]) -> Chips:
    return program(make(), chips=2, seed=1)


def test_the_map_holds_each_weight_at_its_place(chips: Chips, aon_cim: Any) -> None:
    tiles = aon_cim.replace(array={"rows": 12, "cols": 5}, adcs=2)
    placement = place(chips.model, tiles)
    assert placement.arrays > 1
    cells = conductance_map(placement, chips, chip=1, at="1h")
    assert cells.shape == (placement.arrays, 12, 5)
    assert np.isfinite(cells).sum() == placement.cells
    reads = chips.chips[1].read(chips.layers, "1h")
    for layer, read, stored in zip(chips.layers, reads, chips.chips[1].layers, strict=True):
        values = np.asarray(read.kernel) * layer.crossbar.device.g_max / stored.weight_max
        found = [
            cells[b.array, b.row : b.row + b.rows, b.col : b.col + b.cols].ravel() for b in placement.of(layer.name)
        ]
        np.testing.assert_allclose(np.sort(np.concatenate(found)), np.sort(values.ravel()), rtol=1e-6)
        first = placement.of(layer.name)[0]
        assert cells[first.array, first.row, first.col] == pytest.approx(
            values.reshape(-1, *values.shape[-2:])[0, 0, 0]
        )


def test_figures_are_written(chips: Chips, tmp_path: Path) -> None:
    of_model = cost(chips.model)
    floor = floorplan_figure(of_model.placement, tmp_path / "floor.png")
    drawn = [patch for patch in floor.axes[0].patches if isinstance(patch, Rectangle)]
    assert [(p.get_x(), p.get_y(), p.get_width(), p.get_height()) for p in drawn] == [
        (b.col, b.row, b.cols, b.rows) for b in of_model.placement.blocks
    ]
    timeline = timeline_figure(of_model, tmp_path / "time.svg")
    bars = [patch for patch in timeline.axes[0].patches if isinstance(patch, Rectangle)]
    assert max(bar.get_x() + bar.get_width() for bar in bars) == pytest.approx(of_model.latency_us)
    energy = energy_figure(of_model, tmp_path / "energy.png")
    assert sum(patch.get_width() for patch in energy.axes[0].patches) == pytest.approx(of_model.energy_uj)
    conductance_figure(of_model.placement, chips, tmp_path / "map.png", at="1d")
    assert {path.name for path in tmp_path.iterdir()} == {"floor.png", "time.svg", "energy.png", "map.png"}


def test_maps_of_another_model_are_refused(chips: Chips, kws: Any) -> None:
    with pytest.raises(ConversionError, match="layer 'conv_1' of shape .* is of shape .* there"):
        conductance_map(place(kws), chips)
    with pytest.raises(InvalidArgumentError, match="`chip` of conductance_map must be a whole number from 0 to 1"):
        conductance_map(place(chips.model), chips, chip=2)
