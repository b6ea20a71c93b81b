"""The comparison of predicted ageing with 200 chips, and what the results page says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.analytic_ageing import BLOCK, WANTED, compared, intervals
from benchmarks.results_ageing import parts


def chips(mean: float, seed: int) -> list[dict[str, Any]]:
    """Return blocks of chips whose accuracies are normal."""
    random = np.random.default_rng(seed)
    return [{"accuracy": {"1d": random.normal(mean, 0.01, BLOCK).tolist()}} for _ in range(WANTED // BLOCK)]


def test_what_is_inside_the_intervals_of_200_chips(tmp_path: Path) -> None:
    found = intervals(np.random.default_rng(0).normal(0.9, 0.01, 200))
    assert found["mean_high"] - found["mean"] == pytest.approx(1.972 * found["std"] / 200**0.5, rel=1e-3)
    assert (found["std_low"] / found["std"], found["std_high"] / found["std"]) == pytest.approx(
        (0.911, 1.109), abs=2e-3
    )
    networks = {}
    for name, mean, flag in (("near", 0.9, ""), ("off", 0.904, ""), ("far", 0.95, "On 24 simulated chips ...")):
        row = {"at": "1d", "flag": flag, "linear_mean": mean, "linear_std": 0.01, "mean_error": 7e-4, "std_error": 3e-4}
        rows = compared(pd.DataFrame([row]), chips(0.9, seed=1))
        networks[name] = {"rows": rows, "clips": 128, "split": "test", "check_chips": 60}
    assert [networks[name]["rows"][0]["mean_inside"] for name in networks] == [True, False, False]
    assert [networks[name]["rows"][0]["mean_agrees"] for name in networks] == [True, False, False]
    both = {"wall": 10.0, "cpu": 10.0}
    networks["near"]["speed"] = {
        "clips": 2000,
        "flag": "",
        "seconds": {"predicted": both, "of_which_compiling": both, "of_200_chips": both},
        "ratio": both,
        "ratio_without_compiling": both,
    }
    (tmp_path / "analytic_ageing.json").write_text(json.dumps({"networks": {**networks, "begun": {"blocks": []}}}))
    told, table, _, times = parts(tmp_path)
    assert "Of 4 numbers without a flag 3 are inside" in told and "128 test clips" in told
    assert "mean and spread" in table and "spread, flagged" in table and "begun" not in table
    assert "| near | 2,000 | 10 |" in times
    (tmp_path / "analytic_ageing.json").write_text(json.dumps({"networks": {"begun": {"blocks": []}}}))
    assert parts(tmp_path) == []
