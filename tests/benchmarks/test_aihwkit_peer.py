"""The comparison with aihwkit: its table, what is said without it, and the same network in both where it is here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import analognets as an
from benchmarks import _aihwkit, aihwkit_peer, results_aihwkit

RNG = np.random.default_rng(0)


def pair(tmp_path: Path, hardware: str) -> aihwkit_peer.Pair:
    """Return a small network on hardware, samples, and what aihwkit rebuilds it from."""
    keras.utils.set_random_seed(0)
    inputs = RNG.normal(size=(40, 9, 8, 1)).astype("float32")
    plain = keras.Sequential(
        [
            keras.Input((9, 8, 1)),
            keras.layers.Conv2D(6, 3, padding="same", activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(12),
        ]
    )
    model = an.to_analog(plain, hardware, calibrate_on=inputs)
    labels = np.asarray(plain.predict(inputs, verbose=0)).argmax(-1)
    return aihwkit_peer.Pair(model, (inputs, labels), an.deploy.to_aihwkit(model, tmp_path / "there"))


def options(*more: str) -> Any:
    return aihwkit_peer.arguments().parse_args(
        ["--chips", "2", "--at", "1h", "--batch", "20", "--samples", "20", "--rounds", "1", *more]
    )


def test_numbers_out_of_range_are_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["aihwkit_peer", "--chips", "0"])
    with pytest.raises(SystemExit) as end:
        aihwkit_peer.main()
    assert end.value.code == 2 and "--chips must be 1 or more. Received: 0." in capsys.readouterr().err


def test_a_missing_peer_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "aihwkit", None)
    with pytest.raises(SystemExit):
        _aihwkit.find_peer(aihwkit_peer.arguments())
    assert "needs aihwkit and torch beside analognets" in capsys.readouterr().err


def test_the_page_shows_what_was_recorded(tmp_path: Path) -> None:
    at = {"1h": {"mean": 0.9, "low": 0.89, "high": 0.91, "chips": [0.89, 0.91]}}
    row = {"to_plain_cpu": 1.2, "to_analognets_cpu": 1.0}
    speed = {"analognets": row, "aihwkit": {"to_plain_cpu": 13.0, "to_analognets_cpu": 11.6}}
    found = {
        "clips": 1272,
        "hardware": "aimc_standard",
        "accuracy": {"digital": 0.92, **dict.fromkeys(("analognets", "analognets_as_aihwkit", "aihwkit"), at)},
        "speed": {"training": speed, "ageing": speed},
    }
    versions = {"aihwkit": "1.2.0", "torch": "2.13.0"}
    record = {"at": ["1h"], "chips": 2, "threads": 1, "batch": 100, "machine": versions}
    record["networks"] = {"resnet8_kws.hwa_standard": found}
    (tmp_path / results_aihwkit.FILES[0]).write_text(json.dumps(record))
    text = "\n".join(results_aihwkit.parts(tmp_path))
    assert "| ResNet-8 for KWS, `aimc_standard` | aihwkit | 90.00 ± 1.00 |" in text
    assert "| ResNet-8 for KWS | training step | C++ | 1.20 | 13.0 | 11.6 |" in text
    assert results_aihwkit.headline(tmp_path)[2] == "12 to 12 / 12 to 12 times as long there"


@pytest.mark.parity
@pytest.mark.parametrize("hardware", ["aimc_standard", "aon_cim_8bit"])
def test_the_same_network_in_both(tmp_path: Path, hardware: str) -> None:
    pytest.importorskip("torch", reason="needs aihwkit and torch")
    pytest.importorskip("aihwkit.simulator.rpu_base", reason="needs aihwkit", exc_type=ImportError)
    made = pair(tmp_path, hardware)
    inputs, _ = made.samples
    wanted = np.asarray(made.model(inputs)) if hardware == "aon_cim_8bit" else None
    for kind in made.tiles:
        found = _aihwkit.Chip(made.theirs(kind)).outputs(inputs)
        plain = an.conversion.to_digital(made.model).predict(inputs, verbose=0)
        assert np.corrcoef(found.ravel(), plain.ravel())[0, 1] > 0.97
        if wanted is not None:  # converters alone: the same steps
            assert np.mean(np.abs(found - wanted) > 1e-4 * np.abs(wanted).max()) < 0.02
    found = aihwkit_peer.accuracies(made, options())
    assert found["aihwkit"]["1h"]["mean"] > 0.5 and found["analognets"]["1h"]["mean"] > 0.5
    for job in (aihwkit_peer.training, aihwkit_peer.ageing):
        table = aihwkit_peer.compared(job(made, options()), 1)
        assert table["analognets"]["to_analognets_cpu"] == 1 and table["torch"]["to_plain_cpu"] == 1
        assert {*made.tiles} < {*table}
