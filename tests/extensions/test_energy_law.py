"""An accelerator whose energy follows another law, from outside the package: every activated row costs the same."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from analognets.core.config import write_yaml
from analognets.deploy.accelerator import (
    EnergyLaw,
    LayerWork,
    Workload,
    cost,
    load_accelerator,
    register_energy_law,
)
from analognets.deploy.accelerator.calibration import calibrate_energy
from analognets.deploy.accelerator.constants import Picojoule
from analognets.deploy.accelerator.figures import energy_figure
from analognets.errors import InvalidArgumentError, UnknownNameError

ROW = {"value": 5.0, "unit": "pJ", "origin": "a measurement of ours", "status": "verified"}
WORK = Workload("one", (LayerWork("l", "Conv2D", (9, 10, 200), 18_000, 6, 30, 1, 1),))


@register_energy_law("activated_rows")
class RowEnergy(EnergyLaw):
    """Each row that a pass drives costs `row`, and each pass twice as much again for its decoder."""

    row: Picojoule
    labels: ClassVar[Mapping[str, str]] = {"row": "activated rows", "decoder": "row decoder"}

    def energy(self, layer: Any, time: Any, placement: Any, bits: int) -> dict[str, float]:
        adcs = placement.accelerator.adcs
        rows = sum(block.rows * math.ceil(block.cols / adcs) for block in placement.of(layer.name))
        return {"row": layer.positions * rows * self.row.value, "decoder": 2 * time.passes * self.row.value}


@pytest.fixture
def chip() -> Any:
    return load_accelerator("aon_cim").replace(name="by_rows", energy=RowEnergy(row=ROW))


def test_the_cost_follows_the_law(chip: Any) -> None:
    found = cost(WORK, chip, bits=6)
    passes = 6 * 2  # 200 columns are two passes of 128 ADCs
    assert found.layers[0].energy_pj == {"row": 90 * passes * 5.0, "decoder": 2 * passes * 5.0}
    assert found.energy_terms_uj == pytest.approx({"row": 5.4e-3, "decoder": 1.2e-4})
    assert found.latency_us == cost(WORK, "aon_cim", bits=6).latency_us
    data = json.loads(json.dumps(found.to_dict()))
    assert data["constants"]["energy.row"]["unit"] == "pJ" and data["layers"][0]["decoder_uj"] == pytest.approx(1.2e-4)
    assert found.origin == "Energy by the status of its constants: 98 % verified, 2 % assumption."
    labels = [text.get_text() for text in energy_figure(found).legends[0].get_texts()]
    assert labels == ["activated rows (verified)", "row decoder (assumption)"]


def test_a_changed_copy_keeps_the_law(chip: Any) -> None:
    assert chip.replace(arrays=4).energy == chip.energy
    assert load_accelerator("aon_cim").replace(arrays=4).energy == load_accelerator("aon_cim").energy


def test_a_file_names_the_law(chip: Any, tmp_path: Path) -> None:
    data = chip.model_dump()
    assert data["energy"] == {"law": "activated_rows", "row": ROW}
    path = tmp_path / "by_rows.yaml"
    path.write_text(write_yaml(data), "utf-8")
    assert load_accelerator(path) == chip
    path.write_text(write_yaml({**data, "energy": {"law": "activated_rows", "column": ROW}}), "utf-8")
    with pytest.raises(InvalidArgumentError, match="`row` is missing"):
        load_accelerator(path)
    path.write_text(write_yaml({**data, "energy": {"law": "os.path"}}), "utf-8")
    with pytest.raises(UnknownNameError, match="Unknown energy law.*activated_rows"):
        load_accelerator(path)


def test_what_is_no_law_and_what_can_not_be_calibrated(chip: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="derived from EnergyLaw. Received: <class 'int'>"):
        register_energy_law("number")(int)
    with pytest.raises(InvalidArgumentError, match="must be an EventEnergy to be calibrated. Received: RowEnergy"):
        calibrate_energy(chip, [])
