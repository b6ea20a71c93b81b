"""Operators with kernels: convolutions, dense layers, products of two tensors, normalisation."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from analognets.conversion.from_onnx.importing import Importer, operator
from analognets.conversion.from_onnx.opening import Node
from analognets.conversion.from_onnx.values import Constant, Product, Value, channels_last, fresh
from analognets.conversion.from_onnx.windows import padded, window

__all__ = ["CONVOLUTIONS", "DEPTHWISE", "TRANSPOSED"]

CONVOLUTIONS = {3: keras.layers.Conv1D, 4: keras.layers.Conv2D, 5: keras.layers.Conv3D}
DEPTHWISE = {3: keras.layers.DepthwiseConv1D, 4: keras.layers.DepthwiseConv2D}
TRANSPOSED = {3: keras.layers.Conv1DTranspose, 4: keras.layers.Conv2DTranspose, 5: keras.layers.Conv3DTranspose}
"""Keras layers by the number of axes of their input."""


def required(run: Importer, node: Node, number: int, what: str) -> np.ndarray:
    """Return an input that must be there and constant."""
    found = run.array(node, number)
    if found is None:
        raise node.refused(f"lacks its {what}.")
    return found


@operator("Conv")
def convolution(run: Importer, node: Node) -> Value:
    kernel, bias = required(run, node, 1, "kernel"), run.array(node, 2)
    value = run.value(node)
    rank, groups = value.rank, node.get("group", 1)
    if rank not in CONVOLUTIONS or kernel.ndim != rank:
        raise node.refused(f"must run over one to three axes of space. Received: {rank - 2}.")
    value = value.ordered(channels_last(rank))
    channels = int(value.dims[-1] or 0)
    shape = window(node, value, kernel.shape[2:])
    tensor, padding = padded(value, shape)
    name = run.layer_name(node)
    settings: dict[str, Any] = {
        "strides": shape.strides,
        "padding": padding,
        "dilation_rate": shape.dilations,
        "name": name,
    }
    space = tuple(range(2, rank))
    one_stride = len(set(shape.strides)) == 1
    if groups == channels > 1 and rank in DEPTHWISE and one_stride:
        times = kernel.shape[0] // channels
        placed = kernel.reshape(channels, times, *kernel.shape[2:]).transpose(*(axis for axis in space), 0, 1)
        if rank == 3:
            settings = {**settings, "strides": shape.strides[0], "dilation_rate": shape.dilations[0]}

        def depthwise(use_bias: bool) -> Any:
            return DEPTHWISE[rank](kernel.shape[2:], depth_multiplier=times, use_bias=use_bias, **settings)

        made = Product(depthwise, tensor, placed.reshape(*kernel.shape[2:], channels, times), bias, (-2, -1))
        return Value(made, value.order, value.many)

    def layer(use_bias: bool) -> Any:
        return CONVOLUTIONS[rank](kernel.shape[0], kernel.shape[2:], groups=groups, use_bias=use_bias, **settings)

    return Value(Product(layer, tensor, kernel.transpose(*space, 1, 0), bias), value.order, value.many)


@operator("ConvTranspose")
def transposed_convolution(run: Importer, node: Node) -> Value:
    kernel, bias = required(run, node, 1, "kernel"), run.array(node, 2)
    value = run.value(node)
    rank, length = value.rank, value.rank - 2
    if node.get("group", 1) != 1 or node.get("output_shape") or rank not in TRANSPOSED:
        raise node.refused("must have one group and no given output shape.")
    value = value.ordered(channels_last(rank))
    sizes = kernel.shape[2:]
    strides = tuple(node.get("strides") or [1] * length)
    dilations = tuple(node.get("dilations") or [1] * length)
    extra = tuple(node.get("output_padding") or [0] * length)
    pads = list(node.get("pads") or [0] * (2 * length))
    automatic = node.get("auto_pad", "NOTSET")
    if any(extra) or automatic not in ("NOTSET", "VALID"):
        raise node.refused("must have no output padding and explicit pads.")

    def layer(use_bias: bool) -> Any:
        return TRANSPOSED[rank](
            kernel.shape[1], sizes, strides=strides, padding="valid", dilation_rate=dilations, use_bias=use_bias,
            name=name,
        )  # fmt: skip

    name = run.layer_name(node)
    made = Product(layer, value.tensor, kernel.transpose(*range(2, rank), 1, 0), bias)
    whole = [
        (int(size or 1) - 1) * stride + (length_of - 1) * step + 1
        for size, stride, length_of, step in zip(value.dims[1:-1], strides, sizes, dilations, strict=True)
    ]
    if not any(pads):
        if tuple(made.shape[1:-1]) == tuple(whole):
            return Value(made, value.order, value.many)
    cut = [slice(pads[axis], whole[axis] - pads[axis + length]) for axis in range(length)]
    return Value(made.made()[(slice(None), *cut)], value.order, value.many)


@operator("Gemm")
def gemm(run: Importer, node: Node) -> Value:
    kernel, value = required(run, node, 1, "weights"), run.value(node)
    if node.get("transA"):
        raise node.refused("transposes its input, which holds the batch.")
    kernel = (kernel.T if node.get("transB") else kernel) * np.float32(node.get("alpha", 1.0))
    found = dense(run, node, value, kernel)
    offset, beta = run.array(node, 2), float(node.get("beta", 1.0))
    product = found.product
    if offset is None or beta == 0:
        return found
    if product is None or offset.size not in (1, kernel.shape[1]):
        raise node.refused("must have one offset for each output.")
    product.add(offset.ravel() * np.float32(beta))
    return found


def dense(run: Importer, node: Node, value: Value, kernel: np.ndarray) -> Value:
    """Return a product with constant weights, over the last axis of ONNX."""
    name = run.layer_name(node)
    if value.index is not None:
        kernel, value = kernel[value.index], Value(value.tensor, value.order, value.many)
    elif value.order[-1] != len(value.order) - 1 and not value.merged:
        value = value.ordered()

    def layer(use_bias: bool) -> Any:
        return keras.layers.Dense(kernel.shape[1], use_bias=use_bias, name=name)

    made = Product(layer, value.tensor, kernel, None)
    return Value(made, value.order, value.many, None, value.merged)


@operator("MatMul")
def matrix_product(run: Importer, node: Node) -> Value:
    left, right = (run.values[name] for name in node.inputs)
    if isinstance(left, Value) and isinstance(right, Constant):
        kernel = required(run, node, 1, "weights")
        while kernel.ndim > 2 and kernel.shape[0] == 1:
            kernel = kernel[0]
        if kernel.ndim == 2 and left.rank >= 2:
            return dense(run, node, left, kernel)
        return fresh(ops.matmul(left.ordered().tensor, kernel), left.many)
    if isinstance(left, Constant) and isinstance(right, Value):
        return fresh(ops.matmul(required(run, node, 0, "weights"), right.ordered().tensor), right.many)
    first, second = run.value(node, 0).ordered(), run.value(node, 1).ordered()
    longest = first if first.rank >= second.rank else second
    return fresh(ops.matmul(first.tensor, second.tensor), longest.many)


@operator("Einsum")
def einsum(run: Importer, node: Node) -> Value:
    parts, many = [], 1
    for number, name in enumerate(node.inputs):
        found = run.values[name]
        if isinstance(found, Constant):
            parts.append(required(run, node, number, "numbers"))
        else:
            many = found.repeats
            parts.append(found.ordered().tensor)
    return fresh(ops.einsum(node.get("equation").replace(" ", ""), *parts), many)


@operator("BatchNormalization")
def batch_normalization(run: Importer, node: Node) -> Value:
    if node.get("training_mode") or node.get("spatial", 1) != 1:
        raise node.refused("must be that of inference, one mean a channel. Export the network after eval().")
    scale, offset, mean, variance = (required(run, node, number, "statistics") for number in range(1, 5))
    value = run.value(node)
    value = value.ordered(channels_last(value.rank)) if value.rank > 2 else value.plain()
    layer = keras.layers.BatchNormalization(
        epsilon=float(node.get("epsilon", 1e-5)), momentum=float(node.get("momentum", 0.9)), name=run.layer_name(node)
    )
    tensor = layer(value.tensor)
    layer.set_weights([scale, offset, mean, variance])
    return value.same(tensor)


@operator("LayerNormalization")
def layer_normalization(run: Importer, node: Node) -> Value:
    scale, offset, value = required(run, node, 1, "scale"), run.array(node, 2), run.value(node).ordered()
    axis = node.get("axis", -1) % value.rank
    if axis == 0 or value.dims[0] is not None or sum(1 for name in node.outputs if name) > 1:
        raise node.refused("must run over axes other than the batch and give one output.")
    axes, shape = list(range(axis, value.rank)), value.dims[axis:]
    layer = keras.layers.LayerNormalization(
        axis=axes if len(axes) > 1 else axes[0], epsilon=float(node.get("epsilon", 1e-5)), center=offset is not None,
        name=run.layer_name(node),
    )  # fmt: skip
    tensor = layer(value.tensor)
    stored = [scale] if offset is None else [scale, offset]
    layer.set_weights([np.broadcast_to(one, [int(size or 0) for size in shape]) for one in stored])
    return value.same(tensor)


@operator("InstanceNormalization", "GroupNormalization")
def group_normalization(run: Importer, node: Node) -> Value:
    scale, offset = required(run, node, 1, "scale"), required(run, node, 2, "offset")
    value = run.value(node)
    value = value.ordered(channels_last(value.rank))
    groups = node.get("num_groups", math.prod(scale.shape)) if node.kind == "GroupNormalization" else -1
    if node.kind == "GroupNormalization" and scale.size != value.dims[-1]:
        raise node.refused("of opset 18 has one scale a group. Export it with opset 21 or later.")
    layer = keras.layers.GroupNormalization(
        groups=groups, epsilon=float(node.get("epsilon", 1e-5)), name=run.layer_name(node)
    )
    tensor = layer(value.tensor)
    layer.set_weights([scale, offset])
    return value.same(tensor)
