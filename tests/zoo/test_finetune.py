"""Fine-tuning: what is kept of a preset, what is new, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from analognets.conversion import to_digital
from analognets.datasets.frontends import frontend
from analognets.errors import PresetError, RecipeError, RunError, UnknownNameError
from analognets.training import Run, TrainingData, train
from analognets.training.recipe import Recipe
from analognets.zoo.finetune import finetune_recipe, finetuned, replace_head, weights_sha256
from analognets.zoo.presets.saving import save_to_preset
from analognets.zoo.tasks import build_model, find_recipe
from analognets.zoo.trained import open_trained

SHAPE = (49, 10, 1)
WORDS = {"name": "audio_folder", "options": {}}
TINY = {
    "model.options.widths": [4, 4, 4, 4, 4],
    "float.epochs": 1,
    "float.learning_rate": 0.05,
    "hardware_aware.epochs": 0,
    "evaluation.chips": 2,
}


def noise(classes: int) -> TrainingData:
    """Return data of noise around a mean for each class."""

    def batches(epoch: int) -> tf.data.Dataset:
        rng = np.random.default_rng(epoch)
        labels = np.arange(24) % classes
        features = rng.normal(labels[:, None, None, None] / classes, 1, (24, *SHAPE)).astype("float32")
        return tf.data.Dataset.from_tensor_slices((features, labels)).batch(8)

    calibration = np.random.default_rng(9).normal(size=(16, *SHAPE)).astype("float32")
    return TrainingData(batches, 3, None, calibration, {"name": "noise", "classes": [f"c{i}" for i in range(classes)]})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run with a float and an analog network; not to be changed."""
    made = Run.create(tmp_path_factory.mktemp("runs") / "tiny", find_recipe("kws").replace(TINY))
    train(made, model=lambda: build_model(made.recipe, classes=12, input_shape=SHAPE), data=noise(12))
    return made.path


def recipe_for(preset: Path | str, **settings: Any) -> Recipe:
    return finetune_recipe(preset, **{"classes": ["a", "b", "c"], "samples": 60, "dataset": WORDS, **settings})


def weights(model: keras.Model) -> dict[str, np.ndarray]:
    return {f"{layer.name}/{i}": w for layer in model.layers for i, w in enumerate(layer.get_weights())}


def test_all_but_the_head_is_the_presets(run: Path) -> None:
    old, new = weights(to_digital(Run.open(run).analog_model())), weights(finetuned(SHAPE, classes=3, preset=str(run)))
    assert old.keys() == new.keys()
    assert new["logits/0"].shape == (4, 3)
    kept = [name for name in old if not name.startswith("logits/")]
    assert len(kept) == 25
    for name in kept:
        np.testing.assert_array_equal(new[name], old[name], err_msg=name)


def test_the_head_depends_on_the_seed_and_on_nothing_of_the_preset(run: Path, tmp_path: Path) -> None:
    saved = save_to_preset(run, tmp_path / "tiny.hwa", precision="float32").path

    def head(seed: int, preset: Path) -> np.ndarray:
        keras.utils.set_random_seed(seed)
        return weights(finetuned(SHAPE, classes=3, preset=str(preset)))["logits/0"]

    np.testing.assert_array_equal(head(1, run), head(1, saved))
    assert np.abs(head(1, run) - head(2, run)).max() > 0.01
    assert weights_sha256(run) == weights_sha256(saved)


def test_other_weights_are_noticed(run: Path, tmp_path: Path) -> None:
    pinned = recipe_for(run).model.options["weights_sha256"]
    assert pinned == weights_sha256(run)
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    finetuned(SHAPE, classes=3, preset=str(copy), weights_sha256=str(pinned))
    analog = Run.open(copy).analog_model()
    analog.get_layer("norm_1").beta.assign_add([0.0, 0.0, 0.0, 1e-6])
    analog.save(copy / "analog.keras")
    with pytest.raises(PresetError, match="are not those this recipe was made for.*Received: sha256"):
        finetuned(SHAPE, classes=3, preset=str(copy), weights_sha256=str(pinned))


