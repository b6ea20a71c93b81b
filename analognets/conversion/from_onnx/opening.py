"""Opening an ONNX file: what it is, which operators it needs, its inputs and their shapes."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from analognets.errors import ConversionError, DataError, MissingExtraError, cut, reason

__all__ = ["Node", "OnnxFile", "OnnxInput", "opened_onnx"]

OLDEST = 7
"""The opset from which on operators broadcast as NumPy does."""
STANDARD = ("", "ai.onnx")
MOST_ELEMENTS = 1 << 27
"""Numbers of an input, and of a constant that is worked out."""
FLOATS = ("float16", "bfloat16", "float32", "float64")
WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "bool")


@dataclasses.dataclass(frozen=True)
class OnnxInput:
    """An input of a network.

    Args:
        name: in the file.
        shape: without the batch.
        dtype: float32 for any float.
        batch: the size of the batch, if the file fixes it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    batch: int | None


class Node:
    """One operator of a graph.

    Args:
        proto: of the file.
        name: to speak of it.
        path: of the file.
        opset: of the standard operators.
    """

    def __init__(self, proto: Any, name: str, path: Path, opset: int) -> None:
        self.proto, self.name, self.path, self.opset = proto, name, path, opset
        self.kind = str(proto.op_type) if proto.domain in STANDARD else f"{proto.domain}:{proto.op_type}"
        self.inputs, self.outputs = list(proto.input), list(proto.output)

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        import onnx

        for one in self.proto.attribute:
            if one.name == name:
                found = onnx.helper.get_attribute_value(one)
                return found.decode("utf-8", "replace") if isinstance(found, bytes) else found
        return default

    def refused(self, what: str) -> ConversionError:
        """Return the error that this operator can't be imported."""
        return ConversionError(f"Operator '{self.kind}' (node '{self.name}') in '{self.path}' {what}")


@dataclasses.dataclass(frozen=True)
class OnnxFile:
    """An ONNX file that is opened.

    Args:
        path: of it.
        model: the whole of it.
        opset: of the standard operators.
        nodes: in an order in which they can be computed.
        inputs: without constants.
    """

    path: Path
    model: Any
    opset: int
    nodes: list[Node]
    inputs: list[OnnxInput]


def opened_onnx(path: Path, known: Collection[str]) -> OnnxFile:
    """Open an ONNX file.

    Args:
        path: of the file.
        known: operators that can be imported.

    Raises:
        DataError: it is missing or broken, or a shape other than the batch is open.
        ConversionError: it needs an opset or operators that can't be imported.
        MissingExtraError: the package onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("Reading an ONNX file", "onnx") from error
    if not path.is_file():
        raise DataError(f"There is no model file '{path}'. Check the path, which counts from the current folder.")
    try:
        model = onnx.load(path)
        empty = not model.graph.node or not model.graph.output
    except Exception as error:  # protobuf and onnx raise several kinds
        raise DataError(
            f"'{path}' is no whole ONNX file and can't be read. Export it again; weights beside it must lie in the "
            f"same folder. Received: {reason(error)}."
        ) from error
    if empty:
        raise DataError(f"'{path}' is no ONNX file of a network: its graph has no operators or no output.")
    opset = standard_opset(path, model, onnx.defs.onnx_opset_version())
    nodes = [Node(proto, proto.name or f"#{number}", path, opset) for number, proto in enumerate(model.graph.node)]
    check_operators(path, nodes, known)
    return OnnxFile(path, model, opset, nodes, list(inputs_of(path, model)))


def standard_opset(path: Path, model: Any, newest: int) -> int:
    """Return the version of the standard operators.

    Raises:
        ConversionError: it is too old or too new.
    """
    found = max((one.version for one in model.opset_import if one.domain in STANDARD), default=1)
    if not OLDEST <= found <= newest:
        raise ConversionError(
            f"'{path}' must be of opset {OLDEST} to {newest}. Export it again with an opset of these, such as 18, or "
            f"use onnx.version_converter. Received: {found}."
        )
    return found


def check_operators(path: Path, nodes: list[Node], known: Collection[str]) -> None:
    """Raise a ConversionError that names all operators that can't be imported, each with a node."""
    foreign: dict[str, list[str]] = {}
    for node in nodes:
        if node.kind not in known:
            foreign.setdefault(node.kind, []).append(node.name)
    if foreign:
        listed = "; ".join(
            f"'{kind}' (node{'s' if len(names) > 1 else ''} {', '.join(repr(cut(one, 80)) for one in names[:3])}"
            f"{' ...' if len(names) > 3 else ''})"
            for kind, names in itertools.islice(foreign.items(), 8)
        )
        raise ConversionError(
            f"'{path}' has operators that can't be imported: {listed}. Export the network without them, or build it "
            f"in Python with keras.layers. Imported are: {', '.join(sorted(known))}."
        )


def inputs_of(path: Path, model: Any) -> Iterator[OnnxInput]:
    """Yield the inputs of a network.

    Raises:
        DataError: one is no tensor, or a length other than the batch is open.
    """
    import onnx

    stored = {one.name for one in model.graph.initializer}
    for one in model.graph.input:
        if one.name in stored:
            continue
        kind = one.type.tensor_type
        if not one.type.HasField("tensor_type") or not kind.HasField("shape") or not kind.shape.dim:
            raise DataError(f"Input '{one.name}' of '{path}' must be a tensor with a batch and a known shape.")
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
        if dtype not in (*FLOATS, *WHOLE):
            raise DataError(f"Input '{one.name}' of '{path}' must hold numbers. Received: {dtype}.")
        sizes = [size.dim_value if size.HasField("dim_value") else 0 for size in kind.shape.dim]
        if any(size <= 0 for size in sizes[1:]):
            said = [size.dim_param or (size.dim_value or "?") for size in kind.shape.dim]
            raise DataError(
                f"Input '{one.name}' of '{path}' may leave only the batch open. Export it with fixed lengths on all "
                f"other axes. Received: {', '.join(str(size) for size in said)}."
            )
        if math.prod(sizes[1:]) > MOST_ELEMENTS:
            raise DataError(
                f"Input '{one.name}' of '{path}' may hold {MOST_ELEMENTS} numbers an example. Received: {sizes[1:]}."
            )
        batch = sizes[0] if sizes[0] > 0 else None
        yield OnnxInput(one.name, tuple(sizes[1:]), "float32" if dtype in FLOATS else dtype, batch)
