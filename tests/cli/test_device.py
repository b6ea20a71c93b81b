"""`analognets device`: a table becomes a device file, which `evaluate` takes; bad tables give one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analognets import devices


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a table of 60 cells without drift laws worth a search."""
    random = np.random.default_rng(0)
    target = np.repeat([5.0, 20.0], 30)
    first = target + random.normal(size=60)
    columns = {f"g_uS@{time}": first * factor for time, factor in (("25s", 1.0), ("1h", 0.8))}
    path = tmp_path_factory.mktemp("lab") / "cells.csv"
    pd.DataFrame({"cell": np.arange(60), "target_uS": target, **columns}).to_csv(path, index=False)
    return path


def test_fit_show_and_evaluate(call, table, trained, speech, tmp_path) -> None:
    out = tmp_path / "my_device.yaml"
    answer = call("device", "fit", table, "--out", out, "--g-max", 25, "--replicates", 20, "--figures", tmp_path / "f")
    assert answer.code == 0, answer.err
    assert (
        "95 % interval" in answer.out
        and "can't be told" in answer.out
        and f"device: {out}" in answer.out.replace("\n", "")
    )
    assert {path.name for path in (tmp_path / "f").iterdir()} == {"laws.png", "quantiles.png"}
    page = (tmp_path / "my_device.html").read_text("utf-8")
    assert "Which device shows what 120 readings show" in page and page.count('<svg role="img"') == 2
    device = devices.get(str(out))
    assert device.g_max == 25.0 and "cells.csv, sha256" in device.source
    shown = json.loads(call("device", "show", out, "--json").out)
    assert shown["settings"]["programming_fit"] == list(device.programming_fit)
    again = call("device", "fit", table, "--out", out)
    assert again.code == 2 and "--overwrite" in again.err
    words = ("--data", speech, "--chips", 1, "--at", "1d", "--device", out, "--out", tmp_path / "results")
    evaluated = call("evaluate", trained, *words)
    assert evaluated.code == 0, evaluated.err
    assert "cells FittedDevice of cells.csv" in (tmp_path / "results" / "report.html").read_text()


def test_tabulated_as_json(call, table, tmp_path) -> None:
    out = tmp_path / "table.yaml"
    answer = call("device", "fit", table, "--out", out, "--tabulated", "--replicates", 20, "--json", "--quiet")
    assert answer.code == 0, answer.err
    facts = json.loads(answer.out)
    assert facts["device"] == str(out) and facts["cells"] == 60 and facts["constants"] and facts["verdict"]
    assert devices.get(str(out)).levels == (5.0, 20.0)


def test_states_of_neurosim_users_become_a_pulsed_device(call, tmp_path) -> None:
    path, out = tmp_path / "states.csv", tmp_path / "states.yaml"
    noise = np.random.default_rng(0).normal(size=21)
    states = 1.0 + 10.0 * (1.0 - 0.9 ** np.arange(21)) + 0.05 * noise
    pd.DataFrame({"pulse": np.arange(21), "LTP_uS": states}).to_csv(path, index=False)
    refused = call("device", "fit", path, "--out", out, "--depression")
    assert refused.code == 1 and "The table has no depression" in refused.err
    answer = call("device", "fit", path, "--out", out, "--replicates", 20)
    assert answer.code == 0, answer.err
    assert "NeuroSim" in answer.out and "Depression can't be told" in answer.out.replace("\n", " ")
    device = devices.get(str(out))
    assert device.potentiation_fit == pytest.approx((1.0, 0.1), rel=0.1) and "states.csv, sha256" in device.source
    assert (tmp_path / "states.html").read_text("utf-8").count('<svg role="img"') == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("cell,target,g@1h\n1,2,3\n", "or name the unit: units={'target': 'uS'}, or --units target=uS."),
        ("cell,target_uS,g_uS@0s\n1,2,3\n", "must be greater than 0"),
        ("cell,target_uS,g_uS@1h\n1,2,-3\n", "must be at least 0. Received: -3 uS in row 2"),
        ("cell,target_uS,g_uS@1h\n1,2,3\n2,3,3\n3,4,4\n", "at least 20 cells"),
    ],
)
def test_bad_tables(call, tmp_path, text: str, sentence: str) -> None:
    path = tmp_path / "cells.csv"
    path.write_text(text)
    answer = call("device", "fit", path, "--out", tmp_path / "device.yaml")
    assert answer.code == 1 and sentence in answer.error
    assert not (tmp_path / "device.yaml").exists()
