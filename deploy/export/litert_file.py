"""What stands in a .tflite file: operators, inputs and outputs with their scales, weights and products."""

from __future__ import annotations

import dataclasses
import importlib
import math
import re
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

from analognets.core.files import read_plain
from analognets.core.provenance import sha256_of
from analognets.deploy.export.cpp_text import comment
from analognets.errors import DataError, MissingExtraError, reason

__all__ = ["LiteRTFile", "TensorFacts", "plain_kernels_fail", "read_content", "read_litert"]

IDENTIFIER = b"TFL3"
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL")
NUMBERED = r"^in\d{3}_"
"""What `to_litert` puts before the names of several inputs, to keep their order in the signature."""
SCHEMAS = ("ai_edge_litert.schema_py_generated", "tensorflow.lite.python.schema_py_generated")


@dataclasses.dataclass(frozen=True)
class TensorFacts:
    """An input or output: real value = scale * (stored value - zero_point).

    Args:
        name: of the model's input or output.
        position: its number in the file, by which C code and interpreters find it.
        shape: with the batch axis.
        dtype: such as "int8" or "float32".
        scale: > 0; None if the tensor is not quantised.
        zero_point: the stored value that stands for 0; None if the tensor is not quantised.
    """

    name: str
    position: int
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


@dataclasses.dataclass(frozen=True)
class LiteRTFile:
    """The facts of one .tflite file.

    Args:
        path: where it lies; None if it was read from bytes.
        size: bytes.
        sha256: of the file, as hexadecimal text.
        operators: how often each operator stands in the file, bodies of loops included, by its name in the schema.
        inputs: in the model's order, which a file with several need not keep.
        outputs: in the model's order.
        macs: multiply-accumulates of one inference: convolutions and matrix products, those in loops not counted.
        weights: constant factors of these products, biases not counted; those that several share count once.
        weight_type: type they are stored as, such as "int8"; "-" if there are none.
        error: how far its outputs were from the network's when it was made: in 8 bit the norm of the difference over
            the norm of the outputs, else the largest difference over the largest output; None: read from a file.
    """

    path: Path | None
    size: int
    sha256: str
    operators: dict[str, int]
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    macs: int
    weights: int
    weight_type: str
    error: float | None = dataclasses.field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain data for JSON."""
        return {**dataclasses.asdict(self), "path": None if self.path is None else str(self.path)}

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {name}" for name, count in self.operators.items())
        lines = [f"{self.size} bytes, {self.weights} {self.weight_type} weights, {self.macs} MACs", f"  {kinds}"]
        for kind, tensors in (("input", self.inputs), ("output", self.outputs)):
            for tensor in tensors:
                steps = "" if tensor.scale is None else f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
                lines.append(f"  {kind} {comment(tensor.name)}: {tensor.dtype} {tensor.shape}{steps}")
        if self.error is not None:
            lines.append(f"  relative error of the outputs against the network: {self.error:.2g}")
        return "\n".join(lines)


def schema() -> ModuleType:
    """Return the generated module that knows the file format; LiteRT's is quicker to import than TensorFlow's."""
    for name in SCHEMAS:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise MissingExtraError("Reading .tflite files", "litert")


def read_litert(source: str | Path | bytes) -> LiteRTFile:
    """Read the facts of a .tflite file, or of its bytes.

    Raises:
        DataError: there is no such file, or it is no .tflite file.
        MissingExtraError: neither LiteRT nor TensorFlow is installed.
    """
    path = None if isinstance(source, bytes) else Path(source)
    content = read_content(source)
    where = "The bytes given" if path is None else f"'{path}'"
    form = schema()
    try:
        model = form.ModelT.InitFromPackedBuf(content, 0)
        graph = model.subgraphs[0]
        steps = [(operator_name(form, model, operator), operator) for operator in graph.operators or ()]
        inner = [operator for body in model.subgraphs[1:] for operator in body.operators or ()]
        operators = [name for name, _ in steps] + [operator_name(form, model, operator) for operator in inner]
        products = [product(graph, name, operator) for name, operator in steps if name in WEIGHTED]
        kernels = {index: graph.tensors[index] for _, index in products if index is not None}
        kernels = {t.buffer: t for t in kernels.values() if model.buffers[t.buffer].data is not None}
        if not len(graph.inputs) or not len(graph.outputs):
            raise ValueError("it has no inputs or no outputs")
        inputs, outputs = (
            tuple(facts(form, graph.tensors[index], name, list(indices).index(index)) for name, index in ends)
            for ends, indices in zip(named_ends(model), (graph.inputs, graph.outputs), strict=True)
        )
    except Exception as error:  # a broken buffer fails anywhere in the generated code
        raise DataError(f"{where} can't be read as a .tflite file: {error}. Export it again.") from error
    return LiteRTFile(
        path=path,
        size=len(content),
        sha256=sha256_of(content),
        operators=dict(Counter(operators)),
        inputs=inputs,
        outputs=outputs,
        macs=sum(macs for macs, _ in products),
        weights=sum(math.prod(map(int, tensor.shape)) for tensor in kernels.values()),
        weight_type="/".join(sorted({type_name(form, tensor.type) for tensor in kernels.values()})) or "-",
    )


def read_content(source: str | Path | bytes) -> bytes:
    """Return the bytes of a .tflite file.

    Raises:
        DataError: there is no such file, or it is no .tflite file.
    """
    if isinstance(source, bytes):
        content, where = source, "The bytes given"
    else:
        where = f"'{source}'"
        try:
            content = read_plain(source, error=DataError)
        except DataError as error:
            raise DataError(f"The file {where} can't be read: {reason(error.__cause__ or error)}.") from error
    if content[4:8] != IDENTIFIER:
        raise DataError(f"{where} is no .tflite file: bytes 4 to 7 must be {IDENTIFIER!r}. Received: {content[4:8]!r}.")
    return content


def operator_name(form: ModuleType, model: Any, operator: Any) -> str:
    """Return the schema's name of an operator, or "CUSTOM:name"."""
    code = model.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    name = next(key for key, value in vars(form.BuiltinOperator).items() if value == number and key.isupper())
    return f"CUSTOM:{text(code.customCode or b'')}" if name == "CUSTOM" else name


