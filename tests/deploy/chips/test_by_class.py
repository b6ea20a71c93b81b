"""Accuracy by class, confusions, false alarms and misses: the same readings as the overall accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from analognets.deploy import by_class
from analognets.deploy.chips.chips import program, summarize
from analognets.deploy.chips.report import write_report
from analognets.errors import InvalidArgumentError
from analognets.metrics import mean_interval


def counted(counts: list[Any], modes: list[bool] | None = None) -> pd.DataFrame:
    """Return a table as `Decisions.confusion` does, of one (classes, classes) array for each chip."""
    rows = []
    for mode in modes or [True]:
        for chip, one in enumerate(counts):
            for label, row in enumerate(one):
                for output, count in enumerate(row):
                    rows.append((chip, 0, "1d", 86400.0, mode, label, output, count))
    names = ["chip", "seed", "at", "seconds", "drift_compensation", "label", "output", "count"]
    return pd.DataFrame(rows, columns=names)


def test_confusions_and_accuracies_are_those_of_the_same_readings(make: Any, samples: Any) -> None:
    model = make("pcm")
    chips = program(model, 2)
    labels = model.predict(samples, verbose=0).argmax(1)
    for form in (labels, np.eye(3)[labels]):
        settings: dict[str, Any] = {"at": ["25s", "1y"], "drift_compensation": "both"}
        decided = chips.decide((samples, form), **settings)
        table, found = chips.evaluate((samples, form), **settings), decided.confusion()
        pd.testing.assert_frame_equal(decided.accuracies(), table, check_exact=True)
        names = ["drift_compensation", "seconds", "at", "mean", "std", "chips", "bound", "bound_share"]
        pd.testing.assert_frame_equal(decided.summary()[names], summarize(table)[names])
        classes = by_class(decided, groups=["a", "b"] * 100)
        told = classes.drop(columns=["low", "high"])
        pd.testing.assert_frame_equal(told, by_class(found))
        own = decided.truth == 1
        right = (decided.chosen == decided.truth)[decided.readings.query("at == '1y' and drift_compensation").index]
        ends = mean_interval(right[:, own], np.array(["a", "b"] * 100)[own].tolist())
        row = classes.query("at == '1y' and drift_compensation").iloc[1]
        assert (row["low"], row["high"]) == pytest.approx((ends.low, ends.high))
    outputs = chips.predict(samples, chip=1, at="1y", drift_compensation=False).argmax(1)
    part = found.query("chip == 1 and at == '1y' and not drift_compensation")
    expected = np.array([[((labels == one) & (outputs == other)).sum() for other in range(3)] for one in range(3)])
    np.testing.assert_array_equal(part["count"].to_numpy().reshape(3, 3), expected)
    assert part["count"].sum() == len(samples)


def test_each_class_has_its_row() -> None:
    found = by_class(counted([[[8, 2, 0], [0, 5, 5], [0, 0, 0]], [[6, 4, 0], [0, 10, 0], [0, 0, 0]]]), ["a", "b", "c"])
    assert found["class"].tolist() == ["a", "b", "c"] and found["samples"].tolist() == [10, 10, 0]
    np.testing.assert_allclose(found["accuracy"], [0.7, 0.75, np.nan])
    np.testing.assert_allclose(found["std"][:2], [np.std([0.8, 0.6], ddof=1), np.std([0.5, 1.0], ddof=1)])
    np.testing.assert_allclose(found.loc[0, ["as a", "as b", "as c"]].astype(float), [0.7, 0.3, 0.0])
    assert "miss_rate" not in found and (found["chips"] == 2).all()
    shuffled = counted([[[8, 2], [1, 9]], [[6, 4], [3, 7]]], [False, True]).sample(frac=1, random_state=0)
    ordered = counted([[[8, 2], [1, 9]], [[6, 4], [3, 7]]], [True, False])
    pd.testing.assert_frame_equal(by_class(shuffled), by_class(ordered))


def test_two_classes_are_a_detector() -> None:
    found = by_class(counted([[[90, 10], [3, 7]]]), ["no person", "person"])
    np.testing.assert_allclose(found["false_alarm_rate"], 0.1)
    np.testing.assert_allclose(found["miss_rate"], 0.3)
    assert found["std"].isna().all()


def test_a_single_output_is_a_detector(samples: Any) -> None:
    from analognets.conversion import to_analog
    from analognets.layers import calibrate

    keras.utils.set_random_seed(0)
    layers = keras.layers
    plain = keras.Sequential([keras.Input((7, 5, 2)), layers.Flatten(), layers.Dense(1, activation="sigmoid")])
    model = to_analog(plain)
    calibrate(model, samples)
    truth = model.predict(samples, verbose=0)[:, 0] > 0.5
    found = by_class(program(model, 2).decide((samples, truth), at="25s").confusion())
    assert found["class"].tolist() == ["0", "1"] and (found["miss_rate"] < 0.2).all()
    with pytest.raises(InvalidArgumentError, match=r"Labels must be 0 and 1 \(or False and True\). Received: -1"):
        program(model, 1).decide((samples, np.where(truth, 1, -1)), at="25s")


def test_what_does_not_fit_is_one_sentence() -> None:
    with pytest.raises(InvalidArgumentError, match="one name for each of 2 classes. Received: 3 names"):
        by_class(counted([[[1, 0], [0, 1]]]), ["a", "b", "c"])


def test_the_report_shows_the_classes_at_the_last_time(tmp_path: Path) -> None:
    table = counted([[[90, 10], [3, 7]]])
    ages = pd.DataFrame([{"drift_compensation": True, "seconds": 86400.0, "at": "1d", "accuracy": 97 / 110}])
    write_report(
        tmp_path / "report.html",
        title="t",
        facts={},
        summary=summarize(ages, 0.9),
        figures=[],
        classes=by_class(table, ["no <person>", "person"]),
    )
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<h2>By class</h2>" in page and "no &lt;person&gt;" in page and "10.00 %" in page and "30.00 %" in page
