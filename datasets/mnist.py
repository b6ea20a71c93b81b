"""MNIST by way of Keras, or from one .npz file."""

from __future__ import annotations

from pathlib import Path

from analognets.datasets.base import TaskData
from analognets.datasets.file_reader import Progress
from analognets.datasets.keras_pictures import KerasPictures, load_keras_pictures

__all__ = ["load_mnist"]

_SPEC = KerasPictures(
    name="mnist",
    title="MNIST",
    shape=(28, 28),
    classes=tuple("0123456789"),
    homepage="https://keras.io/api/datasets/mnist",
    licence="commonly CC BY-SA 3.0",
    citation="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied to document recognition, "
    "Proc. IEEE 86 (1998)",
    most=50_000,
)


def load_mnist(
    data_dir: Path | str | None = None,
    *,
    validation: int = 5000,
    seed: int = 0,
    progress: Progress | None = None,
) -> TaskData:
    """Return MNIST: grey pictures (28, 28, 1) of handwritten digits, uint8.

    Args:
        data_dir: folder with mnist.npz (x_train, y_train, x_test, y_test as Keras returns them), or that file; None
            looks in the folder mnist of ANALOGNETS_DATA and in ~/.keras/datasets, and then downloads it once through
            `keras.datasets.mnist`.
        validation: how many training pictures are held out for validation, 1 to 50,000; drawn by `seed`.
        seed: >= 0.
        progress: called with (pictures done, pictures in all) at the end.

    Raises:
        DataError: it can't be downloaded, or the file is missing or holds something else.
        InvalidArgumentError: a number is out of range.
    """
    return load_keras_pictures(_SPEC, data_dir, validation=validation, seed=seed, progress=progress)
