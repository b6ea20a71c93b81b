"""Recipes: everything that decides what a training run does, as frozen data that is checked before anything starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from analognets.core.checked import Section, is_none
from analognets.errors import RecipeError
from analognets.training.recipe_base import BaseRecipe, split_override
from analognets.training.recipe_parts import (
    Count,
    Duration,
    Durations,
    FrontEnd,
    Hardware,
    Named,
    OnDevice,
    Options,
    Positive,
    Seed,
    Share,
    Sigma,
    Strategy,
)
from analognets.units import DRIFT_TIMES, MOST

__all__ = [
    "Calibration",
    "Distillation",
    "Evaluation",
    "FloatStage",
    "FrontEnd",
    "Hardware",
    "HardwareAware",
    "Named",
    "OnDevice",
    "Recipe",
    "Stage",
    "load_recipe",
    "split_override",
]


class Distillation(Section):
    """How a stage also learns from teachers: the recipe's, or in stage 2 without one the network of stage 1.

    Args:
        temperature: T that softens the outputs of both, 1 to 100.
        soft_share: share of the teachers in the loss, 0 to 1; the labels have the rest.

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), T = 10 and 75 % (verified).
    """

    temperature: Annotated[float, Field(ge=1, le=100)] = 10.0
    soft_share: Share = 0.75


class Stage(Section):
    """What both stages of a training have.

    Args:
        epochs: passes over the training data; 0 leaves the stage's training out.
        optimizer: "adam", "adamw" or "sgd".
        learning_rate: its highest value, above 0.
        schedule: "cosine" falls to `final_learning_rate_share` of it, "constant" stays.
        warmup_epochs: over these it grows linearly from 0; at most all epochs.
        final_learning_rate_share: 0 to 1, for "cosine".
        weight_decay: decoupled decay a step and unit of learning rate, on kernels only; 0 is none.
        clip_norm: largest global norm of the gradient, or null.
        label_smoothing: 0 to 1.
        select: "last" keeps the last epoch, "best" the one with the best validation accuracy.
        momentum: of "sgd" (Nesterov's), 0 to 1; beta_1 of the others where it is given.
        loss: "cross_entropy" of logits, or "half_squares": half the summed squares of output minus one-hot label.
        distillation: how much is learned from the outputs of a teacher; null is nothing.
        precision: "float32", or "mixed_bfloat16" to compute the steps in bfloat16, which is faster on processors that
            multiply it; "auto" is "mixed_bfloat16" on those and "float32" elsewhere. The network stays float32.
        jit_compile: whether XLA compiles the steps: a slow start and then faster steps, above all on GPUs; other
            random numbers.
    """

    epochs: Count = 30
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: Annotated[float, Field(gt=0, le=100)] = 1e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: Annotated[float, Field(ge=0, le=100_000)] = 1.0
    final_learning_rate_share: Share = 0.01
    weight_decay: Share = 0.0
    clip_norm: Annotated[float, Field(gt=0, le=1e6)] | None = None
    label_smoothing: Share = 0.0
    select: Literal["last", "best"] = "last"
    # Left out of a recipe's plain data where they are not used, so that older recipes keep their fingerprints.
    momentum: Annotated[float | None, Field(ge=0, lt=1, exclude_if=is_none)] = None
    loss: Annotated[Literal["cross_entropy", "half_squares"], Field(exclude_if="cross_entropy".__eq__)] = (
        "cross_entropy"
    )
    distillation: Annotated[Distillation | None, Field(exclude_if=is_none)] = None
    precision: Annotated[Literal["float32", "mixed_bfloat16", "auto"], Field(exclude_if="float32".__eq__)] = "float32"
    jit_compile: Annotated[bool, Field(exclude_if=(False).__eq__)] = False


class FloatStage(Stage):
    """Stage 1: plain training with clipped weights.

    Args:
        weight_clip_sigma: kernels are clipped to +- this many of their standard deviations after each step, or null.
        epochs, optimizer, learning_rate, ...: as in `Stage`.

    Source: AnalogNets (arXiv 2111.06503), stage 1 (from memory).
    """

    weight_clip_sigma: Sigma | None = 2.0


class Calibration(Section):
    """How the converter ranges are first set.

    Args:
        batches: of calibration data.
        percentile: share of a layer's inputs in percent that the DAC does not clip, 50 to 100.
        rule: "percentile", "abs_max" or "least_error", as in `analognets.layers.calibrate`.
    """

    batches: Positive = 10
    percentile: Annotated[float, Field(ge=50, le=100)] = 99.995
    rule: Annotated[Literal["percentile", "abs_max", "least_error"], Field(exclude_if="percentile".__eq__)] = (
        "percentile"
    )


class HardwareAware(Stage):
    """Stage 2: fine-tuning with converters and weight noise.

    Args:
        hardware: the analog chip.
        weight_noise: eta, standard deviation of the noise as a share of W_max, or factor of the devices' own noise; 0
            is none.
        noise_ramp_epochs: over these the noise grows by equal steps; 0 is full noise from the start.
        weight_range_sigma: W_max is frozen at this many standard deviations of the kernel; null is its largest weight.
        range_learning_rate_scale: learning rate of converter ranges and ADC gain relative to the weights'; 0 keeps
            them as calibrated.
        calibration: how the converter ranges are first set.
        steady_after: epochs after which batch-norms keep their statistics, as on a chip; null: they never do.
        noisy_validation: validate on this many noisy copies too; `select: best` then goes by their mean. They are
            computed op by op, which takes several times as long as validation.
        exempt: names of layers that stay digital.
        noise_model: "gaussian"; "device" for the programming and read noise of the hardware's devices; "drift" for
            devices read at a time drawn for each step, with the hardware's drift compensation.
        drift_until: latest time of "drift" since programming, such as "1y".
        range_gradient: what converter ranges learn from: "saturated" values, or the rounding too ("step").
        drop_connect: share of the weights that are 0 in a training step, 0 to 0.9.
        remap_every: W_max is set anew after so many epochs each, so that weights that shrank use the whole range of the
            devices again; 0: never. (Rasch et al. remap every 500 to 10,000 batches.)
        epochs, optimizer, learning_rate, ...: as in `Stage`.

    Source: AnalogNets (arXiv 2111.06503), stage 2 (from memory); noisy validation: Buechel et al., ICLR 2022.
    """

    learning_rate: Annotated[float, Field(gt=0, le=100)] = 3e-4
    hardware: Hardware = Hardware()
    weight_noise: Annotated[float, Field(ge=0, le=10)] = 0.056
    noise_ramp_epochs: Count = 0
    weight_range_sigma: Sigma | None = 2.0
    range_learning_rate_scale: Annotated[float, Field(ge=0, le=100)] = 1.0
    calibration: Calibration = Calibration()
    noisy_validation: Annotated[int, Field(ge=0, le=100)] = 0
    exempt: Annotated[list[str], Field(description="a list of layer names")] = []
    # Left out of a recipe's plain data where they are not used, so that older recipes keep their fingerprints.
    noise_model: Annotated[Literal["gaussian", "device", "drift"], Field(exclude_if="gaussian".__eq__)] = "gaussian"
    drift_until: Annotated[Duration, Field(exclude_if="1y".__eq__)] = "1y"
    steady_after: Annotated[Count | None, Field(exclude_if=is_none)] = None
    range_gradient: Annotated[Literal["saturated", "step"], Field(exclude_if="saturated".__eq__)] = "saturated"
    drop_connect: Annotated[float, Field(ge=0, le=0.9, exclude_if=(0.0).__eq__)] = 0.0
    remap_every: Annotated[Count, Field(exclude_if=(0).__eq__)] = 0

    def noise(self) -> dict[str, Any]:
        """Return what `to_analog` takes of the noise in training."""
        names = ("weight_noise", "noise_model", "drop_connect", "drift_until", "range_gradient")
        return {name: getattr(self, name) for name in names}


class Evaluation(Section):
    """What `analognets evaluate` does with the trained model unless told otherwise.

    Args:
        chips: how many are programmed.
        times: since programming, such as "25s" or "1y".
        seed: of the first chip.
        drift_compensation: true, false or "both".
    """

    chips: Positive = 25
    times: Annotated[
        Durations,
        Field(min_length=1, max_length=MOST, description="a list of up to 1000 durations such as '25s', '1h' or '1y'"),
    ] = list(DRIFT_TIMES)
    seed: Seed = 0
    drift_compensation: bool | Literal["both"] = True


class Recipe(BaseRecipe):
    """A whole training: model, data and the two stages.

    Args:
        name: letters, digits, ".", "_" and "-".
        description: one sentence for people.
        seed: of everything random in the run.
        model: name and options of the network.
        dataset: name and options of the data set.
        frontend: preset and options of the feature extraction.
        batch_size: of both stages.
        sampling: how clips are drawn for an epoch: options of the data set's `train_batches` (balance, steps, ...).
        augmentation: options of the data set's augmentation.
        float_stage: stage 1; its key in YAML is `float`.
        hardware_aware: stage 2, or null for plain training only.
        evaluation: defaults of the evaluation.
        on_device: learning on memory devices; null where there is none.
        teacher: preset or run folder of the network that stages with `distillation` learn from, or a list of them,
            whose mean teaches; null is none.
        strategy: "mirrored" trains on all GPUs of a machine, "mirrored:N" on N of them, or on N logical devices of the
            CPU; "multi_worker" on the machines of TF_CONFIG; null on one device.

    Raises:
        RecipeError: from the constructors `from_dict`, `from_yaml` and `load_recipe`.

    Examples:
        >>> recipe = Recipe.from_dict({"name": "mine", "model": "analognet_kws", "dataset": "speech_commands"})
        >>> recipe.batch_size, recipe.float_stage.epochs
        (100, 30)
        >>> recipe.replace({"float.epochs": 3, "seed": 7}).float_stage.epochs
        3
    """

    model: Named
    dataset: Named
    frontend: FrontEnd = FrontEnd()
    batch_size: Positive = 100
    sampling: Options = {}
    augmentation: Options = {}
    float_stage: Annotated[FloatStage, Field(alias="float")] = FloatStage()
    hardware_aware: HardwareAware | None = HardwareAware()
    evaluation: Evaluation = Evaluation()
    on_device: Annotated[OnDevice | None, Field(exclude_if=is_none)] = None
    teacher: Annotated[str | Annotated[list[str], Field(min_length=1)] | None, Field(exclude_if=is_none)] = None
    strategy: Annotated[Strategy, Field(exclude_if=is_none)] = None

    @property
    def learns_on_devices(self) -> bool:
        """Whether the training is one on devices."""
        return self.on_device is not None and self.on_device.enabled

    @classmethod
    def from_dict(cls, data: Any, *, source: str = "The recipe") -> Self:
        """Check plain data and return the recipe.

        Raises:
            RecipeError: a key is unknown or missing, or a value is not allowed; one sentence each.
        """
        recipe = super().from_dict(data, source=source)
        if recipe.learns_on_devices and (recipe.hardware_aware or recipe.float_stage.weight_clip_sigma):
            raise RecipeError(
                f"{source} is not valid: with `on_device.enabled: true`, `hardware_aware` and "
                "`float.weight_clip_sigma` must be null, because devices move by pulses only. "
                f"Received: weight_clip_sigma={recipe.float_stage.weight_clip_sigma}, hardware_aware "
                f"{'given' if recipe.hardware_aware else 'null'}."
            )
        return recipe


def load_recipe(source: Any, overrides: Iterable[str] | Mapping[str, Any] = ()) -> Recipe:
    """Read a recipe; see `BaseRecipe.load`.

    Examples:
        >>> from importlib import resources
        >>> file = resources.files("analognets.zoo") / "recipes" / "kws.yaml"
        >>> load_recipe(file, ["hardware_aware.weight_noise=0.1"]).hardware_aware.weight_noise
        0.1
    """
    return Recipe.load(source, overrides)
