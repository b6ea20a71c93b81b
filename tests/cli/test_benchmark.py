"""`analognets benchmark`: what it prints and writes, and what is said about wrong options."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with small stand-ins for two of the published files."""
    folder = tmp_path_factory.mktemp("models")
    layers = keras.layers
    keras.Sequential([keras.Input((8,)), layers.Dense(8, name="middle")]).save(folder / "ad01.h5")
    keras.Sequential([keras.Input((30, 1, 4)), layers.Conv2D(3, (3, 1)), layers.Flatten(), layers.Dense(3)]).save(
        folder / "str_ww_ref_model.h5"
    )
    return folder


def test_members_without_data_are_converted_and_their_cost_computed(call: Call, models: Path, tmp_path: Path) -> None:
    words = ("benchmark", "mlperf-tiny", "--models", models, "--out", tmp_path / "out", "--json")
    answer = call(*words, "--quick", "--only", "ad", "sww")
    assert answer.code == 0, answer.err
    assert "ad, chip, 8 bit: energy_uj" in answer.err and "sww, published: done" in answer.err
    result = json.loads(answer.out)
    by = {(one["member"], one["figure"]): one for one in result["figures"]}
    assert by["ad", "energy_uj"]["value"] > 0 and by["sww", "inferences_per_second"]["value"] > 0
    assert by["ad", "finetuned"]["value"] is None and "cost and conversion only" in by["ad", "finetuned"]["note"]
    assert "holds no 'ad01_int8.tflite'" in by["ad", "int8"]["note"]
    assert by["ad", "published_float"]["value"] == 0.903 and by["ad", "published_float"]["unit"] == "AUC"
    assert by["ic", "energy_uj"]["note"] == "not measured yet"
    text = (tmp_path / "out" / "benchmark.md").read_text("utf-8")
    assert text.startswith("# MLPerf Tiny on an analog chip\n") and "A quick try: its figures say nothing." in text
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("points/*.parquet")}
    again = call(*words, "--quick", "--only", "sww,ad")
    assert json.loads(again.out) == result and kept == {path: path.stat().st_mtime_ns for path in kept}
    other = call(*words, "--only", "ad")
    assert "begun with other settings" in other.error and "--overwrite" in other.error
    assert call(*words, "--only", "ad", "--bits", 8, "--overwrite").code == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("mlperf-tinny",), "Unknown suite. Did you mean 'mlperf-tiny'"),
        (("mlperf-tiny", "--only", "ics"), "Unknown member of mlperf-tiny. Did you mean 'ic'"),
        (("mlperf-tiny", "--models", "nowhere"), "There is no folder of models 'nowhere'"),
        (
            ("mlperf-tiny", "--models", "."),
            "None of the networks of mlperf-tiny is there. The folder '.' holds no",
        ),
        (("mlperf-tiny", "--only", "ad", "--data", "nowhere"), "There is no folder of data 'nowhere'"),
        (("mlperf-tiny", "--only", "ad", "--data", "."), "'.' holds no data of mlperf-tiny. It looks for cifar10/"),
        (("mlperf-tiny", "--at", "soon"), "soon"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call("benchmark", *words)
    assert answer.code == 1 and sentence in answer.error
    assert not any(tmp_path.iterdir())


def test_bits_are_numbers(call: Call) -> None:
    answer = call("benchmark", "--bits", "eight")
    assert answer.code == 2 and "--bits takes numbers such as 8,6,4. Received: 'eight'" in " ".join(answer.err.split())
