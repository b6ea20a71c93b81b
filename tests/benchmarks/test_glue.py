"""The study of GLUE on a small network: what is finished is kept, what is missing is said, and A* is that of Rasch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from analognets.core.files import write_json
from analognets.datasets.glue import GlueData, Sentences
from analognets.errors import RecipeError, RunError
from benchmarks import _chips, glue_study, results_a_star, results_glue

SMALL = [
    "model.options={input_shape: [null], positions: 8, vocabulary: 20, dimension: 8, depth: 1, heads: 2, separator: 3}",
    "batch_size=8",
    "float.epochs=1",
    "hardware_aware.epochs=1",
    "hardware_aware.noise_ramp_epochs=0",
    "hardware_aware.hardware=aon_cim_8bit",
    "hardware_aware.noise_model=gaussian",
    "hardware_aware.weight_noise=0.05",
    "evaluation.times=[1s, 1y]",
]


def sentences(count: int) -> Sentences:
    tokens = np.random.default_rng(count).integers(4, 20, (count, 8), np.int32)
    return Sentences(tokens, (tokens[:, 0] > 11).astype(np.int32))


@pytest.fixture(scope="module")
def data() -> GlueData:
    return GlueData(sentences(24), sentences(12), sentences(20), cut=0.0)


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("what is there already is not done again")


def readings(
    analog: keras.Model, samples: Sentences, *, chips: int, times: list[str], seed: int, first: int = 0
) -> list[Any]:
    """Stand in for chips: what they compute is tested elsewhere."""
    assert analog.input_shape == (None, None) and samples.tokens.shape[1] == 8
    return [{"chip": chip, "at": at, "accuracy": 0.7} for chip in range(first, first + chips) for at in times]


@pytest.mark.usefixtures("op_by_op")
def test_a_study_goes_on_where_it_stopped_and_says_what_is_missing(
    data: GlueData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled: list[keras.Model] = []

    def study(**options: Any) -> glue_study.Study:
        folder = tmp_path / "mrpc" / "0"
        return glue_study.Study("mrpc", 0, folder, data, filled.append, **{"overrides": SMALL, **options})

    chance = glue_study.chance_error(data.dev)
    record = study().run([], chips=1)
    assert [layer.trainable for layer in map(filled[0].get_layer, glue_study.FROZEN)] == [False] * 3
    (shown,) = glue_study.collect(tmp_path, {"mrpc": chance, "sst2": 0.5})["mrpc"]
    assert shown["summary"]["not_measured_yet"] == ["trained"] and "trained" not in shown["summary"]
    assert [row["at"] for row in record["dev"]["direct"]] == ["1s", "1y"]
    record = study(measure=readings).run(["recipe"], chips=1)
    assert record["validation"] == {"recipe": pytest.approx(0.7)} and record["chosen"] == "recipe"
    assert record["made"]["hardware_aware"]["record"]["status"] == "finished"
    assert len(filled) == 1, "trainings for the hardware start from the float network"
    monkeypatch.setattr(glue_study, "train", refuse)
    assert study(measure=refuse).run(["recipe"], chips=1) == record
    (shown,) = glue_study.collect(tmp_path, {"mrpc": chance})["mrpc"]
    assert shown["summary"]["not_measured_yet"] == [] and shown["summary"]["trained"].keys() == {"1s", "1y"}
    with pytest.raises(RunError, match="a run of another recipe. Name another"):
        study(overrides=[*SMALL, "float.learning_rate=0.1"]).run([], chips=1)
    scored = study(measure=refuse)
    scored.keep(validation={"recipe": 0.7, "faster": 0.8})
    assert scored.choose(["recipe", "faster"]) == "faster"


@pytest.mark.usefixtures("op_by_op")
def test_chips_decide_alike_about_sentences_sorted_by_length(tmp_path: Path, data: GlueData) -> None:
    made = glue_study.Study("sst2", 0, tmp_path, data, lambda net: None, overrides=SMALL)
    analog = _chips.directly_mapped(made.network(), made.recipe, data.train.tokens)
    tokens = data.dev.tokens.copy()
    tokens[np.arange(8) >= (3 + np.arange(20) % 6)[:, None]] = 0
    samples = Sentences(tokens, data.dev.labels)
    settings = {"chips": 2, "times": ["1s", "1y"], "seed": 3}
    plain, sorted_ = (
        measure(analog, samples, **settings) for measure in (_chips.measure_chips, glue_study.measure_by_length)
    )
    assert sorted_ == plain and {row["chip"] for row in plain} == {0, 1} and any(row["wrong"] for row in plain)


def test_batches_hold_samples_of_about_one_length_and_each_sample_once() -> None:
    tokens = np.arange(1, 601, dtype=np.int32)[:, None] * np.ones((1, 24), np.int32)
    tokens[np.arange(24) >= np.random.default_rng(0).integers(3, 25, 600)[:, None]] = 0
    samples = Sentences(tokens, tokens[:, 0])
    batches = glue_study.Batches(samples, 8, seed=1)
    assert len(batches) == 75 == len(batches.take(75)) and batches[0][0].shape == (8, 24)
    found = [batches[index] for index in range(75)]
    assert sorted(label for _, labels in found for label in labels) == list(range(1, 601))
    for cut, labels in found:
        assert cut.shape[1] % 8 == 0
        assert (cut == tokens[labels - 1, : cut.shape[1]]).all() and not tokens[labels - 1, cut.shape[1] :].any()
    assert np.mean([cut.shape[1] for cut, _ in found]) < 19
    assert found[1][0].shape[1] == min(cut.shape[1] for cut, _ in found) < 24, "Keras goes by the first two"
    other = glue_study.Batches(samples, 8, seed=2)
    assert any((other[index][1] != found[index][1]).any() for index in range(75))
    whole = glue_study.Batches(samples, 256)
    assert [whole[index][0].shape for index in range(3)] == [(256, 24), (256, 24), (88, 24)]


def test_the_summary_is_that_of_the_paper() -> None:
    rows = [{"chip": chip, "at": "1h", "accuracy": value} for chip, value in enumerate((0.8, 0.9))]
    found = _chips.summary({"float": 0.9, "direct": rows}, 0.4)
    assert found.keys() == {"float", "direct"}
    assert found["direct"]["1h"] == pytest.approx({"mean": 0.85, "std": 0.0707107, "normalized": 1 - 0.05 / 0.3})
    assert _chips.summary({"float": 0.9, "trained": rows[:1]}, 0.4)["trained"]["1h"]["std"] is None


def test_intervals_of_the_summary_count_samples_and_pair_them_with_the_float_network() -> None:
    labels, outputs = np.arange(100) % 2, np.eye(2)[np.arange(100) % 2]
    outputs[:10] = outputs[:10, ::-1]
    known = _chips.of_float(labels, outputs)
    assert known == {"float": pytest.approx(0.9), "float_wrong": list(range(10)), "samples": 100}
    rows = [{"chip": chip, "at": "1h", "accuracy": 0.8, "wrong": list(range(20))} for chip in range(2)]
    found = _chips.summary({**known, "direct": rows}, 0.5)["direct"]["1h"]
    assert found["loss"] == pytest.approx(10) and found["normalized"] == pytest.approx(0.75)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.984 * (0.8 * 0.2 / 99) ** 0.5, rel=1e-3)
    paired = found["loss_high"] - found["loss_low"]
    assert paired == pytest.approx(100 * 2 * 1.984 * (0.1 * 0.9 / 99) ** 0.5, rel=1e-3)
    assert found["normalized_high"] - found["normalized_low"] == pytest.approx(paired / 40)
    same = [{**row, "wrong": list(range(10))} for row in rows]
    alike = _chips.summary({**known, "direct": same}, 0.5)["direct"]["1h"]
    assert alike["loss_low"] == alike["loss_high"] == 0


def test_the_page_has_a_row_for_each_network(tmp_path: Path) -> None:
    readings = [{"chip": 0, "at": at, "accuracy": 0.8, "wrong": [0, 1]} for at in results_a_star.TIMES]
    dev = {"float": 0.9, "float_wrong": [0], "samples": 10, "direct": readings, "trained": readings}
    summary = {"chance_error": 0.5, **_chips.summary(dev, 0.5)}
    float_stage = {"recipe": {"float": {"epochs": 3}}, "record": {"data": {"samples": 1000}}}
    made = {"float": float_stage, "hardware_aware": {"recipe": {"hardware_aware": {"epochs": 2}}}}
    records = {
        task: [{"task": task, "seed": 0, "dev": dev, "summary": summary, "made": made}] for task in glue_study.TASKS
    }
    write_json(tmp_path / "glue.json", {"paper": glue_study.PAPER, "tasks": records})
    _, table, how, _ = results_glue.parts(tmp_path)
    assert table.count("MiniLM") == 4 and table.count("(paper)") == 4
    assert "| 90.00 | 80.00 \N{PLUS-MINUS SIGN} 30.16 |" in table and "| 75.0 \N{PLUS-MINUS SIGN}" in table
    assert "SST-2, seed 0: 3 float epochs and 2 hardware-aware ones on 1,000 samples" in how
    assert "10 dev samples, of which the float network gets 40.0 points more right" in how


def test_direct_mapping_needs_hardware() -> None:
    recipe = glue_study.load_recipe(glue_study.HERE / "glue" / "sst2.yaml", ["hardware_aware=null"])
    with pytest.raises(RecipeError, match="must have the stage `hardware_aware`.*Received: null"):
        _chips.directly_mapped(keras.Model(), recipe, np.zeros(1))


def test_recipes_and_parser_name_what_there_is() -> None:
    for task in glue_study.TASKS:
        for overrides in glue_study.CANDIDATES.values():
            glue_study.load_recipe(glue_study.HERE / "glue" / f"{task}.yaml", overrides)
    words = ["--data", "d", "--weights", "w", "--tokenizer", "t"]
    given = glue_study.parser().parse_args([*words, "--candidates", "--only", "sst2"])
    assert given.candidates == [] and given.only == ["sst2"] and given.seeds == [0, 1]
