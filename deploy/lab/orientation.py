"""Whether measured tiles follow their targets: what was swapped, transposed, exchanged or left out, in a sentence."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping

import numpy as np

from analognets.deploy.lab import format as form
from analognets.errors import ChipFileError, DataWarning

__all__ = ["check_orientation"]

FOLLOWS = 0.97
"""A tile whose weights correlate with its targets by this much is taken as it is, as PCM after a year does."""
CLEAR, BETTER = 0.6, 0.5
"""Correlation that another order of the cells must reach to be blamed, and the most that it may leave unexplained as a
share of what the order given does."""
STRANGE = 0.2
"""Below this correlation a tile that no other order explains is reported."""
CELLS = 12
"""Tiles of fewer cells are not judged: any order may fit by chance."""
JUDGED = 0.02
"""Spread of the targets as a share of g_max below which their order can't be told from noise."""
SHIFTS = 3
"""Rows by which a tile may be displaced to be found."""


def check_orientation(
    index: form.Handover, targets: Mapping[str, np.ndarray], tiles: Mapping[str, np.ndarray], where: str
) -> None:
    """Raise if another order of a tile's cells follows its targets and the order given does not.

    Args:
        index: of the hand-over.
        targets: of each tile in uS, (2, devices, rows, columns).
        tiles: measured, likewise.
        where: which reading: "chip 0 at 25 s".

    Raises:
        ChipFileError: G+ and G- are exchanged, rows and columns are, the order is reversed, rows are missing so that
            others moved, or the tile holds what belongs to another.

    Warns:
        DataWarning: rows that read 0 in every device, or a tile that follows its targets in no order.

    Examples:
        >>> folder = chips.export_targets("targets")
        >>> index = form.read_index(folder)
        >>> targets = {tile.name: np.load(folder / tile.file) for tile in index.tiles}
        >>> measured = {name: 0.9 * target for name, target in targets.items()}
        >>> check_orientation(index, targets, measured, "chip 0 at 25 s")
    """
    wanted = {name: weights_of(values) for name, values in targets.items()}
    found = {name: weights_of(values) for name, values in tiles.items()}
    for name, values in found.items():
        spread = float(wanted[name].std())
        if values.size < CELLS or spread < JUDGED * index.chip.g_max_us or not values.any():
            continue
        own = correlation(wanted[name], values)
        if own < FOLLOWS:
            explain(name, own, wanted, found, where)
        tell_dead_rows(name, targets[name], tiles[name], where)


def weights_of(values: np.ndarray) -> np.ndarray:
    """Return G+ - G- of a tile, summed over the devices of a polarity."""
    total = values.sum(axis=1)
    return np.asarray(total[0] - total[1])


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of two arrays, 0 where one of them is constant."""
    a, b = one - one.mean(), other - other.mean()
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / size) if size else 0.0


def explain(
    name: str, own: float, wanted: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], where: str
) -> None:
    """Raise with the best explanation of a tile that does not follow its targets; warn if there is none."""
    best, said = max(explanations(name, wanted, found), key=lambda one: one[0])
    figures = f"correlation with the targets {own:.2f}, so {best:.2f}"
    if best >= CLEAR and 1 - best <= BETTER * (1 - own):
        raise ChipFileError(f"Tile '{name}' of {where} {said} ({figures}). Correct the file and give it again.")
    if own < STRANGE:
        warnings.warn(
            f"Tile '{name}' of {where} hardly follows its targets (correlation {own:.2f}), in no order of its cells: "
            "it may be of another network, or its devices failed. It is used as it is.",
            DataWarning,
            stacklevel=2,
        )


def explanations(
    name: str, wanted: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]
) -> Iterator[tuple[float, str]]:
    """Yield how well each wrong order of the cells fits, and what it would mean."""
    target, values = wanted[name], found[name]
    rows, cols = values.shape
    turned = values.reshape(cols, rows).T
    yield -correlation(target, values), "has its polarities swapped: G- stands where G+ belongs"
    yield correlation(target, turned), "is transposed: its columns stand where its rows belong"
    yield -correlation(target, turned), "is transposed and has its polarities swapped"
    yield correlation(target, values[::-1]), "has its rows in reverse order"
    yield correlation(target, values[:, ::-1]), "has its columns in reverse order"
    for count in range(1, min(SHIFTS, rows - 2) + 1):
        plural = f"{count} row{'s' if count > 1 else ''}"
        yield correlation(target[count:], values[:-count]), f"misses {plural} at its start: the others moved up"
        yield correlation(target[:-count], values[count:]), f"has {plural} too many at its start: the others moved down"
        fits = moved_up(target, values, count)
        place = int(fits.argmax()) + 1
        yield float(fits.max()), f"misses {plural} from row {place} on: those behind moved up"
    for other, its in found.items():
        if other != name and its.shape == values.shape and wanted[other].any():
            yield correlation(wanted[other], values), f"holds what belongs to tile '{other}'"


def moved_up(target: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Return the correlation with the targets if `count` rows are missing from row 1, 2, ... on."""
    a, b = target - target.mean(), values - values.mean()
    rows = len(a) - count
    before, behind = (a[:rows] * b[:rows]).sum(axis=1), (a[count:] * b[:rows]).sum(axis=1)
    kept = np.cumsum(before)[:-1] + behind.sum() - np.cumsum(behind)[:-1]
    norms = np.concatenate([[0.0], np.cumsum((a**2).sum(axis=1))])
    left_out = norms[1 + count : rows + count] - norms[1:rows]
    sizes = np.sqrt((norms[-1] - left_out) * (b[:rows] ** 2).sum())
    return np.divide(kept, sizes, out=np.zeros_like(kept), where=sizes > 0)


def tell_dead_rows(name: str, targets: np.ndarray, values: np.ndarray, where: str) -> None:
    """Warn of rows that read 0 in every device although their targets do not."""
    silent = ~values.any(axis=(0, 1, 3)) & targets.any(axis=(0, 1, 3))
    if silent.any():
        rows = np.flatnonzero(silent)
        shown = ", ".join(map(str, rows[:5])) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")
        warnings.warn(
            f"Row{'s' if len(rows) > 1 else ''} {shown} of tile '{name}' of {where} read 0 in every device: dead word "
            "lines, or rows that were not measured. They are used as they are.",
            DataWarning,
            stacklevel=2,
        )
