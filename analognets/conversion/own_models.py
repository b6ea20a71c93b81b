"""Functional models with a constructor of their own: their class, methods and attributes are kept in a copy."""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras

from analognets.errors import reason
from analognets.layers.block import AnalogBlock, layers_in, names_of_keras

__all__ = ["constructed", "has_constructor", "in_class", "is_its_graph", "spares"]

PLAIN = (bool, int, float, str, type(None))
"""What an attribute may be changed to after construction and is kept."""
KEPT = ("_auto_config", "supports_jit")
"""Attributes of Keras that a constructor decides."""


def has_constructor(model: Any) -> bool:
    """Whether a model has a graph that a constructor of its own class has made from other arguments."""
    if not (isinstance(model, keras.Model) and hasattr(type(model), "operations")):
        return False
    makes = next(kind for kind in type(model).__mro__ if "__init__" in vars(kind))
    return not makes.__module__.startswith("keras.src.models")


def is_its_graph(model: Any) -> bool:
    """Whether a functional model computes what its graph says, with no variables beside those of its layers."""
    plain: Any = next(kind for kind in type(model).__mro__ if kind.__module__.startswith("keras.src.models"))
    own = [*model._trainable_variables, *model._non_trainable_variables]
    return type(model).call is plain.call and not own


def constructed(model: Any) -> Any:
    """Return a new instance of a model's class, made by its constructor; or the error, if that can't be done."""
    try:
        return type(model).from_config(model.get_config())
    except Exception as error:  # whatever a class of others raises
        return error


def spares(before: Sequence[Any], made: Sequence[Any]) -> dict[int, keras.layers.Layer]:
    """Return layers that a constructor made, by the id of the layer of the same class in the same place.

    They stand for layers that can't be made from their own config. The constructor gave them what the config lacks.

    Args:
        before: layers of a model or block.
        made: of a new instance of it.
    """
    plain = [one.block if isinstance(one, AnalogBlock) else one for one in before]
    if len(plain) != len(made):
        return {}
    return {id(one): own for one, own in zip(plain, made, strict=True) if type(one) is type(own)}


def in_class(model: Any, made: Any, graph: Any, replaced: Callable[[Any, Any], Any]) -> Any:
    """Return a copy of a model as an instance of its class; a plain model, with a warning, if that can't be made.

    The constructor runs, so that the instance has its own attributes; then the graph and the layers in its attributes
    are exchanged.

    Args:
        model: the model.
        made: of `constructed`.
        graph: a plain functional model with the copied layers.
        replaced: returns what stands for a layer of the model, or for a list, tuple or dict of them, given what the
            constructor made in its place.
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
    new._trainable, new.dtype_policy = model._trainable, model.dtype_policy
    for name, value in vars(made).items():
        if name in KEPT or name not in names_of_keras():
            set_attribute(new, name, model, value, made, replaced)
    for name, value in vars(model).items():  # what was added after construction
        if name not in vars(new) and isinstance(value, PLAIN):
            setattr(new, name, value)
    return new


def set_attribute(new: Any, name: str, model: Any, value: Any, made: Any, replaced: Callable[..., Any]) -> None:
    """Give a copy an attribute that the constructor made, with the layers of the copy in it.

    Args:
        new: the copy.
        name: of the attribute.
        model: the model; plain numbers and texts may have been changed since it was constructed.
        value: what the constructor of `made` gave it.
        made: of `constructed`.
        replaced: as of `in_class`.
    """
    before = vars(model).get(name)
    layers = list(layers_in(before))
    if isinstance(value, types.MethodType) and value.__self__ is made:
        value = types.MethodType(value.__func__, new)
    elif layers:
        value = replaced(before, value)
    elif isinstance(value, PLAIN) and isinstance(before, PLAIN):
        value = before
    setattr(new, name, value)
    fresh = layers_in(vars(new)[name]) if layers else ()
    for (_, layer), (_, copied) in zip(layers, fresh, strict=False):
        if layer.built and not copied.built:  # it is in no graph
            copied.build_from_config(layer.get_build_config() or {})
