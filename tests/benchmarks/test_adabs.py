"""The study of calibrations on the chip: rows over seeds, figure, and what the results page says of them."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pandas as pd

study = importlib.import_module("benchmarks.adabs_study")
page = importlib.import_module("benchmarks.results_adabs")


def test_rows_figure_and_page(tmp_path: Path) -> None:
    rng, speakers = np.random.default_rng(0), [f"s{number % 7}" for number in range(40)]

    def one() -> dict[study.Key, np.ndarray]:
        found: dict[study.Key, np.ndarray] = {("float", 0, "", study.NEVER): np.ones(40)}
        for rule in study.RULES:
            for at in study.TIMES:
                found[rule, 0, at, study.NEVER] = (rng.random(40) < 0.6).astype(float)
            for count in (10, 1000):
                for at, calibrated in (("1d", "23h"), ("1y", "23h"), ("1y", "364d")):
                    found[rule, count, at, calibrated] = np.full(40, 0.9 if count == 1000 else 0.8)
        return found

    table = pd.DataFrame([row for bits in (8, 4) for row in study.rows_of(bits, [one(), one()], speakers)])
    assert len(table) == 2 * 3 * (2 + 2 * 3)
    best = table.query("bits == 4 and rule == 'input' and clips == 1000 and calibrated == '364d'").iloc[0]
    assert (best["accuracy"], best["loss"], best["loss_low"]) == (0.9, 10.0, 10.0) or abs(best["loss"] - 10) < 1e-9
    assert (table["low"] <= table["accuracy"]).all() and (table["loss_low"] <= table["loss"]).all()
    table.to_csv(tmp_path / "adabs.csv", index=False)
    about = {"clips": 40, "split": "validation", "speakers": 7, "seeds": [0, 1], "chips": 6}
    (tmp_path / "adabs.json").write_text(json.dumps(about))
    study.figure(table, tmp_path / "adabs.svg")
    assert (tmp_path / "adabs.svg").read_text("utf-8").count("<svg") == 1
    text = "\n".join(page.parts(tmp_path))
    assert "on 40 validation clips of 7 speakers, with half of its 95 % interval; 2 training seeds with 6 chips" in text
    assert "| after 1y | as trained | 10 clips | 1,000 clips | 1,000 clips after 23h |" in text
    assert "| after 1d | as trained | 10 clips | 1,000 clips |\n" in text
    row = next(line for line in text.splitlines() if line.startswith("| 4 bit, input |"))
    assert row.endswith("| +20.00 ± 0.00 | +10.00 ± 0.00 |")
