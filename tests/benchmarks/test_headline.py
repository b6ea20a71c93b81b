"""The headline table: intervals over clips, speakers and training seeds, from what evaluations leave."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analognets.metrics import mean_interval
from benchmarks import headline_study, results_headline


def evaluated(folder: Path, seed: int, speakers: list[str]) -> np.ndarray:
    """Write what an evaluation leaves and return the share of chips that are right about each clip."""
    rng = np.random.default_rng(seed)
    clips = len(speakers)
    right = rng.integers(0, 6, clips) / 5
    table = pd.DataFrame(
        {"name": [str(n) for n in range(clips)], "speaker": speakers, "class": ["yes", "no"] * (clips // 2)}
    )
    table = table.assign(float=[0] + [1] * (clips - 1), digital=1, **{"1d": right})
    (folder / "results").mkdir(parents=True)
    table.to_csv(folder / "results" / "samples.csv", index=False)
    summary = {"at": ["1d"], "seconds": [86400.0], "chips": [5], "std": [0.01]}
    pd.DataFrame(summary).to_csv(folder / "results" / "summary.csv", index=False)
    (folder / "results" / "report.html").write_text("")
    return right


def test_rows_count_speakers_and_seeds(tmp_path: Path) -> None:
    speakers = ["a", "a", "b", "c", "c", ""]
    right = np.stack([evaluated(tmp_path / str(seed), seed, speakers) for seed in range(3)])
    (row,) = headline_study.rows_of("kws", "hwa_8bit", [tmp_path / str(seed) for seed in range(3)])
    wanted = mean_interval(right, speakers)
    assert (row["mean"], row["mean_low"]) == (pytest.approx(wanted.mean), pytest.approx(wanted.low))
    assert (row["seeds"], row["speakers"], row["clips"], row["chips_per_seed"]) == (3, 3, 6, 5)
    assert row["digital_loss"] == pytest.approx(100 * (1 - right.mean()))
    error, chance = 1 - row["float_accuracy"], 0.5
    assert row["normalized_accuracy"] == pytest.approx(1 - row["loss"] / 100 / (chance - error))
    assert row["normalized_low"] <= row["normalized_accuracy"] <= row["normalized_high"]


def test_only_what_is_evaluated_is_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = SimpleNamespace(seed=0, fingerprint=lambda: "f", to_dict=lambda: {"float": {}})
    record: dict[str, Any] = {"git_commit": "abc", "versions": {}, "data": {"name": "d"}}
    monkeypatch.setattr(headline_study.Run, "open", lambda folder: SimpleNamespace(recipe=recipe, record=record))
    evaluated(tmp_path / "kws" / "0" / "hwa_8bit", 0, ["a", "b", "c", "d"])
    (tmp_path / "kws" / "1" / "hwa_8bit").mkdir(parents=True)
    table, records = headline_study.collect(tmp_path)
    assert table["seeds"].tolist() == [1] and len(records) == 1
    assert json.dumps(records) and records[0]["git_commit"] == "abc"


def test_the_figure_shows_the_networks_that_are_there(tmp_path: Path) -> None:
    evaluated(tmp_path / "0", 0, ["a", "b", "c", "d"])
    table = pd.DataFrame(headline_study.rows_of("kws", "hwa_4bit", [tmp_path / "0"]))
    results_headline.drift_figure(table, tmp_path / "drift.svg")
    drawn = (tmp_path / "drift.svg").read_text("utf-8")
    assert "AnalogNet-KWS, 4 bit" in drawn and "AnalogNet-KWS, 8 bit" not in drawn


def test_teachers_are_trained_before_what_they_teach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, ...]] = []
    for module in (headline_study, headline_study.float_study):
        monkeypatch.setattr(module, "call", lambda *words: made.append(words))
    options = SimpleNamespace(
        data=tmp_path, pictures=None, only=["kws"], seeds=[0], runs=tmp_path / "runs" / "headline"
    )
    headline_study.study(options)
    outs = [Path(words[words.index("--out") + 1]) for words in made if words[0] == "train"]
    names = [str(one.relative_to(tmp_path / "runs")) for one in outs]
    taught = next(words for words in made if any(word.startswith("teacher=") for word in words))
    teachers = taught[-1].removeprefix("teacher=[").removesuffix("]").split(", ")
    before = names[: names.index("headline/kws/0/float")]
    assert {str(Path(one).relative_to(tmp_path / "runs")) for one in teachers} == set(before) and len(before) == 4
    sources = {
        Path(words[words.index("--out") + 1]).name: Path(words[words.index("--float-from") + 1]).name
        for words in made
        if "--float-from" in words
    }
    assert sources == {
        "float": "first", "hwa_8bit": "float", "hwa_6bit": "float", "hwa_4bit": "first", "hwa_4bit_distilled": "float",
    }  # fmt: skip
