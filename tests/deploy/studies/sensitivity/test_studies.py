"""The three studies: equal product error, thresholds, and layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analognets.conversion import to_analog
from analognets.crossbar import Crossbar, product_error
from analognets.deploy.studies.sensitivity import (
    LayerStudy,
    equal_error_study,
    heat_map,
    layer_figure,
    layer_study,
    relative_sensitivity,
    threshold_study,
)
from analognets.deploy.studies.sensitivity.layer_study import layer_sizes
from analognets.deploy.studies.sensitivity.threshold import Search
from analognets.errors import AnalogNetsError, InvalidArgumentError

Build = Callable[..., keras.Model]
TEST = {"size": 64, "vectors": 60, "chips": 1}


@pytest.fixture(scope="module")
def equal(build: Build, data: Any, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = Path(tmp_path_factory.mktemp("equal_error"))
    settings = {"nonidealities": ["output_noise", "adc_bits", "stuck_at_zero"], "product_test": TEST, "data": data}
    model = build()
    table = equal_error_study(model, folder, target=0.3, chips=3, **settings)
    return SimpleNamespace(table=table.set_index("nonideality"), folder=folder, model=model, settings=settings)


def test_equal_error_raises_each_effect_to_the_same_error(equal: SimpleNamespace, standard: Crossbar) -> None:
    table = equal.table
    assert set(table["status"]) == {"ok"} and set(table["chips"]) == {3}
    assert table["standard_product_error"].nunique() == 1 and table["standard_accuracy"].nunique() == 1
    for name in ("output_noise", "stuck_at_zero"):
        own = product_error(standard.with_strength(name, table.loc[name, "strength"]), at="1h", seed=0, **TEST)
        assert own.error == pytest.approx(0.3, rel=1e-2)
    assert table.loc["output_noise", "standard"] == 0.04 and table.loc["stuck_at_zero", "standard"] == 0.0
    losses = (table["standard_accuracy"] - table["accuracy"]) / (table["standard_accuracy"] - 1 / 3)
    np.testing.assert_allclose(table["loss"], losses, atol=1e-9)
    halves = 4.302653 * table["standard_error"]
    np.testing.assert_allclose(table["loss_high"] - table["loss"], halves, rtol=1e-6)
    np.testing.assert_allclose(table["loss"] - table["loss_low"], halves, rtol=1e-6)


def test_equal_error_goes_on_with_other_effects_and_keeps_what_is_there(equal: SimpleNamespace) -> None:
    points = equal.folder / "chips" / "points"
    before = len(list(points.iterdir()))
    settings = {**equal.settings, "nonidealities": ["output_noise", "ir_drop"]}
    table = equal_error_study(equal.model, equal.folder, target=0.3, chips=3, **settings).set_index("nonideality")
    assert table.loc["output_noise", "loss"] == equal.table.loc["output_noise", "loss"]
    assert len(list(points.iterdir())) == before + 3


def test_effects_that_cannot_reach_the_error_are_named(equal: SimpleNamespace, tmp_path: Path) -> None:
    settings = {**equal.settings, "nonidealities": ["dac_bits", "output_noise"], "target": 0.9}
    table = equal_error_study(equal.model, tmp_path / "a", chips=1, **settings).set_index("nonideality")
    assert table.loc["dac_bits", "status"] == "failed" and "Even 2 dac_bits" in table.loc["dac_bits", "error"]
    assert table.loc["output_noise", "status"] == "ok" and np.isnan(table.loc["dac_bits", "loss"])
    with pytest.raises(AnalogNetsError, match=r"is 1\d\.\d % already"):
        equal_error_study(equal.model, tmp_path / "b", chips=1, **{**settings, "target": 0.05})


@pytest.fixture(scope="module")
def thresholds(build: Build, data: Any, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = Path(tmp_path_factory.mktemp("threshold"))
    values = {"output_noise": [0.1, 0.3, 1.0, 3.0], "adc_bits": [6, 4, 3, 2]}
    settings = {"nonidealities": list(values), "values": values, "level": 0.9, "data": data, "chips": 3}
    model = build()
    table = threshold_study(model, folder, **settings)
    return SimpleNamespace(table=table, folder=folder, model=model, settings=settings)


def test_thresholds_lie_where_accuracy_crosses_the_level(thresholds: SimpleNamespace) -> None:
    scan = pd.read_parquet(thresholds.folder / "threshold_scan.parquet")
    for _, row in thresholds.table.iterrows():
        assert not row["beyond"]
        own = scan[(scan["nonideality"] == row["nonideality"]) | scan["nonideality"].isna()].copy()
        own["value"] = own["value"].fillna(row["standard"])
        own = own.sort_values("value")
        crossing = np.interp(row["threshold"], own["value"], own["relative"])
        assert crossing == pytest.approx(0.9, abs=0.02)


def test_halving_finds_what_the_full_scan_does(thresholds: SimpleNamespace) -> None:
    halved = len(pd.read_parquet(thresholds.folder / "threshold_scan.parquet"))
    full = threshold_study(thresholds.model, thresholds.folder, full=True, **thresholds.settings)
    assert len(pd.read_parquet(thresholds.folder / "threshold_scan.parquet")) > halved
    pd.testing.assert_series_equal(full["threshold"], thresholds.table["threshold"])


def test_what_never_hurts_is_beyond_the_scan(thresholds: SimpleNamespace, tmp_path: Path) -> None:
    scan = {"ir_drop": [1.01, 1.02]}
    settings = {**thresholds.settings, "nonidealities": ["ir_drop"], "values": scan}
    [row] = threshold_study(thresholds.model, tmp_path, **settings).to_dict("records")
    assert row["beyond"] and row["threshold"] == 1.02 and np.isnan(row["standard_error"])
    assert np.isnan(row["low"]) and np.isnan(row["high"])


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=6, unique=True), st.booleans())
def test_relative_sensitivity_is_one_for_the_weakest_and_zero_for_the_toughest(found: list[float], bits: bool) -> None:
    table = pd.DataFrame({"nonideality": "adc_bits" if bits else "ir_drop", "threshold": found})
    values = relative_sensitivity(table)
    assert min(values) == 0 and max(values) == pytest.approx(1)
    weakest = np.argmax(found) if bits else np.argmin(found)
    assert values[weakest] == pytest.approx(1)


def test_relative_sensitivity_of_one_network_is_unknown() -> None:
    assert np.isnan(relative_sensitivity(pd.DataFrame({"nonideality": ["drift"], "threshold": [2.0]}))).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": {"ir_drop": [2.0, 1.5]}}, "must go from weak to strong"),
        ({"values": {"adc_bits": [4, 5]}}, "must go from weak to strong"),
        ({"level": 1.0}, "`level` of threshold_study"),
    ],
)
def test_bad_scans_write_nothing(
    thresholds: SimpleNamespace, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    settings = {**thresholds.settings, "nonidealities": None, "values": None, **changes}
    with pytest.raises(InvalidArgumentError, match=message):
        threshold_study(thresholds.model, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def layers(build: Build, data: Any, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = Path(tmp_path_factory.mktemp("layers"))
    model = build()
    return SimpleNamespace(study=layer_study(model, folder, data=data, chips=2, at="1y"), folder=folder, model=model)


def test_layers_are_ranked_by_what_noise_in_them_costs(layers: SimpleNamespace) -> None:
    ranking = layers.study.ranking
    assert sorted(ranking["layer"]) == ["conv_1", "conv_2", "hidden", "logits"]
    assert list(ranking["rank"]) == [1, 2, 3, 4] and ranking["accuracy"].is_monotonic_increasing
    assert ranking["share"].sum() == pytest.approx(1) and set(ranking["factor"]) == {15.0}
    sizes = {layer: weights for layer, weights in zip(ranking["layer"], ranking["weights"], strict=True)}
    assert sizes == {"conv_1": 9 * 2 * 4, "conv_2": 6 * 4 * 5, "hidden": 5 * 6, "logits": 6 * 3}


def test_exempting_everything_leaves_converters_and_product_noise(layers: SimpleNamespace, data: Any) -> None:
    from analognets.deploy.studies.sensitivity.adjustable import Machine
    from analognets.layers import analog_layers

    exemption = layers.study.exemption
    everything = exemption[exemption["exempt"] == 4].iloc[0]
    none = exemption[exemption["exempt"] == 0].iloc[0]
    assert everything["share"] == pytest.approx(1) and none["share"] == 0
    assert everything["accuracy"] > none["accuracy"], "a year of drift costs more than the converters"
    base = {layer.name: layer.crossbar for layer in analog_layers(layers.model)}
    still = {name: one.with_strength("device_noise", 0.0) for name, one in base.items()}
    outputs = Machine(layers.model, still).predict(data[0], still, chip_seed=0, seconds=3e7)
    assert float((outputs.argmax(-1) == data[1]).mean()) == pytest.approx(everything["accuracy"], abs=0.03)


def test_layers_are_exempted_in_the_order_of_the_ranking(layers: SimpleNamespace) -> None:
    order, exemption = list(layers.study.ranking["layer"]), layers.study.exemption
    for _, row in exemption[exemption["exempt"] > 0].iterrows():
        assert row["layer"] == order[row["exempt"] - 1]
    assert exemption["share"].is_monotonic_increasing
    assert list(exemption["enough"]) == [value >= 0.99 for value in exemption["normalized"]]


def test_pictures_hold_every_cell(
    equal: SimpleNamespace, thresholds: SimpleNamespace, layers: Any, tmp_path: Path
) -> None:
    first = heat_map(equal.table.reset_index(), tmp_path / "one.png")
    assert {text.get_text() for text in first.axes[0].get_yticklabels()} == {
        "output noise",
        "adc bits",
        "stuck at zero",
    }
    assert len(first.axes[0].texts) == 3 and "30 % product error" in first.axes[0].get_title()
    two = pd.concat([thresholds.table, thresholds.table.assign(network="other")], ignore_index=True)
    second = heat_map(two.assign(sensitivity=relative_sensitivity(two)), tmp_path / "two.svg")
    assert len(second.axes[0].texts) == 4
    third = layer_figure(layers.study, tmp_path / "layers.png")
    assert len(third.axes[0].patches) == 4
    assert layers.study.exemption["level"].tolist() == [0.99] * len(layers.study.exemption)
    lower = LayerStudy(layers.study.ranking, layers.study.exemption.assign(level=0.9))
    lines = [line.get_ydata()[0] for line in layer_figure(lower, tmp_path / "lower.png").axes[1].get_lines()]
    assert 90.0 in lines and 99.0 not in lines
    assert isinstance(layers.study, LayerStudy)
    assert all((tmp_path / name).stat().st_size > 5_000 for name in ("one.png", "two.svg", "layers.png"))


def test_there_is_nothing_to_draw_in_an_empty_table(equal: SimpleNamespace) -> None:
    with pytest.raises(InvalidArgumentError, match="nothing to draw"):
        heat_map(equal.table.reset_index().iloc[:0])


def test_zeros_of_depthwise_layers_are_no_weights() -> None:
    net = keras.Sequential(
        [keras.Input((8, 8, 16)), keras.layers.DepthwiseConv2D(3, name="dw"), keras.layers.Conv2D(16, 1, name="pw")]
    )
    assert layer_sizes(to_analog(net, "aon_cim_8bit")) == {"dw": 9 * 16, "pw": 16 * 16}


@pytest.mark.parametrize("count", [2, 5])
def test_the_error_of_a_threshold_is_that_of_a_mean_of_chips(count: int) -> None:
    rng = np.random.default_rng(0)
    search = object.__new__(Search)
    search.level, search.classes, search.study = 0.95, {"n": 10}, SimpleNamespace(settings={"seed": 1})
    after = 0.85 + rng.normal(0, 0.003, count)
    search.accuracies = {
        ("n", None, None): np.full(count, 0.95), ("n", "e", 1.0): np.full(count, 0.95), ("n", "e", 2.0): after,
    }  # fmt: skip
    _, error = search.crossing("n", ("n", "e", 1.0), 1.0, ("n", "e", 2.0), 2.0)
    slope = 0.05 * 0.85 / 0.1**2  # of x* = 1 + 0.05 (0.95 - 0.1) / (0.95 - mean) at a mean of 0.85
    assert error == pytest.approx(slope * after.std(ddof=1) / count**0.5, rel=0.12)
