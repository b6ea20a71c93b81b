"""Loading Keras models that others have saved: never running code from a file, old `.h5` files included."""

from __future__ import annotations

import inspect
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras

from analognets.errors import ConversionError, DataError

__all__ = ["load_model"]

# Arguments that Keras 2 wrote into every config of a layer, and that Keras 3 dropped: they say nothing at this value.
DROPPED: dict[str, Any] = {
    "groups": 1,
    "time_major": False,
    "ragged": False,
    "unit_forget_bias": True,
    "renorm": False,
    "virtual_batch_size": None,
    "fused": None,
    "experimental_autocast": True,
}
CODE = ("Lambda", "__lambda__")
CONTAINERS = ("Functional", "Model", "Sequential", "InputLayer")
CONFIG_IN_ZIP = "config.json"
HINT = "Save it from the Keras it was made with: model.save('model.keras') or, in Keras 2, model.save('model.h5')"


def load_model(path: Path | str, *, custom_objects: Mapping[str, Any] | None = None) -> keras.Model:
    """Load a Keras model from a `.keras` file or a legacy `.h5` file of Keras 2, without running any code from it.

    Keras' safe mode is on. Arguments that Keras 2 wrote and Keras 3 refuses (`groups=1` of a DepthwiseConv2D,
    `time_major=False` of an LSTM) are left out if they say nothing. The file is only read. The model is not compiled:
    optimizer, losses and metrics in the file are passed over.

    Args:
        path: the file.
        custom_objects: classes and functions by the names that the file uses for them.

    Returns:
        The model.

    Raises:
        DataError: the file is missing, broken, holds weights only, or is no Keras model (a SavedModel, a .tflite).
        ConversionError: the file holds Python code (a Lambda layer), or layers of a class that is not known.

    Source: the quirks are those of files that Keras 2.4 and 2.14 wrote.
    """
    path = Path(path)
    custom = dict(custom_objects or {})
    read, write = opened(path)
    config = read(path)
    check_code(path, config)
    check_classes(path, config, custom)
    changed = tidied(config)
    with tempfile.TemporaryDirectory() as folder:
        source = path
        if changed or path.suffix not in (".keras", ".h5", ".hdf5"):
            source = Path(folder) / f"model{'.keras' if write is write_zip else '.h5'}"
            write(path, source, config)
        try:
            model = keras.models.load_model(source, custom_objects=custom, compile=False, safe_mode=True)
        except (TypeError, ValueError, KeyError, OSError, AttributeError, NotImplementedError) as error:
            reason = str(error).strip().splitlines()
            raise DataError(
                f"Keras can't load the model in '{path}'. Received: {reason[-1] if reason else type(error).__name__} "
                f"{HINT}."
            ) from error
    return without_lists_of_one(model)


def without_lists_of_one(model: keras.Model) -> keras.Model:
    """Return a functional model whose one input, and whose one output, is no list, as Keras 2 meant it."""
    if type(model).__name__ != "Functional" or not isinstance(model._inputs_struct, list) or len(model.inputs) != 1:
        return model
    outputs = model.outputs[0] if len(model.outputs) == 1 else model.outputs
    return keras.Model(model.inputs[0], outputs, name=model.name)


def opened(path: Path) -> tuple[Callable[[Path], dict[str, Any]], Callable[[Path, Path, dict[str, Any]], None]]:
    """Return how to read and write the config of a file, by what the file is rather than by its name."""
    if path.is_dir() or path.suffix in (".pb", ".tflite", ".onnx"):
        kind = "a TensorFlow SavedModel" if path.is_dir() and (path / "saved_model.pb").exists() else "no Keras model"
        kind = "a graph" if path.suffix in (".pb", ".tflite", ".onnx") else kind
        raise DataError(f"'{path}' is {kind}, and holds no Keras layers that could be converted. {HINT}.")
    if not path.is_file():
        raise DataError(f"There is no model file '{path}'.")
    if zipfile.is_zipfile(path):
        return read_zip, write_zip
    if h5py.is_hdf5(path):
        return read_h5, write_h5
    raise DataError(f"'{path}' is neither a `.keras` file nor a legacy `.h5` file, or it is cut short. {HINT}.")


def read_zip(path: Path) -> dict[str, Any]:
    """Return the model's config in a `.keras` file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return as_config(path, archive.read(CONFIG_IN_ZIP))
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        raise DataError(f"'{path}' is a zip file but no whole `.keras` file. Received: {error}") from error


def write_zip(path: Path, target: Path, config: dict[str, Any]) -> None:
    """Copy a `.keras` file with another config."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "w") as copy:
        for item in archive.infolist():
            if item.filename == CONFIG_IN_ZIP:
                copy.writestr(CONFIG_IN_ZIP, json.dumps(config))
            else:
                with archive.open(item) as stream, copy.open(item.filename, "w", force_zip64=True) as out:
                    shutil.copyfileobj(stream, out)


