"""Where each weight lies: kernels as blocks of rows x columns, packed onto as few arrays as possible."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import keras

from analognets.crossbar import Tiling
from analognets.deploy.accelerator.design import Accelerator, load_accelerator
from analognets.deploy.accelerator.workload import LayerWork, Workload, workload
from analognets.errors import ConversionError, InvalidArgumentError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Block", "Placement", "cut", "pack", "place", "spread"]


MANY = 400
"""Blocks beyond which one packing heuristic is tried and none is cut into strips: packing takes quadratic time."""


@dataclasses.dataclass(frozen=True)
class Block:
    """A rectangle of cells of one layer.

    Args:
        layer: its name.
        row_block: number of the row block, whose results are summed with those of the others.
        rows: word lines.
        cols: bit lines.
        inputs: (first, end) of the kernel's input channels it holds.
        outputs: (first, end) of the kernel's outputs it holds.
        array: number of the array it lies on.
        row: its first word line there.
        col: its first bit line there.

    Examples:
        >>> first = analognets.deploy.place(model).blocks[0]
        >>> first.layer, first.rows, first.cols, first.cells
        ('hidden', 8, 16, 128)
    """

    layer: str
    row_block: int
    rows: int
    cols: int
    inputs: tuple[int, int]
    outputs: tuple[int, int]
    array: int = 0
    row: int = 0
    col: int = 0

    @property
    def cells(self) -> int:
        """Cells (differential pairs) of the block."""
        return self.rows * self.cols


@dataclasses.dataclass(frozen=True)
class Placement:
    """The blocks of a model on the arrays of an accelerator.

    Args:
        accelerator: what it is placed on.
        workload: the products of the model.
        blocks: all blocks, each with its place.
        arrays: how many arrays are used.

    Examples:
        >>> placement = analognets.deploy.place(model)
        >>> placement.arrays, placement.cells, placement.fits
        (1, 192, True)
        >>> round(placement.utilisation, 5)
        0.00037
    """

    accelerator: Accelerator
    workload: Workload
    blocks: tuple[Block, ...]
    arrays: int

    def of(self, layer: str) -> tuple[Block, ...]:
        """Return the blocks of a layer; none if it is digital."""
        return self._blocks_of.get(layer, ())

    @functools.cached_property
    def _blocks_of(self) -> dict[str, tuple[Block, ...]]:
        groups: dict[str, list[Block]] = {}
        for block in self.blocks:
            groups.setdefault(block.layer, []).append(block)
        return {name: tuple(group) for name, group in groups.items()}

    @property
    def cells(self) -> int:
        """Cells that blocks occupy."""
        return sum(block.cells for block in self.blocks)

    @property
    def capacity(self) -> int:
        """Cells of the arrays that are used."""
        return self.arrays * self.accelerator.cells

    @property
    def weights(self) -> int:
        """Real weights on the arrays."""
        return sum(layer.weights for layer in self.workload.analog)

    @property
    def utilisation(self) -> float:
        """Share of the used arrays' cells that blocks occupy, 0 to 1."""
        return self.cells / self.capacity

    @property
    def effective_utilisation(self) -> float:
        """Share of the used arrays' cells that hold a real weight, 0 to 1: no zeros of unrolled layers."""
        return self.weights / self.capacity

    @property
    def fits(self) -> bool:
        """Whether the accelerator has as many arrays as are used."""
        return self.arrays <= self.accelerator.arrays

    def passes(self, layer: LayerWork) -> int:
        """Return the passes of a layer in one inference: positions x sum over its blocks of ceil(columns / ADCs)."""
        return layer.positions * sum(math.ceil(block.cols / self.accelerator.adcs) for block in self.of(layer.name))

    @property
    def total_passes(self) -> int:
        """Passes of one inference."""
        return sum(self.passes(layer) for layer in self.workload.analog)

    @property
    def statement(self) -> str:
        """In one or more sentences: what fits where, what was cut, what is left digital."""
        chip, size = self.accelerator.name, f"{self.accelerator.array.rows} x {self.accelerator.array.cols}"
        lie = "1 layer lies" if len(self._blocks_of) == 1 else f"{len(self._blocks_of)} layers lie"
        parts = [f"{lie} on {_count(self.arrays, 'array')} of {size} cells of '{chip}'."]
        if not self.fits:
            parts.append(
                f"They do not fit: '{chip}' has {_count(self.accelerator.arrays, 'array')}, so "
                f"{self.arrays - self.accelerator.arrays} more would be needed."
            )
        cut = [(layer, self.of(layer.name)) for layer in self.workload.analog if len(self.of(layer.name)) > 1]
        if cut:
            parts.append(f"Cut into blocks: {', '.join(f'{layer.name} ({len(blocks)})' for layer, blocks in cut)}.")
        reasons = {layer.why_digital: None for layer in self.workload.digital}
        for why in reasons:
            names = [layer.name for layer in self.workload.digital if layer.why_digital == why]
            parts.append(f"Digital ({why}): {', '.join(names)}.")
        for name, kind, why, _ in self.workload.unmodelled:
            parts.append(f"{name} ({kind}) is not part of any figure: {why}.")
        return " ".join(parts)

    def table(self) -> pd.DataFrame:
        """Return one row per layer: matrix, blocks, cells, weights, shares of the arrays, positions and passes."""
        import pandas as pd

        rows = []
        for layer in self.workload.layers:
            blocks = self.of(layer.name)
            cells = sum(block.cells for block in blocks)
            rows.append(
                {
                    "layer": layer.name,
                    "kind": layer.kind,
                    "analog": layer.analog,
                    "rows": layer.rows,
                    "cols": layer.cols,
                    "blocks": len(blocks),
                    "arrays": len({block.array for block in blocks}),
                    "cells": cells,
                    "weights": layer.weights,
                    "utilisation": cells / self.capacity,
                    "effective_utilisation": layer.weights * layer.analog / self.capacity,
                    "positions": layer.positions,
                    "passes": self.passes(layer),
                }
            )
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the placement as plain data, every block with its place."""
        return {
            "model": self.workload.model,
            "accelerator": self.accelerator.name,
            "arrays": self.arrays,
            "fits": self.fits,
            "cells": self.cells,
            "weights": self.weights,
            "utilisation": self.utilisation,
            "effective_utilisation": self.effective_utilisation,
            "passes": self.total_passes,
            "statement": self.statement,
            "blocks": [dataclasses.asdict(block) for block in self.blocks],
        }

    def __str__(self) -> str:
        return (
            f"{self.workload.model} on {self.accelerator.name}: {100 * self.utilisation:.1f} % of the cells in use "
            f"({100 * self.effective_utilisation:.1f} % hold a weight), {self.total_passes:,} passes per inference.\n"
            f"{self.statement}"
        )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def place(
    model: keras.Model | Workload,
    accelerator: Any = "aon_cim",
    *,
    depthwise: str = "analog",
    digital: str | Sequence[str] = (),
    input_shape: Any = None,
) -> Placement:
    """Place a model's kernels on the arrays of an accelerator.

    A kernel is a block of (kernel positions x input channels) rows and one column an output, im2col. One that is too
    tall is cut by input channels, one that is too wide by outputs, into the fewest nearly equal pieces, as
    `analognets.crossbar.Tiling` does. Blocks are packed as they stand, none is turned; what one array can't hold goes
    to further ones. Where all arrays work at once, the blocks of a layer are spread over them. ADC k serves the columns
    k, k + adcs, k + 2 adcs, ..., so that any `adcs` columns side by side take one pass.

    Args:
        model: a built Keras model, plain or analog, or its `Workload`.
        accelerator: name of an accelerator, path of a YAML file, or an `Accelerator`.
        depthwise: "analog" unrolls depthwise layers densely (only 1 in C cells holds a weight), "digital" leaves them
            to the digital side.
        digital: names of further layers to leave digital.
        input_shape: shape of one sample, where the model leaves sizes open.

    Raises:
        ConversionError: the model has no product for a crossbar.
        UnknownNameError: there is no such accelerator or layer.
        InvalidArgumentError: an option is not allowed.

    Examples:
        >>> place(analognets.zoo.analognet_kws((49, 10, 1), classes=12), "aon_cim").arrays
        1

    Source: our reconstruction of AON-CiM's mapping (AnalogNets, arXiv 2111.06503): all layers in one array.
    """
    chip = load_accelerator(accelerator)
    if not isinstance(model, Workload):
        model = workload(model, depthwise=depthwise, digital=digital, input_shape=input_shape)
    elif depthwise != "analog" or digital or input_shape is not None:
        raise InvalidArgumentError(
            f"The workload of '{model.model}' was made with its settings. Received: depthwise={depthwise!r}, "
            f"digital={digital!r}, input_shape={input_shape!r} beside it. Give these to "
            "analognets.deploy.accelerator.workload, or give the model here."
        )
    layers = tuple(_or_digital(layer, chip) for layer in model.layers)
    work = dataclasses.replace(model, layers=layers)
    if not work.analog:
        raise ConversionError(f"Model '{model.model}' has no layer left for the arrays of '{chip.name}'.")
    rows, cols = chip.array.rows, chip.array.cols
    whole = [block for layer in work.analog for block in cut(layer, rows, cols)]
    # Strips as wide as the converters cost no further pass, leave fewer gaps, and can run on arrays side by side.
    strips = [block for layer in work.analog for block in cut(layer, rows, min(cols, chip.adcs))]
    strips = strips if len(strips) <= MANY else whole
    blocks, arrays = pack(whole, rows, cols)
    if len(strips) > len(whole) and arrays > math.ceil(sum(block.cells for block in whole) / chip.cells):
        other, fewer = pack(strips, rows, cols)
        if fewer < arrays:
            blocks, arrays = other, fewer
    if chip.arrays_at_once == "all" and chip.arrays >= arrays:
        apart = spread(strips, chip.arrays, rows, cols)
        if apart:
            blocks, arrays = apart, max(block.array for block in apart) + 1
    return Placement(chip, work, tuple(blocks), arrays)


def _or_digital(layer: LayerWork, chip: Accelerator) -> LayerWork:
    """Return the layer, marked digital if one input channel alone is taller than an array."""
    if layer.analog and math.prod(layer.kernel[:-2]) > chip.array.rows:
        why = f"one input channel needs more than the {chip.array.rows} rows of an array"
        return dataclasses.replace(layer, why_digital=why)
    return layer


def cut(layer: LayerWork, rows: int, cols: int) -> Iterator[Block]:
    """Yield the blocks of a layer on arrays of rows x cols, not placed yet."""
    tiling = Tiling(layer.kernel, rows, cols)
    positions = math.prod(layer.kernel[:-2])
    for row_block, _, (inputs, outputs) in tiling.blocks():
        yield Block(
            layer=layer.name,
            row_block=row_block,
            rows=positions * (inputs.stop - inputs.start),
            cols=outputs.stop - outputs.start,
            inputs=(inputs.start, inputs.stop),
            outputs=(outputs.start, outputs.stop),
        )


def pack(blocks: Sequence[Block], rows: int, cols: int) -> tuple[list[Block], int]:
    """Place blocks on as few arrays as a set of packing heuristics finds; returns them and the number of arrays.

    Args:
        blocks: none larger than an array.
        rows: word lines of an array.
        cols: bit lines of an array.
    """
    import rectpack

    least = math.ceil(sum(block.cells for block in blocks) / (rows * cols))
    best: list[tuple[int, int, int]] = []
    arrays = 0
    algorithms = [rectpack.MaxRectsBssf, rectpack.MaxRectsBl, rectpack.MaxRectsBaf, rectpack.SkylineMwf]
    orders = [rectpack.SORT_AREA, rectpack.SORT_LSIDE, rectpack.SORT_SSIDE]
    if len(blocks) > MANY:
        algorithms, orders = algorithms[:1], orders[:1]
    for algorithm in algorithms:
        for order in orders:
            packer = rectpack.newPacker(
                mode=rectpack.PackingMode.Offline,
                bin_algo=rectpack.PackingBin.BFF,
                pack_algo=algorithm,
                sort_algo=order,
                rotation=False,
            )
            packer.add_bin(cols, rows, count=float("inf"))
            for number, block in enumerate(blocks):
                packer.add_rect(block.cols, block.rows, rid=number)
            packer.pack()
            if not best or len(packer) < arrays:
                places = {rid: (array, y, x) for array, x, y, _, _, rid in packer.rect_list()}
                best, arrays = [places[number] for number in range(len(blocks))], len(packer)
            if arrays == least:
                break
        if arrays == least:
            break
    placed = [
        dataclasses.replace(block, array=array, row=row, col=col)
        for block, (array, row, col) in zip(blocks, best, strict=True)
    ]
    return placed, arrays


def spread(blocks: Sequence[Block], arrays: int, rows: int, cols: int) -> list[Block]:
    """Place the blocks of each layer on different arrays as far as there is room, so that they can run at once.

    Args:
        blocks: none larger than an array.
        arrays: how many there are.
        rows: word lines of an array.
        cols: bit lines of an array.

    Returns:
        The placed blocks in the same order; none if they do not all fit.
    """
    import rectpack

    bins = [rectpack.MaxRectsBssf(cols, rows, rot=False) for _ in range(arrays)]
    of_layer: list[dict[str, int]] = [{} for _ in bins]
    used = [0] * arrays
    placed: dict[int, Block] = {}
    for number in sorted(range(len(blocks)), key=lambda index: -blocks[index].cells):
        block = blocks[number]
        for array in sorted(range(arrays), key=lambda one: (of_layer[one].get(block.layer, 0), used[one])):
            place = bins[array].add_rect(block.cols, block.rows)
            if place is not None:
                break
        else:
            return []
        of_layer[array][block.layer] = of_layer[array].get(block.layer, 0) + 1
        used[array] += block.cells
        placed[number] = dataclasses.replace(block, array=array, row=place.y, col=place.x)
    return [placed[number] for number in range(len(blocks))]
