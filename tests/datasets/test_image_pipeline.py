"""Batches of pictures: the same sampling and the same promises as for sound."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from analognets.datasets.augment import Augmentation
from analognets.datasets.base import Split, TaskData
from analognets.datasets.frontend import MFCC
from analognets.datasets.image_augment import ImageAugmentation
from analognets.datasets.image_frontend import Image
from analognets.datasets.pipeline import eval_batches, features, sample_epoch, train_batches
from analognets.errors import InvalidArgumentError

AUGMENTATION = ImageAugmentation(flip=True, shift=0.1, rotation=10, brightness=0.1, saturation=0.2, cutouts=1)


@pytest.fixture(scope="module")
def data() -> TaskData:
    labels = np.array([0] * 30 + [1] * 10)
    inputs = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)
    part = Split(inputs, labels, tuple(f"{'ab'[label]}/{i}.png" for i, label in enumerate(labels)))
    return TaskData("toy", part, part.select(slice(0, 7)), part.select(slice(0, 0)), ("a", "b"))


@pytest.fixture(scope="module")
def frontend() -> Image:
    return Image(size=16)


def collect(*arguments: Any, **settings: Any) -> tuple[np.ndarray, np.ndarray]:
    batches = list(train_batches(*arguments, **settings))
    return np.stack([found for found, _ in batches]), np.stack([labels for _, labels in batches])


def test_batches_are_full_and_typed(data: TaskData, frontend: Image) -> None:
    batches = train_batches(data, frontend, augmentation=AUGMENTATION, batch_size=12)
    assert batches.element_spec == (tf.TensorSpec((12, 16, 16, 3), tf.float32), tf.TensorSpec((12,), tf.int32))
    found, labels = collect(data, frontend, augmentation=AUGMENTATION, batch_size=12, balance="uniform", steps=4)
    assert found.shape == (4, 12, 16, 16, 3)
    assert labels.mean() == 0.5
    assert found.min() >= -1 and found.max() <= 1


def test_without_augmentation_the_features_are_those_of_the_pictures(data: TaskData, frontend: Image) -> None:
    found, labels = collect(data, frontend, batch_size=10, seed=3)
    order, expected = sample_epoch(data, batch_size=10, seed=3)
    plain, plain_labels = features(data.train, frontend)
    np.testing.assert_allclose(found, plain[order], atol=1e-5)
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(plain_labels, data.train.labels)
    np.testing.assert_allclose(plain, frontend(data.train.inputs), atol=1e-5)
    assert [len(batch) for batch, _ in eval_batches(data.validation, frontend, batch_size=4)] == [4, 3]


def test_seed_and_epoch_decide_every_bit(data: TaskData, frontend: Image) -> None:
    options: dict[str, Any] = {"augmentation": AUGMENTATION, "batch_size": 20}
    first, _ = collect(data, frontend, seed=1, epoch=2, **options)
    np.testing.assert_array_equal(collect(data, frontend, seed=1, epoch=2, **options)[0], first)
    for other in ({"seed": 1, "epoch": 3}, {"seed": 2, "epoch": 2}):
        assert (collect(data, frontend, **other, **options)[0] != first).mean() > 0.9


def test_kinds_do_not_mix(data: TaskData, frontend: Image) -> None:
    sound = Split(np.zeros((4, 16_000), np.int16), np.zeros(4))
    clips = TaskData("clips", sound, sound, sound, ("a",))
    assert (data.kind, clips.kind, sound.kind) == ("image", "audio", "audio")
    with pytest.raises(InvalidArgumentError, match="the data for image, the front end for audio"):
        train_batches(data, MFCC(), batch_size=4)
    with pytest.raises(InvalidArgumentError, match="the augmentation for audio"):
        train_batches(data, frontend, augmentation=Augmentation(), batch_size=4)
    with pytest.raises(InvalidArgumentError, match="the augmentation for image"):
        train_batches(clips, MFCC(), augmentation=AUGMENTATION, batch_size=4)
    with pytest.raises(InvalidArgumentError, match="the data for audio, the front end for image"):
        features(sound, frontend)
