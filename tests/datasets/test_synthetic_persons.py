"""Drawn persons: the same every time, no two alike, and told apart by shape rather than by colour or brightness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analognets.datasets.base import TaskData, check_disjoint
from analognets.datasets.drawn_scenes import draw_scene
from analognets.datasets.registry import load_dataset
from analognets.datasets.synthetic_persons import load_synthetic_persons
from analognets.errors import InvalidArgumentError


@pytest.fixture(scope="module")
def data() -> TaskData:
    return load_synthetic_persons(pictures_per_class=60, held_out_per_class=20, size=32, cache=False)


def test_what_is_there(data: TaskData) -> None:
    assert data.classes == ("non_person", "person")
    assert [len(part) for part in data.splits.values()] == [120, 40, 40]
    for part in data.splits.values():
        assert part.inputs.dtype == np.uint8 and part.inputs.shape[1:] == (32, 32, 3)
        assert part.labels.mean() == 0.5
        assert len(np.unique(part.inputs.reshape(len(part), -1), axis=0)) == len(part)
    check_disjoint(data)
    assert data.info.synthetic and "Synthetic" in data.info.statement and "no photograph" in data.info.statement


def test_the_seed_decides_every_pixel(data: TaskData, tmp_path: Path) -> None:
    options = {"pictures_per_class": 60, "held_out_per_class": 1, "size": 32, "cache_dir": tmp_path}
    for _ in range(2):  # drawn, then from the cache
        again = load_dataset("synthetic_persons", **options)
        np.testing.assert_array_equal(again.train.inputs, data.train.inputs)
        np.testing.assert_array_equal(again.test.inputs, data.test.inputs[:2])
    assert len(list(tmp_path.rglob("*.npy"))) == 3
    other = load_synthetic_persons(pictures_per_class=2, size=32, seed=1, cache=False)
    assert (other.train.inputs != data.train.inputs[:4]).any(axis=(1, 2, 3)).all()


def test_colour_and_brightness_do_not_give_it_away(data: TaskData) -> None:
    """The best line through mean and spread of the colours stays near chance on pictures it was not fitted to."""

    def facts(pictures: np.ndarray) -> np.ndarray:
        flat = pictures.reshape(len(pictures), -1, 3) / 255
        return np.column_stack([flat.mean(axis=1), flat.std(axis=1), np.ones(len(flat))])

    held = np.concatenate([data.validation.inputs, data.test.inputs])
    labels = np.concatenate([data.validation.labels, data.test.labels])
    weights, *_ = np.linalg.lstsq(facts(data.train.inputs), data.train.labels - 0.5, rcond=None)
    correct = np.mean((facts(held) @ weights > 0) == labels)
    assert correct < 0.75  # 0.5, plus 4.5 standard deviations of 80 throws


def test_a_person_changes_the_middle_of_most_scenes() -> None:
    """The same scene drawn with and without: a person takes room."""
    share = []
    for number in range(20):
        with_person, without = (draw_scene(person, 32, np.random.default_rng(number)) for person in (True, False))
        share.append((np.abs(with_person.astype(int) - without).max(axis=2) > 30).mean())
    assert np.median(share) > 0.03


def test_progress_and_wrong_settings() -> None:
    done: list[tuple[int, int]] = []
    load_synthetic_persons(
        pictures_per_class=2, held_out_per_class=1, size=16, cache=False, progress=lambda *count: done.append(count)
    )
    assert done[-1] == (8, 8)
    for wrong in ({"pictures_per_class": 0}, {"size": 8}, {"seed": -1}, {"held_out_per_class": 0}):
        with pytest.raises(InvalidArgumentError, match=f"`{next(iter(wrong))}` of load_synthetic_persons"):
            load_synthetic_persons(**wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="reads no folder"):
        load_dataset("synthetic_persons", "somewhere")
