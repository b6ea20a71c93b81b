"""Functional models with a constructor of their own: their class, methods and attributes are kept in a copy."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import keras

from analognets.errors import reason
from analognets.layers.block import layers_in

__all__ = ["constructed", "has_constructor", "in_class", "is_its_graph", "spares"]

KEPT = ("_auto_config", "supports_jit")
"""Attributes of Keras that a constructor decides."""


@functools.cache
def _names_of_keras() -> frozenset[str]:
    """Return the attributes that Keras sets for itself, and what `compile` adds, which a constructor may call."""
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    model.compile()
    return frozenset(vars(model))


def has_constructor(model: Any) -> bool:
    """Whether a model has a graph that a constructor of its own class has made from other arguments."""
    if not (isinstance(model, keras.Model) and hasattr(type(model), "operations")):
        return False
    makes = next(kind for kind in type(model).__mro__ if "__init__" in vars(kind))
    return not makes.__module__.startswith("keras.src.models")


def is_its_graph(model: Any, graph: Any) -> bool:
    """Whether a model computes what its graph says, with no variables beside those of its layers.

    Args:
        model: the model.
        graph: a plain functional model.
    """
    own = [*model._trainable_variables, *model._non_trainable_variables]
    return type(model).call is type(graph).call and not own


def constructed(model: Any) -> Any:
    """Return a new instance of a model's class, made by its constructor; or the error, if that can't be done."""
    try:
        return type(model).from_config(model.get_config())
    except Exception as error:  # whatever a class of others raises
        return error


def spares(model: Any, made: Any) -> dict[int, keras.layers.Layer]:
    """Return the layers that a constructor made, by the id of the model's layer of the same name and class.

    They stand for layers that can't be made from their own config. The constructor gave them what the config lacks.

    Args:
        model: the model.
        made: of `constructed`.
    """
    if type(made) is not type(model):
        return {}
    pairs = list(zip(model.layers, made.layers, strict=False))
    if len(model.layers) != len(made.layers) or any(type(one) is not type(other) for one, other in pairs):
        return {}
    return {id(one): other for one, other in pairs}


def in_class(model: Any, made: Any, graph: Any, replaced: Callable[[Any], Any]) -> Any:
    """Return a copy of a model as an instance of its class; a plain model, with a warning, if that can't be made.

    The constructor runs, so that the instance has its own attributes; then the graph and the layers in its attributes
    are exchanged.

    Args:
        model: the model.
        made: of `constructed`.
        graph: a plain functional model with the copied layers.
        replaced: returns what stands for a layer of the model, or for a list, tuple or dict of them.
    """
    kind = type(model)
    if isinstance(made, Exception):
        warnings.warn(
            f"The copy of model '{model.name}' ({kind.__name__}) is a plain functional model without the methods of "
            f"its class, which can't be made from its config: {reason(made)}. Give the class a get_config that holds "
            "all its arguments.",
            stacklevel=2,
        )
    if type(made) is not kind:
        return graph
    # Not `made`, which goes on holding the layers of its own graph.
    new = kind.__new__(kind)  # type: ignore[call-overload]
    type(graph).__init__(new, graph._inputs_struct, graph._outputs_struct, name=model.name)
    own = {name: value for name, value in vars(made).items() if name in KEPT or name not in _names_of_keras()}
    for name, value in own.items():
        before = vars(model).get(name)
        layers = list(layers_in(before))
        setattr(new, name, replaced(before) if layers else value)
        fresh = layers_in(vars(new)[name]) if layers else ()
        for (_, layer), (_, copied) in zip(layers, fresh, strict=False):
            if layer.built and not copied.built:  # it is in no graph
                copied.build_from_config(layer.get_build_config() or {})
    return new
