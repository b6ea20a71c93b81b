from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analognets.datasets.base import DatasetInfo, Split, TaskData, check_disjoint, shared_names, shared_speakers
from analognets.datasets.registry import dataset_summary, list_datasets, load_dataset
from analognets.errors import DataError, InvalidArgumentError, UnknownNameError

INFO = DatasetInfo("toy", "1", "", "", "", "", synthetic=True)


def split(names: str, speakers: str, labels: tuple[int, ...] = (0, 1)) -> Split:
    return Split(np.arange(6).reshape(2, 3), np.array(labels), tuple(names), tuple(speakers))


def toy(train: Split, validation: Split, test: Split) -> TaskData:
    return TaskData("toy", train, validation, test, ("yes", "no"), [], INFO)


def test_lengths_must_agree() -> None:
    with pytest.raises(InvalidArgumentError, match=r"one entry a clip. Received lengths: \(2, 3, 3, 3\)"):
        Split(np.zeros((2, 4)), np.zeros(3))


def test_labels_are_int32_and_names_have_defaults() -> None:
    made = Split(np.zeros((3, 4)), [0, 1, 2])  # type: ignore[arg-type]
    assert made.labels.dtype == np.int32 and len(made) == 3
    assert made.names == ("0", "1", "2") and made.speakers == ("", "", "")


@pytest.mark.parametrize("which", [[1, 0], np.array([True, False]), slice(1, 2), np.array([1])])
def test_select_keeps_clips_and_names_together(which) -> None:
    made = split("ab", "xy")
    chosen = made.select(which)
    for i, name in enumerate(chosen.names):
        at = made.names.index(name)
        np.testing.assert_array_equal(chosen.inputs[i], made.inputs[at])
        assert chosen.labels[i] == made.labels[at] and chosen.speakers[i] == made.speakers[at]


def test_a_slice_copies_no_audio() -> None:
    made = split("ab", "xy")
    assert np.shares_memory(made.select(slice(0, 1)).inputs, made.inputs)


def test_shared_names_and_speakers() -> None:
    one, other = split("ab", ("x", "")), split("bc", ("", "x"))
    assert shared_names(one, other) == {"b"} and shared_speakers(one, other) == {"x"}


def test_disjoint() -> None:
    check_disjoint(toy(split("ab", "xx"), split("cd", "yy"), split("ef", ("", ""))))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            toy(split("aa", "xx"), split("cd", "yy"), split("ef", "zz")),
            "stand twice in the train split of toy, such as 'a'",
        ),
        (
            toy(split("ab", "xx"), split("cd", "yy"), split("ea", "zz")),
            "both in the train and in the test split of toy",
        ),
        (toy(split("ab", "xx"), split("cd", "yy"), split("ef", "zy")), "1 speakers are heard both in the validation"),
    ],
)
def test_not_disjoint(data: TaskData, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_disjoint(data)


def test_speakers_may_be_allowed_twice() -> None:
    check_disjoint(toy(split("ab", "xx"), split("cd", "xx"), split("ef", "xx")), speakers=False)


def test_summary() -> None:
    table = dataset_summary(toy(split("ab", "xx", (0, 0)), split("cd", "yy"), split("ef", "zz", (1, 1))))
    assert table.index.tolist() == ["yes", "no", "all"]
    assert table.loc["yes"].tolist() == [2, 1, 0] and table.loc["all"].tolist() == [2, 2, 2]
    assert table.to_numpy().dtype.kind == "i"


def test_load_by_name(speech_tree: Callable[..., Path]) -> None:
    assert {"speech_commands", "synthetic_speech", "visual_wake_words"} <= set(list_datasets())
    data = load_dataset("speech_commands", speech_tree(), classes=35, cache=False)
    assert data.name == "speech_commands" and len(data.classes) == 35


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("speech_comands",), {}, UnknownNameError, "Did you mean 'speech_commands'"),
        (("speech_commands", "."), {"clases": 12}, UnknownNameError, "Did you mean 'classes'"),
        (("synthetic_speech", "there"), {}, InvalidArgumentError, "reads no folder.*Received: data_dir='there'"),
    ],
)
def test_bad_requests(arguments, options, error, message: str) -> None:
    with pytest.raises(error, match=message):
        load_dataset(*arguments, **options)
