"""Sets of small pictures that Keras knows: from its cache, by its download, or from one .npz file."""

from __future__ import annotations

import dataclasses
import importlib
import os
from pathlib import Path

import numpy as np

from analognets.datasets.arrays import check_labelled, read_npz
from analognets.datasets.base import DatasetInfo, Split, TaskData
from analognets.datasets.file_reader import Progress
from analognets.errors import DataError, check_integer

__all__ = ["KerasPictures", "load_keras_pictures"]

KEYS = ("x_train", "y_train", "x_test", "y_test")
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class KerasPictures:
    """What is known of one of the sets.

    Args:
        name: of the data set and of its module in `keras.datasets`.
        title: for people.
        shape: of a picture in the file.
        classes: in the order of the labels.
        homepage, licence, citation: as in `DatasetInfo`.
        most: largest number of pictures to hold out.
    """

    name: str
    title: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    homepage: str
    licence: str
    citation: str
    most: int

    @property
    def file(self) -> str:
        """Name of the file in a folder: arrays x_train, y_train, x_test, y_test as Keras returns them."""
        return f"{self.name}.npz"


def load_keras_pictures(
    spec: KerasPictures, data_dir: Path | str | None, *, validation: int, seed: int, progress: Progress | None
) -> TaskData:
    """Return a set with pictures held out for validation.

    Args:
        spec: which set.
        data_dir: folder with the set's .npz file, or the file; None looks in the folder of the set's name in
            ANALOGNETS_DATA and in ~/.keras/datasets, and then lets Keras download it.
        validation: how many training pictures are held out, drawn by `seed`.
        seed: >= 0.
        progress: called with (pictures done, pictures in all) at the end.

    Raises:
        DataError: it can't be downloaded, or the file is missing or holds something else.
        InvalidArgumentError: a number is out of range.
    """
    check_integer(f"load_{spec.name}", "validation", validation, 1, spec.most)
    check_integer(f"load_{spec.name}", "seed", seed, 0, 2**31 - 1)
    folder = _known_folder(spec) if data_dir is None else Path(data_dir)
    pictures, labels, test_pictures, test_labels = _by_keras(spec) if folder is None else _stored(spec, folder)
    if validation >= len(labels):
        raise DataError(f"{spec.title} has {len(labels)} training pictures here. Received: validation={validation}.")
    order = np.random.default_rng(seed).permutation(len(labels))
    whole = Split(pictures, labels, tuple(f"train/{i:05d}" for i in range(len(labels))))
    train, held_out = whole.select(np.sort(order[validation:])), whole.select(np.sort(order[:validation]))
    test = Split(test_pictures, test_labels, tuple(f"test/{i:05d}" for i in range(len(test_labels))))
    if progress is not None:
        progress(len(whole) + len(test), len(whole) + len(test))
    info = DatasetInfo(
        name=spec.name,
        version="1",
        homepage=spec.homepage,
        licence=spec.licence,
        citation=spec.citation,
        statement=f"{spec.title}: {len(train):,} training, {len(held_out):,} validation and {len(test):,} test "
        f"pictures; validation held out of the training pictures with seed {seed}.",
        synthetic=False,
    )
    return TaskData(spec.name, train, held_out, test, spec.classes, info=info)


def _known_folder(spec: KerasPictures) -> Path | None:
    """Return the folder of ANALOGNETS_DATA or of Keras that holds the set's file, if there is one.

    Keras itself would delete and download again any file that differs from its own, a renamed or repacked one too.
    """
    root = os.environ.get("ANALOGNETS_DATA")
    cache = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"
    folders = [Path(root) / spec.name, cache] if root else [cache]
    return next((folder for folder in folders if os.path.isfile(folder / spec.file)), None)


def _by_keras(spec: KerasPictures) -> Arrays:
    module = importlib.import_module(f"keras.datasets.{spec.name}")
    try:
        (pictures, labels), (test_pictures, test_labels) = module.load_data()
    except Exception as error:  # Keras passes on whatever its download meets
        raise DataError(
            f"{spec.title} is not in the Keras cache and can't be downloaded: {error} Give the folder of a {spec.file} "
            "with the arrays x_train, y_train, x_test and y_test (--data DIR)."
        ) from error
    return _checked(spec, (pictures, labels, test_pictures, test_labels), f"{spec.title} as downloaded")


def _stored(spec: KerasPictures, folder: Path) -> Arrays:
    path = folder / spec.file if folder.suffix != ".npz" else folder
    if not os.path.exists(path):
        raise DataError(f"'{path}' does not exist. Give the folder that holds {spec.file}.")
    x, y, x_test, y_test = read_npz(path, KEYS, what=spec.title)
    return _checked(spec, (x, y, x_test, y_test), f"'{path}'")


def _checked(spec: KerasPictures, arrays: Arrays, where: str) -> Arrays:
    pictures, labels, test_pictures, test_labels = arrays
    for x, y in ((pictures, labels), (test_pictures, test_labels)):
        if x.shape[1:] != spec.shape or x.dtype != np.uint8 or len(x) != np.size(y) or not len(x):
            shape = ", ".join(map(str, spec.shape))
            raise DataError(
                f"{where} must hold uint8 pictures (n, {shape}) and n labels. Received: {x.dtype} {x.shape} and "
                f"{np.shape(y)}."
            )
        check_labelled(x, y, where, classes=len(spec.classes))
    if len(spec.shape) == 2:
        pictures, test_pictures = pictures[..., None], test_pictures[..., None]
    return pictures, np.reshape(labels, -1), test_pictures, np.reshape(test_labels, -1)
