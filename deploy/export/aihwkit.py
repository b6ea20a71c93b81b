"""Weights and a script with which IBM's aihwkit rebuilds a network; writing them needs neither torch nor aihwkit."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np

from analognets.conversion import to_digital
from analognets.core.agreement import FLOAT_LIMIT, refuse_difference
from analognets.deploy.export.aihwkit_reader import rebuilt
from analognets.deploy.export.inputs import answers, open_inputs, probe
from analognets.deploy.export.together import write_together
from analognets.errors import ConversionError, reason
from analognets.layers import AnalogLayer

__all__ = ["AIHWKIT_FILES", "to_aihwkit"]

AIHWKIT_FILES = ("network.json", "weights.npz", "rebuild.py")
"""What `to_aihwkit` writes."""
SCRIPT = "aihwkit_rebuild.txt"
COMPARED, OPEN_SIZE = 4, 32
"""Samples that what is written is compared on, and how long their axes are where the network leaves it open."""
HALF_LIMIT = 0.02
"""Largest relative difference where the network computes in half precision, and the script in single."""


def to_aihwkit(model: keras.Model, folder: Path | str, *, overwrite: bool = False) -> Path:
    """Write a network so that IBM's aihwkit rebuilds it: its layers, its weights, and the script that does it.

    `rebuild.py` there needs torch and aihwkit, and nothing of this package: `rebuild.build()` returns a module whose
    dense and convolution layers are `AnalogLinear` and `AnalogConv2d`, which takes inputs as Keras does. Without a
    configuration the products are perfect and it gives the output of the network; with an `RPUConfig` of yours they are
    those of its tiles. Depthwise and grouped convolutions stay digital there. Before anything is written, layers and
    weights are read back as they will stand in the files, and must answer random inputs as the network does.

    Args:
        model: functional or Sequential, analog or not; analog layers give the weights they were trained to.
        folder: for the files; made if need be.
        overwrite: replace files of these names.

    Returns:
        The folder.

    Raises:
        ConversionError: a layer has no counterpart in the script, or is called more than once, or what would be
            written computes something else.
        DataError: the folder holds such files already, or can't be written.

    Examples:
        >>> folder = to_aihwkit(model, "for_aihwkit")
        >>> "rebuild.py" in [path.name for path in folder.iterdir()]
        True

    Source: the interface of aihwkit 1.2, with which the output is compared (tests/deploy/export/test_aihwkit.py).
    """
    if any(isinstance(layer, AnalogLayer) for layer in model._flatten_layers()):
        model = to_digital(model)
    layers, arrays = described(model)
    packed = io.BytesIO()
    np.savez(packed, **cast(dict[str, Any], arrays))
    script = (resources.files("analognets.deploy") / "export" / SCRIPT).read_text("utf-8")
    index = json.dumps({"name": model.name, "layers": layers}, indent=1)
    contents = (index.encode(), packed.getvalue(), script.encode())
    refuse_other(model, *contents[:2])
    folder = Path(folder).expanduser()
    write_together(folder, dict(zip(AIHWKIT_FILES, contents, strict=True)), overwrite=overwrite)
    return folder


def refuse_other(model: keras.Model, index: bytes, weights: bytes) -> None:
    """Raise a ConversionError if the contents of the files do not say what the network computes."""
    arrays = [array[:COMPARED] for array in probe(model, open_inputs(model, OPEN_SIZE))]
    what = f"What would be written of '{model.name}' for aihwkit"
    try:
        found = list(answers(rebuilt(index, weights), arrays).values())
    except (ValueError, TypeError) as error:  # Keras, of settings and weights that do not fit each other
        raise ConversionError(f"{what} can't be read back. Received: {reason(error)}.") from error
    single = all(layer.compute_dtype == "float32" for layer in model._flatten_layers(include_self=False))
    hint = "It was not written: a layer has settings or weights that the script does not know."
    refuse_difference(found, list(answers(model, arrays).values()), what, hint, FLOAT_LIMIT if single else HALF_LIMIT)


def described(model: keras.Model) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Return the layers of a model in the order in which they are computed, and their arrays by layer and number.

    Raises:
        ConversionError: a layer has no counterpart.
    """
    if len(getattr(model, "inputs", None) or []) != 1 or len(model.outputs) != 1:
        raise ConversionError(
            f"A network for aihwkit must be functional or Sequential with one input and one output. Received: "
            f"'{model.name}'."
        )
    layers: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    places: dict[int, int] = {}

    def place(tensor: Any) -> int:
        if id(tensor) in places:
            return places[id(tensor)]
        history = tensor._keras_history
        layer, node = history.operation, history.operation._inbound_nodes[history.node_index]
        before = [place(one) for one in node.input_tensors]
        if type(layer) not in SETTINGS:
            raise ConversionError(
                f"Layer '{layer.name}' ({type(layer).__name__}) has no counterpart in the script for aihwkit. Written "
                f"are: {', '.join(sorted(kind.__name__ for kind in SETTINGS))}."
            )
        places[id(tensor)] = len(layers)
        entry = {"name": layer.name, "kind": type(layer).__name__, "inputs": before, **SETTINGS[type(layer)](layer)}
        layers.append(entry)
        for number, array in enumerate(layer.get_weights()):
            arrays[f"{places[id(tensor)]}.{number}"] = np.asarray(array, dtype="float32")
        return places[id(tensor)]

    place(model.outputs[0])
    return layers, arrays