def text(name: bytes) -> str:
    """Return a name of the file as text; bytes that are none are replaced."""
    return name.decode("utf-8", "replace")


def type_name(form: ModuleType, number: int) -> str:
    """Return "int8" for the schema's INT8, and so on."""
    return next(key for key, value in vars(form.TensorType).items() if value == number and key.isupper()).lower()


def named_ends(model: Any) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Return (name, tensor index) of the inputs and of the outputs in the order of their names in the signature.

    Without a signature they come as they stand in the file.
    """
    graph = model.subgraphs[0]
    if not model.signatureDefs:
        inputs, outputs = ([(text(graph.tensors[i].name), i) for i in ends] for ends in (graph.inputs, graph.outputs))
        return inputs, outputs
    signature = model.signatureDefs[0]
    inputs, outputs = (
        sorted(((text(end.name), end.tensorIndex) for end in ends), key=lambda end: natural(end[0]))
        for ends in (signature.inputs, signature.outputs)
    )
    return [(re.sub(NUMBERED, "", name), index) for name, index in inputs], outputs


def natural(name: str) -> list[Any]:
    """Return a key that sorts output_2 before output_10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def facts(form: ModuleType, tensor: Any, name: str, position: int) -> TensorFacts:
    """Return the facts of one input or output."""
    found, scale, zero = tensor.quantization, None, None
    if found is not None and found.scale is not None and len(found.scale) == 1:
        scale, zero = float(found.scale[0]), int(found.zeroPoint[0])
    shape = tuple(int(size) for size in tensor.shape) if tensor.shape is not None else ()
    return TensorFacts(name, position, shape, type_name(form, tensor.type), scale, zero)


def plain_kernels_fail(content: bytes) -> bool:
    """Whether LiteRT's plain kernels are known to give wrong numbers for a file, or to end the process with it.

    Their 8-bit sum is wrong, and their 8-bit softmax takes no scale of 2^-26 or less; LiteRT's own quick kernels, and
    TFLM's, are right.
    """
    form = schema()
    model = form.ModelT.InitFromPackedBuf(content, 0)
    for graph in model.subgraphs:
        for operator in graph.operators or ():
            name = operator_name(form, model, operator)
            if name not in ("SUM", "SOFTMAX"):
                continue
            taken = graph.tensors[operator.inputs[0]]
            found = taken.quantization
            if type_name(form, taken.type) not in ("int8", "uint8") or found is None or found.scale is None:
                continue
            if name == "SUM" or float(found.scale[0]) <= 2.0**-26:
                return True
    return False


def product(graph: Any, name: str, operator: Any) -> tuple[int, int | None]:
    """Return the multiply-accumulates of an operator and the index of its weights."""
    shapes = [None if i < 0 else [int(n) for n in graph.tensors[i].shape] for i in operator.inputs]
    made = math.prod(int(n) for n in graph.tensors[operator.outputs[0]].shape)
    kernel = shapes[1] or []
    if name == "CONV_2D":
        return made * math.prod(kernel[1:]), operator.inputs[1]
    if name == "DEPTHWISE_CONV_2D":
        return made * math.prod(kernel[1:3]), operator.inputs[1]
    if name == "TRANSPOSE_CONV":
        return math.prod(shapes[2] or []) * kernel[0] * math.prod(kernel[1:3]), operator.inputs[1]
    if name == "FULLY_CONNECTED":
        return made * kernel[-1], operator.inputs[1]
    inner = (shapes[0] or [1])[-2 if operator.builtinOptions and operator.builtinOptions.adjX else -1]
    return made * inner, operator.inputs[1]