def test_features_of_another_shape_are_refused(run: Path) -> None:
    with pytest.raises(PresetError, match=r"takes features of shape \(49, 10, 1\), the front end gives \(40, 10, 1\)"):
        finetuned((40, 10, 1), classes=3, preset=str(run))


def trained(run: Path, folder: Path, **settings: Any) -> Run:
    recipe = recipe_for(run, epochs=1, hardware_aware_epochs=1, seed=5, **settings)
    made = Run.create(folder, recipe)
    train(made, model=lambda: build_model(recipe, classes=3, input_shape=SHAPE), data=noise(3))
    return Run.open(folder)


def test_a_frozen_backbone_stays_through_both_stages(run: Path, tmp_path: Path) -> None:
    before = weights(to_digital(Run.open(run).analog_model()))
    done = trained(run, tmp_path / "frozen", freeze=True)
    fresh = weights(finetuned(SHAPE, classes=3, preset=str(run)))
    for network in (done.float_model(), to_digital(done.analog_model())):
        found = weights(network)
        for name, value in before.items():
            if not name.startswith("logits/"):
                np.testing.assert_array_equal(found[name], value, err_msg=name)
        assert np.abs(found["logits/0"] - fresh["logits/0"]).max() > 1e-3


def test_a_finetuned_run_becomes_a_preset_that_needs_no_other(run: Path, tmp_path: Path) -> None:
    parent = Path(shutil.copytree(run, tmp_path / "parent"))
    done = trained(parent, tmp_path / "child")
    old, new = weights(to_digital(Run.open(run).analog_model())), weights(done.float_model())
    assert all(np.abs(new[f"conv_{i}/0"] - old[f"conv_{i}/0"]).max() > 1e-4 for i in range(1, 6)), "all layers learn"
    preset = save_to_preset(done.path, tmp_path / "mine", precision="float32")
    shutil.rmtree(parent)
    inputs = np.random.default_rng(0).normal(size=(3, *SHAPE)).astype("float32")
    found = open_trained(preset.path)
    np.testing.assert_allclose(found.digital_model()(inputs), to_digital(done.analog_model())(inputs), atol=1e-5)
    assert found.classes == ("c0", "c1", "c2")
    again = recipe_for(preset.path, classes=["x", "y"])
    assert again.model.options["preset"] == str(preset.path)
    assert build_model(again, classes=2, input_shape=SHAPE).output_shape == (None, 2)


# Networks of others


def ending(*last: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, name="body"), *last])


def test_probabilities_become_logits() -> None:
    model = ending(keras.layers.Dense(3, activation="softmax", name="head"))
    new = replace_head(model, 5)
    assert (new.layers[-1].name, new.layers[-1].activation.__name__) == ("head", "linear")
    assert new.output_shape == (None, 5)
    body = keras.Model(model.inputs[0], model.get_layer("body").output)
    kernel, bias = new.layers[-1].get_weights()
    x = np.ones((2, 6), "float32")
    np.testing.assert_allclose(new(x), np.asarray(body(x)) @ kernel + bias, rtol=1e-5)


def test_a_nested_backbone_is_kept_and_frozen() -> None:
    inner = ending(keras.layers.BatchNormalization())
    model = keras.Sequential([keras.Input((6,)), inner, keras.layers.Dense(2)])
    new = replace_head(model, 3, freeze=True)
    assert [variable.path.split("/")[-1] for variable in new.trainable_variables] == ["kernel", "bias"]
    np.testing.assert_array_equal(new.layers[1].get_weights()[0], inner.get_weights()[0])


def subclassed() -> keras.Model:
    class Mine(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="mine")
            self.dense = keras.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    model = Mine()
    model(np.ones((1, 6), "float32"))
    return model


