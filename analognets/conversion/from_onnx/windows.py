"""Windows that run over space: how they are padded, pooling, padding itself, and resizing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from analognets.conversion.from_onnx.importing import Importer, operator
from analognets.conversion.from_onnx.opening import Node
from analognets.conversion.from_onnx.values import Value, channels_last
from analognets.layers.with_constant import WithConstant

__all__ = ["Window", "padded", "window"]

LOWEST = float(np.finfo("float32").min)
ZEROS = {3: keras.layers.ZeroPadding1D, 4: keras.layers.ZeroPadding2D, 5: keras.layers.ZeroPadding3D}


@dataclasses.dataclass(frozen=True)
class Window:
    """A window over space.

    Args:
        size: of it.
        strides: from place to place.
        dilations: steps within it.
        pads: before and after, for each axis.
        same: whether Keras' padding "same" pads alike.
    """

    size: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    same: bool


def window(node: Node, value: Value, size: Sequence[int]) -> Window:
    """Return the window of an operator on a value with channels last."""
    space = [int(one or 1) for one in value.dims[1:-1]]
    count = len(space)
    given = node.get("kernel_shape")
    if given is not None and tuple(given) != tuple(size):
        raise node.refused(f"says that its window is {tuple(given)}, but its kernel is {tuple(size)}.")
    strides = tuple(node.get("strides") or [1] * count)
    dilations = tuple(node.get("dilations") or [1] * count)
    reach = [(one - 1) * step + 1 for one, step in zip(size, dilations, strict=True)]
    usual = []
    for length, stride, one in zip(space, strides, reach, strict=True):
        total = max(0, (-(-length // stride) - 1) * stride + one - length)
        usual.append((total // 2, total - total // 2))
    automatic = node.get("auto_pad", "NOTSET")
    if automatic == "SAME_UPPER":
        pads = usual
    elif automatic == "SAME_LOWER":
        pads = [(after, before) for before, after in usual]
    else:
        flat = list(node.get("pads") or [0] * (2 * count)) if automatic == "NOTSET" else [0] * (2 * count)
        pads = [(flat[axis], flat[axis + count]) for axis in range(count)]
    if any(one < 0 for pair in pads for one in pair):
        raise node.refused("has negative pads.")
    if node.get("ceil_mode"):
        pads = [up(*entry) for entry in zip(space, reach, strides, pads, strict=True)]
    dilated = any(stride > 1 and step > 1 for stride, step in zip(strides, dilations, strict=True))
    if dilated:
        raise node.refused("has both strides and dilations, which Keras has not.")
    return Window(tuple(size), strides, dilations, tuple(pads), pads == usual)


def up(length: int, reach: int, stride: int, pads: tuple[int, int]) -> tuple[int, int]:
    """Return pads with which a last window that is not whole counts too, unless it begins in the padding."""
    whole = length + sum(pads)
    places = -(-(whole - reach) // stride) + 1
    if (places - 1) * stride >= length + pads[0]:
        places -= 1
    return pads[0], pads[1] + max(0, (places - 1) * stride + reach - whole)


def padded(value: Value, shape: Window) -> tuple[Any, str]:
    """Return the tensor that a convolution runs over, and Keras' word for the padding that is left to do."""
    if not any(map(any, shape.pads)):
        return value.tensor, "valid"
    if shape.same:
        return value.tensor, "same"
    return zeros(value, shape.pads), "valid"


def zeros(value: Value, pads: Sequence[tuple[int, int]]) -> Any:
    """Return a tensor with zeros around its space."""
    count = len(pads)
    return ZEROS[count + 2](tuple(pads[0]) if count == 1 else tuple(tuple(one) for one in pads))(value.tensor)


def spatial(run: Importer, node: Node) -> Value:
    """Return the input of an operator over space, with channels last."""
    value = run.value(node)
    if value.rank not in ZEROS:
        raise node.refused(f"must run over one to three axes of space. Received: {value.rank - 2}.")
    return value.ordered(channels_last(value.rank))


@operator("MaxPool")
def max_pool(run: Importer, node: Node) -> Value:
    value = spatial(run, node)
    if any(step != 1 for step in node.get("dilations") or []):
        raise node.refused("has dilations, which Keras has not.")
    shape = window(node, value, node.get("kernel_shape"))
    kinds = {3: keras.layers.MaxPooling1D, 4: keras.layers.MaxPooling2D, 5: keras.layers.MaxPooling3D}
    tensor, padding = value.tensor, "valid"
    if shape.same and any(map(any, shape.pads)):
        padding = "same"
    elif any(map(any, shape.pads)):
        tensor = ops.pad(tensor, ((0, 0), *shape.pads, (0, 0)), constant_values=LOWEST)
    return value.same(pool(run, node, kinds[value.rank], shape, padding)(tensor))


def pool(run: Importer, node: Node, kind: Any, shape: Window, padding: str) -> Any:
    size, strides = (one[0] if len(one) == 1 else one for one in (shape.size, shape.strides))
    return kind(size, strides=strides, padding=padding, name=run.layer_name(node))


