"""Keras objects from a file's config: only classes of Keras and of this package, and nothing that runs foreign code."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from analognets.errors import PresetError

__all__ = ["check_config", "from_config", "to_config"]

RUNS_FOREIGN_CODE = {
    "Lambda": "code",
    "__lambda__": "code",
    "__typespec__": "TensorFlow's own types",
    "TFSMLayer": "another file with a TensorFlow graph",
    "TorchModuleWrapper": "a pickled PyTorch module",
    "FlaxLayer": "JAX code",
    "JaxLayer": "JAX code",
}
PLAIN = {"__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__keras_tensor__"}
KINDS = (
    keras.Operation,
    keras.initializers.Initializer,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
    keras.DTypePolicy,
    keras.random.SeedGenerator,
)
READ_AT_BUILD = ("vocabulary", "filepath", "file_path")
OURS = ("analognets.layers", "analognets.devices", "analognets.crossbar", "analognets.datasets.frontends")
DROPPED = ("compile_config", "build_config")
MAX_DEPTH = 100


def _nodes(config: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yield every mapping of a config."""
    if depth > MAX_DEPTH:
        raise PresetError(f"The network's config is nested more than {MAX_DEPTH} deep. It is refused.")
    if isinstance(config, dict):
        yield config
        config = list(config.values())
    if isinstance(config, (list, tuple)):
        for item in config:
            yield from _nodes(item, depth + 1)


def _is_known(node: Mapping[str, Any], custom: Mapping[str, Any]) -> bool:
    """Whether a node names a class that may be made: of this package, of Keras, or one the caller vouches for."""
    name, module, registered = str(node["class_name"]), node.get("module"), node.get("registered_name")
    if name in PLAIN or name in custom or registered in custom:
        return True
    if name == "function":
        function = str(node.get("config"))
        return module in ("builtins", "keras.activations") and hasattr(keras.activations, function)
    if isinstance(registered, str) and registered.startswith("analognets>"):
        return registered in keras.saving.get_custom_objects()
    if registered not in (None, name) or not isinstance(module, str) or module.split(".")[0] != "keras":
        return False
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return False
    return isinstance(found, type) and issubclass(found, KINDS) and found.__module__.split(".")[0] == "keras"


def check_config(config: Any, *, where: str, custom_objects: Mapping[str, Any] | None = None) -> None:
    """Refuse a config that names anything but layers and the like of Keras and of this package.

    Args:
        config: as `keras.saving.serialize_keras_object` gives it, read from JSON.
        where: what to call its file in a message.
        custom_objects: further classes by name, which the caller vouches for.

    Raises:
        PresetError: it names a Lambda layer, a function, or a class of another package.
    """
    for module in OURS:
        importlib.import_module(module)
    for node in _nodes(config):
        for key in READ_AT_BUILD:
            if isinstance(node.get(key), str):
                raise PresetError(f"{where} names another file ({key}: {node[key]!r}), which is refused.")
        if "class_name" not in node:
            continue
        name = str(node["class_name"])
        if name in RUNS_FOREIGN_CODE:
            raise PresetError(
                f"{where} holds {RUNS_FOREIGN_CODE[name]} ('{name}'), which would run on loading, so it is refused. "
                "Replace it by a layer of Keras, such as keras.layers.Rescaling or an operation of keras.ops."
            )
        if not _is_known(node, custom_objects or {}):
            raise PresetError(
                f"{where} names '{node.get('registered_name') or name}' of '{node.get('module')}', which is no layer "
                "of Keras or analognets. If you trust that class and have it, pass custom_objects={name: class}."
            )


def from_config(config: Any, *, where: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Make the object of a config after `check_config`, in Keras' safe mode.

    Raises:
        PresetError: the config is refused or broken.
    """
    check_config(config, where=where, custom_objects=custom_objects)
    try:
        return keras.saving.deserialize_keras_object(
            _without(config, DROPPED), custom_objects=dict(custom_objects or {}), safe_mode=True
        )
    except Exception as error:  # Keras raises many kinds for a config that does not fit
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise PresetError(f"{where} can't be built: {reason}") from error


def to_config(item: Any) -> Any:
    """Return the config of a Keras object without what only training needs."""
    return _without(keras.saving.serialize_keras_object(item), DROPPED)


def _without(config: Any, keys: tuple[str, ...]) -> Any:
    if isinstance(config, dict):
        return {key: _without(value, keys) for key, value in config.items() if key not in keys}
    if isinstance(config, (list, tuple)):
        return [_without(item, keys) for item in config]
    return config
