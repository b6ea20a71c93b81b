"""The two stages of hardware-aware training, in steps of one epoch that each can be repeated exactly."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from analognets.conversion import convertible_kernels, plan, to_analog
from analognets.conversion.apply import check_copyable
from analognets.conversion.plan import Planner
from analognets.core.backend import in_steps
from analognets.core.files import write_atomically
from analognets.core.seeds import epoch_seed
from analognets.crossbar import HardwareByLayer
from analognets.errors import InvalidArgumentError, RunError
from analognets.layers import WeightClip, analog_layers, calibrate, freeze_weight_range
from analognets.training.callbacks import (
    BatchProgress,
    NoiseRamp,
    WeightRangeRefresh,
    reseed,
    set_noise_scale,
    trained_network,
)
from analognets.training.checkpoints import Checkpoint
from analognets.training.distillation import Distiller
from analognets.training.in_memory import DeviceLog, MixedPrecision
from analognets.training.optimizers import LabelAccuracy, make_loss, make_optimizer
from analognets.training.placement import TrainingPlacement, placement_of
from analognets.training.precision import computed_in, resolved
from analognets.training.progress import Progress
from analognets.training.recipe import HardwareAware, Recipe, Stage
from analognets.training.report import converter_ranges
from analognets.training.run import Run
from analognets.training.statistics import steady_statistics
from analognets.training.validation import evaluate, evaluate_noisy

__all__ = ["TrainingResult", "clip_weights", "train"]

STAGES = FLOAT, HARDWARE_AWARE, ON_DEVICE = "float", "hardware_aware", "on_device"


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """What came out of a training.

    Args:
        run: the finished run.
        float_model: network after stage 1.
        analog_model: network after stage 2, or None without that stage.
        metrics: one dict an epoch, as in metrics.jsonl.
    """

    run: Run
    float_model: keras.Model
    analog_model: keras.Model | None
    metrics: list[dict[str, Any]]


def train(
    run: Run,
    *,
    model: keras.Model | Callable[[], keras.Model],
    data: Any,
    from_logits: bool = True,
    teacher: keras.Model | Sequence[keras.Model] | None = None,
    progress: Callable[[Progress], None] | None = None,
    strategy: Any = None,
) -> TrainingResult:
    """Train in two stages or on devices, or go on with a run that was interrupted at whatever moment.

    Stage 1 trains the plain network with its kernels clipped to +- 2 sigma after every step. Stage 2 makes it analog,
    freezes W_max, sets the converter ranges from calibration data, and trains on with converters and weight noise.
    A recipe that learns on devices has one stage instead: that of `float`, whose rule moves the digital memory of
    `MixedPrecision`.

    On the same machine (CPU, same number of threads, same packages) an interrupted and resumed run gives bit for bit
    the weights of one that was not interrupted: each epoch depends only on the checkpoint before it and on seeds made
    from (seed, stage, epoch). It is not promised on a GPU, nor for data or layers that draw from other sources.

    Args:
        run: from `Run.create` or `Run.open`.
        model: a built Keras model, or a function without arguments that builds it (called with Keras seeded by the
            recipe's seed).
        data: a `TrainingData`, or any object with its attributes.
        from_logits: whether the model's outputs are logits or probabilities.
        teacher: a built network, or several, for stages with `distillation`; None: stage 2 learns from the network of
            stage 1.
        progress: called with a `Progress` now and then; what it raises ends the session, and the run can be resumed.
        strategy: where to train, in place of the recipe's `strategy`: as there, or a `tf.distribute.Strategy`. Each
            replica has an equal part of each batch and noise of its own; without noise and dropout the weights are
            those of one device but for rounding. On several machines only the chief writes; all see the run folder.

    Raises:
        RunError: the run is finished or in use, a checkpoint does not fit, the loss is no longer finite, or another
            worker died.
        ConversionError: stage 2 finds no layer to convert.
        InvalidArgumentError: the hardware, the data or the strategy don't fit.
        UnknownNameError: there is no such hardware preset or layer to exempt.

    Source: AnalogNets (arXiv 2111.06503), from memory; the hyper-parameters are the recipe's.
    """
    recipe = run.recipe
    hardware = recipe.hardware_aware.hardware.by_layer() if recipe.hardware_aware else None
    placement = placement_of(recipe.strategy if strategy is None else strategy)
    if placement.strategy is not None and recipe.learns_on_devices:
        raise InvalidArgumentError(
            "Learning on memory devices runs on one device, for each has one set of them. Received: a strategy. Leave "
            "it out."
        )
    with placement.watching():
        with run.session(data.info) if placement.is_chief else contextlib.nullcontext():
            trainer = _Trainer(run, data, from_logits, progress or (lambda event: None), teacher, placement)
            net, analog = _both_stages(trainer, model, hardware)
        placement.agree()  # the files are complete
    trainer.report(Progress("finished", message=f"Finished: {run.path}"))
    return TrainingResult(run, net, analog, trainer.rows)


def _both_stages(trainer: _Trainer, model: Any, hardware: Any) -> tuple[keras.Model, keras.Model | None]:
    """Bring a run to its end; return the networks of stage 1 and of stage 2."""
    recipe = trainer.recipe
    keras.utils.set_random_seed(recipe.seed)
    net = model if isinstance(model, keras.Model) else model()
    if not net.built:
        raise InvalidArgumentError("The model must be built: give it an Input, or call it once on data.")
    check_selection(recipe, trainer.data)
    start = trainer.resume()
    if recipe.hardware_aware and start is None:
        # What can't be converted is better known before stage 1 than after it.
        check_copyable(net)
        plan(net, hardware, exempt=recipe.hardware_aware.exempt).check()
    if recipe.learns_on_devices:
        trainer.on_device_stage(net, start)
    else:
        trainer.float_stage(net, start)
    return net, None if hardware is None else trainer.hardware_aware_stage(net, hardware, start)


def check_selection(recipe: Recipe, data: Any) -> None:
    """Raise an InvalidArgumentError if a stage takes its best epoch, which nothing tells without validation data."""
    for name, stage in (("float", recipe.float_stage), ("hardware_aware", recipe.hardware_aware)):
        if stage is not None and stage.epochs and stage.select == "best" and data.validation is None:
            raise InvalidArgumentError(
                f"`{name}.select: best` takes the epoch that validation says is best. Received: no validation data. "
                "Give some, or set `select: last`."
            )


def clip_weights(
    model: keras.Model, *, sigma: float, exempt: tuple[str, ...] = (), hardware: Any = "aon_cim_8bit"
) -> Callable[[], None]:
    """From now on clip the kernels that can become analog to +- sigma of their standard deviations after each step.

    Args:
        model: a built plain Keras model.
        sigma: in standard deviations, > 0.
        exempt: names or paths of layers, blocks and nested models to leave alone, as of `to_analog`.
        hardware: likewise; layers that it leaves digital are left alone.

    Returns:
        A function that ends the clipping; the layers' configs never change.
    """
    clip, planner = WeightClip(sigma), Planner(model, HardwareByLayer.of(hardware), exempt)
    before = []
    for layer in model._flatten_layers():
        digital = id(layer) in planner.exempt or planner.crossbar_of(layer) is None
        for kernel in () if digital else convertible_kernels(layer):
            before.append((kernel, kernel.constraint))
            kernel.constraint = _Both(kernel.constraint, clip)

    def undo() -> None:
        for kernel, constraint in before:
            kernel.constraint = constraint

    return undo


class _Both(keras.constraints.Constraint):
    """A layer's own constraint, if any, and then the clipping."""

    def __init__(self, first: Any, second: Any) -> None:
        self.first = first
        self.second = second

    def __call__(self, w: Any) -> Any:
        return self.second(w if self.first is None else self.first(w))


def on_devices(recipe: Recipe) -> Callable[[keras.optimizers.Optimizer], MixedPrecision]:
    """Return the function that puts the recipe's digital rule in front of its devices."""
    settings = recipe.on_device.settings() if recipe.on_device else {}
    return lambda rule: MixedPrecision(rule, seed=recipe.seed, **settings)


@dataclasses.dataclass(frozen=True)
class _Judged:
    """What validation looks at under a strategy: a network on one device, that takes over the weights of a copy.

    Args:
        copy: on all devices.
        plain: on one.
    """

    copy: keras.Model
    plain: keras.Model


class _Trainer:
    """One session of a run: what both stages share."""

    def __init__(
        self,
        run: Run,
        data: Any,
        from_logits: bool,
        report: Callable[[Progress], None],
        teacher: keras.Model | Sequence[keras.Model] | None = None,
        placement: TrainingPlacement | None = None,
    ) -> None:
        self.run = run
        self.placement = placement or TrainingPlacement()
        self.teacher = teacher
        self.recipe = run.recipe
        self.data = data
        self.from_logits = from_logits
        self.report = report
        self.checkpoints = run.checkpoints
        self.rows: list[dict[str, Any]] = []

    def resume(self) -> Checkpoint | None:
        """Find where to go on and cut metrics.jsonl to that point."""
        start = self._latest()
        if self.checkpoints.damaged:
            names = ", ".join(self.checkpoints.damaged)
            self.report(Progress("notice", message=f"Damaged checkpoint {names}: going on from the one before."))
        self.rows = self.run.metrics()[: start.rows] if start else []
        self._write_metrics()
        return start

    def _latest(self) -> Checkpoint | None:
        """Return the newest checkpoint that is whole: on all workers the one of the chief."""
        found = self.checkpoints.latest() if self.placement.is_chief else None
        if self.placement.workers == 1:
            return found
        known = [-1, -1] if found is None else [found.epoch, STAGES.index(found.stage)]
        epoch, stage = self.placement.agree(known)
        if epoch < 0 or self.placement.is_chief:
            return found
        try:
            return self.checkpoints.of_epoch(STAGES[stage], epoch)
        except RunError as error:
            raise RunError(
                f"This worker does not find the chief's checkpoints: {error} The run folder must be on a disk that "
                "all workers see."
            ) from error

    def _write_metrics(self) -> None:
        if self.placement.is_chief:
            self.run.write_metrics(self.rows)

    # Stage 1

    def float_stage(self, net: keras.Model, start: Checkpoint | None) -> None:
        """Bring `net` to the end of stage 1, from wherever the run is."""
        stage, later = self.recipe.float_stage, self.recipe.hardware_aware
        if start is not None and start.stage == HARDWARE_AWARE:
            self._load_float(net)
            return
        copy, undo = self.placement.copy(net), None
        if stage.weight_clip_sigma:
            left = {"exempt": tuple(later.exempt), "hardware": later.hardware.by_layer()} if later else {}
            undo = clip_weights(copy, sigma=stage.weight_clip_sigma, **left)
        trained = self._distilled(copy, self.teacher, stage)
        try:
            self._run_stage(FLOAT, stage, trained, start, copy, net)
        finally:
            if undo:
                undo()
        if trained is not net:
            self._compile_for_use(net)
        self._save(net, "float.keras")

    def on_device_stage(self, net: keras.Model, start: Checkpoint | None) -> None:
        """Bring `net` and its devices to the end of learning on them, from wherever the run is."""
        self._run_stage(ON_DEVICE, self.recipe.float_stage, net, start, net, net)
        self._save(net, "on_device.keras")
        self._compile_for_use(net)
        self._save(net, "float.keras")

    def _load_float(self, net: keras.Model) -> None:
        path = self.run.path / "float.keras"
        try:
            net.load_weights(path)
        except Exception as error:  # Keras raises many kinds for a broken file
            raise RunError(
                f"'{path}' is missing, broken or from another model, so stage 2 can't go on: {error} Restore the file, "
                "or start the run again with overwrite=True (--overwrite)."
            ) from error
        self._compile_for_use(net)

    # Stage 2

    def hardware_aware_stage(
        self, net: keras.Model, hardware: HardwareByLayer, start: Checkpoint | None
    ) -> keras.Model:
        """Make `net` analog and bring the copy to the end of stage 2."""
        stage = self.recipe.hardware_aware
        if stage is None:
            raise InvalidArgumentError("The recipe has no `hardware_aware` stage.")
        analog = to_analog(net, hardware, exempt=stage.exempt, **stage.noise())
        freeze_weight_range(analog, sigma=stage.weight_range_sigma)
        start = None if start is None or start.stage == FLOAT else start
        samples = self.data.calibration
        samples = self._batches(0) if samples is None else samples
        settings = stage.calibration
        # A checkpoint that is gone on from holds the ranges, but not which layers have inputs that are never negative.
        calibrate(analog, samples, percentile=settings.percentile, batches=settings.batches, rule=settings.rule)
        copy = self.placement.copy(analog)
        trained = self._distilled(copy, net if self.teacher is None else self.teacher, stage)
        self._run_stage(HARDWARE_AWARE, stage, trained, start, copy, analog)
        if trained is not analog:
            self._compile_for_use(analog)
        self._save(analog, "analog.keras")
        return analog

    def _distilled(
        self, net: keras.Model, teacher: keras.Model | Sequence[keras.Model] | None, stage: Stage
    ) -> keras.Model:
        """Return what is trained: the network, in a `Distiller` if the recipe asks for it."""
        if stage.distillation is None:
            return net
        if teacher is None:
            raise InvalidArgumentError(
                "`float.distillation` needs a teacher. Received: none. Set `teacher` of the recipe to a preset or run."
            )
        teachers = [teacher] if isinstance(teacher, keras.Model) else teacher
        teachers = [self.placement.copy(one) for one in teachers]
        with self.placement.scope():
            return Distiller(net, teachers, from_logits=self.from_logits, **stage.distillation.model_dump())

    # Both

    def _run_stage(
        self,
        name: str,
        stage: Stage,
        net: keras.Model,
        start: Checkpoint | None,
        copy: keras.Model,
        plain: keras.Model,
    ) -> None:
        """Train `net`, which is or holds `copy`; leave the weights in `plain`, that validation is done with."""
        if stage.precision == "auto":
            self.report(Progress("notice", name, message=f"Steps are computed in {resolved('auto')}."))
        apart = copy is not plain
        with computed_in(net, stage.precision), computed_in(plain, stage.precision if apart else "float32"):
            if apart:
                self._compile_for_use(plain, stage)
            judged = _Judged(copy, plain) if apart else None
            self._train_stage(name, stage, net, start, judged)
        if apart:
            self.placement.give_back(copy, plain)
        elif name != ON_DEVICE:
            self._compile_for_use(net)

    def _compiled(self, name: str, stage: Stage, net: keras.Model, steps: int) -> list[Any]:
        """Compile a network for a stage; return the variables of its checkpoints."""
        ranges = _ranges(net) if isinstance(stage, HardwareAware) else []
        scale = stage.range_learning_rate_scale if isinstance(stage, HardwareAware) else 1.0
        wrap = on_devices(self.recipe) if name == ON_DEVICE else None
        with self.placement.scope():
            optimizer = make_optimizer(
                stage,
                net.trainable_variables,
                steps_per_epoch=steps,
                scaled=ranges,
                scale=scale,
                wrap=wrap,
                replicas=self.placement.replicas,
            )
            net.compile(
                optimizer=optimizer,
                loss=make_loss(stage, self.from_logits),
                metrics=[LabelAccuracy(name="accuracy")],
                jit_compile=stage.jit_compile or in_steps(),
            )
            if not net.optimizer.built:  # a wrapper that Keras added for mixed precision
                net.optimizer.build(net.trainable_variables)
        return [*net.weights, *net.optimizer.variables]

    def _store(self, state: list[Any], **where: Any) -> None:
        if self.placement.is_chief:
            self.checkpoints.save(state, rows=len(self.rows), **where)

    def _train_stage(
        self, name: str, stage: Stage, net: keras.Model, start: Checkpoint | None, judged: _Judged | None
    ) -> None:
        steps = self._steps()
        state = self._compiled(name, stage, net, steps)
        if start is None:
            reseed(net, epoch_seed(self.recipe.seed, name, 0))  # so that this file does not depend on what ran before
            self._store(state, stage=name, epoch=0)
        else:
            self.checkpoints.restore(start.now, state)
        first = start.epoch if start else 0
        message = f"Going on after epoch {first} of {stage.epochs}." if first else ""
        self.report(Progress("stage", name, first, stage.epochs, 0, steps, message=message))
        steady = stage.steady_after if isinstance(stage, HardwareAware) else None
        with contextlib.ExitStack() as stack:
            for epoch in range(first, stage.epochs):
                if steady is not None and epoch >= steady:
                    stack.enter_context(steady_statistics(net))
                    steady = None
                row = self._epoch(name, stage, net, epoch, steps, judged)
                self.rows.append(row)
                self._write_metrics()
                score = row.get("val_noisy_accuracy", row.get("val_accuracy")) if stage.select == "best" else None
                self._store(state, stage=name, epoch=epoch + 1, score=score)
                self.report(Progress("epoch_end", name, epoch, stage.epochs, steps, steps, row))
        last = self._latest()
        if last is not None and last.best is not None and last.best != last.now:
            self.checkpoints.restore(last.best, state)
        if isinstance(stage, HardwareAware):
            set_noise_scale(net, 1.0)  # of an epoch of the ramp, maybe; later trainings have all of the noise

    def _epoch(
        self, name: str, stage: Stage, net: keras.Model, epoch: int, steps: int, judged: _Judged | None
    ) -> dict[str, Any]:
        """Train one epoch; it depends on nothing but the variables, the seed, the stage and the epoch."""
        began = time.monotonic()
        self.report(Progress("epoch", name, epoch, stage.epochs, 0, steps))
        seed = epoch_seed(self.recipe.seed, name, epoch)
        reseed(net, seed)
        callbacks: list[Any] = [
            BatchProgress(lambda done: self.report(Progress("batch", name, epoch, stage.epochs, done, steps)))
        ]
        if isinstance(stage, HardwareAware):
            callbacks.append(NoiseRamp(0, stage.noise_ramp_epochs))
            if stage.remap_every and epoch and epoch % stage.remap_every == 0:
                callbacks.append(WeightRangeRefresh(stage.weight_range_sigma))
        if name == ON_DEVICE:
            callbacks.append(DeviceLog(self.run.path / "devices.csv"))
        batches = self._batches(epoch + (self.recipe.float_stage.epochs if name == HARDWARE_AWARE else 0))
        whole = None if hasattr(batches, "take") else self.data.steps_per_epoch
        logs = self.placement.fit(net, batches, epoch=epoch, steps=steps, whole=whole, callbacks=callbacks)
        if not math.isfinite(logs.get("loss", math.nan)):
            raise RunError(
                f"The loss of stage '{name}' is not finite any more in epoch {epoch}. Lower `{name}.learning_rate` "
                "or set `clip_norm`, and look at the data. The epochs before are kept."
            )
        if self.data.validation is not None and self.placement.is_chief:
            seen = net
            if judged is not None:
                self.placement.give_back(judged.copy, judged.plain)
                seen = judged.plain
            validation = _quiet(self.data.validation)
            logs |= {f"val_{key}": value for key, value in evaluate(seen, validation).items()}
            if isinstance(stage, HardwareAware) and stage.noisy_validation:
                logs |= evaluate_noisy(
                    seen, validation, copies=stage.noisy_validation, eta=stage.weight_noise, seed=seed
                )
        rate = float(np.asarray(keras.ops.convert_to_numpy(net.optimizer.learning_rate)))
        seconds = round(time.monotonic() - began, 3)
        ranges = converter_ranges(trained_network(net)) if isinstance(stage, HardwareAware) else {}
        return {"stage": name, "epoch": epoch, **logs, **ranges, "learning_rate": rate, "seconds": seconds}

    def _batches(self, epoch: int) -> Any:
        batches, steps = _quiet(self.data.train_batches(epoch)), self.data.steps_per_epoch
        return batches if steps is None or not hasattr(batches, "take") else batches.take(steps)

    def _steps(self) -> int:
        """Return the number of batches in an epoch."""
        given = self.data.steps_per_epoch
        steps = _length(self.data.train_batches(0)) if given is None else int(given)
        if steps < 1:
            raise InvalidArgumentError(
                "The number of training batches in an epoch must be known and at least 1. Received: "
                f"{'a dataset of unknown, infinite or no length' if given is None else given}. Set `steps_per_epoch`."
            )
        return steps

    def _compile_for_use(self, net: keras.Model, stage: Stage | None = None) -> None:
        """Leave the model ready for `evaluate`; plain SGD has no state that would swell the file.

        Args:
            net: what is compiled.
            stage: gives the loss that is validated while it runs; None: the loss that the network keeps.
        """
        kept = self.recipe.float_stage.loss == "cross_entropy" and stage is None
        net.compile(
            optimizer=keras.optimizers.SGD(),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=self.from_logits)
            if kept
            else make_loss(stage or self.recipe.float_stage, self.from_logits),
            metrics=[(keras.metrics.SparseCategoricalAccuracy if stage is None else LabelAccuracy)(name="accuracy")],
            jit_compile=in_steps(),
        )

    def _save(self, net: keras.Model, name: str) -> None:
        if not self.placement.is_chief:
            return
        write_atomically(self.run.path / name, net.save)


def _ranges(analog: keras.Model) -> list[keras.Variable]:
    layers = analog_layers(analog)
    gains = {id(layer.adc_gain): layer.adc_gain.gain for layer in layers}
    return [*(layer.input_range for layer in layers), *gains.values()]


def _length(dataset: Any) -> int:
    """Return the number of batches of a tf.data dataset or of a PyDataset; below 1 if it is not known."""
    if hasattr(dataset, "cardinality"):
        return int(dataset.cardinality())
    return int(getattr(dataset, "num_batches", None) or 0)


def _quiet(dataset: Any) -> Any:
    """Switch tf.data's autotune off: it makes short epochs wait in steps of up to a second."""
    if not hasattr(dataset, "with_options"):
        return dataset
    options = type(dataset.options())()
    options.autotune.enabled = False
    return dataset.with_options(options)
