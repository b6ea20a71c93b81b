"""`analognets compare`: one table of float, int8 and analog; its files; and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analognets.cli import compare as compare_module
from analognets.cli.compare import wanted_bits
from analognets.deploy.export import qat
from analognets.deploy.export.litert import to_litert
from analognets.deploy.studies.compare import same_network
from analognets.zoo.trained import open_trained

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def compared(first_training: tuple[Path, Any], call: Call, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the answer and the folder of the one comparison that tests share; a quick stand-in trains for int8."""
    folder = tmp_path_factory.mktemp("compared") / "out"
    epochs = []

    def instead(network: Any, path: Path, data: Any, **settings: Any) -> Any:
        epochs.append((len(data), data[0][0].shape, settings["epochs"], settings["batch_size"]))
        settings["progress"](1, 1, {})
        return to_litert(network, path, data[0][0])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qat, "to_litert_qat", instead)
        patch.setattr(qat, "has_tfmot", lambda: True)
        words = ("--chips", 2, "--at", "25s,1d", "--bits", "8,4", "--qat", "--qat-epochs", 2, "--out", folder, "--json")
        answer = call("compare", first_training[0], *words, "--ranges", "kept")
    assert answer.code == 0, answer.err
    assert epochs == [(2, (20, 49, 10, 1), 2, 10)]
    return answer, folder


def test_one_row_for_each_version_and_time(compared: Any) -> None:
    rows = json.loads(compared[0].out)["rows"]
    assert [(row["version"], row["at"]) for row in rows] == [
        ("float", None),
        ("int8 LiteRT (PTQ)", None),
        ("int8 LiteRT (QAT)", None),
        *(("analog, 8 bit", at) for at in ("25s", "1d")),
        *(("analog, 4 bit", at) for at in ("25s", "1d")),
    ]
    digital, analog = rows[:3], rows[3:]
    assert all(0 <= row["accuracy"] <= 1 for row in rows)
    assert all(row["energy_uj"] is None and row["cells"] is None and row["bytes"] > 0 for row in digital)
    assert digital[1]["bytes"] < digital[0]["bytes"]
    assert all(row["low"] <= row["accuracy"] <= row["high"] for row in rows) and digital[0]["loss"] is None
    for row in rows[1:]:
        assert row["loss"] == pytest.approx(100 * (digital[0]["accuracy"] - row["accuracy"]))
        assert row["loss_low"] <= row["loss"] <= row["loss_high"]
    assert {row["bound"] for row in rows} == {None}, "two chips are a bound for no useful share"
    assert all(row["chips"] == 2 and row["std"] >= 0 and row["bytes"] is None for row in analog)
    assert len({(row["weights"], row["macs"]) for row in rows}) == 1
    assert {row["cells"] for row in analog} == {rows[0]["weights"]}
    assert analog[0]["energy_uj"] > analog[2]["energy_uj"] > 0
    notes = [row["note"] for row in analog]
    assert notes[:2] == ["", ""]
    assert all(note == "not trained for it: ranges as trained for 8 bit" for note in notes[2:])


def test_files_hold_the_same_rows(compared: Any) -> None:
    answer, folder = compared
    rows = json.loads(answer.out)["rows"]
    assert sorted(path.name for path in folder.iterdir()) == ["compare.csv", "compare.html", "compare.json"]
    assert json.loads((folder / "compare.json").read_text())["rows"] == rows
    table = pd.read_csv(folder / "compare.csv")
    assert list(table["accuracy"]) == pytest.approx([row["accuracy"] for row in rows])
    measured = json.loads(answer.out)["measured_on"][0]
    assert (measured["data"], measured["samples"], measured["split"]) == ("speech_commands", 12, "test")


def test_the_8_bit_rows_are_those_of_evaluate(compared: Any, first_training: tuple[Path, Any], call: Call) -> None:
    words = ("--chips", 2, "--at", "25s,1d", "--drift-compensation", "on", "--json", "--out", compared[1].parent / "e")
    found = json.loads(call("evaluate", first_training[0], *words).out)
    rows = json.loads(compared[0].out)["rows"]
    for here, there in (("accuracy", "mean"), *((name, name) for name in ("low", "high", "loss", "loss_low"))):
        assert [row[here] for row in rows[3:5]] == pytest.approx([row[there] for row in found["rows"]])
    for here, there in (("accuracy", ""), ("low", "_low"), ("high", "_high")):
        assert rows[0][here] == pytest.approx(found[f"float_accuracy{there}"])


