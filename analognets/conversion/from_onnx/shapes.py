"""Operators that move, cut and join axes."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import keras
import numpy as np
from keras import ops

from analognets.conversion.from_onnx.importing import Importer, batch_of, operator
from analognets.conversion.from_onnx.opening import Node
from analognets.conversion.from_onnx.values import PROBES, Constant, Value, constant, fresh

__all__ = ["reshaped"]

BATCH = None
"""How an axis that holds the batch, any number of times, is written in a shape that is worked out."""


@operator("Identity", "Dropout")
def same(run: Importer, node: Node) -> Any:
    return run.values[node.inputs[0]]


@operator(
    "CastLike", "Constant", "ConstantOfShape", "EyeLike", "NonZero", "OneHot", "Range", "ScatterND", "Trilu",
)  # fmt: skip
def only_constants(run: Importer, node: Node) -> Any:
    """Operators that exporters write among shapes and masks, where they are worked out."""
    raise node.refused("must have constant inputs.")


@operator("Shape")
def shape(run: Importer, node: Node) -> Constant:
    value = run.value(node)
    chosen = slice(node.get("start", 0), node.get("end"))
    return constant(*(sizes(value, batch)[chosen] for batch in PROBES))


@operator("Size")
def size(run: Importer, node: Node) -> Constant:
    value = run.value(node)
    return constant(*(np.prod(sizes(value, batch)) for batch in PROBES))


def sizes(value: Value, batch: int) -> np.ndarray:
    return np.array([value.repeats * batch if one is None else one for one in value.shape], dtype="int64")


@operator("Transpose")
def transpose(run: Importer, node: Node) -> Value:
    value = run.value(node)
    steps = node.get("perm") or list(reversed(range(value.rank)))
    if value.merged or value.index is not None:
        value = value.plain()
    return dataclasses.replace(value, order=tuple(steps.index(axis) for axis in value.order))


@operator("Reshape")
def reshape(run: Importer, node: Node) -> Value:
    value, wanted = run.value(node), run.constant(node, 1)
    if wanted is None:
        wanted = constant(np.asarray(node.get("shape"), dtype="int64"))
    if node.get("allowzero") and np.any(wanted.first == 0):
        raise node.refused("makes a tensor without numbers.")
    return reshaped(node, value, resolved(run, node, value, wanted))


def resolved(run: Importer, node: Node, value: Value, wanted: Constant) -> list[int | None]:
    """Return the shape that is wanted, with `BATCH` at the axis of the batch."""
    entries = [int(one) for one in np.ravel(wanted.first)]
    at = None
    for place, entry in enumerate(entries):
        times = 0 if wanted.fixed else batch_of(wanted, place)
        copied = entry == 0 and place < value.rank
        if times < 0:
            raise node.refused("has a shape that depends on the batch in another way than in proportion.")
        if times or (copied and value.shape[place] is None):
            at = place
            entries[place] = times or value.repeats
        elif copied:
            entries[place] = int(value.shape[place] or 1)
    open_one = entries.index(-1) if -1 in entries else None
    rest = math.prod(entry for entry in entries if entry != -1)
    if at is None and run.batch and entries and entries[0] % run.batch == 0 and open_one != 0:
        fixed = rest == run.batch * value.elements if open_one is None else entries[0] == run.batch
        if fixed:
            at, entries[0], rest = 0, entries[0] // run.batch, rest // run.batch
    if at is None and open_one is not None:
        at, entries[open_one], open_one = open_one, value.elements // max(1, rest), None
    if at is None:
        raise node.refused(
            f"fixes the size of the batch, which must stay open. Export the network with a dynamic batch. Received: "
            f"the shape {[int(one) for one in np.ravel(wanted.first)]}."
        )
    if open_one is not None:
        entries[open_one] = value.elements // max(1, rest)
    if math.prod(entries) != value.elements:
        raise node.refused(f"can't make {entries} of {list(value.shape)}.")
    return [BATCH if place == at else entry for place, entry in enumerate(entries)]


def reshaped(node: Node, value: Value, wanted: list[int | None]) -> Value:
    """Return a value in another shape; by moving axes alone, or within Keras' order, where that can be."""
    many = value.elements // math.prod(size or 1 for size in wanted)
    if value.merged and wanted == list(value.dims) and many == value.many:
        return dataclasses.replace(value, merged=False)
    ways = (unchanged, moved, flat, dropped, tail) if many == value.repeats else (merged,)
    for way in ways:
        found = way(value, wanted)
        if found is not None:
            return found
    plain = value.ordered()
    if wanted[0] is BATCH and many == plain.many and plain.dims[0] is None:
        return fresh(keras.layers.Reshape(tuple(wanted[1:]))(plain.tensor), many)
    return fresh(ops.reshape(plain.tensor, [-1 if size is None else size for size in wanted]), many)


