"""A Keras 3 network as plain data from which `tf_keras` can build the same network: layers, calls, weights."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from analognets.deploy.export.inputs import input_name
from analognets.errors import ConversionError

__all__ = ["LAYERS", "describe_network"]

CONVOLUTION = ("kernel_size", "strides", "padding", "dilation_rate", "activation", "use_bias")
POOLING = ("pool_size", "strides", "padding")
LAYERS: dict[str, tuple[str, ...]] = {
    "Activation": ("activation",),
    "Add": (),
    "AveragePooling2D": POOLING,
    "BatchNormalization": ("axis", "momentum", "epsilon", "center", "scale"),
    "Concatenate": ("axis",),
    "Conv2D": ("filters", "groups", *CONVOLUTION),
    "Conv2DTranspose": ("filters", "output_padding", *CONVOLUTION),
    "Cropping2D": ("cropping",),
    "Dense": ("units", "activation", "use_bias"),
    "DepthwiseConv2D": ("depth_multiplier", *CONVOLUTION),
    "Dropout": ("rate",),
    "Flatten": (),
    "GlobalAveragePooling1D": ("keepdims",),
    "GlobalAveragePooling2D": ("keepdims",),
    "GlobalMaxPooling1D": ("keepdims",),
    "GlobalMaxPooling2D": ("keepdims",),
    "LeakyReLU": ("negative_slope",),
    "MaxPooling2D": POOLING,
    "Permute": ("dims",),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "Reshape": ("target_shape",),
    "SeparableConv2D": ("filters", "depth_multiplier", *CONVOLUTION),
    "Softmax": ("axis",),
    "SpatialDropout2D": ("rate",),
    "UpSampling2D": ("size", "interpolation"),
    "ZeroPadding2D": ("padding",),
}
"""Layers that tfmot can train for 8 bit, and the arguments that say what they compute."""

ACTIVATIONS = {name: name for name in ("linear", "relu", "relu6", "sigmoid", "softmax", "tanh")} | {"silu": "swish"}
RENAMED = {("LeakyReLU", "negative_slope"): "alpha"}


def describe_network(model: keras.Model) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Return a digital network as JSON data, and the weights of its layers in order.

    Args:
        model: a built Sequential or functional model; models inside it are taken apart.

    Returns:
        `inputs` (shape and name of each), `layers` (kind, name, config, number of weights), `calls` (layer and the
        tensors it takes; tensor k is input k, or what call k - inputs made), `output` (a tensor).

    Raises:
        ConversionError: the model is subclassed, has several outputs, or holds layers that tfmot can't train.
    """
    network = Network()
    refuse_unknown(model)
    graph = functional(model)
    inputs = keras.tree.flatten(graph.inputs)
    network.tensors = len(inputs)
    outputs = network.walk(graph, list(range(len(inputs))))
    if len(outputs) != 1:
        raise ConversionError(
            f"Quantisation-aware training takes a network with one output. Received: {len(outputs)} of '{model.name}'."
        )
    record = {
        "inputs": [{"shape": list(tensor.shape[1:]), "name": input_name(tensor.name, None)} for tensor in inputs],
        "layers": network.layers,
        "calls": network.calls,
        "output": outputs[0],
    }
    return record, network.weights


def functional(model: Any) -> Any:
    """Return the functional model inside a Sequential one, or the model itself."""
    return model._functional if isinstance(model, keras.Sequential) else model


def is_graph(operation: Any) -> bool:
    """Whether a layer is a Sequential or functional model, which can be taken apart."""
    return isinstance(operation, keras.Sequential) or (
        isinstance(operation, keras.Model) and hasattr(operation, "_nodes_by_depth")
    )


def operations(model: Any) -> Iterable[Any]:
    """Yield the layers and operations of a model and of those inside it."""
    for operation in functional(model).operations:
        if is_graph(operation):
            yield from operations(operation)
        else:
            yield operation


def refuse_unknown(model: Any) -> None:
    """Raise a ConversionError that names all layers which tfmot can't train, with their reasons."""
    if not is_graph(model):
        raise ConversionError(
            "Quantisation-aware training takes Sequential and functional Keras models. Received: "
            f"'{getattr(model, 'name', model)}' ({type(model).__name__})."
        )
    found = [(operation, fault(operation)) for operation in operations(model)]
    faults = [f"'{operation.name}' ({type(operation).__name__}): {why}" for operation, why in found if why]
    if faults:
        raise ConversionError(
            f"Quantisation-aware training can't take {len(faults)} layers of '{model.name}': {'; '.join(faults)}. Use "
            f"post-training quantisation, or these layers only: {', '.join(LAYERS)}."
        )


