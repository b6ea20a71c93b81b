"""Dense layers written as 1x1 convolutions, on which LiteRT and TFLM agree to the last bit."""

from __future__ import annotations

from typing import Any

import keras

from analognets.conversion.apply import copy_state
from analognets.core.agreement import refuse_difference
from analognets.deploy.export.inputs import answers, network_inputs, probe
from analognets.errors import ConversionError, reason

__all__ = ["pointwise"]

HINT = (
    "A layer holds what neither its weights nor its get_config() say: write a .tflite file instead (--to litert), or "
    "give the layer a get_config() of its own."
)


def pointwise(model: keras.Model) -> keras.Model:
    """Return a network that computes the same, its Dense layers on vectors written as 1x1 convolutions.

    In 8 bit, an output of a fully connected operator differs now and then by one step between LiteRT's reference
    kernels and TFLM (why was not traced); their convolutions agree bit for bit. Layers inside of nested models, and
    Dense layers on whole numbers or on more than a vector a sample, stay as they are. Both networks are compared on
    random inputs.

    Args:
        model: a built functional or Sequential model without analog layers; it is not changed.

    Returns:
        A functional model with the same weights; layers keep their names.

    Raises:
        ConversionError: a layer can't be copied, or its copy computes something else.
    """
    copies: dict[int, keras.layers.Layer] = {}
    replaced: dict[str, keras.layers.Layer] = {}

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        new = copies[id(layer)] = layer.__class__.from_config(layer.get_config())
        return new

    def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        if type(layer) is not keras.layers.Dense or len(args[0].shape) != 2 or is_whole(args[0]):
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
            copy_values(layer, copies[id(layer)])
    refuse_other(model, new)
    return new


def is_whole(tensor: Any) -> bool:
    """Whether a tensor holds whole numbers, which Dense layers take and convolutions don't; lookups don't say so."""
    return "float" not in str(tensor.dtype) or hasattr(tensor._keras_history.operation, "output_mode")


def copy_values(old: keras.layers.Layer, new: keras.layers.Layer) -> None:
    """Copy a layer's weights and what preprocessing layers, itself or inside it, derive from theirs.

    Raises:
        ConversionError: the copy has others.
    """
    inner = [list(layer._flatten_layers()) for layer in (old, new)]
    if len(inner[0]) != len(inner[1]) or [value.shape for value in old.weights] != [v.shape for v in new.weights]:
        raise ConversionError(
            f"Layer '{old.name}' ({type(old).__name__}) can't be copied: its copy has other weights. Let its "
            "get_config() return all that its constructor takes."
        )
    new.set_weights(old.get_weights())
    for mine, copied in zip(*inner, strict=True):
        copy_state(mine, copied)


def refuse_other(model: keras.Model, new: keras.Model) -> None:
    """Raise a ConversionError if two networks differ on random inputs."""
    arrays = probe(model, network_inputs(model))
    expected = list(answers(model, arrays).values())
    try:
        found = list(answers(new, arrays).values())
    except Exception as error:  # foreign layers raise anything
        raise ConversionError(
            f"A copy of model '{model.name}' for TFLM can't be run: {reason(error)}. {HINT}"
        ) from error
    refuse_difference(found, expected, f"A copy of model '{model.name}' for TFLM", HINT)
