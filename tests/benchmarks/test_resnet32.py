"""The results page's part on ResNet-32: our rows beside the paper's, with A* of both."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from analognets.training import Run, TrainingData, train
from analognets.zoo.presets.saving import save_to_preset
from analognets.zoo.tasks import build_model, find_recipe
from benchmarks._chips import Samples, summary
from benchmarks.resnet32_study import CHANCE, PAPER, without_pictures, without_places
from benchmarks.resnet32_study import measured as measured_of
from benchmarks.results_a_star import TIMES
from benchmarks.results_resnet32 import headline, parts


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


RUN = {"seed": 0, "data": {"clips": {"train": 45000}, "folder": "/mnt/me/data", "float_from": "/mnt/me/run"}}


def test_our_rows_stand_beside_the_papers(tmp_path: Path) -> None:
    found = measured()
    stages = {
        name: {"recipe": {name: {"epochs": epochs}}, "record": without_places(RUN)}
        for name, epochs in (("float", 34), ("hardware_aware", 10))
    }
    shown = {"chance_error": CHANCE, **summary(found, CHANCE)}
    seed = {"seed": 0, "chips": 2, **without_pictures(found), "summary": shown, "made": stages}
    assert (
        "wrong" not in json.dumps(seed)
        and "/mnt/me" not in json.dumps(seed)
        and len(seed["direct"]) == len(found["direct"])
    )
    (tmp_path / "resnet32_cifar10.json").write_text(json.dumps({"paper": PAPER, "seeds": [seed]}), "utf-8")
    text = "\n".join(parts(tmp_path))
    # A* = 1 - (error - float error) / (chance error - float error): 1 - (7.5 - 6) / (90 - 6)
    assert "| ours | 0 | hardware-aware | 94.00 | 92.50 ±" in text and "| 98.2 ±" in text
    # the paper's table 2 by its own figures: 1 - (6.99 - 5.80) / (90 - 5.80)
    assert "| paper |  | hardware-aware | 94.20 | 93.27 | 93.01 | 92.67 | 91.45 | 98.6 | 96.7 |" in text
    name, what, ours, paper = headline(tmp_path)
    assert (name, paper) == ("the same, a benchmark of its own", "paper 98.6 / 96.7 %")
    assert what.endswith("A* after an hour / a year, 1 training") and re.fullmatch(
        r"98.2 ± [\d.]+ / 98.2 ± [\d.]+ %", ours
    )
    assert "seed 0: 34 float epochs and 10 hardware-aware ones on 45,000 training pictures; 2 chips, 100 test" in text


@pytest.mark.usefixtures("op_by_op")
def test_what_was_measured_is_on_the_card_of_the_preset(tmp_path: Path) -> None:
    shape, draw = (49, 10, 1), np.random.default_rng(0)
    recipe = find_recipe("kws").replace(
        {"model.options.widths": [4] * 5, "float.epochs": 0, "hardware_aware.epochs": 0}
    )
    made = Run.create(tmp_path / "hwa", recipe)
    inputs, labels = draw.normal(size=(20, *shape)).astype("float32"), np.arange(20) % 2
    data = TrainingData(lambda epoch: [], 1, None, inputs, {"name": "noise", "classes": ["a", "b"]})
    asked = []

    def measure(
        analog: keras.Model, samples: Samples, *, chips: int, times: tuple[str, ...], seed: int, first: int
    ) -> Any:
        asked.append(analog)
        return [
            {"chip": chip, "at": at, "accuracy": 0.75, "wrong": [0, 1, 2, 3, 4]}
            for chip in range(first, first + chips)
            for at in times
        ]

    model = build_model(made.recipe, classes=2, input_shape=shape)
    model.save(made.path / "float.keras")
    early = measured_of(made.path, (inputs, labels), inputs, chips=2, measure=measure)
    assert "trained" not in early and len(early["direct"]) == 8 and len(asked) == 1, "the run is still in training"
    train(made, model=lambda: model, data=data)
    alone = measured_of(made.path, (inputs, labels), inputs, chips=5, only=["direct"], measure=measure)
    assert "trained" not in alone and len(asked) == 2, "chips 2, 3 and 4, in one call"
    assert [row["chip"] for row in alone["direct"]] == [chip for chip in range(5) for _ in TIMES]
    found = measured_of(made.path, (inputs, labels), inputs, chips=2, measure=measure)
    again = measured_of(made.path, (inputs, labels), inputs, chips=2, measure=measure)
    assert {name: again[name] for name in found} == found
    assert len(asked) == 3, "what was measured is not measured again"
    preset = save_to_preset(made, tmp_path / "preset", test_data=(inputs, labels))
    table = preset.results[preset.results["condition"] == "hardware-aware"]
    assert table["at"].tolist() == list(TIMES) and table["chips"].tolist() == [2] * 4
    assert table["mean"].tolist() == [0.75] * 4
    assert table["loss"].tolist() == pytest.approx([100 * found["float"] - 75] * 4)
    digital = preset.record.accuracy.digital
    assert table["digital_loss"].tolist() == pytest.approx([100 * digital - 75] * 4)
