"""Data sets by name."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from analognets.datasets.base import TaskData
from analognets.errors import InvalidArgumentError, UnknownNameError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["dataset_kind", "dataset_summary", "for_folder", "is_generated", "list_datasets", "load_dataset", "stand_in"]


class _Entry(NamedTuple):
    module: str
    function: str
    summary: str
    on_disk: bool
    kind: str


_DATASETS = {
    "speech_commands": _Entry(
        "analognets.datasets.speech_commands",
        "load_speech_commands",
        "Google Speech Commands v0.02: recorded words, 12 or 35 classes (CC BY 4.0)",
        on_disk=True,
        kind="audio",
    ),
    "synthetic_speech": _Entry(
        "analognets.datasets.synthetic_speech",
        "load_synthetic_speech",
        "the 12 classes spoken by the synthesiser espeak-ng; needs no download",
        on_disk=False,
        kind="audio",
    ),
    "cifar10": _Entry(
        "analognets.datasets.cifar10",
        "load_cifar10",
        "CIFAR-10: small colour pictures of ten classes, by way of Keras (170 MB)",
        on_disk=True,
        kind="image",
    ),
    "mnist": _Entry(
        "analognets.datasets.mnist",
        "load_mnist",
        "MNIST: small grey pictures of handwritten digits, by way of Keras (11 MB)",
        on_disk=True,
        kind="image",
    ),
    "coco_vww": _Entry(
        "analognets.datasets.coco",
        "load_coco_vww",
        "Visual Wake Words made from COCO 2014 or 2017: does a picture show a person? (20 GB)",
        on_disk=True,
        kind="image",
    ),
    "synthetic_persons": _Entry(
        "analognets.datasets.synthetic_persons",
        "load_synthetic_persons",
        "drawn scenes with and without a person; needs no download",
        on_disk=False,
        kind="image",
    ),
    "audio_folder": _Entry(
        "analognets.datasets.audio_folder",
        "load_audio_folder",
        "your own recordings in folders named after their words",
        on_disk=True,
        kind="audio",
    ),
    "image_folder": _Entry(
        "analognets.datasets.image_folder",
        "load_image_folder",
        "your own pictures in folders named after their classes",
        on_disk=True,
        kind="image",
    ),
    "visual_wake_words": _Entry(
        "analognets.datasets.image_folder",
        "load_visual_wake_words",
        "pictures in person/ and non_person/, the layout of MLPerf Tiny's Visual Wake Words",
        on_disk=True,
        kind="image",
    ),
}
_STAND_INS = {"audio": "synthetic_speech", "image": "synthetic_persons"}
_RECORDED = {"synthetic_speech": "speech_commands", "synthetic_persons": "visual_wake_words"}


def list_datasets() -> dict[str, str]:
    """Return the names of all data sets, and one line on each."""
    return {name: entry.summary for name, entry in sorted(_DATASETS.items())}


def dataset_kind(name: str) -> str | None:
    """Return what a data set holds, "audio" or "image"; None if there is no data set of that name."""
    return _DATASETS[name].kind if name in _DATASETS else None


def is_generated(name: str) -> bool:
    """Whether a data set is made by the machine itself and reads no folder."""
    return name in _DATASETS and not _DATASETS[name].on_disk


def stand_in(name: str) -> str:
    """Return the generated data set that stands in for another one; a name that is unknown stays as it is."""
    return name if name not in _DATASETS or is_generated(name) else _STAND_INS[_DATASETS[name].kind]


def for_folder(name: str) -> str:
    """Return the data set to read a folder with: this one, or, if it is generated, the recorded one of its task."""
    return _RECORDED.get(name, name)


def load_dataset(name: str, data_dir: Path | str | None = None, **options: Any) -> TaskData:
    """Return a data set by name.

    Args:
        name: one of `list_datasets()`.
        data_dir: folder of a recorded data set; None for the cache. Generated data sets take none.
        **options: keyword arguments of the data set's own loader, such as classes=35 or seed=1.

    Raises:
        UnknownNameError: there is no data set, or no option, of that name.
        InvalidArgumentError: `data_dir` is given for a data set that is generated.
        DataError: the data are missing or broken.
    """
    if name not in _DATASETS:
        raise UnknownNameError("data set", name, _DATASETS)
    entry = _DATASETS[name]
    load: Callable[..., TaskData] = getattr(importlib.import_module(entry.module), entry.function)
    known = [option for option in inspect.signature(load).parameters if option != "data_dir"]
    for option in options:
        if option not in known:
            raise UnknownNameError(f"option of {name}", option, known)
    if entry.on_disk:
        return load(data_dir, **options)
    if data_dir is not None:
        raise InvalidArgumentError(
            f"{name} is generated and reads no folder. Leave data_dir out. Received: data_dir={str(data_dir)!r}."
        )
    return load(**options)


def dataset_summary(data: TaskData) -> pd.DataFrame:
    """Return a table of clips: one row a class and one for all, one column a split."""
    import numpy as np
    import pandas as pd

    counts = {name: np.bincount(split.labels, minlength=len(data.classes)) for name, split in data.splits.items()}
    table = pd.DataFrame(counts, index=pd.Index(data.classes, name="class"))
    table.loc["all"] = table.sum()
    return table
