"""The chips of a model: programmed, evaluated over drift time, stored, and exchanged with a lab."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from analognets.core.memory import enough_memory
from analognets.deploy.chips.batch_norm import batch_norms, check_measurable, held_statistics, restored_statistics
from analognets.deploy.chips.calibration_files import save_calibrations
from analognets.deploy.chips.calibrations import Calibration, Calibrations
from analognets.deploy.chips.calibrator import Calibrator, check_can_calibrate
from analognets.deploy.chips.chip import Chip
from analognets.deploy.chips.decisions import MODE, READING, Decisions, in_order
from analognets.deploy.chips.files import StoredChips, load_chips, program_chips, same_chips, save_chips
from analognets.deploy.chips.origin import Origin
from analognets.deploy.chips.programming import arithmetic
from analognets.deploy.chips.runtime import Runner
from analognets.deploy.chips.samples import HeldSamples, StreamedSamples, samples_of
from analognets.deploy.chips.stored import is_too_large, room_for, temporary_chips
from analognets.deploy.evaluation import accuracy, arrays, check_unmasked, decisions, samples_in
from analognets.deploy.lab.arrays import measured_chips
from analognets.deploy.lab.targets import export_targets
from analognets.devices import derive_seed
from analognets.errors import ChipFileError, InvalidArgumentError, NotCalibratedError, check_choice, check_integer
from analognets.layers import analog_layers
from analognets.layers.calibrated import unused_ranges
from analognets.layers.input_data import all_inputs
from analognets.layers.noise_realization import NoiseRealization
from analognets.metrics import chips_bound, chips_interval
from analognets.units import DRIFT_TIMES, format_duration, parse_duration, parse_durations

__all__ = ["Chips", "program", "summarize"]

READ_BYTES = 8
"""Memory for each weight of a chip that is evaluated: as read, and as the layers multiply by it."""


class Chips:
    """Some chips programmed from one model; made by `program` or `Chips.load`.

    They go with the weights that the model has then. A change of its hardware or of its adapters acts from the next
    reading on; after other changes of its kernels, readings raise an InvalidArgumentError.

    Args:
        model: the calibrated analog model: its digital part (batch-norm, biases, converter ranges) serves all chips.
        chips: the programmed chips.
        seed: the seed they were programmed from.
        calibrations: batch-norm statistics that the chips measured themselves, see `calibrate`.

    Examples:
        >>> chips = analognets.deploy.program(analog, chips=3, seed=0)
        >>> table = chips.evaluate((x, y), at=["25s", "1y"])
        >>> table[["chip", "at"]].values.tolist()[:2]
        [[0, '25s'], [0, '1y']]
        >>> chips.save("my_chips")
        >>> len(Chips.load("my_chips", analog))
        3
    """

    def __init__(
        self, model: keras.Model, chips: Sequence[Chip], seed: int, calibrations: Sequence[Calibration] = ()
    ) -> None:
        self.model = model
        self.layers = analog_layers(model)
        self.chips: Sequence[Chip] = chips if isinstance(chips, StoredChips) else list(chips)
        self.seed = seed
        self.calibrations = Calibrations(calibrations)
        self.origin = Origin.of(model)
        self._runners: dict[tuple[str, str, int], Runner] = {}
        self._structure = self._structure_now()

    def __len__(self) -> int:
        return len(self.chips)

    def __iter__(self) -> Iterator[Chip]:
        return iter(self.chips)

    def runner(self, *, mode: str = "auto", precision: str = "float32", batch_size: int = 100) -> Runner:
        """Return the compiled function that runs these chips; it is made once for each setting.

        Raises:
            InvalidArgumentError: the model has other weights than those that were programmed, or another drift
                compensation that does not read as the one of then.
        """
        self.origin.check(self.model)
        if (now := self._structure_now()) != self._structure:
            self._runners, self._structure = {}, now
        key = (mode, precision, batch_size)
        if key not in self._runners:
            self._runners[key] = Runner(self.model, mode=mode, precision=precision, batch_size=batch_size)
        return self._runners[key]

    def _structure_now(self) -> tuple[Any, ...]:
        """Return what compiled functions hold of the layers besides their variables."""
        return tuple(
            (layer.crossbar, layer.calibrated, layer.nonnegative, layer.lora_rank if layer.adapters() else None)
            for layer in self.layers
        )

    def predict(
        self,
        inputs: Any,
        *,
        chip: int = 0,
        at: str | float = "25s",
        drift_compensation: bool = True,
        adabs: bool = True,
        **settings: Any,
    ) -> Any:
        """Return the outputs of one chip at one time, an array or what structure of arrays the model returns.

        Args:
            inputs: array of samples, or a list, tuple or dict of arrays for a model with several inputs.
            chip: which one, from 0.
            at: time of the read, such as "1d", or seconds.
            drift_compensation: scale the outputs of each tile back to its level after programming.
            adabs: with the batch-norm statistics of the latest stored calibration up to then, see `calibrate`.
            **settings: of `Runner`: mode, precision, batch_size.

        Raises:
            InvalidArgumentError: there is no such chip, or its calibration is of another model.
        """
        check_integer("predict", "chip", chip, 0, len(self) - 1)
        runner, one = self.runner(**settings), self.chips[chip]
        self._check_calibrations(adabs)
        reads = self._read(one, at)
        with self._stored_statistics(one, parse_duration(at), drift_compensation, adabs):
            runner.load(reads, drift_compensation=drift_compensation)
            return runner.predict(arrays(inputs))

    def evaluate(
        self,
        data: Any,
        *,
        at: str | float | Sequence[str | float] = DRIFT_TIMES,
        drift_compensation: bool | str = True,
        batch_norm_calibration: Any = None,
        adabs: bool = True,
        metric: Callable[[Any, Any], float] = accuracy,
        progress: Callable[[int, int], None] | None = None,
        **settings: Any,
    ) -> pd.DataFrame:
        """Measure every chip at every time.

        Args:
            data: (inputs, labels) arrays, or a dataset of such batches; lists, tuples or dicts of arrays where the
                model has several inputs or outputs. A `tf.data.Dataset` or `keras.utils.PyDataset` with more than
                128 MB of inputs is read anew for each reading, a batch at a time.
            at: times since programming, or one: text with a unit, or seconds.
            drift_compensation: True, False, or "both".
            batch_norm_calibration: inputs, as `analognets.layers.calibrate` takes them, on which the batch-norm
                statistics are estimated anew for each chip and time (AdaBS, Joshi et al. 2020), in place of any
                stored ones; None leaves them as stored or trained.
            adabs: with the batch-norm statistics of the latest stored calibration of the chip up to that time, see
                `calibrate`; before the first one, and if this is False, with those of the training.
            metric: function of (labels, outputs) that returns a number; a model with several outputs, or with outputs
                for each position of masked sequences, needs one.
            progress: called with (done, total) after each reading.
            **settings: of `Runner`: mode, precision, batch_size.

        Returns:
            A table with one row per chip, time and mode: chip, seed, at, seconds, drift_compensation, accuracy.
        """
        if metric is accuracy:
            check_unmasked(self.model)
        samples, rows = self._samples(data), []
        chosen = (at, drift_compensation, batch_norm_calibration, adabs, settings)
        with contextlib.closing(self._readings("evaluate", samples, *chosen)) as readings:
            for reading, (labels, outputs), done in readings:
                rows.append((*reading, metric(labels, outputs)))
                if progress is not None and done is not None:
                    progress(*done)
        return pd.DataFrame(rows, columns=[*READING, "accuracy"])

    def decide(
        self,
        data: Any,
        *,
        at: str | float | Sequence[str | float] = DRIFT_TIMES,
        drift_compensation: bool | str = True,
        batch_norm_calibration: Any = None,
        adabs: bool = True,
        progress: Callable[[int, int], None] | None = None,
        **settings: Any,
    ) -> Decisions:
        """Return which class every chip chooses for every sample at every time.

        What is returned gives the table of `evaluate`, mean accuracies and losses with confidence intervals that count
        chips and test samples, and confusions; `analognets.deploy.by_class` makes accuracies by class of those.

        Args:
            data: as in `evaluate`, for a model with one output; labels are classes as the metric `accuracy` takes them.
            at: as in `evaluate`.
            drift_compensation: likewise.
            batch_norm_calibration: likewise.
            adabs: likewise.
            progress: likewise.
            **settings: of `Runner`: mode, precision, batch_size.

        Raises:
            InvalidArgumentError: as `analognets.deploy.accuracy`.
        """
        check_unmasked(self.model)
        samples = self._samples(data)
        truth, classes, count = np.zeros(0, int), 2, 0
        rows: list[Any] = []
        chosen: list[Any] = []
        how = (at, drift_compensation, batch_norm_calibration, adabs, settings)
        with contextlib.closing(self._readings("decide", samples, *how)) as readings:
            for reading, (labels, outputs), done in readings:
                before = truth
                truth, taken, classes = decisions(labels, outputs)
                if rows and not np.array_equal(truth, before):
                    raise InvalidArgumentError(
                        "Decisions are compared sample by sample, so a dataset must give its samples in one order. "
                        "Received: other labels than in the reading before. Leave shuffle() and random changes away."
                    )
                count = samples_in(labels)
                rows.append(reading)
                chosen.append(taken.astype(np.int32))
                if progress is not None and done is not None:
                    progress(*done)
        table = pd.DataFrame(rows, columns=READING)
        return Decisions(table, truth, np.stack(chosen), classes, count)

    def _samples(self, data: Any) -> HeldSamples | StreamedSamples:
        return samples_of(data, len(getattr(self.model, "inputs", None) or ()) or None)

    def _readings(
        self,
        owner: str,
        samples: HeldSamples | StreamedSamples,
        at: Any,
        drift_compensation: Any,
        batch_norm_calibration: Any,
        adabs: bool,
        settings: Any,
    ) -> Generator[tuple[tuple[Any, ...], tuple[Any, Any], tuple[int, int] | None]]:
        """Yield what tells a reading, labels and outputs, and after the last mode of each time (done, total)."""
        modes, times = readings_of(owner, at, drift_compensation)
        runner = self.runner(**settings)
        seen = None if batch_norm_calibration is None else all_inputs(self.model, batch_norm_calibration)
        if seen is not None and batch_norms(self.model):
            check_can_calibrate(self.model, samples_in(seen))
            check_measurable(self.model, seen)
        stored = adabs and seen is None
        self._check_calibrations(stored)
        changing = seen is not None or (stored and len(self.calibrations) > 0)
        total, refresh = len(self.chips) * len(times), True
        for number, (chip, seconds) in enumerate((c, t) for c in self.chips for t in times):
            reads = self._read(chip, seconds)
            for mode in modes:
                with (
                    self._stored_statistics(chip, seconds, mode, stored),
                    restored_statistics(self.model, self.layers, reads, mode, seen),
                ):
                    runner.load(reads, drift_compensation=mode, refresh=refresh or changing)
                    refresh = False
                    outputs = samples.outputs(runner)
                    reading = (chip.number, chip.seed, format_duration(seconds), seconds, mode)
                    yield reading, outputs, (number + 1, total) if mode is modes[-1] else None

    def _read(self, chip: Chip, at: str | float) -> list[NoiseRealization]:
        """Read all weights of a chip; they lie in memory twice when a runner has loaded them."""
        needed = {layer.name: READ_BYTES * math.prod(layer.crossbar_shape()) for layer in self.layers}
        with enough_memory(f"reading a chip of model '{self.model.name}'", needed, together=True):
            return chip.read(self.layers, at)

    def _check_calibrations(self, adabs: bool) -> None:
        check_choice("Chips", "adabs", adabs, (True, False))
        if adabs:
            self.calibrations.check(self.model)

    def _stored_statistics(self, chip: Chip, seconds: float, mode: bool, adabs: bool) -> Any:
        """While active, the batch-norms hold what a chip's calibration says for a time, if there is one."""
        found = self.calibrations.at(chip.number, seconds, mode) if adabs else None
        return held_statistics(self.model, None if found is None else found.statistics)

    def calibrate(
        self,
        samples: Any,
        *,
        at: str | float | Sequence[str | float] = "1d",
        drift_compensation: bool | str = True,
        folder: Any = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Calibration]:
        """Let each chip measure its batch-norm statistics at some times and keep them (AdaBS).

        `predict`, `evaluate` and `decide` then use them: at each time the latest calibration of the chip up to it, with
        the same drift compensation; before the first one the statistics of the training. Labels are not used. What a
        chip has measured already on the same samples is not measured again, so that an interrupted call goes on where
        it was.

        A device does it layer after layer: it runs all samples up to a batch-norm and adds up the numbers in front of
        it and their squares for each channel; mean and variance follow, and go into the digital scales in front of the
        next layer. That is a pass over the samples for each batch-norm, a square and two additions a number, two sums a
        channel of one layer as state, and 8 bytes a channel kept; `analognets.deploy.accelerator.adabs_cost` counts
        them. The statistics hold for the weights as they are read then: a later reading has other read noise.

        Args:
            samples: at least 2, such as clips that a device has heard, as `analognets.layers.calibrate` takes inputs.
                They lie in memory at once with the activations of a layer. Take training or validation samples, never
                those that the chips are judged on.
            at: times since programming, or one: text with a unit, or seconds.
            drift_compensation: True, False, or "both".
            folder: that these chips were saved to; each calibration is stored there at once. None: `save` stores them
                with the chips.
            progress: called with (done, total) after each reading.

        Returns:
            The calibrations of these times, chip by chip.

        Raises:
            ConversionError: the network has no batch-norm.
            InvalidArgumentError: the samples are too few, not finite or of another shape.
            ChipFileError: the folder holds other chips, or can't be written.

        Source: Joshi et al., Nat. Commun. 11:2473 (2020); full sums instead of a moving average are our simplification.
        """
        modes, times = readings_of("calibrate", at, drift_compensation)
        calibrator = Calibrator(self.model, samples)
        if folder is not None:
            self.calibrations.complete(same_chips(folder, self.model, self.chips).calibrations(self.model))
        self.calibrations.keep(calibrator.model_sha256)
        found: list[Calibration] = []
        total = len(self.chips) * len(times)
        for number, (chip, seconds) in enumerate((c, t) for c in self.chips for t in times):
            for mode in modes:
                known = self.calibrations.get(chip.number, seconds, mode)
                found.append(calibrator.completed(known, chip, seconds, mode))
                self.calibrations.add(found[-1])
            if folder is not None:
                save_calibrations(Path(folder), chip, self.calibrations.of(chip.number))
            if progress is not None:
                progress(number + 1, total)
        return found

    def save(self, folder: Any, *, overwrite: bool = False) -> None:
        """Store the chips as open files (one safetensors file per chip and a JSON index), complete or not at all.

        The calibrations of a chip lie in a further file, calibration_NNNN.safetensors.

        Raises:
            ChipFileError: the folder exists already and `overwrite` is False, it holds something else than chips, or it
                can't be written.
        """
        if not isinstance(self.chips, StoredChips) and any(type(chip) is not Chip for chip in self.chips):
            raise ChipFileError("Measured chips lie in open files already: keep the folder they were imported from.")
        save_chips(
            folder,
            self.model,
            self.chips,
            self.seed,
            origin=self.origin,
            calibrations=self.calibrations,
            overwrite=overwrite,
        )

    @classmethod
    def load(cls, folder: Any, model: keras.Model) -> Chips:
        """Open stored chips for the model they were programmed from; each is read from the folder when it is needed.

        Raises:
            ChipFileError: a file is missing, cut short or changed, a device holds what it can't, or the chips belong to
                another model.
        """
        chips, seed = load_chips(folder, model)
        return cls(model, chips, seed, chips.calibrations(model))

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
            InvalidArgumentError: the model has other weights than those that were programmed.
            ConversionError: the model is computed in other row blocks than the accelerator has, or two layers share a
                name.
        """
        self.origin.check(self.model)
        return export_targets(self.model, folder, accelerator=accelerator, overwrite=overwrite)

    @classmethod
    def import_measured(
        cls,
        folder: Any,
        model: keras.Model,
        *,
        seconds: float | str | None = None,
        unit: str | None = None,
        reference: Any = None,
    ) -> Chips:
        """Build chips from conductances measured in a lab, for the model whose targets were exported.

        At the time of a reading a chip computes with exactly what was read; later its devices go on with the mean drift
        of the device model. A folder without measured.json gives one chip that holds its targets exactly.

        Args:
            folder: that `export_targets` made, with measured.json beside index.json, in the same layout; written by
                hand or by `analognets.deploy.lab.recording.record_measurement`. Or plain arrays of conductances without
                an index: a folder with a .npy or CSV file per tile, or one CSV file with a row per cell, see
                `analognets.deploy.lab.plain.read_plain_readings`.
            model: the calibrated analog model.
            seconds: since programming, of plain arrays that don't say it; a number or a duration such as "1d".
            unit: of plain arrays that don't say it: "S", "mS", "uS" (the default), "nS" or "pS".
            reference: of the drift compensation of plain arrays: "targets" (the default), "first_reading", or a
                read-out by layer.

        Raises:
            ChipFileError: a tile or rows of it are missing, changed, of another shape or out of range, swapped in
                polarity, transposed or of another unit, or the targets are of another model.
            InvalidArgumentError: the time of plain arrays is not known, or what they need is given for a folder that
                has an index.
        """
        found = measured_chips(folder, model, seconds=seconds, unit=unit, reference=reference)
        return cls(model, found, 0)


def readings_of(owner: str, at: Any, drift_compensation: Any) -> tuple[list[bool], list[float]]:
    """Return the modes and the times in seconds of an evaluation, checked; a time that is given twice counts once."""
    check_choice(owner, "drift_compensation", drift_compensation, (True, False, "both"))
    modes = [True, False] if drift_compensation == "both" else [bool(drift_compensation)]
    times = parse_durations([at] if isinstance(at, (str, int, float)) else list(at))
    return modes, list(dict.fromkeys(times))


def program(
    model: keras.Model,
    chips: int = 25,
    seed: int = 0,
    *,
    folder: Any = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    first: int = 0,
) -> Chips:
    """Programme a model into simulated chips; chip k of a seed is the same however many are made.

    Chips of large networks are programmed layer by layer and go to files, from which they are read as they are needed:
    into `folder`, or where that is None and a chip has more than 128 MB, or all of them a quarter of the free memory,
    among the system's temporary files (TMPDIR), which vanish with the chips. A chip of PCM takes 24 bytes a weight.

    Args:
        model: a model with calibrated analog layers.
        chips: how many, at least 1.
        seed: >= 0; one seed and number give one chip, bit for bit.
        folder: to store the chips in while they are programmed, as `Chips.save` does; whole or not at all.
        overwrite: replace the chips there.
        progress: called with (done, total) after each chip.
        first: number of the first chip, >= 0, where several processes make the chips of one seed.

    Raises:
        ConversionError: the model has no analog layer.
        NotCalibratedError: converter ranges have not been set.
        InvalidArgumentError: a number is out of range.
        MemoryShortError: a layer needs more memory than is free.
        ChipFileError: the folder exists already, or can't be written, such as on a full disk; nothing is left of it.
        RunError: the folder for temporary files is full.

    Examples:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> analog = analognets.to_analog(model, calibrate_on=np.eye(4))
        >>> chips = program(analog, chips=2, seed=0)
        >>> chips.predict(np.eye(4), chip=1, at="1y").shape
        (4, 3)

    Source: the equations of the hardware's device model, which names its own source.
    """
    count = check_integer("program", "chips", chips, 1, 1_000_000)
    check_integer("program", "seed", seed, 0, 2**31 - 1)
    check_integer("program", "first", first, 0, 2**31 - 1)
    layers = analog_layers(model)
    idle = [layer for layer in layers if layer.unused_ranges_set()]
    if idle:
        raise NotCalibratedError(unused_ranges(idle))
    for layer in layers:
        if not layer.calibrated:
            raise NotCalibratedError(
                f"Layer '{layer.name}' of model '{model.name}' has no converter ranges yet. Call "
                "analognets.layers.calibrate(model, data) first."
            )
    seeds = [derive_seed(seed, "chip", number) for number in range(first, first + count)]

    def told(done: int) -> None:
        if progress is not None:
            progress(done, count)

    with enough_memory(f"programming model '{model.name}'", {layer.name: room_for(layer) for layer in layers}):
        if folder is not None:
            kept = program_chips(folder, model, seeds, seed, overwrite=overwrite, told=told, first=first)
            return Chips(model, kept, seed)
        if is_too_large(layers, count):
            return Chips(model, temporary_chips(layers, seeds, told, first=first), seed)
        made = []
        for number, chip_seed in enumerate(seeds, start=first):
            made.append(Chip(number, chip_seed, arithmetic(layers).program(layers, chip_seed)))
            told(len(made))
        return Chips(model, made, seed)


def summarize(table: pd.DataFrame, float_accuracy: float | None = None) -> pd.DataFrame:
    """Return mean, standard deviation and number of chips for each time, and the loss against the float model.

    `low` and `high` are the ends of the 95 % interval of the mean, `bound` the accuracy that at least the share
    `bound_share` of all chips has with 95 % confidence (`analognets.metrics.chips_bound`). Both take the test samples
    as given; `Decisions.summary` counts them as drawn at random too, for which it needs the decision for every sample.

    Args:
        table: what `Chips.evaluate` returned.
        float_accuracy: accuracy of the float model, 0 to 1; adds the column `loss` in points of percent.

    Examples:
        >>> table = chips.evaluate((x, y), at=["25s", "1y"])
        >>> summarize(table, float_accuracy=1.0)[["at", "chips"]]
            at  chips
        0  25s      3
        1   1y      3
    """
    groups = table.groupby(MODE, sort=True)["accuracy"]
    summary = in_order(groups.agg(mean="mean", std="std", chips="count").reset_index())
    values = dict(list(groups))
    ends = [_ends(values[key].to_numpy(float)) for key in summary[MODE].itertuples(index=False, name=None)]
    summary = pd.concat([summary, pd.DataFrame(ends, columns=["low", "high", "bound", "bound_share"])], axis=1)
    if float_accuracy is not None:
        summary["loss"] = 100 * (float_accuracy - summary["mean"])
    return summary


def _ends(values: np.ndarray) -> tuple[float, float, float, float]:
    """Return the ends of the mean's interval, and the bound of a share of the chips; NaN if a value is not finite."""
    if not np.isfinite(values).all():
        return math.nan, math.nan, math.nan, math.nan
    mean, bound = chips_interval(values), chips_bound(values)
    return mean.low, mean.high, bound.value, bound.share
