"""Loading models that others have saved, those of Keras 2 and ONNX included: no code from a file is ever run."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras

from analognets.conversion.from_onnx.load import load_onnx
from analognets.conversion.load_files import ModelFile, check_size, opened
from analognets.conversion.load_keras2 import ALIASES, MODELS, Translator
from analognets.conversion.load_masks import check_masks
from analognets.conversion.load_saved_model import saved_weights
from analognets.conversion.load_weights import check_finite, place_weights, stored_weights
from analognets.core.drafts import temporary_folder
from analognets.errors import AnalogNetsError, ConversionError, DataError, cut, reason

__all__ = ["load_model"]

CODE = ("Lambda", "__lambda__")
CONTAINERS = (*MODELS, "InputLayer")
OPERATIONS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod")


def load_model(
    path: Path | str, *, custom_objects: Mapping[str, Any] | None = None, allow_nonfinite: bool = False
) -> keras.Model:
    """Load a model from a `.keras` file, a legacy `.h5` file, a SavedModel of Keras 2 or an `.onnx` file.

    No code of it is run. ONNX is imported by `load_onnx`, with channels last.

    Keras' safe mode is on. A file of Keras 2 computes what it did there: functions whose formula changed keep the old
    one (`hard_sigmoid` becomes `analognets.layers.hard_sigmoid_v2`), arguments that Keras 3 dropped are left out where
    they say nothing and refused by name where they do. Every weight of an `.h5` file or a SavedModel is checked by name
    and shape; the graph of the latter is left alone. The file is only read. The model is not compiled: optimizer,
    losses and metrics in the file are passed over.

    Args:
        path: the file, or the folder of a SavedModel.
        custom_objects: classes and functions by the names that the file uses for them.
        allow_nonfinite: take weights that are NaN or infinite too.

    Returns:
        The model.

    Raises:
        DataError: the file is missing, broken, holds weights only, NaN or infinite ones or far fewer than its model
            has, or is no Keras model (a SavedModel without Keras layers, a .tflite).
        ConversionError: the file holds Python code (a Lambda layer), layers of a class that is not known, arguments
            of Keras 2 that Keras 3 can't say, layers that compute with another mask than they did there, or
            operators of ONNX that can't be imported.

    Examples:
        >>> model.save("net.keras")
        >>> load_model("net.keras").output_shape
        (None, 4)

    Source: the quirks are those of files that Keras 2.4 and 2.14 wrote; formulas and defaults of all layers of tf_keras
        2.21 were compared with those of Keras 3.15 (`tests/conversion/test_load_keras2.py`).
    """
    path = Path(path)
    if path.suffix.lower() == ".onnx":
        model = load_onnx(path)
        if not allow_nonfinite:
            check_finite(path, model)
        return model
    custom = dict(custom_objects or {})
    file = opened(path)
    try:
        check_code(path, file.config)
        check_classes(path, file.config, custom)
        model = loaded(file, custom)
        if file.old:
            check_masks(path, model)
    except AnalogNetsError:
        raise
    except Exception as error:  # Keras raises many kinds for a config or weights that are not whole
        raise DataError(f"The model in '{path}' can't be made. Received: {said(error)}.") from error
    if not allow_nonfinite:
        check_finite(path, model)
    return without_lists_of_one(model)


def loaded(file: ModelFile, custom: dict[str, Any]) -> keras.Model:
    """Return the model of a file, with its weights."""
    translator = Translator(str(file.path), file.old, custom)
    config = translator.model(file.config)
    check_size(file, copy.deepcopy(config), custom)
    if not file.zipped:
        model = built(file, copy.deepcopy(config), custom)
        if os.path.isdir(file.path):
            place_weights(file.path, model, config, saved_weights(file.path), translator.old_names)
            return model
        with h5py.File(file.path, "r") as source:
            place_weights(file.path, model, config, stored_weights(source), translator.old_names)
        return model
    with temporary_folder() as folder:
        source = file.path
        if config != file.config or source.suffix != ".keras":
            source = folder / "model.keras"
            file.rewritten(source, config)
        try:
            return keras.models.load_model(source, custom_objects=custom, compile=False, safe_mode=True)
        except Exception as error:
            built(file, copy.deepcopy(config), custom)  # says which layer it is, if it is one
            raise error


def built(file: ModelFile, config: dict[str, Any], custom: dict[str, Any]) -> keras.Model:
    """Return the model of a config.

    Raises:
        DataError: it can't be made; names the layer that is to blame, if one is.
    """
    again = copy.deepcopy(config)
    try:
        model = keras.saving.deserialize_keras_object(config, custom_objects=custom, safe_mode=True)
    except Exception as error:
        for entry in layers_of(again):
            name, inner = name_of(entry), entry["config"]
            if entry["class_name"] in MODELS or not isinstance(inner, dict):
                continue
            try:
                keras.saving.deserialize_keras_object(entry, custom_objects=custom, safe_mode=True)
            except Exception as culprit:
                raise DataError(
                    f"Layer '{name}' ({entry['class_name']}) of the model in '{file.path}' can't be made from its "
                    f"arguments. Received: {said(culprit)}."
                ) from error
        raise DataError(
            f"The layers of the model in '{file.path}' don't fit together. Received: {said(error)}."
        ) from error
    if not isinstance(model, keras.Model):
        raise DataError(f"The config in '{file.path}' is not that of a Keras model. Received: {type(model).__name__}.")
    return model


def said(error: BaseException) -> str:
    """Return the sentence of an error of Keras that says most, which comes last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1].removeprefix("Exception encountered: ") if lines else reason(error)
    return cut(text, 300).rstrip(".")


def without_lists_of_one(model: keras.Model) -> keras.Model:
    """Return a functional model whose one input, and whose one output, is no list, as Keras 2 meant it."""
    if type(model).__name__ != "Functional" or not isinstance(model._inputs_struct, list) or len(model.inputs) != 1:
        return model
    outputs = model.outputs[0] if len(model.outputs) == 1 else model.outputs
    return keras.Model(model.inputs[0], outputs, name=model.name)


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


def name_of(entry: dict[str, Any]) -> str:
    """Return the name of a layer from its entry."""
    inside = entry.get("config")
    name = inside.get("name") if isinstance(inside, dict) else None
    return cut(str(name or entry.get("name") or "?"), 100)


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
        kind, name = str(item["class_name"]), item.get("registered_name")
        if kind in CONTAINERS or kind in custom or name in custom or hasattr(keras.layers, kind):
            continue
        if name in registered or kind in registered or kind in ALIASES or kind == "ThresholdedReLU":
            continue
        module = str(item.get("module", ""))  # what is in keras.layers was found above
        if module.split(".")[0] == "keras" and module != "keras.layers" and kind not in OPERATIONS:
            continue
        inside = item.get("config")
        function = inside.get("function") if isinstance(inside, dict) and kind in OPERATIONS else None
        unknown.setdefault(kind, []).append(f"{name_of(item)}: {function}" if function else name_of(item))
    if unknown:
        listed = "; ".join(f"{kind} ({', '.join(names[:3])})" for kind, names in unknown.items())
        example = next(iter(unknown))
        raise ConversionError(
            f"The model in '{path}' has layers of classes that Keras does not know: {listed}. Give them as "
            f"custom_objects={{'{example}': ...}}, or import the package that registers them first."
        )
