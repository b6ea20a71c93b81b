"""Dense layers written as 1x1 convolutions, on which LiteRT and TFLM agree to the last bit."""

from __future__ import annotations

from typing import Any

import keras

__all__ = ["pointwise"]


def pointwise(model: keras.Model) -> keras.Model:
    """Return a network that computes the same, its Dense layers on vectors written as 1x1 convolutions.

    In 8 bit, an output of a fully connected operator differs now and then by one step between LiteRT's reference
    kernels and TFLM (why was not traced); their convolutions agree bit for bit. Layers inside of nested models, and
    Dense layers on more than a vector a sample, stay as they are.

    Args:
        model: a built functional or Sequential model without analog layers; it is not changed.

    Returns:
        A functional model with the same weights; layers keep their names.
    """
    copies: dict[int, keras.layers.Layer] = {}
    replaced: dict[str, keras.layers.Layer] = {}

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        new = copies[id(layer)] = layer.__class__.from_config(layer.get_config())
        return new

    def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        if type(layer) is not keras.layers.Dense or len(args[0].shape) != 2:
            return layer(*args, **kwargs)
        if layer.name not in replaced:
            replaced[layer.name] = keras.layers.Conv2D(
                layer.units, 1, activation=layer.activation, use_bias=layer.use_bias, name=layer.name
            )
        pixel = keras.layers.Reshape((1, 1, args[0].shape[-1]))(args[0])
        return keras.layers.Reshape((layer.units,))(replaced[layer.name](pixel))

    graph = model._functional if isinstance(model, keras.Sequential) else model
    new = keras.models.clone_model(graph, clone_function=copy, call_function=call)
    for layer in graph.layers:
        if layer.name in replaced:
            kernel, *bias = layer.get_weights()
            replaced[layer.name].set_weights([kernel[None, None], *bias])
        elif id(layer) in copies:
            copies[id(layer)].set_weights(layer.get_weights())
    return new
