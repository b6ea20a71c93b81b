"""The plan of a conversion: what each layer becomes, or why it stays digital, before anything is converted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import keras

from analognets import crossbar as crossbars
from analognets.conversion.calls import Calls, in_order
from analognets.conversion.report import LayerConversion, Plan, PlannedLayer
from analognets.conversion.support import (
    ANALOG_CLASS,
    ATTENTION,
    COMPOSITE_CLASS,
    Product,
    check_model,
    counts_itself,
    is_analog,
    is_cloneable,
    is_composite,
    is_product,
    last_stride,
    name_inside,
    on_crossbar,
    own_variables,
    products_of,
    reason_digital,
    why_too_tall,
    why_unsupported,
)
from analognets.conversion.watch import Run, watch
from analognets.crossbar import HardwareByLayer, Tiling, matrix_shape
from analognets.errors import UnknownNameError
from analognets.layers import ADCGain, AnalogLayer, AnalogRNN
from analognets.layers.block import held_layers

__all__ = ["ALREADY", "Planner", "left", "plan", "why_hidden"]

L = keras.layers
EXEMPT = "exempt by request"
ALREADY = "already analog"
ACTIVATIONS_ONLY = "scores and weighted sum multiply activations with each other, digital by design"


def plan(
    model: keras.Model, hardware: Any = "aon_cim_8bit", *, exempt: str | Iterable[str] = (), inputs: Any = None
) -> Plan:
    """Return what `to_analog` would do to a model, without doing it: nothing is converted and nothing is changed.

    Only classes, shapes and names are read, so that it is quick for large models too. Shapes do not tell how often a
    class of one's own calls its layers, nor what comes of axes of unknown size: there `inputs` help. A layer that such
    a class makes when it is built gets the name of the block in front of its own when it is converted.

    Args:
        model: a built Keras model.
        hardware: a `Crossbar`, the name of a preset, a config, or a dict of these by layer name as in `to_analog`.
        exempt: names of layers, blocks or nested models to leave digital, or their paths such as "block/dense".
        inputs: a batch of one sample, on which a copy of the model is run once to count what is called; None to take
            all from shapes.

    Returns:
        A `Plan`: for each layer or product what it becomes or why it stays digital, its kernel on the crossbar, its
        tiles, weights and multiplications. `plan(...).check()` raises what `to_analog` would if nothing is analog.

    Raises:
        ConversionError: the model is not built, or with `inputs` can't be rebuilt.
        UnknownNameError: a name in `exempt` or in the hardware does not exist.

    Examples:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="logits")])
        >>> print(plan(model, hardware="aon_cim_8bit"))
        1 of 1 products analog (80.0 % of weights, 100.0 % of multiplications) on aon_cim_8bit
          analog    logits (Dense): 4 x 3 cells, tiles: 1
    """
    check_model(model)
    run = None if inputs is None else watch(model, inputs)
    return Planner(model, HardwareByLayer.of(hardware), exempt, run).plan


class Planner:
    """The decisions of one conversion, by layer.

    Args:
        model: a built Keras model.
        hardware: the crossbar of each layer.
        exempt: names or paths of what stays digital.
        run: what a run has told of calls and names.

    Attributes:
        entries: what happens to each layer with weights, by its id: its entry as "", or one for each product by name.
    """

    def __init__(
        self,
        model: keras.Model,
        hardware: HardwareByLayer,
        exempt: str | Iterable[str] = (),
        run: Run | None = None,
    ) -> None:
        self.hardware = hardware
        self.calls = Calls(model, run.calls if run else {})
        self.names = run.names if run else {}
        found = self._named(model)
        left = [exempt] if isinstance(exempt, str) else list(exempt)
        for what, names in (("layer to exempt", left), ("layer with hardware of its own", hardware.layers)):
            for name in names:
                if name not in found:
                    raise UnknownNameError(what, name, found)
        self.exempt: set[Any] = {part for name in left for part in found[name]}
        self.chosen: dict[Any, crossbars.Crossbar | None] = {}
        for name in sorted(hardware.layers, key=lambda name: -len(found[name])):  # what is inside of others comes later
            self.chosen.update(dict.fromkeys(found[name], hardware.layers[name]))
        self.entries: dict[int, dict[str, PlannedLayer]] = {}
        self._seen: set[int] = set()
        self._enter(model)
        entries = [entry for products in self.entries.values() for entry in products.values()]
        self.plan = Plan(tuple(entries), hardware.name, model.name)

    def _named(self, model: keras.Model) -> dict[str, set[Any]]:
        """Return what each name or path stands for: the ids of layers and of all inside them, or one product."""
        found: dict[str, set[Any]] = {}
        for layer in model._flatten_layers(include_self=False):
            path, owner = self.calls.path(layer), self.calls.owners.get(id(layer))
            inside = None if owner is None or isinstance(owner, keras.Model) else owner
            for name in {layer.name, path, name_inside(layer, inside)}:
                found.setdefault(name, set()).update(id(inner) for inner in layer._flatten_layers())
            for product in products_of(layer) if type(layer) in COMPOSITE_CLASS and layer.built else ():
                bases = (layer.name, name_inside(layer, inside))
                for name in {f"{prefix}{base}_{product.name}" for base in bases for prefix in ("", f"{path}/")}:
                    found.setdefault(name, set()).add((id(layer), product.name))
        return found

    def crossbar_of(self, layer: keras.layers.Layer, product: Product | None = None) -> crossbars.Crossbar | None:
        """Return the crossbar that a layer, or one of its products, would lie on; None if it is to stay digital."""
        keys = [id(layer)] if product is None else [(id(layer), product.name), id(product.owner), id(layer)]
        return next((self.chosen[key] for key in keys if key in self.chosen), self.hardware.default)

    def why_left(self, layer: keras.layers.Layer) -> str | None:
        """Return why a layer with weights of its own stays digital, or None if it becomes analog."""
        crossbar = self.crossbar_of(layer)
        if id(layer) in self.exempt or crossbar is None:
            return EXEMPT
        if is_analog(layer):
            return ALREADY
        if type(layer) in ANALOG_CLASS:
            return why_unsupported(layer) or why_too_tall(on_crossbar(layer), crossbar)
        parent = next((kind for kind in (*ANALOG_CLASS, *COMPOSITE_CLASS) if isinstance(layer, kind)), None)
        return reason_digital(layer) or (
            f"a subclass of {parent.__name__} whose call may differ" if parent else "no analog version of this layer"
        )

    def why_product_left(self, layer: keras.layers.Layer, product: Product) -> str | None:
        """Return why one product of a layer stays digital, or None if it becomes analog."""
        crossbar = self.crossbar_of(layer, product)
        if {id(layer), id(product.owner), (id(layer), product.name)} & self.exempt or crossbar is None:
            return EXEMPT
        unsupported = why_unsupported(product.owner) if type(product.owner) in ANALOG_CLASS else None
        return unsupported or why_too_tall(product.shape, crossbar)

    def converts(self, layer: keras.layers.Layer) -> bool:
        """Whether something of a layer becomes analog, or is."""
        if type(layer) in COMPOSITE_CLASS and layer.built:
            return any(self.why_product_left(layer, product) is None for product in products_of(layer))
        if counts_itself(layer) and self.why_left(layer) in (None, ALREADY):
            return True
        return any(self.converts(inner) for inner in layer._layers)

    def _enter(self, layer: keras.layers.Layer, owner: keras.layers.Layer | None = None) -> None:
        """Plan a layer and those inside of it."""
        if id(layer) in self._seen or isinstance(layer, ADCGain):
            return
        self._seen.add(id(layer))
        if type(layer) in COMPOSITE_CLASS and layer.built:
            self._enter_products(layer)
            return
        if isinstance(layer, L.RNN) and not is_composite(layer) and type(layer) not in (L.RNN, AnalogRNN):
            self._leave_cells(layer)
        if counts_itself(layer) and id(layer) not in self.entries:
            hidden = owner is not None and not is_cloneable(owner) and not holds(owner, layer)
            why = why_hidden(layer, owner) if owner is not None and hidden else self.why_left(layer)
            self.entries[id(layer)] = {"": self._entry(layer, why)}
        for inner in in_order(layer):
            self._enter(inner, layer)

    def _enter_products(self, layer: keras.layers.Layer) -> None:
        """Plan a layer with several products."""
        self._seen |= {id(inner) for inner in layer._flatten_layers()}
        entries = {product.name: self._product_entry(layer, product) for product in products_of(layer)}
        if isinstance(layer, ATTENTION):
            kind, path = type(layer).__name__, self.calls.path(layer)
            note = PlannedLayer(layer.name, kind, False, ACTIVATIONS_ONLY, 0, path=path, product=False)
            entries["activations"] = note
        self.entries[id(layer)] = entries

    def _leave_cells(self, layer: keras.layers.Layer) -> None:
        """Leave the cells of a recurrent layer of one's own digital: it may use their kernels itself."""
        for cell in layer._flatten_layers(include_self=False):
            if type(cell) in COMPOSITE_CLASS:
                why = f"inside of {type(layer).__name__}, whose call may differ from that of Keras' layers"
                exempt = id(cell) in self.exempt or self.crossbar_of(cell) is None
                self.entries[id(cell)] = {"": self._entry(cell, EXEMPT if exempt else why)}
                self._seen.add(id(cell))

    def _entry(self, layer: Any, why: str | None) -> PlannedLayer:
        """Return the entry of a layer that stays digital for a reason, or is converted if there is none."""
        planned = PlannedLayer(
            layer=self.names.get(id(layer), layer.name) if why is None else layer.name,
            kind=type(layer).__name__,
            converted=why is None,
            why=why or "",
            weights=sum(math.prod(variable.shape) for variable in own_variables(layer)),
            path=self.calls.path(layer),
            product=is_product(layer),
            macs=self.calls.macs(layer),
        )
        if isinstance(layer, AnalogLayer):
            becomes, shape, kernel = type(layer), layer.crossbar_shape(), layer.kernel_variable
        elif type(layer) in ANALOG_CLASS and not why_unsupported(layer):
            becomes, shape, kernel = ANALOG_CLASS[type(layer)], on_crossbar(layer), layer.kernel
        else:
            return planned
        size = math.prod(kernel.shape)
        inputs, outputs = self.calls.largest(layer, shape, size)
        planned = dataclasses.replace(planned, stride=last_stride(layer), inputs=inputs, outputs=outputs)
        return self._placed(planned, becomes, shape, size, self.crossbar_of(layer))

    def _product_entry(self, layer: keras.layers.Layer, product: Product) -> PlannedLayer:
        """Return the entry of one product of a layer."""
        why, name = self.why_product_left(layer, product), self.names.get(id(layer), layer.name)
        macs = self.calls.macs(product.counted)
        planned = PlannedLayer(
            layer=f"{name}_{product.name}",
            kind=type(layer).__name__,
            converted=why is None,
            why=why or "",
            weights=product.weights,
            path=f"{self.calls.path(layer)}/{name}_{product.name}",
            macs=None if macs is None else round(macs * product.share),
        )
        if type(product.owner) in ANALOG_CLASS and why_unsupported(product.owner):
            return planned
        inputs, outputs = self.calls.largest(
            product.counted, product.shape, product.kernel, share=product.share, name=product.name
        )
        planned = dataclasses.replace(planned, stride=product.stride, inputs=inputs, outputs=outputs)
        crossbar = self.crossbar_of(layer, product)
        return self._placed(planned, product.becomes, product.shape, product.kernel, crossbar)

    def _placed(
        self,
        planned: PlannedLayer,
        becomes: Any,
        shape: tuple[int, ...],
        size: int,
        crossbar: crossbars.Crossbar | None,
    ) -> PlannedLayer:
        """Return an entry with its kernel and, if it becomes analog, with what that takes on the crossbar."""
        positions = None if planned.macs is None else planned.macs // size
        planned = dataclasses.replace(
            planned, becomes=becomes.__name__, shape=tuple(shape), size=size, positions=positions
        )
        if not planned.converted or crossbar is None:
            return planned
        tiling = Tiling(shape, crossbar.rows, crossbar.cols)
        rows, cols = matrix_shape(tiling.kernel_shape)
        return dataclasses.replace(
            planned, rows=rows, cols=cols, tiles=len(tiling.blocks()), kernel=size, row_blocks=tiling.shape[0]
        )


def left(entry: LayerConversion, why: str) -> LayerConversion:
    """Return the entry of a layer that can't be converted after all."""
    return dataclasses.replace(entry, converted=False, why=why, rows=0, cols=0, tiles=0, kernel=0)


def why_hidden(layer: keras.layers.Layer, owner: keras.layers.Layer) -> str:
    """Return why a layer stays digital that a block makes and holds in none of its attributes."""
    made = f"made by '{owner.name}' ({type(owner).__name__}) itself"
    return made if is_product(layer) else reason_digital(layer) or made


def holds(owner: keras.layers.Layer, layer: keras.layers.Layer) -> bool:
    """Whether a block holds a layer in an attribute, list or dict."""
    return any(held is layer for _, held in held_layers(owner))
