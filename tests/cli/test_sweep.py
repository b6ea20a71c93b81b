"""`analognets sweep`: curves over strength, going on, and what is said about wrong options."""

from __future__ import annotations

import html
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Call = Callable[..., Any]
FEW = ("--chips", 2, "--limit", 20)


def test_a_sweep_and_going_on_with_it(call: Call, trained: Path, speech: Path, tmp_path: Path) -> None:
    words = ("sweep", trained, "--nonideality", "output_noise", "--data", speech, "--out", tmp_path / "out", *FEW)
    answer = call(*words, "--values", "0,0.5", "--json")
    assert answer.code == 0, answer.err
    rows = pd.DataFrame(json.loads(answer.out)["rows"])
    assert list(rows["value"]) == [0.0, 0.5] and set(rows["chips"]) == {2} and set(rows["at"]) == {"1h"}
    assert rows["accuracy"].between(0, 1).all()
    assert (tmp_path / "out" / "sweep.png").stat().st_size > 5_000
    stored = pd.read_parquet(tmp_path / "out" / "sweep.parquet")
    assert len(stored) == 4 and set(stored["samples"]) <= set(range(1, 21))
    [first, *_] = sorted((tmp_path / "out" / "chips" / "points").iterdir())
    kept = {path: path.stat().st_mtime_ns for path in first.parent.iterdir()}
    again = call(*words, "--values", "0,0.5,1")
    assert again.code == 0, again.err
    assert "output_noise" in again.out and "* is the hardware as it is" in " ".join(again.out.split())
    assert "Written to" in again.out
    page = (tmp_path / "out" / "sweep.html").read_text("utf-8")
    assert "How much output noise do the networks bear?" in page and page.count('<svg role="img"') == 1
    assert shlex.join(["analognets", *map(str, words), "--values", "0,0.5,1"]) in html.unescape(page)
    now = {path: path.stat().st_mtime_ns for path in first.parent.iterdir()}
    assert len(now) == 6 and all(now[path] == time for path, time in kept.items())
    other = call("sweep", trained, "--nonideality", "ir_drop", "--data", speech, "--out", tmp_path / "out", *FEW)
    assert "begun with other settings" in other.error


def test_bits_may_be_ideal(call: Call, trained: Path, speech: Path, tmp_path: Path) -> None:
    words = ("--data", speech, "--out", tmp_path / "out", "--chips", 1, "--limit", 10, "--values", "ideal,4")
    answer = call("sweep", trained, "--nonideality", "adc_bits", *words)
    assert answer.code == 0, answer.err
    assert "ideal" in answer.out


def test_values_that_are_no_numbers(call: Call) -> None:
    answer = call("sweep", "analognet_kws.hwa_8bit", "--nonideality", "ir_drop", "--values", "1,much")
    assert answer.code == 2
    assert "--values takes numbers with commas between them" in " ".join(answer.err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("analognet_kws.hwa_8bit", "--nonideality", "irdrop"), "Did you mean 'ir_drop'"),
        (("analognet_kws.hwa_8bit", "--nonideality", "stuck_at_zero", "--values", "2"), "Received"),
        (("analognet_kws.hwa_8bit", "--nonideality", "drift", "--at", "soon"), "soon"),
        (("analognet_kws.float", "--nonideality", "drift"), "was not trained for hardware"),
        (("nowhere.keras", "--nonideality", "drift", "--data", "nowhere.npz"), "nowhere"),
        (("analognet_kws.hwa_8bot", "--nonideality", "drift"), "analognet_kws.hwa_8bit"),
    ],
)
def test_wrong_values_write_nothing(call: Call, words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    answer = call("sweep", *words, "--out", tmp_path / "out")
    assert answer.code == 1
    assert message in answer.error
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_else_is_left_alone(call: Call, tmp_path: Path, trained: Path, speech: Path) -> None:
    (tmp_path / "out" / "chips").mkdir(parents=True)
    (tmp_path / "out" / "chips" / "mine.txt").write_text("mine", "utf-8")
    words = ("--nonideality", "drift", "--values", "1", "--chips", 1, "--limit", 5)
    answer = call("sweep", trained, "--data", speech, "--out", tmp_path / "out", *words)
    assert "holds something else than a sweep" in answer.error
    assert (tmp_path / "out" / "chips" / "mine.txt").read_text("utf-8") == "mine"
