"""Suites of published networks: one from outside the package is measured, trained, gone on with and written."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from analognets.deploy.studies.suites import (
    Member,
    Published,
    Suite,
    benchmark,
    find_suite,
    list_suites,
    register_suite,
)
from analognets.deploy.studies.suites import suite as suites
from analognets.deploy.studies.suites.run import Bench, train_here
from analognets.errors import DataError, InvalidArgumentError, RunError, UnknownNameError
from analognets.training.run import Run
from analognets.zoo import tasks

RECIPE = """
name: tiny_published
model: {name: tiny_published, options: {weights: null}}
dataset: {name: cifar10, options: {validation: 8}}
frontend: {preset: rgb_32, options: {mean: 0.0, std: 1.0}}
batch_size: 8
sampling: {steps: 1}
float: {epochs: 0, weight_clip_sigma: null}
hardware_aware: {epochs: 1, hardware: aon_cim_8bit, exempt: [depth]}
"""
FEW: dict[str, Any] = {"bits": (8,), "chips": 1, "limit": 9, "at": ("1d",)}


def tiny_published(input_shape: Sequence[int], *, classes: int, weights: str | None = None) -> keras.Model:
    """Build a small network with the weights of a file."""
    inputs = keras.Input(tuple(input_shape))
    x = keras.layers.Conv2D(4, 8, strides=8, name="stem")(inputs)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.DepthwiseConv2D(3, name="depth")(x)
    model = keras.Model(inputs, keras.layers.Dense(classes)(keras.layers.Flatten()(x)), name="tiny_published")
    if weights is not None:
        model.load_weights(weights)
    return model


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files and the data of a suite."""
    root = tmp_path_factory.mktemp("suite")
    (root / "models").mkdir()
    keras.utils.set_random_seed(0)
    tiny_published((32, 32, 3), classes=10).save(root / "models" / "tiny.keras")
    keras.Sequential([keras.Input((6,)), keras.layers.Dense(6)]).save(root / "models" / "bare.keras")
    (root / "recipe.yaml").write_text(RECIPE, "utf-8")
    (root / "data" / "cifar10").mkdir(parents=True)
    rng = np.random.default_rng(0)
    arrays = {f"x_{name}": rng.integers(0, 256, (count, 32, 32, 3), np.uint8) for name, count in SPLITS.items()}
    arrays |= {f"y_{name}": np.arange(count)[:, None] % 10 for name, count in SPLITS.items()}
    np.savez(root / "data" / "cifar10" / "cifar10.npz", **arrays)  # type: ignore[arg-type]
    return root


SPLITS = {"train": 40, "test": 20}


def located(name: str, folder: Path | None) -> Path:
    if folder is None or not (folder / name).exists():
        raise DataError(f"The folder '{folder}' holds no '{name}'.")
    return folder / name


