"""The standard test of the realistic crossbar: the stored table, and its main cases anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analognets import crossbar
from benchmarks.product_error import contributions, row, totals, worse

STORED = Path(__file__).resolve().parents[2] / "results" / "product_error.json"
STANDARD = crossbar.get("aimc_standard")
CASES = {case.name: case for case in (*totals(STANDARD), *contributions(STANDARD), *worse(STANDARD))}
QUICK = [
    "total (standard), 1h", "total without drift, read noise of the paper, 1h",
    "total by the letter of the paper's equations, 1d", "total with both devices programmed, as aihwkit does, 1h",
    "total (standard) without compensation, 1d", *(case.name for case in contributions(STANDARD)),
    "IR drop x 11.7", "dac_bits 4", "adc_bits 6", "adc_bits 4", "output_noise x 8.1",
]  # fmt: skip


@pytest.mark.parametrize("name", QUICK)
def test_the_case_comes_out_as_known(name) -> None:
    found = row(CASES[name], chips=1, vectors=300, seed=7)
    assert found["holds"], found


def test_a_case_that_is_off_is_seen() -> None:
    wrong = worse(STANDARD.scaled("ir_drop", 3))[0]
    assert not row(wrong, chips=1, vectors=300, seed=7)["holds"]


def test_the_stored_table_is_whole_and_holds() -> None:
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    assert [one["case"] for one in stored["rows"]] == list(CASES)
    assert stored["all_hold"] and all(one["holds"] for one in stored["rows"])
    assert stored["chips"] >= 8
    for one in stored["rows"]:
        case = CASES[one["case"]]
        assert (one["at"], one["independent"], one["limit"]) == (case.at, case.independent, case.limit)
        assert case.limit is None or abs(one["ours"] - case.independent) <= case.limit
