"""Compiling a method once for each object, on whichever backend Keras has."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from typing import Any

import keras

from analognets.core.backend import check_backend
from analognets.layers.kept_state import state_variables

__all__ = ["Compiled", "compiled"]


def compiled(method: Callable[..., Any], model: keras.Model | None = None, *, own: Any = ()) -> Compiled:
    """Return a compiled function of a bound method that takes and gives tensors, arrays and structures of them.

    Args:
        method: what to compile; it branches on settings only.
        model: whose variables the method reads or changes, or None.
        own: further variables that it reads or changes.

    Raises:
        InvalidArgumentError: Keras runs on another backend than TensorFlow and JAX.
    """
    check_backend("Chips are programmed and run")
    if keras.backend.backend() == "jax":
        return _OnJAX(method, model, own)
    return _OnTensorFlow(method)


class Compiled(abc.ABC):
    """A compiled function."""

    @abc.abstractmethod
    def __call__(self, *arguments: Any) -> Any:
        """Return what the method makes of arguments."""

    @property
    @abc.abstractmethod
    def traces(self) -> int:
        """How often it has been traced."""

    @property
    @abc.abstractmethod
    def writes(self) -> bool | None:
        """Whether a call changes any variable, by the latest trace; None before the first one."""


class _OnTensorFlow(Compiled):
    """A `tf.function` that traces by itself, without counting those of other objects.

    TensorFlow warns of frequent retracing by code object; a partial of its own keeps objects of one class apart.
    """

    def __init__(self, method: Callable[..., Any]) -> None:
        import tensorflow as tf

        self._graph: Any = None
        traced = functools.partial(self._traced, method)
        self._function = tf.function(traced, autograph=False, reduce_retracing=True)

    def _traced(self, method: Callable[..., Any], *arguments: Any) -> Any:
        import tensorflow as tf

        self._graph = tf.compat.v1.get_default_graph()
        return method(*arguments)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    @property
    def traces(self) -> int:
        """How often it has been traced."""
        return int(self._function.experimental_get_tracing_count())

    @property
    def writes(self) -> bool | None:
        """Whether the graph of the latest trace changes any variable; None before the first one."""
        if self._graph is None:
            return None
        definition = self._graph.as_graph_def()
        nodes = [*definition.node, *(node for one in definition.library.function for node in one.node_def)]
        return any(node.op.startswith(("Assign", "ResourceScatter", "ResourceApply")) for node in nodes)


class _OnJAX(Compiled):
    """A function under `jax.jit`: variables go in as arguments, and those that it changes come out and are assigned."""

    def __init__(self, method: Callable[..., Any], model: keras.Model | None, own: Any) -> None:
        import jax

        self._method = method
        self._model = model
        self._own = tuple(own)
        self._variables: list[keras.Variable] = []
        self._traces = 0
        self._writes: bool | None = None
        self._function = jax.jit(self._traced)

    def _traced(self, values: list[Any], *arguments: Any) -> tuple[Any, dict[int, Any]]:
        self._traces += 1
        with keras.StatelessScope(state_mapping=zip(self._variables, values, strict=True)) as scope:
            outputs = self._method(*arguments)
        now = [scope.get_current_value(variable) for variable in self._variables]
        changed = {place: new for place, (new, old) in enumerate(zip(now, values, strict=True)) if new is not old}
        self._writes = bool(changed)
        return outputs, changed

    def __call__(self, *arguments: Any) -> Any:
        known = [] if self._model is None else [*self._model.variables, *state_variables(self._model)]
        self._variables = list({id(variable): variable for variable in [*known, *self._own]}.values())
        outputs, changed = self._function([variable.value for variable in self._variables], *arguments)
        for place, value in changed.items():
            self._variables[place].assign(value)
        return outputs

    @property
    def traces(self) -> int:
        """How often it has been traced."""
        return self._traces

    @property
    def writes(self) -> bool | None:
        """Whether the latest trace changes any variable; None before the first one."""
        return self._writes
