"""`analognets export`: the files of a run, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analognets.deploy.export.litert_file import read_litert
from analognets.training.run import Run

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def exported(first_training: tuple[Path, Any], call: Call, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the answer and the folder of the one export that tests share."""
    folder = tmp_path_factory.mktemp("export") / "firmware"
    answer = call("export", first_training[0], "--to", "tflm", "--out", folder, "--json")
    assert answer.code == 0, answer.err
    return answer, folder


def test_json_and_files_say_the_same(exported: Any, first_training: tuple[Path, Any]) -> None:
    answer, folder = exported
    found = json.loads(answer.out)
    assert sorted(path.name for path in folder.iterdir()) == sorted(found["files"])
    facts = read_litert(folder / "kws.tflite")
    assert (found["sha256"], found["macs"]) == (facts.sha256, facts.macs)
    assert facts.inputs[0].shape == (1, 49, 10, 1)
    assert facts.inputs[0].dtype == "int8"
    record = json.loads((folder / "kws.json").read_text())
    assert record["classes"] == Run.open(first_training[0]).record["data"]["classes"]
    assert record["frontend"]["preset"] == "arm_40ms"
    assert '"yes"' in (folder / "kws_model.h").read_text()
    assert {"kws_detector.h", "kws_detector.cc"} <= set(found["files"])
    assert record["detector"]["step"] == 0.1 and record["detector"]["thresholds"][10:] == [2.0, 2.0]


def test_nothing_is_replaced_unasked(exported: Any, first_training: tuple[Path, Any], call: Call) -> None:
    folder = exported[1]
    before = (folder / "kws.tflite").read_bytes()
    refused = call("export", first_training[0], "--out", folder, "--quantize", "none")
    assert refused.code == 1
    assert "holds kws.tflite, kws.json already" in refused.error
    assert (folder / "kws.tflite").read_bytes() == before
    other = call("export", first_training[0], "--out", folder, "--quantize", "none", "--name", "plain")
    assert other.code == 0, other.err
    assert read_litert(folder / "plain.tflite").weight_type == "float32"
    assert f"Written to {folder}: plain.tflite, plain.json" in other.out


def test_a_run_goes_to_aihwkit(first_training: tuple[Path, Any], call: Call, tmp_path: Path) -> None:
    answer = call("export", first_training[0], "--to", "aihwkit", "--out", tmp_path / "there", "--json")
    assert answer.code == 0, answer.err
    files = json.loads(answer.out)["files"]
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == sorted(files)
    kinds = [layer["kind"] for layer in json.loads((tmp_path / "there" / "network.json").read_text())["layers"]]
    assert kinds.count("Conv2D") > 3 and kinds[-1] == "Dense"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--quantize", "none", "--qat-epochs", "2"), 2, "exclude each other"),
        (("--name", "1st"), 2, "--name must be a letter"),
        (("--to", "onnx"), 2, "'litert', 'tflm'"),
    ],
)
def test_wrong_options(
    first_training: tuple[Path, Any], call: Call, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    answer = call("export", first_training[0], "--out", tmp_path / "x", *words)
    assert answer.code == code
    assert message in " ".join(answer.err.replace("│", " ").split())
    assert not (tmp_path / "x").exists()


def test_no_run_no_folder(call: Call, tmp_path: Path, first_training: tuple[Path, Any]) -> None:
    assert "There is no run" in call("export", tmp_path / "none", "--out", tmp_path / "x").error
    (tmp_path / "file").write_text("mine")
    answer = call("export", first_training[0], "--out", tmp_path / "file")
    assert "--out names a folder" in answer.error


@pytest.mark.parametrize(
    ("command", "step"),
    [
        ("evaluate", "an.deploy.program(model, chips=25).evaluate(test_data)"),
        ("compare", "an.deploy.to_litert(model, 'model.tflite', inputs) and an.deploy.program"),
        ("explore", "`analognets design FILE.keras --data FILE.npz`"),
        ("export", "an.deploy.to_tflm('model.tflite', 'firmware')"),
    ],
)
def test_a_model_file_is_told_what_fits_the_command(call: Call, tmp_path: Path, command: str, step: str) -> None:
    import keras

    from analognets.conversion import to_analog

    net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    to_analog(net, calibrate_on=np.eye(4)).save(tmp_path / "net.keras")
    answer = call(command, tmp_path / "net.keras", "--out", tmp_path / "out")
    assert answer.code == 1 and "holds no recipe" in answer.error and step in answer.error
