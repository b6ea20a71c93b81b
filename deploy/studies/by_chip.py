"""Evaluating a network chip by chip in other processes, on this machine or on a Ray cluster."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analognets.core.files import file_sha256
from analognets.core.provenance import json_sha256
from analognets.deploy.chips.chips import Chips, program
from analognets.deploy.chips.decisions import READING, Decisions
from analognets.deploy.chips.files import INDEX
from analognets.deploy.evaluation import decisions, samples_in
from analognets.deploy.studies.evaluate import network_on_chips
from analognets.deploy.studies.samples import arrays_for, samples_of_arrays, samples_of_task
from analognets.deploy.studies.sensitivity.networks import fingerprint
from analognets.deploy.studies.sweep import sweep
from analognets.errors import AnalogNetsError, ConversionError, InvalidArgumentError
from analognets.zoo.trained import TrainedNetwork, open_trained

__all__ = ["How", "decide_by_chip", "measure"]

TASK = "analognets.deploy.studies.by_chip:measure"
FOLDER = "by_chip"

Done = Callable[[int, int, dict[str, Any]], None]


@dataclasses.dataclass(frozen=True)
class How:
    """How chips are made and read, as plain data.

    Args:
        compensation: name of a drift compensation in place of the hardware's, or None.
        device: name or file of a device in place of the hardware's, or None.
        data: folder of the data, "synthetic", a .npz file as of `samples_of`, or None: as in training.
        split: of a data set.
        seed: of the chips.
        times: since programming.
        drift_compensation: True, False or "both".
        precision: of the products, as of `Chips.decide`.
        batch_norm: whether each chip estimates its batch-norm statistics anew on training samples at each time.
        adabs: on how many training samples each chip calibrates its batch-norms; 0: stored calibrations are not used;
            None: those of stored chips are.
        adabs_at: times of these calibrations.
        chips: folder of stored chips; None: they are programmed.
        hardware: name or file of hardware in place of the trained one, or None.
    """

    compensation: str | None
    device: str | None
    data: str | None
    split: str
    seed: int
    times: tuple[str | float, ...]
    drift_compensation: bool | str
    precision: str = "float32"
    batch_norm: bool = False
    adabs: int | None = None
    adabs_at: tuple[str | float, ...] = ()
    chips: str | None = None
    hardware: str | None = None


class Bench:
    """A network in a process, with its data; a process makes it once."""

    def __init__(self, place: str, how: How) -> None:
        self.how = how
        self.trained = open_trained(place, wants=("chips",))
        self.network = network_on_chips(self.trained, how.compensation, how.device, how.hardware)
        self.stored = None if how.chips is None else Chips.load(how.chips, self.network)
        self.task = None
        if (file := arrays_for(self.trained, how.data)) is not None:
            if how.adabs or how.batch_norm:
                raise InvalidArgumentError(
                    f"Batch-norms are set on training samples, which a .npz file has none of. Received: {how.data}. "
                    "Name the folder of a data set, or leave adabs and batch_norm out."
                )
            self.samples = samples_of_arrays(self.network, file)
        else:
            self.task = self.trained.task(how.data, calibrate=how.batch_norm)
            self.samples = samples_of_task(self.task, how.split)
        self.chips = Chips(self.network, [], how.seed)

    def measure(self, place: int) -> dict[str, Any]:
        """Return what one chip decides, as plain data.

        Args:
            place: of the chip among those that are made or stored.
        """
        how, chips = self.how, self.chips
        chips.calibrations.clear()
        if self.stored is None:
            chips.chips = program(self.network, 1, how.seed, first=place).chips
        else:
            chips.chips = [self.stored.chips[place]]
            chips.calibrations.complete(self.stored.calibrations.of(chips.chips[0].number))
        mode: dict[str, Any] = {"drift_compensation": how.drift_compensation}
        if how.adabs and self.task is not None:
            chips.calibrate(self.task.typical(how.adabs), at=how.adabs_at, **mode)
        use = how.adabs != 0 and not how.batch_norm
        anew = self.task.training.calibration if how.batch_norm and self.task is not None else None
        settings: dict[str, Any] = {"precision": how.precision, "batch_norm_calibration": anew, "adabs": use}
        data = self.samples.inputs, self.samples.labels
        found = chips.decide(data, at=how.times, **mode, **settings)
        return {
            "readings": found.readings.to_json(orient="split", double_precision=15),
            "chosen": found.chosen.astype(np.min_scalar_type(found.classes)).tobytes(),
            "used": chips.calibrations.table().to_json(orient="split", double_precision=15) if use else None,
        }


@functools.lru_cache(maxsize=1)
def _bench(place: str, how: str) -> Bench:
    plain = json.loads(how)
    return Bench(place, How(**{**plain, "times": tuple(plain["times"]), "adabs_at": tuple(plain["adabs_at"])}))


def measure(settings: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    """Return what one chip decides for every sample at every time; a task of `sweep`."""
    names = [field.name for field in dataclasses.fields(How)]
    how = json.dumps({name: settings[name] for name in names}, sort_keys=True)
    return _bench(settings["network"], how).measure(point["chip"])


def decide_by_chip(
    trained: TrainedNetwork,
    network: Any,
    how: How,
    data: tuple[Any, Any],
    folder: Any,
    *,
    chips: int,
    workers: int = 1,
    ray: bool = False,
    mark: str = "",
    progress: Done | None = None,
) -> tuple[Decisions, pd.DataFrame | None]:
    """Evaluate chips in other processes; the same decisions as `Chips.decide`, up to the rounding of sums.

    Each chip that is done is stored in the folder until all are, so that a process, a machine or the command may die:
    the same call goes on. On a cluster the workers must see the network, data and chips under the same paths.

    Args:
        trained: opened from a place that workers find, too.
        network: of `network_on_chips`.
        how: chips are made and read.
        data: (inputs, labels, outputs of a network on them), to tell classes.
        folder: for what is stored meanwhile.
        chips: how many.
        workers: processes on this machine, or of a cluster that is started here.
        ray: run on a Ray cluster.
        mark: tells the samples from others, so that chips that were measured on others are not taken.
        progress: called with (done, total, row) after each chip.

    Returns:
        The decisions, and the table of the AdaBS calibrations in use, if any.

    Raises:
        ConversionError: the network is in memory only, or learned on devices.
        AnalogNetsError: a chip can't be measured.
        RunError: the cluster is lost, or the folder can't be written.
        MissingExtraError: Ray is not installed.
    """
    if trained.handle is None or trained.learned_on_devices:
        what = "is in memory only" if trained.handle is None else "learned on devices, and is one chip"
        raise ConversionError(
            f"Chips are shared among processes that open the network themselves. Received: '{trained.name}', which "
            f"{what}. Leave workers and Ray out."
        )
    stored = None if how.chips is None else file_sha256(Path(how.chips) / INDEX)
    settings = {**dataclasses.asdict(how), "fingerprint": fingerprint(network), "stored": stored, "samples": mark}
    root = Path(folder) / FOLDER / json_sha256({**settings, "network": trained.handle})[:12]
    points = [{"chip": number} for number in range(chips)]
    own: dict[str, Any] = {"settings": settings, "context": {"network": trained.handle}}
    table = sweep(TASK, points, root, **own, workers=workers, ray=ray, progress=progress)
    failed = table[table["status"] != "ok"]
    if len(failed):
        why = str(failed["error"].iloc[0])
        if failed["seconds"].notna().iloc[0]:  # raised in the process, with the kind of error in front
            why = why.partition(": ")[2] or why
        raise AnalogNetsError(
            f"{len(failed)} of {chips} chips could not be measured, the first of them chip {failed['chip'].iloc[0]}: "
            f"{why.rstrip('.')}. The others are stored: give the command again to go on."
        )
    rows: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]
    found = together(rows, *data)
    used = [_frame(row["used"]) for row in rows if row["used"] is not None]
    shutil.rmtree(root, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.rmdir(root.parent)
    return found, pd.concat(used, ignore_index=True) if used else None


def together(rows: Sequence[Mapping[str, Any]], labels: Any, outputs: Any) -> Decisions:
    """Return the decisions of chips that were measured apart.

    Args:
        rows: of `measure`, in the order of the chips.
        labels: of the samples.
        outputs: of any network on them, to tell the classes.
    """
    truth, _, classes = decisions(labels, outputs)
    kind = np.min_scalar_type(classes)
    chosen = [np.frombuffer(row["chosen"], kind).reshape(-1, len(truth)) for row in rows]
    readings = pd.concat([_frame(row["readings"]) for row in rows], ignore_index=True)
    return Decisions(readings[READING], truth, np.concatenate(chosen).astype(np.int32), classes, samples_in(labels))


def _frame(text: str) -> pd.DataFrame:
    plain = json.loads(text)
    return pd.DataFrame(plain["data"], columns=plain["columns"])
