from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets import devices
from analognets.errors import InvalidArgumentError

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
