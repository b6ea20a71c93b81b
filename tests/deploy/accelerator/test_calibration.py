"""Energy constants from published totals: known ones are found again, and the packaged ones are what is found."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from analognets.deploy.accelerator import Accelerator, LayerWork, Workload, cost
from analognets.deploy.accelerator.calibration import FREE, Observation, calibrate_energy
from analognets.errors import InvalidArgumentError

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "calibrate_energy.py"


def test_known_constants_are_found_again(aon_cim: Accelerator, product: Callable[..., LayerWork]) -> None:
    sizes = [(30, 20, 50), (1000, 100, 5), (500, 10, 9), (64, 128, 3), (900, 300, 4)]
    models = [Workload(f"m{rows}", (product("l", rows, cols, positions=count),)) for rows, cols, count in sizes]
    energy = aon_cim.model_dump()["energy"]
    truth = {"static": 5.0, "row": 40.0, "adc": 300.0, "control": 20.0, "result": 3.0}
    for name, value in truth.items():
        energy[name]["value"] = value
    real = aon_cim.replace(energy=energy)
    seen = [Observation(m.model, m, bits, cost(m, real, bits=bits).tops_per_watt) for m in models for bits in (8, 4)]
    found = calibrate_energy(aon_cim, seen, origin="a made-up chip, for a test")
    for name, value in truth.items():
        constant = getattr(found.accelerator.energy, name)
        assert constant.value == pytest.approx(value, rel=1e-3)
        assert (constant.origin, constant.status) == ("a made-up chip, for a test", "calibrated")
    assert found.largest < 1e-4
    assert found.accelerator.energy.cell == aon_cim.energy.cell


def test_too_few_observations_and_impossible_ones(aon_cim: Accelerator, product: Callable[..., LayerWork]) -> None:
    work = Workload("m", (product("l", 100, 20, positions=5),))
    with pytest.raises(InvalidArgumentError, match="A calibration of 5 constants needs as many observations"):
        calibrate_energy(aon_cim, [Observation("m", work, 8, 1.0)])
    with pytest.raises(InvalidArgumentError, match="alone exceed the energy published for m at 8 bit"):
        calibrate_energy(aon_cim, [Observation("m", work, 8, 1e6)], free=["row"])
    with pytest.raises(InvalidArgumentError, match="`free` of calibrate_energy must be one of 'static'"):
        calibrate_energy(aon_cim, [Observation("m", work, 8, 1.0)], free=["rows"])


@pytest.mark.skipif(not SCRIPT.is_file(), reason="needs the checkout: benchmarks are not installed")
def test_packaged_constants_are_what_the_script_finds(aon_cim: Accelerator, kws: Workload, vww: Workload) -> None:
    spec = importlib.util.spec_from_file_location("calibrate_energy_script", SCRIPT)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    result = script.calibrate({"analognet_kws": kws, "analognet_vww": vww})
    for term in FREE:
        assert getattr(result.accelerator.energy, term).value == pytest.approx(
            getattr(aon_cim.energy, term).value, rel=1e-3
        ), "run: python -m benchmarks.calibrate_energy --write"
    assert result.largest < 0.03


def test_the_results_file_is_of_this_model(kws: Workload, vww: Workload) -> None:
    path = SCRIPT.parents[1] / "results" / "accelerator_paper.json"
    if not path.is_file():
        pytest.skip("needs the checkout: results is not installed")
    comparison = json.loads(path.read_text("utf-8"))["comparison"]
    for name, work in (("analognet_kws", kws), ("analognet_vww", vww)):
        rows = [row for row in comparison[name] if row["quantity"] == "TOPS/W (arXiv)"]
        assert [row["bits"] for row in rows] == [8, 6, 4]
        for row in rows:
            ours = cost(work, bits=row["bits"]).tops_per_watt
            assert row["ours"] == pytest.approx(ours, rel=1e-6), "run: python -m benchmarks.accelerator_paper --write"
            assert row["error"] == pytest.approx(ours / row["paper"] - 1, abs=1e-6)
