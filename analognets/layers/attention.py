"""Multi-head attention on a crossbar: the projections on tiles, scores and weighted sum digital."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

import keras

from analognets.errors import InvalidArgumentError
from analognets.layers.composite import AnalogComposite, kernel_of
from analognets.layers.einsum import AnalogEinsumDense

__all__ = ["AnalogGroupQueryAttention", "AnalogMultiHeadAttention"]


class AnalogAttention(AnalogComposite):
    """Mixin for the attention layers: their projections are analog layers, made before it is known what they see."""

    @property
    def product_attributes(self) -> Mapping[str, str]:
        names = ["query", "key", "value", *(["gate"] if self.has_gate else [])]
        return {**{name: f"_{name}_dense" for name in names}, "attention_output": "_output_dense"}

    @property
    def has_gate(self) -> bool:
        """Whether the output is multiplied by a projection of the query."""
        return bool(getattr(self, "_use_gate", getattr(self, "use_gate", False)))

    def heads(self) -> dict[str, tuple[int, int]]:
        """Return (heads, size of one) of each projection but the last."""
        raise NotImplementedError

    def joined_heads(self) -> tuple[int, int]:
        """Return (heads, size of one) of what the last projection sees."""
        raise NotImplementedError

    def result_shape(self) -> tuple[int | None, ...]:
        """Return the shape of one output vector, with None for what follows from the query."""
        return (None,)

    def make_products(self, settings: dict[str, dict[str, Any] | None]) -> None:
        for name, attribute in self.product_attributes.items():
            if name in self.heads():
                equation, out, shape = "...x,xyz->...yz", "yz", self.heads()[name]
            else:
                out = string.ascii_lowercase[: len(self.result_shape())]
                equation, shape = f"...yz,yz{out}->...{out}", self.result_shape()  # type: ignore[assignment]
            made = self.make_product(
                name,
                settings[name],
                AnalogEinsumDense,
                keras.layers.EinsumDense,
                equation=equation,
                output_shape=shape,
                bias_axes=out if self.use_bias else None,
                activation="sigmoid" if name == "gate" else None,
                **self._get_common_kwargs_for_sublayer(),
            )
            setattr(self, attribute, made)

    def build_projections(self, query_shape: Any, value_shape: Any, key_shape: Any) -> None:
        """Build the projections for the shapes of query, value and key."""
        seen = {"key": key_shape, "value": value_shape}
        for name in self.heads():
            if name in self.product_attributes:
                self.products[name].build(tuple(seen.get(name, query_shape)))
        last = self.products["attention_output"]
        last.partial_output_shape = tuple(query_shape[-1] if size is None else size for size in self.result_shape())
        last.build((*query_shape[:-1], *self.joined_heads()))

    def variables_of(self, layer: Any) -> list[keras.Variable]:
        return _variables([getattr(layer, held) for held in self.product_attributes.values()])

    def own_variables(self) -> list[keras.Variable]:
        return _variables(list(self.products.values()))


def _variables(projections: list[Any]) -> list[keras.Variable]:
    kernels_and_biases = [(kernel_of(layer), layer.bias) for layer in projections]
    return [variable for pair in kernels_and_biases for variable in pair if variable is not None]


@keras.saving.register_keras_serializable(package="analognets")
class AnalogMultiHeadAttention(AnalogAttention, keras.layers.MultiHeadAttention):
    """Multi-head attention whose projections are computed on crossbars.

    y = softmax(Q K^T / sqrt(d)) V  projected once more,  Q, K, V = x W + b

    The four projections (five with a gate) are the `AnalogEinsumDense` layers "<name>_query", "_key", "_value",
    "_attention_output" (and "_gate"). Q K^T and the weighted sum multiply activations with each other, so there is
    nothing to programme: they stay digital, as in the source. With ideal converters and no noise it equals
    `keras.layers.MultiHeadAttention`, and is called the same way.

    Takes every argument of `keras.layers.MultiHeadAttention` and those of `AnalogComposite`.

    Source: Rasch et al., Nat. Commun. 14:5282 (2023), BERT: attention products digital (verified).

    Examples:
        >>> layer = AnalogMultiHeadAttention(2, 8, crossbar="aimc_standard")
        >>> print(layer(np.ones((2, 5, 32)), np.ones((2, 5, 32))).shape)
        (2, 5, 32)
    """

    def heads(self) -> dict[str, tuple[int, int]]:
        key, value = (self.num_heads, self.key_dim), (self.num_heads, self.value_dim)
        return {"query": key, "key": key, "value": value, "gate": value}

    def joined_heads(self) -> tuple[int, int]:
        return self.num_heads, self.value_dim

    def result_shape(self) -> tuple[int | None, ...]:
        return tuple(self._output_shape) if self._output_shape else (None,)

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        key_shape = value_shape if key_shape is None else key_shape
        if tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
            raise InvalidArgumentError(
                "All dimensions of `value` and `key`, except the last one, must be equal. Received: "
                f"value_shape={tuple(value_shape)} and key_shape={tuple(key_shape)} for layer '{self.name}'."
            )
        self.build_projections(query_shape, value_shape, key_shape)
        self._build_attention(len(value_shape) + 1)
        self.built = True


@keras.saving.register_keras_serializable(package="analognets")
class AnalogGroupQueryAttention(AnalogAttention, keras.layers.GroupQueryAttention):
    """Grouped-query attention whose projections are computed on crossbars; see `AnalogMultiHeadAttention`.

    Takes every argument of `keras.layers.GroupQueryAttention` and those of `AnalogComposite`.

    Examples:
        >>> layer = AnalogGroupQueryAttention(8, num_query_heads=4, num_key_value_heads=2)
        >>> print(layer(np.ones((2, 5, 32)), np.ones((2, 5, 32))).shape)
        (2, 5, 32)

    Source: as `AnalogMultiHeadAttention`.
    """

    def heads(self) -> dict[str, tuple[int, int]]:
        query, key = (self.num_query_heads, self.head_dim), (self.num_key_value_heads, self.head_dim)
        return {"query": query, "key": key, "value": key, "gate": query}

    def joined_heads(self) -> tuple[int, int]:
        return self.num_query_heads, self.head_dim

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        self.feature_dim = query_shape[-1]
        self.build_projections(query_shape, value_shape, value_shape if key_shape is None else key_shape)
        self._softmax = keras.layers.Softmax(axis=-1, dtype=self.dtype_policy)
        self._dropout_layer = keras.layers.Dropout(rate=self.dropout, dtype=self.dtype_policy, seed=self.seed)
        self._dot_product_equation = "bquh,bkuh->buqk"
        self._combine_equation = "buqk,bkuh->bquh"
        self.built = True