def activation(layer: Any) -> dict[str, Any]:
    """Return the activation of a layer."""
    name = getattr(layer.activation, "__name__", str(layer.activation))
    if name not in ("linear", "relu", "relu6", "sigmoid", "tanh", "softmax"):
        raise ConversionError(
            f"Layer '{layer.name}' has an activation that the script does not know. Received: {name}."
        )
    return {"activation": name}


def convolution(layer: Any) -> dict[str, Any]:
    """Return the settings of a convolution."""
    if layer.data_format != "channels_last" or layer.padding not in ("same", "valid"):
        raise ConversionError(f"Layer '{layer.name}' must have channels last and padding 'same' or 'valid'.")
    settings = {"strides": list(layer.strides), "padding": layer.padding, "dilations": list(layer.dilation_rate)}
    groups = getattr(layer, "groups", 1)
    return {**settings, "groups": groups, "bias": bool(layer.use_bias), **activation(layer)}


def pooling(layer: Any) -> dict[str, Any]:
    """Return the settings of pooling."""
    return {"size": list(layer.pool_size), "strides": list(layer.strides), "padding": layer.padding}


def rectified(layer: Any) -> dict[str, Any]:
    """Return the settings of a ReLU."""
    if layer.negative_slope or layer.threshold:
        raise ConversionError(f"Layer '{layer.name}' (ReLU) must have neither a slope nor a threshold.")
    return {"most": layer.max_value}


def normalised(layer: Any) -> dict[str, Any]:
    """Return the settings of a batch normalisation."""
    return {"epsilon": layer.epsilon, "scale": bool(layer.scale), "center": bool(layer.center)}


SETTINGS: dict[type, Callable[[Any], dict[str, Any]]] = {
    keras.layers.InputLayer: lambda layer: {"shape": list(layer.output.shape[1:])},
    keras.layers.Activation: activation,
    keras.layers.Add: lambda layer: {},
    keras.layers.AveragePooling2D: pooling,
    keras.layers.BatchNormalization: normalised,
    keras.layers.Conv2D: convolution,
    keras.layers.Dense: lambda layer: {"bias": bool(layer.use_bias), **activation(layer)},
    keras.layers.DepthwiseConv2D: convolution,
    keras.layers.Dropout: lambda layer: {},
    keras.layers.Flatten: lambda layer: {},
    keras.layers.GlobalAveragePooling2D: lambda layer: {"keepdims": bool(layer.keepdims)},
    keras.layers.MaxPooling2D: pooling,
    keras.layers.ReLU: rectified,
    keras.layers.Reshape: lambda layer: {"shape": [int(size) for size in layer.target_shape]},
    keras.layers.Softmax: lambda layer: {},
    keras.layers.ZeroPadding2D: lambda layer: {"padding": [list(one) for one in layer.padding]},
}
"""What the script must know of each layer."""
