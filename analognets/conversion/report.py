"""The report of a conversion: what became analog, what stayed digital, and why."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

__all__ = ["ConversionReport", "LayerConversion"]


@dataclasses.dataclass(frozen=True)
class LayerConversion:
    """What happened to one layer that has weights.

    Args:
        layer: its name.
        kind: its class.
        converted: whether it was converted.
        why: the reason if it was not, else empty.
        weights: all its numbers, bias and statistics included.
        rows: rows its kernel takes on the crossbar; 0 if it is not there, like `cols`, `tiles` and `kernel`.
        cols: columns.
        tiles: tiles.
        path: the names of the blocks around it and its own, joined by "/".
        kernel: how many of its weights lie on the crossbar.
        product: whether it multiplies inputs by a matrix of weights, so that it could be analog.
        macs: products of one input and one weight for one sample; None if they do not follow from shapes.
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
class ConversionReport:
    """Which layers were converted, which were left, and why.

    Args:
        layers: one `LayerConversion` for each layer with weights.
        hardware: name of the hardware, or "digital".
    """

    layers: tuple[LayerConversion, ...]
    hardware: str

    @property
    def converted(self) -> tuple[LayerConversion, ...]:
        """The converted layers."""
        return tuple(layer for layer in self.layers if layer.converted)

    @property
    def left(self) -> tuple[LayerConversion, ...]:
        """The layers with weights that were left as they are."""
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
        """The report in one line."""
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
            lines.append(f"  {'converted' if layer.converted else 'left':9} {name} ({layer.kind}){colon}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, for example for JSON."""
        return {
            "hardware": self.hardware,
            "summary": self.summary,
            "converted": len(self.converted),
            "products": len(self.products),
            "weights_share": self.weights_share,
            "macs_share": self.macs_share,
            "layers": [dataclasses.asdict(layer) for layer in self.layers],
        }

    def to_dataframe(self) -> pandas.DataFrame:
        """Return a table with one row for each layer with weights and one column for each field."""
        import pandas

        names = [field.name for field in dataclasses.fields(LayerConversion)]
        table = pandas.DataFrame([dataclasses.asdict(layer) for layer in self.layers], columns=names)
        return table.astype({"macs": "Int64"})
