"""The page of results and the README's table: they are what the results files give."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]


def headline(results: Path, *, low: float = 0.985, high: float = 1.005) -> None:
    """Write a table of headline networks."""
    rows = []
    for recipe, variant in (("kws", "hwa_8bit"), ("kws", "hwa_4bit"), ("kws_resnet8", "hwa_standard")):
        for at in ("1h", "1d", "1y"):
            row = {"recipe": recipe, "variant": variant, "at": at, "seeds": 3, "chips_per_seed": 25, "clips": 1272}
            row |= {"speakers": 54, "float_accuracy": 0.92, "digital_accuracy": 0.918}
            for name, value, half in (("mean", 0.915, 0.026), ("loss", 0.5, 0.6), ("digital_loss", 0.3, 0.4)):
                row |= {name: value, f"{name}_low": value - half, f"{name}_high": value + half}
            rows.append(row | {"normalized_accuracy": 0.994, "normalized_low": low, "normalized_high": high})
    pd.DataFrame(rows).to_csv(results / "headline.csv", index=False)


@pytest.fixture
def generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script, working on a README and results of its own."""
    path = ROOT / "benchmarks" / "results_page.py"
    spec = importlib.util.spec_from_file_location("results_page", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, place in (("ROOT", tmp_path), ("RESULTS", tmp_path / "results")):
        monkeypatch.setattr(module, name, place)
        place.mkdir(exist_ok=True)
    (tmp_path / "README.md").write_text("# Title\n\n<!-- results:begin (script) -->\n<!-- results:end -->\nafter\n")
    rows = [
        (variant, "aon_cim_8bit", eta, mode, seconds, at, mean, 0.002, 25, 100 * (0.92 - mean), 0.92)
        for variant, eta, mean in (("hwa_8bit", 0.056, 0.915), ("no_noise", 0.0, 0.85), ("eta_2.6", 0.026, 0.91))
        for mode in (True, False)
        for at, seconds in (("25s", 25.0), ("1d", 86400.0))
    ]
    columns = "variant hardware weight_noise drift_compensation seconds at mean std chips loss float_accuracy".split()
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "results" / "kws.csv", index=False)
    settings = {"augmentation": {"silence_rms": [3e-5, 0.25]}}
    record = [{"data": {"name": "speech_commands", "statement": "A part of it."}, "recipe": settings}]
    headline(tmp_path / "results")
    (tmp_path / "results" / "headline.json").write_text(json.dumps({"note": "On a chip.", "runs": record}))
    (tmp_path / "results" / "kws.json").write_text(json.dumps(record))
    (tmp_path / "results" / "hwa_step.json").write_text(json.dumps({"ratio": 1.044, "ratio_cpu": 1.06}))
    return module


def run(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: str) -> int | str | None:
    """Run the script and return what it exits with."""
    monkeypatch.setattr(sys, "argv", ["results_page", *words])
    try:
        module.main()
    except SystemExit as end:
        return end.code
    return None


