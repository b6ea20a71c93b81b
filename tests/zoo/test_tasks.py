"""Recipes of the package and the way from their names to objects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analognets.datasets import pipeline, registry
from analognets.datasets.base import KWS_CLASSES, DatasetInfo, Split, TaskData
from analognets.errors import InvalidArgumentError, RecipeError, UnknownNameError
from analognets.training.recipe import Recipe
from analognets.zoo.tasks import MODELS, build_model, find_recipe, list_recipes, prepare

PICTURES = """
name: mine
model: analognet_vww
dataset: {name: visual_wake_words, options: {size: 16}}
frontend: {preset: rgb_32, options: {grey: true}}
batch_size: 8
sampling: {balance: uniform, steps: 3}
augmentation: {flip: true, shift: 0.1, brightness: 0.1}
"""
TINY = ("batch_size=8", "sampling.steps=2", "model.options.widths=[4,4,4,4,4]", "augmentation={}")


def made(clips: int = 3) -> TaskData:
    """Return a data set of noise: so many clips of each class in each split."""
    rng = np.random.default_rng(0)

    def split(name: str) -> Split:
        labels = np.repeat(np.arange(12), clips)
        inputs = rng.normal(0, 1000, (len(labels), 16_000)).astype(np.int16)
        names = tuple(f"{KWS_CLASSES[label]}/{name}_{i}" for i, label in enumerate(labels))
        return Split(inputs, labels.astype(np.int32), names)

    info = DatasetInfo("noise", "1", "https://example.org", "CC0", "nobody", "Noise.", synthetic=True)
    background = [rng.normal(0, 0.1, 20_000).astype(np.float32)]
    return TaskData("noise", split("train"), split("validation"), split("test"), KWS_CLASSES, background, info)


def drawn(pictures: int = 40) -> TaskData:
    """Return a data set of noise pictures of two classes."""
    inputs = np.random.default_rng(0).integers(0, 256, (pictures, 16, 16, 3), dtype=np.uint8)
    part = Split(inputs, np.arange(pictures, dtype=np.int32) % 2, tuple(f"x/{i}" for i in range(pictures)))
    info = DatasetInfo("drawn", "1", "", "CC0", "nobody", "Noise.", synthetic=True)
    return TaskData("drawn", part, part.select(slice(0, 10)), part.select(slice(10, 20)), ("no", "yes"), info=info)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Any, ...]]]:
    """Let every data set be made of noise; the list holds what was asked for."""
    asked: list[tuple[Any, ...]] = []

    def load(name: str, data_dir: Any, **options: Any) -> TaskData:
        asked.append((name, data_dir, options))
        return made()

    monkeypatch.setattr(registry, "load_dataset", load)
    yield asked


def test_the_recipes_of_the_package_are_listed_and_whole() -> None:
    assert {"kws", "kws_demo"} <= set(list_recipes())
    for name in list_recipes():
        recipe = find_recipe(name)
        assert recipe.name == name
        assert recipe.description
        assert recipe.model.name in MODELS
        assert recipe.dataset.name in registry.list_datasets()


def test_what_the_demo_must_be() -> None:
    recipe = find_recipe("kws_demo")
    assert recipe.dataset.name == "synthetic_speech"
    assert recipe.evaluation.chips == 25
    assert "say nothing about real voices" in recipe.description


@pytest.mark.parametrize("name", ["kws", "kws_demo"])
def test_every_name_and_option_of_a_recipe_fits(name: str, loads: list[tuple[Any, ...]]) -> None:
    recipe = find_recipe(name)
    task = prepare(recipe)
    assert loads == [(recipe.dataset.name, None, {"progress": None, **recipe.dataset.options})]
    model = task.model()
    assert model.output_shape == (None, 12)
    assert sum(np.prod(w.shape) for w in model.weights if w.path.endswith("kernel")) == 300_720
    batches = task.training.train_batches(0)
    assert int(batches.cardinality()) == recipe.sampling["steps"]
    features, labels = next(iter(batches))
    assert features.shape == (recipe.batch_size, 49, 10, 1)
    assert set(labels.numpy()) <= set(range(12))


def test_overrides_and_files(tmp_path: Path) -> None:
    assert find_recipe("kws", ["float.epochs=3", "seed=5"]).float_stage.epochs == 3
    (tmp_path / "mine.yaml").write_text(find_recipe("kws", ["name=mine"]).to_yaml())
    assert find_recipe(str(tmp_path / "mine.yaml"), ["seed=2"]).name == "mine"


def test_unknown_names_are_named_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Unknown recipe. Did you mean 'kws_demo'.*mine.yaml"):
        find_recipe("kws_dem")
    with pytest.raises(RecipeError, match=r"mine.yaml' can't be read"):
        find_recipe("./mine.yaml")
    with pytest.raises(UnknownNameError, match="Unknown model. Did you mean 'analognet_kws'"):
        build_model(find_recipe("kws", ["model=analogne_kws"]), classes=12, input_shape=(49, 10, 1))
    with pytest.raises(UnknownNameError, match="Unknown data set. Did you mean 'speech_commands'"):
        prepare(find_recipe("kws", ["dataset=speech_command"]))


def test_options_that_do_not_fit(loads: list[tuple[Any, ...]]) -> None:
    with pytest.raises(RecipeError, match=r"`model.options` does not fit 'analognet_kws'.*wide"):
        build_model(find_recipe("kws", ["model.options.wide=3"]), classes=12, input_shape=(49, 10, 1))
    with pytest.raises(RecipeError, match="`frontend` or `augmentation` does not exist.*windows"):
        prepare(find_recipe("kws", ["frontend.options.windows=3"]))
    with pytest.raises(RecipeError, match="`frontend` or `augmentation` does not exist.*loudness"):
        prepare(find_recipe("kws", ["augmentation.loudness=3"]))
    with pytest.raises(InvalidArgumentError, match="speed"):
        prepare(find_recipe("kws", ["augmentation.speed=9"]))
    with pytest.raises(UnknownNameError, match="option of `sampling`. Did you mean 'word_power'"):
        prepare(find_recipe("kws", ["sampling.word_powers=1"]))
    assert loads == []


def test_sampling_and_seed_reach_the_pipeline(loads: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []
    real = pipeline.train_batches

    def spy(*args: Any, **settings: Any) -> Any:
        calls.append(settings)
        return real(*args, **settings)

    monkeypatch.setattr(pipeline, "train_batches", spy)
    shares = {"silence": 0.25, "unknown": 0.5}
    recipe = find_recipe("kws", [*TINY, "sampling.balance={silence: 0.25, unknown: 0.5}", "seed=9", "sampling.steps=5"])
    batches = prepare(recipe).training.train_batches(3)
    given = calls[-1]
    assert (given["steps"], given["balance"], given["batch_size"]) == (5, shares, 8)
    assert (given["seed"], given["epoch"], given["word_power"]) == (9, 3, 0.5)
    labels = np.concatenate([batch[1].numpy() for batch in batches])
    assert np.mean(labels == KWS_CLASSES.index("unknown")) == pytest.approx(0.5, abs=0.05)
    assert np.mean(labels == KWS_CLASSES.index("silence")) == pytest.approx(0.25, abs=0.05)


def test_loader_options_folder_and_progress_are_passed_on(loads: list[tuple[Any, ...]], tmp_path: Path) -> None:
    def progress(done: int, total: int) -> None:
        """Ignore it."""

    recipe = find_recipe("kws", TINY)
    prepare(recipe, data_dir=tmp_path, progress=progress, on_corrupt="skip")
    wanted = {**recipe.dataset.options, "on_corrupt": "skip", "progress": progress}
    assert loads == [("speech_commands", tmp_path, wanted)]


def test_the_record_says_what_was_trained_on(loads: list[tuple[Any, ...]]) -> None:
    task = prepare(find_recipe("kws", TINY))
    info = dict(task.training.info)
    assert info["clips"] == {"train": 36, "validation": 36, "test": 36}
    assert info["classes"] == list(KWS_CLASSES)
    assert (info["name"], info["synthetic"]) == ("noise", True)
    assert "notes" not in info
    features, labels = task.features("test")
    assert features.shape == (36, 49, 10, 1)
    np.testing.assert_array_equal(labels, task.data.test.labels)
    assert task.training.calibration.shape[1:] == (49, 10, 1)


def test_the_same_recipe_gives_the_same_batches(loads: list[tuple[Any, ...]]) -> None:
    def first(recipe: Recipe) -> np.ndarray:
        return next(iter(prepare(recipe).training.train_batches(1)))[0].numpy()

    recipe = find_recipe("kws", TINY)
    np.testing.assert_array_equal(first(recipe), first(recipe))
    assert not np.array_equal(first(recipe), first(recipe.replace(["seed=1"])))


def test_a_recipe_of_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load(name: str, data_dir: Any, **options: Any) -> TaskData:
        asked.append((name, data_dir, options))
        return drawn()

    monkeypatch.setattr(registry, "load_dataset", load)
    recipe = Recipe.from_yaml(PICTURES)
    task = prepare(recipe, data_dir="there")
    assert asked == [("visual_wake_words", "there", {"progress": None, "size": 16})]
    assert task.samples == "pictures"
    batches = list(task.training.train_batches(0))
    assert [tuple(found.shape) for found, _ in batches] == [(8, 32, 32, 1)] * 3
    assert np.concatenate([labels for _, labels in batches]).mean() == 0.5
    again = list(task.training.train_batches(0))
    np.testing.assert_array_equal(again[0][0], batches[0][0])
    features, labels = task.features("test")
    assert features.shape == (10, 32, 32, 1)
    np.testing.assert_array_equal(labels, task.data.test.labels)
    model = task.model()
    assert (model.input_shape, model.output_shape) == ((None, 32, 32, 1), (None, 2))
    assert task.training.info["clips"]["train"] == 40


def test_kinds_that_do_not_go_together(loads: list[tuple[Any, ...]]) -> None:
    recipe = Recipe.from_yaml(PICTURES)
    with pytest.raises(RecipeError, match="'arm_40ms' takes audio, and the data set 'visual_wake_words' holds image"):
        prepare(recipe.replace({"frontend": "arm_40ms", "augmentation": {}}))
    with pytest.raises(RecipeError, match="'rgb_32' takes image, and the data set 'speech_commands' holds audio"):
        prepare(recipe.replace({"dataset": "speech_commands"}))
    with pytest.raises(RecipeError, match="`frontend` or `augmentation` does not exist.*speed"):
        prepare(recipe.replace({"augmentation": {"speed": 0.1}}))
    with pytest.raises(UnknownNameError, match="Unknown front end. Did you mean 'rgb_32'"):
        prepare(recipe.replace({"frontend": "rgb32"}))
    assert loads == []


@pytest.mark.parametrize("clips", [999, 1000, 1001, 1999, 2500])
def test_calibration_reaches_from_the_first_clip_to_the_last(clips: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most 1000, evenly spread: no more than one step is missing at the end, where another class may stand."""
    from analognets.zoo import tasks

    marked = drawn(clips)
    marked.train.inputs[:] = (np.arange(clips) * 255 / clips).astype(np.uint8)[:, None, None, None]
    monkeypatch.setattr(registry, "load_dataset", lambda *arguments, **options: marked)
    calibration = prepare(Recipe.from_yaml(PICTURES)).training.calibration
    assert 500 <= len(calibration) <= tasks.CALIBRATION_CLIPS
    assert calibration[-1].mean() > 1 - 0.02
    assert calibration[0].mean() == -1


def test_typical_samples_come_in_the_shares_of_training(loads: list[tuple[Any, ...]]) -> None:
    task = prepare(find_recipe("kws", [*TINY, "sampling={balance: {unknown: 0.5, silence: 0.5}}"]), calibrate=False)
    found = task.typical(12, seed=1)
    own = task.features("train")[0]
    labels = [int(task.data.train.labels[np.abs(own - one).sum((1, 2, 3)).argmin()]) for one in found]
    assert sorted(labels) == [KWS_CLASSES.index("silence")] * 6 + [KWS_CLASSES.index("unknown")] * 6
    np.testing.assert_array_equal(task.typical(12, seed=1), found)


def test_the_front_end_takes_the_rate_of_the_clips() -> None:
    recipe = find_recipe("kws_demo").replace({"frontend.options": {"sample_rate": 8000}})
    with pytest.raises(RecipeError, match="Clips of data sets have 16000 samples a second.*Received: sample_rate 8000"):
        prepare(recipe)
