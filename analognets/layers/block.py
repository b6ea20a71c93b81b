"""A layer of one's own in which some layers have been exchanged for analog ones."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from analognets.errors import ConversionError
from analognets.layers.adc_gain import copying, current_copying
from analognets.layers.base import AnalogLayer
from analognets.layers.composite import AnalogComposite
from analognets.layers.recurrent import AnalogRecurrent

__all__ = ["AnalogBlock", "exchange", "held_layers", "is_internal", "layers_in", "names_of_keras"]

ANALOG = (AnalogLayer, AnalogComposite, AnalogRecurrent)
CALL = (
    "_call_signature", "call_signature_parameters", "_call_has_training_arg", "_call_has_mask_arg",
    "_call_context_args", "_call_has_context_arg",
)  # fmt: skip
"""Where Keras notes which arguments a layer can be called with."""
CELL = ("state_size", "output_size", "get_initial_state")
"""What a recurrent layer asks of its cell."""


@functools.cache
def _internal_names() -> frozenset[str]:
    model = keras.Model(name="any")
    model.held = keras.layers.Identity(name="any")  # TensorFlow notes what a model holds in attributes of its own
    return frozenset(name for name in vars(model) if name.startswith("_"))


def is_internal(name: str) -> bool:
    """Whether Keras or TensorFlow keeps its own notes in an attribute of this name."""
    return name in _internal_names()


@functools.cache
def names_of_keras() -> frozenset[str]:
    """Return all attributes that Keras sets for itself in a functional model, one that is compiled, too."""
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    model.compile()
    return frozenset(vars(model))


def layers_in(value: Any, place: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yield a layer, or the layers in lists, tuples and dicts, with their places such as "_heads/0"."""
    if isinstance(value, keras.layers.Layer):
        yield place, value
    elif isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from layers_in(item, f"{place}/{key}")


def held_layers(block: keras.layers.Layer) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yield the layers in a block's attributes, lists and dicts, with their places such as "_heads/0"."""
    kept = names_of_keras() if hasattr(type(block), "operations") else _internal_names()
    for name, value in list(vars(block).items()):
        if name not in kept:
            yield from layers_in(value, name)


@contextlib.contextmanager
def exchanging(block: Any, becomes: Mapping[int, keras.layers.Layer]) -> Iterator[None]:
    """While active, layers of a block, one that is built already too, can be exchanged; they keep their places.

    Keras numbers variables, and so the slots of an optimizer, in the order in which layers came into a block.

    Args:
        block: a layer.
        becomes: what takes the place of a layer, by the id of the latter.
    """
    places = {id(becomes.get(id(layer), layer)): place for place, layer in enumerate(block._layers)}
    locked = block._tracker.locked
    block._tracker.unlock()
    try:
        yield
    finally:
        block._tracker.locked = locked
        block._layers.sort(key=lambda layer: places.get(id(layer), len(places)))


def exchange(block: keras.layers.Layer, before: keras.layers.Layer, after: keras.layers.Layer) -> None:
    """Put one layer in the place of another in the attributes of a block, also of one that is built already."""

    def exchanged(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: exchanged(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            items = [exchanged(item) for item in value]
            return tuple(items) if isinstance(value, tuple) else items
        return after if value is before else value

    names = {place.split("/")[0] for place, layer in held_layers(block) if layer is before}
    with exchanging(block, {id(before): after}):
        block._tracker.untrack(before)
        for name in names:
            setattr(block, name, exchanged(vars(block)[name]))


@keras.saving.register_keras_serializable(package="analognets")
class AnalogBlock(keras.layers.Layer):
    """A layer of one's own that makes its inner layers itself, with some of them exchanged for analog ones.

    Its class knows nothing of analog layers, so the config that it saves makes plain ones. This wrapper saves that
    config and the analog layers beside it. It is called like the block, which is its attribute `block`.

    Args:
        block: the layer.
        exchanged: configs of analog layers by their places in the block, such as "_attention" or "_blocks/0 _dense".
            None if they are in their places already.

    Raises:
        ConversionError: when it is first called: the block has no layer at such a place.

    Examples:
        >>> @keras.saving.register_keras_serializable("Docs")
        ... class Residual(keras.layers.Layer):
        ...     def __init__(self, **kwargs):
        ...         super().__init__(**kwargs)
        ...         self.dense = keras.layers.Dense(8)
        ...     def call(self, inputs):
        ...         return inputs + self.dense(inputs)
        >>> net = keras.Sequential([keras.Input((8,)), Residual(name="residual")])
        >>> block = analognets.to_analog(net).get_layer("residual")
        >>> type(block).__name__, type(block.block.dense).__name__
        ('AnalogBlock', 'AnalogDense')
    """

    def __init__(self, block: keras.layers.Layer, exchanged: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**{"name": block.name, **kwargs})
        self.block = block
        self.supports_masking = block.supports_masking
        for name in CALL:  # so that Keras passes it what the block takes
            setattr(self, name, getattr(block, name))
        for name in CELL:
            if hasattr(block, name):
                setattr(self, name, getattr(block, name))
        self._waiting = (dict(exchanged or {}), None if exchanged is None else current_copying())

    def _exchange(self) -> None:
        waiting, made_in = self._waiting
        self._waiting = ({}, None)
        with copying(made_in):
            self._put_in_place(waiting)

    def _put_in_place(self, waiting: dict[str, Any]) -> None:
        for place, config in waiting.items():
            owner: Any = self.block
            found: Any = None
            for step in place.split(" "):
                owner = owner if found is None else found
                found = dict(held_layers(owner)).get(step)
                if found is None:
                    raise ConversionError(
                        f"The block '{self.block.name}' ({type(self.block).__name__}) has no layer at '{place}', where "
                        "an analog one belongs. Its class has changed since the model was saved."
                    )
            made = keras.saving.deserialize_keras_object(config)
            if found.built and not made.built:
                made.build_from_config(found.get_build_config() or {})
            exchange(owner, found, made)

    def build(self, input_shape: Any = None) -> None:
        if hasattr(self.block, CELL[0]):  # a cell is called inside of a loop, where nothing can be built
            if not self.block.built:
                self.block.build(input_shape)
            self._exchange()
        self.built = True  # any other block is, by its first call

    def call(self, *args: Any, **kwargs: Any) -> Any:
        if self._waiting[0]:
            if not self.block.built:
                self.block(*args, **kwargs)
            self._exchange()
        return self.block(*args, **kwargs)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Return the mask of the block."""
        return self.block.compute_mask(inputs, previous_mask)

    def analog_places(self) -> dict[str, keras.layers.Layer]:
        """Return the analog layers of the block by their places."""

        def inside(block: keras.layers.Layer, prefix: str) -> Iterator[tuple[str, keras.layers.Layer]]:
            for place, layer in held_layers(block):
                if isinstance(layer, ANALOG):
                    yield prefix + place, layer
                else:
                    yield from inside(layer, f"{prefix}{place} ")

        return dict(inside(self.block, ""))

    def get_build_config(self) -> None:
        """Nothing: it is built by its first call."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Return the configuration as plain data."""
        waiting = self._waiting[0]
        places = {place: keras.saving.serialize_keras_object(one) for place, one in self.analog_places().items()}
        return {
            **super().get_config(),
            "block": keras.saving.serialize_keras_object(self.block),
            "exchanged": {**places, **waiting},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AnalogBlock:
        """Build the wrapper from `get_config`'s data."""
        rest = {key: value for key, value in config.items() if key != "block"}
        return cls(keras.saving.deserialize_keras_object(config["block"]), **rest)
