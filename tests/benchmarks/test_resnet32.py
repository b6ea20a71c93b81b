"""The results page's part on ResNet-32: our rows beside the paper's, with A* of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks._chips import summary
from benchmarks.resnet32_study import CHANCE, PAPER, TIMES
from benchmarks.results_resnet32 import parts


def measured() -> dict[str, Any]:
    """Return readings of 2 chips on 100 pictures, of which the float network gets 6 wrong."""
    found: dict[str, Any] = {
        "float": 0.94,
        "float_wrong": list(range(6)),
        "samples": 100,
        "trained_without_devices": 0.93,
    }
    for kind, wrong in (("direct", 20), ("trained", 7)):
        rows = [(chip, at, wrong + chip) for chip in range(2) for at in TIMES]
        found[kind] = [
            {"chip": chip, "at": at, "accuracy": 1 - count / 100, "wrong": list(range(count))}
            for chip, at, count in rows
        ]
    return found


def test_our_rows_stand_beside_the_papers(tmp_path: Path) -> None:
    found = measured()
    stages = {
        name: {"recipe": {name: {"epochs": epochs}}, "record": {"data": {"samples": 45000}}}
        for name, epochs in (("float", 34), ("hardware_aware", 10))
    }
    shown = {"chance_error": CHANCE, **summary(found, CHANCE)}
    seed = {"seed": 0, "chips": 2, **found, "summary": shown, "made": stages}
    (tmp_path / "resnet32_cifar10.json").write_text(json.dumps({"paper": PAPER, "seeds": [seed]}), "utf-8")
    text = "\n".join(parts(tmp_path))
    # A* = 1 - (error - float error) / (chance error - float error): 1 - (7.5 - 6) / (90 - 6)
    assert "| ours | 0 | hardware-aware | 94.00 | 92.50 ±" in text and "| 98.2 ±" in text
    # the paper's table 2 by its own figures: 1 - (6.99 - 5.80) / (90 - 5.80)
    assert "| paper |  | hardware-aware | 94.20 | 93.27 | 93.01 | 92.67 | 91.45 | 98.6 | 96.7 |" in text
    assert "seed 0: 34 float epochs and 10 hardware-aware ones on 45,000 training pictures; 2 chips, 100 test" in text
