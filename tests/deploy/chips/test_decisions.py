"""Decisions of chips: means and paired losses with intervals that count test samples, speakers and chips."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from analognets.deploy.chips.chips import program
from analognets.deploy.chips.decisions import READING, Decisions
from analognets.errors import InvalidArgumentError
from analognets.metrics import mean_interval


def made(right: np.ndarray, ats: tuple[str, ...] = ("1d",)) -> Decisions:
    """Return decisions between two classes, right where they should be: (times x chips, samples)."""
    chips = len(right) // len(ats)
    rows = [(chip, 0, at, 86400.0 * (1 + place), True) for chip in range(chips) for place, at in enumerate(ats)]
    truth = np.arange(right.shape[1]) % 2
    return Decisions(pd.DataFrame(rows, columns=READING), truth, np.where(right, truth, 1 - truth), 2, len(truth))


def test_summary_is_the_interval_of_each_time() -> None:
    rng = np.random.default_rng(0)
    right, floats = rng.random((6, 40)) < 0.8, rng.random(40) < 0.9
    speakers = [f"s{number // 4}" for number in range(40)]
    found = made(right, ("1d", "2d")).summary({"float": floats, "digital": floats}, groups=speakers)
    for place, row in enumerate(found.to_dict("records")):
        table = right[place::2]
        accuracy = mean_interval(table, speakers)
        loss = mean_interval(100 * (floats - table.astype(float)), speakers)
        assert (row["mean"], row["low"], row["chips"]) == (pytest.approx(accuracy.mean), pytest.approx(accuracy.low), 3)
        assert row["loss"] == pytest.approx(100 * (floats.mean() - row["mean"]))
        for name in ("loss", "digital_loss"):
            ends = row[f"{name}_low"], row[name], row[f"{name}_high"]
            assert ends == pytest.approx((loss.low, loss.mean, loss.high))


def test_the_loss_of_a_network_to_itself_is_exactly_nothing() -> None:
    right = np.tile(np.random.default_rng(1).random(50) < 0.7, (3, 1))
    row = made(right).summary({"digital": right[0]}).iloc[0]
    assert (row["digital_loss"], row["digital_loss_low"], row["digital_loss_high"]) == (0, 0, 0)
    assert row["high"] - row["low"] > 0.1, "the accuracy is that of 50 samples all the same"


@pytest.mark.parametrize("speakers", [1, 5])
def test_intervals_hold_the_truth_as_often_as_they_say(speakers: int) -> None:
    """Over drawn test sets the 95 % interval covers the true accuracy in 95 % of trials, within 3.3 standard errors."""
    rng, trials, held = np.random.default_rng(2), 400, 0
    true = norm.cdf(1 / 2.01**0.5)
    for _ in range(trials):
        ease = np.repeat(rng.normal(size=120 // speakers), speakers)
        right = rng.normal(size=(4, 120)) + rng.normal(size=(4, 1)) * 0.1 < 1.0 + ease
        row = made(right).summary(groups=[str(number // speakers) for number in range(120)]).iloc[0]
        held += row["low"] <= true <= row["high"]
    assert held / trials >= 0.95 - 3.3 * (0.95 * 0.05 / trials) ** 0.5


@settings(max_examples=30)
@given(chips=st.integers(1, 4), samples=st.integers(2, 12), seed=st.integers(0, 99))
def test_tables_agree(chips: int, samples: int, seed: int) -> None:
    right = np.random.default_rng(seed).random((chips, samples)) < 0.6
    found = made(right)
    np.testing.assert_allclose(found.accuracies()["accuracy"], right.mean(axis=1))
    counts = found.confusion()
    diagonal = counts[counts["label"] == counts["output"]].groupby("chip")["count"].sum()
    np.testing.assert_allclose(diagonal / samples, right.mean(axis=1))
    np.testing.assert_allclose(found.by_sample()["1d"], right.mean(axis=0))
    row = found.summary().iloc[0]
    assert row["mean"] == pytest.approx(right.mean())
    if chips > 1 or samples > 1:
        assert row["low"] <= row["mean"] <= row["high"]


def test_what_is_not_known_is_nan_and_ends_are_not_cut_off() -> None:
    one = made(np.ones((1, 5), bool)).summary(groups=["a"] * 5).iloc[0]
    assert np.isnan(one["low"]) and np.isnan(one["high"])
    right = np.ones((2, 200), bool)
    right[:, 0] = False
    row = made(right).summary().iloc[0]
    assert row["high"] > 1 and row["high"] - row["mean"] == pytest.approx(row["mean"] - row["low"])


def test_networks_are_compared_on_the_same_samples(make: Any, samples: Any) -> None:
    model = make("pcm")
    outputs = model.predict(samples, verbose=0)
    labels = outputs.argmax(1)
    found = program(model, 2).decide((samples, labels), at="25s")
    assert found.right(outputs, labels).all()
    with pytest.raises(InvalidArgumentError, match="same samples. Received: other labels"):
        found.right(outputs, (labels + 1) % 3)
    with pytest.raises(InvalidArgumentError, match="one group a sample. Received: 2 for"):
        found.summary(groups=["a", "b"])
