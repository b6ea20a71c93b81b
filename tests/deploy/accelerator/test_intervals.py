"""Ranges of energies: they hold the point, keep to fitted figures, shrink with each figure; HERMES's is 5.6 to 18.6."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from analognets.deploy.accelerator import Accelerator, LayerWork, Workload, adabs_cost, cost, load_accelerator
from analognets.deploy.accelerator.calibration import Observation, calibrate_energy
from analognets.deploy.accelerator.energy import TERMS
from analognets.deploy.accelerator.intervals import ConstantSet
from analognets.errors import InvalidArgumentError


def with_energy(chip: Accelerator, **values: float) -> Accelerator:
    energy = chip.model_dump()["energy"]
    for name, value in values.items():
        energy[name]["value"] = value
    return chip.replace(energy=energy)


@pytest.fixture(scope="module")
def full(product: Callable[..., LayerWork]) -> Callable[[int, int], Workload]:
    return lambda rows, cols: Workload("full array", (product("full array", rows, cols),))


def test_hermes_from_the_constants_of_aon_cim(aon_cim: Accelerator, full: Callable[..., Workload]) -> None:
    core = aon_cim.replace(array={"rows": 256, "cols": 256}, adcs=256)
    found = cost(full(256, 256), core, bits=8)
    assert found.energy_status == "predicted"
    assert found.tops_per_watt_range == pytest.approx((5.563, 18.565), abs=2e-3)
    assert "9 published figures (4 verified) within 3 % give 5.56 to 18.6 TOPS/W" in found.energy_statement


@pytest.mark.parametrize("name", ["aon_cim", "tiles_256", "hermes"])
def test_ranges_hold_the_point_and_add_up(name: str, kws: Workload, vww: Workload) -> None:
    for work, bits in ((kws, 8), (vww, 5))[: 1 + (name == "hermes")]:
        found = cost(work, name, bits=bits)
        data = found.to_dict()
        for figure in ("energy{}_uj", "power{}_mw", "tops_per_watt{}"):
            assert data[figure.format("_low")] <= data[figure.format("")] <= data[figure.format("_high")]
        layers = data["layers"]
        assert all(one["energy_low_uj"] <= one["energy_uj"] <= one["energy_high_uj"] for one in layers)
        assert sum(one["energy_low_uj"] for one in layers) <= data["energy_low_uj"] * (1 + 1e-9), "not all at once"
        assert sum(one["energy_high_uj"] for one in layers) >= data["energy_high_uj"] * (1 - 1e-9)
        terms, ends = data["energy_terms_uj"], data["energy_terms_range_uj"]
        assert all(ends[term][0] <= value <= ends[term][1] for term, value in terms.items())
        assert cost(work, name, bits=bits).to_dict() == data, "no chance is in it"


def test_fitted_figures_stay_inside_their_precision(
    kws: Workload, vww: Workload, full: Callable[..., Workload]
) -> None:
    chip = load_accelerator("aon_cim")
    works = {"analognet_kws": kws, "analognet_vww": vww, "full array": full(1024, 512)}
    for figure in chip.held_to:
        found = cost(works[figure.name], chip, bits=figure.bits)
        assert found.fitted_to == figure, "packaged events: run python -m benchmarks.calibrate_energy --write"
        assert found.energy_status == "fitted" and f"fitted to {figure} ({figure.status})" in found.energy_statement
        low, high = found.tops_per_watt_range or (0.0, 0.0)
        assert figure.tops_per_watt * (1 - figure.precision) <= low * (1 + 1e-6)
        assert high <= figure.tops_per_watt * (1 + figure.precision) * (1 + 1e-6)
    assert cost(kws, chip, bits=7).fitted_to is None
    core = cost(full(256, 256), "hermes", bits=8)
    assert core.fitted_to is not None and core.fitted_to.tops_per_watt == 10.5
    low, high = core.tops_per_watt_range or (0.0, 0.0)
    assert 10.5 * 0.97 <= low * (1 + 1e-6) < 10.5 < high <= 10.5 * 1.03 * (1 + 1e-6)


def test_the_bounds_are_those_of_random_constants_of_the_set(vww: Workload) -> None:
    chip = load_accelerator("aon_cim")
    known, found = ConstantSet(chip), cost(vww, "tiles_256", bits=8)
    own = np.array([getattr(chip.energy, term).value for term in TERMS])
    rng = np.random.default_rng(0)
    tried = own * np.exp(rng.normal(0, 0.3, (4000, len(TERMS))) * rng.uniform(0, 1, (4000, 1)))
    tried[:, list(TERMS).index("mac")] = own[-1]
    rows = np.array([[figure.events.get(term, 0.0) for term in TERMS] for figure in chip.held_to])
    ends = np.array([figure.energy_pj for figure in chip.held_to])
    inside = ((tried @ rows.T >= ends[:, 0]) & (tried @ rows.T <= ends[:, 1])).all(axis=1)
    assert inside.sum() > 20
    energies = tried[inside] @ np.array([found.events[term] for term in TERMS])
    low, high = known.bounds_pj(found.events) or (0.0, 0.0)
    assert low <= energies.min() < energies.max() <= high


def test_a_range_shrinks_with_each_figure(aon_cim: Accelerator, product: Callable[..., LayerWork]) -> None:
    sizes = [(30, 20, 50), (1000, 100, 5), (500, 10, 9), (64, 128, 3), (900, 300, 4), (200, 40, 30), (10, 500, 2)]
    models = [Workload(f"m{rows}", (product("l", rows, cols, positions=count),)) for rows, cols, count in sizes]
    seen = [Observation(m.model, m, bits, cost(m, aon_cim, bits=bits).tops_per_watt) for m in models for bits in (8, 4)]
    held = calibrate_energy(aon_cim, seen).accelerator
    work = Workload("other", (product("l", 300, 64, positions=40),))
    widths = []
    for count in range(1, len(seen) + 1):
        low, high = cost(work, held.replace(held_to=held.held_to[:count]), bits=8).energy_range_uj or (0.0, 0.0)
        widths.append(high - low)
    assert all(after <= before * (1 + 1e-9) for before, after in zip(widths, widths[1:], strict=False))
    assert widths[-1] < widths[0] / 5
    sharp = [Observation(m.model, m, 8, cost(m, aon_cim, bits=8).tops_per_watt, precision=1e-3) for m in models]
    low, high = cost(work, calibrate_energy(aon_cim, sharp).accelerator, bits=8).energy_range_uj or (0.0, 0.0)
    assert high - low < widths[-1] / 3


def test_where_no_range_is_known(kws: Workload, aon_cim: Accelerator) -> None:
    for chip, reason in (
        (aon_cim.replace(held_to=[]), "names no published figures"),
        (
            with_energy(aon_cim, adc=500.0),
            "where 8.58 TOPS/W of analognet_kws at 8 bit is published, beyond its precision",
        ),
        (
            with_energy(load_accelerator("hermes"), **dict.fromkeys(TERMS, 0.0) | {"result": 48.76}),
            "in no proportion that its scaled figures allow",
        ),
    ):
        found = cost(kws, chip, bits=8)
        assert (found.energy_status, found.energy_range_uj, found.tops_per_watt_range) == ("unknown", None, None)
        assert reason in found.energy_statement
        data = found.to_dict()
        assert data["energy_low_uj"] is None and data["layers"][0]["energy_high_uj"] is None
        assert " to " not in str(found).split("\n")[2]


def test_what_no_figure_counts_stays_at_its_constant(aon_cim: Accelerator, product: Callable[..., LayerWork]) -> None:
    digital = Workload(
        "d", (product("l", 30, 20, positions=5), product("deep", 9, 20, positions=5, why_digital="for a test"))
    )
    found = cost(digital, aon_cim, bits=8)
    assert "No published figure counts digital products" in found.energy_statement
    ends = found.ranges()["energy_terms_range_uj"]["mac"]
    assert ends == pytest.approx((found.energy_terms_uj["mac"],) * 2)


def test_adabs_has_a_range() -> None:
    import keras

    layers: list[Any] = [keras.layers.Conv1D(4, 3), keras.layers.BatchNormalization(), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((16, 3)), *layers, keras.layers.Dense(2)])
    found = adabs_cost(model)
    low, high = found.energy_range_uj or (0.0, 0.0)
    assert 0 < low < found.energy_uj < high and f"uJ ({low:.3g} to {high:.3g})" in str(found)


def test_an_observation_has_a_precision(aon_cim: Accelerator, kws: Workload) -> None:
    seen: list[Any] = [Observation("m", kws, 8, 8.5, precision=precision) for precision in (0.0,)]
    with pytest.raises(InvalidArgumentError, match="The observation 'm' is not valid.*precision"):
        calibrate_energy(aon_cim, seen, free=["row"])
