"""Batches: what stands in them, in which share, and that (seed, epoch) decides everything."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from analognets.datasets.augment import Augmentation
from analognets.datasets.base import Split, TaskData
from analognets.datasets.frontend import MFCC
from analognets.datasets.pipeline import eval_batches, features, sample_epoch, standardize, train_batches
from analognets.errors import InvalidArgumentError, UnknownNameError

CLASSES = ("yes", "no", "silence", "unknown")
SAMPLES = 4000


def split(words: dict[str, int], seed: int = 0) -> Split:
    """Return so many noise clips of each word; words that are no class are unknown."""
    names = [f"{word}/{number}.wav" for word, count in words.items() for number in range(count)]
    labels = [CLASSES.index(name.split("/")[0]) if name.split("/")[0] in CLASSES else 3 for name in names]
    audio = np.random.default_rng(seed).standard_normal((len(names), SAMPLES)) * 1000
    return Split(audio.astype(np.int16), np.array(labels), tuple(names))


def task(words: dict[str, int], seed: int = 0) -> TaskData:
    part = split(words, seed)
    noise = np.random.default_rng(9).standard_normal(10000).astype(np.float32) * 0.01
    return TaskData("toy", part, part.select(slice(0, 5)), part.select(slice(0, 0)), CLASSES, [noise])


@pytest.fixture(scope="module")
def data() -> TaskData:
    return task({"yes": 30, "no": 10, "bed": 32, "cat": 8})


@pytest.fixture(scope="module")
def extra() -> TaskData:
    return task({"yes": 20, "no": 20, "dog": 20}, seed=5)


@pytest.fixture(scope="module")
def frontend() -> MFCC:
    return MFCC()


AUGMENTATION = Augmentation(
    time_shift_ms=50, speed=0.1, background_probability=0.8, background_snr_db=(0, 20), time_masks=1, silence_recut=True
)


def collect(*arguments: Any, **settings: Any) -> tuple[np.ndarray, np.ndarray]:
    batches = list(train_batches(*arguments, **settings))
    return np.stack([features for features, _ in batches]), np.stack([labels for _, labels in batches])


def test_batches_are_full_and_typed(data: TaskData, frontend: MFCC) -> None:
    batches = train_batches(data, frontend, batch_size=12)
    assert batches.element_spec == (tf.TensorSpec((12, 11, 10, 1), tf.float32), tf.TensorSpec((12,), tf.int32))
    found, labels = collect(data, frontend, batch_size=12)
    assert found.shape == (6, 12, 11, 10, 1)
    assert labels.shape == (6, 12)
    assert not batches.options().autotune.enabled
    assert batches.options().deterministic


def test_without_augmentation_the_features_are_those_of_the_clips(data: TaskData, frontend: MFCC) -> None:
    found, labels = collect(data, frontend, batch_size=16, seed=3)
    order, expected = sample_epoch(data, batch_size=16, seed=3)
    plain, _ = features(data.train, frontend)
    assert sorted(order.ravel()) == list(range(80))
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(labels, data.train.labels[order])
    np.testing.assert_allclose(found, plain[order], atol=1e-3)


def test_seed_and_epoch_decide_every_bit(data: TaskData, extra: TaskData, frontend: MFCC) -> None:
    options: dict[str, Any] = {
        "augmentation": AUGMENTATION,
        "batch_size": 20,
        "balance": {"silence": 0.2},
        "extra": (extra, 0.3),
    }
    first = collect(data, frontend, seed=1, epoch=2, **options)
    for found, expected in zip(collect(data, frontend, seed=1, epoch=2, **options), first, strict=True):
        np.testing.assert_array_equal(found, expected)
    for other in ({"seed": 1, "epoch": 3}, {"seed": 2, "epoch": 2}, {"seed": 2, "epoch": 1}):
        found, _ = collect(data, frontend, **other, **options)
        assert (found != first[0]).mean() > 0.9
    assert np.isfinite(first[0]).all()


def test_an_epoch_can_be_left_and_begun_again(data: TaskData, frontend: MFCC) -> None:
    batches = train_batches(data, frontend, augmentation=AUGMENTATION, batch_size=20, seed=1)
    first = next(iter(batches))
    rest = [batch for batch, _ in batches]
    np.testing.assert_array_equal(rest[0], first[0])
    np.testing.assert_array_equal(next(iter(batches.skip(2)))[0], rest[2])


def test_clips_are_augmented_apart(data: TaskData, frontend: MFCC) -> None:
    """The same clip twice in an epoch is changed in two ways."""
    one = TaskData("one", data.train.select([0] * 40), data.validation, data.test, CLASSES)
    found, _ = collect(one, frontend, augmentation=Augmentation(speed=0.1), batch_size=20)
    assert len(np.unique(found.reshape(40, -1), axis=0)) == 40


def test_shares_of_classes_sources_and_words(data: TaskData, extra: TaskData) -> None:
    order, labels = sample_epoch(
        data,
        batch_size=100,
        steps=10,
        balance={"unknown": 0.3, "silence": 0.1},
        extra=(extra, {"no": 0.5}),
        word_power=0.5,
        make_silence=True,
    )
    counts = np.bincount(labels.ravel(), minlength=4)
    np.testing.assert_allclose(counts, [300, 300, 100, 300], atol=1)
    assert (order[labels == 2] == -1).all()
    assert (order[labels != 2] >= 0).all()
    assert (order[labels == 0] < 30).all()
    assert abs((order[labels == 1] >= 80).sum() - 150) <= 2
    of_unknown = order[labels == 3]
    assert abs((of_unknown >= 72).sum() - 100) <= 2  # cat: 8 ** 0.5 to 32 ** 0.5 of bed
    spread = Counter(of_unknown[of_unknown < 72].tolist()).values()
    assert max(spread) - min(spread) <= 1


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(0, 20), min_size=4, max_size=4).filter(lambda counts: sum(counts) > 0),
    batch_size=st.integers(1, 40),
    steps=st.integers(1, 5),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 1000),
    power=st.floats(0, 1),
    uniform=st.booleans(),
)
def test_every_sample_is_a_clip_of_its_class_in_its_share(
    counts: list[int], batch_size: int, steps: int, seed: int, epoch: int, power: float, uniform: bool
) -> None:
    train = split(dict(zip(("yes", "no", "silence", "bed"), counts, strict=True)))
    toy = TaskData("toy", train, train, train, CLASSES)
    options: dict[str, Any] = {"batch_size": batch_size, "steps": steps, "seed": seed, "epoch": epoch}
    order, labels = sample_epoch(toy, balance="uniform" if uniform else None, word_power=power, **options)
    assert order.shape == labels.shape == (steps, batch_size)
    np.testing.assert_array_equal(train.labels[order], labels)
    shares = np.array([count > 0 for count in counts]) if uniform else np.array(counts)
    expected = shares / shares.sum() * labels.size
    assert np.abs(np.bincount(labels.ravel(), minlength=4) - expected).max() <= 1


def test_classes_with_no_clips_in_the_data_come_from_extra_alone(extra: TaskData) -> None:
    poor = task({"yes": 30, "bed": 10})
    order, labels = sample_epoch(poor, batch_size=30, balance="uniform", extra=(extra, 0.0), steps=2)
    assert (np.bincount(labels.ravel()) == [20, 20, 0, 20]).all()
    assert (order[labels == 1] >= 40).all()


def test_silence_made_from_nothing_sounds(data: TaskData, frontend: MFCC) -> None:
    recut = Augmentation(silence_recut=True, silence_zeros=0.0)
    found, labels = collect(data, frontend, augmentation=recut, batch_size=20, balance={"silence": 0.25})
    silence = found[labels == 2]
    assert len(silence) == 20
    assert len(np.unique(silence.reshape(20, -1), axis=0)) == 20


def test_evaluation_is_in_order_and_complete(data: TaskData, frontend: MFCC) -> None:
    found, labels = features(data.train, frontend, batch_size=32)
    assert found.dtype == np.float32
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, data.train.labels)
    np.testing.assert_allclose(found, frontend(data.train.inputs), atol=1e-5)
    batches = list(eval_batches(data.train, frontend, batch_size=32))
    assert [len(batch) for batch, _ in batches] == [32, 32, 16]
    np.testing.assert_array_equal(np.concatenate([batch for batch, _ in batches]), found)
    np.testing.assert_array_equal(np.concatenate([batch for _, batch in batches]), labels)


def test_standardised_features_have_mean_0_and_deviation_1(data: TaskData) -> None:
    frontend = standardize(MFCC.from_preset("mlperf_tiny"), data.train)
    assert frontend.normalize == "max"
    found, _ = features(data.train, frontend)
    np.testing.assert_allclose(found.mean(axis=(0, 1, 3)), 0, atol=1e-3)
    np.testing.assert_allclose(found.std(axis=(0, 1, 3)), 1, atol=1e-3)
    assert standardize(frontend, data.train).get_config() == {**frontend.get_config(), "name": frontend.name}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 0}, "`batch_size` of train_batches must be a whole number from 1"),
        ({"batch_size": 100}, "does not fill one batch.* Received: batch_size=100 with 80 clips"),
        ({"seed": -1}, "`seed` of train_batches must be a whole number from 0"),
        ({"epoch": 0.5}, "`epoch` of train_batches"),
        ({"word_power": 2}, "`word_power` of train_batches must be a number from 0 to 1"),
        ({"balance": "even"}, "`balance` of train_batches must be None, 'uniform' or a mapping"),
        ({"balance": {"yes": 1.5}}, r"`balance\[yes\]` of train_batches must be a number from 0 to 1"),
        ({"balance": {"yes": 0.7, "no": 0.7}}, "must not sum to more than 1"),
        ({"balance": {"silence": 0.1}}, "asks for clips of 'silence', of which toy has none"),
        ({"extra": 0.5}, r"`extra` of train_batches must be a data set with the same classes and a share"),
    ],
)
def test_wrong_settings_are_named(data: TaskData, frontend: MFCC, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        train_batches(data, frontend, **{"batch_size": 10, **wrong})


def test_unknown_classes_and_other_classes_are_named(data: TaskData, extra: TaskData, frontend: MFCC) -> None:
    with pytest.raises(UnknownNameError, match="Unknown class in `balance` of train_batches. Did you mean 'silence'"):
        train_batches(data, frontend, balance={"silent": 0.1}, batch_size=10)
    with pytest.raises(UnknownNameError, match="Unknown class in `extra`"):
        train_batches(data, frontend, extra=(extra, {"maybe": 0.1}), batch_size=10)
    other = TaskData("other", extra.train, extra.train, extra.train, ("no", "yes", "silence", "unknown"))
    with pytest.raises(InvalidArgumentError, match="the same classes"):
        train_batches(data, frontend, extra=(other, 0.1), batch_size=10)


def test_missing_noise_and_empty_splits_are_named(data: TaskData, frontend: MFCC) -> None:
    quiet = TaskData("quiet", data.train, data.validation, data.test, CLASSES)
    with pytest.raises(InvalidArgumentError, match="there is no background recording"):
        train_batches(quiet, frontend, augmentation=AUGMENTATION, batch_size=10)
    with pytest.raises(InvalidArgumentError, match="Features need at least one clip"):
        features(data.test, frontend)


def test_mixup_mixes_features_and_labels_alike(data: TaskData, frontend: MFCC) -> None:
    settings = {"batch_size": 8, "seed": 3, "epoch": 1, "steps": 4}
    plain = list(train_batches(data, frontend, **settings))
    mixed = list(train_batches(data, frontend, mixup=0.4, **settings))
    parts = []
    for (x, y), (mixed_x, shares) in zip(plain, mixed, strict=True):
        assert shares.dtype == tf.float32 and shares.shape == (8, len(CLASSES))
        np.testing.assert_allclose(shares.numpy().sum(-1), 1.0, atol=1e-6)
        first, second = x.numpy(), x.numpy()[::-1]
        gap = (first - second).reshape(8, -1)
        part = ((mixed_x.numpy() - second).reshape(8, -1) * gap).sum(-1) / (gap**2).sum(-1)  # of each clip itself
        one_hot = np.eye(len(CLASSES))[y.numpy()]
        np.testing.assert_allclose(shares, part[:, None] * one_hot + (1 - part[:, None]) * one_hot[::-1], atol=1e-3)
        parts.extend(part)
    assert min(parts) >= -1e-3 and max(parts) <= 1.001 and np.std(parts) > 0.2  # 0.37 for Beta(0.4, 0.4)
    again = list(train_batches(data, frontend, mixup=0.4, **settings))
    np.testing.assert_array_equal(again[2][0], mixed[2][0])