@pytest.fixture(autouse=True)
def mini(place: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """Return a suite that stands outside of the package."""
    monkeypatch.setattr(tasks, "MODELS", dict(tasks.MODELS))
    monkeypatch.setattr(suites, "REGISTERED", {})
    tasks.register_model(tiny_published)
    pictures = Member(
        "pic",
        "pictures",
        "tiny.keras",
        recipe=str(place / "recipe.yaml"),
        places=(("cifar10", "cifar10.npz"),),
        float_figure=Published(50.0, "%", "somewhere"),
        stand_in="Noise, not pictures.",
    )
    bare = Member("bare", "numbers", "bare.keras", int8="bare.tflite", no_data="cost and conversion only: no numbers")
    return register_suite(Suite("mini", "Small networks", "nowhere, CC0", (pictures, bare), located))


def figures(table: pd.DataFrame, member: str, figure: str) -> pd.DataFrame:
    return table[(table["member"] == member) & (table["figure"] == figure)]


def test_a_suite_from_outside_is_measured_trained_and_written(place: Path, tmp_path: Path) -> None:
    told: list[tuple[str, str, str]] = []

    def tell(done: int, total: int, row: dict[str, Any]) -> None:
        told.append((row["member"], row["kind"], row["status"]))

    how = {"models": place / "models", "data": [place / "data"], **FEW}
    table = benchmark("mini", tmp_path / "out", **how, progress=tell)
    assert {status for *_, status in told} == {"ok"}
    kinds = ("published", "chip", "direct", "finetuned")
    assert {kind for member, kind, _ in told if member == "pic"} == set(kinds)
    for name in ("direct", "direct_adabs", "finetuned", "finetuned_adabs"):
        [row] = figures(table, "pic", name).to_dict("records")
        assert 0 <= row["value"] <= 100 and row["low"] <= row["value"] <= row["high"]
        assert row["at"] == "1d" and row["bits"] == 8 and row["chips"] == 1
        assert row["measured_on"].startswith("9 test pictures of cifar10, a part") and "Noise" in row["note"]
    assert figures(table, "pic", "energy_uj")["value"].item() > 0
    assert figures(table, "pic", "published_float")["measured_on"].item() == "somewhere"
    assert figures(table, "pic", "analog_weights")["value"].item() < figures(table, "pic", "weights")["value"].item()
    assert "holds no 'bare.tflite'" in figures(table, "bare", "int8")["note"].item()
    assert figures(table, "pic", "arena_bytes")["note"].item() == "no int8 file is published with it"
    empty = table[table["value"].isna()]
    assert len(empty) and (empty["note"] != "").all(), "an empty cell says why"
    assert set(figures(table, "bare", "finetuned")["note"]) == {"cost and conversion only: no numbers"}
    check_files(tmp_path / "out", table)

    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet") if "points" in str(path)}
    run = (tmp_path / "out" / "runs" / "pic_8bit" / "analog.keras").stat().st_mtime_ns
    again = benchmark("mini", tmp_path / "out", **how)
    pd.testing.assert_frame_equal(again, table)
    assert files == {path: path.stat().st_mtime_ns for path in files}, "what is measured is not measured again"
    assert run == (tmp_path / "out" / "runs" / "pic_8bit" / "analog.keras").stat().st_mtime_ns
    with pytest.raises(RunError, match="begun with other settings: `chips` differ"):
        benchmark("mini", tmp_path / "out", **{**how, "chips": 2})


def check_files(folder: Path, table: pd.DataFrame) -> None:
    """All four files hold the table."""
    stored = pd.read_csv(folder / "benchmark.csv")
    assert list(stored["figure"]) == list(table["figure"])
    record = json.loads((folder / "benchmark.json").read_text("utf-8"))
    assert len(record["figures"]) == len(table) and record["settings"]["chips"] == 1
    [pictures, _] = record["members"]
    assert pictures["official_file"] is False and pictures["left_digital"] == "1 DepthwiseConv2D"
    text = (folder / "benchmark.md").read_text("utf-8")
    assert "| pictures | 1 DepthwiseConv2D |" in text and "cost and conversion only: no numbers" in text
    assert "a file that is not the published one" in text and "Noise, not pictures" in text
    page = (folder / "benchmark.html").read_text("utf-8")
    assert page.startswith("<!doctype html>") and "<h1>Small networks</h1>" in page and "fine-tuned + AdaBS, 1d" in page


@pytest.mark.usefixtures("op_by_op")
def test_an_interrupted_one_goes_on_and_shows_what_it_has(place: Path, tmp_path: Path) -> None:
    how = {"models": place / "models", "data": [f"pic={place / 'data' / 'cifar10'}"], "only": ["pic"], **FEW}

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        benchmark("mini", tmp_path / "out", **how, trainer=stopped)
    half = pd.read_csv(tmp_path / "out" / "benchmark.csv")
    assert figures(half, "pic", "direct")["value"].notna().all()
    assert figures(half, "pic", "finetuned")["note"].item() == "not trained yet"
    assert figures(half, "bare", "energy_uj")["note"].item() == "not measured yet"
    trained = []

    def trainer(recipe: Any, folder: Path, data: str, overwrite: bool) -> None:
        trained.append((recipe.hardware_aware.epochs, recipe.sampling["steps"]))
        train_here(recipe, folder, data, overwrite)

    whole = benchmark("mini", tmp_path / "out", **how, trainer=trainer)
    assert trained == [(1, 1)] and figures(whole, "pic", "finetuned")["value"].notna().all()
    other = benchmark("mini", tmp_path / "out", **{**how, "only": ["bare"], "data": ()})
    assert figures(other, "pic", "finetuned")["value"].notna().all(), "earlier members stay in the table"
    assert figures(other, "bare", "energy_uj")["value"].notna().all()


def test_without_data_the_rest_is_measured(place: Path, tmp_path: Path) -> None:
    table = benchmark("mini", tmp_path / "out", models=place / "models", only=["pic"], **FEW)
    assert figures(table, "pic", "energy_uj")["value"].notna().all()
    for name in ("float", "direct", "finetuned"):
        assert set(figures(table, "pic", name)["note"]) == {"no data at hand: name their folder with --data pic=DIR"}
    assert not (tmp_path / "out" / "runs").exists()


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"suite": "minimal"}, UnknownNameError, "Unknown suite. Did you mean 'mini'.*mlperf-tiny"),
        ({"only": ["pix"]}, UnknownNameError, "Unknown member of mini. Did you mean 'pic'"),
        ({"models": "nowhere"}, DataError, "There is no folder of models 'nowhere'"),
        ({"models": "."}, DataError, "None of the networks of mini is there. The folder '.' holds no 'tiny.keras'"),
        ({"data": ["nowhere"]}, DataError, "There is no folder of data 'nowhere'"),
        ({"data": ["pix=."]}, UnknownNameError, "Unknown member of mini"),
        ({"data": ["."]}, DataError, r"'.' holds no data of mini. It looks for cifar10/cifar10.npz \(pic\)"),
        ({"bits": (5,)}, UnknownNameError, "Unknown .*aon_cim_8bit"),
        ({"bits": ()}, InvalidArgumentError, "at least one precision"),
        ({"chips": 0}, InvalidArgumentError, "chips"),
        ({"at": ("soon",)}, InvalidArgumentError, "soon"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], error: Any, sentence: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    how = {"suite": "mini", "models": place / "models", "data": [place / "data"], **FEW, **change}
    with pytest.raises(error, match=sentence):
        benchmark(how.pop("suite"), tmp_path / "out", **how)
    assert not (tmp_path / "out").exists()


