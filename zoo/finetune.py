"""Fine-tuning: a trained network with a new head, and the recipe that trains it on other classes."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from analognets import crossbar
from analognets.core.provenance import sha256_of
from analognets.errors import PresetError, RecipeError, check_integer
from analognets.training.recipe import HardwareAware, Recipe, Stage
from analognets.training.run import Run
from analognets.zoo.tasks import find_recipe
from analognets.zoo.trained import TrainedNetwork, TrainedRun, open_trained

__all__ = ["check_same_weights", "finetune_recipe", "finetuned", "replace_head", "weights_sha256"]

FALLBACK = {"audio": "kws", "image": "vww"}
"""Recipe whose training a preset without a recipe of its own is fine-tuned with."""

MADE_CLASSES = ("silence", "unknown")
FLOAT_STEPS, HARDWARE_STEPS = 240, 120
RATES, FROZEN_RATES = (1e-3, 5e-4), (2e-2, 5e-3)
"""Learning rates of both stages; a head alone bears more, and needs it."""

MOST_IN_A_BATCH = 50


def finetuned(
    input_shape: Sequence[int],
    *,
    classes: int,
    preset: str,
    weights_sha256: str | None = None,
    freeze: bool = False,
) -> keras.Model:
    """Build the digital network of a preset with a fresh head for other classes; all other weights are the preset's.

    This is the model `finetuned` of recipes. The head's weights depend on Keras's seed alone.

    Args:
        input_shape: of the features of one sample.
        classes: number of classes of the new head, at least 2.
        preset: handle of a preset, or folder of a finished run.
        weights_sha256: what `weights_sha256` gave for the preset's network; None takes whatever is there.
        freeze: train the head only; batch-norms then keep their statistics, too.

    Returns:
        A functional Keras model with logits as output.

    Raises:
        PresetError: the preset has other weights than the recipe was made for, takes features of another shape, or
            does not end in one Dense layer.
        UnknownNameError: no bundled preset has that name.
        RunError: the run is not finished.

    Examples:
        >>> net = finetuned((49, 10, 1), classes=4, preset="analognet_kws.hwa_8bit")
        >>> net.output_shape
        (None, 4)
    """
    initializer = keras.initializers.GlorotUniform()  # takes its seed now, so that loading the preset can't change it
    source = open_trained(preset, unfinished=True)
    network = source.digital_model()
    found = _sha256(network)
    if weights_sha256 is not None and found != weights_sha256:
        raise PresetError(
            f"The weights of '{preset}' are not those this recipe was made for: its preset was replaced or trained "
            "again. Restore it, or start anew with `analognets finetune` in a new folder. Received: sha256 "
            f"{found[:12]}... instead of {weights_sha256[:12]}...."
        )
    wanted = [tuple(tensor.shape[1:]) for tensor in network.inputs]
    if wanted != [tuple(input_shape)]:
        raise PresetError(
            f"'{source.name}' takes features of shape {', '.join(map(str, wanted))}, the front end gives "
            f"{tuple(input_shape)}. Use the preset's own front end, and samples of the same length or size."
        )
    return replace_head(network, classes, freeze=freeze, kernel_initializer=initializer)


def replace_head(
    model: keras.Model, classes: int, *, freeze: bool = False, kernel_initializer: Any = "glorot_uniform"
) -> keras.Model:
    """Return a network with a new last Dense layer, which gives logits; the other layers are shared with `model`.

    Args:
        model: functional or Sequential, built, with one output that comes from a Dense layer.
        classes: units of the new layer, at least 2.
        freeze: set the shared layers to trainable=False.
        kernel_initializer: of the new layer; its bias starts at 0.

    Raises:
        PresetError: the model is subclassed, has several outputs, or ends in another layer.
    """
    check_integer("finetuned", "classes", classes, 2, 1 << 20)
    head = _head(model)
    for layer in model.layers:
        if freeze and layer is not head:
            layer.trainable = False
    # Probabilities become logits, which is what the recipes train.
    new = keras.layers.Dense(
        classes, use_bias=head.use_bias, kernel_initializer=kernel_initializer, dtype=head.dtype_policy, name=head.name
    )
    inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs
    return keras.Model(inputs, new(head.input), name=model.name)


def _head(model: keras.Model) -> keras.layers.Dense:
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) != 1:
        what = "a subclassed model" if not outputs else f"{len(outputs)} outputs"
        raise PresetError(
            f"A new head needs a functional or Sequential network with one output. Received: '{model.name}', {what}."
        )
    last = next((layer for layer in reversed(model.layers) if _gives(layer, outputs[0])), None)
    if not isinstance(last, keras.layers.Dense):
        raise PresetError(
            "Fine-tuning replaces the last layer, which must be Dense. Received: "
            f"'{model.name}', whose output comes from {f'{last.name!r} ({type(last).__name__})' if last else 'nested'} "
            "layers. Build a model that ends in Dense, and save that with save_to_preset."
        )
    return last


def _gives(layer: keras.layers.Layer, output: Any) -> bool:
    try:
        return layer.output is output
    except (AttributeError, ValueError):  # an input, or a layer that stands at several places
        return False


def weights_sha256(preset: str | Path) -> str:
    """Return the sha256 of all weights of a preset's digital network, whatever file they stand in.

    Raises:
        UnknownNameError: no bundled preset has that name.
        PresetError: the preset is damaged or unsafe.
        RunError: the run is not finished.
    """
    return _sha256(open_trained(preset, unfinished=True).digital_model())


def _sha256(model: keras.Model) -> str:
    parts: list[Any] = []
    for variable in model.weights:
        value = np.ascontiguousarray(keras.ops.convert_to_numpy(variable.value))
        little = value.dtype.newbyteorder("<")
        parts += [f"{little.str}{value.shape}", value.astype(little)]
    return sha256_of(*parts)


def finetune_recipe(
    preset: str | Path,
    *,
    classes: Sequence[str],
    samples: int,
    dataset: Mapping[str, Any],
    epochs: int | None = None,
    hardware_aware_epochs: int | None = None,
    freeze: bool = False,
    hardware: str | None = None,
    seed: int = 0,
    suffix: str = "finetuned",
    overrides: Iterable[str] = (),
) -> Recipe:
    """Return the recipe that fine-tunes a preset: its own, with a new head, on other data, and shorter.

    Front end, augmentation and hardware stay those of the preset. Both stages train all layers; the learning rate rises
    over the first epoch. Without `epochs` a stage gets enough of them for 240 (float) or 120 (hardware-aware) steps.

    Args:
        preset: handle of a preset, or folder of a finished run.
        classes: names of all classes of the data, "silence" and "unknown" included.
        samples: about how many there are to train on, at least 1.
        dataset: name and options of the data set, as in a recipe.
        epochs: of stage 1.
        hardware_aware_epochs: of stage 2.
        freeze: train the head only.
        hardware: name of a hardware preset; None: that of the preset, or "aon_cim_8bit".
        seed: of everything random.
        suffix: of the recipe's name, behind the preset's.
        overrides: as in `Recipe.replace`, applied last; `model` and `frontend` belong to the preset.

    Raises:
        PresetError: the preset can't be fine-tuned: no front end, or no Dense head.
        RecipeError: an override is not allowed.
        UnknownNameError: there is no such preset or hardware.

    Examples:
        >>> recipe = finetune_recipe(
        ...     "analognet_kws.hwa_8bit", classes=["coffee", "radio"], samples=100, dataset={"name": "audio_folder"}
        ... )
        >>> recipe.model.name, recipe.float_stage.epochs
        ('finetuned', 30)
    """
    overrides = list(overrides)
    for override in overrides:
        if re.match(r"\s*(frontend|model)\b", override):
            raise RecipeError(
                "Network and front end are the preset's: its weights are of no use with others. To change them, train "
                f"anew with `analognets train`. Received: {override!r}."
            )
    check_integer("finetune_recipe", "samples", samples, 1, 1 << 40)
    if hardware is not None:
        crossbar.get(hardware)
    source = open_trained(preset, unfinished=True)
    network = source.digital_model()
    _head(network)
    _check_kind(source, str(dataset.get("name")))
    name = source.recipe.name if isinstance(source, TrainedRun) else source.name
    base, changes = _start(source)
    batch = min(base.batch_size, MOST_IN_A_BATCH, max(4, samples // 8))
    steps = max(1, samples // batch)
    aware = base.hardware_aware or HardwareAware(label_smoothing=base.float_stage.label_smoothing)
    aware_epochs = _epochs(HARDWARE_STEPS, steps) if hardware_aware_epochs is None else hardware_aware_epochs
    float_epochs = _epochs(FLOAT_STEPS, steps) if epochs is None else epochs
    rates = FROZEN_RATES if freeze else RATES
    changes |= {
        "name": re.sub(r"[^A-Za-z0-9._-]+", "-", f"{name}-{suffix}").lstrip("._-"),
        "description": f"Fine-tuning of {name} for {', '.join(classes)}",
        "seed": seed,
        "model": {"name": "finetuned", "options": _options(source, network, freeze)},
        "dataset": _dataset(network, dataset),
        "batch_size": batch,
        "sampling": _sampling(base, classes),
        "augmentation": _augmentation(base, classes),
        **_stage("float", base.float_stage, float_epochs, rates[0]),
        **_stage("hardware_aware", aware, aware_epochs, rates[1]),
    }
    if hardware is not None:
        changes["hardware_aware.hardware"] = hardware
    if freeze:
        changes["hardware_aware.weight_range_sigma"] = None  # clipping anew would change the layers that stay
    return base.replace(changes).replace(overrides)


def _check_kind(source: TrainedNetwork, dataset: str) -> None:
    from analognets.datasets.frontends import frontend_kind
    from analognets.datasets.registry import dataset_kind

    if source.frontend is None:
        raise PresetError(
            f"The {source.kind} '{source.name}' has no front end, so nothing says how its features are made. Save "
            "it again with save_to_preset(..., frontend=...)."
        )
    takes, holds = frontend_kind(source.frontend), dataset_kind(dataset)
    if holds not in (takes, None):
        what = {"audio": "recordings", "image": "pictures"}
        raise PresetError(
            f"'{source.name}' takes {what[takes]}, and the data are {what[holds]}. Choose a preset of their kind: "
            "`analognets zoo list` shows them."
        )


def _dataset(network: keras.Model, dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Let pictures be read in the size that the network takes, so that they are resized once."""
    found = {"name": dataset["name"], "options": dict(dataset.get("options", {}))}
    if found["name"] == "image_folder":
        found["options"].setdefault("size", list(network.input_shape[1:3]))
    return found


