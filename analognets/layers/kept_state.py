"""What a call of a model may change: states of recurrent layers, counters, statistics, seeds; and undoing that."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from analognets.layers.composite import to_array

__all__ = ["kept_state", "state_variables"]


def state_variables(model: keras.Model) -> list[Any]:
    """Return the variables of a model that are not trained, those that Keras does not list included.

    Keras does not count the states of a stateful recurrent layer as weights, nor a variable in a list of its owner.
    """
    found = {id(variable): variable for variable in model.non_trainable_variables}
    for layer in model._flatten_layers():
        for value in vars(layer).values():
            for leaf in _leaves(value):
                if hasattr(leaf, "assign") and hasattr(leaf, "numpy") and not getattr(leaf, "trainable", False):
                    found.setdefault(id(leaf), leaf)
    return list(found.values())


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


@contextlib.contextmanager
def kept_state(model: keras.Model, *, but: Any = ()) -> Iterator[None]:
    """While active, calls may change the model's state; afterwards it is again what it was.

    Args:
        model: built.
        but: variables that keep what they get.
    """
    spared = {id(variable) for variable in but}
    before = [(one, to_array(one)) for one in state_variables(model) if id(one) not in spared]
    try:
        yield
    finally:
        for variable, value in before:
            variable.assign(value)