def read_h5(path: Path) -> dict[str, Any]:
    """Return the model's config in a legacy `.h5` file."""
    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
    except (OSError, RuntimeError) as error:
        raise DataError(f"'{path}' is an HDF5 file that can't be read. Received: {error}") from error
    if text is None:
        raise DataError(
            f"'{path}' holds weights but no model. Build the model in Python, then model.load_weights('{path.name}')."
        )
    return as_config(path, text)


def write_h5(path: Path, target: Path, config: dict[str, Any]) -> None:
    """Copy a legacy `.h5` file with another config."""
    shutil.copyfile(path, target)
    with h5py.File(target, "r+") as file:
        file.attrs["model_config"] = json.dumps(config).encode()


def as_config(path: Path, text: bytes | str) -> dict[str, Any]:
    """Return a config parsed from JSON."""
    try:
        config = json.loads(text)
    except ValueError as error:
        raise DataError(f"The config of the model in '{path}' is no JSON. Received: {error}") from error
    if not isinstance(config, dict) or "class_name" not in config:
        raise DataError(f"The config in '{path}' is not that of a Keras model.")
    return config


def objects(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a config: dicts with a class name and a config of their own."""
    if isinstance(config, dict):
        if isinstance(config.get("class_name"), str) and isinstance(config.get("config"), (dict, list)):
            yield config
        for value in config.values():
            yield from objects(value)
    elif isinstance(config, list):
        for value in config:
            yield from objects(value)


def layers_of(config: Any) -> Iterator[dict[str, Any]]:
    """Yield the configs of the model and its layers, wrapped and nested ones included."""
    yield config
    inside = config.get("config")
    if isinstance(inside, list):  # a Sequential of Keras 2.1
        inside = {"layers": inside}
    if not isinstance(inside, dict):
        return
    held = [*(inside.get("layers") or []), *(inside.get(key) for key in ("layer", "backward_layer", "forward_layer"))]
    for layer in held:
        if isinstance(layer, dict) and "class_name" in layer:
            yield from layers_of(layer)


def check_code(path: Path, config: dict[str, Any]) -> None:
    """Raise a ConversionError if some object of a config is Python code rather than data."""
    for item in objects(config):
        if item["class_name"] in CODE:
            inside = item["config"] if isinstance(item["config"], dict) else {}
            name = inside.get("name", item["class_name"])
            raise ConversionError(
                f"Layer '{name}' of the model in '{path}' is a Lambda: Python code in a file, which is not run. Build "
                "the model in Python with a keras.layers.Layer of your own in its place, and load its weights."
            )


def check_classes(path: Path, config: dict[str, Any], custom: dict[str, Any]) -> None:
    """Raise a ConversionError that names all layers whose class is not known."""
    registered = keras.saving.get_custom_objects()
    unknown: dict[str, list[str]] = {}
    for item in layers_of(config):
        kind, name = item["class_name"], item.get("registered_name")
        if kind in CONTAINERS or kind in custom or name in custom or hasattr(keras.layers, kind):
            continue
        if name in registered or kind in registered:
            continue
        if str(item.get("module", "")).split(".")[0] == "keras":
            continue
        inside = item.get("config")
        unknown.setdefault(kind, []).append(str(inside.get("name", "?") if isinstance(inside, dict) else "?"))
    if unknown:
        listed = "; ".join(f"{kind} ({', '.join(names[:3])})" for kind, names in unknown.items())
        example = next(iter(unknown))
        raise ConversionError(
            f"The model in '{path}' has layers of classes that Keras does not know: {listed}. Give them as "
            f"custom_objects={{'{example}': ...}}, or import the package that registers them first."
        )


def tidied(config: dict[str, Any]) -> bool:
    """Leave out what Keras 2 wrote and Keras 3 refuses, if it says nothing; returns whether something was."""
    changed = False
    for item in layers_of(config):
        kind = getattr(keras.layers, item["class_name"], None)
        inside = item.get("config")
        if not (isinstance(kind, type) and isinstance(inside, dict)):
            continue
        accepted = inspect.signature(kind).parameters
        for key, silent in DROPPED.items():
            if key in inside and key not in accepted and inside[key] == silent:
                del inside[key]
                changed = True
    return changed
