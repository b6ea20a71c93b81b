"""Data sets by name."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from analognets.datasets.base import TaskData
from analognets.errors import InvalidArgumentError, UnknownNameError, check_choice

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "dataset_kind",
    "dataset_summary",
    "for_folder",
    "is_generated",
    "list_datasets",
    "load_dataset",
    "register_dataset",
    "stand_in",
]


class _Entry(NamedTuple):
    load: str | Callable[..., TaskData]
    summary: str
    on_disk: bool
    kind: str

    def loader(self) -> Callable[..., TaskData]:
        """Return the function; that of a data set of the package is imported now."""
        if not isinstance(self.load, str):
            return self.load
        module, _, function = self.load.partition(":")
        return getattr(importlib.import_module(f"analognets.datasets.{module}"), function)


_DATASETS = {
    "speech_commands": _Entry(
        "speech_commands:load_speech_commands",
        "Google Speech Commands v0.02: recorded words, 12 or 35 classes (CC BY 4.0)",
        on_disk=True,
        kind="audio",
    ),
    "synthetic_speech": _Entry(
        "synthetic_speech:load_synthetic_speech",
        "the 12 classes spoken by the synthesiser espeak-ng; needs no download",
        on_disk=False,
        kind="audio",
    ),
    "cifar10": _Entry(
        "cifar10:load_cifar10",
        "CIFAR-10: small colour pictures of ten classes, by way of Keras (170 MB)",
        on_disk=True,
        kind="image",
    ),
    "mnist": _Entry(
        "mnist:load_mnist",
        "MNIST: small grey pictures of handwritten digits, by way of Keras (11 MB)",
        on_disk=True,
        kind="image",
    ),
    "coco_vww": _Entry(
        "coco:load_coco_vww",
        "Visual Wake Words made from COCO 2014 or 2017: does a picture show a person? (20 GB)",
        on_disk=True,
        kind="image",
    ),
    "synthetic_persons": _Entry(
        "synthetic_persons:load_synthetic_persons",
        "drawn scenes with and without a person; needs no download",
        on_disk=False,
        kind="image",
    ),
    "audio_folder": _Entry(
        "audio_folder:load_audio_folder",
        "your own recordings in folders named after their words",
        on_disk=True,
        kind="audio",
    ),
    "image_folder": _Entry(
        "image_folder:load_image_folder",
        "your own pictures in folders named after their classes",
        on_disk=True,
        kind="image",
    ),
    "visual_wake_words": _Entry(
        "image_folder:load_visual_wake_words",
        "pictures in person/ and non_person/, the layout of MLPerf Tiny's Visual Wake Words",
        on_disk=True,
        kind="image",
    ),
}
_STAND_INS = {"audio": "synthetic_speech", "image": "synthetic_persons"}
_RECORDED = {"synthetic_speech": "speech_commands", "synthetic_persons": "visual_wake_words"}


def register_dataset(
    name: str, load: Callable[..., TaskData], *, summary: str, kind: str, on_disk: bool, recorded: str | None = None
) -> None:
    """Make a data set known by a name, as in recipes and `load_dataset`.

    Args:
        name: of the data set.
        load: function that returns its `TaskData`; its keyword arguments are the options of the data set. It is called
            with `progress=`, a function of (done, total) or None, when a recipe is prepared.
        summary: one line on it.
        kind: what it holds, "audio" or "image".
        on_disk: whether it is read from a folder, the first argument of `load`; else the machine makes it.
        recorded: of one that is made: the name of the data set of recordings that it stands in for.

    Raises:
        InvalidArgumentError: the kind does not exist, or another data set has the name.

    Examples:
        >>> def load_tones(*, progress=None):
        ...     '''Return a `TaskData` of one's own.'''
        >>> register_dataset("tones", load_tones, summary="Sine waves.", kind="audio", on_disk=False)
        >>> list_datasets()["tones"]
        'Sine waves.'
    """
    check_choice("register_dataset", "kind", kind, tuple(_STAND_INS))
    if name in _DATASETS and _DATASETS[name].load is not load:
        raise InvalidArgumentError(f"There is a data set '{name}' already. Give yours another name.")
    _DATASETS[name] = _Entry(load, summary, on_disk, kind)
    if recorded is not None:
        _RECORDED[name] = recorded


def list_datasets() -> dict[str, str]:
    """Return the names of all data sets, and one line on each.

    Examples:
        >>> [name for name in list_datasets() if name.startswith("s")]
        ['speech_commands', 'synthetic_persons', 'synthetic_speech']
    """
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

    Examples:
        >>> data = load_dataset("speech_commands", speech)
        >>> data.classes[:3], len(data.train), data.train.inputs.shape
        (('down', 'go', 'left'), 36, (36, 16000))
    """
    if name not in _DATASETS:
        raise UnknownNameError("data set", name, _DATASETS)
    entry = _DATASETS[name]
    load = entry.loader()
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
    """Return a table of clips: one row per class and one for all, one column per split."""
    import numpy as np
    import pandas as pd

    counts = {name: np.bincount(split.labels, minlength=len(data.classes)) for name, split in data.splits.items()}
    table = pd.DataFrame(counts, index=pd.Index(data.classes, name="class"))
    table.loc["all"] = table.sum()
    return table
