"""Recipes: everything that decides what a training run does, as frozen data that is checked before anything starts."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from analognets.errors import RecipeError
from analognets.training.dialect import parse_yaml, write_yaml
from analognets.training.recipe_errors import explain
from analognets.training.recipe_parts import (
    Count,
    FrontEnd,
    Hardware,
    Named,
    OnDevice,
    Options,
    Positive,
    Section,
    Seed,
    Share,
    Sigma,
    is_none,
)
from analognets.units import DRIFT_TIMES, parse_duration

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
    "Section",
    "Stage",
    "load_recipe",
    "split_override",
]


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
    """

    batches: Positive = 10
    percentile: Annotated[float, Field(ge=50, le=100)] = 99.995


class Distillation(Section):
    """How stage 2 also learns from the network of stage 1.

    Args:
        temperature: T that softens the outputs of both, 1 to 100.
        soft_share: share of the teacher in the loss, 0 to 1; the labels have the rest.

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), T = 10 and 75 % (verified).
    """

    temperature: Annotated[float, Field(ge=1, le=100)] = 10.0
    soft_share: Share = 0.75


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
        noisy_validation: validate on this many noisy copies too; `select: best` then goes by their mean.
        exempt: names of layers that stay digital.
        noise_model: "gaussian", or "device" for the programming and read noise of the hardware's devices.
        drop_connect: share of the weights that are 0 in a training step, 0 to 0.9.
        distillation: how much is learned from the outputs of stage 1's network; null is nothing.
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
    noise_model: Annotated[Literal["gaussian", "device"], Field(exclude_if="gaussian".__eq__)] = "gaussian"
    drop_connect: Annotated[float, Field(ge=0, le=0.9, exclude_if=(0.0).__eq__)] = 0.0
    distillation: Annotated[Distillation | None, Field(exclude_if=is_none)] = None


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
        list[str | float], Field(min_length=1, description="a list of durations such as '25s', '1h' or '1y'")
    ] = list(DRIFT_TIMES)
    seed: Seed = 0
    drift_compensation: bool | Literal["both"] = True

    @pydantic.field_validator("times")
    @classmethod
    def _are_durations(cls, value: list[str | float]) -> list[str | float]:
        for duration in value:
            parse_duration(duration)
        return value


class Recipe(Section):
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

    Raises:
        RecipeError: from the constructors `from_dict`, `from_yaml` and `load_recipe`.
    """

    name: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="letters, digits, '.', '_' and '-' only")
    ]
    description: str = ""
    seed: Seed = 0
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

    @property
    def learns_on_devices(self) -> bool:
        """Whether the training is one on devices."""
        return self.on_device is not None and self.on_device.enabled

    @classmethod
    def from_dict(cls, data: Any, *, source: str = "The recipe") -> Recipe:
        """Check plain data and return the recipe.

        Raises:
            RecipeError: a key is unknown or missing, or a value is not allowed; one sentence each.
        """
        try:
            recipe = cls.model_validate(data)
            recipe.fingerprint()
        except pydantic.ValidationError as error:
            raise RecipeError(explain(error, cls, source)) from error
        except (ValueError, RecursionError) as error:
            raise RecipeError(f"{source} holds a number that is not finite, or refers to itself: {error}.") from error
        if recipe.learns_on_devices and (recipe.hardware_aware or recipe.float_stage.weight_clip_sigma):
            raise RecipeError(
                f"{source} is not valid: with `on_device.enabled: true`, `hardware_aware` and "
                "`float.weight_clip_sigma` must be null, because devices move by pulses only. "
                f"Received: weight_clip_sigma={recipe.float_stage.weight_clip_sigma}, hardware_aware "
                f"{'given' if recipe.hardware_aware else 'null'}."
            )
        return recipe

    @classmethod
    def from_yaml(cls, text: str, *, source: str = "The recipe") -> Recipe:
        """Read YAML 1.2 text and return the recipe.

        Raises:
            RecipeError: the text is not YAML, a key is unknown, or a value is not allowed.
        """
        return cls.from_dict(parse_yaml(text, source=source), source=source)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain data, every default written out."""
        return self.model_dump(mode="json", by_alias=True)

    def to_yaml(self) -> str:
        """Return the recipe as YAML, every default written out; `from_yaml` reads it back equal."""
        return write_yaml(self.to_dict())

    def fingerprint(self) -> str:
        """Return the sha256 of the resolved recipe: equal recipes, equal fingerprints."""
        text = json.dumps(self.to_dict(), sort_keys=True, allow_nan=False, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def replace(self, overrides: Iterable[str] | Mapping[str, Any]) -> Recipe:
        """Return a copy with some values changed.

        Args:
            overrides: texts such as "hardware_aware.epochs=2", values in YAML, or a mapping of dotted keys to values.

        Raises:
            RecipeError: an override has no "=", its key is unknown, or its value is not allowed.

        Example:
            >>> recipe = recipe.replace(["hardware_aware.hardware.adc_gain=per_layer", "seed=3"])
        """
        data = copy.deepcopy(self.to_dict())
        pairs = overrides.items() if isinstance(overrides, Mapping) else map(split_override, overrides)
        for key, value in pairs:
            _assign(data, key, copy.deepcopy(value))
        return Recipe.from_dict(data, source=f"The recipe '{self.name}' with its overrides")


def split_override(text: str) -> tuple[str, Any]:
    """Return the dotted key and the value, read as YAML, of a text such as "hardware_aware.epochs=2".

    Raises:
        RecipeError: it has no "=" or no key, or its value is not YAML.
    """
    key, equals, value = text.partition("=")
    if not (equals and key.strip()):
        raise RecipeError(
            f"An override is a dotted key, '=' and a value, such as hardware_aware.epochs=2. Received: {text!r}."
        )
    return key.strip(), parse_yaml(value, source=f"The value of the override {text!r}")


def _assign(data: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for depth, name in enumerate(parents, start=1):
        if data.get(name) is None:
            data[name] = {}
        data = data[name]
        if not isinstance(data, dict):
            raise RecipeError(
                f"`{'.'.join(parents[:depth])}` is one value and holds no keys of its own. Received: an override of "
                f"'{key}'."
            )
    data[last] = value


def load_recipe(source: Any, overrides: Iterable[str] | Mapping[str, Any] = ()) -> Recipe:
    """Read a recipe.

    Args:
        source: path of a YAML file (text or `Path`), a packaged resource, or an open text file.
        overrides: as in `Recipe.replace`, applied in order.

    Raises:
        RecipeError: the file can't be read, or what it holds is not a recipe.
    """
    label = f"The recipe '{getattr(source, 'name', source)}'" if hasattr(source, "read") else f"The recipe '{source}'"
    try:
        if hasattr(source, "read"):
            text = source.read()
        else:
            text = (source if hasattr(source, "read_text") else Path(source)).read_text("utf-8")
    except (OSError, UnicodeDecodeError, TypeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RecipeError(f"{label} can't be read: {reason}. Give the path of a YAML file.") from error
    recipe = Recipe.from_yaml(text, source=label)
    return recipe.replace(overrides) if overrides else recipe
