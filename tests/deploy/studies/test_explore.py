"""Exploring chips: what changes with bits, arrays and ADCs, the Pareto front, and its picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import PathCollection

from analognets.conversion import to_analog
from analognets.deploy.accelerator import cost, workload
from analognets.deploy.studies import explore as exploration
from analognets.deploy.studies.compare import known_cost
from analognets.deploy.studies.explore import Costs, check_options, explore, finished, pareto_front
from analognets.deploy.studies.explore_figures import label_of, pareto_figure
from analognets.deploy.studies.other_hardware import hardware_with, on_hardware
from analognets.errors import ConversionError, InvalidArgumentError
from analognets.layers import analog_layers, set_hardware
from analognets.zoo.trained import TrainedNetwork


def rows_of(*values: tuple[float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(values, columns=["accuracy", "tops_per_watt", "area_mm2"])


def test_pareto_front_of_known_points() -> None:
    table = rows_of((0.9, 8, 3), (0.8, 60, 3), (0.7, 50, 3), (0.9, 8, 4), (0.7, 5, 1), (math.nan, 99, 0))
    assert pareto_front(table) == [True, True, False, False, True, False]
    assert pareto_front(table, {"accuracy": 1}) == [True, False, False, True, False, False]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12))
def test_every_point_is_on_the_front_or_beaten_by_one_that_is(points: list[tuple[int, int, int]]) -> None:
    table = rows_of(*points)
    front = pareto_front(table)
    assert any(front)
    for point, on_front in zip(points, front, strict=True):
        beaten = [
            other
            for other, good in zip(points, front, strict=True)
            if good and other[0] >= point[0] and other[1] >= point[1] and other[2] <= point[2] and other != point
        ]
        assert bool(beaten) != on_front


def point(bits: int = 8, rows: int = 1024, cols: int = 512) -> dict[str, int]:
    return {"bits": bits, "rows": rows, "cols": cols}


def mapped(model: keras.Model, point: dict[str, int], samples: np.ndarray) -> tuple[keras.Model, str]:
    return on_hardware(model, hardware_with(model, **point), samples)


def test_the_same_chip_is_the_trained_model_itself(make: Any, samples: np.ndarray) -> None:
    model = make("pcm")
    assert mapped(model, point(), samples) == (model, "trained")


def test_other_columns_keep_the_trained_ranges_and_outputs(make: Any, samples: np.ndarray) -> None:
    model = make("pcm")
    made, ranges = mapped(model, point(cols=3), samples)
    assert ranges == "trained"
    assert analog_layers(made)[0].tiling.shape == (1, 2)
    np.testing.assert_array_equal(made.predict(samples, verbose=0), model.predict(samples, verbose=0))


def test_other_rows_or_bits_are_calibrated_anew_with_the_same_weights(make: Any, samples: np.ndarray) -> None:
    model = make("pcm")
    labels = model.predict(samples, verbose=0)
    errors = []
    for settings_ in (point(rows=20), point(bits=4)):
        made, ranges = mapped(model, settings_, samples)
        assert ranges == "calibrated anew"
        for old, new in zip(analog_layers(model), analog_layers(made), strict=True):
            np.testing.assert_array_equal(old.crossbar_kernel(), new.crossbar_kernel())
            assert float(new.weight_range()) == pytest.approx(float(old.weight_range()))
            assert new.crossbar.adc_bits == settings_["bits"]
        errors.append(float(np.abs(made.predict(samples, verbose=0) - labels).mean()))
    assert analog_layers(mapped(model, point(rows=20), samples)[0])[1].tiling.shape[0] == 2
    assert errors[0] < 0.3 * errors[1], "four bits cost more than split rows at eight"


def test_ranges_are_kept_on_request(make: Any, samples: np.ndarray) -> None:
    model = make("pcm")
    made, ranges = on_hardware(model, hardware_with(model, 4), ranges="kept")
    assert ranges == "trained"
    twin = make("pcm")
    for old, new in zip(analog_layers(twin), analog_layers(made), strict=True):
        assert (float(new.input_range), float(new.adc_range())) == (float(old.input_range), float(old.adc_range()))
        old.crossbar = old.crossbar.replace(dac_bits=4, adc_bits=4)
    np.testing.assert_array_equal(made.predict(samples, verbose=0), twin.predict(samples, verbose=0))
    with pytest.raises(InvalidArgumentError, match="`ranges` of on_hardware must be one of 'calibrated', 'kept'"):
        on_hardware(model, hardware_with(model, 4), ranges="trained")
    with pytest.raises(InvalidArgumentError, match="can be set only on data"):
        on_hardware(model, hardware_with(model, 4))


def test_ranges_of_each_tile_and_column_follow(make: Any, samples: np.ndarray) -> None:
    model = make("pcm", weight_scale="column", input_range="tile")
    made, _ = on_hardware(model, hardware_with(model, 6), samples)
    for old, new in zip(analog_layers(model), analog_layers(made), strict=True):
        np.testing.assert_array_equal(old.weight_range(), new.weight_range())
    made, _ = on_hardware(model, hardware_with(model, 8, rows=20), samples)
    assert made.predict(samples, verbose=0).shape == model.predict(samples, verbose=0).shape
    with pytest.raises(ConversionError, match="can't be kept"):
        on_hardware(model, hardware_with(model, 8, rows=20), ranges="kept")


def test_dac_follows_the_adc(make: Any) -> None:
    assert hardware_with(make("pcm", dac_bits=9, adc_bits=8), **point(bits=5)).dac_bits == 6


def network(model: keras.Model) -> TrainedNetwork:
    return TrainedNetwork("net", lambda: model, "source")


def test_costs_of_variants(make: Any) -> None:
    net = network(make("pcm"))
    costs = Costs([net], "aon_cim")
    base = costs.of(net, point(), 128)
    assert costs.of(net, point(bits=4), 128)["tops_per_watt"] > base["tops_per_watt"]
    assert costs.of(net, point(), 2)["inferences_per_second"] < base["inferences_per_second"]
    assert costs.of(net, point(), 512)["area_mm2"] > base["area_mm2"]
    assert costs.of(net, point(rows=24, cols=6), 6)["arrays"] > base["arrays"] == 1
    failed = costs.of(net, point(), 513)
    assert failed["status"] == "failed" and "at most the 512 columns" in failed["error"]
    assert costs.of(net, point(bits=12), 128)["status"] == "failed"


def test_a_pass_waits_for_the_wider_converters(make: Any) -> None:
    coarse = network(make("pcm", adc_bits=6, dac_bits=8))
    costs = Costs([coarse], "aon_cim")
    assert costs.of(coarse, point(bits=4), 128)["energy_uj"] == cost(workload(coarse.model), bits=6).energy_uj
    assert known_cost(set_name(coarse.model))["energy_uj"] == cost(workload(coarse.model), bits=8).energy_uj


def set_name(model: keras.Model) -> keras.Model:
    """Return the model on hardware that says it is the accelerator's."""
    named = keras.models.clone_model(model)
    named.set_weights(model.get_weights())
    set_hardware(named, model.get_layer("logits").crossbar.replace(name="aon_cim_own"))
    return named


