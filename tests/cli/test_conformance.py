"""`analognets conformance`: writing a bundle, running it, and what is said of a simulator that departs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analognets.deploy.conformance import ReferenceRunner, Rules, open_bundle


def test_a_bundle_is_written_and_run(call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bundle"
    answer = call("conformance", "write", folder, "--chips", 4)
    assert answer.code == 0 and "run_peer.py aihwkit" in answer.out
    assert "Say overwrite=True" in call("conformance", "write", folder).error
    bundle = open_bundle(folder)
    (folder / "results").mkdir()
    found = ReferenceRunner(Rules(read_noise_reference="programmed"))(bundle).arrays
    np.savez(folder / "results" / "other.npz", **found)
    answer = call("conformance", "run", folder, "--tool", "other", "--json")
    assert answer.code == 1
    [verdict] = json.loads(answer.out)["verdicts"]
    assert [one["rule"] for one in verdict["departures"]] == ["read_noise_reference"]
    shown = call("conformance", "run", folder, "--tool", "reference", "--tool", "other")
    assert shown.code == 1 and "std of read at 25 s, 0.25 uS" in shown.out
    assert "reference 0" in shown.out and "conforms" in shown.out
    monkeypatch.setitem(sys.modules, "simulator", None)
    assert "is not installed here" in call("conformance", "run", folder, "--tool", "crosssim").error