def unchanged(value: Value, wanted: list[int | None]) -> Value | None:
    return value if wanted == list(value.shape) else None


def merged(value: Value, wanted: list[int | None]) -> Value | None:
    """All axes but the last become one."""
    ready = value.rank > 2 and value.order == tuple(range(value.rank)) and value.index is None and not value.merged
    if ready and len(wanted) == 2 and wanted[0] is BATCH and wanted[1] == value.dims[-1] and value.dims[0] is None:
        return dataclasses.replace(value, merged=True)
    return None


def moved(value: Value, wanted: list[int | None]) -> Value | None:
    """Axes of length 1 move, as a transposition does it too."""
    old = list(value.shape)
    if value.merged or value.index is not None or len(old) != len(wanted) or len(old) < 3:
        return None
    if [one for one in old if one != 1] != [one for one in wanted if one != 1]:
        return None
    long, short = (iter([axis for axis, one in enumerate(old) if (one != 1) is kind]) for kind in (True, False))
    steps = [next(short) if one == 1 else next(long) for one in wanted]
    return dataclasses.replace(value, order=tuple(steps.index(axis) for axis in value.order))


def flat(value: Value, wanted: list[int | None]) -> Value | None:
    """One axis beside the batch; what order its entries have is remembered."""
    if len(wanted) != 2 or wanted[0] is not BATCH or value.merged or value.rank < 3 or value.index is not None:
        return None
    if value.order[0] != 0 or value.dims[0] is not None or wanted[1] != math.prod(int(one or 1) for one in value.dims):
        return None
    places = np.arange(wanted[1]).reshape([int(one or 0) for one in value.shape[1:]])
    index = places.transpose([axis - 1 for axis in value.order[1:]]).ravel()
    return Value(
        keras.layers.Flatten()(value.tensor), (0, 1), value.many, None if np.all(np.diff(index) == 1) else index
    )


def dropped(value: Value, wanted: list[int | None]) -> Value | None:
    """Axes of length 1 vanish; the rest keeps its order in Keras."""
    if value.merged or value.index is not None or len(wanted) >= value.rank or value.dims[0] is not None:
        return None
    kept: list[int] = []
    for size in wanted:
        start = kept[-1] + 1 if kept else 0
        place = next((axis for axis in range(start, value.rank) if value.shape[axis] == size), None)
        if place is None or any(value.shape[axis] != 1 for axis in range(start, place)):
            return None
        kept.append(place)
    if any(value.shape[axis] != 1 for axis in range(kept[-1] + 1, value.rank)):
        return None
    left = [axis for axis in value.order if axis in kept]
    tensor = keras.layers.Reshape(tuple(int(value.shape[axis] or 0) for axis in left[1:]))(value.tensor)
    return Value(tensor, tuple(kept.index(axis) for axis in left), value.many)


def tail(value: Value, wanted: list[int | None]) -> Value | None:
    """Only the last axes change, and Keras has them last too."""
    if value.merged or value.index is not None or value.dims[0] is not None:
        return None
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(value.shape, wanted, strict=False)))
    last = value.rank - same
    if BATCH in wanted[same:] or value.order[0] >= same or value.order[same:] != tuple(range(same, value.rank)):
        return None
    if last < 1 or len(wanted) == same:
        return None
    if same == 1 and value.many != 1:
        return None
    tensor = keras.layers.Reshape((*value.dims[1:same], *wanted[same:]))(value.tensor)
    return Value(tensor, (*value.order[:same], *range(same, len(wanted))), value.many)


