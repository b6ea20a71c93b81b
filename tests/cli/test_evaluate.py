"""`analognets evaluate`: its table for people and machines, its files, stored chips, and what it refuses."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analognets.cli import evaluate as command
from analognets.core import files
from analognets.deploy.studies import on_ray
from analognets.training.run import Run
from analognets.zoo.tasks import find_recipe

Call = Callable[..., Any]


def edit_record(run: Path, **changes: Any) -> None:
    """Change what run.json says about the data."""
    record = json.loads((run / "run.json").read_text("utf-8"))
    record["data"].update(changes)
    (run / "run.json").write_text(json.dumps(record), "utf-8")


@pytest.fixture(scope="session")
def evaluated(first_training: tuple[Path, Any], call: Call, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the answer of the one evaluation that tests share, and the folder of its chips."""
    chips = tmp_path_factory.mktemp("stored") / "chips"
    answer = call("evaluate", first_training[0], "--chips", 2, "--at", "25s,1d", "--save-chips", chips, "--json")
    assert answer.code == 0, answer.err
    return answer, chips


def test_json_is_what_the_issue_asks_for(evaluated: Any) -> None:
    found = json.loads(evaluated[0].out)
    assert 0 <= found["float_accuracy"] <= 1
    assert [(row["at"], row["seconds"], row["drift_compensation"]) for row in found["rows"]] == [
        ("25s", 25, True),
        ("1d", 86400, True),
        ("25s", 25, False),
        ("1d", 86400, False),
    ]
    for row in found["rows"]:
        assert row["chips"] == 2
        assert 0 <= row["mean"] <= 1
        assert row["std"] >= 0
        for name, reference in (("loss", "float"), ("digital_loss", "digital")):
            assert row[name] == pytest.approx(100 * (found[f"{reference}_accuracy"] - row["mean"]))
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
        assert row["low"] <= row["mean"] <= row["high"]
    assert (found["data"], found["split"], found["clips"], found["synthetic"]) == ("speech_commands", "test", 12, False)
    assert re.search(r'"seconds": 86400,', evaluated[0].out)


def test_progress_goes_to_stderr(evaluated: Any) -> None:
    lines = evaluated[0].err.splitlines()
    for what, steps in (("Data", 100), ("Programming chips", 2), ("Reading chips", 4)):
        assert len([line for line in lines if line.startswith(f"{what}: {steps}/{steps} (100 %)")]) == 1
    assert "Running the digital networks ..." in lines


def test_files_are_written(evaluated: Any, first_training: tuple[Path, Any]) -> None:
    results = first_training[0] / "results"
    table = pd.read_csv(results / "drift.csv")
    assert list(table.columns) == ["chip", "seed", "at", "seconds", "drift_compensation", "accuracy"]
    assert len(table) == 2 * 2 * 2
    rows = json.loads(evaluated[0].out)["rows"]
    assert list(pd.read_csv(results / "summary.csv")["mean"]) == pytest.approx([row["mean"] for row in rows])
    clips = pd.read_csv(results / "samples.csv")
    assert len(clips) == 12 and {"name", "speaker", "class", "float", "digital", "25s", "1d"} <= set(clips.columns)
    assert clips["1d, no compensation"].mean() == pytest.approx(rows[3]["mean"])
    assert (results / "drift.png").read_bytes().startswith(b"\x89PNG")
    report = (results / "report.html").read_text("utf-8")
    assert report.count('<svg role="img"') == 1
    assert "A part of Speech Commands v0.02" in report
    assert sorted(path.name for path in results.iterdir()) == [
        *("drift.csv", "drift.png", "report.html", "samples.csv", "summary.csv")
    ]


def test_stored_chips_give_the_same_table(evaluated: Any, trained: Path, call: Call, tmp_path: Path) -> None:
    again = call("evaluate", trained, "--load-chips", evaluated[1], "--at", "25s,1d", "--json", "--out", tmp_path / "o")
    assert again.code == 0, again.err
    assert json.loads(again.out)["rows"] == json.loads(evaluated[0].out)["rows"]
    refused = call("evaluate", trained, "--save-chips", evaluated[1])
    assert refused.code == 1
    assert "--save-chips writes a new folder" in refused.error


