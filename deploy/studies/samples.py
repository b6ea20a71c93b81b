"""The samples that a study measures networks on: of a data set, of a .npz file, or arrays."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analognets.core.provenance import sha256_of
from analognets.datasets.arrays import check_labelled, read_labelled, read_npz
from analognets.errors import DataError, InvalidArgumentError, RunError
from analognets.zoo.tasks import Task, evenly
from analognets.zoo.trained import TrainedNetwork

__all__ = [
    "Samples",
    "MEASURED_ON",
    "array_file",
    "arrays_for",
    "arrays_mark",
    "check_classes",
    "check_pair",
    "check_place",
    "on_one_data_set",
    "samples_of",
    "samples_of_arrays",
    "samples_of_task",
]

GROUPS = "groups"
MEASURED_ON = "measured_on"
"""Column of stored rows: `arrays_mark` of the samples that a row was measured on."""


@dataclasses.dataclass(frozen=True)
class Samples:
    """What chips are measured on.

    Args:
        inputs: of the network.
        labels: classes.
        groups: of each sample, such as its speaker; "" is a group of its own.
        name: of the data set.
        kind: what samples are called, with their split: "test clips".
        synthetic: whether they were generated.
        names: one a sample; its number if empty.
        classes: their names; their numbers if empty.
        statement: what must be said about the data.
    """

    inputs: Any
    labels: Any
    groups: Sequence[str]
    name: str
    kind: str
    synthetic: bool = False
    names: Sequence[str] = ()
    classes: Sequence[str] = ()
    statement: str = ""

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def group_count(self) -> int:
        """How many independent groups there are."""
        return len({*self.groups} - {""}) + sum(not one for one in self.groups)

    def fingerprint(self) -> str:
        """Return a hash of inputs, labels and groups."""
        return arrays_mark(self.inputs, self.labels, "\x1f".join(self.groups))

    def describe(self) -> str:
        """Return how many samples of how many groups there are, and of what."""
        grouped = f" in {self.group_count:,} groups, such as speakers" if any(self.groups) else ""
        made = ", which are synthetic" if self.synthetic else ""
        return f"{len(self):,} {self.kind} ({self.name}){grouped}{made}"

    def select(self, chosen: Sequence[int] | np.ndarray) -> Samples:
        """Return the samples at these places."""
        inputs, labels = (np.asarray(one)[np.asarray(chosen, int)] for one in (self.inputs, self.labels))
        names = [self.names[one] for one in chosen] if self.names else ()
        groups = [self.groups[one] for one in chosen]
        return dataclasses.replace(self, inputs=inputs, labels=labels, groups=groups, names=names)


def samples_of(
    trained: TrainedNetwork, network: Any, data: Any, *, split: str, limit: int | None, options: Mapping[str, Any]
) -> Samples:
    """Return the samples to measure chips on.

    Args:
        trained: with a recipe, unless data are arrays.
        network: that the arrays must fit.
        data: folder of real data, "synthetic", a .npz file of `inputs`, `labels` and, if known, `groups` (numbers),
            such arrays as a tuple, or None: as in training.
        split: "test" or "validation", of a data set.
        limit: most samples, spread evenly; None: all.
        options: further options of the data set's loader.

    Raises:
        InvalidArgumentError: the network has no recipe and there are no arrays, or they don't fit.
        DataError: data can't be read.
    """
    if array_file(data) is None and not isinstance(data, tuple):
        return _of_task(trained, data, split, limit, options)
    whole = samples_of_arrays(network, data)
    chosen = evenly(len(whole), limit)
    return whole if chosen is None else whole.select(chosen)


def samples_of_arrays(network: Any, data: Any) -> Samples:
    """Return all samples of a .npz file, or of arrays.

    Args:
        network: that they must fit.
        data: as of `samples_of`, a file or a tuple.

    Raises:
        InvalidArgumentError: they are no such arrays.
        DataError: the file can't be read, or what it holds does not fit the network.
    """
    file = array_file(data)
    if file is not None:
        found: tuple[Any, ...] = read_labelled(file)
        with zipfile.ZipFile(file) as archive:
            grouped = f"{GROUPS}.npy" in archive.namelist()
        found += tuple(read_npz(file, (GROUPS,))) if grouped else ()
    else:
        found = data
    check_pair(found[:2])
    check_classes(found[:2], network, "`data`" if file is None else f"'{file}'")
    count = len(found[0])
    groups = [str(one) for one in np.asarray(found[2]).ravel().tolist()] if len(found) > 2 else [""] * count
    if len(found) > 3 or len(groups) != count:
        raise InvalidArgumentError(
            "`data` may hold a third array: the group of each sample, such as its speaker. Received: "
            f"{len(found)} arrays, with {len(groups)} groups for {count} samples."
        )
    name = Path(file).name if file is not None else "arrays"
    inputs, labels = (np.asarray(one) for one in found[:2])
    return Samples(inputs, labels, groups, name, "samples")


def _of_task(trained: TrainedNetwork, data: Any, split: str, limit: int | None, options: Mapping[str, Any]) -> Samples:
    if trained.recipe is None:
        raise InvalidArgumentError(
            "A model without a recipe needs data: a .npz file of `inputs` and `labels`, or in Python such arrays. "
            f"Received: data={data!r}."
        )
    task = trained.task(None if data is None else str(data), options=options or None, calibrate=False)
    return samples_of_task(task, split, limit)


def samples_of_task(task: Task, split: str, limit: int | None = None) -> Samples:
    """Return samples of a task's data with their speakers.

    Args:
        task: the data.
        split: "test" or "validation".
        limit: most samples, spread evenly; None: all.
    """
    inputs, labels = task.features(split, limit)
    clips = task.data.splits[split]
    chosen = evenly(len(clips), limit)
    clips = clips if chosen is None else clips.select(chosen)
    info, classes = task.data.info, tuple(task.data.classes)
    known: dict[str, Any] = {"names": clips.names, "classes": classes, "statement": info.statement}
    return Samples(
        inputs, labels, list(clips.speakers), info.name, f"{split} {task.samples}", bool(info.synthetic), **known
    )


def arrays_mark(inputs: Any, labels: Any, *more: str) -> str:
    """Return a hash of inputs, labels and further text."""
    arrays = [np.ascontiguousarray(one) for one in (inputs, labels)]
    return sha256_of(*[f"{one.dtype}{one.shape}" for one in arrays], *arrays, *more)[:20]


def on_one_data_set(table: pd.DataFrame, folder: Path, known: dict[str, str] | None = None) -> pd.DataFrame:
    """Return stored rows without the mark of their samples, if each network was measured on the same ones all along.

    Args:
        table: with a column "fingerprint" of the network; rows of earlier versions have no mark.
        folder: they are stored in, for the message.
        known: marks by the network's fingerprint, of other tables; those of this one are added.

    Raises:
        RunError: the data were changed between two of them.
    """
    if MEASURED_ON not in table:
        return table
    known = {} if known is None else known
    pairs = table[["fingerprint", MEASURED_ON]].dropna() if "fingerprint" in table else table[:0]
    if any(known.setdefault(network, mark) != mark for network, mark in pairs.itertuples(index=False)):
        raise RunError(
            f"The data were changed since the first points in '{folder}' were measured, so its rows can't be compared. "
            "Choose another folder, or overwrite it (--overwrite)."
        )
    return table.drop(columns=MEASURED_ON)


def check_place(data: Any) -> None:
    """Raise unless data that are named are there: opening networks and measuring them takes minutes.

    Raises:
        DataError: there is no such folder.
    """
    named = isinstance(data, (str, Path)) and data != "synthetic" and Path(data).suffix != ".npz"
    if named and not os.path.isdir(Path(data)):
        raise DataError(f"There are no data in '{data}': there is no such folder. Name the folder of the data.")


def array_file(data: Any) -> Path | None:
    """Return the path if data names a .npz file."""
    return Path(data) if isinstance(data, (str, Path)) and Path(data).suffix == ".npz" else None


def arrays_for(trained: TrainedNetwork, data: Any) -> Path | None:
    """Return the path if data names a .npz file of `inputs`; others are of data sets that are read by a recipe."""
    file = array_file(data)
    if file is None or trained.recipe is None or not zipfile.is_zipfile(file):
        return file
    with zipfile.ZipFile(file) as archive:
        return file if "inputs.npy" in archive.namelist() else None


def check_pair(data: tuple[Any, ...]) -> None:
    """Raise unless data is a pair of arrays with as many labels as inputs."""
    if len(data) != 2 or not all(hasattr(part, "shape") for part in data) or len(data[0]) != len(data[1]):
        raise InvalidArgumentError(
            "`data` of a study must be (inputs, labels), two arrays with as many labels as inputs. "
            f"Received: {tuple(getattr(part, 'shape', type(part).__name__) for part in data)}."
        )


def check_classes(pair: tuple[Any, Any], model: Any, where: str) -> None:
    """Raise unless inputs are finite and labels are classes that the model tells apart."""
    outputs = getattr(model, "outputs", None) or []
    units = outputs[0].shape[-1] if len(outputs) == 1 else None
    inputs, labels = (np.asarray(part) for part in pair)
    check_labelled(inputs, labels, where, classes=max(2, units) if units else None)
    wanted = [tuple(one.shape) for one in getattr(model, "inputs", None) or []]
    fits = len(wanted) == 1 and len(wanted[0]) == inputs.ndim
    if wanted and not (fits and all(one in (None, other) for one, other in zip(wanted[0], inputs.shape, strict=True))):
        raise DataError(
            f"{where} must hold what the one input of the model takes, features and not raw data. Received: inputs "
            f"{inputs.shape} for {', '.join(map(str, wanted))}."
        )