@operator("Flatten")
def flatten(run: Importer, node: Node) -> Value:
    value, axis = run.value(node), node.get("axis", 1)
    axis %= value.rank
    back = value.shape[axis:]
    if None in back:
        raise node.refused("flattens the batch into the last axis.")
    return reshaped(node, value, [BATCH, math.prod(int(one or 1) for one in back)])


@operator("Squeeze")
def squeeze(run: Importer, node: Node) -> Value:
    value, axes = run.value(node), run.numbers(node, "axes", 1)
    chosen = [axis for axis, one in enumerate(value.shape) if one == 1]
    if axes is not None:
        chosen = [axis % value.rank for axis in axes]
    if any(value.shape[axis] != 1 for axis in chosen):
        raise node.refused(f"takes axes {chosen} away, which must have length 1. Received: {list(value.shape)}.")
    return reshaped(node, value, [one for axis, one in enumerate(value.shape) if axis not in chosen])


@operator("Unsqueeze")
def unsqueeze(run: Importer, node: Node) -> Value:
    value, axes = run.value(node), run.numbers(node, "axes", 1) or []
    rank = value.rank + len(axes)
    chosen = {axis % rank for axis in axes}
    rest = iter(value.shape)
    return reshaped(node, value, [1 if axis in chosen else next(rest) for axis in range(rank)])


@operator("Expand")
def expand(run: Importer, node: Node) -> Value:
    value, wanted = run.value(node).ordered(), run.constant(node, 1)
    if wanted is None:
        raise node.refused("lacks its shape.")
    sizes_wanted = [int(one) for one in wanted.first]
    rank = max(len(sizes_wanted), value.rank)
    target = [1] * (rank - len(sizes_wanted)) + sizes_wanted
    old: list[Any] = [1] * (rank - value.rank) + list(value.shape)
    if [one for one, size in zip(old, target, strict=True) if one is None and size not in (1, PROBES[0], run.batch)]:
        raise node.refused("expands the batch.")
    if old[0] is not None and (not wanted.fixed or rank != value.rank):
        raise node.refused("repeats something along the batch.")
    tensor = value.tensor
    for axis, (one, size) in enumerate(zip(old, target, strict=True)):
        if one == 1 and size > 1:
            tensor = ops.repeat(tensor, size, axis=axis)
    return fresh(tensor, value.many)


@operator("Tile")
def tile(run: Importer, node: Node) -> Value:
    value, repeats = run.value(node).ordered(), run.numbers(node, "repeats", 1) or []
    if any(one is None and times != 1 for one, times in zip(value.shape, repeats, strict=True)):
        raise node.refused("repeats the batch.")
    return fresh(ops.tile(value.tensor, repeats), value.many)


@operator("Concat")
def concat(run: Importer, node: Node) -> Value:
    values = [run.values[name] for name in node.inputs]
    first = next(value for value in values if isinstance(value, Value)).plain()
    axis = node.get("axis", 0) % first.rank
    if first.shape[axis] is None:
        raise node.refused("joins examples along the batch.")
    parts = []
    for number, value in enumerate(values):
        if isinstance(value, Value):
            parts.append(value.ordered(first.order).tensor)
            continue
        array = run.array(node, number)
        if array is None or first.order[0] != 0 or array.shape[0] not in (1, run.batch):
            raise node.refused("joins a constant of another shape to the network's tensors.")
        array = array[:1].transpose(first.order)
        start = ops.take(first.tensor, [0] * array.shape[first.order.index(axis)], axis=first.order.index(axis))
        parts.append(ops.add(ops.multiply(ops.cast(start, "float32"), 0.0), array))
    joined = keras.layers.Concatenate(axis=first.order.index(axis))(parts)
    return Value(joined, first.order, first.many)


