"""The weights of a legacy `.h5` file: each checked by name and shape before it is taken for that of a layer."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np

from analognets.errors import DataError

__all__ = ["Stored", "check_finite", "place_weights", "stored_weights"]

NOT_WEIGHTS = ("StateVar", "seed_generator_state")
TOP = "top_level_model_weights"
SAME = {
    "adapt_mean": "mean",
    "adapt_variance": "variance",
    "kernel": "depthwise_kernel",
    "vector_u": "sn_u",
}
"""What Keras 2 called a variable, by its name in Keras 3."""


class Stored(NamedTuple):
    """One array of a file.

    Args:
        name: as the file names the variable.
        values: the array, read when it is needed.
    """

    name: str
    values: Any


def text(value: Any) -> str:
    """Return a name in a file as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def listed(group: Any, name: str) -> list[str]:
    """Return the names in an attribute, which Keras splits into several where it is long."""
    if name in group.attrs:
        return [text(one) for one in group.attrs[name]]
    parts = itertools.takewhile(group.attrs.__contains__, (f"{name}{index}" for index in itertools.count()))
    return [text(one) for part in parts for one in group.attrs[part]]


def inside(group: Any, name: str) -> Any:
    """Return what a group holds at a name; links into other files are not followed."""
    at = group
    for part in name.split("/"):
        if not part:
            continue
        link = at.get(part, getlink=True)
        if link is None or isinstance(link, h5py.ExternalLink):
            raise DataError(f"The file has no weights at '{name}', where its list of weights says there are some.")
        at = at[part]
    if isinstance(at, h5py.Dataset) and (at.external or at.is_virtual):
        raise DataError(f"The weights at '{name}' lie in another file, which is not read.")
    return at


def stored_weights(file: Any) -> dict[str, list[Stored]]:
    """Return the arrays of an open `.h5` file by the name of their layer, in the file's order, unread."""
    group = file["model_weights"] if "model_weights" in file else file
    found = {}
    for name in [*listed(group, "layer_names"), *([TOP] if TOP in group else [])]:
        layer = inside(group, name)
        names = listed(layer, "weight_names")
        found[name] = [Stored(one, inside(layer, one)) for one in names if base(one) not in NOT_WEIGHTS]
    return {name: weights for name, weights in found.items() if weights}


def base(name: str) -> str:
    """Return the last part of a variable's name, without what TensorFlow adds to it."""
    last = name.rstrip("/").rpartition("/")[2].partition(":")[0]
    return re.sub(r"_\d+$", "", last)


def place_weights(
    path: Any, model: keras.Model, config: Mapping[str, Any], stored: Mapping[str, list[Stored]], old: Mapping[str, str]
) -> None:
    """Assign a file's weights to a model.

    Args:
        path: the file, for messages.
        model: the model, made from the config.
        config: the entry of the model, as it was built.
        stored: the file's arrays by layer.
        old: the names in the file of layers that are called otherwise in the model, by their name there.

    Raises:
        DataError: the file holds other weights than the model has.
    """
    own = {id(variable) for layer in model.layers for variable in layer.variables}
    layers: dict[str, list[Any]] = {
        old.get(layer.name, layer.name): orders(layer, entry) for layer, entry in entries(model, config)
    }
    rest = [v for v in [*model._trainable_variables, *model._non_trainable_variables] if id(v) not in own]
    layers[TOP] = [[(model, variable) for variable in rest]]
    missing = [name for name, order in layers.items() if order[0] and name not in stored]
    surplus = [name for name in stored if name not in layers or not layers[name][0]]
    if missing or surplus:
        said = f"no weights for {', '.join(missing[:3])}" if missing else f"weights for {', '.join(surplus[:3])} too"
        raise DataError(f"The weights in '{path}' are not those of its model. Received: {said}.")
    for name, arrays in stored.items():
        why = ""
        for order in layers[name]:
            why = mismatch(arrays, order, old)
            if not why:
                for array, (_, variable) in zip(arrays, order, strict=True):
                    variable.assign(np.asarray(array.values[()]))
                break
        if why:
            raise DataError(f"The weights of layer '{name}' in '{path}' are not those of its model. Received: {why}.")
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization) and layer.built:
            layer.finalize_state()


