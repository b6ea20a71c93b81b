"""The default metric: right for every kind of labels that has one meaning, one sentence for all others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets.deploy.evaluation import accuracy, arrays, as_arrays, decisions
from analognets.errors import InvalidArgumentError

OUTPUTS = np.array([[0.1, 0.7, 0.2], [0.8, 0.1, 0.1], [0.3, 0.3, 0.4], [0.2, 0.5, 0.3]])
TRUTH = np.array([1, 0, 2, 0])
SINGLE = np.array([[0.9], [0.1], [0.8], [0.2]])


@pytest.mark.parametrize(
    "labels",
    [
        TRUTH,
        TRUTH.tolist(),
        TRUTH[:, None],
        TRUTH.astype("uint8"),
        TRUTH.astype("float32"),
        TRUTH.astype(object),
        np.eye(3)[TRUTH],
        np.eye(3, dtype=bool)[TRUTH],
        0.9 * np.eye(3)[TRUTH] + 0.1 / 3,
    ],
)
def test_one_meaning_one_number(labels: Any) -> None:
    assert accuracy(labels, OUTPUTS) == 0.75
    assert accuracy(labels, np.log(OUTPUTS)) == 0.75


@pytest.mark.parametrize(
    "labels", [[1, 0, 0, 0], [[1], [0], [0], [0]], [True, False, False, False], np.float32([1, 0, 0, 0])]
)
def test_a_single_output_is_the_probability_of_class_1(labels: Any) -> None:
    assert accuracy(labels, SINGLE) == accuracy(labels, SINGLE[:, 0]) == 0.75


def test_positions_of_a_sequence_count_each() -> None:
    outputs = np.stack([OUTPUTS, OUTPUTS])
    for labels in (np.stack([TRUTH, TRUTH]), np.stack([TRUTH, TRUTH])[..., None]):
        assert accuracy(labels, outputs) == 0.75


NAN = np.where(np.eye(4, 3) > 0, np.nan, OUTPUTS)


@pytest.mark.parametrize(
    ("labels", "outputs", "message"),
    [
        (TRUTH, NAN, r"Received: NaN for 3 of 4 samples"),
        (TRUTH, np.full((4, 3), np.nan), r"NaN for 4 of 4 samples"),
        (TRUTH[:2], np.array([[np.nan], [0.2]]), r"NaN for 1 of 2 samples"),
        (list("abca"), OUTPUTS, r"whole numbers from 0 to 2, in the order of the outputs. Received: str\d* such as"),
        (np.array(list("abca"), object), OUTPUTS, "Received: str"),
        (TRUTH + 1, OUTPUTS, r"Received: 3 for 1 of 4 labels. If classes are counted from 1, subtract 1"),
        (TRUTH - 1, OUTPUTS, r"Received: -1 for 2 of 4 labels"),
        (TRUTH + 7, OUTPUTS, r"Received: 7, 8, 9 for 4 of 4"),
        (TRUTH + 0.5, OUTPUTS, r"Received: 0.5, 1.5, 2.5 for 4 of 4"),
        (np.where(TRUTH == 1, np.nan, TRUTH), OUTPUTS, r"Received: nan for 1 of 4"),
        (np.full(4, np.nan), OUTPUTS, r"Received: nan for 4 of 4"),
        (np.array([1, -1, 1, -1]), SINGLE, r"0 and 1 \(or False and True\). Received: -1 for 2 of 4 labels. Write -1"),
        (np.array([1, 2, 1, 2]), SINGLE, r"Received: 2 for 2 of 4 labels. If classes are counted from 1"),
        (np.array([1, -1, 1, -1]), SINGLE @ np.ones((1, 2)), r"from 0 to 1. Received: -1 for 2 of 4 labels. Write"),
        (np.array([0.3, 0, 1, 1]), SINGLE, r"Received: 0.3 for 1 of 4"),
        (np.eye(4)[TRUTH], OUTPUTS, r"as wide as the outputs. Received: labels of shape \(4, 4\)"),
        (np.eye(2)[[0, 1, 1, 1]], OUTPUTS, r"as wide as the outputs. Received: labels of shape \(4, 2\)"),
        (np.eye(2)[[0, 1, 1, 1]], SINGLE, r"of shape \(4,\) for these outputs"),
        (np.ones((4, 3)), OUTPUTS, r"one largest number a row, the class. Received: 4 rows without, such as \[1.0"),
        (np.eye(3)[TRUTH] * np.nan, OUTPUTS, r"must be finite numbers"),
        (TRUTH[:3], OUTPUTS, r"of shape \(4,\) for these outputs, or one-hot rows. Received: shape \(3,\)"),
        (np.stack([TRUTH] * 4), np.stack([OUTPUTS] * 4)[:, :, None], r"Received: shape \(4, 4\)"),
        (TRUTH[:0], OUTPUTS[:0], r"for at least one sample"),
        (
            TRUTH[:2],
            np.array([-3.0, 0.2]),
            r"probability of class 1, from 0 to 1. Received: -3 to 0.2. End the network",
        ),
        (TRUTH, OUTPUTS.astype(str), r"Outputs must be numbers"),
        ([TRUTH, TRUTH], OUTPUTS, r"several labels has no single accuracy"),
        ({"a": [TRUTH, TRUTH], "b": TRUTH}, {"a": [OUTPUTS, OUTPUTS], "b": OUTPUTS}, r"several labels .*\(a, b\)"),
    ],
)
def test_what_has_no_one_meaning_is_one_sentence(labels: Any, outputs: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        accuracy(labels, outputs)


@settings(max_examples=100, derandomize=True)
@given(st.data())
def test_every_form_of_the_same_labels_gives_the_same_number(data: Any) -> None:
    classes, count = data.draw(st.integers(2, 6)), data.draw(st.integers(1, 20))
    truth = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=count, max_size=count)))
    outputs = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(count, classes))
    wanted = np.mean(outputs.argmax(1) == truth)
    forms = [truth, truth[:, None], np.eye(classes)[truth], truth.astype("float64"), truth.astype("int8").tolist()]
    for form in forms:
        assert accuracy(form, outputs) == wanted
        found, chosen, number = decisions(form, outputs)
        assert number == classes and found.tolist() == truth.tolist() and chosen.tolist() == outputs.argmax(1).tolist()
    shifted = truth + data.draw(st.sampled_from([-classes, classes, 0.5, np.nan, np.inf]))
    with pytest.raises(InvalidArgumentError, match="Labels must be whole numbers from 0"):
        accuracy(shifted, outputs)


def test_structures_of_any_depth() -> None:
    nested = {"a": [OUTPUTS, OUTPUTS], "b": {"c": (OUTPUTS,)}}
    found = arrays(nested)
    assert found["b"]["c"][0].shape == (4, 3) and isinstance(found["a"], list)
    numbers = arrays({"a": [TRUTH, TRUTH], "b": TRUTH.tolist()})
    assert numbers["b"].tolist() == numbers["a"][1].tolist() == TRUTH.tolist()
    inputs, labels = as_arrays([(OUTPUTS, nested), (OUTPUTS, nested)])
    assert inputs.shape == (8, 3) and labels["a"][1].shape == (8, 3)


def test_outputs_in_bfloat16_are_numbers() -> None:
    import keras

    outputs = keras.ops.convert_to_numpy(keras.ops.cast(np.array([[0.1, 0.9], [0.8, 0.2]]), "bfloat16"))
    assert accuracy(np.array([1, 1]), outputs) == 0.5


def test_labels_of_different_lengths_are_one_sentence() -> None:
    labels = np.empty(2, object)
    labels[:] = [[0], [1, 0]]
    with pytest.raises(InvalidArgumentError, match="one for each output. Received: lists of different lengths"):
        accuracy(labels, np.eye(2))