def test_what_is_no_suite(mini: Suite) -> None:
    assert list_suites() == ["mlperf-tiny", "mini"]
    with pytest.raises(InvalidArgumentError, match="Another suite is called so. Received: 'mini'"):
        register_suite(dataclasses.replace(mini))
    with pytest.raises(InvalidArgumentError, match="each its own. Received: 'pic', 'pic'"):
        dataclasses.replace(mini, members=(mini.members[0],) * 2)


def test_mlperf_tiny_names_its_files_recipes_and_figures() -> None:
    found = find_suite("mlperf_tiny")
    assert [member.key for member in found.members] == ["ic", "kws", "vww", "ad", "sww"]
    for member in found.members:
        assert member.recipe in tasks.list_recipes() if member.recipe else member.no_data
        assert member.int8 and member.target
    assert "dog" in found.member("vww").stand_in


def test_the_published_networks_of_mlperf_tiny_convert_and_cost(data_root: Path, tmp_path: Path) -> None:
    models = data_root / "mlperf_tiny_models"
    if not models.is_dir():
        pytest.skip(f"needs MLPerf Tiny's published files: {models} is not there")
    table = benchmark("mlperf-tiny", tmp_path / "out", models=models, bits=(8,), chips=1, at=("1d",))
    weights = figures(table, "ic", "weights")["value"].item(), figures(table, "vww", "weights")["value"].item()
    assert weights == (77_360, 208_112)
    energy = table[table["figure"] == "energy_uj"].set_index("member")["value"]
    assert energy.between(0.05, 15).all() and list(energy.index) == ["ic", "kws", "vww", "ad", "sww"]
    record = json.loads((tmp_path / "out" / "benchmark.json").read_text("utf-8"))
    assert all(member["official_file"] for member in record["members"])
    assert set(figures(table, "ad", "finetuned")["note"]) == {find_suite("mlperf-tiny").member("ad").no_data}


def test_a_training_of_other_data_is_not_taken(place: Path, tmp_path: Path) -> None:
    trained = []

    def trainer(recipe: Any, folder: Path, data: str, overwrite: bool) -> None:
        trained.append(data)
        with Run.create(folder, recipe, overwrite=overwrite).session({"name": "cifar10", "folder": data}):
            pass

    suite, how = (
        find_suite("mini"),
        {"suite": "mini", "times": ["1d"], "chips": 1, "limit": None, "seed": 0, "quick": True},
    )
    files = {"tiny.keras": place / "models" / "tiny.keras"}
    first, second = (
        Bench(suite, tmp_path, files, {}, {"pic": str(tmp_path / one)}, how, (8,), tmp_path) for one in "ab"
    )
    (tmp_path / "a").mkdir()  # data that are gone may have been moved
    for bench in (first, first):
        bench.train(suite.member("pic"), 8, trainer, False)
    with pytest.raises(RunError, match="learned from the data in '.*/a'. Received: those in '.*/b'"):
        second.train(suite.member("pic"), 8, trainer, False)
    second.train(suite.member("pic"), 8, trainer, True)
    assert [Path(data).name for data in trained] == ["a", "b"]