def test_chips_measured_one_by_one_are_stored_and_give_the_same(
    evaluated: Any, trained: Path, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What --workers and --ray do, here in this process and interrupted after the first chip."""

    def in_turn(work: Any, task: str, settings: dict[str, Any], items: list[Any], **_: int) -> Iterator[Any]:
        yield from ((item, work(task, settings, item[1])) for item in items)

    monkeypatch.setattr(on_ray, "on_ray", in_turn)
    here, seen = tmp_path / "here", []

    @contextlib.contextmanager
    def stopping(*_: Any) -> Iterator[Any]:
        def told(done: int, total: int, row: dict[str, Any]) -> None:
            seen.append((done, row["seconds"]))
            if len(seen) == 1:
                raise KeyboardInterrupt

        yield told

    monkeypatch.setattr(command, "following", stopping)
    words = ("evaluate", trained, "--ray", "--at", "25s,1d", "--json", "--out", here)
    for more in (("--chips", 2), ("--load-chips", evaluated[1])):
        seen.clear()
        assert call(*words, *more).code == 130
        assert len(list(here.glob("by_chip/*/points/*.parquet"))) == 1
        answer = call(*words, *more)
        assert answer.code == 0, answer.err
        assert [done for done, _ in seen] == [1, 1, 2] and seen[0] == seen[1], "the first chip is not measured again"
        assert {**json.loads(answer.out), "results": ""} == {**json.loads(evaluated[0].out), "results": ""}
        assert not (here / "by_chip").exists()
    refused = call("evaluate", trained, "--workers", 2, "--save-chips", tmp_path / "chips")
    assert refused.code == 2 and "--save-chips stores what this process programmes" in refused.err


def test_chips_that_are_not_there(first_training: tuple[Path, Any], call: Call, tmp_path: Path) -> None:
    answer = call("evaluate", first_training[0], "--load-chips", tmp_path / "nope")
    assert answer.code == 1 and f"Received: '{tmp_path / 'nope'}', which does not exist." in answer.error


def test_measured_arrays_are_evaluated_as_chips(trained: Path, call: Call, tmp_path: Path) -> None:
    from analognets.deploy.lab.targets import export_targets

    targets = export_targets(Run.open(trained).analog_model(), tmp_path / "targets")
    arrays = tmp_path / "arrays"
    arrays.mkdir()
    for tile in json.loads((targets / "index.json").read_text("utf-8"))["tiles"]:
        np.save(arrays / f"{tile['name'].replace('/', '_')}.npy", 700 * np.load(targets / tile["file"]))  # nS, drifted
    words = ("evaluate", trained, "--load-chips", arrays, "--out", tmp_path / "o", "--at", "1d", "--json")
    answer = call(*words, "--measured-at", "1d", "--unit", "nS")
    assert answer.code == 0, answer.err
    [row] = [one for one in json.loads(answer.out)["rows"] if one["drift_compensation"]]
    assert (row["at"], row["chips"]) == ("1d", 1)
    assert "seems to be nS, not uS" in call(*words, "--measured-at", "1d").error
    assert "When were the arrays in" in call(*words, "--unit", "nS").error
    assert call("evaluate", trained, "--unit", "nS").code == 2


def test_a_chip_file_cut_short_is_named_and_nothing_is_lost(
    evaluated: Any, trained: Path, call: Call, tmp_path: Path
) -> None:
    chips = Path(shutil.copytree(evaluated[1], tmp_path / "chips"))
    victim = chips / "chip_0001.safetensors"
    victim.write_bytes(victim.read_bytes()[:-100])
    (trained / "results").mkdir(exist_ok=True)
    (trained / "results" / "drift.csv").write_text("before")
    answer = call("evaluate", trained, "--load-chips", chips)
    assert (answer.code, answer.out) == (1, "")
    assert "chip_0001.safetensors" in answer.error
    assert (trained / "results" / "drift.csv").read_text() == "before"


def test_options_reach_the_chips_and_the_table_says_what_next(trained: Path, call: Call, tmp_path: Path) -> None:
    answer = call(
        *("evaluate", trained, "--chips", 1, "--seed", 5, "--at", "60s", "--drift-compensation", "off"),
        *("--split", "validation", "--batch-norm", "--precision", "bfloat16", "--out", tmp_path / "here"),
    )
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert re.match(
        r"Float network, before training for hardware: [\d.]+ \u00b1 [\d.]+ % of 14 validation clips", lines[0]
    )
    assert lines[1].startswith("Same weights, digital: ")
    row = next(line.split() for line in lines if line.strip().endswith("off"))
    assert (row[2], row[4], row[-2]) == ("±", "-", "1")
    assert lines[-1] == f"Next: open {tmp_path / 'here' / 'report.html'}"
    assert "nan %" not in (tmp_path / "here" / "report.html").read_text("utf-8")
    assert pd.read_csv(tmp_path / "here" / "drift.csv")["drift_compensation"].tolist() == [False]


def test_each_class_is_told_of_if_asked_for(trained: Path, call: Call, tmp_path: Path) -> None:
    here = tmp_path / "here"
    words = ("evaluate", trained, "--chips", 1, "--at", "60s", "--split", "validation", "--out", here)
    answer = call(*words, "--by-class", "--json")
    assert answer.code == 0, answer.err
    table = pd.read_csv(here / "by_class.csv")
    found = json.loads(answer.out)
    assert [row["class"] for row in found["by_class"]] == table["class"].tolist()
    assert table["samples"].groupby(table["drift_compensation"]).sum().tolist() == [14, 14]
    for mode, part in table.groupby("drift_compensation"):
        right = (part["accuracy"].fillna(0) * part["samples"]).sum() / 14
        assert right == pytest.approx(next(r["mean"] for r in found["rows"] if r["drift_compensation"] == mode))
    assert "<h2>By class</h2>" in (here / "report.html").read_text("utf-8")
    again = call(*words)
    assert again.code == 0 and not (here / "by_class.csv").exists(), "no file of another evaluation stays"
    said = f"The results of an earlier evaluation in {here} were replaced. Keep both with --out."
    assert said in again.err and said not in answer.err


def test_another_drift_compensation_can_be_tried(trained: Path, call: Call, tmp_path: Path) -> None:
    words = ("evaluate", trained, "--chips", 2, "--at", "1y", "--drift-compensation", "on")
    tables = {}
    for rule in ("global", "input"):
        answer = call(*words, "--compensation", rule, "--out", tmp_path / rule)
        assert answer.code == 0, answer.err
        tables[rule] = pd.read_csv(tmp_path / rule / "summary.csv")
        assert tables[rule]["compensation"].tolist() == [rule]
        page = (tmp_path / rule / "report.html").read_text("utf-8")
        assert f"<td>drift compensation</td><td>{rule}</td>" in page
        assert f"(aon_cim_8bit, drift_compensation {rule})" in page, "the title names what was used"
        assert page.count("drift_compensation input") == (0 if rule == "global" else page.count("drift_compensation "))
    plain = call(*words, "--out", tmp_path / "plain", "--json")
    page = (tmp_path / "plain" / "report.html").read_text("utf-8")
    assert "<td>drift compensation</td><td>input</td>" in page
    assert json.loads(plain.out)["rows"][0]["mean"] == tables["input"]["mean"][0], "input is the recipe's own"
    wrong = call(*words, "--compensation", "inputs")
    assert wrong.code == 1 and "Unknown drift compensation. Did you mean 'input'" in wrong.error


def test_a_missing_run(call: Call, tmp_path: Path) -> None:
    answer = call("evaluate", tmp_path / "nothing")
    assert (answer.code, answer.out) == (1, "")
    assert "There is no run in" in answer.error


def test_an_unfinished_run_says_how_to_go_on(call: Call, tmp_path: Path) -> None:
    Run.create(tmp_path / "run", find_recipe("kws"))
    answer = call("evaluate", tmp_path / "run")
    assert answer.code == 1
    assert answer.error.endswith(
        f"Go on with: analognets train --recipe {tmp_path}/run/recipe.yaml --out {tmp_path}/run"
    )


def test_a_run_without_stage_2(call: Call, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", find_recipe("kws", ["hardware_aware=null"]))
    with run.session():
        pass
    answer = call("evaluate", tmp_path / "run")
    assert answer.code == 1
    assert "has no analog network" in answer.error
    assert "--float-from" in answer.error


def test_data_that_are_gone(trained: Path, call: Call, tmp_path: Path) -> None:
    edit_record(trained, folder=str(tmp_path / "unplugged"))
    answer = call("evaluate", trained)
    assert answer.code == 1
    assert f"were in '{tmp_path / 'unplugged'}', which is gone" in answer.error
    assert "--data" in answer.error


def test_data_of_other_classes(trained: Path, call: Call) -> None:
    edit_record(trained, classes=["one", "two"])
    answer = call("evaluate", trained)
    assert answer.code == 1
    assert "trained on other classes" in answer.error


@pytest.mark.parametrize(
    "words",
    [
        ("--split", "train"),
        ("--chips", "0"),
        ("--seed", "-1"),
        ("--drift-compensation", "maybe"),
        ("--precision", "int8"),
        ("--at", ""),
        ("--adabs", "8", "--adabs-at", ""),
        ("--load-chips", "there", "--chips", "2"),
        ("--load-chips", "there", "--save-chips", "here"),
    ],
    ids=" ".join,
)
def test_usage_errors_exit_2(call: Call, first_training: tuple[Path, Any], words: tuple[str, ...]) -> None:
    assert call("evaluate", first_training[0], *words).code == 2


def test_a_time_that_is_none(call: Call, first_training: tuple[Path, Any]) -> None:
    answer = call("evaluate", first_training[0], "--at", "25s,yesterday")
    assert answer.code == 1
    assert "yesterday" in answer.error


def test_a_full_disk_leaves_the_old_results_whole(trained: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = trained / "results"
    folder.mkdir(exist_ok=True)
    (folder / "drift.csv").write_text("old")

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "_flush", full)
    answer = call("evaluate", trained, "--chips", 1, "--at", "1d")
    assert answer.code == 1
    assert "No space left on device. What was there before is kept." in answer.error
    assert (folder / "drift.csv").read_text() == "old"
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_results_that_can_not_be_placed(call: Call, first_training: tuple[Path, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = call("evaluate", first_training[0], "--out", tmp_path / "file")
    assert answer.code == 1
    assert "can't be made" in answer.error


def test_on_a_terminal_bars_move_and_tensorflow_is_silent(
    first_training: tuple[Path, Any], environment: dict[str, str], tmp_path: Path
) -> None:
    """Everything on one pseudo-terminal, as a newcomer sees it."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "analognets", "evaluate", str(first_training[0]), "--chips", "2", "--at", "1d"]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "results")],
        env={**environment, "TERM": "xterm-256color", "COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # how Linux says that the other side is closed
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode("utf-8"))
    for part in ("Starting TensorFlow", "Data", "Running the digital networks", "Programming chips", "Reading chips"):
        assert part in text
    for noise in ("cuda", "absl", "0000 00:", "WARNING", "oneDNN", "Warning"):
        assert noise not in text
    assert text.split("\r\n")[-2].startswith("Next: open ")


def test_chips_calibrate_their_batch_norms_and_keep_that(trained: Path, call: Call, tmp_path: Path) -> None:
    words = ("evaluate", trained, "--at", "25s,1d", "--drift-compensation", "on", "--json")
    chips, tables, answers = tmp_path / "chips", {}, {}
    for name, more in {
        "adabs": ("--chips", 2, "--adabs", 8, "--adabs-at", "1h", "--save-chips", chips),
        "again": ("--chips", 2, "--adabs", 8, "--adabs-at", "1h", "--save-chips", chips),
        "off": ("--load-chips", chips, "--adabs", 0),
        "anew": ("--load-chips", chips, "--adabs", 12),
    }.items():
        answer = answers[name] = call(*words, *more, "--out", tmp_path / name)
        assert answer.code == 0, answer.err
        tables[name] = pd.read_csv(tmp_path / name / "summary.csv")
    used = {name: table["adabs"].tolist() for name, table in tables.items()}
    assert used == {"adabs": [0, 8], "again": [0, 8], "off": [0, 0], "anew": [12, 12]}
    assert "Calibrating chips: 2/2" in answers["adabs"].err and "Calibrating" not in answers["off"].err
    columns = ["mean", "low", "high"]
    pd.testing.assert_frame_equal(tables["again"][columns], tables["adabs"][columns])
    assert tables["off"]["mean"][0] == tables["adabs"]["mean"][0], "no calibration before an hour"
    assert "<td>AdaBS, training samples</td><td>8</td>" in (tmp_path / "adabs" / "report.html").read_text("utf-8")
    assert sorted(path.name for path in chips.glob("calibration*")) == [
        *("calibration_0000.safetensors", "calibration_0001.safetensors")
    ]


@pytest.mark.parametrize(
    ("words", "code", "match"),
    [
        (("--adabs", "1"), 1, "AdaBS needs at least 2 samples, because one has no variance. Received: 1"),
        (("--adabs", "100000"), 1, "--adabs takes at most the .* training clips there are. Received: 100,000"),
        (("--adabs-at", "1h"), 2, "give --adabs N too"),
        (("--adabs", "10", "--batch-norm"), 2, "set the same statistics"),
    ],
)
def test_a_calibration_that_can_not_be(trained: Path, call: Call, words: Any, code: int, match: str) -> None:
    answer = call("evaluate", trained, "--chips", 1, "--at", "1d", *words)
    assert (answer.code, answer.out) == (code, "")
    assert re.search(match, answer.err)


@pytest.fixture
def own(tmp_path: Path) -> tuple[Path, Path, Any, tuple[np.ndarray, np.ndarray]]:
    """Return a saved analog model of one's own, a file of labelled inputs, and both as objects."""
    import keras

    from analognets.conversion import to_analog

    keras.utils.set_random_seed(1)
    net = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, name="only")], name="mine")
    inputs = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
    labels = np.asarray(net(inputs)).argmax(axis=1)
    analog = to_analog(net, "aon_cim_8bit", calibrate_on=inputs)
    analog.save(tmp_path / "mine.keras")
    np.savez(tmp_path / "test.npz", inputs=inputs, labels=labels, groups=np.arange(40) // 2)
    return tmp_path / "mine.keras", tmp_path / "test.npz", analog, (inputs, labels)


def test_a_model_of_ones_own_is_evaluated_on_arrays(
    own: Any, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from analognets.deploy import program

    def in_turn(work: Any, task: str, settings: dict[str, Any], items: list[Any], **_: int) -> Iterator[Any]:
        yield from ((item, work(task, settings, item[1])) for item in items)

    monkeypatch.setattr(on_ray, "on_ray", in_turn)
    model, data, analog, pair = own
    words = ("evaluate", model, "--data", data, "--chips", 2, "--at", "1d,1y", "--drift-compensation", "on", "--json")
    answer = call(*words, "--out", tmp_path / "a", "--by-class")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    wanted = program(analog, 2, seed=0).evaluate(pair, at=["1d", "1y"])
    assert [row["mean"] for row in found["rows"]] == pytest.approx(
        wanted.groupby("seconds")["accuracy"].mean().tolist()
    )
    assert (found["data"], found["split"], found["clips"], found["digital_accuracy"]) == ("test.npz", None, 40, 1.0)
    samples = pd.read_csv(tmp_path / "a" / "samples.csv")
    assert samples["class"].tolist() == pair[1].tolist() and samples["speaker"].nunique() == 20
    text = (tmp_path / "a" / "report.html").read_text("utf-8")
    assert "mine on test.npz (aon_cim_8bit)" in text and "40 samples of 20 groups" in text
    shared = call(*words, "--out", tmp_path / "b", "--ray")
    assert shared.code == 0, shared.err
    assert json.loads(shared.out)["rows"] == found["rows"]
    column = call(*words, "--out", tmp_path / "c", "--compensation", "column", "--chips", 1)
    assert column.code == 0 and "aon_cim_8bit, drift_compensation column" in (tmp_path / "c/report.html").read_text(
        "utf-8"
    )


def test_arrays_stand_for_the_data_set_of_a_run(trained: Path, call: Call, tmp_path: Path) -> None:
    from analognets.zoo.trained import open_trained

    inputs, labels = open_trained(trained).task().features("test")
    np.savez(tmp_path / "test.npz", inputs=inputs, labels=labels)
    words = ("evaluate", trained, "--chips", 1, "--at", "1d", "--json", "--out", tmp_path / "results")
    by_name, by_file = call(*words), call(*words, "--data", tmp_path / "test.npz")
    assert by_name.code == by_file.code == 0, by_file.err
    means = [[row["mean"] for row in json.loads(one.out)["rows"]] for one in (by_name, by_file)]
    assert means[0] == means[1]


def test_models_of_ones_own_that_can_not_be_evaluated(own: Any, call: Call, tmp_path: Path) -> None:
    from analognets.conversion import to_digital

    model, data, analog, _ = own
    assert "and --data FILE.npz, which holds `inputs` and `labels`" in call("evaluate", model).error
    more = call("evaluate", model, "--data", data, "--adabs", 10).error
    assert "--adabs and --batch-norm take training samples, which a .npz file has none of" in more
    to_digital(analog).save(tmp_path / "digital.keras")
    assert "make it analog in Python" in call("evaluate", tmp_path / "digital.keras", "--data", data).error
    np.savez(tmp_path / "bad.npz", inputs=np.zeros((4, 6)), labels=np.full(4, 3))
    bad = call("evaluate", model, "--data", tmp_path / "bad.npz", "--out", tmp_path / "results").error
    assert "labels from 0 to 2. Received: 3 to 3" in bad
    np.savez(tmp_path / "wide.npz", inputs=np.zeros((4, 7)), labels=np.zeros(4))
    wide = call("evaluate", model, "--data", tmp_path / "wide.npz", "--out", tmp_path / "results").error
    assert "features and not raw data. Received: inputs (4, 7) for (None, 6)" in wide
    assert "--split is of a data set" in call("evaluate", model, "--data", data, "--split", "validation").err
    missing = call("evaluate", model, "--data", tmp_path / "none.npz", "--out", tmp_path / "results").error
    assert "No such file or directory. It must be a .npz file with the arrays `inputs`, `labels`" in missing
