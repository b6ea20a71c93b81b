"""A network as plain data and back: how it is built, and the values of its variables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from analognets.conversion import to_analog
from analognets.conversion.sizes import declared_bytes
from analognets.errors import AnalogNetsError, PresetError
from analognets.layers import AnalogLayer
from analognets.training.recipe import Recipe
from analognets.zoo.presets.files import Architecture, PresetRecord
from analognets.zoo.presets.safe_config import check_config, from_config, to_config
from analognets.zoo.tasks import MODELS, build_model

__all__ = ["build", "check_size", "describe", "in_double_precision", "layers_on_chip", "set_variables", "variables_of"]


SPARE = 64 * 2**20
"""Bytes of weights that a network may have whatever its file holds."""


def layers_on_chip(model: keras.Model) -> list[AnalogLayer]:
    """Return the analog layers of a network; none if it is digital."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, AnalogLayer)]


def hardware_by_layer(layers: list[AnalogLayer]) -> str:
    """Return the hardware of each analog layer in words; nothing if all lie on the same."""
    if len({layer.crossbar for layer in layers}) < 2:
        return ""
    return ", ".join(
        f"{layer.name} {layer.crossbar.name} ({layer.crossbar.adc_bits or 'ideal'} bit)" for layer in layers
    )


def describe(model: keras.Model, recipe: Recipe | None, custom_objects: Mapping[str, Any] | None) -> Architecture:
    """Return how a network is built again: by its recipe, or from its Keras config.

    Args:
        model: functional or Sequential, built.
        recipe: the recipe that names it; None for any other network.
        custom_objects: classes by name that are neither Keras's nor ours.

    Raises:
        PresetError: it is a subclassed model, or holds what a preset may not hold.
    """
    shapes = [tuple(tensor.shape) for tensor in model.inputs] if _has_graph(model) else []
    shape = [*shapes[0][1:]] if len(shapes) == 1 else None
    # What starts from a preset is stored whole, so that it opens where that preset is not; so is mixed hardware.
    alike = len({layer.crossbar for layer in layers_on_chip(model)}) < 2
    if recipe and _stands_alone(recipe) and shape is not None and alike:
        return Architecture(kind="zoo", name=recipe.model.name, input_shape=shape)
    if not _has_graph(model):
        raise PresetError(
            f"'{model.name}' ({type(model).__name__}) is a subclassed model: its computation is Python code, which a "
            "preset never holds. Write it as a functional or Sequential model, or save its weights with save_weights."
        )
    config = json.loads(json.dumps(to_config(model)))
    check_config(config, where=f"Model '{model.name}'", custom_objects=custom_objects)
    return Architecture(kind="keras", name=model.name, input_shape=shape, config=config)


def _stands_alone(recipe: Recipe) -> bool:
    """Whether the recipe's network is built from its options alone, not from another preset's weights."""
    return recipe.model.name in MODELS and "preset" not in recipe.model.options


def _has_graph(model: Any) -> bool:
    """Whether a model is functional or Sequential, and of no class of the user's own."""
    return type(model).__module__.split(".")[0] == "keras" and bool(getattr(model, "inputs", None)) and model.built


def check_size(
    record: PresetRecord,
    recipe: Recipe | None,
    held: int,
    *,
    where: str,
    custom_objects: Mapping[str, Any] | None = None,
) -> None:
    """Raise if the network of a preset takes far more memory than its file has weights; nothing is built.

    Args:
        record: its description.
        recipe: that it came with.
        held: bytes of the weights in its file.
        where: what to call it.
        custom_objects: classes by name that are neither Keras's nor ours.

    Raises:
        PresetError: it does.
    """
    declared = declared_bytes(lambda: _digital(record, recipe, where, custom_objects))
    if declared > SPARE + 4 * held:
        raise PresetError(
            f"{where} describes a network with weights of {declared / 2**20:,.0f} MiB, but holds {held / 2**20:,.1f} "
            "MiB of them: it does not fit its network. It was cut short or changed. Download or save it again."
        )


def build(
    record: PresetRecord, recipe: Recipe | None, *, where: str, custom_objects: Mapping[str, Any] | None = None
) -> keras.Model:
    """Build the network of a preset with fresh weights.

    Raises:
        PresetError: it can't be built by this version, or its description is refused.
    """
    model = _digital(record, recipe, where, custom_objects)
    if record.architecture.kind == "keras" or record.hardware is None:
        return model
    try:
        hardware = from_config(record.hardware, where=where)
        stage = None if recipe is None else recipe.hardware_aware
        noise = {**(stage.noise() if stage else {}), "weight_noise": record.weight_noise}
        model = to_analog(model, hardware, exempt=record.exempt, **noise)
    except PresetError:
        raise
    except AnalogNetsError as error:
        raise PresetError(f"{where} can't be built: {error}") from error
    for layer in layers_on_chip(model):
        layer.calibrated = record.calibrated
    return model