def test_page_and_table_are_written_and_then_up_to_date(
    generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "not up to date" in str(run(generator, monkeypatch, "--check"))
    readme, results = tmp_path / "README.md", tmp_path / "results" / "RESULTS.md"
    assert readme.read_text().count("|") == 0 and not results.exists()
    assert run(generator, monkeypatch) == 0
    text, page = readme.read_text(), results.read_text()
    assert run(generator, monkeypatch, "--check") == 0
    assert run(generator, monkeypatch) == 0
    assert (readme.read_text(), results.read_text()) == (text, page)
    assert text.startswith("# Title\n\n<!-- results:begin") and text.endswith("<!-- results:end -->\nafter\n")
    assert "after a day, 25 chips, 3 trainings | 91.50 ± 2.60 %; loss to float +0.50 ± 0.60 points |" in text
    assert "| float 92.0 %, same weights digital 91.8 % |" in text
    assert "an hour / a year, 3 trainings | 98.5 to 100.5 / 98.5 to 100.5 % |" in text
    assert "| AnalogNet-KWS, 8 bit | 3 | 92.00 | 91.50 ± 2.60 | 91.50 ± 2.60 | 91.50 ± 2.60 | +0.50 ± 0.60 |" in page
    assert "| 8 bit, hardware-aware | 91.50 ± 0.08 | 91.50 ± 0.08 | +0.50 |" in page
    assert "float accuracy 92.00 %" in page
    assert "| eta 0 % | eta 2.6 % | eta 5.6 % |" in page
    assert "| 85.00 ± 0.08 | 91.00 ± 0.08 | 91.50 ± 0.08 |" in page
    assert "| hardware-aware training step, batch 100 | 1.04 | 1.06 |" in page


def test_networks_on_the_crossbar_and_the_int8_baseline_are_shown(
    generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pd.read_csv(tmp_path / "results" / "kws.csv").replace({"variant": {"hwa_8bit": "net_depthwise_digital"}})
    chip = {"weights": 1000, "cells": 8000, "arrays": 2, "utilisation": 0.5, "effective_utilisation": 0.1}
    table[table["variant"] == "net_depthwise_digital"].assign(**chip).to_csv(
        tmp_path / "results" / "depthwise.csv", index=False
    )
    found = {"accuracy": 0.915, "bytes": 318_464, "tflm": {"clips": 200, "clips_bit_exact": 199, "arena_bytes": 61_232}}
    rivals = {"float": {"accuracy": 0.92, "bytes": 1_209_076}, "int8_qat": {**found, "epochs": 3}}
    (tmp_path / "results" / "int8_baseline.json").write_text(json.dumps(rivals))
    run(generator, monkeypatch)
    text = (tmp_path / "results" / "RESULTS.md").read_text()
    row = "| net, depthwise layers digital | 1,000 | 10.0 % | 2 | 92.00 | 91.50 ± 0.08 | 91.50 ± 0.08 | +0.50 |"
    assert row in text
    assert "| float32 | 92.00 | 1209 |  |  |" in text
    assert "| int8, quantisation-aware for 3 epochs | 91.50 | 318 | 61 | 199 of 200 clips |" in text


def test_a_star_is_claimed_only_where_its_interval_says_so(
    generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for low, high, said in (
        (
            0.985,
            1.005,
            "- after 1h: above 99 %: none; below: none; not decided by these data: AnalogNet-KWS, 8 bit (98.5",
        ),
        (0.991, 1.005, "- after 1h: above 99 %: AnalogNet-KWS, 8 bit (99.1 to 100.5 %), AnalogNet-KWS, 4 bit"),
        (0.97, 0.98, "- after 1h: above 99 %: none; below: AnalogNet-KWS, 8 bit (97.0 to 98.0 %), AnalogNet-KWS"),
    ):
        headline(tmp_path / "results", low=low, high=high)
        run(generator, monkeypatch)
        assert said in (tmp_path / "results" / "RESULTS.md").read_text()


def test_a_changed_figure_is_noticed(generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(generator, monkeypatch)
    for path, figure in ((tmp_path / "README.md", "91.5"), (tmp_path / "results" / "RESULTS.md", "91.50")):
        text = path.read_text()
        path.write_text(text.replace(figure, "97.50"))
        assert f"{path.name} is not up to date" in str(run(generator, monkeypatch, "--check"))
        path.write_text(text)


def test_the_pages_of_the_project_are_up_to_date() -> None:
    if not (ROOT / "results" / "kws.csv").is_file():
        pytest.skip("needs results/kws.csv, which python -m benchmarks.kws_study writes")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, "-m", "benchmarks.results_page", "--check"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_designed_hardware_is_set_beside_uniform_bits(
    generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.design_study import finding

    row = {"label": "bits 5 6", "epochs": 0, "mean_bits": 5.5, "energy_uj": 2.5, "searched_loss": 0.2}
    row |= {"loss": 0.3, "loss_low": 0.1, "loss_high": 0.5, "chips": 12}
    more = {"label": "bits 5 6", "energy_share": 0.8, "mean_bits": 5.5, "loss_more": 0.1}
    found = {"preset": "net", "at": "1d", "budget_uj": 2.6, "grid": 25, "evaluations": 5, "margin_points": 0.25}
    found |= {"uniform": {"bits": 6, "energy_uj": 3.0, "loss": 0.2, "loss_low": 0.1, "loss_high": 0.3}}
    found |= {"samples": {"searched": "80 clips", "confirmed": "90 clips", "reported": "70 clips"}}
    found |= {"search": {"chips": 3}, "reported": [{**row, "loss": 0.4, "loss_low": 0.3}]}
    found |= {"confirmed": [row], "hardware": {"preset": "aon_cim_6bit"}, "chosen": {"label": "bits 5 6", "epochs": 0}}
    for low, high, said in (
        (0.0, 0.2, "The chosen network of at most 6 bits on average dominates uniform 6 bit"),
        (0.05, 0.4, "The chosen network does not dominate uniform 6 bit"),
        (-0.2, 0.4, "is not decided by these data"),
    ):
        rows = [{**more, "loss_more_low": low, "loss_more_high": high}]
        result = {**found, "beside": rows, "finding": finding(rows)}
        (tmp_path / "results" / "design.json").write_text(json.dumps(result), "utf-8")
        run(generator, monkeypatch)
        text = (tmp_path / "results" / "RESULTS.md").read_text("utf-8")
        assert said in text and "5 evaluations of the 25 of the full grid" in text
        assert "| uniform 6 bit | no | 6 | 3.00 | 100 |  |  | 0.20 ± 0.10 |  |" in text
        assert "| **bits 5 6** | no | 5.5 | 2.50 | 83 | 0.20 | 0.30 ± 0.20 | 0.40 ± 0.10 | +0.10 ± " in text


def test_where_a_steps_time_goes_is_told_by_network(
    generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = {"plain_keras": 1.0, "noise_only": 1.1, "converters": 1.2, "ir_drop": 1.6, "hardware_aware": 1.9}
    variants = {name: {"wall_ratio": ratio} for name, ratio in times.items()}
    result = {"ratio": 1.9, "ratio_cpu": 2.0, "variants": variants}
    (tmp_path / "results" / "hwa_step_resnet8.json").write_text(json.dumps(result), "utf-8")
    run(generator, monkeypatch)
    text = (tmp_path / "results" / "RESULTS.md").read_text("utf-8")
    assert "| the same with the full standard crossbar, ResNet-8 for KWS | 1.90 | 2.00 |" in text
    assert "| and converters and IR drop | 1.60 |" in text and "| all of it | 1.90 |" in text
    assert "GRU for KWS |" not in text
