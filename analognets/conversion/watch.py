"""Counting the calls of a model's layers by running a copy of it once, where shapes alone do not tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops

from analognets.conversion.apply import ModelCopy
from analognets.conversion.calls import Call, folds_time
from analognets.conversion.identity import remade
from analognets.conversion.support import ANALOG_CLASS, ATTENTION, COMPOSITE_CLASS, name_inside
from analognets.layers import AnalogLayer, AnalogRNN

__all__ = ["Run", "watch"]

L = keras.layers


class Run(NamedTuple):
    """What a run tells of a model.

    Args:
        calls: the calls of each product's layer by its id; none if it was never called.
        names: the names that layers get when they are converted, by the layer's id.
    """

    calls: dict[int, list[Call]]
    names: dict[int, str]


class Watched:
    """Mixin for a layer that notes the shape of the first input of each of its calls in `note`."""

    note: Callable[[Call], None]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        shape = tuple((args[0] if args else next(iter(kwargs.values()))).shape)
        self.note(Call(shape, folded=shape[0] or 1))
        return super().__call__(*args, **kwargs)  # type: ignore[misc]


class FoldedTime(keras.layers.TimeDistributed):
    """`keras.layers.TimeDistributed` that folds time into the batch, as its analog version does."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        shape = ops.shape(inputs)
        outputs = self.layer(ops.reshape(inputs, (-1, *shape[2:])))
        return ops.reshape(outputs, (-1, shape[1], *ops.shape(outputs)[1:]))


class StepByStep(keras.layers.RNN):
    """`keras.layers.RNN` that calls its cells once a step; Keras calls stacked ones once more for dropout masks."""

    def _maybe_config_dropout_masks(self, *_: Any) -> None:
        return


def is_watched(layer: keras.layers.Layer) -> bool:
    """Whether a layer is or holds products, and no layer inside of it tells more."""
    several = type(layer) in COMPOSITE_CLASS and not isinstance(layer, ATTENTION)
    return (several or type(layer) in ANALOG_CLASS or isinstance(layer, AnalogLayer)) and layer.built


def watch(model: keras.Model, inputs: Any) -> Run:
    """Return the calls of a model's products, from running a copy of the model.

    Args:
        model: a built Keras model; it is not changed.
        inputs: a batch of one sample.

    Raises:
        ConversionError: the model can't be copied.
    """
    calls: dict[int, list[Call]] = {}
    names: dict[int, str] = {}

    def replace(layer: Any, owner: Any) -> keras.layers.Layer | None:
        names[id(layer)] = name_inside(layer, owner)
        if not is_watched(layer):
            return None
        watched: Any = type(f"Watched{type(layer).__name__}", (Watched, type(layer)), {})
        twin = remade(watched, layer)
        twin.note = calls.setdefault(id(layer), []).append
        return twin

    def recast(layer: keras.layers.Layer) -> type:
        if isinstance(layer, L.TimeDistributed) and folds_time(layer):
            return FoldedTime
        return StepByStep if type(layer) in (L.RNN, AnalogRNN) else type(layer)

    def changes(layer: keras.layers.Layer) -> bool:
        return any(is_watched(inner) for inner in layer._flatten_layers())

    copy = ModelCopy(replace, recast, changes, weights=False).model(model)
    for made in calls.values():  # while it was built
        made.clear()
    for layer in copy._flatten_layers():
        if isinstance(layer, L.RNN) and not isinstance(layer, Watched):
            layer.unroll = True
    copy(inputs, training=False)
    return Run(calls, names)
