"""Writing an ONNX file of a plain network, by Keras' own export."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from analognets.conversion import load_onnx
from analognets.core.agreement import refuse_difference
from analognets.core.files import write_atomically
from analognets.deploy.export.inputs import answers, flat_inputs, open_inputs, packed, probe
from analognets.errors import ConversionError, DataError, MissingExtraError, check_integer, reason
from analognets.layers import AnalogLayer

__all__ = ["to_onnx"]

COMPARED = 2
"""Samples on which the file is compared with the network: the reference implementation is slow."""


def to_onnx(model: keras.Model, path: Path | str, *, opset: int = 18) -> Path:
    """Write a plain Keras network as an ONNX file with an open batch.

    Keras writes it by way of tf2onnx, which fuses batch normalisation into kernels. The operator Erfc, which tf2onnx
    leaves in it for GELU and ONNX does not have, is written as 1 - Erf. The file is then
    read back and answers random inputs; one whose answers are not the network's is not written.

    Args:
        model: built, without analog layers: see `to_digital`.
        path: of the file.
        opset: of the operators, 13 to 18.

    Returns:
        The path.

    Raises:
        ConversionError: it has analog layers, or no graph that can be exported, or what was exported computes something
            else or can't be run.
        InvalidArgumentError: the opset is out of range.
        DataError: the file can't be written.
        MissingExtraError: onnx or tf2onnx is not installed.
    """
    try:
        import onnx
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("Writing an ONNX file", "onnx") from error
    analog = next((one.name for one in model._flatten_layers() if isinstance(one, AnalogLayer)), None)
    if analog is not None:
        raise ConversionError(f"ONNX has no analog layers: export to_digital(model). Received: the layer '{analog}'.")
    opset = check_integer("to_onnx", "opset", opset, 13, 18)
    path = Path(path).expanduser()
    if not getattr(model, "inputs", None):
        raise ConversionError(f"A network for ONNX must be a functional or Sequential model. Received: '{model.name}'.")

    def written(draft: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras and tf2onnx patch NumPy
            model(packed(model, [one_example(one) for one in flat_inputs(model)]))  # Keras exports what was called once
            model.export(str(draft), format="onnx", verbose=False, opset_version=opset)
        found = onnx.load(draft)
        without_erfc(onnx, found.graph)
        onnx.save(found, draft)
        refuse_other(draft, model)

    try:
        write_atomically(path, written, error=DataError)
    except ConversionError:
        raise
    except (ValueError, TypeError, NotImplementedError, KeyError, RuntimeError) as error:
        raise ConversionError(
            f"'{model.name}' can't be exported to ONNX. Received: {type(error).__name__}: {reason(error)}."
        ) from error
    return path


def refuse_other(draft: Path, model: keras.Model) -> None:
    """Raise a ConversionError if a file answers random inputs otherwise than its network."""
    arrays = [array[:COMPARED] for array in probe(model, open_inputs(model, 1))]
    expected = list(answers(model, arrays).values())
    refuse_difference(read_back(draft, arrays), expected, f"The ONNX file of '{model.name}'", "It was not written.")


def read_back(draft: Path, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Return what a file answers: imported, or where it can't be, by the reference implementation of ONNX."""
    from onnx.reference import ReferenceEvaluator

    try:
        model = load_onnx(draft)
    except (ConversionError, DataError):  # an operator, or an open length, that can't be imported
        session = ReferenceEvaluator(str(draft))
        return [np.asarray(one) for one in session.run(None, dict(zip(session.input_names, arrays, strict=True)))]
    return list(answers(model, arrays).values())


def one_example(tensor: Any) -> np.ndarray:
    """Return zeros for an input."""
    return np.zeros([1, *(size or 1 for size in tensor.shape[1:])], tensor.dtype)


def without_erfc(onnx: Any, graph: Any) -> None:
    """Replace the operator Erfc in a graph."""
    if not any(node.op_type == "Erfc" for node in graph.node):
        return
    one = "analognets_one"
    graph.initializer.append(onnx.numpy_helper.from_array(np.float32(1.0), one))
    nodes = []
    for node in graph.node:
        if node.op_type != "Erfc":
            nodes.append(node)
            continue
        erf = f"{node.output[0]}_erf"
        nodes.append(onnx.helper.make_node("Erf", [node.input[0]], [erf], f"{node.name}_erf"))
        nodes.append(onnx.helper.make_node("Sub", [one, erf], [node.output[0]], node.name))
    del graph.node[:]
    graph.node.extend(nodes)
