"""Making objects again from their configs with the user's own functions and objects in them, the very same ones.

A config holds names. Keras looks them up among its own functions first and in registers after that, so a function of
the user's named "relu" becomes Keras', and one that is in no register can't be found.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import keras

from analognets.layers import ADCGain

__all__ = ["of_others", "remade"]

NEVER = (
    keras.layers.Layer, keras.metrics.Metric, keras.optimizers.Optimizer, keras.Variable, keras.random.SeedGenerator,
    type,
)  # fmt: skip
"""What has a state of its own, and is copied rather than kept."""
HOUSES = ("keras", "analognets")


class Kept:
    """Stands for an object of the user while a config is made; made again it is that very object.

    Args:
        name: by which it is found.
        value: the object.
    """

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.value = value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.value(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name in ("value", "get_build_config", "get_compile_config"):
            raise AttributeError(name)
        return getattr(self.value, name)

    def get_config(self) -> dict[str, Any]:
        """Return the name as plain data."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Return the object of that name."""
        return keras.saving.get_registered_object(config["name"])


@cache
def plain_attributes() -> frozenset[str]:
    """Return the names of what every layer and model has."""
    model = keras.Model(name="any")
    model.held = keras.layers.Identity(name="any")
    return frozenset(vars(model)) - {"held"}


def of_others(thing: Any) -> bool:
    """Whether a class or function is neither Keras' nor this package's."""
    return (thing.__module__ or "").split(".")[0] not in HOUSES


def is_kept(value: Any) -> bool:
    """Whether a value is a function or a callable object of the user's, such as an initializer or a constraint."""
    if not callable(value) or isinstance(value, NEVER):
        return False
    kinds = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
    return of_others(value if isinstance(value, kinds) else type(value))


class Stand:
    """One config in the making: stands for an object and those inside of it, with the user's objects exchanged.

    The object itself is not touched: what takes its place has the same attributes, and gives its config.

    Args:
        inner: returns the copy of a model inside of a layer; None: it is made from its config.
    """

    def __init__(self, inner: Callable[[Any], Any] | None) -> None:
        self.inner = inner
        self.known: dict[str, Any] = {"Kept": Kept}
        self.made: dict[int, Any] = {}
        self.sources: list[Any] = []

    def keep(self, value: Any) -> Kept:
        """Return what stands for an object in a config."""
        kept = Kept(f"analognets_kept_{len(self.known)}", value)
        self.known[kept.name] = value
        return kept

    def of(self, source: Any, *, neutral: bool = False) -> Any:
        """Return what stands for an object.

        Args:
            source: a layer, a metric or an optimizer.
            neutral: put Keras' simplest function in the place of one in a Keras layer, where Keras reads and writes the
                config once more; for what is replaced in the end.
        """
        if id(source) in self.made:
            return self.made[id(source)]
        kind = type(source)
        if of_others(kind):
            self.known.setdefault(keras.saving.get_registered_name(kind), kind)
        else:
            neutral = neutral or isinstance(source, keras.layers.Bidirectional)
        stand = self.made[id(source)] = object.__new__(kind)
        self.sources.append(source)  # so that its id stays its own
        layer = isinstance(source, keras.layers.Layer)
        held = vars(stand)
        held.update(vars(source))
        for name, value in list(held.items()):
            if not (layer and name in plain_attributes()):
                held[name] = self.inside(name, value, neutral=neutral and not of_others(kind))
        return stand

    def inside(self, name: str, value: Any, *, neutral: bool) -> Any:
        """Return what stands for the value of an attribute."""
        if isinstance(value, keras.Model):
            return value if self.inner is None else self.keep(self.inner(value))
        if isinstance(value, keras.layers.Layer) and not isinstance(value, ADCGain):  # known by its identity
            return self.of(value, neutral=neutral)
        if is_kept(value):
            return without_effect(name) if neutral else self.keep(value)
        if isinstance(value, list) or type(value) is tuple:
            items = [self.inside(name, item, neutral=neutral) for item in value]
            return tuple(items) if isinstance(value, tuple) else items
        if isinstance(value, dict):
            return {key: self.inside(name, item, neutral=neutral) for key, item in value.items()}
        return value


def without_effect(name: str) -> Any:
    """Return Keras' simplest object for an attribute of a name such as "activation" or "kernel_initializer"."""
    if "activation" in name:
        return keras.activations.linear
    return keras.initializers.Zeros() if "initializer" in name else None


def objects_again(config: Any) -> Any:
    """Return a config with the objects themselves where a class put them in as they are."""
    if isinstance(config, Kept):
        return config.value
    if isinstance(config, dict):
        return {key: objects_again(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        items = [objects_again(value) for value in config]
        return tuple(items) if isinstance(config, tuple) else items
    return config


def holds_kept(source: Any) -> bool:
    """Whether an object, or a layer inside of it, has functions or objects of the user's in its attributes."""
    layers = source._flatten_layers() if isinstance(source, keras.layers.Layer) else [source]
    for one in layers:
        if isinstance(one, keras.layers.Layer) and of_others(type(one)):
            return True
        skipped = plain_attributes() if isinstance(one, keras.layers.Layer) else ()
        values = [value for name, value in vars(one).items() if name not in skipped]
        if any(is_kept(value) for value in keras.tree.flatten(values)):
            return True
    return False


def remade(
    kind: Any,
    source: Any,
    *,
    change: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    inner: Callable[[Any], Any] | None = None,
) -> Any:
    """Return an object of a class from the config of another, with the very functions and objects of the user.

    Args:
        kind: the class to make, with `from_config`.
        source: a layer, a metric or an optimizer; it is not changed.
        change: makes another config of it.
        inner: returns the copy of a model inside of a layer; None: it is made from its config.
    """
    if not holds_kept(source):
        config = source.get_config()
        return kind.from_config(config if change is None else change(config))
    stand = Stand(inner)
    config = objects_again(stand.of(source).get_config())
    with keras.saving.custom_object_scope(stand.known):
        return kind.from_config(config if change is None else change(config))
