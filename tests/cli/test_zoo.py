"""`analognets zoo`: what it lists, shows, fetches and saves, and what it refuses; `evaluate` on a preset."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analognets.training.run import Run
from analognets.zoo.presets.handles import bundled
from analognets.zoo.tasks import find_recipe

Call = Callable[..., Any]


@pytest.fixture(scope="session")
def saved(first_training: tuple[Path, Any], call: Call, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Return the folder of a preset made of the shared run, and what saving it printed; not to be changed."""
    folder = tmp_path_factory.mktemp("presets") / "words.tiny"
    words = ("--statement", "Made for a test.", "--description", "A network of four filters.")
    answer = call("zoo", "save", first_training[0], folder, *words)
    assert answer.code == 0, answer.err
    return folder, answer


def test_list_names_all_bundled_presets(call: Call) -> None:
    rows = json.loads(call("zoo", "list", "--json").out)
    assert [row["name"] for row in rows] == sorted(bundled())
    assert {row["name"]: row["bits"] for row in rows}["analognet_kws.hwa_6bit"] == 6
    for row in rows:
        assert row["bytes"] < 2e6 and row["parameters"] > 1000 and row["data"]
        assert (row["bits"] is None) == (row["loss_1d"] is None)
    text = call("zoo", "list").out
    assert all(row["name"] in text for row in rows)
    assert f"{100 * rows[0]['accuracy']:.2f}" in text and "nan" not in text.lower()


def test_show_prints_the_card(call: Call, saved: tuple[Path, Any]) -> None:
    answer = call("zoo", "show", saved[0])
    assert answer.code == 0 and answer.out.startswith("# words.tiny\n")
    for part in ("A network of four filters.", "Made for a test. A part of Speech Commands", "CC BY 4.0", "Limits"):
        assert part in answer.out
    found = json.loads(call("zoo", "show", "analognet_kws.hwa_8bit", "--json").out)
    assert found["name"] == "analognet_kws.hwa_8bit"
    assert {row["condition"] for row in found["results"]} == {"digital", "hardware-aware"}
    assert "NaN" not in json.dumps(found)


def test_save_says_what_it_made(saved: tuple[Path, Any], first_training: tuple[Path, Any]) -> None:
    folder, answer = saved
    text = answer.out
    digest = hashlib.sha256((folder / "preset.json").read_bytes()).hexdigest()
    assert f"sha256 of preset.json: {digest}" in text
    assert re.search(r"Saved words\.tiny to .*: \d+ kB, digital accuracy [\d.]+ \u00b1 [\d.]+ %", text)
    record = json.loads((folder / "preset.json").read_text("utf-8"))
    run = Run.open(first_training[0])
    assert record["origin"]["recipe_fingerprint"] == run.recipe.fingerprint()
    assert (folder / "recipe.yaml").read_text("utf-8") == run.recipe.to_yaml()
    assert str(first_training[0]) not in (folder / "preset.json").read_text("utf-8")


