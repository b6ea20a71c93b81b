"""From a .tflite file to C++ for TensorFlow Lite for Microcontrollers: data, labels, scales, operators, arena."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from analognets.core.agreement import INT8_LIMIT
from analognets.deploy.export.cpp_text import comment, float_literal, string_literal
from analognets.deploy.export.detector_text import DetectorExport, detector_header, detector_source
from analognets.deploy.export.litert_file import LiteRTFile, read_content, read_litert
from analognets.deploy.export.tflm_runtime import arena_size, difference, has_tflm
from analognets.deploy.export.together import refuse_existing, write_together
from analognets.errors import ConversionError, InvalidArgumentError, reason

__all__ = ["OPERATORS", "TFLMExport", "files_of", "json_text", "plain", "resolver_method", "to_tflm"]

OPERATORS = frozenset(
    """ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_ARGS
    BROADCAST_TO CALL_ONCE CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTHWISE_CONV_2D DEPTH_TO_SPACE
    DEQUANTIZE DIV ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED
    GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH IF L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL
    LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL
    NEG NOT_EQUAL PACK PAD PADV2 PRELU QUANTIZE READ_VARIABLE REDUCE_MAX RELU RELU6 RESHAPE RESIZE_BILINEAR
    RESIZE_NEAREST_NEIGHBOR ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT
    SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM SVDF TANH TRANSPOSE TRANSPOSE_CONV
    UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK VAR_HANDLE WHILE ZEROS_LIKE""".split()
)
"""Built-in operators that TFLM has a kernel for, by their name in the schema."""

UNUSUAL = {
    "BATCH_MATMUL": "BatchMatMul",
    "PADV2": "PadV2",
    "CUMSUM": "CumSum",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
}
WIDTH = 12


@dataclasses.dataclass(frozen=True)
class TFLMExport:
    """What `to_tflm` wrote.

    Args:
        folder: where the files lie.
        files: their names.
        model: the facts of the .tflite file.
        arena: bytes of tensor arena that TFLM used when it ran the model; None if tflite-micro is not installed.
    """

    folder: Path
    files: tuple[str, ...]
    model: LiteRTFile
    arena: int | None


def resolver_method(operator: str) -> str:
    """Return the method of MicroMutableOpResolver that adds an operator: "AddConv2D" for "CONV_2D".

    Raises:
        ConversionError: TFLM has no kernel for it.
    """
    if operator not in OPERATORS:
        raise ConversionError(
            f"TFLM has no kernel for the operator {operator}. Replace the layer that uses it. Known: "
            f"{', '.join(sorted(OPERATORS))}."
        )
    plain = "".join(part if part[0].isdigit() else part.capitalize() for part in operator.split("_"))
    return f"Add{UNUSUAL.get(operator, plain)}"


def to_tflm(
    model: str | Path | LiteRTFile,
    folder: str | Path,
    *,
    name: str = "model",
    classes: Sequence[str] = (),
    frontend: Mapping[str, Any] | None = None,
    detector: DetectorExport | None = None,
    overwrite: bool = False,
) -> TFLMExport:
    """Write the C++ files with which a firmware runs a .tflite file.

    NAME_model.cc holds the file's bytes as an aligned array; NAME_model.h declares it and gives labels, scales (real =
    scale * (integer - zero point)), shapes and, where tflite-micro is installed to measure it, the arena size;
    NAME_ops.h registers exactly the operators that are needed; NAME.tflite and NAME.json hold the same for machines.
    With a detector, NAME_detector.h and .cc turn outputs into detections of words, as `analognets.deploy.stream` does.
    Where tflite-micro is installed, TFLM's outputs are compared with LiteRT's before anything is written.

    Args:
        model: path of a .tflite file, or what `to_litert` returned.
        folder: where to write; made if need be.
        name: of files and C++ names: a letter, then letters, digits and "_".
        classes: label of each output, in order.
        frontend: settings of what computes the features, noted in the header; lists of numbers become arrays.
        detector: of words in a stream; None leaves it out.
        overwrite: replace files of these names.

    Raises:
        ConversionError: TFLM has no kernel for an operator, or computes something else than LiteRT.
        DataError: the file can't be read, or one of the files exists already or can't be written.
        InvalidArgumentError: the name is no C++ name, there are not as many labels as outputs, the detector is for
            other classes, or a label or setting can't stand in C++ or JSON.

    Examples:
        >>> found = to_tflm(tflite, "firmware", name="net")
        >>> sorted(path.name for path in found.folder.iterdir())
        ['net.json', 'net.tflite', 'net_model.cc', 'net_model.h', 'net_ops.h']
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise InvalidArgumentError(
            f"`name` must be a C++ name: a letter, then letters, digits and '_'. Received: name={name!r}."
        )
    source = model.path if isinstance(model, LiteRTFile) else model
    if source is None:
        raise InvalidArgumentError("`model` must be a file. Received: facts that were read from bytes.")
    content = read_content(source)
    facts = read_litert(content)
    if isinstance(model, LiteRTFile):
        facts = dataclasses.replace(facts, error=model.error)
    outputs = facts.outputs[0].shape[-1] if facts.outputs[0].shape else 1
    if classes and len(classes) != outputs and not (outputs == 1 and len(classes) == 2):
        raise InvalidArgumentError(f"The model has {outputs} outputs. Received: {len(classes)} labels.")
    settings = plain(frontend or {})
    operators = operators_header(name, facts)
    listens = detector_files(name, facts, detector)
    constants = [*tensor_lines(name, facts), *label_lines(name, classes), *frontend_lines(name, settings)]
    folder = Path(folder)
    files = files_of(name, listens=detector is not None)
    refuse_existing(folder, files, overwrite)
    arena = arena_size(content) if has_tflm() else None
    if arena is not None:
        refuse_other_runtime(content)
    code = f'#include "{name}_model.h"\n\n{notice(facts)}\n\n{array(name, content)}'
    header = model_header(name, facts, constants, arena)
    record = {**facts.to_dict(), "path": files[0], "arena_bytes": arena, "classes": list(classes)}
    record |= {} if detector is None else {"detector": detector.to_dict()}
    texts = [code, header, operators, *listens, json_text({**record, "frontend": settings})]
    contents = [content, *(text.encode("utf-8") for text in texts)]
    write_together(folder, dict(zip(files, contents, strict=True)), overwrite=overwrite)
    return TFLMExport(folder, tuple(files), dataclasses.replace(facts, path=folder / files[0]), arena)


