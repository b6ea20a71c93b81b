"""Masks of padded positions: a model of Keras 2 is refused where Keras 3 uses another mask than Keras 2 did."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import keras
from keras import layers as L

from analognets.conversion.calls import graph_nodes
from analognets.errors import ConversionError

__all__ = ["check_masks"]

MERGES = (L.Add, L.Subtract, L.Multiply, L.Average, L.Maximum, L.Minimum)
"""Layers whose mask was the AND of those masks that there are; now it is the OR, and none where an input has none."""
STOPS = (L.Rescaling, L.Normalization)
"""Layers behind which there was no mask; now it is handed on."""
USERS = (
    L.RNN, L.Bidirectional, L.ConvLSTM1D, L.ConvLSTM2D, L.ConvLSTM3D, L.GlobalAveragePooling1D, L.Attention,
    L.AdditiveAttention, L.MultiHeadAttention, L.Softmax, L.TimeDistributed,
)  # fmt: skip
"""Layers that compute something else where a position is masked."""
ENDS = (L.Flatten, L.GlobalAveragePooling1D, L.GlobalMaxPooling1D)
"""Layers behind which there is no mask in either."""


@dataclasses.dataclass(frozen=True)
class Other:
    """A mask that differs between Keras 2 and 3.

    Args:
        layer: that makes it.
        why: how it differs.
    """

    layer: str
    why: str


def check_masks(path: Path, model: keras.Model) -> None:
    """Raise if a layer of a model that Keras 2 wrote sees another mask than it did there.

    Masks are followed through the graph by where they come from; nothing is run.

    Args:
        path: the file, for messages.
        model: as it was made of the file.

    Raises:
        ConversionError: a layer that computes with masks sees another one in Keras 3.

    Source: `compute_mask` of the layers of tf_keras 2.21 and Keras 3.15; both were compared by their outputs.
    """
    _Walk(path).model(model, [None] * len(getattr(model, "inputs", None) or ()))


class _Walk:
    """One pass over a graph: which mask each tensor has, as what tells it from others; None for none."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def model(self, model: Any, given: Sequence[Hashable]) -> list[Hashable]:
        """Return the masks of the outputs of a model, given those of its inputs."""
        graph = getattr(model, "_functional", None) or model  # a Sequential holds one
        inputs, outputs = (getattr(graph, name, None) or [] for name in ("inputs", "outputs"))
        masks: dict[int, Hashable] = {id(one): mask for one, mask in zip(inputs, given, strict=False)}
        for node in graph_nodes(graph):
            if not node.input_tensors:
                continue
            seen = [masks.get(id(one)) for one in node.input_tensors]
            made = self.call(node.operation, seen, [id(one) for one in node.input_tensors])
            made = made * len(node.output_tensors)
            masks |= {id(one): mask for one, mask in zip(node.output_tensors, made, strict=False)}
        return [masks.get(id(one)) for one in outputs]

    def call(self, layer: Any, seen: list[Hashable], inputs: list[int]) -> list[Hashable]:
        """Return the masks of the outputs of one call."""
        other = next((mask for mask in seen if isinstance(mask, Other)), None)
        if isinstance(layer, USERS) and other is not None:
            raise ConversionError(
                f"Layer '{other.layer}' of the model in '{self.path}' computes something else than in Keras 2: Keras 3 "
                f"{other.why}, which '{layer.name}' ({type(layer).__name__}) computes with. Build the model in Python "
                "with keras.layers.Layer classes of your own that make the mask, and load its weights."
            )
        if isinstance(layer, keras.Model):
            return self.model(layer, seen) or [None]
        if isinstance(layer, L.Masking) or getattr(layer, "mask_zero", False):
            return [(type(layer).__name__, getattr(layer, "mask_value", 0), inputs[0])]
        if isinstance(layer, L.TimeDistributed) and getattr(layer.layer, "mask_zero", False):
            return [Other(layer.name, "makes no mask of the padded positions in it")]
        if isinstance(layer, STOPS) and seen[0] is not None:
            return [Other(layer.name, "hands the mask of padded positions on, which Keras 2 dropped")]
        if isinstance(layer, MERGES) and len({*seen}) > 1:
            return [other or Other(layer.name, "joins masks of padded positions by OR, where Keras 2 took the AND")]
        if isinstance(layer, ENDS) or not getattr(layer, "supports_masking", True):
            return [None]
        if isinstance(layer, (L.RNN, L.Bidirectional)) and not getattr(layer, "return_sequences", True):
            return [None]
        return [other or next((mask for mask in seen if mask is not None), None)]
