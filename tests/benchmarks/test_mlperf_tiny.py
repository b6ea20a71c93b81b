"""The results of MLPerf Tiny: taken over whole only, and shown on the page of results."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import mlperf_tiny, results_page

RECORD: dict[str, Any] = {
    "settings": {"quick": False, "limit": None},
    "about": ["Networks: from somewhere."],
    "table": {
        "header": ["network", "bits"],
        "rows": [["ResNet-8", "8"]],
        "notes": ["not trained yet"],
        "data": ["ResNet-8 (ic): the published file."],
    },
}


def stored(folder: Path, record: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "benchmark.json").write_text(json.dumps(record), "utf-8")
    (folder / "benchmark.csv").write_text("member,figure\nic,float\n", "utf-8")
    return folder


def test_a_whole_benchmark_gets_a_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = stored(tmp_path / "out", RECORD)
    monkeypatch.setattr(sys, "argv", ["mlperf_tiny", str(out), "--results", str(tmp_path / "results")])
    mlperf_tiny.main()
    monkeypatch.setattr(results_page, "RESULTS", tmp_path / "results")
    text = results_page.page()
    assert "## MLPerf Tiny on an analog chip" in text and "| ResNet-8 | 8 |" in text
    assert "1. not trained yet" in text and "- ResNet-8 (ic): the published file." in text


@pytest.mark.parametrize("settings", [{"quick": True, "limit": None}, {"quick": False, "limit": 100}])
def test_a_try_is_no_result(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match="which is no result"):
        mlperf_tiny.collected(stored(tmp_path / "out", {**RECORD, "settings": settings}))
    with pytest.raises(SystemExit, match="holds no benchmark.json"):
        mlperf_tiny.collected(tmp_path)
