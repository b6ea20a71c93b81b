"""The chips of a certificate: made one by one, and measured on samples in groups."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analognets.core.provenance import sha256_of
from analognets.datasets.arrays import read_labelled, read_npz
from analognets.deploy.chips.chip import Chip
from analognets.deploy.chips.chips import program
from analognets.deploy.chips.programming import arithmetic
from analognets.deploy.studies.certify.constants import program_drawn, replicates
from analognets.deploy.studies.sensitivity.networks import array_file, check_classes, check_pair
from analognets.devices import derive_seed
from analognets.errors import InvalidArgumentError
from analognets.metrics import cluster_variance
from analognets.zoo.tasks import Task, evenly
from analognets.zoo.trained import TrainedNetwork

__all__ = ["TASK", "Bench", "Samples", "samples_of_task", "samples_of"]

TASK = "analognets.deploy.studies.certify.bench:measure"
GROUPS = "groups"


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
    """

    inputs: Any
    labels: Any
    groups: Sequence[str]
    name: str
    kind: str
    synthetic: bool = False

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def group_count(self) -> int:
        """How many independent groups there are."""
        return len({*self.groups} - {""}) + sum(not one for one in self.groups)

    def fingerprint(self) -> str:
        """Return a hash of inputs, labels and groups."""
        arrays = [np.ascontiguousarray(one) for one in (self.inputs, self.labels)]
        shapes = [f"{one.dtype}{one.shape}" for one in arrays]
        return sha256_of(*shapes, *arrays, "\x1f".join(self.groups))[:20]

    def describe(self) -> str:
        """Return how many samples of how many groups there are, and of what."""
        grouped = f" in {self.group_count:,} groups, such as speakers" if any(self.groups) else ""
        made = ", which are synthetic" if self.synthetic else ""
        return f"{len(self):,} {self.kind} ({self.name}){grouped}{made}"


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
    file = array_file(data)
    if file is None and not isinstance(data, tuple):
        return _of_task(trained, data, split, limit, options)
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
            "`data` of certify may hold a third array: the group of each sample, such as its speaker. Received: "
            f"{len(found)} arrays, with {len(groups)} groups for {count} samples."
        )
    chosen = np.arange(count) if (some := evenly(count, limit)) is None else np.array(some)
    name = Path(file).name if file is not None else "arrays"
    inputs, labels = (np.asarray(one)[chosen] for one in found[:2])
    return Samples(inputs, labels, [groups[one] for one in chosen], name, "samples")


def _of_task(trained: TrainedNetwork, data: Any, split: str, limit: int | None, options: Mapping[str, Any]) -> Samples:
    if trained.recipe is None:
        raise InvalidArgumentError(
            "A model without a recipe needs data: a .npz file of `inputs` and `labels`, or in Python such arrays. "
            f"Received: data={data!r}."
        )
    task = trained.task(None if data is None else str(data), options=options or None, calibrate=False)
    return samples_of_task(task, split, limit)


def samples_of_task(task: Task, split: str, limit: int | None) -> Samples:
    """Return samples of a task's data with their speakers.

    Args:
        task: the data.
        split: "test" or "validation".
        limit: most samples, spread evenly; None: all.
    """
    inputs, labels = task.features(split, limit)
    clips = task.data.splits[split]
    chosen = evenly(len(clips), limit)
    speakers = clips.speakers if chosen is None else clips.select(chosen).speakers
    info = task.data.info
    return Samples(inputs, labels, list(speakers), info.name, f"{split} {task.samples}", bool(info.synthetic))


class Bench:
    """Makes and measures chips by their numbers.

    Args:
        network: calibrated analog model.
        samples: to measure on.
        seed: of the chips; chip k of a seed is that of `analognets.deploy.program`.
        drift_compensation: whether to scale the outputs of the tiles back.
        drawn: whether each chip has constants of its own, see `program_drawn`; it is then another chip than that of
            `program`.
    """

    def __init__(self, network: Any, samples: Samples, *, seed: int, drift_compensation: bool, drawn: bool) -> None:
        self.samples, self.seed, self.drift_compensation = samples, seed, drift_compensation
        self._chips = program(network, chips=1, seed=seed)
        self.layers = self._chips.layers
        self.replicates = replicates(self.layers) if drawn else 0
        if self.replicates:
            self._chips.chips = []

    def chip(self, number: int) -> Chip:
        """Return a chip; the last one is kept, for its other times."""
        if not len(self._chips) or self._chips.chips[0].number != number:
            self._chips.chips = [self._programmed(number)]
        return self._chips.chips[0]

    def _programmed(self, number: int) -> Chip:
        if self.replicates:
            return program_drawn(self.layers, number, self.seed)
        chip_seed = derive_seed(self.seed, "chip", number)
        return Chip(number, chip_seed, arithmetic(self.layers).program(self.layers, chip_seed))

    def measure(self, number: int, seconds: float) -> dict[str, Any]:
        """Return the accuracy of a chip at a time, its variance over groups of samples, and their numbers.

        Args:
            number: of the chip.
            seconds: since programming.
        """
        self.chip(number)
        samples = self.samples
        decided = self._chips.decide(
            (samples.inputs, samples.labels), at=seconds, drift_compensation=self.drift_compensation
        )
        right = (decided.chosen[0] == decided.truth).astype(np.float64)
        owners = [one or f" {place}" for place, one in enumerate(samples.groups)]
        each = np.repeat(owners, len(right) // len(samples)).tolist()
        variance, groups = cluster_variance(right - right.mean(), each)
        return {
            "accuracy": float(right.mean()),
            "variance": None if groups < 2 else variance,
            "groups": groups,
            "samples": len(right),
        }


def measure(settings: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    """Return what `Bench.measure` says of one chip at one time; a task of `sweep`."""
    found: dict[str, Any] = settings["bench"].measure(point["chip"], point["at"])
    return found