def fault(operation: Any) -> str:
    """Return why tfmot can't train a layer, or ""."""
    kind = type(operation).__name__
    if kind == "InputLayer":
        return "" if "float" in operation.dtype else f"inputs of type {operation.dtype} have no 8-bit range"
    if kind == "Add" and not isinstance(operation, keras.layers.Layer):
        taken = [len(node.input_tensors) for node in operation._inbound_nodes]
        return "" if min(taken) > 1 else "a constant is added, write it as a layer with weights"
    if kind not in LAYERS or type(operation) is not getattr(keras.layers, kind):
        return "no 8-bit version of this layer"
    config = operation.get_config()
    if config.get("data_format", "channels_last") not in (None, "channels_last"):
        return "channels must come last"
    if "activation" in LAYERS[kind] and config["activation"] not in ACTIVATIONS:
        named = config["activation"]
        return f"no 8-bit version of its activation {named if isinstance(named, str) else 'function'}"
    return ""


class Network:
    """Collects the layers, calls and weights of a model, models inside it included."""

    def __init__(self) -> None:
        self.layers: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []
        self.weights: list[np.ndarray] = []
        self.tensors = 0
        self.numbers: dict[int, int] = {}

    def walk(self, graph: Any, given: list[int]) -> list[int]:
        """Record every call of a functional model on tensors of these numbers; returns those of its outputs."""
        known = {id(tensor): number for tensor, number in zip(keras.tree.flatten(graph.inputs), given, strict=True)}
        for depth in sorted(graph._nodes_by_depth, reverse=True):
            for node in graph._nodes_by_depth[depth]:
                if node.operation is None or node.is_input:
                    continue
                taken = [known[id(tensor)] for tensor in node.input_tensors]
                inner = is_graph(node.operation)
                made = self.walk(functional(node.operation), taken) if inner else [self.call(node.operation, taken)]
                known.update((id(tensor), number) for tensor, number in zip(node.outputs, made, strict=True))
        return [known[id(tensor)] for tensor in keras.tree.flatten(graph.outputs)]

    def call(self, layer: Any, taken: list[int]) -> int:
        """Record one call of a layer; returns the number of the tensor it makes."""
        if id(layer) in self.numbers:
            raise ConversionError(
                f"Quantisation-aware training gives each layer one range, so it can't take '{layer.name}', which is "
                "called more than once. Use post-training quantisation."
            )
        self.numbers[id(layer)] = len(self.layers)
        for record, weights in self.parts(layer):
            record["name"] = self.free_name(record["name"])
            self.calls.append({"layer": len(self.layers), "inputs": taken})
            self.layers.append({**record, "weights": len(weights)})
            self.weights += weights
            taken = [self.tensors]
            self.tensors += 1
        return self.tensors - 1

    def parts(self, layer: Any) -> list[tuple[dict[str, Any], list[np.ndarray]]]:
        """Return a layer as one or two layers that compute the same, each with its weights.

        tfmot splits a separable convolution itself, but gives the parts names that others may have.
        """
        kind = type(layer).__name__
        if not isinstance(layer, keras.layers.Layer):
            return [({"kind": kind, "name": layer.name, "config": {}}, [])]
        settings = layer.get_config()
        config = {RENAMED.get((kind, key), key): settings[key] for key in LAYERS[kind] if key in settings}
        if "activation" in config:
            config["activation"] = ACTIVATIONS[config["activation"]]
        weights = [np.asarray(keras.ops.convert_to_numpy(value)) for value in layer.weights]
        if kind in ("Dropout", "SpatialDropout2D"):
            weights = []  # Keras 3 counts the state of its random numbers as a weight
        if kind != "SeparableConv2D":
            return [({"kind": kind, "name": layer.name, "config": config}, weights)]
        ends = {key: config.pop(key) for key in ("filters", "activation", "use_bias")}
        return [
            (
                {"kind": "DepthwiseConv2D", "name": f"{layer.name}_depthwise", "config": {**config, "use_bias": False}},
                weights[:1],
            ),
            ({"kind": "Conv2D", "name": f"{layer.name}_pointwise", "config": {**ends, "kernel_size": 1}}, weights[1:]),
        ]

    def free_name(self, name: str) -> str:
        """Return a name that no other layer has, and that tfmot, which finds layers and ranges by name, can't mistake.

        Names that "quant" begins are its own; signs of any kind are kept from TensorFlow.
        """
        plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
        plain = f"layer_{plain}" if not plain[:1].isalpha() or plain.startswith("quant") else plain
        taken = {known["name"] for known in self.layers}
        return plain if plain not in taken else f"{plain}__{len(self.layers)}"
