"""ResNet-32 for CIFAR-10 and a text encoder: sizes, recipe, and what of them goes on a crossbar."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from analognets.conversion import to_analog
from analognets.datasets.cifar10 import FILE, load_cifar10
from analognets.errors import DataError
from analognets.layers import calibrate, freeze_weight_range
from analognets.zoo.networks.bert import bert_tiny
from analognets.zoo.networks.resnet import resnet32
from analognets.zoo.tasks import find_recipe, prepare

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cifar")
    pictures = RNG.integers(0, 256, (80, 32, 32, 3), dtype=np.uint8)
    labels = (np.arange(80) % 10)[:, None]
    np.savez(folder / FILE, x_train=pictures[:60], y_train=labels[:60], x_test=pictures[60:], y_test=labels[60:])
    return folder


def test_resnet32_has_the_published_number_of_weights() -> None:
    model = resnet32()
    norms = sum(layer.count_params() for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))
    assert model.count_params() - norms == 361_722
    assert sum(entry.kernel for entry in to_analog(model).conversion_report.converted) == 361_722 - 10
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.kernel_size for layer in convolutions].count((3, 3)) == 31
    assert len(convolutions) == 33


def test_the_cifar_recipe_trains_a_few_batches_on_the_standard_crossbar(folder: Path) -> None:
    recipe = find_recipe("cifar10_resnet32").replace(["dataset.options={validation: 10}", "batch_size=10"])
    recipe = recipe.replace(["model.options={blocks: 1}"])  # the whole one takes minutes to trace
    task = prepare(recipe, data_dir=folder)
    assert (len(task.data.train), len(task.data.validation), len(task.data.test)) == (50, 10, 20)
    stage = recipe.hardware_aware
    assert stage is not None
    keras.utils.set_random_seed(0)
    analog = to_analog(task.model(), stage.hardware.preset, weight_noise=stage.weight_noise, noise_model="device")
    freeze_weight_range(analog, sigma=None)
    calibrate(analog, task.training.calibration[:10])
    analog.compile(
        keras.optimizers.SGD(7.5e-3, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    losses = analog.fit(task.training.train_batches(0).take(2), shuffle=False, verbose=0).history["loss"]
    assert np.isfinite(losses).all()


def test_cifar_is_the_same_for_a_seed_and_splits_share_no_picture(folder: Path) -> None:
    one, other, third = (load_cifar10(folder, validation=20, seed=seed) for seed in (0, 0, 1))
    assert one.validation.names == other.validation.names != third.validation.names
    assert not set(one.train.names) & set(one.validation.names)
    assert len(one.train) == 40


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"x_train": np.zeros((3, 32, 32, 3), np.uint8)}, "can't be read, and must be CIFAR-10"),
        ({"x_train": np.zeros((3, 28, 28), np.uint8), "y_train": np.zeros(3)}, r"\(n, 32, 32, 3\).*Received: uint8"),
        (
            {"x_train": np.zeros((3, 32, 32, 3), np.uint8), "y_train": np.full(3, 10)},
            "labels from 0 to 9. Received: 10",
        ),
    ],
)
def test_broken_files_are_one_sentence(tmp_path: Path, arrays: dict[str, np.ndarray], sentence: str) -> None:
    if len(arrays) == 2:
        arrays = {**arrays, "x_test": arrays["x_train"], "y_test": arrays["y_train"]}
    np.savez(tmp_path / FILE, **arrays)
    with pytest.raises(DataError, match=sentence):
        load_cifar10(tmp_path)


def test_missing_data_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    with pytest.raises(DataError, match=f"does not exist. Give the folder that holds {FILE}"):
        load_cifar10(tmp_path)
    with pytest.raises(DataError, match="60 training pictures here. Received: validation=60"):
        load_cifar10(folder, validation=60)

    def offline() -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(keras.datasets.cifar10, "load_data", offline)
    with pytest.raises(DataError, match="can't be downloaded: no route to host Give the folder"):
        load_cifar10()


def test_a_text_encoder_converts_but_for_its_embeddings() -> None:
    keras.utils.set_random_seed(0)
    model = bert_tiny((12,), vocabulary=50)
    tokens = RNG.integers(1, 50, (3, 12))
    tokens[1, 6:] = 0
    analog = to_analog(model, "aimc_standard")
    report = analog.conversion_report
    assert sum(entry.kernel for entry in report.converted) == 2 * 12 * 128**2 + 128**2 + 128 * 2
    assert {entry.layer for entry in report.left} >= {"words", "positions"}
    np.testing.assert_allclose(analog(tokens), model(tokens), atol=1e-4)
    changed = tokens.copy()
    changed[1, 6:] = 7
    assert np.abs(model(changed)[1] - model(tokens)[1]).max() > 1e-4
    assert (
        bert_tiny().count_params() == 30_522 * 128 + 128 * 128 + 2 * (12 * 128**2 + 13 * 128) + 256 + 128**2 + 128 + 258
    )


def test_padding_is_not_attended_to() -> None:
    model = bert_tiny((12,), vocabulary=50)
    tokens = np.full((1, 12), 3)
    tokens[0, 5:] = 0
    before = model(tokens)
    words = model.get_layer("words").embeddings
    words.assign(np.concatenate([np.full((1, 128), 9.0), words.numpy()[1:]]))
    np.testing.assert_allclose(model(tokens), before, atol=1e-5)
