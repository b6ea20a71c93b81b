"""Functional models with a constructor of their own: their class, methods and attributes are kept in a copy."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras

from analognets.errors import reason
from analognets.layers.block import is_internal

__all__ = ["has_constructor", "in_class"]


def has_constructor(model: Any) -> bool:
    """Whether a model has a graph that a constructor of its own class has made from other arguments."""
    if not (isinstance(model, keras.Model) and hasattr(type(model), "operations")):
        return False
    makes = next(kind for kind in type(model).__mro__ if "__init__" in vars(kind))
    return not makes.__module__.startswith("keras.src.models")


def in_class(model: Any, graph: Any, replaced: Callable[[Any], Any]) -> Any:
    """Return a copy of a model as an instance of its class; a plain model, with a warning, if that can't be made.

    The constructor runs, so that the instance has its own attributes; then the graph and the layers in its attributes
    are exchanged.

    Args:
        model: the model.
        graph: a plain functional model with the copied layers.
        replaced: returns what stands for a layer of the model, or for a list, tuple or dict of them.
    """
    kind = type(model)
    try:
        new = kind.from_config(model.get_config())
    except Exception as error:  # whatever a class of others raises
        warnings.warn(
            f"The copy of model '{model.name}' ({kind.__name__}) is a plain functional model without the methods of "
            f"its class, which can't be made from its config: {reason(error)}. Give the class a get_config that holds "
            "all its arguments.",
            stacklevel=2,
        )
        return graph
    if type(new) is not kind:
        return graph
    own = {name: value for name, value in vars(new).items() if not is_internal(name)}
    type(graph).__init__(new, graph._inputs_struct, graph._outputs_struct, name=model.name)
    for name, value in own.items():
        before = vars(model).get(name)
        held = keras.tree.flatten(before) if isinstance(before, (dict, list, tuple)) else [before]
        layers = [layer for layer in held if isinstance(layer, keras.layers.Layer)]
        setattr(new, name, replaced(before) if layers else value)
        fresh = keras.tree.flatten(vars(new)[name]) if layers else []
        for layer, made in zip(layers, [one for one in fresh if isinstance(one, keras.layers.Layer)], strict=False):
            if layer.built and not made.built:  # it is in no graph
                made.build_from_config(layer.get_build_config() or {})
    return new
