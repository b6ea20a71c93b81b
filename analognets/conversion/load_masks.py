"""Masks of padded positions: a model of Keras 2 is refused where Keras 3 hands on another mask than Keras 2 did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from analognets.errors import ConversionError

__all__ = ["check_masks"]

MERGES = tuple(getattr(keras.layers, name) for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"))
"""Layers whose mask was the AND of those masks that there are; now it is the OR, and none where an input has none."""
STOPS = (keras.layers.Rescaling, keras.layers.Normalization)
"""Layers behind which there was no mask; now it is handed on."""


def check_masks(path: Path, model: keras.Model) -> None:
    """Raise unless all masks of a model that Keras 2 wrote are those that it had there.

    Args:
        path: the file, for messages.
        model: as it was made of the file.

    Raises:
        ConversionError: a layer makes another mask in Keras 3.

    Source: `compute_mask` of the layers of tf_keras 2.21 and Keras 3.15; both were compared by their outputs.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.TimeDistributed) and getattr(layer.layer, "mask_zero", False):
            raise _other_mask(path, layer, "Keras 3 makes no mask of the padded positions in it")
        for masks in _masks(layer):
            why = _difference(layer, masks)
            if why:
                raise _other_mask(path, layer, why)
            inside = [one for one in layer._flatten_layers() if isinstance(one, (*MERGES, *STOPS))]
            if isinstance(layer, keras.Model) and any(mask is not None for mask in masks) and inside:
                raise _other_mask(path, inside[0], "Keras 3 may hand on another mask of padded positions from it")


def _masks(layer: Any) -> Iterator[list[Any]]:
    """Yield the masks of the inputs of each call of a layer, None for an input without one."""
    for node in layer._inbound_nodes:
        yield [getattr(tensor, "_keras_mask", None) for tensor in node.input_tensors]


def _difference(layer: Any, masks: list[Any]) -> str:
    """Return how the mask behind a call differs between Keras 2 and 3; "" if it does not."""
    if not any(mask is not None for mask in masks):
        return ""
    if isinstance(layer, STOPS):
        return "Keras 3 hands the mask of padded positions on, where Keras 2 dropped it"
    if isinstance(layer, MERGES) and any(mask is not masks[0] for mask in masks):
        return "Keras 3 joins the masks of padded positions of its inputs by OR, Keras 2 by AND"
    return ""


def _other_mask(path: Path, layer: Any, why: str) -> ConversionError:
    return ConversionError(
        f"Layer '{layer.name}' ({type(layer).__name__}) of the model in '{path}' computes something else than in "
        f"Keras 2: {why}. Build the model in Python with keras.layers.Layer classes of your own that make the mask, "
        "and load its weights."
    )
