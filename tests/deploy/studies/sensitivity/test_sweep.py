"""One effect at several strengths: the same chips, nothing measured twice, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from analognets import devices
from analognets.conversion import to_analog
from analognets.core.files import locked
from analognets.deploy.evaluation import accuracy
from analognets.deploy.studies.samples import MEASURED_ON, arrays_mark, on_one_data_set
from analognets.deploy.studies.sensitivity import (
    curve_figure,
    equal_error_study,
    summarize_sweep,
    sweep_nonideality,
    threshold_study,
)
from analognets.deploy.studies.sensitivity import study as studies
from analognets.devices import derive_seed
from analognets.errors import InvalidArgumentError, NotCalibratedError, RunError, UnknownNameError
from analognets.metrics import chips_interval

Build = Callable[..., keras.Model]


def test_the_table_has_a_row_a_strength_and_chip(swept: SimpleNamespace) -> None:
    table = swept.table
    assert list(table["value"]) == [0.04] * 3 + [0.0] * 3 + [3.0] * 3
    assert list(table["chip"]) == [0, 1, 2] * 3
    assert set(table["status"]) == {"ok"} and set(table["samples"]) == {200} and set(table["standard"]) == {0.04}
    assert set(table["float_accuracy"]) == {1.0} and set(table["classes"]) == {3} and set(table["at"]) == {"1h"}
    stored = pd.read_parquet(swept.folder / "sweep.parquet")
    pd.testing.assert_frame_equal(stored, table)


def test_much_noise_leaves_less(swept: SimpleNamespace) -> None:
    means = swept.table.groupby("value")["accuracy"].mean()
    assert means[0.0] > 0.7 and means[3.0] < means[0.04] - 0.1
    found = summarize_sweep(swept.table).set_index("value")
    assert (found["low"] <= found["accuracy"]).all() and (found["accuracy"] <= found["high"]).all()
    assert found.loc[0.04, ["loss", "loss_low", "loss_high"]].tolist() == [0.0, 0.0, 0.0]
    of_chips = [swept.table.query(f"value == {value}")["accuracy"].to_numpy() for value in (0.04, 3.0)]
    paired = chips_interval(100 * (of_chips[0] - of_chips[1]))
    assert found.loc[3.0, ["loss", "loss_low"]].tolist() == pytest.approx([paired.mean, paired.low])


def test_chips_are_those_of_an_ordinary_evaluation(swept: SimpleNamespace, data: Any) -> None:
    from analognets.deploy.chips.programming import ChipArithmetic
    from analognets.deploy.chips.runtime import Runner
    from analognets.layers import analog_layers, set_hardware

    set_hardware(swept.model, "aimc_standard")
    layers = analog_layers(swept.model)
    arithmetic, runner = ChipArithmetic(layers), Runner(swept.model)
    seed = derive_seed(0, "chip", 1)
    runner.load(arithmetic.read(arithmetic.program(layers, seed), 3600.0, seed))
    own = accuracy(data[1], runner.predict(data[0]))
    found = swept.table.query("value == 0.04 and chip == 1")["accuracy"].item()
    assert found == pytest.approx(own, abs=0.011), "one or two of 200 samples may fall to the other side of a step"


def test_going_on_measures_only_what_is_new(swept: SimpleNamespace, data: Any) -> None:
    points = swept.folder / "chips" / "points"
    before = {path: path.stat().st_mtime_ns for path in points.iterdir()}
    more = sweep_nonideality(swept.model, "output_noise", [0.0, 0.04, 0.1], swept.folder, data=data, chips=4)
    assert len(more) == 12
    after = {path: path.stat().st_mtime_ns for path in points.iterdir()}
    assert len(after) == len(before) + 6
    assert all(after[path] == time for path, time in before.items())
    kept = swept.table.query("value == 0.0")["accuracy"]
    assert list(more.query("value == 0.0")["accuracy"][:3]) == list(kept)


def test_an_interrupted_sweep_loses_nothing(build: Build, data: Any, tmp_path: Path, swept: SimpleNamespace) -> None:
    def stop(done: int, total: int, row: dict[str, Any]) -> None:
        if done == 4:
            raise KeyboardInterrupt

    model = build()
    with pytest.raises(KeyboardInterrupt):
        sweep_nonideality(model, "output_noise", [0.04, 3.0], tmp_path, data=data, chips=3, progress=stop)
    left = len(list((tmp_path / "chips" / "points").iterdir()))
    assert 1 <= left <= 4 and not (tmp_path / "sweep.parquet").exists()
    seen: list[Any] = []
    table = sweep_nonideality(
        model, "output_noise", [0.04, 3.0], tmp_path, data=data, chips=3, progress=lambda *event: seen.append(event[:2])
    )
    assert seen[-1] == (7, 7)
    chosen = swept.table[swept.table["value"].isin([0.04, 3.0])]
    assert list(table["accuracy"]) == list(chosen["accuracy"]), "the same as without the interruption"


def test_two_sweeps_never_share_a_folder(build: Build, data: Any, swept: SimpleNamespace) -> None:
    with locked(swept.folder / "chips"), pytest.raises(RunError, match="in use"):
        sweep_nonideality(swept.model, "output_noise", [5.0], swept.folder, data=data, chips=1)
    with pytest.raises(RunError, match="begun with other settings"):
        sweep_nonideality(swept.model, "ir_drop", [1.0], swept.folder, data=data, chips=1)


def test_summary_in_closed_form() -> None:
    rows = [
        {"network": "a", "nonideality": "ir_drop", "value": v, "accuracy": a, "status": s, "float_accuracy": 0.9,
         "classes": 4, "standard": 1.0, "at": "1h"}
        for v, a, s in [(1.0, 0.8, "ok"), (1.0, 0.7, "ok"), (1.0, 0.6, "ok"), (2.0, 0.25, "ok"), (2.0, 0.9, "failed")]
    ]  # fmt: skip
    summary = summarize_sweep(pd.DataFrame(rows))
    assert list(summary["accuracy"]) == pytest.approx([0.7, 0.25])
    assert summary["standard_error"][0] == pytest.approx(0.1 / np.sqrt(3)) and np.isnan(summary["standard_error"][1])
    assert list(summary["normalized"]) == pytest.approx([(0.7 - 0.25) / (0.9 - 0.25), 0.0])
    half = 4.302653 * 0.1 / np.sqrt(3)
    assert (summary["low"][0], summary["high"][0]) == pytest.approx((0.7 - half, 0.7 + half))
    stars = summary["normalized_high"][0] - summary["normalized"][0]
    assert stars == pytest.approx(half / (0.9 - 0.25)) and np.isnan(summary["high"][1])
    assert list(summary["chips"]) == [3, 1]


def test_the_curve_shows_every_strength(swept: SimpleNamespace, tmp_path: Path) -> None:
    summary = summarize_sweep(swept.table)
    figure = curve_figure(summary, tmp_path / "sweep.png")
    [axes] = figure.axes
    drawn = [line for line in axes.get_lines() if len(line.get_xdata()) == 3]
    assert drawn and sorted(drawn[0].get_xdata()) == [0.0, 0.04, 3.0]
    assert (tmp_path / "sweep.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("name", "values", "error", "message"),
    [
        ("out_noise", [1.0], UnknownNameError, "output_noise"),
        ("output_noise", [-1.0], InvalidArgumentError, "`deviation` of OutputNoise"),
        ("output_noise", [], InvalidArgumentError, "at least one strength"),
        ("adc_bits", [99], InvalidArgumentError, "2 to 16"),
    ],
)
def test_bad_requests_write_nothing(
    build: Build, data: Any, tmp_path: Path, name: str, values: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        sweep_nonideality(build(), name, values, tmp_path / "out", data=data)
    assert not (tmp_path / "out").exists()


def test_bad_networks_and_data(build: Build, data: Any, tmp_path: Path, standard: Any, nets: SimpleNamespace) -> None:
    out, model = tmp_path / "out", build()
    ideal = build(standard.replace(device=devices.IdealDevice()))
    cases: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (ideal, {"data": data}, InvalidArgumentError, "IdealDevice has nothing that could be scaled"),
        (to_analog(nets.small_net(), standard), {"data": data}, NotCalibratedError, "calibrate"),
        (model, {}, InvalidArgumentError, "needs data"),
        (model, {"data": (data[0], data[1][:-1])}, InvalidArgumentError, "as many labels as inputs"),
        ([], {"data": data}, InvalidArgumentError, "at least one network"),
        ([model, model], {"data": data}, InvalidArgumentError, "the same one twice"),
        (model, {"data": data, "chips": 0}, InvalidArgumentError, "`chips` of Study"),
    ]
    for networks, settings, error, message in cases:
        with pytest.raises(error, match=message):
            sweep_nonideality(networks, "device_noise", [2.0], out, **settings)
        assert not out.exists()


def test_models_in_memory_are_stored_for_other_processes(swept: SimpleNamespace) -> None:
    [path] = (swept.folder / "models").glob("*.keras")
    again = keras.models.load_model(path, safe_mode=True)
    assert again.count_params() == swept.model.count_params()


def test_effects_that_differ_between_layers_have_no_strength_as_it_is(
    nets: SimpleNamespace, samples: Any, data: Any, tmp_path: Path, standard: Any
) -> None:
    hardware = {"default": standard, "logits": standard.replace(adc_bits=4)}
    model = to_analog(nets.small_net(), hardware, calibrate_on=samples)
    refused = "`adc_bits` is set to one strength in all layers.*Received: model 'small_net' with 8, 4"
    for study, given in (
        (sweep_nonideality, ("adc_bits", [8, 4])),
        (sweep_nonideality, ("adc_bits", None)),
        (threshold_study, ()),
    ):
        given = (model, tmp_path / "out", *given) if study is threshold_study else (model, *given, tmp_path / "out")
        with pytest.raises(InvalidArgumentError, match=refused):
            study(*given, data=data)
    with pytest.raises(InvalidArgumentError, match="need all layers on the same hardware.*with 2 different ones"):
        equal_error_study(model, tmp_path / "out", nonidealities=["output_noise"], data=data)
    assert not (tmp_path / "out").exists()
    found = sweep_nonideality(model, "output_noise", [0.04], tmp_path / "out", data=data, chips=1)
    assert found["standard"].tolist() == pytest.approx([0.04])


def test_files_that_change_between_studies_are_read_anew(tmp_path: Path) -> None:
    inputs, labels = np.eye(4, dtype="float32"), np.arange(4)
    model, data = tmp_path / "model.keras", tmp_path / "data.npz"

    def accuracy_of(shift: int, labels: np.ndarray, folder: str) -> list[float]:
        net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, use_bias=False, name="d")])
        net.set_weights([np.roll(inputs, shift, axis=1)])
        to_analog(net, "aon_cim_8bit", calibrate_on=inputs).save(model)
        np.savez(data, inputs=inputs, labels=labels)
        table = sweep_nonideality(model, "output_noise", [0.0], tmp_path / folder, data=data, chips=2)
        return [*table["accuracy"], *table["float_accuracy"]]

    assert accuracy_of(0, labels, "first") == [1.0] * 4
    assert accuracy_of(1, labels, "other network") == [0.0] * 4
    assert accuracy_of(0, (labels + 1) % 4, "other data") == [0.0] * 4


def test_rows_of_changed_data_are_not_compared(tmp_path: Path) -> None:
    rows = pd.DataFrame({"fingerprint": ["a", "a", "b"], MEASURED_ON: ["x", None, "y"]})
    assert list(on_one_data_set(rows, tmp_path).columns) == ["fingerprint"], "rows of earlier versions have no mark"
    with pytest.raises(RunError, match="The data were changed since the first points in .*, so its rows can't be"):
        on_one_data_set(rows.assign(**{MEASURED_ON: ["x", "z", "y"]}), tmp_path)
    assert arrays_mark(np.zeros(2), np.zeros(1)) != arrays_mark(np.zeros(1), np.zeros(2))


class Changing:
    """Makes benches that each say that they measure on other samples."""

    def __init__(self) -> None:
        self.made = 0

    def cache_clear(self) -> None:
        """Nothing is kept."""

    def __call__(self, place: str, mark: str, settings: str) -> Any:
        self.made += 1
        bench = studies.Bench(place, json.loads(settings))
        bench.measured_on = f"data {self.made}"
        return bench


def test_a_reference_of_other_data_is_not_compared_with_chips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, labels = np.eye(4, dtype="float32"), np.arange(4)
    net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, use_bias=False, name="d")])
    analog = to_analog(net, "aon_cim_8bit", calibrate_on=inputs)
    monkeypatch.setattr(studies, "_bench", Changing())
    with pytest.raises(RunError, match="The data were changed since the first points"):
        sweep_nonideality(analog, "output_noise", [0.0], tmp_path / "sweep", data=(inputs, labels), chips=1)
