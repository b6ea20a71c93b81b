from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from analognets.errors import RunError
from analognets.training.checkpoints import Checkpoints


def variables(value: float = 0.0) -> list[keras.Variable]:
    return [
        keras.Variable(np.full((2, 3), value, "float32")),
        keras.Variable(np.float32(value)),
        keras.Variable(np.int64(value), dtype="int64"),
    ]


def values(made: list[keras.Variable]) -> list[float]:
    return [float(np.max(keras.ops.convert_to_numpy(v.value))) for v in made]


def saved(folder: Path, scores: list[float | None]) -> Checkpoints:
    checkpoints = Checkpoints(folder, fingerprint="f")
    for epoch, score in enumerate(scores):
        checkpoints.save(variables(epoch), stage="float", epoch=epoch, rows=epoch, score=score)
    return checkpoints


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def damage_missing(path: Path) -> None:
    path.unlink()


def damage_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def damage_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGES = [damage_missing, damage_short, damage_bit]


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, [None, None, None])
    latest = checkpoints.latest()
    fresh = variables(9)
    checkpoints.restore(latest.now, fresh)
    assert (latest.stage, latest.epoch, latest.rows) == ("float", 2, 2)
    assert values(fresh) == [2, 2, 2]


def test_nothing_saved_is_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path, fingerprint="f").latest() is None


def test_the_last_two_and_the_best_stay(tmp_path: Path) -> None:
    saved(tmp_path, [None, 0.9, 0.5, 0.6, 0.7])
    assert files(tmp_path) == [f"float-0000{n}.safetensors" for n in (1, 3, 4)]


def test_the_later_of_equals_is_best_and_a_new_stage_starts_anew(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, [None, 0.9, 0.9])
    assert checkpoints.latest().best.epoch == 2
    checkpoints.save(variables(), stage="hardware_aware", epoch=0, rows=2)
    assert checkpoints.latest().best is None


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_checkpoint_falls_back_with_the_best_of_then(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    saved(tmp_path, [None, 0.5, 0.4, 0.3, 0.9])
    damage(tmp_path / "checkpoints" / "float-00004.safetensors")
    checkpoints = Checkpoints(tmp_path, fingerprint="f")
    latest = checkpoints.latest()
    assert (latest.epoch, latest.best.epoch) == (3, 1)
    assert checkpoints.damaged == ["float-00004.safetensors"]
    fresh = variables()
    checkpoints.restore(latest.best, fresh)
    assert values(fresh) == [1, 1, 1]


@pytest.mark.parametrize("damage", DAMAGES)
def test_two_damaged_checkpoints_end_in_one_sentence(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    checkpoints = saved(tmp_path, [None, None, None])
    for number in (1, 2):
        damage(tmp_path / "checkpoints" / f"float-0000{number}.safetensors")
    with pytest.raises(RunError, match=r"All checkpoints .* are missing or damaged: float-00002.*float-00001"):
        checkpoints.latest()


@pytest.mark.parametrize("text", ["", '{"fingerprint": "f", "checkp', '{"fingerprint": "f", "checkpoints": [3]}', "[]"])
def test_a_broken_state_is_named(tmp_path: Path, text: str) -> None:
    checkpoints = saved(tmp_path, [None])
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(RunError, match=r"state.json' can't be read .* not known how far the run got"):
        checkpoints.latest()


def test_the_state_of_another_recipe_does_not_count(tmp_path: Path) -> None:
    saved(tmp_path, [None])
    assert Checkpoints(tmp_path, fingerprint="g").latest() is None


def test_another_model_is_told_apart(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, [None])
    now = checkpoints.latest().now
    with pytest.raises(RunError, match=r"it holds 3 variables, this model and optimizer have 2"):
        checkpoints.restore(now, variables()[:2])
    with pytest.raises(RunError, match=r"number 1 has shape \(\) \(float32\) there and \(4,\) \(float32\) here"):
        checkpoints.restore(now, [variables()[0], keras.Variable(np.zeros(4, "float32")), variables()[2]])
