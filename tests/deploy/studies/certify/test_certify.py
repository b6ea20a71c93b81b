"""Certificates of a small network: chips are those of `program`, an interrupted one goes on, constants are drawn."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analognets as an
from analognets import devices
from analognets.conversion import to_digital
from analognets.deploy.studies.certify.bench import Bench
from analognets.errors import ConversionError, InvalidArgumentError, RunError

ASKED: dict[str, Any] = {"min_yield": 0.5, "confidence": 0.9, "chips": 20}


@pytest.fixture(scope="module")
def model(make: Callable[..., Any]) -> Any:
    return make("pcm")


@pytest.fixture(scope="module")
def data(model: Any, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels = np.asarray(to_digital(model)(samples)).argmax(-1)
    return samples, labels, np.arange(len(samples)) // 4


def test_pass_with_the_chips_of_program_and_go_on(
    model: Any, data: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []
    plain = Bench.measure

    def counted(self: Bench, number: int, seconds: float) -> dict[str, Any]:
        measured.append(number)
        return plain(self, number, seconds)

    def interrupt(done: int, most: int, row: dict[str, Any]) -> None:
        if done == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Bench, "measure", counted)
    given = {**ASKED, "min_accuracy": 0.3, "at": ["1d", "1y"], "data": data, "folder": tmp_path / "audit"}
    with pytest.raises(KeyboardInterrupt):
        an.deploy.certify(model, **given, progress=interrupt)
    found = an.deploy.certify(model, **given)
    assert measured == [number for number in range(found.chips) for _ in range(2)]
    assert found and found.exit_code == 0 and found.good == found.chips == 6 and found.yield_low > 0.5
    expected = an.deploy.program(model, chips=6).decide(data[:2], at=["1d", "1y"]).accuracies()
    lowest = expected.groupby("chip")["accuracy"].min()
    assert list(found.table["accuracy"]) == list(lowest)
    assert (found.table["low"] < lowest.to_numpy()).all() and (found.table["high"] > lowest.to_numpy()).all()
    stored = json.loads((tmp_path / "audit" / "certificate.json").read_text())
    assert stored == json.loads(json.dumps(found.to_dict())) and stored["verdict"] == "pass"
    assert str(found) == (
        "With 90 % confidence at least 50 % of chips keep an accuracy of 30 % 1d and 1y after programming."
    )
    assert "50 groups" in " ".join(found.rests_on) and "constants" in " ".join(found.leaves_out)
    bounds = dataclasses.replace(found, yield_low=0.94996, yield_high=0.95004).evidence()
    assert "at least 94.99 % and at most 95.01 %" in bounds  # rounded to the safe side
    with pytest.raises(RunError, match="begun with other settings: `seed`"):
        an.deploy.certify(model, **given, seed=1)


def test_fail_and_undecided(model: Any, data: tuple[Any, ...]) -> None:
    failed = an.deploy.certify(model, **ASKED, min_accuracy=1.0, data=data[:2], data_uncertainty=False)
    assert not failed and failed.exit_code == 1 and failed.yield_high < 0.5 and "fewer than 50 %" in failed.sentence
    middle = float(failed.table["accuracy"].median())
    open_ = an.deploy.certify(model, **ASKED, min_accuracy=middle, data=data)
    assert open_.exit_code == 3 and "undecided" in open_.sentence and open_.next_step()
    assert open_.yield_low <= 0.5 <= open_.yield_high


def test_constants_are_drawn_over_the_bootstrap(make: Callable[..., Any], data: tuple[Any, ...]) -> None:
    fitted = devices.FittedDevice(
        uncertainty={"names": ["programming_fit[0]"], "low": [0.1], "high": [90.0], "draws": [[0.1], [90.0]]}
    )
    network = make(fitted)
    given = {**ASKED, "min_accuracy": 0.3, "data": data[:2], "data_uncertainty": False}
    found = an.deploy.certify(network, **{**given, "min_yield": 0.9, "chips": None})
    assert "2 replicates" in " ".join(found.rests_on) and "mean over the replicates" in " ".join(found.leaves_out)
    accuracies = found.table["accuracy"]
    assert accuracies.max() - accuracies.min() > 0.1  # 90 uS of programming noise leave nothing of a network
    exact = an.deploy.certify(network, **given, constants_uncertainty=False)
    assert "taken as exact" in " ".join(exact.leaves_out)
    same = {**fitted.uncertainty, "draws": [[fitted.programming_fit[0]]]}
    alike = make(dataclasses.replace(fitted, uncertainty=same))
    drawn = an.deploy.certify(alike, **given)
    assert list(drawn.table["accuracy"]) == pytest.approx(list(exact.table["accuracy"]), abs=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_accuracy": 90}, "`min_accuracy` of certify must be a number from 0 to 1"),
        ({"min_yield": 1.0}, "`min_yield` of certify must be a number from 0.01 to 0.999"),
        ({"confidence": 0.2}, "`confidence` of certify"),
        ({"at": []}, "1 to 1,000 times"),
        ({"chips": 2}, "6 of them are needed to show a yield of 50 %"),
        ({"split": "train"}, "`split` of certify"),
        ({"data": None}, "A model without a recipe needs data"),
        ({"data": (np.zeros((4, 7, 5, 2)), np.zeros(4))}, "4 samples show an accuracy of 47.29 % at most"),
        ({"data": (np.zeros((4, 7, 5, 2)), np.zeros(4), np.ones(3))}, "the group of each sample"),
        ({"data": (np.zeros((4, 7, 5, 2)), np.zeros(4), np.ones(4))}, "Samples of one group"),
    ],
)
def test_what_is_refused(model: Any, data: tuple[Any, ...], change: dict[str, Any], message: str) -> None:
    given = {**ASKED, "min_accuracy": 0.6, "data": data, **change}
    with pytest.raises(InvalidArgumentError, match=message):
        an.deploy.certify(model, **given)


def test_a_digital_network_is_refused(model: Any, data: tuple[Any, ...]) -> None:
    with pytest.raises(ConversionError, match="nothing to programme"):
        an.deploy.certify(to_digital(model), **ASKED, min_accuracy=0.6, data=data)