def test_weights_and_operations_are_counted_of_the_same_layers(nets: Any, samples: np.ndarray) -> None:
    analog = to_analog(nets.small_net(), "aon_cim_8bit", exempt=["hidden"])
    found, whole = known_cost(analog), workload(analog)
    assert found["weights"] == sum(layer.weights for layer in whole.layers) > sum(one.weights for one in whole.analog)
    assert found["macs"] == whole.operations // 2


def table_of(*changes: dict[str, Any]) -> pd.DataFrame:
    base = {
        **{"network": "net", "bits": 8, "rows": 1024, "cols": 512, "adcs": 128, "status": "ok", "accuracy": 0.9},
        **{"accuracy_std": 0.01, "tops_per_watt": 8.0, "area_mm2": 3.0, "chips": 2, "at": "1d"},
    }
    return finished([{**base, **change} for change in changes])


def test_figure_shows_every_point_that_was_measured(tmp_path: Any) -> None:
    failed = {"status": "failed", "accuracy": None}
    table = table_of({}, {"bits": 4, "accuracy": 0.8, "tops_per_watt": 50.0, "eta": 0.1}, {"network": "b"}, failed)
    assert list(table["pareto"]) == [True, True, True, False]
    figure = pareto_figure(table, tmp_path / "pareto.png")
    [axes] = figure.axes
    places = [collection.get_offsets() for collection in axes.collections if isinstance(collection, PathCollection)]
    drawn = sorted(tuple(map(float, place[0])) for place in places)
    assert drawn == [(8.0, 90.0), (8.0, 90.0), (50.0, 80.0)]
    assert [text.get_text() for text in axes.texts] == ["1", "2"]
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()][-2:] == [
        "1: 8 bit, 1024 x 512, 128 ADCs",
        "2: 4 bit, 1024 x 512, 128 ADCs, eta 0.1",
    ]
    assert (tmp_path / "pareto.png").stat().st_size > 10_000
    with pytest.raises(InvalidArgumentError, match="nothing to draw"):
        pareto_figure(table_of(failed))
    assert label_of({"bits": 6, "rows": 2, "cols": 3, "adcs": 1, "clip": 2.0, "eta": math.nan}) == (
        "6 bit, 2 x 3, 1 ADCs, clip 2"
    )


def test_arrays_too_low_for_a_layer_are_refused(make: Any, samples: np.ndarray) -> None:
    with pytest.raises(ConversionError, match="conv_1, conv_2 do not fit on arrays of 5 rows"):
        mapped(make("pcm"), point(rows=5), samples)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": []}, "`bits` of explore must hold at least one value"),
        ({"bits": [1]}, "`bits` of explore"),
        ({"arrays": [(0, 5)]}, "`arrays` of explore"),
        ({"adcs": [0]}, "`adcs` of explore"),
        ({"clip": [0.0]}, "`clip` of explore"),
        ({"eta": [2.0]}, "`eta` of explore"),
    ],
)
def test_options_out_of_range(changes: dict[str, Any], message: str) -> None:
    given_ = {"bits": [8], "arrays": [(2, 2)], "adcs": [1], "clip": [], "eta": [], **changes}
    with pytest.raises(InvalidArgumentError, match=message):
        check_options(**given_)


def test_impossible_combinations_are_known_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="None of these combinations is possible"):
        explore("analognet_kws.hwa_8bit", tmp_path / "out", bits=[12], arrays=[(1024, 512)], adcs=[128])
    assert not (tmp_path / "out").exists()


def test_values_that_text_would_round_find_their_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(task: str, plan: list[dict[str, Any]], folder: Path, **settings: Any) -> pd.DataFrame:
        assert "retrained" not in settings["settings"], "a moved folder must not be another exploration"
        folder.mkdir(parents=True)
        return pd.DataFrame([{**point, "status": "ok", "accuracy": point["eta"]} for point in plan])

    monkeypatch.setattr(exploration, "sweep", measured)
    eta = [float(value) for value in np.arange(0.01, 0.1, 0.01)]
    table = explore("analognet_kws.hwa_8bit", tmp_path / "out", bits=[8], arrays=[(1024, 512)], adcs=[128], eta=eta)
    assert list(table["accuracy"]) == pytest.approx(eta)
