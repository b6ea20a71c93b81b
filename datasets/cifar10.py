"""CIFAR-10 by way of Keras, or from one .npz file."""

from __future__ import annotations

from pathlib import Path

from analognets.datasets.base import TaskData
from analognets.datasets.file_reader import Progress
from analognets.datasets.keras_pictures import KerasPictures, load_keras_pictures

__all__ = ["CIFAR10_CLASSES", "FILE", "load_cifar10"]

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""The classes in the order of the labels."""

_SPEC = KerasPictures(
    name="cifar10",
    title="CIFAR-10",
    shape=(32, 32, 3),
    classes=CIFAR10_CLASSES,
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    licence="none stated by its authors",
    citation="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009)",
    most=40_000,
)
FILE = _SPEC.file
"""Name of the file in a folder given: arrays x_train, y_train, x_test, y_test as Keras returns them."""


def load_cifar10(
    data_dir: Path | str | None = None,
    *,
    validation: int = 5000,
    seed: int = 0,
    progress: Progress | None = None,
) -> TaskData:
    """Return CIFAR-10: small colour pictures (32, 32, 3) of ten classes, uint8.

    Args:
        data_dir: folder with cifar10.npz; None looks in the folder cifar10 of ANALOGNETS_DATA and then downloads once
            through `keras.datasets.cifar10`, which keeps it in the Keras cache.
        validation: how many training pictures are held out for validation, 1 to 40,000; drawn by `seed`.
        seed: >= 0.
        progress: called with (pictures done, pictures in all) at the end.

    Raises:
        DataError: it can't be downloaded, or the file is missing or holds something else.
        InvalidArgumentError: a number is out of range.
    """
    return load_keras_pictures(_SPEC, data_dir, validation=validation, seed=seed, progress=progress)