def _digital(
    record: PresetRecord, recipe: Recipe | None, where: str, custom_objects: Mapping[str, Any] | None
) -> keras.Model:
    """Build the network of a preset as its config says, or as the function that its recipe names makes it."""
    plan = record.architecture
    if plan.kind == "keras":
        model = from_config(plan.config, where=where, custom_objects=custom_objects)
        if not (isinstance(model, keras.Model) and model.built):
            raise PresetError(f"{where} describes no network that is built. Received: {type(model).__name__}.")
        return model
    if recipe is None or recipe.model.name != plan.name or None in (plan.input_shape or [None]):
        raise PresetError(f"{where} is built by its recipe.yaml, which is missing or names another network.")
    if not _stands_alone(recipe):
        raise PresetError(f"{where} names a network that other files would be opened for ('{plan.name}'), refused.")
    shape = tuple(int(axis) for axis in plan.input_shape or () if axis is not None)
    try:
        return build_model(recipe, classes=len(record.classes), input_shape=shape)
    except PresetError:
        raise
    except AnalogNetsError as error:
        raise PresetError(f"{where} can't be built: {error}") from error


def variables_of(model: keras.Model, precision: str) -> dict[str, np.ndarray]:
    """Return the values of all variables: floating-point kernels (two axes and more) in `precision`, others as is.

    Args:
        model: built.
        precision: "float16" or "float32". An array stays float32 if float16 can't hold it, or rounds the weights of an
            output by more than 2^-10 of the largest of them, as it does with numbers near 0.
    """
    arrays = {}
    for number, variable in enumerate(model.weights):
        value = np.array(keras.ops.convert_to_numpy(variable.value), order="C")
        if value.dtype.kind not in "iub":
            value = value.astype(np.float32)
            is_kernel = value.ndim > 1 and variable.name != "w_max"
            if is_kernel and precision == "float16" and _fits_float16(value):
                value = value.astype(np.float16)
        arrays[f"{number:04d}/{variable.path}"] = value
    return arrays


def _fits_float16(value: np.ndarray) -> bool:
    """Whether float16 rounds the weights of each output to 2^-10 of the largest of them; 2^-11 is usual.

    Outputs are along the last axis; in depthwise and transposed kernels, which have three axes and more, along the one
    before it.
    """
    size = np.abs(value)
    if not size.size or size.max() > np.finfo(np.float16).max:
        return not size.size
    rounded = np.abs(value - value.astype(np.float16).astype(np.float32))
    outputs = (-1,) if value.ndim == 2 else (-1, -2)
    rest = [tuple(axis for axis in range(value.ndim) if axis != value.ndim + one) for one in outputs]
    return all(bool((rounded.max(axis=axes) <= size.max(axis=axes) * 2.0**-10).all()) for axes in rest)


def set_variables(model: keras.Model, arrays: Mapping[str, np.ndarray], *, where: str) -> None:
    """Give a network the values that `variables_of` returned.

    Raises:
        PresetError: they belong to another network.
    """
    found = [(name.rpartition("/")[2], arrays[name].shape) for name in sorted(arrays)]
    wanted = [(variable.path.rpartition("/")[2], tuple(variable.shape)) for variable in model.weights]
    if found != wanted:
        pairs = zip(found, wanted, strict=False)
        first = next((f", first {one} instead of {other}" for one, other in pairs if one != other), "")
        raise PresetError(
            f"{where} does not fit its network: it holds {len(found)} variables, the network has {len(wanted)}{first}. "
            "It was made by another version, or changed."
        )
    for name, variable in zip(sorted(arrays), model.weights, strict=True):
        variable.assign(arrays[name].astype(variable.dtype))
    for layer in layers_on_chip(model):
        limit = np.array(keras.ops.convert_to_numpy(layer.w_max.value))
        if limit.all():  # float16 may have rounded a weight to just outside of the range
            layer.freeze_weight_range(limit)


def in_double_precision(model: keras.Model) -> keras.Model:
    """Return a copy that computes in float64, where converters round the same way on every machine."""

    def double(config: Any) -> Any:
        if isinstance(config, dict):
            if config.get("class_name") == "DTypePolicy":
                return {**config, "config": {"name": "float64"}}
            return {key: "float64" if key == "dtype" and value == "float32" else double(value)
                    for key, value in config.items()}  # fmt: skip
        return [double(item) for item in config] if isinstance(config, (list, tuple)) else config

    copy = keras.saving.deserialize_keras_object(double(to_config(model)), safe_mode=True)
    for old, new in zip(model.weights, copy.weights, strict=True):
        new.assign(keras.ops.convert_to_numpy(old.value).astype(new.dtype))
    return copy
