"""`analognets certify`: a sentence for people, JSON and exit codes for pipelines, one sentence for a wrong wish."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Call = Callable[..., Any]
ASKED = ("--yield", 60, "--confidence", 90)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the file of an analog network, and one of samples in groups that its chips get right."""
    import keras

    from analognets.conversion import to_analog

    folder = tmp_path_factory.mktemp("files")
    net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, use_bias=False)], name="net")
    net.set_weights([np.eye(4)])
    to_analog(net, calibrate_on=np.eye(4)).save(folder / "net.keras")
    labels = np.tile(np.arange(4), 30)
    inputs = np.eye(4)[labels]
    labels[:12] = (labels[:12] + 1) % 4  # 90 % right
    np.savez(folder / "data.npz", inputs=inputs, labels=labels, groups=np.arange(120) % 40)
    return folder / "net.keras", folder / "data.npz"


def test_promised_failed_and_undecided(call: Call, files: tuple[Path, Path], tmp_path: Path) -> None:
    words = (files[0], "--data", files[1], "--out", tmp_path / "out", *ASKED)
    passed = call("certify", *words, "--min-accuracy", 75, "--json", tmp_path / "c.json")
    assert passed.code == 0, passed.err
    assert "With 90 % confidence at least 60 % of chips keep an accuracy of 75 % 1y after programming." in passed.out
    for part in ("It rests on:", "120 samples (data.npz) in 40 groups", "It does not cover:", "Other trainings"):
        assert part in passed.out
    page = (tmp_path / "out" / "certificate.html").read_text("utf-8")
    assert "Yes. With 90 % confidence" in page and page.count('<svg role="img"') == 1
    facts = json.loads((tmp_path / "c.json").read_text())
    assert (facts["verdict"], facts["exit_code"], facts["bad"]) == ("pass", 0, 0)
    failed = call("certify", *words, "--min-accuracy", 99, "--no-data-uncertainty", "--json", "-")
    assert failed.code == 1
    assert json.loads(failed.out)["verdict"] == "fail" and json.loads(failed.out)["good"] == 0
    unclear = call("certify", *words, "--min-accuracy", 90, "--chips", 10, "--at", "1h,1y")
    assert unclear.code == 3
    assert "undecided" in unclear.out and "measure on more of them" in unclear.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--min-accuracy", "0.9"),
            "--min-accuracy takes percent, more than 1 and at most 100, such as 90. Received",
        ),
        (
            ("--min-accuracy", "90", "--yield", "100"),
            "--yield takes percent, more than 1 and at most 99.9, such as 95. Received",
        ),
        (
            ("--min-accuracy", "90", "--confidence", "0.99"),
            "--confidence takes percent, at least 50 and at most 99.9",
        ),
        (("--min-accuracy", "90", "--at", ""), "--at takes times"),
        (("--min-accuracy", "90", "--json", "/nowhere/c.json"), "--json takes a file in a folder that is there"),
        ((), "Missing option"),
    ],
)
def test_wrong_usage(call: Call, words: tuple[str, ...], message: str) -> None:
    answer = call("certify", "analognet_kws.hwa_8bit", *words)
    assert answer.code == 2
    assert message in " ".join(answer.err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--chips", "3"), "115 of them are needed to show a yield of 95 % with 99 % confidence"),
        (("--chips", "3", "--yield", "99.9", "--confidence", "99.9999"), "to show a yield of 99.9 % with 99.9999 %"),
        (("--at", "never"), "never"),
        (("--data", "nowhere"), "no such folder"),
        (("--device", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_wrong_values_write_nothing(call: Call, words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    answer = call("certify", "analognet_kws.hwa_8bit", "--min-accuracy", 90, *words, "--out", tmp_path / "out")
    assert answer.code == 1
    assert message in answer.error
    assert not (tmp_path / "out").exists()