@operator("AveragePool")
def average_pool(run: Importer, node: Node) -> Value:
    value = spatial(run, node)
    if any(step != 1 for step in node.get("dilations") or []):
        raise node.refused("has dilations, which Keras has not.")
    shape = window(node, value, node.get("kernel_shape"))
    kinds = {3: keras.layers.AveragePooling1D, 4: keras.layers.AveragePooling2D, 5: keras.layers.AveragePooling3D}
    counted, kind = bool(node.get("count_include_pad", 0)), kinds[value.rank]
    if not any(map(any, shape.pads)):
        return value.same(pool(run, node, kind, shape, "valid")(value.tensor))
    if counted and node.get("ceil_mode"):
        raise node.refused("counts its padding and rounds up, which can't be imported.")
    if shape.same and not counted:
        return value.same(pool(run, node, kind, shape, "same")(value.tensor))
    tensor = pool(run, node, kind, shape, "valid")(zeros(value, shape.pads))
    if counted:
        return value.same(tensor)
    ones = np.pad(np.ones([int(one or 1) for one in value.dims[1:-1]], "float32"), shape.pads)
    inside = np.lib.stride_tricks.sliding_window_view(ones, shape.size)
    inside = inside[tuple(slice(None, None, step) for step in shape.strides)]
    factor = float(np.prod(shape.size)) / inside.sum(tuple(range(-len(shape.size), 0)))
    layer = WithConstant("multiply", (1, *factor.shape, 1), name=run.name("edges"))
    scaled = layer(tensor)
    layer.set_weights([factor[None, ..., None]])
    return value.same(scaled)


@operator("GlobalAveragePool", "GlobalMaxPool")
def global_pool(run: Importer, node: Node) -> Value:
    value, mean = run.value(node).plain(), node.kind == "GlobalAveragePool"
    if value.order != channels_last(value.rank) or value.rank not in ZEROS:
        places = [value.order.index(axis) for axis in range(2, value.rank)]
        return value.same((ops.mean if mean else ops.max)(value.tensor, axis=places, keepdims=True))
    kind = f"Global{'Average' if mean else 'Max'}Pooling{value.rank - 2}D"
    return value.same(getattr(keras.layers, kind)(keepdims=True, name=run.layer_name(node))(value.tensor))


@operator("Pad")
def pad(run: Importer, node: Node) -> Value:
    value, flat = run.value(node).plain(), run.numbers(node, "pads", 1) or []
    mode, given = node.get("mode", "constant"), run.array(node, 2)
    fill = float(node.get("value", 0.0)) if given is None or not given.size else float(given.item())
    axes = [axis % value.rank for axis in run.numbers(node, "axes", 3) or range(value.rank)]
    pads = [(0, 0)] * value.rank
    for number, axis in enumerate(axes):
        pads[axis] = (flat[number], flat[number + len(axes)])
    if any(value.shape[axis] is None and any(pads[axis]) for axis in range(value.rank)):
        raise node.refused("pads the batch.")
    if any(one < 0 for pair in pads for one in pair) or mode not in ("constant", "reflect", "edge"):
        raise node.refused(f"must not cut and must pad with a constant, 'reflect' or 'edge'. Received: {mode}, {pads}.")
    if mode == "edge" and max(max(pair) for pair in pads) > 1:
        raise node.refused("repeats the edge more than once, which Keras has not.")
    placed = [pads[axis] for axis in value.order]
    if mode != "constant":
        return value.same(ops.pad(value.tensor, placed, mode="reflect" if mode == "reflect" else "symmetric"))
    outside = value.order[0] == 0 and not any(placed[0]) and not any(placed[-1])
    if fill == 0 and value.rank in ZEROS and outside and value.dims[0] is None:
        return value.same(zeros(value, placed[1:-1]))
    return value.same(ops.pad(value.tensor, placed, constant_values=fill))


@operator("Resize", "Upsample")
def resize(run: Importer, node: Node) -> Value:
    value = spatial(run, node)
    given = [run.array(node, number) for number in range(1, len(node.inputs))]
    scales = next((one for one in given[-2:] if one is not None and one.dtype.kind == "f" and one.size), None)
    scales = np.asarray(node.get("scales")) if scales is None and node.get("scales") else scales
    sizes = next((one for one in given if one is not None and one.dtype.kind in "iu" and one.size), None)
    shape = [int(one or 1) for one in value.shape]
    if scales is None and sizes is not None:
        scales = np.array([1.0, *(wanted / size for wanted, size in zip(sizes[1:], shape[1:], strict=True))])
    if scales is None or value.rank != 4 or np.any(scales[:2] != 1) or np.any(scales != np.round(scales)):
        raise node.refused("must enlarge height and width by whole numbers.")
    mode, rounding = node.get("mode", "nearest"), node.get("nearest_mode", "round_prefer_floor")
    asymmetric = "asymmetric" if node.kind == "Upsample" else "half_pixel"
    centred = node.get("coordinate_transformation_mode", asymmetric)
    if not repeats_alike(mode, centred, "floor" if node.kind == "Upsample" else rounding, int(scales.max())):
        raise node.refused(
            f"must be of the mode 'nearest', or 'linear' with half pixels. Received: {mode}, {centred}, {rounding}."
        )
    layer = keras.layers.UpSampling2D(
        tuple(int(one) for one in scales[2:]), interpolation="nearest" if mode == "nearest" else "bilinear",
        name=run.layer_name(node),
    )  # fmt: skip
    return value.same(layer(value.tensor))


def repeats_alike(mode: str, centred: str, rounding: str, scale: int) -> bool:
    """Whether Keras enlarges alike: by repeating each number, or between the centres of pixels."""
    if mode == "linear":
        return centred in ("half_pixel", "pytorch_half_pixel")
    if mode != "nearest":
        return False
    if centred == "asymmetric":
        return rounding == "floor" or (rounding == "round_prefer_floor" and scale <= 2)
    return centred == "half_pixel" and rounding.startswith("round_prefer")
