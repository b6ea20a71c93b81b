"""Reading what `to_aihwkit` writes as a Keras network, which is compared with the original before it is written."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

__all__ = ["rebuilt"]

Entry = dict[str, Any]
Arrays = Sequence[np.ndarray]


def rebuilt(index: bytes, weights: bytes) -> keras.Model:
    """Return the network that the two files of a description say, layer by layer as `rebuild.py` reads them.

    Args:
        index: content of network.json.
        weights: content of weights.npz.

    Returns:
        A functional model of the input's shape that the description holds.
    """
    entries: list[Entry] = json.loads(index)["layers"]
    with np.load(io.BytesIO(weights), allow_pickle=False) as packed:
        arrays = dict(packed)
    tensors: list[Any] = []
    start = None
    for number, entry in enumerate(entries):
        if entry["kind"] == "InputLayer":
            start = keras.Input(tuple(entry["shape"]))
            tensors.append(start)
            continue
        own = [arrays[f"{number}.{place}"] for place in range(len(arrays)) if f"{number}.{place}" in arrays]
        layer = LAYERS[entry["kind"]](entry, own)
        given = [tensors[place] for place in entry["inputs"]]
        tensors.append(layer(given if len(given) > 1 else given[0]))
        layer.set_weights(own[: len(layer.weights)])
    return keras.Model(start, tensors[-1])


def convolution(entry: Entry, arrays: Arrays) -> keras.layers.Layer:
    """Return a convolution; the kernel says its size."""
    settings = {"strides": entry["strides"], "padding": entry["padding"], "dilation_rate": entry["dilations"]}
    settings |= {"use_bias": entry["bias"], "activation": entry["activation"]}
    *size, channels, filters = arrays[0].shape
    if entry["kind"] == "DepthwiseConv2D":
        return keras.layers.DepthwiseConv2D(size, depth_multiplier=filters, **settings)
    return keras.layers.Conv2D(filters, size, groups=entry["groups"], **settings)


def dense(entry: Entry, arrays: Arrays) -> keras.layers.Layer:
    """Return a dense layer."""
    return keras.layers.Dense(arrays[0].shape[1], use_bias=entry["bias"], activation=entry["activation"])


def pooling(entry: Entry, arrays: Arrays) -> keras.layers.Layer:
    """Return pooling over windows."""
    return getattr(keras.layers, entry["kind"])(entry["size"], strides=entry["strides"], padding=entry["padding"])


LAYERS: dict[str, Callable[[Entry, Arrays], keras.layers.Layer]] = {
    "Activation": lambda entry, arrays: keras.layers.Activation(entry["activation"]),
    "Add": lambda entry, arrays: keras.layers.Add(),
    "AveragePooling2D": pooling,
    "BatchNormalization": lambda entry, arrays: keras.layers.BatchNormalization(
        epsilon=entry["epsilon"], scale=entry["scale"], center=entry["center"]
    ),
    "Conv2D": convolution,
    "Dense": dense,
    "DepthwiseConv2D": convolution,
    "Dropout": lambda entry, arrays: keras.layers.Identity(),
    "Flatten": lambda entry, arrays: keras.layers.Flatten(),
    "GlobalAveragePooling2D": lambda entry, arrays: keras.layers.GlobalAveragePooling2D(keepdims=entry["keepdims"]),
    "MaxPooling2D": pooling,
    "ReLU": lambda entry, arrays: keras.layers.ReLU(entry["most"]),
    "Reshape": lambda entry, arrays: keras.layers.Reshape(entry["shape"]),
    "Softmax": lambda entry, arrays: keras.layers.Softmax(),
    "ZeroPadding2D": lambda entry, arrays: keras.layers.ZeroPadding2D(entry["padding"]),
}
