"""Whether a copy of a model with classes of one's own answers as the model does."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from analognets.conversion.identity import of_others
from analognets.conversion.support import is_analog, is_cloneable
from analognets.core.agreement import largest_difference, refuse_difference
from analognets.errors import ConversionError, reason

__all__ = ["refuse_other_copy"]

SAMPLES, OPEN_SIZE = 2, 8
"""Samples that both answer, and how long axes are where the model leaves it open."""
LIMIT = 1e-3
"""Largest relative difference in single precision."""


def refuse_other_copy(model: keras.Model, copy: keras.Model) -> None:
    """Raise a ConversionError if a copy answers random inputs otherwise than the model it was made from.

    Models of Keras' own classes are not tried: their layers are made anew one by one. Nothing is said of models that
    can't be tried: which do not say what they take, compute in half precision, draw random numbers, keep states, have
    analog layers already, or end otherwise than with numbers.

    Args:
        model: the model; its variables stay as they are.
        copy: with its weights.
    """
    layers = model._flatten_layers()
    if not any(of_others(type(layer)) for layer in layers) or any(
        is_analog(layer) or layer.compute_dtype != "float32" for layer in layers
    ):
        return
    try:
        inputs = _random_inputs(model)
        expected, again = (_answers(model, inputs) for _ in range(2))
        if expected is None or again is None or largest_difference(again, expected):
            return
    except Exception:  # foreign layers raise anything for inputs that they don't like
        return
    what = f"The analog copy of model '{model.name}' ({type(model).__name__}), before any hardware is on,"
    hint = (
        "A class in it can't be copied faithfully: its config lacks an argument, it was changed after construction, or "
        "it holds layers in other places than attributes, lists and dicts. Convert its parts one by one to find it."
    )
    try:
        found = _answers(copy, inputs)
    except Exception as error:
        raise ConversionError(f"{what} can't be called: {reason(error)}. {hint}") from error
    refuse_difference(found or [], expected, what, hint, LIMIT)


def _random_inputs(model: keras.Model) -> Any:
    """Return random inputs in the structure that a model takes; 0 and 1 where it takes whole numbers."""
    rng = np.random.default_rng(0)

    def drawn(shape: Any, dtype: str) -> np.ndarray:
        shape = (SAMPLES, *(size or OPEN_SIZE for size in shape[1:]))
        values = rng.normal(size=shape) if "float" in dtype else rng.integers(0, 2, shape)
        return np.asarray(values).astype(dtype)

    if is_cloneable(model):
        graph = model._functional if isinstance(model, keras.Sequential) else model
        return keras.tree.map_structure(lambda one: drawn(one.shape, one.dtype), graph._inputs_struct)
    (shape,) = model._build_shapes_dict.values()
    return drawn(shape, "float32")


def _answers(model: keras.Model, inputs: Any) -> list[np.ndarray] | None:
    """Return the outputs of a model, which keeps its variables; None if it would change them."""
    trainable, kept = ([variable.value for variable in part] for part in (model.trainable_variables,
                                                                         model.non_trainable_variables))  # fmt: skip
    outputs, states = model.stateless_call(trainable, kept, inputs, training=False)
    if any(not np.array_equal(before, after) for before, after in zip(kept, states, strict=True)):
        return None
    return [np.asarray(keras.ops.convert_to_numpy(one)) for one in keras.tree.flatten(outputs)]