def two_outputs() -> keras.Model:
    inputs = keras.Input((6,))
    return keras.Model(inputs, [keras.layers.Dense(2)(inputs), keras.layers.Dense(3)(inputs)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ending(keras.layers.Dense(3), keras.layers.Softmax(name="soft")),
            r"must be Dense.*'soft' \(Softmax\)",
        ),
        (subclassed, "Received: 'mine', a subclassed model"),
        (two_outputs, "with one output.*2 outputs"),
        (lambda: keras.Sequential([keras.Input((6,)), ending(keras.layers.Dense(3))]), "must be Dense"),
    ],
)
def test_what_has_no_head_to_replace_is_refused(make: Callable[[], keras.Model], message: str) -> None:
    with pytest.raises(PresetError, match=message):
        replace_head(make(), 4)


def test_a_preset_without_a_recipe_keeps_its_front_end(tmp_path: Path) -> None:
    layer = frontend("arm_40ms", mean=[0.5] * 10, std=[2.0] * 10, mel_bands=32)
    inputs = keras.Input(SHAPE)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(x), name="mine")
    bare = save_to_preset(model, tmp_path / "bare", classes=["a", "b", "c"])
    with pytest.raises(PresetError, match="'bare' has no front end"):
        recipe_for(bare.path)
    kept = recipe_for(save_to_preset(model, tmp_path / "kept", classes=["a", "b", "c"], frontend=layer).path)
    again = frontend(kept.frontend.preset, **kept.frontend.options).get_config()
    assert {**again, "name": ""} == {**layer.get_config(), "name": ""}
    assert kept.hardware_aware is not None


# The recipe


def test_the_recipe_keeps_what_belongs_to_the_preset(run: Path) -> None:
    old, new = Run.open(run).recipe, recipe_for(run, classes=["a", "b", "silence", "unknown"], seed=4)
    assert (new.frontend, new.augmentation, new.seed) == (old.frontend, old.augmentation, 4)
    assert old.hardware_aware is not None and new.hardware_aware is not None
    assert new.hardware_aware.hardware == old.hardware_aware.hardware
    assert new.sampling["balance"] == {"silence": 0.07, "unknown": 0.15}
    assert "steps" not in new.sampling
    plain = recipe_for(run)
    assert plain.sampling["balance"] == "uniform"
    assert not [name for name in plain.augmentation if "silence" in name]
    assert Recipe.from_yaml(plain.to_yaml()) == plain


@pytest.mark.parametrize("samples", [8, 60, 1400, 100_000])
def test_small_data_get_more_epochs_and_small_batches(run: Path, samples: int) -> None:
    recipe = recipe_for(run, samples=samples)
    steps = samples // recipe.batch_size
    assert steps >= 2
    assert recipe.float_stage.epochs * steps >= 240 or recipe.float_stage.epochs == 60
    assert recipe.float_stage.epochs * steps < 240 + steps or recipe.float_stage.epochs == 2


def test_epochs_and_hardware_are_the_users(run: Path) -> None:
    recipe = recipe_for(run, epochs=0, hardware_aware_epochs=3, hardware="aon_cim_4bit", overrides=["batch_size=7"])
    assert recipe.hardware_aware is not None
    assert (recipe.float_stage.epochs, recipe.hardware_aware.epochs, recipe.batch_size) == (0, 3, 7)
    assert recipe.hardware_aware.hardware.preset == "aon_cim_4bit"
    with pytest.raises(UnknownNameError, match="hardware preset"):
        recipe_for(run, hardware="aon_cim_5bit")


@pytest.mark.parametrize("override", ["frontend.options.mel_bands=20", "model.name=ds_cnn", " frontend=mlperf_tiny"])
def test_network_and_front_end_cannot_be_overridden(run: Path, override: str) -> None:
    with pytest.raises(RecipeError, match="Network and front end are the preset's"):
        recipe_for(run, overrides=[override])


def test_recordings_are_no_pictures(run: Path) -> None:
    with pytest.raises(PresetError, match="takes recordings, and the data are pictures"):
        recipe_for(run, dataset={"name": "image_folder"})


def test_an_unfinished_run_is_no_source(run: Path, tmp_path: Path) -> None:
    begun = Run.create(tmp_path / "begun", Run.open(run).recipe)
    with pytest.raises(RunError, match=r"has no analog.keras \(status: unfinished\)"):
        recipe_for(begun.path)
