"""A data set from outside the package: listed, loaded by name, named by a recipe; one that is not there is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analognets as an
from analognets.datasets import registry
from analognets.datasets.base import DatasetInfo, Split, TaskData
from analognets.errors import InvalidArgumentError, UnknownNameError
from analognets.training.recipe import Recipe
from analognets.zoo.tasks import prepare

CLASSES = ("lying", "standing")
RECIPE = """
name: mine
model: mnist_mlp
dataset: {name: stripes, options: {pictures: 24, period: 6}}
frontend: grey_28
batch_size: 8
sampling: {steps: 2}
"""


def load_stripes(data_dir: Any = None, *, pictures: int = 40, period: int = 4, progress: Any = None) -> TaskData:
    """Return pictures of lying and standing stripes; a folder may hold their contrast."""
    contrast = 255 if data_dir is None else int((Path(data_dir) / "contrast.txt").read_text("utf-8"))
    wave = (contrast * (np.arange(28) % period < period // 2)).astype(np.uint8)
    both = np.stack([np.repeat(wave[:, None], 28, 1), np.repeat(wave[None], 28, 0)])
    labels = np.arange(pictures, dtype=np.int32) % 2

    def split(name: str) -> Split:
        return Split(np.repeat(both[labels][..., None], 3, -1), labels, tuple(f"{name}/{i}" for i in labels.cumsum()))

    info = DatasetInfo("stripes", "1", "", "CC0", "nobody", "Stripes.", synthetic=True)
    return TaskData("stripes", split("train"), split("validation"), split("test"), CLASSES, info=info)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("_DATASETS", "_RECORDED"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))
    registry.register_dataset("stripes", load_stripes, summary="stripes", kind="image", on_disk=True)
    yield


def test_it_is_listed_and_loaded_by_name(tmp_path: Path) -> None:
    assert an.datasets.list_datasets()["stripes"] == "stripes"
    assert registry.dataset_kind("stripes") == "image" and not registry.is_generated("stripes")
    assert registry.stand_in("stripes") == "synthetic_persons"
    assert len(an.datasets.load_dataset("stripes", pictures=6).test) == 6
    (tmp_path / "contrast.txt").write_text("7", "utf-8")
    assert registry.load_dataset("stripes", tmp_path).train.inputs.max() == 7
    with pytest.raises(UnknownNameError, match="option of stripes. Did you mean 'period'"):
        registry.load_dataset("stripes", periods=3)


def test_a_recipe_names_it() -> None:
    task = prepare(Recipe.from_yaml(RECIPE))
    assert task.samples == "pictures" and len(task.data.train) == 24 and task.training.info["name"] == "stripes"
    pictures, labels = next(iter(task.training.train_batches(0)))
    assert pictures.shape == (8, 28, 28, 1) and set(labels.numpy()) <= {0, 1}
    assert task.model().output_shape == (None, 2)


def test_a_recipe_runs_no_code_that_was_not_registered() -> None:
    for name in ("os:getcwd", "tests.extensions.test_dataset:load_stripes", "squares"):
        with pytest.raises(UnknownNameError, match="Unknown data set"):
            prepare(Recipe.from_yaml(RECIPE).replace({"dataset": name}))


def test_generated_data_with_a_recorded_counterpart() -> None:
    def made(*, progress: Any = None) -> TaskData:
        return load_stripes()

    registry.register_dataset("made", made, summary="made", kind="image", on_disk=False, recorded="stripes")
    assert registry.is_generated("made") and registry.for_folder("made") == "stripes"
    with pytest.raises(InvalidArgumentError, match="made is generated and reads no folder"):
        registry.load_dataset("made", "there")


def test_what_can_not_be_registered() -> None:
    with pytest.raises(InvalidArgumentError, match="There is a data set 'mnist' already"):
        registry.register_dataset("mnist", load_stripes, summary="", kind="image", on_disk=True)
    with pytest.raises(InvalidArgumentError, match="`kind` of register_dataset must be one of 'audio', 'image'"):
        registry.register_dataset("smell", load_stripes, summary="", kind="smell", on_disk=True)