def files_of(name: str, *, listens: bool) -> list[str]:
    """Return the names of the files that `to_tflm` writes, with those of a detector or without."""
    more = [f"{name}_detector.h", f"{name}_detector.cc"] if listens else []
    return [f"{name}.tflite", f"{name}_model.cc", f"{name}_model.h", f"{name}_ops.h", *more, f"{name}.json"]


def detector_files(name: str, facts: LiteRTFile, detector: DetectorExport | None) -> list[str]:
    """Return the content of NAME_detector.h and .cc, or nothing without a detector."""
    if detector is None:
        return []
    output, kind = facts.outputs[0], f"{camel(name)}Detector"
    detector.check(output.shape[-1] if output.shape else 1)
    header = detector_header(notice(facts), kind, f"{name.upper()}_DETECTOR_H_", detector, output)
    return [header, detector_source(notice(facts), kind, name, detector, output)]


def refuse_other_runtime(content: bytes) -> None:
    """Raise a ConversionError if TFLM computes something else than LiteRT."""
    error = difference(content)
    if error is not None and not error <= INT8_LIMIT:
        raise ConversionError(
            f"TFLM computes something else than LiteRT from this file: a relative error of {error:.2g} on random "
            f"inputs, where {INT8_LIMIT:g} is allowed. One of its kernels does not fit the file: replace the "
            "layer, for example a ReLU(6) that does not follow a convolution or dense layer."
        )


def notice(facts: LiteRTFile) -> str:
    """Return the comment at the top of the generated files."""
    return f"// Generated by analognets from a .tflite file of {facts.size} bytes, sha256\n// {facts.sha256}"


def camel(name: str) -> str:
    """Return "KwsSmall" for "kws_small"."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def array(name: str, content: bytes) -> str:
    """Return the C++ definition of the model's bytes."""
    rows = (content[start : start + WIDTH] for start in range(0, len(content), WIDTH))
    lines = ("    " + ", ".join(f"0x{byte:02x}" for byte in row) + "," for row in rows)
    return "\n".join([f"alignas(16) const unsigned char g_{name}_model[] = {{", *lines, "};", ""])


