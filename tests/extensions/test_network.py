"""A network with a recipe from outside the package: trained by its name, opened again, programmed into chips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from analognets.datasets import registry
from analognets.datasets.base import DatasetInfo, Split, TaskData
from analognets.deploy import program
from analognets.errors import InvalidArgumentError, RecipeError, UnknownNameError
from analognets.training import Run, train
from analognets.training.recipe import Recipe
from analognets.zoo import tasks

RECIPE = """
name: mine
description: "A network of our own on noise"
model: {name: one_filter, options: {width: 3}}
dataset: mnist
frontend: grey_28
batch_size: 8
sampling: {steps: 2}
float: {epochs: 1}
hardware_aware: {epochs: 1, hardware: aon_cim_6bit}
"""


def one_filter(input_shape: Sequence[int], *, classes: int, width: int = 2) -> keras.Model:
    """Build one convolution before the outputs."""
    inputs = keras.Input(tuple(input_shape))
    x = keras.layers.Conv2D(width, 5, strides=4, activation="relu", name="filter")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x), name="one_filter")


def noise(name: str, data_dir: Any, **options: Any) -> TaskData:
    pictures = np.random.default_rng(0).integers(0, 256, (30, 28, 28, 3), dtype=np.uint8)
    part = Split(pictures, np.arange(30) % 3, tuple(map(str, range(30))))
    info = DatasetInfo("noise", "1", "", "CC0", "nobody", "Noise.", synthetic=True)
    return TaskData("noise", part, part, part, ("a", "b", "c"), info=info)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tasks, "MODELS", dict(tasks.MODELS))
    monkeypatch.setattr(registry, "load_dataset", noise)
    assert tasks.register_model(one_filter) is one_filter
    yield


def test_a_recipe_trains_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RECIPE, "utf-8")
    recipe = tasks.find_recipe(str(tmp_path / "mine.yaml"))
    task = tasks.prepare(recipe)
    run = Run.create(tmp_path / "run", recipe)
    train(run, model=task.model, data=task.training)
    again = Run.open(tmp_path / "run")
    assert again.finished and again.recipe == recipe
    model = again.analog_model()
    assert model.output_shape == (None, 3) and model.get_layer("filter").crossbar.adc_bits == 6
    outputs = program(model, chips=1).predict(task.features("test")[0])
    assert outputs.shape == (30, 3) and np.isfinite(outputs).all()


def test_a_recipe_runs_no_code_that_was_not_registered() -> None:
    recipe = Recipe.from_yaml(RECIPE)
    for name in ("os.getcwd", "tests.extensions.test_network:one_filter", "two_filters"):
        with pytest.raises(UnknownNameError, match="Unknown model"):
            tasks.build_model(recipe.replace({"model": name}), classes=3, input_shape=(28, 28, 1))
    with pytest.raises(RecipeError, match="`model.options` does not fit 'one_filter'.*depth"):
        wrong = recipe.replace({"model.options": {"depth": 2}})
        tasks.build_model(wrong, classes=3, input_shape=(28, 28, 1))


def test_what_can_not_be_registered() -> None:
    def analognet_kws() -> None: ...

    with pytest.raises(InvalidArgumentError, match="at the top of a module"):
        tasks.register_model(analognet_kws)
    analognet_kws.__qualname__ = "analognet_kws"
    with pytest.raises(InvalidArgumentError, match="with a name that no other network has"):
        tasks.register_model(analognet_kws)
