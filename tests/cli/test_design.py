"""`analognets design`: a search that goes on, its files, hardware that other commands take, and wrong wishes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analognets import errors

pytest.importorskip("optuna", reason="needs the extra `design`")
Call = Callable[..., Any]
FEW = ("--bits", "8,6,4", "--adcs", "64,128", "--chips", 2, "--confirm-chips", 2, "--winners", 1, "--inner", "chips")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the file of an analog network of two layers, and one of samples that it gets right."""
    import keras

    from analognets.conversion import to_analog

    folder = tmp_path_factory.mktemp("files")
    layers = [keras.layers.Dense(4, use_bias=False, name=name) for name in ("first", "second")]
    net = keras.Sequential([keras.Input((4,)), *layers], name="net")
    net.set_weights([np.eye(4), np.eye(4)])
    labels = np.arange(24) % 4
    inputs = (0.5 + 0.3 * np.eye(4))[labels]  # alike to converters of 2 bits
    to_analog(net, calibrate_on=inputs).save(folder / "net.keras")
    np.savez(folder / "data.npz", inputs=inputs, labels=labels)
    return folder / "net.keras", folder / "data.npz"


@pytest.mark.usefixtures("op_by_op")
def test_a_design_its_files_and_going_on(call: Call, files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("design", files[0], "--data", files[1], "--loss", 1, "--out", out, *FEW)
    answer = call(*words, "--trials", 4, "--json")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    table = pd.DataFrame(result["table"])
    assert table["kind"].tolist()[:3] == ["uniform 8 bit", "uniform 6 bit", "uniform 4 bit"]
    assert len(table) == 4 and result["grid"] == 9 and result["evaluations"] <= 4
    chosen, tuned = result["chosen"], result["objectives"]
    assert tuned == ["energy", "area"] and chosen["loss"] <= 1 and chosen["feasible"]
    assert chosen["energy_uj"] < table["energy_uj"][0]
    assert result["samples"]["searched"].startswith("12 samples to search with (data.npz)")
    assert result["samples"]["reported"].startswith("12 samples to report on (data.npz)")
    names = {"hardware.yaml", "hardware_accelerator.yaml", "trials.csv", "confirmed.csv", "design.json", "design.db"}
    assert names | {"pareto.png", "design.html"} <= {item.name for item in out.iterdir()}
    assert json.loads((out / "design.json").read_text("utf-8"))["sentence"] == result["sentence"]
    assert "Which hardware keeps 1.00 points" in (out / "design.html").read_text("utf-8")

    kept = {path: path.stat().st_mtime_ns for path in (out / "points" / "points").iterdir()}
    again = call(*words, "--trials", 4)
    assert chosen["label"] in again.out and "against the digital network on the same samples" in again.out
    assert {path: path.stat().st_mtime_ns for path in (out / "points" / "points").iterdir()} == kept
    priced = call("cost", files[0], "--hardware", out / "hardware.yaml", "--accelerator",
                  out / "hardware_accelerator.yaml", "--json", "--out", tmp_path / "cost")  # fmt: skip
    assert json.loads(priced.out)["energy_uj"] == pytest.approx(chosen["energy_uj"])

    for changed, named in ((("--loss", 2), "`budgets`"), (("--bits", "8,4"), "`values`")):
        other = call(*words, "--trials", 4, *changed)
        assert other.code == 1 and f"begun with other settings: {named} differ" in other.error
    nothing = call(*words, "--trials", 1, "--overwrite", "--bits", "2", "--loss", 0)
    assert nothing.code == 1 and "candidates keeps 0.00 points: the nearest is 2 bit" in nothing.error
    assert not [*(out / "reported" / "points").iterdir()], "what was measured for the earlier design is forgotten"


@pytest.mark.usefixtures("op_by_op")
def test_the_choice_does_not_look_at_the_samples_of_the_report(
    call: Call, files: tuple[Path, Path], tmp_path: Path
) -> None:
    labels = np.arange(24) // 2 % 4
    inputs = 0.5 + 0.3 * np.eye(4)[labels]
    inputs[1::2] = 0.04 * np.eye(4)[labels[1::2]]  # zero to converters of 4 bits: every other sample, of the report
    np.savez(tmp_path / "data.npz", inputs=inputs, labels=labels)
    few = ("--bits", "8,4", "--adcs", 128, "--chips", 1, "--confirm-chips", 2, "--winners", 2, "--trials", 2)
    words = ("design", files[0], "--data", tmp_path / "data.npz", "--loss", 1, "--out", tmp_path / "out", *few)
    answer = call(*words, "--inner", "chips", "--json")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    losses = {row["label"]: row["loss"] for row in result["confirmed"]}
    assert losses == {"8 bit": 0.0, "4 bit": 0.0}, "both keep the budget where the choice is made"
    chosen, samples = result["chosen"], result["samples"]
    assert chosen["label"] == "4 bit" and chosen["confirmed_loss"] == 0.0
    assert chosen["loss"] == pytest.approx(75.0) and not chosen["feasible"], "8 bit would keep it in the report, too"
    assert "the budget of 1.00 points does not hold there: it held where the choice was made" in result["sentence"]
    assert samples["searched"] == samples["confirmed"] == "12 samples to search with (data.npz)"
    assert samples["reported"] == "12 samples to report on (data.npz)"
    reported = tmp_path / "out" / "reported" / "points"
    [kept] = reported.iterdir()
    before = kept.stat().st_mtime_ns
    for path in (tmp_path / "out" / "points" / "points").iterdir():
        path.unlink()
    again = json.loads(call(*words, "--inner", "chips", "--workers", 2, "--json").out)
    for row in (*again["table"], *result["table"]):
        del row["seconds"]
    assert again == result, "two processes search to the same end"
    assert [(kept, before)] == [(path, path.stat().st_mtime_ns) for path in reported.iterdir()]


@pytest.mark.usefixtures("op_by_op")
def test_a_search_by_predictions_is_confirmed_on_chips(
    call: Call, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from analognets.deploy.studies.design import bench

    few = ("--bits", "6", "--adcs", 128, "--confirm-chips", 2, "--trials", 1, "--loss", 1, "--inner", "predicted")
    labels = np.arange(24) // 2 % 4
    np.savez(tmp_path / "data.npz", inputs=0.8 * np.eye(4)[labels], labels=labels)
    words = ("design", files[0], "--data", tmp_path / "data.npz", *few, "--json")
    answer = call(*words, "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    [tried], [confirmed], chosen = result["table"], result["confirmed"], result["chosen"]
    assert (tried["flag"], tried["method"], tried["chips"], tried["loss"]) == ("", "predicted", 0, 0.0)
    assert [(row["method"], row["chips"], row["loss"]) for row in (confirmed, chosen)] == [("chips", 2, 0.0)] * 2

    def failing(*_: Any, **__: Any) -> Any:
        raise errors.ConversionError("Ageing is predicted for classifiers.")

    monkeypatch.setattr(bench, "predict_ageing", failing)
    [tried] = json.loads(call(*words, "--out", tmp_path / "simulated").out)["table"]
    assert (tried["method"], tried["chips"]) == ("chips", 3) and tried["flag"] == "Ageing is predicted for classifiers."


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "A design needs a budget: an energy for each inference (--energy 5uJ)"),
        (("--energy", "5"), "`energy` is an energy for each inference with a unit (pJ, nJ, uJ, mJ or J), such as 5uJ."),
        (("--energy", "5mm2"), "Received: '5mm2'"),
        (("--area", "3"), "`area` is an area with a unit"),
        (("--loss", "-1"), "`loss` is points of accuracy"),
        (("--energy", "5uJ", "--at", "soon"), "soon"),
        (("--energy", "5uJ", "--layers", "frist"), "Did you mean 'first'"),
        (("--energy", "5uJ", "--digital", "third"), "analog layer"),
        (("--energy", "1pJ"), "Nothing meets the budget of 1e-06 uJ: the nearest takes"),
        (("--energy", "5uJ", "--bits", "9"), "`bits` of accelerator 'aon_cim' must be a whole number from 2 to 8"),
        (("--energy", "5uJ", "--finetune", 1), "fine-tuned by the recipe of its network"),
        (("--energy", "5uJ", "--data", "nowhere"), "There are no data in 'nowhere'"),
    ],
)
def test_wrong_wishes(
    call: Call, files: tuple[Path, Path], words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    answer = call("design", files[0], "--data", files[1], "--out", tmp_path / "out", *words)
    assert answer.code == 1
    assert message in answer.error
    assert not (tmp_path / "out" / "points").exists()


def test_a_network_without_data(call: Call, files: tuple[Path, Path], tmp_path: Path) -> None:
    answer = call("design", files[0], "--loss", 1, "--out", tmp_path / "out")
    assert answer.code == 1 and "A model without a recipe needs data" in answer.error
    answer = call("design", "analognet_kws.hwa_6bit", "--loss", 1, "--out", tmp_path / "out")
    assert answer.code == 1 and "name its folder with --data DIR" in answer.err
    answer = call("design", "analognet_kws.float", "--loss", 1, "--out", tmp_path / "out")
    assert answer.code == 1 and "was not trained for hardware" in answer.error


@pytest.mark.usefixtures("op_by_op")
def test_winners_are_fine_tuned_by_the_recipe(call: Call, trained: Path, speech: Path, tmp_path: Path) -> None:
    few = ("--bits", "6", "--adcs", 128, "--chips", 1, "--confirm-chips", 2, "--trials", 1, "--inner", "chips")
    words = ("--data", speech, "--out", tmp_path / "out", "--energy", "9uJ", "--finetune", 1, "--limit", 6)
    answer = call("design", trained, *words, *few, "--json")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert sorted(row["epochs"] for row in result["confirmed"]) == [0, 1]
    assert result["hardware"]["dac_bits"] == result["hardware"]["adc_bits"] == 6
    [run] = (tmp_path / "out" / "retrained").iterdir()
    assert json.loads((run / "run.json").read_text("utf-8"))["status"] == "finished"
    assert "adc_bits: 6" in (run / "recipe.yaml").read_text("utf-8")
    hardware = tmp_path / "out" / "hardware.yaml"
    words = ("--data", speech, "--chips", 1, "--at", "1d", "--out", tmp_path / "e")
    measured = call("evaluate", trained, "--hardware", hardware, *words)
    assert measured.code == 0, measured.err
    assert "(hardware.yaml)" in (tmp_path / "e" / "report.html").read_text("utf-8"), "not the hardware of the recipe"