def test_save_as_one_file_and_download_it(first_training: tuple[Path, Any], call: Call, tmp_path: Path) -> None:
    answer = call("zoo", "save", first_training[0], tmp_path / "words.zip", "--no-measure", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found["sha256"] == hashlib.sha256((tmp_path / "words.zip").read_bytes()).hexdigest()
    assert found["digital"] is None
    words = ("zoo", "download", tmp_path / "words.zip", "--sha256", found["sha256"], "--to", tmp_path / "here")
    fetched = call(*words, "--offline")
    assert fetched.code == 0, fetched.err
    assert f"words: 6 files in {tmp_path / 'here'}, every sha256 as in preset.json" in fetched.out
    assert len(list((tmp_path / "here").iterdir())) == 6
    again = call(*words)
    assert again.code == 1 and "--to names a new folder" in again.error
    wrong = call("zoo", "download", tmp_path / "words.zip", "--sha256", "0" * 64)
    assert wrong.code == 1 and "must have the sha256" in wrong.error


def test_a_float_run_with_the_results_of_direct_mapping(
    first_training: tuple[Path, Any], call: Call, tmp_path: Path
) -> None:
    digital = make_float_run(tmp_path / "float", first_training[0])
    mapped = Path(shutil.copytree(first_training[0], tmp_path / "mapped"))
    table = pd.DataFrame([{"at": "1d", "seconds": 86400.0, "drift_compensation": True, "mean": 0.5, "std": 0.1}])
    (mapped / "results").mkdir(exist_ok=True)
    table.assign(chips=2, loss=1.0, float_accuracy=0.51).to_csv(mapped / "results" / "summary.csv", index=False)
    refused = call("zoo", "save", digital, tmp_path / "p", "--no-measure", "--direct-mapping", mapped)
    assert refused.code == 1 and "hardware_aware.epochs=0" in refused.error
    recipe = Run.open(mapped).recipe.replace(["hardware_aware.epochs=0"])
    (mapped / "recipe.yaml").write_text(recipe.to_yaml(), "utf-8")
    edit(mapped / "run.json", fingerprint=recipe.fingerprint())
    answer = call("zoo", "save", digital, tmp_path / "p", "--no-measure", "--direct-mapping", mapped)
    assert answer.code == 0, answer.err
    results = pd.read_csv(tmp_path / "p" / "results.csv")
    assert list(results["condition"]) == ["direct mapping"]
    assert json.loads((tmp_path / "p" / "preset.json").read_text("utf-8"))["hardware"] is None
    evaluated = call("evaluate", tmp_path / "p")
    assert evaluated.code == 1 and "is a digital network, with nothing to programme" in evaluated.error


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")


def make_float_run(folder: Path, source: Path) -> Path:
    """Make a finished run without stage 2 of the float network of another."""
    run = Run.create(folder, Run.open(source).recipe.replace(["hardware_aware=null"]))
    with run.session(Run.open(source).record["data"]):
        shutil.copyfile(source / "float.keras", folder / "float.keras")
    return folder


def test_save_refuses(call: Call, first_training: tuple[Path, Any], saved: tuple[Path, Any], tmp_path: Path) -> None:
    taken = call("zoo", "save", first_training[0], saved[0])
    assert taken.code == 1 and "Nothing is overwritten unasked" in taken.error and "--overwrite" in taken.error
    Run.create(tmp_path / "run", find_recipe("kws"))
    unfinished = call("zoo", "save", tmp_path / "run", tmp_path / "p")
    assert unfinished.code == 1 and "made from a finished run" in unfinished.error
    nothing = call("zoo", "save", tmp_path / "nothing", tmp_path / "p")
    assert nothing.code == 1 and "There is no run in" in nothing.error
    assert not (tmp_path / "p").exists()


def test_a_card_is_written_anew(call: Call, saved: tuple[Path, Any], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved[0], tmp_path / "words.tiny"))
    [found] = json.loads(call("zoo", "card", folder, "--json").out)
    assert found["sha256"] == hashlib.sha256((saved[0] / "preset.json").read_bytes()).hexdigest(), "nothing changed"
    edit(folder / "preset.json", description="Said later.")
    answer = call("zoo", "card", folder)
    assert answer.code == 0, answer.err
    digest = hashlib.sha256((folder / "preset.json").read_bytes()).hexdigest()
    assert f"words.tiny: card written; sha256 of preset.json: {digest}" in answer.out
    assert "Said later." in call("zoo", "show", folder).out


def test_upload_needs_a_token(
    call: Call, saved: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs analognets[hub]")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    answer = call("zoo", "upload", saved[0], "hf://someone/nets")
    assert answer.code == 1 and "Received: no token. Log in with `hf auth login`, or set HF_TOKEN." in answer.error
    answer = call("zoo", "upload", saved[0], "nets")
    assert answer.code == 1 and "looks like hf://user/repo" in answer.error


def test_show_refuses_what_is_not_there(call: Call, tmp_path: Path) -> None:
    answer = call("zoo", "show", "analognet_kws.hwa8bit")
    assert answer.code == 1 and "Did you mean 'analognet_kws.hwa_8bit'?" in answer.error
    answer = call("zoo", "show", "https://host.invalid/p.zip")
    assert answer.code == 1 and "needs its sha256" in answer.error
    answer = call("zoo", "download", f"https://host.invalid/p.zip#sha256={'0' * 64}", "--offline")
    assert answer.code == 1 and "is not in the cache" in answer.error


def test_evaluate_takes_a_preset(
    saved: tuple[Path, Any], speech: Path, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(path.name for path in saved[0].iterdir())
    answer = call("evaluate", saved[0], "--data", speech, "--chips", 1, "--at", "1d", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found["results"] == "results/words.tiny"
    assert (tmp_path / "results" / "words.tiny" / "report.html").is_file()
    assert "float_accuracy" not in found, "a preset holds no float network"
    assert found["digital_accuracy"] == json.loads((saved[0] / "preset.json").read_text("utf-8"))["accuracy"]["digital"]
    assert found["rows"][0]["digital_loss"] == pytest.approx(
        100 * (found["digital_accuracy"] - found["rows"][0]["mean"])
    )
    assert sorted(path.name for path in saved[0].iterdir()) == before


def test_evaluate_says_which_data_a_preset_needs(saved: tuple[Path, Any], call: Call, tmp_path: Path) -> None:
    answer = call("evaluate", saved[0], "--out", tmp_path / "here")
    assert answer.code == 1
    assert "Speech Commands is not downloaded" in answer.error
    assert "It was trained on speech_commands: name its folder with --data DIR. --data synthetic" in answer.err


def test_evaluate_names_both_kinds_when_there_is_neither(call: Call, tmp_path: Path) -> None:
    answer = call("evaluate", tmp_path / "nothing")
    assert answer.code == 1 and "There is no run in" in answer.error
    assert "`analognets zoo list` shows the bundled ones" in answer.err
    answer = call("evaluate", "analognet_kws.hwa_9bit")
    assert answer.code == 1 and "Did you mean 'analognet_kws.hwa_8bit'?" in answer.err
