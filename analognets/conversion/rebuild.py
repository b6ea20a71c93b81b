"""Rebuilding a Keras model with some of its layers replaced, and copying its weights."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from analognets.errors import ConversionError
from analognets.layers import AnalogLayer

__all__ = ["Rebuild", "check_model"]


class Rebuild:
    """One pass over a model: makes each layer's replacement and remembers the pairs to copy weights between."""

    def __init__(
        self,
        replace: Callable[[keras.layers.Layer], keras.layers.Layer | None],
        recast: Callable[[keras.layers.Layer], Any] = type,
    ) -> None:
        self.replace = replace
        self.recast = recast
        self.pairs: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []
        self.done: dict[int, keras.layers.Layer] = {}
        self.inside: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []

    def layer(self, layer: Any) -> Any:
        """Return what stands for a layer in the new model, the same one each time."""
        if id(layer) in self.done:
            return self.done[id(layer)]
        if not isinstance(layer, keras.layers.Layer):
            return type(layer).from_config(layer.get_config())  # an operation such as the + of two tensors
        new = self.replace(layer)
        if new is None:
            new = self.copy(layer)
        self.done[id(layer)] = new
        self.pairs.append((layer, new))
        return new

    def copy(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        """Copy a layer that is not converted itself; its inner layers may be."""
        if isinstance(layer, keras.Model) and is_cloneable(layer):
            return keras.models.clone_model(layer, clone_function=self.layer, recursive=True)
        if isinstance(layer, keras.layers.TFSMLayer):
            raise ConversionError(
                f"Layer '{layer.name}' (TFSMLayer) is a TensorFlow SavedModel, a graph without Keras layers, which "
                "can't be converted. Take the model's `.keras` or `.h5` file instead."
            )
        if type(layer) is keras.layers.Lambda:
            return same_lambda(layer)
        try:
            new = self.recast(layer).from_config(layer.get_config())
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ConversionError(
                f"'{layer.name}' ({type(layer).__name__}) can't be rebuilt from its config. Give the class a "
                f"get_config that holds all its arguments. Received: {error}"
            ) from error
        self.swap_attributes(layer, new)
        return new

    def swap_attributes(self, old: keras.layers.Layer, new: keras.layers.Layer) -> None:
        """Replace the layers held in a rebuilt block's attributes, lists and dicts, before it is built."""
        for name, value in list(vars(new).items()):
            if is_internal(name) or not any(isinstance(item, keras.layers.Layer) for item in held(value)):
                continue
            for item in held(value):
                new._tracker.untrack(item)
            setattr(new, name, self.replaced(getattr(old, name)))

    def replaced(self, value: Any) -> Any:
        """Return the replacement of a layer, or a list, tuple or dict with its layers replaced."""
        if isinstance(value, keras.layers.Layer):
            return self.layer(value)
        if isinstance(value, dict):
            return {key: self.replaced(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            items = [self.replaced(item) for item in value]
            return tuple(items) if isinstance(value, tuple) else items
        return value

    def pair_inside(self, old: keras.layers.Layer, new: keras.layers.Layer) -> None:
        """Pair the layers that a block has made for itself while it was built."""
        known = {id(layer) for layer in self.done.values()}
        rest = [layer for layer in old._layers if id(layer) not in self.done]
        fresh = [layer for layer in new._layers if id(layer) not in known]
        if [type(layer) for layer in rest] != [type(layer) for layer in fresh]:
            raise ConversionError(
                f"The inner layers of '{old.name}' ({type(old).__name__}) can't be matched with those of its copy. "
                f"Hold them in attributes, lists or dicts. Received: {len(rest)} and {len(fresh)} layers."
            )
        for before, after in zip(rest, fresh, strict=True):
            self.done[id(before)] = after
            self.pairs.append((before, after))
            if before.variables:
                self.inside.append((before, old))
            self.pair_inside(before, after)

    def model(self, model: keras.Model) -> keras.Model:
        """Return the new model with the weights of the old one."""
        with not_compiled(model):
            if is_cloneable(model):
                new = keras.models.clone_model(model, clone_function=self.layer, recursive=True)
            else:
                new = self.layer(model)
                new.build_from_config(model.get_build_config() or {})
                new.built = True
        for old, fresh in list(self.pairs):
            if type(old) is type(fresh) and not isinstance(old, AnalogLayer):
                self.pair_inside(old, fresh)
        for old, fresh in self.pairs:
            copy_weights(old, fresh)
            copy_state(old, fresh)
        return new


@functools.cache
def _keras_attributes() -> frozenset[str]:
    return frozenset(name for name in vars(keras.Model()) if name.startswith("_"))


def is_internal(name: str) -> bool:
    """Whether Keras or TensorFlow (names with _self_) keeps its own lists of layers in an attribute of this name."""
    return name in _keras_attributes() or name.startswith("_self_")


def held(value: Any) -> list[Any]:
    """Return what a list, tuple or dict holds, nested ones included, or the value itself."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [inner for item in value for inner in held(item)]
    return [value]


@contextlib.contextmanager
def not_compiled(model: keras.Model) -> Iterator[None]:
    """While active, the model and those inside it pass as not compiled, so that Keras doesn't compile their copies."""
    compiled = [layer for layer in model._flatten_layers() if getattr(layer, "compiled", False)]
    for layer in compiled:
        layer.compiled = False
    try:
        yield
    finally:
        for layer in compiled:
            layer.compiled = True


def check_model(model: Any) -> None:
    """Raise a ConversionError if `model` is not a built Keras model."""
    if not isinstance(model, keras.Model):
        raise ConversionError(f"What is converted must be a Keras model. Received: {model!r}.")
    if not model.built:
        raise ConversionError(
            f"Model '{model.name}' is not built yet, so its weights have no shape. Call it once on data, or give it an "
            "Input."
        )


def is_cloneable(model: keras.Model) -> bool:
    """Whether Keras can rebuild the model from its graph: Sequential and functional models."""
    return isinstance(model, keras.Sequential) or hasattr(type(model), "operations")


def same_lambda(layer: Any) -> keras.layers.Layer:
    """Return a Lambda layer with the very function of another, which its config does not hold in full."""
    return keras.layers.Lambda(
        layer.function,
        output_shape=layer._output_shape,
        mask=layer.mask,
        arguments=layer.arguments,
        name=layer.name,
        trainable=layer.trainable,
        dtype=layer.dtype_policy,
    )


def copy_state(old: Any, new: Any) -> None:
    """Copy what preprocessing layers keep beside their variables: vocabularies, and numbers derived from variables."""
    if hasattr(old, "save_assets") and hasattr(new, "load_assets"):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)
    if isinstance(new, keras.layers.Normalization):
        new.finalize_state()


def copy_weights(old: keras.layers.Layer, new: keras.layers.Layer) -> None:
    """Copy kernel and bias between a layer and its analog twin, or all of a plain layer's own variables."""
    if isinstance(new, AnalogLayer) != isinstance(old, AnalogLayer):
        sources = [old.kernel_variable if isinstance(old, AnalogLayer) else old.kernel]
        targets = [new.kernel_variable if isinstance(new, AnalogLayer) else new.kernel]
        if new.use_bias:
            sources.append(old.bias)
            targets.append(new.bias)
    else:
        sources = [*old._trainable_variables, *old._non_trainable_variables]
        targets = [*new._trainable_variables, *new._non_trainable_variables]
        if isinstance(new, AnalogLayer):
            sources.append(old.adc_gain.gain)
            targets.append(new.adc_gain.gain)
    if len(sources) != len(targets):
        raise ConversionError(
            f"The weights of '{old.name}' ({type(old).__name__}) can't be copied, its copy has others. Received: "
            f"{len(sources)} and {len(targets)} variables. Make sure that building the model makes all its weights."
        )
    for source, target in zip(sources, targets, strict=True):
        target.assign(np.array(keras.ops.convert_to_numpy(source)))  # JAX would let both share one buffer
