"""`train --on-device` and what follows, on a tiny MNIST."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analognets.training import Run

Call = Any
TINY = ("--set", "dataset.options={validation: 40}", "--set", "model.options.hidden=20", "--set", "float.epochs=2")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an mnist.npz of bars: the place of a bar is the class."""
    rng = np.random.default_rng(0)
    folder, arrays = tmp_path_factory.mktemp("mnist"), {}
    for part, count in (("train", 840), ("test", 100)):
        labels = np.arange(count) % 10
        pictures = rng.integers(0, 60, (count, 28, 28))
        for number, label in enumerate(labels):
            pictures[number, 2 * label + 3 : 2 * label + 6] = 220
        arrays |= {f"x_{part}": pictures.astype(np.uint8), f"y_{part}": labels.astype(np.uint8)}
    np.savez(folder / "mnist.npz", **arrays)
    return folder


@pytest.fixture(scope="module")
def learned(digits: Path, call: Call, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("runs") / "mlp"
    return folder, call("train", "mnist-mlp", "--on-device", "--data", digits, *TINY, "--out", folder)


def test_a_run_on_devices_trains_and_says_so(learned: tuple[Path, Any]) -> None:
    folder, answer = learned
    assert answer.code == 0, answer.err
    assert "Learning on devices: validation accuracy" in answer.out
    assert answer.out.splitlines()[-1] == f"Next: analognets evaluate {folder}"
    assert "pulses a weight" in answer.err
    page = (folder / "report.html").read_text("utf-8")
    assert "learn on memory devices" in page and page.count('<svg role="img"') == 2
    run = Run.open(folder)
    assert run.recipe.learns_on_devices and run.metrics()[-1]["val_accuracy"] > 0.8


def test_its_arrays_are_evaluated_over_time(learned: tuple[Path, Any], call: Call) -> None:
    folder, _ = learned
    answer = call("evaluate", folder, "--at", "1h,30d", "--json")
    assert answer.code == 0, answer.err
    rows = json.loads(answer.out)["rows"]
    assert [(row["at"], row["drift_compensation"]) for row in rows] == [
        ("1h", True), ("30d", True), ("1h", False), ("30d", False),
    ]  # fmt: skip
    assert all(row["chips"] == 1 and row["mean"] > 0.7 for row in rows)
    assert {"drift.png", "devices.png", "report.html"} <= {path.name for path in (folder / "results").iterdir()}
    many = call("evaluate", folder, "--chips", 3)
    assert many.code == 2 and "is one chip" in many.err


def test_without_the_switch_the_same_rule_trains_floats(digits: Path, call: Call, tmp_path: Path) -> None:
    answer = call("train", "mnist-mlp", "--data", digits, *TINY, "--out", tmp_path / "float")
    assert answer.code == 0, answer.err
    run = Run.open(tmp_path / "float")
    assert [row["stage"] for row in run.metrics()] == ["float"] * 2
    assert not (tmp_path / "float" / "on_device.keras").exists()


def test_what_can_not_be_is_refused(learned: tuple[Path, Any], digits: Path, call: Call, tmp_path: Path) -> None:
    wrong = ("--set", "on_device.weight_range=0.001")
    answer = call("train", "mnist-mlp", "--on-device", "--data", digits, *TINY, *wrong, "--out", tmp_path / "wrong")
    assert answer.code == 1 and "The devices can't hold" in answer.error
    assert not (tmp_path / "wrong").exists()
    both = call("train", "mnist-mlp", "--on-device", "--float-from", learned[0], "--out", tmp_path / "both")
    assert both.code == 2 and "--on-device begins with fresh weights" in " ".join(both.err.split())
