from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets import devices
from analognets.errors import InvalidArgumentError, UnknownNameError

READOUTS = ("one_hot", "all_ones")


def weights(seed=0, shape=(30, 7)):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def test_one_hot_is_the_mean_answer_to_one_hot_inputs() -> None:
    w = weights()
    wanted = np.mean(np.abs(np.eye(30) @ w))
    assert float(devices.GlobalDriftCompensation().response(w)) == pytest.approx(wanted, rel=1e-6)


def test_all_ones_is_the_mean_absolute_column_sum() -> None:
    w = weights()
    wanted = np.mean(np.abs(np.ones(30) @ w))
    assert float(devices.GlobalDriftCompensation("all_ones").response(w)) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("readout", READOUTS)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(decay=st.floats(0.05, 1.0), seed=st.integers(0, 1000))
def test_a_common_decay_is_undone_exactly(readout, decay, seed) -> None:
    compensation, w = devices.GlobalDriftCompensation(readout), weights(seed)
    alpha = compensation.scale(compensation.response(w), compensation.response(decay * w))
    assert float(alpha) == pytest.approx(1 / decay, rel=1e-5)


@pytest.mark.parametrize("readout", READOUTS)
def test_a_tile_of_zeros_keeps_a_factor_of_one(readout) -> None:
    compensation = devices.GlobalDriftCompensation(readout)
    response = compensation.response(np.zeros((4, 3)))
    assert float(response) == np.float32(1e-4)
    assert float(compensation.scale(response, response)) == 1.0


@pytest.mark.parametrize("readout", READOUTS)
def test_it_brings_the_mean_conductance_back(readout) -> None:
    device, compensation = devices.PCM(), devices.GlobalDriftCompensation(readout)
    state = device.program(np.full((500, 200), 15.0), seed=0)
    now = np.asarray(device.read(state, "1y", seed=1))
    programmed = np.asarray(state["conductance"])
    alpha = float(compensation.scale(compensation.response(programmed), compensation.response(now)))
    assert alpha > 1.5
    assert alpha * now.mean() == pytest.approx(programmed.mean(), rel=1e-5)
    assert np.std(alpha * now) > 1.5 * np.std(programmed)  # the spread of nu stays


@pytest.mark.parametrize("readout", READOUTS)
def test_serialization(readout) -> None:
    compensation = devices.GlobalDriftCompensation(readout, floor=1e-6)
    data = json.loads(json.dumps(keras.saving.serialize_keras_object(compensation)))
    assert keras.saving.deserialize_keras_object(data) == compensation


def test_wrong_input() -> None:
    with pytest.raises(
        InvalidArgumentError, match="`readout` .* one of 'one_hot', 'all_ones'. Received: readout='eye'"
    ):
        devices.GlobalDriftCompensation("eye")
    with pytest.raises(InvalidArgumentError, match="`floor` of GlobalDriftCompensation"):
        devices.GlobalDriftCompensation(floor=0.0)
    with pytest.raises(InvalidArgumentError, match="shape \\(rows, columns\\). Received: shape \\(3, 3, 2\\). Reshape"):
        devices.GlobalDriftCompensation().response(np.ones((3, 3, 2)))


@pytest.mark.parametrize("readout", READOUTS)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(exponents=st.lists(st.floats(0.0, 0.2), min_size=7, max_size=7), seed=st.integers(0, 1000))
def test_the_column_rule_undoes_exponents_that_differ_by_column(readout, exponents, seed) -> None:
    rule, w = devices.ColumnDriftCompensation(readout), weights(seed)
    now = w * np.float32(1e6) ** -np.asarray(exponents, "float32")
    alpha = np.asarray(rule.scale(rule.response(w), rule.response(now)))
    assert alpha.shape == (7,)
    # A column sum in float32 keeps so much less of its digits as its weights cancel.
    cancelled = np.abs(w).sum(0) / np.abs(w.sum(0)) if readout == "all_ones" else np.ones(7)
    allowed = 1e-5 + 30 * np.finfo("float32").eps * cancelled
    assert np.all(np.abs(alpha / 1e6 ** np.asarray(exponents) - 1) <= allowed)
    assert np.all(np.abs(alpha * now - w) <= (allowed + 1e-5) * np.abs(w))


@pytest.mark.parametrize("readout", READOUTS)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(decay=st.floats(0.05, 1.0), seed=st.integers(0, 1000), rows=st.integers(1, 40), columns=st.integers(1, 9))
def test_column_by_column_is_the_global_rule_on_each_column(readout, decay, seed, rows, columns) -> None:
    one, each = devices.GlobalDriftCompensation(readout), devices.ColumnDriftCompensation(readout)
    w = weights(seed, (rows, columns))
    found = np.asarray(each.response(decay * w))
    alone = [float(one.response(decay * w[:, j : j + 1])) for j in range(columns)]
    np.testing.assert_allclose(found, alone, rtol=1e-5)


@pytest.mark.parametrize("readout", READOUTS)
def test_a_column_of_zeros_keeps_a_factor_of_one(readout) -> None:
    rule, w = devices.ColumnDriftCompensation(readout), weights()
    w[:, 3] = 0.0
    alpha = np.asarray(rule.scale(rule.response(w), rule.response(0.5 * w)))
    np.testing.assert_allclose(alpha, np.where(np.arange(7) == 3, 1.0, 2.0), rtol=1e-5)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(decay=st.floats(0.05, 1.0), seed=st.integers(0, 1000))
def test_the_array_rule_goes_by_the_sum_of_all_conductances(decay, seed) -> None:
    rule, g = devices.ArrayDriftCompensation(), np.abs(weights(seed, (2, 3, 20)))
    assert rule.response(g) == g.sum(dtype="float64")
    alpha = rule.scale(rule.response(g), rule.response(decay * g))
    assert float(alpha) == pytest.approx(1 / decay, rel=1e-6)
    tensor = keras.ops.convert_to_tensor(g)
    assert float(rule.response(tensor)) == pytest.approx(float(g.sum()), rel=1e-5)
    assert rule.scale(rule.response(0 * g), rule.response(0 * g)) == 1.0


def test_rules_by_name() -> None:
    assert devices.list_drift_compensations() == ["column", "global", "input"]
    assert devices.get_drift_compensation("global") == devices.GlobalDriftCompensation()
    column = devices.get_drift_compensation("column", readout="all_ones")
    assert column == devices.ColumnDriftCompensation("all_ones")
    assert devices.get_drift_compensation(column) is column
    assert devices.get_drift_compensation(keras.saving.serialize_keras_object(column)) == column
    assert devices.get_drift_compensation(None) is None
    assert column != devices.GlobalDriftCompensation("all_ones")
    with pytest.raises(UnknownNameError, match="Unknown drift compensation. Did you mean 'column'"):
        devices.get_drift_compensation("columns")
    with pytest.raises(UnknownNameError, match="Unknown setting of drift compensation 'column'.*'flor'"):
        devices.get_drift_compensation("column", flor=1.0)
    with pytest.raises(InvalidArgumentError, match="`floor` of ColumnDriftCompensation"):
        devices.get_drift_compensation("column", floor=0.0)
    with pytest.raises(InvalidArgumentError, match="another DriftCompensation, a config of one, None or one of the"):
        devices.get_drift_compensation(keras.saving.serialize_keras_object(devices.PCM()))
    unknown = {"module": None, "class_name": "Foreign", "config": {}, "registered_name": "lab>Foreign"}
    with pytest.raises(InvalidArgumentError, match="lab>Foreign.*register_keras_serializable"):
        devices.get_drift_compensation(unknown)
