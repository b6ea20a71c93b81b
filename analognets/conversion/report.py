"""What a conversion does to each layer, planned and done: what is analog, what stays digital, and why."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from analognets.conversion.support import ANALOG_CLASS, COMPOSITE_CLASS
from analognets.errors import ConversionError

if TYPE_CHECKING:
    import pandas

__all__ = ["ConversionReport", "LayerConversion", "Plan", "PlannedLayer"]


@dataclasses.dataclass(frozen=True)
class LayerConversion:
    """What happens to one layer that has weights.

    Args:
        layer: its name.
        kind: its class.
        converted: whether it is converted.
        why: the reason if it is not, else empty.
        weights: all its numbers, bias and statistics included.
        rows: rows its kernel takes on the crossbar; 0 if it is not there, like `cols`, `tiles` and `kernel`.
        cols: columns.
        tiles: tiles.
        path: the names of the blocks around it and its own, joined by "/".
        kernel: how many of its weights lie on the crossbar.
        product: whether it multiplies inputs by a matrix of weights, so that it could be analog.
        macs: products of one input and one weight for one sample; None if they do not follow from shapes.

    Examples:
        >>> report = analognets.to_analog(model, exempt="logits").conversion_report
        >>> [(layer.layer, layer.rows, layer.cols, layer.why) for layer in report.layers]
        [('hidden', 8, 16, ''), ('logits', 0, 0, 'exempt by request')]
    """

    layer: str
    kind: str
    converted: bool
    why: str
    weights: int
    rows: int = 0
    cols: int = 0
    tiles: int = 0
    path: str = ""
    kernel: int = 0
    product: bool = True
    macs: int | None = None


@dataclasses.dataclass(frozen=True)
class PlannedLayer(LayerConversion):
    """What a conversion will do to one layer or product; `shape` and what follows are empty if none could be analog.

    Args:
        becomes: the analog class of the product.
        shape: (..., inputs, outputs) of its kernel as it lies on a crossbar, also of one that is left digital.
        size: how many weights this kernel has; less than rows x columns where it is unrolled densely.
        row_blocks: how many tiles lie above each other, whose results are summed.
        stride: step of the kernel along its last spatial axis, in its taps.
        positions: input vectors of one inference; None if they do not follow from shapes.
        inputs: numbers that go into its largest call.
        outputs: numbers that come out of it.

    Examples:
        >>> first = analognets.plan(model).layers[0]
        >>> first.layer, first.becomes, first.shape, first.tiles
        ('hidden', 'AnalogDense', (8, 16), 1)
    """

    becomes: str = ""
    shape: tuple[int, ...] = ()
    size: int = 0
    row_blocks: int = 0
    stride: int = 1
    positions: int | None = None
    inputs: int = 0
    outputs: int = 0


@dataclasses.dataclass(frozen=True)
class ConversionTable:
    """Which layers of a model are analog, which are digital, and why.

    Args:
        layers: one row for each layer with weights, or for each of its products.
        hardware: name of the hardware, or "digital".
    """

    layers: tuple[LayerConversion, ...]
    hardware: str

    row: ClassVar[type[LayerConversion]] = LayerConversion
    words: ClassVar[tuple[str, str]] = ("converted", "left")

    @property
    def converted(self) -> tuple[LayerConversion, ...]:
        """The converted layers."""
        return tuple(layer for layer in self.layers if layer.converted)

    @property
    def left(self) -> tuple[LayerConversion, ...]:
        """The layers with weights that are left as they are."""
        return tuple(layer for layer in self.layers if not layer.converted)

    @property
    def products(self) -> tuple[LayerConversion, ...]:
        """The layers that multiply inputs by a matrix of weights, converted or not."""
        return tuple(layer for layer in self.layers if layer.product)

    @property
    def weights_share(self) -> float:
        """Share of the model's numbers that lie on crossbars, 0 to 1; biases and statistics count as digital."""
        return sum(layer.kernel for layer in self.converted) / max(1, sum(layer.weights for layer in self.layers))

    @property
    def macs_share(self) -> float | None:
        """Share of the multiplications that happen on crossbars, 0 to 1; None if some can't be counted from shapes."""
        counts = [layer.macs for layer in self.products]
        known = [count for count in counts if count is not None]
        if len(known) < len(counts) or not sum(known):
            return None
        return sum(layer.macs or 0 for layer in self.converted) / sum(known)

    @property
    def summary(self) -> str:
        """The table in one line."""
        if self.hardware == "digital":
            return f"{len(self.converted)} layers made digital"
        shares = f"{100 * self.weights_share:.1f} % of weights"
        if self.macs_share is not None:
            shares += f", {100 * self.macs_share:.1f} % of multiplications"
        return f"{len(self.converted)} of {len(self.products)} products analog ({shares}) on {self.hardware}"

    def __str__(self) -> str:
        lines = [self.summary]
        for layer in self.layers:
            size = f"{layer.rows} x {layer.cols} cells, tiles: {layer.tiles}" if layer.tiles else layer.why
            name = layer.path or layer.layer
            colon = f": {size}" if size else ""
            lines.append(f"  {self.words[not layer.converted]:9} {name} ({layer.kind}){colon}")
        return "\n".join(lines)

    def rows(self) -> list[dict[str, Any]]:
        """Return the table's rows as plain data."""
        names = [field.name for field in dataclasses.fields(self.row)]
        return [{name: getattr(layer, name) for name in names} for layer in self.layers]

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain data, for example for JSON."""
        return {
            "hardware": self.hardware,
            "summary": self.summary,
            "converted": len(self.converted),
            "products": len(self.products),
            "weights_share": self.weights_share,
            "macs_share": self.macs_share,
            "layers": self.rows(),
        }

    def to_dataframe(self) -> pandas.DataFrame:
        """Return a table with one row for each layer with weights and one column for each field."""
        import pandas

        table = pandas.DataFrame(self.rows(), columns=[field.name for field in dataclasses.fields(self.row)])
        counts = {name: "Int64" for name in ("macs", "positions") if name in table}
        return table.astype(counts)


@dataclasses.dataclass(frozen=True)
class Plan(ConversionTable):
    """What `to_analog` will do to a model.

    Args:
        layers: one `PlannedLayer` for each layer with weights, or for each of its products, in the order they run.
        hardware: name of the hardware.
        model: name of the model.

    Examples:
        >>> found = analognets.plan(model, "aon_cim_8bit")
        >>> print(found)
        2 of 2 products analog (90.6 % of weights, 100.0 % of multiplications) on aon_cim_8bit
          analog    hidden (Dense): 8 x 16 cells, tiles: 1
          analog    logits (Dense): 16 x 4 cells, tiles: 1
        >>> found.layers[0].becomes
        'AnalogDense'
    """

    layers: tuple[PlannedLayer, ...]
    model: str = ""

    row: ClassVar[type[LayerConversion]] = PlannedLayer
    words: ClassVar[tuple[str, str]] = ("analog", "digital")

    def check(self) -> Plan:
        """Return the plan itself.

        Raises:
            ConversionError: no layer becomes analog.
        """
        check_any(self.layers, self.model)
        return self


@dataclasses.dataclass(frozen=True)
class ConversionReport(ConversionTable):
    """Which layers were converted, which were left, and why, and what was done to the model beyond that.

    Args:
        layers: one `LayerConversion` for each layer with weights, or for each of its products.
        hardware: name of the hardware, or "digital".
        steps: what was done after the conversion, a sentence each.

    Examples:
        >>> report = analognets.to_analog(model).conversion_report
        >>> [(layer.layer, layer.converted, layer.tiles) for layer in report.layers]
        [('hidden', True, 1), ('logits', True, 1)]
        >>> print(report)
        2 of 2 products analog (90.6 % of weights, 100.0 % of multiplications) on aon_cim_8bit
          converted hidden (Dense): 8 x 16 cells, tiles: 1
          converted logits (Dense): 16 x 4 cells, tiles: 1
    """

    steps: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *self.steps])

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, for example for JSON."""
        return {**super().to_dict(), **({"steps": list(self.steps)} if self.steps else {})}


def check_any(layers: Iterable[LayerConversion], model: str) -> None:
    """Raise a ConversionError if none of the layers of a model is converted."""
    if not any(layer.converted for layer in layers):
        kinds = Counter(layer.kind for layer in layers if layer.weights)
        raise ConversionError(
            f"Model '{model}' has no layer to convert; analog versions exist for "
            f"{', '.join(kind.__name__ for kind in (*ANALOG_CLASS, *COMPOSITE_CLASS))}. "
            f"Received layers with weights: {', '.join(kinds) or 'none'}."
        )
