"""`analognets cost`: networks, runs, files, accelerators, and what is said about wrong ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of networks without a run lie in the working directory."""
    monkeypatch.chdir(tmp_path)


def test_table_of_a_network(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    def opened(address: str) -> bool:
        shown.append(address)
        return True

    monkeypatch.setattr("webbrowser.open", opened)
    answer = call("cost", "analognet_kws", "--open")
    assert answer.code == 0, answer.err
    page = tmp_path / "results" / "analognet_kws" / "cost_analognet_kws_aon_cim_8bit.html"
    assert shown == [page.as_uri()]
    text = page.read_text("utf-8")
    assert text.count('<svg role="img"') == 3 and "7,762 inferences/s" in text and "<td>conv_3</td>" in text
    assert "<pre>analognets cost analognet_kws</pre>" in text
    for text in ("57.4 % of the cells", "7,762", "991 passes", "8.55 TOPS/W", "conv_3", "1008 x 84", "calibrated"):
        assert text in answer.out


def test_json_and_figures(call: Call, tmp_path: Path) -> None:
    words = ("--bits", 4, "--accelerator", "tiles_256", "--json", "--figure", tmp_path / "new" / "figures")
    answer = call("cost", "ds_cnn", "--depthwise", "digital", *words)
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert (result["bits"], result["accelerator"]) == (4, "tiles_256")
    assert {layer["layer"] for layer in result["layers"] if not layer["analog"]} == {
        f"block_{number}_depthwise" for number in (1, 2, 3, 4)
    }
    assert len(result["figures"]) == 3
    assert all(Path(file).stat().st_size > 5000 for file in result["figures"])


def test_a_report_that_can_not_be_written_or_shown_is_a_warning(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    page = tmp_path / "out" / "cost_analognet_kws_aon_cim_8bit.html"
    words = ("cost", "analognet_kws", "--out", tmp_path / "out", "--open")
    shown = call(*words)
    assert shown.code == 0 and f"No browser was found to open the report. Open it yourself: {page}" in shown.err
    page.unlink()
    page.mkdir()
    answer = call(*words)
    assert answer.code == 0 and "7,762" in answer.out
    assert "Warning: There is no report: " in answer.err and "Is a directory" in answer.err
    (tmp_path / "file").write_text("")
    answer = call("cost", "analognet_kws", "--out", tmp_path / "file")
    assert answer.code == 0 and "7,762" in answer.out and "Name another folder with --out." in answer.err


def test_a_run(call: Call, trained: Path) -> None:
    answer = call("cost", trained, "--json")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert result["passes"] == 991  # its layers are narrow, so the passes are those of the wide ones
    record = json.loads((trained / "run.json").read_text("utf-8"))
    (trained / "run.json").write_text(json.dumps({**record, "status": "unfinished"}), "utf-8")
    assert "is not finished" in call("cost", trained).error


def test_a_keras_file(call: Call, tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((20,)), keras.layers.Dense(10, name="only")])
    model.save(tmp_path / "mine.keras")
    answer = call("cost", tmp_path / "mine.keras", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["operations"] == 400


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("analognet_ksw",), "Unknown network. Did you mean 'analognet_kws'?"),
        (("analognet_kws", "--bits", 12), "must be a whole number from 2 to 8"),
        (("analognet_kws", "--accelerator", "aon"), "Unknown accelerator"),
        (("analognet_kws", "--accelerator", "./none.yaml"), "can't be read: No such file"),
    ],
)
def test_what_is_said_about_wrong_words(call: Call, words: tuple[Any, ...], message: str) -> None:
    answer = call("cost", *words)
    assert answer.code == 1
    assert message in answer.error


def test_folders_that_are_no_network(call: Call, tmp_path: Path) -> None:
    assert "is neither a run nor a preset" in call("cost", tmp_path).error
    (tmp_path / "file").write_text("x", "utf-8")
    assert "can't be made" in call("cost", "analognet_kws", "--figure", tmp_path / "file" / "x").error
    assert call("cost", "analognet_kws", "--depthwise", "maybe").code == 2