@operator("Split")
def split(run: Importer, node: Node) -> list[Value]:
    value = run.value(node).plain()
    axis = node.get("axis", 0) % value.rank
    length = value.shape[axis]
    if length is None:
        raise node.refused("splits the batch.")
    parts = run.numbers(node, "split", 1)
    if parts is None:
        part = -(-length // len(node.outputs))
        parts = [min(part, length - part * number) for number in range(len(node.outputs))]
    ends = list(itertools.accumulate(parts))
    return [cut_axis(value, axis, slice(end - part, end)) for part, end in zip(parts, ends, strict=True)]


def cut_axis(value: Value, axis: int, chosen: slice) -> Value:
    """Return a part of an axis of ONNX."""
    place = value.order.index(axis)
    return value.same(value.tensor[(*(slice(None),) * place, chosen)])


@operator("Slice")
def slices(run: Importer, node: Node) -> Value:
    value = run.value(node).plain()
    starts, ends = run.numbers(node, "starts", 1) or [], run.numbers(node, "ends", 2) or []
    axes = run.numbers(node, "axes", 3) or list(range(len(starts)))
    steps = run.numbers(node, "steps", 4) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis %= value.rank
        length = value.shape[axis]
        if length is None:
            if start == 0 and end >= min(PROBES) and step == 1:
                continue
            raise node.refused("cuts the batch.")
        chosen = range(length)[slice(start, None if step < 0 and end < -length else end, step)]
        if len(chosen) == 0:
            raise node.refused("leaves nothing over.")
        if len(chosen) == length and step == 1:
            continue
        if step < 0:
            place = value.order.index(axis)
            value = value.same(ops.take(value.tensor, np.asarray(chosen), axis=place))
        else:
            value = cut_axis(value, axis, slice(chosen.start, chosen.stop, step))
    return value


@operator("Gather")
def gather(run: Importer, node: Node) -> Value:
    if isinstance(run.values[node.inputs[0]], Constant):
        return embedding(run, node)
    value, places = run.value(node).plain(), run.array(node, 1)
    if places is None:
        raise node.refused("lacks its places.")
    axis = node.get("axis", 0) % value.rank
    length = value.shape[axis]
    if length is None:
        raise node.refused("picks examples of the batch.")
    places = np.where(places < 0, places + length, places).astype("int32")
    if places.size and not (0 <= places.min() and places.max() < length):
        raise node.refused(f"picks places beyond the {length} that there are.")
    if places.ndim == 1:
        return value.same(ops.take(value.tensor, places, axis=value.order.index(axis)))
    plain = value.ordered()
    if places.ndim == 0:
        part = cut_axis(plain, axis, slice(int(places), int(places) + 1))
        return reshaped(node, part, [one for place, one in enumerate(part.shape) if place != axis])
    return fresh(ops.take(plain.tensor, places, axis=axis), plain.many)


def embedding(run: Importer, node: Node) -> Value:
    """Rows of a table: an embedding."""
    table, value = run.array(node, 0), run.value(node, 1).ordered()
    if table is None or table.ndim != 2 or node.get("axis", 0) != 0:
        raise node.refused("must pick rows of a constant table with two axes.")
    layer = keras.layers.Embedding(*table.shape, name=run.layer_name(node))
    tensor = layer(value.tensor)
    layer.set_weights([table])
    return fresh(tensor, value.many)


@operator("DepthToSpace")
def depth_to_space(run: Importer, node: Node) -> Value:
    value, block = run.value(node), node.get("blocksize")
    _, channels, height, width = (int(one or 0) for one in value.shape)
    depth = channels // block**2
    plain = value.ordered((0, 2, 3, 1)).tensor
    if node.get("mode", "DCR") == "DCR":
        parts = ops.transpose(ops.reshape(plain, (-1, height, width, block, block, depth)), (0, 1, 3, 2, 4, 5))
    else:
        parts = ops.transpose(ops.reshape(plain, (-1, height, width, depth, block, block)), (0, 1, 4, 2, 5, 3))
    return Value(ops.reshape(parts, (-1, height * block, width * block, depth)), (0, 2, 3, 1), value.many)
