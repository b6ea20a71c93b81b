"""CIFAR-10 by way of Keras, or from one .npz file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from analognets.datasets.base import DatasetInfo, Split, TaskData
from analognets.datasets.file_reader import Progress
from analognets.errors import DataError, check_integer

__all__ = ["CIFAR10_CLASSES", "FILE", "load_cifar10"]

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""The classes in the order of the labels."""

FILE = "cifar10.npz"
"""Name of the file in a folder given: arrays x_train, y_train, x_test, y_test as Keras returns them."""

_KEYS = ("x_train", "y_train", "x_test", "y_test")


def load_cifar10(
    data_dir: Path | str | None = None,
    *,
    validation: int = 5000,
    seed: int = 0,
    progress: Progress | None = None,
) -> TaskData:
    """Return CIFAR-10: small colour pictures (32, 32, 3) of ten classes, uint8.

    Args:
        data_dir: folder with cifar10.npz; None downloads once through `keras.datasets.cifar10`, which keeps it in the
            Keras cache.
        validation: how many training pictures are held out for validation, 1 to 40,000; drawn by `seed`.
        seed: >= 0.
        progress: called with (pictures done, pictures in all) at the end.

    Raises:
        DataError: it can't be downloaded, or the file is missing or holds something else.
        InvalidArgumentError: a number is out of range.
    """
    check_integer("load_cifar10", "validation", validation, 1, 40_000)
    check_integer("load_cifar10", "seed", seed, 0, 2**31 - 1)
    pictures, labels, test_pictures, test_labels = _downloaded() if data_dir is None else _stored(Path(data_dir))
    if validation >= len(labels):
        raise DataError(f"CIFAR-10 has {len(labels)} training pictures here. Received: validation={validation}.")
    order = np.random.default_rng(seed).permutation(len(labels))
    names = tuple(f"train/{i:05d}" for i in range(len(labels)))
    whole = Split(pictures, labels, names)
    train, held_out = whole.select(np.sort(order[validation:])), whole.select(np.sort(order[:validation]))
    test = Split(test_pictures, test_labels, tuple(f"test/{i:05d}" for i in range(len(test_labels))))
    if progress is not None:
        progress(len(whole) + len(test), len(whole) + len(test))
    info = DatasetInfo(
        name="cifar10",
        version="1",
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="none stated by its authors",
        citation="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009)",
        statement=f"CIFAR-10: {len(train):,} training, {len(held_out):,} validation and {len(test):,} test pictures; "
        f"validation held out of the training pictures with seed {seed}.",
        synthetic=False,
    )
    return TaskData("cifar10", train, held_out, test, CIFAR10_CLASSES, info=info)


Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _downloaded() -> Arrays:
    import keras

    try:
        (pictures, labels), (test_pictures, test_labels) = keras.datasets.cifar10.load_data()
    except Exception as error:  # Keras passes on whatever its download meets
        raise DataError(
            f"CIFAR-10 is not in the Keras cache and can't be downloaded: {error} Give the folder of a {FILE} with the "
            "arrays x_train, y_train, x_test and y_test (--data DIR)."
        ) from error
    return _checked(pictures, labels, test_pictures, test_labels, "CIFAR-10 as downloaded")


def _stored(folder: Path) -> Arrays:
    path = folder / FILE if folder.suffix != ".npz" else folder
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = [file[key] for key in _KEYS]
    except FileNotFoundError:
        raise DataError(f"'{path}' does not exist. Give the folder that holds {FILE}.") from None
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"'{path}' can't be read as CIFAR-10 ({', '.join(_KEYS)}): {error}.") from error
    return _checked(*arrays, f"'{path}'")


def _checked(
    pictures: np.ndarray, labels: np.ndarray, test_pictures: np.ndarray, test_labels: np.ndarray, where: str
) -> Arrays:
    for x, y in ((pictures, labels), (test_pictures, test_labels)):
        if x.ndim != 4 or x.shape[1:] != (32, 32, 3) or x.dtype != np.uint8 or len(x) != np.size(y) or not len(x):
            raise DataError(
                f"{where} must hold uint8 pictures (n, 32, 32, 3) and n labels. Received: {x.dtype} {x.shape} and "
                f"{np.shape(y)}."
            )
        if np.min(y) < 0 or np.max(y) > 9:
            raise DataError(f"{where} must hold labels from 0 to 9. Received: {np.min(y)} to {np.max(y)}.")
    return pictures, np.reshape(labels, -1), test_pictures, np.reshape(test_labels, -1)
