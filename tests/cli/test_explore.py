"""`analognets explore`: combinations, resuming, retraining, and what is said about wrong options."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Call = Callable[..., Any]
FEW = ("--bits", "8,4", "--arrays", "1024x512,48x64", "--adcs", "64,32", "--chips", 2, "--limit", 20)


def test_an_exploration_and_going_on_with_it(call: Call, trained: Path, speech: Path, tmp_path: Path) -> None:
    words = ("explore", trained, "--data", speech, "--out", tmp_path / "out", "--json", *FEW)
    answer = call(*words)
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    rows = pd.DataFrame(result["rows"])
    assert len(rows) == 8 and set(rows["status"]) == {"ok"}
    assert set(rows["samples"]) <= set(range(1, 21)) and rows["accuracy"].between(0, 1).all()
    by = rows.set_index(["bits", "rows", "adcs"])
    assert by.loc[(8, 1024, 64), "ranges"] == "trained"
    assert by.loc[(4, 1024, 64), "ranges"] == "calibrated anew"
    assert by.loc[(8, 1024, 64), "accuracy"] == by.loc[(8, 1024, 32), "accuracy"]
    assert by.loc[(4, 1024, 64), "tops_per_watt"] > by.loc[(8, 1024, 64), "tops_per_watt"]
    assert by.loc[(8, 48, 64), "ranges"] == "trained", "no row is split"
    assert by.loc[(8, 48, 64), "utilisation"] > by.loc[(8, 1024, 64), "utilisation"]
    assert rows["pareto"].any()
    assert (tmp_path / "out" / "pareto.png").stat().st_size > 10_000
    assert "kinds of chips" in (tmp_path / "out" / "explore.html").read_text("utf-8")
    stored = pd.read_parquet(tmp_path / "out" / "explore.parquet")
    assert list(stored["accuracy"]) == list(rows["accuracy"])
    [first, *_] = sorted((tmp_path / "out" / "accuracy" / "points").iterdir())
    first.unlink()
    kept = {path: path.stat().st_mtime_ns for path in first.parent.iterdir()}
    again = call(*words)
    assert json.loads(again.out)["rows"][0]["accuracy"] == result["rows"][0]["accuracy"]
    assert first.is_file() and all(path.stat().st_mtime_ns == time for path, time in kept.items())
    other = call(*words, "--chips", 3)
    assert "begun with other settings: `chips` differs." in other.error


@pytest.mark.usefixtures("op_by_op")
def test_noise_and_clipping_are_retrained_and_said_to_be(
    call: Call, trained: Path, speech: Path, tmp_path: Path
) -> None:
    words = ("--bits", 8, "--arrays", "1024x512", "--adcs", "128,600", "--chips", 1, "--limit", 10)
    answer = call("explore", trained, "--data", speech, "--out", tmp_path / "out", *words, "--eta", 0.1, "--clip", 1.5)
    assert answer.code == 0, answer.err
    assert "retrained 1 epoch" in answer.out and "clip 1.5, eta 0.1" in answer.out
    assert "600 ADCs, clip 1.5, eta 0.1: " in answer.err and "must be at most the 512 columns" in answer.err
    [run] = (tmp_path / "out" / "retrained").iterdir()
    recipe = (run / "recipe.yaml").read_text("utf-8")
    assert "weight_noise: 0.1" in recipe and "weight_range_sigma: 1.5" in recipe
    assert json.loads((run / "run.json").read_text("utf-8"))["status"] == "finished"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--bits", "8,x"), "--bits takes numbers with commas"),
        (("--arrays", "1024"), "--arrays takes sizes such as"),
        (("--arrays", "2x3x4"), "--arrays takes sizes such as"),
    ],
)
def test_wrong_usage(call: Call, words: tuple[str, ...], message: str) -> None:
    answer = call("explore", "analognet_kws.hwa_8bit", *words)
    assert answer.code == 2
    assert message in " ".join(answer.err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("analognet_kws.hwa_8bit", "--bits", "1"), "`bits` of explore must be a whole number from 2 to 16"),
        (("analognet_kws.hwa_8bit", "--at", "soon"), "soon"),
        (("analognet_kws.float",), "was not trained for hardware"),
        (("analognet_kws.hwa_8bot",), "analognet_kws.hwa_8bit"),
    ],
)
def test_wrong_values(call: Call, words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    answer = call("explore", *words, "--out", tmp_path / "out")
    assert answer.code == 1
    assert message in answer.error
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_else_is_left_alone(call: Call, tmp_path: Path, trained: Path, speech: Path) -> None:
    (tmp_path / "out" / "accuracy").mkdir(parents=True)
    (tmp_path / "out" / "accuracy" / "mine.txt").write_text("mine", "utf-8")
    answer = call("explore", trained, "--data", speech, "--out", tmp_path / "out")
    assert "holds something else than a sweep" in answer.error
