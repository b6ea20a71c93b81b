"""Simulated chips: programmed conductances as stored data, evaluated over drift time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from analognets.deploy.chips.batch_norm import restored_statistics
from analognets.deploy.chips.programming import ProgrammedLayer, ReadLayer, arithmetic
from analognets.deploy.chips.runtime import Runner, samples_in
from analognets.devices import derive_seed
from analognets.errors import ChipFileError, InvalidArgumentError, NotCalibratedError, check_choice, check_integer
from analognets.layers import AnalogLayer, analog_layers
from analognets.units import DRIFT_TIMES, format_duration, parse_duration

__all__ = ["Chip", "Chips", "accuracy", "program", "summarize"]


@dataclasses.dataclass
class Chip:
    """One simulated chip: the programmed devices of every analog layer.

    Args:
        number: index of the chip among its siblings.
        seed: what its devices were drawn from; kept for the record, reading uses the stored state.
        layers: one `ProgrammedLayer` for each analog layer, in order.
    """

    number: int
    seed: int
    layers: list[ProgrammedLayer]

    def read(self, layers: Sequence[AnalogLayer], time: str | float) -> list[ReadLayer]:
        """Read the weights of all layers at a time; the same time gives the same read noise, in any order."""
        return arithmetic(layers).read(self.layers, parse_duration(time), self.seed)


def accuracy(labels: Any, outputs: Any) -> float:
    """Return the share of samples whose largest output (or output > 0.5, if there is one) is the label.

    Raises:
        InvalidArgumentError: there are several outputs, or several sets of labels.
    """
    labels, outputs = (the_one(what, value) for what, value in (("labels", labels), ("outputs", outputs)))
    if outputs.shape[-1] == 1:
        return float(np.mean((outputs[:, 0] > 0.5) == labels.reshape(-1).astype(bool)))
    if labels.ndim == outputs.ndim:
        labels = labels[..., 0] if labels.shape[-1] == 1 else labels.argmax(-1)
    return float(np.mean(outputs.argmax(-1) == labels))


def the_one(what: str, value: Any) -> np.ndarray:
    """Return the only array of a structure."""
    leaves = keras.tree.flatten(value)
    if len(leaves) != 1:
        names = ", ".join(map(str, value)) if isinstance(value, dict) else str(len(leaves))
        raise InvalidArgumentError(
            f"A model with several {what} has no single accuracy: give metric=function(labels, outputs) that returns "
            f"a number. Received: a {type(value).__name__} of {what} ({names})."
        )
    return leaves[0]


def arrays(part: Any) -> Any:
    """Return an array, or a list, tuple or dict of arrays; a list of numbers is one array."""
    leaves = keras.tree.flatten(part)
    if isinstance(part, dict) or not hasattr(part, "shape") and all(np.ndim(leaf) for leaf in leaves):
        return keras.tree.map_structure(np.asarray, part)
    return np.asarray(part)


def is_pair(data: Any) -> bool:
    """Whether data is (inputs, labels) rather than a sequence of batches, which are pairs or triples themselves."""
    if not isinstance(data, tuple) or len(data) != 2:
        return False
    if isinstance(data[0], (list, tuple)):
        return bool(data[0]) and all(hasattr(leaf, "shape") for leaf in keras.tree.flatten(data))
    return isinstance(data[0], dict) or hasattr(data[0], "shape")


def as_arrays(data: Any, inputs_wanted: int | None = 1) -> tuple[Any, Any]:
    """Return (inputs, labels) as arrays, or structures of arrays, from a pair or from a dataset of batches.

    Args:
        data: a pair, or an iterable of pairs.
        inputs_wanted: how many inputs the model has; a pair of pairs is two batches if it has one.
    """
    batches = isinstance(data, tuple) and inputs_wanted == 1 and isinstance(data[0] if data else None, tuple)
    if is_pair(data) and not batches:
        inputs, labels = (arrays(part) for part in data)
    else:
        pairs = []
        for batch in data if isinstance(data, Iterable) and not hasattr(data, "shape") else [data]:
            if not isinstance(batch, (tuple, list)) or len(batch) != 2:
                raise InvalidArgumentError(
                    "Evaluation data must be (inputs, labels) arrays or batches of (inputs, labels). "
                    f"Received: {type(data).__name__} of {type(batch).__name__}."
                )
            pairs.append([arrays(part) for part in batch])
        if not pairs:
            raise InvalidArgumentError("Evaluation data must hold at least one batch of (inputs, labels).")
        inputs, labels = (
            keras.tree.map_structure(lambda *parts: np.concatenate(parts), *part) for part in zip(*pairs, strict=True)
        )
    counts = samples_in(inputs), samples_in(labels)
    if counts[0] != counts[1] or counts[0] == 0:
        raise InvalidArgumentError(
            "Evaluation data needs as many labels as inputs, at least one. "
            f"Received: {counts[0]} inputs, {counts[1]} labels."
        )
    return inputs, labels


class Chips:
    """Some chips programmed from one model; made by `program` or `Chips.load`.

    Args:
        model: the calibrated analog model: its digital part (batch-norm, biases, converter ranges) serves all chips.
        chips: the programmed chips.
        seed: the seed they were programmed from.
    """

    def __init__(self, model: keras.Model, chips: Sequence[Chip], seed: int) -> None:
        self.model = model
        self.layers = analog_layers(model)
        self.chips = list(chips)
        self.seed = seed
        self._runners: dict[tuple[str, str, int], Runner] = {}

    def __len__(self) -> int:
        return len(self.chips)

    def __iter__(self) -> Iterator[Chip]:
        return iter(self.chips)

    def runner(self, *, mode: str = "auto", precision: str = "float32", batch_size: int = 100) -> Runner:
        """Return the compiled function that runs these chips; it is made once for each setting."""
        key = (mode, precision, batch_size)
        if key not in self._runners:
            self._runners[key] = Runner(self.model, mode=mode, precision=precision, batch_size=batch_size)
        return self._runners[key]

    def predict(
        self, inputs: Any, *, chip: int = 0, at: str | float = "25s", drift_compensation: bool = True, **settings: Any
    ) -> Any:
        """Return the outputs of one chip at one time, an array or what structure of arrays the model returns.

        Args:
            inputs: array of samples, or a list, tuple or dict of arrays for a model with several inputs.
            chip: which one, from 0.
            at: time of the read, such as "1d", or seconds.
            drift_compensation: scale the outputs of each tile back to its level after programming.
            **settings: of `Runner`: mode, precision, batch_size.

        Raises:
            InvalidArgumentError: there is no such chip.
        """
        check_integer("predict", "chip", chip, 0, len(self) - 1)
        runner = self.runner(**settings)
        runner.load(self.chips[chip].read(self.layers, at), drift_compensation=drift_compensation)
        return runner.predict(arrays(inputs))

    def evaluate(
        self,
        data: Any,
        *,
        at: str | float | Sequence[str | float] = DRIFT_TIMES,
        drift_compensation: bool | str = True,
        batch_norm_calibration: Any = None,
        metric: Callable[[Any, Any], float] = accuracy,
        progress: Callable[[int, int], None] | None = None,
        **settings: Any,
    ) -> pd.DataFrame:
        """Measure every chip at every time.

        Args:
            data: (inputs, labels) arrays, or a dataset of such batches; lists, tuples or dicts of arrays where the
                model has several inputs or outputs.
            at: times since programming, or one: text with a unit, or seconds.
            drift_compensation: True, False, or "both".
            batch_norm_calibration: inputs (no labels) on which the batch-norm statistics are estimated anew for each
                chip and time (AdaBS, Joshi et al. 2020); None leaves them as trained.
            metric: function of (labels, outputs) that returns a number; a model with several outputs needs one.
            progress: called with (done, total) after each reading.
            **settings: of `Runner`: mode, precision, batch_size.

        Returns:
            A table with one row a chip, time and mode: chip, seed, at, seconds, drift_compensation, accuracy.
        """
        check_choice("evaluate", "drift_compensation", drift_compensation, (True, False, "both"))
        modes = [True, False] if drift_compensation == "both" else [bool(drift_compensation)]
        inputs, labels = as_arrays(data, len(getattr(self.model, "inputs", None) or ()) or None)
        times = [parse_duration(time) for time in ([at] if isinstance(at, (str, int, float)) else at)]
        runner = self.runner(**settings)
        rows: list[tuple[Any, ...]] = []
        total = len(self.chips) * len(times)
        for number, (chip, seconds) in enumerate((c, t) for c in self.chips for t in times):
            reads = chip.read(self.layers, seconds)
            for mode in modes:
                with restored_statistics(self.model, self.layers, reads, mode, batch_norm_calibration):
                    runner.load(reads, drift_compensation=mode, refresh=not rows or batch_norm_calibration is not None)
                    value = metric(labels, runner.predict(inputs))
                rows.append((chip.number, chip.seed, format_duration(seconds), seconds, mode, value))
            if progress is not None:
                progress(number + 1, total)
        return pd.DataFrame(rows, columns=["chip", "seed", "at", "seconds", "drift_compensation", "accuracy"])

    def save(self, folder: Any, *, overwrite: bool = False) -> None:
        """Store the chips as open files (one safetensors a chip and a JSON index), complete or not at all.

        Raises:
            ChipFileError: the folder exists already and `overwrite` is False, it holds something else than chips, or it
                can't be written.
        """
        from analognets.deploy.chips.files import save_chips

        if any(type(chip) is not Chip for chip in self.chips):
            raise ChipFileError("Measured chips lie in open files already: keep the folder they were imported from.")
        save_chips(self, folder, overwrite=overwrite)

    @classmethod
    def load(cls, folder: Any, model: keras.Model) -> Chips:
        """Read stored chips back for the model they were programmed from.

        Raises:
            ChipFileError: a file is missing, cut short or changed, or the chips belong to another model.
        """
        from analognets.deploy.chips.files import load_chips

        chips, seed = load_chips(folder, model)
        return cls(model, chips, seed)

    def export_targets(self, folder: Any, *, accelerator: Any = None, overwrite: bool = False) -> Path:
        """Write all that a lab needs to programme this model into real devices, as open files.

        The folder gets an index (index.json, its rules in handover.schema.json), for each tile the target conductances
        in uS of both polarities (.npy), placed on the arrays of an accelerator, converter settings, digital scales,
        drift-compensation read-outs, the schedule of an inference, and a copy of the digital variables. Programming
        noise is no part of it: all chips of a model have the same targets.

        Args:
            folder: new folder.
            accelerator: name, YAML file or `Accelerator` that the tiles are placed on; None: one like `aon_cim` with
                arrays as large as the model's tiles.
            overwrite: whether other targets there may be replaced; measurements never are.

        Raises:
            ChipFileError: the folder exists already, or can't be written.
            ConversionError: the model is computed in other row blocks than the accelerator has, or two layers share a
                name.
        """
        from analognets.deploy.lab.targets import export_targets

        return export_targets(self, folder, accelerator=accelerator, overwrite=overwrite)

    @classmethod
    def import_measured(cls, folder: Any, model: keras.Model) -> Chips:
        """Build chips from conductances measured in a lab, for the model whose targets were exported.

        At the time of a reading a chip computes with exactly what was read; later its devices go on with the mean drift
        of the device model. A folder without measured.json gives one chip that holds its targets exactly.

        Args:
            folder: that `export_targets` made, with measured.json beside index.json, in the same layout; written by
                hand or by `analognets.deploy.lab.measured.record_measurement`.
            model: the calibrated analog model.

        Raises:
            ChipFileError: a tile is missing, changed, of another shape or out of range, or the targets are of another
                model.
        """
        from analognets.deploy.lab.measured import import_measured

        return cls(model, import_measured(folder, model), 0)


def program(
    model: keras.Model,
    chips: int = 25,
    seed: int = 0,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Chips:
    """Programme a model into simulated chips; chip k of a seed is the same however many are made.

    Args:
        model: a model with calibrated analog layers.
        chips: how many, at least 1.
        seed: >= 0; one seed and number give one chip, bit for bit.
        progress: called with (done, total) after each chip.

    Raises:
        ConversionError: the model has no analog layer.
        NotCalibratedError: converter ranges have not been set.
        InvalidArgumentError: a number is out of range.

    Source: the equations of the hardware's device model, which names its own source.
    """
    count = check_integer("program", "chips", chips, 1, 1_000_000)
    check_integer("program", "seed", seed, 0, 2**31 - 1)
    layers = analog_layers(model)
    for layer in layers:
        if not layer.calibrated:
            raise NotCalibratedError(
                f"Layer '{layer.name}' of model '{model.name}' has no converter ranges yet. Call "
                "analognets.layers.calibrate(model, data) first."
            )
    made = []
    for number in range(count):
        chip_seed = derive_seed(seed, "chip", number)
        made.append(Chip(number, chip_seed, arithmetic(layers).program(layers, chip_seed)))
        if progress is not None:
            progress(number + 1, count)
    return Chips(model, made, seed)


def summarize(table: pd.DataFrame, float_accuracy: float | None = None) -> pd.DataFrame:
    """Return mean, standard deviation and number of chips for each time, and the loss against the float model.

    Args:
        table: what `Chips.evaluate` returned.
        float_accuracy: accuracy of the float model, 0 to 1; adds the column `loss` in points of percent.
    """
    groups = table.groupby(["drift_compensation", "seconds", "at"], sort=True)["accuracy"]
    summary = groups.agg(mean="mean", std="std", chips="count").reset_index()
    summary = summary.sort_values(["drift_compensation", "seconds"], ascending=[False, True], ignore_index=True)
    if float_accuracy is not None:
        summary["loss"] = 100 * (float_accuracy - summary["mean"])
    return summary
