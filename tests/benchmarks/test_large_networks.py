"""Memory of large networks: how it is measured, and the bound that programming a chip keeps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import results_large
from benchmarks._memory import Steps

RESULTS = Path(__file__).resolve().parents[2] / "results"


def test_a_step_finds_its_peak() -> None:
    steps = Steps()
    steps.weights = 1 << 20
    with steps("large"):
        block = bytearray(64 << 20)
        block[::4096] = b"x" * len(block[::4096])
        del block
    with steps("nothing"):
        pass
    assert 60 < steps.found["large"]["peak_by_weights"] < 80
    assert abs(steps.found["nothing"]["peak_by_weights"]) < 10 and steps.found["nothing"]["cpu_seconds"] >= 0


def test_programming_a_chip_takes_at_most_two_and_a_half_times_the_weights() -> None:
    path = RESULTS / results_large.FILES[0]
    if not path.exists():
        pytest.skip("not measured here")
    for found in json.loads(path.read_text("utf-8"))["networks"].values():
        assert found["weights"] > 20e6 and found["steps"]["program"]["peak_by_weights"] <= 2.5
