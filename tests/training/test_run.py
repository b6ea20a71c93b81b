from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from analognets.core.files import locked, write_json
from analognets.errors import RunError
from analognets.training import Recipe, Run


def recipe(seed: int = 0) -> Recipe:
    return Recipe.from_dict({"name": "kws", "model": "m", "dataset": "d", "seed": seed})


def finished(path: Path) -> Run:
    run = Run.create(path, recipe())
    with run.session({"statement": "synthetic"}):
        run.write_metrics([{"stage": "float", "epoch": 0, "loss": 1.0}])
        (run.path / "float.keras").write_text("model")
        (run.results / "drift.csv").write_text("table")
    return run


def test_a_new_run_holds_its_recipe_and_record(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "deep" / "run", recipe(seed=7))
    again = Run.open(tmp_path / "deep" / "run")
    assert again.recipe == run.recipe == recipe(seed=7)
    assert (again.status, again.finished, again.metrics()) == ("unfinished", False, [])
    record = json.loads((run.path / "run.json").read_text())
    assert record["seed"] == 7
    assert record["fingerprint"] == recipe(seed=7).fingerprint()
    assert {"keras", "tensorflow", "analognets"} <= record["versions"].keys()
    assert record["python"] == ".".join(map(str, sys.version_info[:3]))


def test_a_session_records_data_and_status(tmp_path: Path) -> None:
    run = finished(tmp_path)
    assert Run.open(tmp_path).record["data"] == {"statement": "synthetic"}
    assert run.finished
    assert run.record["finished"] >= run.record["started"]
    assert Run.open(tmp_path).metrics() == [{"stage": "float", "epoch": 0, "loss": 1.0}]


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "interrupted"), (ZeroDivisionError, "failed")])
def test_a_session_that_ends_early_says_so_and_can_go_on(tmp_path: Path, error: type, status: str) -> None:
    run = Run.create(tmp_path, recipe())
    with pytest.raises(error), run.session():
        raise error
    assert Run.open(tmp_path).status == status
    with Run.create(tmp_path, recipe()).session():
        pass
    assert Run.open(tmp_path).finished
    assert len(Run.open(tmp_path).record["sessions"]) == 2


def test_a_run_does_not_go_on_with_other_data(tmp_path: Path) -> None:
    run = Run.create(tmp_path, recipe())
    with pytest.raises(KeyboardInterrupt), run.session({"name": "d", "clips": {"train": 10}}):
        write_json(tmp_path / "state.json", {})
        raise KeyboardInterrupt
    with pytest.raises(RunError, match=r"started with other data.*Received: clips \{'train': 9\}"):
        with Run.open(tmp_path).session({"name": "d", "clips": {"train": 9}}):
            pass
    assert Run.open(tmp_path).record["data"]["clips"] == {"train": 10}


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    finished(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != ".lock"}
    with pytest.raises(RunError, match=r"holds a finished run of 'kws'. Choose another folder, or pass overwrite=True"):
        Run.create(tmp_path, recipe())
    with pytest.raises(RunError, match="is finished. Start another one"), Run.open(tmp_path).session():
        pytest.fail("a session began")
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != ".lock"}


def test_overwrite_replaces_the_runs_own_files_only(tmp_path: Path) -> None:
    finished(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    run = Run.create(tmp_path, recipe(seed=1), overwrite=True)
    assert (run.status, run.recipe.seed, run.metrics()) == ("unfinished", 1, [])
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "float.keras").exists()
    assert not (tmp_path / "results").exists()
    assert Run.open(tmp_path).recipe.seed == 1


def test_another_recipe_does_not_take_over_an_unfinished_run(tmp_path: Path) -> None:
    Run.create(tmp_path, recipe())
    with pytest.raises(RunError, match=r"holds an unfinished run of 'kws' with another recipe"):
        Run.create(tmp_path, recipe(seed=1))
    assert Run.create(tmp_path, recipe()).recipe == recipe()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_other_things_is_refused(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match=r"is not empty and holds no run. .*thesis.tex"):
        Run.create(tmp_path, recipe(), overwrite=overwrite)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"can't be made"):
        Run.create(tmp_path / "file" / "run", recipe())


def break_json(path: Path) -> None:
    (path / "run.json").write_text('{"status": "unfin')


def break_record(path: Path) -> None:
    (path / "run.json").write_text("[]")


def break_recipe(path: Path) -> None:
    (path / "recipe.yaml").write_text("nome: x")


def change_recipe(path: Path) -> None:
    (path / "recipe.yaml").write_text(recipe(seed=9).to_yaml())


def remove_record(path: Path) -> None:
    (path / "run.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_json, r"run.json' can't be read"),
        (break_record, r"run.json' is not the record of a run"),
        (break_recipe, r"(?s)The recipe of the run .* can't be read: .*Did you mean 'name'"),
        (change_recipe, r"is not the recipe this run was started with"),
        (remove_record, r"There is no run in"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    Run.create(tmp_path, recipe())
    damage(tmp_path)
    with pytest.raises(RunError, match=message):
        Run.open(tmp_path)


def test_broken_metrics_are_named(tmp_path: Path) -> None:
    run = Run.create(tmp_path, recipe())
    (tmp_path / "metrics.jsonl").write_text('{"loss": 1}\n{"lo')
    with pytest.raises(RunError, match=r"metrics.jsonl' can't be read"):
        run.metrics()


def test_models_that_are_not_there_are_named(tmp_path: Path) -> None:
    run = Run.create(tmp_path, recipe())
    with pytest.raises(RunError, match=r"has no analog.keras \(status: unfinished\)"):
        run.analog_model()
    (tmp_path / "float.keras").write_bytes(b"PK not really a zip")
    with pytest.raises(RunError, match=r"float.keras' can't be loaded"):
        run.float_model()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    run = Run.create(tmp_path, recipe())
    code = (
        "import sys; from analognets.training import Run; from analognets.errors import RunError\n"
        "try:\n    with Run.open(sys.argv[1]).session(): pass\n"
        "except RunError as error: sys.exit(str(error))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with run.session():
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
        assert f"is in use by process {os.getpid()}" in refused.stderr
        with pytest.raises(RunError, match="is in use by process"):
            Run.create(tmp_path, recipe(), overwrite=True)
    with locked(tmp_path):
        pass