def entries(model: keras.Model, config: Mapping[str, Any]) -> Iterator[tuple[keras.layers.Layer, Any]]:
    """Yield the layers of a model in the order of its config, with their entries; others after them."""
    held = config.get("config")
    known = {layer.name: layer for layer in model.layers}
    for entry in held.get("layers") or [] if isinstance(held, dict) else []:
        said = entry.get("config")
        name = entry.get("name") or (said.get("name") if isinstance(said, dict) else None)
        if name in known:
            yield known.pop(name), entry
    for layer in known.values():
        yield layer, {}


def orders(layer: keras.layers.Layer, entry: Mapping[str, Any]) -> list[list[Any]]:
    """Return the orders in which a layer's variables may lie in a file, each with the layer that holds it."""
    trainable, fixed = as_keras_2(layer, entry)
    found = [[*trainable, *fixed]]
    holder = {id(variable): one for one in layer._flatten_layers() for variable in own_variables(one)}
    keras_3 = [(holder.get(id(v), layer), v) for v in [*layer.trainable_variables, *layer.non_trainable_variables]]
    return [*found, [pair for pair in keras_3 if base(pair[1].path) not in NOT_WEIGHTS]]


def own_variables(layer: Any) -> list[Any]:
    """Return a layer's own variables."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def as_keras_2(layer: Any, entry: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Return the trainable and the other variables of a layer in the order of Keras 2.

    Source: `trainable_weights` and `non_trainable_weights` of tf_keras 2.21, whose sum its `.h5` files hold.
    """
    own = [(layer, variable) for variable in layer._trainable_variables]
    fixed = [(layer, v) for v in layer._non_trainable_variables if base(v.path) not in NOT_WEIGHTS]
    children = [as_keras_2(one, said) for one, said in inner(layer, entry)]
    if layer.trainable:
        return (
            [*own, *(pair for child, _ in children for pair in child)],
            [*fixed, *(pair for _, child in children for pair in child)],
        )
    return [], [*own, *fixed, *(pair for child in children for part in child for pair in part)]


def inner(layer: Any, entry: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Return the layers that a layer holds, with their entries."""
    if isinstance(layer, keras.Model) and entry:
        return list(entries(layer, entry))
    return [(one, {}) for one in layer._layers]


def mismatch(arrays: list[Stored], order: list[Any], old: Mapping[str, str]) -> str:
    """Return in what a file's arrays differ from variables in this order, or nothing."""
    if len(arrays) != len(order):
        return f"{len(arrays)} arrays for {len(order)} variables"
    owners = {old.get(layer.name, layer.name) for layer, _ in order}
    for array, (layer, variable) in zip(arrays, order, strict=True):
        shape, wanted = tuple(array.values.shape), tuple(variable.shape)
        if shape != wanted:
            return f"'{array.name}' of shape {shape} for '{variable.path}' of shape {wanted}"
        named, ours = base(array.name), base(variable.path)
        owner = array.name.rpartition("/")[0].rpartition("/")[2]
        elsewhere = owner in owners and owner != old.get(layer.name, layer.name)
        if elsewhere or named not in (ours, SAME.get(ours)):
            return f"'{array.name}' for '{variable.path}'"
    return ""


def check_finite(path: Any, model: keras.Model) -> None:
    """Raise a DataError that names the variables of a model that hold NaN or infinity."""
    bad = [
        variable.path
        for variable in model.variables
        if keras.backend.is_float_dtype(variable.dtype) and not np.isfinite(keras.ops.convert_to_numpy(variable)).all()
    ]
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise DataError(
            f"Weights of the model in '{path}' are NaN or infinite: {', '.join(bad[:3])}{more}. The file is damaged, "
            "or its training has diverged: take another one. To look into it all the same, "
            "load_model(..., allow_nonfinite=True)."
        )
