"""Making a copy of a Keras model with some of its layers replaced, and copying its weights."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import keras

from analognets.conversion.identity import of_others, remade
from analognets.conversion.own_models import constructed, has_constructor, in_class, is_its_graph, spares
from analognets.conversion.support import is_analog, is_cloneable, is_composite
from analognets.core.drafts import temporary_folder
from analognets.errors import ConversionError
from analognets.layers import AnalogBlock, AnalogLayer
from analognets.layers.adapters import ADAPTERS
from analognets.layers.adc_gain import copying
from analognets.layers.block import exchange, exchanging, held_layers, is_internal, layers_in
from analognets.layers.composite import assign_arrays, freeze_alike, kernel_of, to_array

__all__ = ["ModelCopy", "check_copyable"]


STATES = (keras.Variable, keras.metrics.Metric, keras.random.SeedGenerator)
"""What holds a state of its own, which a copy must not share."""
REFUSALS = (TypeError, ValueError, NotImplementedError, AttributeError, LookupError)
"""What classes of others raise where they can't be made from their config."""
USUAL_FROM_CONFIG = tuple(kind.from_config.__func__ for kind in (keras.layers.Layer, keras.Model))


class ModelCopy:
    """One pass over a model: makes each layer's replacement and remembers the pairs to copy weights between.

    Args:
        replace: returns what stands for a layer, or None if it is copied; given the block that makes the layer itself.
        recast: returns the class of a layer's copy.
        changes: whether something in a layer is replaced.
        wraps: whether blocks of one's own in a graph are wrapped in an `AnalogBlock`, so that they can be saved.
        weights: whether weights and states are copied.
    """

    def __init__(
        self,
        replace: Callable[[keras.layers.Layer, keras.layers.Layer | None], keras.layers.Layer | None],
        recast: Callable[[keras.layers.Layer], Any],
        changes: Callable[[keras.layers.Layer], bool],
        *,
        wraps: bool = False,
        weights: bool = True,
    ) -> None:
        self.changes = changes
        self.wraps = wraps
        self.weights = weights
        self.wrapped: dict[int, Any] = {}
        self.replace = replace
        self.recast = recast
        self.pairs: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []
        self.done: dict[int, keras.layers.Layer] = {}
        self.owners = 0
        self.spare: dict[int, keras.layers.Layer] = {}
        self.inside: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []

    def layer(self, layer: Any) -> Any:
        """Return what stands for a layer in the new model, the same one each time."""
        if isinstance(layer, AnalogBlock):
            layer = layer.block
        if id(layer) in self.done:
            return self.done[id(layer)]
        if not isinstance(layer, keras.layers.Layer):
            return self.operation(layer)
        new = self.replace(layer, None)
        if new is None:
            new = self.copy(layer)
        self.done[id(layer)] = new
        self.pairs.append((layer, new))
        return new

    def operation(self, operation: Any) -> Any:
        """Return a copy of an operation such as the + of two tensors."""
        try:
            return remade(type(operation), operation)
        except REFUSALS as error:
            raise no_config(operation, error) from error

    def node(self, layer: Any) -> Any:
        """Return what stands for a layer in a graph or in a Keras wrapper, which are made again from a config."""
        block = layer.block if isinstance(layer, AnalogBlock) else layer
        if id(block) in self.wrapped:
            return self.wrapped[id(block)]
        new = self.layer(block)
        if self.wraps and type(new) is type(block) and is_own(block) and self.changes(block):
            new = AnalogBlock(new)
        self.wrapped[id(block)] = new
        return new

    def copy(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        """Copy a layer that is not converted itself; its inner layers may be."""
        if isinstance(layer, keras.Model) and is_cloneable(layer):
            return self.graph(layer, inside=True)
        if isinstance(layer, keras.layers.TFSMLayer):
            raise ConversionError(
                f"Layer '{layer.name}' (TFSMLayer) is a TensorFlow SavedModel, a graph without Keras layers, which "
                "can't be converted. Take the model's `.keras` or `.h5` file instead."
            )
        if type(layer) is keras.layers.Lambda:
            return same_lambda(layer)
        within = self.layer if is_own(layer) or isinstance(layer, keras.Model) else self.node
        try:
            new = remade(self.recast(layer), layer, inner=None if isinstance(layer, keras.Model) else within)
        except REFUSALS as error:
            if id(layer) not in self.spare:
                raise no_config(layer, error) from error
            new = self.spare[id(layer)]
        with self.owned(within == self.layer):
            self.swap_attributes(layer, new, within)
        return new

    @contextlib.contextmanager
    def owned(self, keeps: bool) -> Iterator[None]:
        """While active, models inside keep their classes, whose attributes a class of others around them may use."""
        self.owners += keeps
        try:
            yield
        finally:
            self.owners -= keeps

    def graph(self, model: keras.Model, *, inside: bool = False) -> keras.Model:
        """Copy a model with a graph; one with a constructor of its own keeps its class.

        Inside of a plain one that is to be saved, it does so only if it is more than its graph: a file with the class
        in it is read by the constructor, which knows nothing of exchanged layers.
        """
        own = any(has_constructor(layer) for layer in model._flatten_layers())
        made = constructed(model) if has_constructor(model) else None
        self.spare |= spares(model.layers, getattr(made, "layers", ()))
        keeps = made is not None and not (inside and self.wraps and not self.owners and is_its_graph(model))
        with self.owned(keeps):
            new = keras.models.clone_model(model, clone_function=self.node, recursive=not own)
            if keeps:
                new = in_class(model, made, new, lambda value, its: self.replaced(value, self.node, its))
        if own:
            self.done[id(model)] = self.wrapped[id(model)] = new
        return new

    def swap_attributes(self, old: keras.layers.Layer, new: keras.layers.Layer, within: Callable[[Any], Any]) -> None:
        """Replace the layers held in a rebuilt block's attributes, lists and dicts; those of a built one are built."""
        if isinstance(old, keras.layers.RNN) and not self.changes(old):
            return  # some of Keras' cells can't be made from their config
        becomes: dict[int, keras.layers.Layer] = {}
        changed = {}
        for name, value in list(vars(new).items()):
            items = [] if is_internal(name) else [layer for _, layer in layers_in(value)]
            if not items:
                continue
            before = [layer for _, layer in layers_in(getattr(old, name))]
            self.spare |= spares(before, items)
            changed[name] = self.replaced(getattr(old, name), within, value)
            made = [layer for _, layer in layers_in(changed[name])]
            becomes |= {id(item): fresh for item, fresh in zip(items, made, strict=False)}
            for item, fresh in zip(items, made, strict=False):
                if new.built and item.built and not fresh.built:
                    fresh.build_from_config(item.get_build_config() or {})
        with exchanging(new, becomes):
            for name in changed:
                for _, layer in layers_in(vars(new)[name]):
                    new._tracker.untrack(layer)
            for name, value in changed.items():
                setattr(new, name, value)

    def replaced(self, value: Any, within: Callable[[Any], Any], its: Any = None) -> Any:
        """Return the replacement of a layer, or a list, tuple or dict with its layers replaced.

        Args:
            value: of the model or block.
            within: returns the replacement of a layer.
            its: what the copy has in this place, from which variables, seeds and metrics are taken.
        """
        if isinstance(value, keras.layers.Layer):
            return within(value)
        if isinstance(value, dict):
            held = its if isinstance(its, dict) else {}
            return {key: self.replaced(item, within, held.get(key)) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            own = its if isinstance(its, (list, tuple)) and len(its) == len(value) else [None] * len(value)
            items = [self.replaced(item, within, mine) for item, mine in zip(value, own, strict=True)]
            return tuple(items) if isinstance(value, tuple) else items
        return its if isinstance(value, STATES) and type(its) is type(value) else value

    def pair_inside(self, old: keras.layers.Layer, new: keras.layers.Layer) -> None:
        """Pair the layers that a block has made for itself while it was built, and exchange those to be replaced."""
        by_attribute = same_attributes(old, new)
        known = {id(layer) for layer in self.done.values()}
        others = [] if is_cloneable(old) else self.by_order(old, new, by_attribute)  # a graph's layers are all done
        for before, after in [*by_attribute, *others]:
            if id(before) in self.done:
                if id(after) not in known and self.done[id(before)] is not after:
                    exchange(new, after, self.done[id(before)])
                continue
            in_reach = any(after is one for _, one in by_attribute)
            made = self.replace(before, old) if in_reach else None
            if made is None and is_analog(before) and not is_analog(after):
                made = self.copy(before)
            if made is not None and type(made) is not type(after):
                made.build_from_config(after.get_build_config() or {})
                exchange(new, after, made)
                after = made
            self.done[id(before)] = after
            self.pairs.append((before, after))
            if before.variables and not in_reach:
                self.inside.append((before, old))
            if made is None:
                self.pair_inside(before, after)

    def by_order(self, old: keras.layers.Layer, new: keras.layers.Layer, found: list[Any]) -> list[Any]:
        """Pair the remaining layers of a block with those of its copy by their order.

        Raises:
            ConversionError: they are not alike.
        """
        known = {id(layer) for layer in self.done.values()}
        seen = {id(layer) for pair in found for layer in pair}
        rest = [layer for layer in old._layers if id(layer) not in self.done and id(layer) not in seen]
        fresh = [layer for layer in new._layers if id(layer) not in known and id(layer) not in seen]
        if [type(layer) for layer in rest] != [type(layer) for layer in fresh]:
            raise ConversionError(
                f"The inner layers of '{old.name}' ({type(old).__name__}) can't be matched with those of its copy. "
                f"Hold them in attributes, lists or dicts. Received: {len(rest)} and {len(fresh)} layers."
            )
        return list(zip(rest, fresh, strict=True))

    def model(self, model: keras.Model) -> keras.Model:
        """Return the new model, with the weights of the old one."""
        with copying():
            return self._copied(model)

    def _copied(self, model: keras.Model) -> keras.Model:
        with not_compiled(model):
            if is_cloneable(model):
                new = self.graph(model)
                if has_constructor(model):  # it may have variables of its own
                    self.pairs.append((model, new))
            else:
                new = self.layer(model)
                new.build_from_config(model.get_build_config() or {})
                new.built = True
        for old, fresh in list(self.pairs):
            if type(old) is type(fresh) and not isinstance(old, AnalogLayer):
                self.pair_inside(old, fresh)
        for old, fresh in self.pairs:
            if self.weights:
                copy_weights(old, fresh)
            copy_state(old, fresh)
        return new


def no_config(layer: keras.layers.Layer, error: Exception) -> ConversionError:
    """Return the error that a layer can't be made again from its config."""
    return ConversionError(
        f"'{layer.name}' ({type(layer).__name__}) can't be rebuilt from its config. Give the class a get_config that "
        f"holds all its arguments. Received: {error}"
    )


def check_copyable(model: keras.Model) -> None:
    """Raise a ConversionError if a class of one's own in a model does not take its own config; nothing is made."""
    if is_cloneable(model):
        for layer in model.layers:
            check_copyable(layer)
    elif is_own(model) or isinstance(model, keras.Model):
        kind = type(model)
        usual = getattr(kind.from_config, "__func__", None) in USUAL_FROM_CONFIG
        try:
            config = model.get_config()
            if usual:
                inspect.signature(kind).bind(**config)
        except REFUSALS as error:
            raise no_config(model, error) from error


def same_attributes(old: keras.layers.Layer, new: keras.layers.Layer) -> list[tuple[Any, Any]]:
    """Return the pairs of layers that two blocks of one class hold at the same places of the same attributes."""
    before = dict(held_layers(old))
    return [(before[place], layer) for place, layer in held_layers(new) if place in before]


def is_own(layer: Any) -> bool:
    """Whether a layer is of a class of the user's, which knows nothing of analog layers, and no model."""
    if isinstance(layer, keras.Model) or not isinstance(layer, keras.layers.Layer):
        return False
    return of_others(type(layer))


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
        with temporary_folder() as folder:
            old.save_assets(str(folder))
            new.load_assets(str(folder))
    if isinstance(new, keras.layers.Normalization):
        new.finalize_state()


def digital_variables(layer: Any) -> list[keras.Variable]:
    """Return what a layer with one kernel has in common with its analog twin: kernel, bias and adapters."""
    adapters = [getattr(layer, name) for name in ADAPTERS] if getattr(layer, "lora_enabled", False) else []
    return [variable for variable in (kernel_of(layer), layer.bias, *adapters) if variable is not None]


def copy_weights(old: Any, new: Any) -> None:
    """Copy kernels and biases between a layer and its analog twin, or all of a plain layer's own variables."""
    if is_composite(new) != is_composite(old):
        new.load_from(old) if is_composite(new) else old.store_to(new)
        return
    if isinstance(new, AnalogLayer) != isinstance(old, AnalogLayer):
        sources, targets = digital_variables(old), digital_variables(new)
    else:
        sources = [*old._trainable_variables, *old._non_trainable_variables]
        targets = [*new._trainable_variables, *new._non_trainable_variables]
        if isinstance(new, AnalogLayer):
            sources.append(old.adc_gain.gain)
            targets.append(new.adc_gain.gain)
        by_name = {variable.name: variable for variable in sources}
        if len(by_name) == len(sources) and sorted(by_name) == sorted(variable.name for variable in targets):
            sources = [by_name[variable.name] for variable in targets]  # a layer quantised later has another order
    if getattr(new, "lora_enabled", False):
        new.lora_alpha = old.lora_alpha
    if len(sources) != len(targets):
        raise ConversionError(
            f"The weights of '{old.name}' ({type(old).__name__}) can't be copied, its copy has others. Received: "
            f"{len(sources)} and {len(targets)} variables. Make sure that building the model makes all its weights."
        )
    arrays = [to_array(variable) for variable in sources]
    if isinstance(old, AnalogLayer) and not isinstance(new, AnalogLayer):
        arrays[0] = to_array(old.within_range(old.kernel_variable.value))  # what the crossbar multiplies by
    assign_arrays(targets, arrays)
    freeze_alike(targets, sources)