def _stage(key: str, stage: Stage, epochs: int, rate: float) -> dict[str, Any]:
    """Return the changes that make a stage of the preset's recipe one of fine-tuning."""
    settings = {**stage.model_dump(mode="json"), "epochs": epochs, "learning_rate": rate}
    return {key: {**settings, "warmup_epochs": float(min(1, epochs))}}


def _start(source: TrainedNetwork) -> tuple[Recipe, dict[str, Any]]:
    """Return the recipe to start from, and what of it is the front end's."""
    if source.recipe is not None:
        return source.recipe, {}
    from analognets.datasets.frontends import frontend_kind

    kind = frontend_kind(source.frontend)
    base = find_recipe(FALLBACK[kind])
    settings = {key: value for key, value in source.frontend.get_config().items() if key not in ("name", "dtype")}
    settings.pop("trainable", None)
    settings = {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}
    return base, {"frontend": {"preset": base.frontend.preset, "options": settings}}


def _options(source: TrainedNetwork, network: keras.Model, freeze: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"preset": source.handle, "weights_sha256": _sha256(network)}
    return {**found, "freeze": True} if freeze else found


def _sampling(base: Recipe, classes: Sequence[str]) -> dict[str, Any]:
    """Keep the preset's shares for silence and unknown; all other classes are drawn alike."""
    shares = base.sampling.get("balance")
    kept = {key: share for key, share in shares.items() if key in MADE_CLASSES and key in classes} \
        if isinstance(shares, Mapping) else {}  # fmt: skip
    return {**{key: value for key, value in base.sampling.items() if key == "word_power"}, "balance": kept or "uniform"}


def _augmentation(base: Recipe, classes: Sequence[str]) -> dict[str, Any]:
    if "silence" in classes:
        return dict(base.augmentation)
    return {key: value for key, value in base.augmentation.items() if not key.startswith("silence_")}


def _epochs(wanted: int, steps: int) -> int:
    """Return how many epochs of `steps` come to the wanted number of steps: 2 to 60."""
    return min(60, max(2, math.ceil(wanted / steps)))


def check_same_weights(path: Path, recipe: Recipe) -> None:
    """Refuse to go on with a run that was begun with other weights of the same preset.

    Args:
        path: folder of the run; there may be none.
        recipe: of `finetune_recipe`.

    Raises:
        PresetError: it was begun with others.
        RunError: its files can't be read.
    """
    if not os.path.isfile(path / "run.json"):
        return
    begun = Run.open(path).recipe
    key = "weights_sha256"
    before, now = begun.model.options, recipe.model.options
    if begun.model.name == "finetuned" and before.get("preset") == now["preset"] and before.get(key) != now[key]:
        raise PresetError(
            f"The run '{path}' was begun with other weights of '{now['preset']}': the preset was replaced or trained "
            "again since. Restore it, choose another --out, or replace the run with --overwrite."
        )
