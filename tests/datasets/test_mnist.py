"""MNIST from a file in the format of Keras."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from analognets.datasets.image_frontend import Image
from analognets.datasets.mnist import load_mnist
from analognets.datasets.pipeline import features, train_batches
from analognets.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 60), ("test", 20)):
        arrays[f"x_{part}"] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"y_{part}"] = (np.arange(count) % 10).astype(np.uint8)
    (tmp_path / "mnist").mkdir()
    np.savez(tmp_path / "mnist" / "mnist.npz", **arrays)
    return tmp_path / "mnist"


def test_pictures_come_with_their_labels_and_splits_share_none(folder: Path) -> None:
    data, again = (load_mnist(folder, validation=20) for _ in range(2))
    assert [len(split) for split in data.splits.values()] == [40, 20, 20]
    assert data.train.inputs.shape == (40, 28, 28, 1) and data.classes == tuple("0123456789")
    assert not set(data.train.names) & set(data.validation.names)
    assert data.train.names == again.train.names
    stored = np.load(folder / "mnist.npz")
    number = int(data.train.names[0].split("/")[1])
    np.testing.assert_array_equal(data.train.inputs[0, ..., 0], stored["x_train"][number])
    assert data.train.labels[0] == stored["y_train"][number]


def test_the_front_end_leaves_grey_pictures_as_they_are(folder: Path) -> None:
    data, front = load_mnist(folder, validation=20), Image.from_preset("grey_28")
    found, labels = features(data.test, front)
    np.testing.assert_allclose(found, data.test.inputs / 255.0, rtol=1e-6)
    batch, _ = next(iter(train_batches(data, front, batch_size=10)))
    assert tuple(batch.shape) == (10, 28, 28, 1) and len(labels) == 20


def test_it_is_found_where_the_environment_says(folder: Path, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("ANALOGNETS_DATA", str(folder.parent))
    assert len(load_mnist(validation=20).train) == 40


def test_a_file_in_the_cache_of_keras_is_read_and_never_replaced(folder: Path, monkeypatch, tmp_path: Path) -> None:
    def download() -> None:
        raise AssertionError("Keras would delete what differs from its own file")

    cache = tmp_path / "keras" / "datasets"
    cache.parent.mkdir()
    folder.rename(cache)
    monkeypatch.delenv("ANALOGNETS_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(cache.parent))
    monkeypatch.setattr(keras.datasets.mnist, "load_data", download)
    assert len(load_mnist(validation=20).train) == 40


def test_what_is_wrong_is_said(folder: Path, monkeypatch, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Give the folder that holds mnist.npz"):
        load_mnist(tmp_path)
    with pytest.raises(DataError, match="has 60 training pictures here"):
        load_mnist(folder, validation=60)
    np.savez(
        tmp_path / "mnist.npz", **{name: np.zeros((3, 5, 5)) for name in ("x_train", "y_train", "x_test", "y_test")}
    )
    with pytest.raises(DataError, match=r"must hold uint8 pictures \(n, 28, 28\)"):
        load_mnist(tmp_path, validation=1)

    def offline() -> None:
        raise OSError("no network")

    monkeypatch.delenv("ANALOGNETS_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "none"))
    monkeypatch.setattr(keras.datasets.mnist, "load_data", offline)
    with pytest.raises(DataError, match="can't be downloaded: no network"):
        load_mnist()