def model_header(name: str, facts: LiteRTFile, constants: Sequence[str], arena: int | None) -> str:
    """Return NAME_model.h, given the lines of its constants."""
    guard = f"{name.upper()}_MODEL_H_"
    lines = [notice(facts), f"#ifndef {guard}", f"#define {guard}", "", "#include <cstddef>", "#include <cstdint>", ""]
    lines += [f"extern const unsigned char g_{name}_model[];"]
    lines += [f"constexpr std::size_t k{camel(name)}ModelSize = {facts.size};", ""]
    if arena is None:
        lines += ["// The size of the tensor arena was not measured: tflite-micro was not installed.", ""]
    else:
        lines += [
            "// Bytes of tensor arena that TFLM used with its reference kernels on a 64-bit machine. With 32-bit",
            "// pointers it is somewhat less; optimised kernels may ask for scratch buffers on top.",
            f"constexpr std::size_t k{camel(name)}ArenaSize = {arena};",
            "",
        ]
    return "\n".join([*lines, *constants, f"#endif  // {guard}", ""])


def tensor_lines(name: str, facts: LiteRTFile) -> Iterator[str]:
    """Yield the constants of the inputs and outputs."""
    for kind, tensors in (("Input", facts.inputs), ("Output", facts.outputs)):
        for number, tensor in enumerate(tensors):
            prefix = f"k{camel(name)}{kind}{number if len(tensors) > 1 else ''}"
            yield f"// {kind} '{comment(tensor.name)}', {tensor.dtype}; interpreter.{kind.lower()}({prefix}Index)"
            yield f"constexpr int {prefix}Index = {tensor.position};"
            if tensor.shape:
                yield f"constexpr int {prefix}Shape[] = {{{', '.join(map(str, tensor.shape))}}};"
            if tensor.scale is not None:
                yield "// real value = scale * (integer - zero point)"
                yield f"constexpr float {prefix}Scale = {float_literal(tensor.scale, 'A scale')};"
                yield f"constexpr int {prefix}ZeroPoint = {tensor.zero_point};"
            yield ""


def label_lines(name: str, classes: Sequence[str]) -> Iterator[str]:
    """Yield the labels."""
    if classes:
        yield f"constexpr int k{camel(name)}LabelCount = {len(classes)};"
        words = ", ".join(map(string_literal, classes))
        yield f"constexpr const char* k{camel(name)}Labels[] = {{{words}}};"
        yield ""


def frontend_lines(name: str, settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield the settings of the front end: lists of numbers as arrays, the rest as comments."""
    if settings:
        yield "// What computes the input's real values, feature by feature:"
    taken: set[str] = set()
    for key, value in settings.items():
        numbers = isinstance(value, list) and value and all(isinstance(item, (int, float)) for item in value)
        if numbers and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", key) and camel(key) not in taken:
            taken.add(camel(key))
            items = ", ".join(float_literal(item, f"Front-end setting {key!r}") for item in value)
            yield f"constexpr float k{camel(name)}Feature{camel(key)}[] = {{{items}}};"
        else:
            yield f"//   {comment(f'{key}: {json.dumps(value)}')}"
    if settings:
        yield ""


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as JSON can hold them.

    Raises:
        InvalidArgumentError: it can't hold them.
    """
    try:
        return dict(json.loads(json.dumps(dict(settings), default=str, allow_nan=False)))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(
            f"The settings of the front end must be plain data by text names, their numbers finite. Received: "
            f"{reason(error)}."
        ) from error


def json_text(record: Mapping[str, Any]) -> str:
    """Return a record as indented JSON in ASCII."""
    return json.dumps(record, indent=2, allow_nan=False) + "\n"


def operators_header(name: str, facts: LiteRTFile) -> str:
    """Return NAME_ops.h."""
    kind, guard = f"{camel(name)}OpResolver", f"{name.upper()}_OPS_H_"
    adds = [f"  TF_LITE_ENSURE_STATUS(resolver.{resolver_method(operator)}());" for operator in sorted(facts.operators)]
    lines = [notice(facts), f"#ifndef {guard}", f"#define {guard}", ""]
    lines += ['#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"', ""]
    lines += [f"using {kind} = tflite::MicroMutableOpResolver<{len(adds)}>;", ""]
    lines += [f"inline TfLiteStatus Register{camel(name)}Ops({kind}& resolver) {{", *adds, "  return kTfLiteOk;", "}"]
    return "\n".join([*lines, "", f"#endif  // {guard}", ""])