def test_at_other_bits_it_agrees_with_explore(first_training: tuple[Path, Any], call: Call, tmp_path: Path) -> None:
    words = (first_training[0], "--bits", 4, "--chips", 2, "--at", "1d", "--seed", 3, "--json")
    answers = {}
    for ranges in ("calibrated", "kept"):
        more = () if ranges == "calibrated" else ("--ranges", ranges)
        compared = call("compare", *words, *more, "--out", tmp_path / f"compared {ranges}")
        assert compared.code == 0, compared.err
        row = json.loads(compared.out)["rows"][-1]
        arrays = ("--arrays", "1024x512", "--adcs", 128, "--out", tmp_path / f"explored {ranges}")
        explored = json.loads(call("explore", *words, *more, *arrays).out)["rows"][0]
        assert (row["accuracy"], row["std"]) == pytest.approx((explored["accuracy"], explored["accuracy_std"]))
        answers[ranges] = row["note"], explored["ranges"]
    assert answers["calibrated"] == ("not trained for it: ranges calibrated anew", "calibrated anew")
    assert answers["kept"] == ("not trained for it: ranges as trained for 8 bit", "trained")


def test_the_table_is_readable(first_training: tuple[Path, Any], call: Call, tmp_path: Path) -> None:
    answer = call(
        *("compare", first_training[0], "--chips", 1, "--at", "1h", "--bits", "6", "--split", "validation"),
        *("--out", tmp_path / "here"),
    )
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0].strip() == "Accuracy on 14 validation clips of speech_commands"
    assert re.search(
        r"version +time +accuracy % +loss to float +std +share of chips +size +weights +MACs +uJ +note", answer.out
    )
    row = next(line for line in lines if line.strip().startswith("analog, 6 bit"))
    accuracy_and_loss = r"1h +[\d.]+ \u00b1 [\d.]+ +[-+][\d.]+ \u00b1 [\d.]+ "
    rest = r"+- +- +[\d,]+ pairs +[\d,]+ +[\d,]+ +[\d.e-]+ +not trained for it"
    assert re.search(accuracy_and_loss + rest, row)
    assert lines[-1] == f"Written to {tmp_path / 'here'}: compare.csv, compare.json"


def test_runs_of_one_network_share_their_digital_rows(first_training: tuple[Path, Any]) -> None:
    run = open_trained(first_training[0])
    assert same_network([("a", run), ("b", run)]) == [[("a", run), ("b", run)]]
    other = open_trained(first_training[0])
    other.recipe = run.recipe.replace(["model.options.widths=[4,4,4,4,8]"])
    assert same_network([("a", run), ("b", other)]) == [[("a", run)], [("b", other)]]


def test_wrong_options(first_training: tuple[Path, Any], call: Call, tmp_path: Path) -> None:
    assert wanted_bits("8, 4,8") == (8, 4)
    answer = call("compare", first_training[0], "--bits", "8,one")
    assert answer.code == 2
    assert "--bits takes numbers from 2 to 16" in " ".join(answer.err.replace("│", " ").split())
    assert call("compare", first_training[0], "--at", "1 parsec").code == 1
    assert "There is no run" in call("compare", tmp_path / "none").error
    assert "not finished" in call("compare", unfinished(first_training[0], tmp_path)).error


def unfinished(run: Path, folder: Path) -> Path:
    """Return a run that was cut short."""
    record = json.loads((run / "run.json").read_text())
    new = folder / "unfinished"
    new.mkdir()
    (new / "run.json").write_text(json.dumps({**record, "status": "interrupted"}))
    (new / "recipe.yaml").write_text((run / "recipe.yaml").read_text())
    return new


def test_missing_extras_are_named_before_any_work(
    first_training: tuple[Path, Any], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare_module, "installed", lambda name: False)
    answer = call("compare", first_training[0])
    assert "pip install 'analognets[litert]'" in answer.error
    assert "Data" not in answer.err
