"""Energy of learning: counts by hand, the published totals, and what is said of their origin."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from analognets.deploy.accelerator import LayerWork, Workload, cost, load_accelerator
from analognets.deploy.accelerator.training_cost import Activity, load_training_system, training_cost
from analognets.errors import InvalidArgumentError
from analognets.zoo.networks.digits import mnist_mlp

RESULTS = Path(__file__).parents[3] / "results"
QUIET = Activity(touched=0.0)


def dense(name: str, rows: int, cols: int) -> LayerWork:
    return LayerWork(name, "Dense", (rows, cols), rows * cols, 1, rows, rows, cols)


def perceptron(*sizes: int) -> Workload:
    pairs = zip(sizes[:-1], sizes[1:], strict=True)
    return Workload("perceptron", tuple(dense(f"l{n}", *pair) for n, pair in enumerate(pairs)))


def test_the_published_totals_are_reproduced_with_the_measured_activity() -> None:
    stored = json.loads((RESULTS / "training_energy.json").read_text("utf-8"))
    found = training_cost(mnist_mlp(), Activity(**stored["activity"]))
    assert found.total_mixed_nj == pytest.approx(83.2, rel=2e-3)
    assert found.total_digital_nj == pytest.approx(14_350, rel=2e-3)
    assert 172 <= found.ratio <= 173
    assert found.calibrated() == ["mixed.accumulate", "digital.weight"]
    assert "calibrated: mixed.accumulate, digital.weight" in str(found)


def test_counts_by_hand() -> None:
    activity = Activity(touched={"l0": 0.5, "l1": 1.0}, set_pulses=3.0, resets=2.0)
    found = training_cost(perceptron(100, 20, 10), activity)
    assert found.counts["digital forward"] == {"multiply_add": 2200, "weight": 2200, "activation": 150}
    assert found.counts["digital backward"] == {"multiply_add": 200, "weight": 200, "activation": 30}
    assert found.counts["digital update"] == {"multiply_add": 2200, "weight": 4400, "activation": 150}
    assert found.counts["mixed update"] == {"touched": 1200, "set_pulses": 3.0, "resets": 2.0}
    prices = found.system.mixed
    wanted = 1200 * prices.accumulate.value + 3 * prices.set_pulse.value + 2 * prices.reset_pulse.value
    assert found.mixed_nj["update"] == pytest.approx(wanted / 1e3)
    table = found.table()
    assert table.loc["all", "mixed_nj"] == pytest.approx(found.total_mixed_nj)
    assert table.loc["all", "ratio"] == pytest.approx(found.ratio)


def test_products_cost_what_the_accelerator_says() -> None:
    chip = load_accelerator("aon_cim")
    found = training_cost(perceptron(100, 20, 10), QUIET)
    assert found.mixed_nj["forward"] == pytest.approx(1e3 * cost(perceptron(100, 20, 10), chip, bits=8).energy_uj)
    turned = Workload("turned", (dense("l1", 10, 20),))
    assert found.mixed_nj["backward"] == pytest.approx(1e3 * cost(turned, chip, bits=8).energy_uj)
    assert found.mixed_nj["update"] == 0
    assert training_cost(perceptron(100, 20), QUIET).mixed_nj["backward"] == 0


def test_every_constant_has_an_origin() -> None:
    system = load_training_system()
    for part in (system.mixed, system.digital):
        for name in type(part).model_fields:
            constant = getattr(part, name)
            assert constant.origin and constant.status in ("memory", "assumption", "calibrated")


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(InvalidArgumentError, match=r"`touched\[all\]` of Activity"):
        Activity(touched=1.5)
    with pytest.raises(InvalidArgumentError, match="`set_pulses` of Activity"):
        Activity(set_pulses=-1)
    with pytest.raises(InvalidArgumentError, match="without 'l1'"):
        training_cost(perceptron(5, 4, 3), Activity(touched={"l0": 1.0}))


def test_a_digital_layer_is_digital_backward_too() -> None:
    whole = perceptron(40, 30, 20, 10)
    partly = Workload(
        whole.model, (*whole.layers[:1], dataclasses.replace(whole.layers[1], why_digital="x"), whole.layers[2])
    )
    of_layer = training_cost(whole, QUIET).mixed_nj["backward"] - training_cost(partly, QUIET).mixed_nj["backward"]
    forward = training_cost(whole, QUIET).mixed_nj["forward"] - training_cost(partly, QUIET).mixed_nj["forward"]
    assert of_layer != 0 and np.sign(of_layer) == np.sign(forward)
