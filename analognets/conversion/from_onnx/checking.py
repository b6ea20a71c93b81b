"""Whether an imported network is that of its file: examples stay apart, and both answer the same random inputs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from analognets.conversion.from_onnx.opening import OnnxFile
from analognets.core.agreement import FLOAT_LIMIT, refuse_difference
from analognets.errors import ConversionError, DataWarning, reason

if TYPE_CHECKING:
    from analognets.conversion.from_onnx.importing import Importer

__all__ = ["check_batch", "refuse_other"]

EXAMPLES = 2
"""Examples that both answer where the batch is open."""
ROUGH = 0.1
"""Largest relative difference where single bits can matter: in half precision, or behind steps."""
STEPS = (
    "ArgMax", "ArgMin", "Ceil", "Equal", "Floor", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Mod", "Round",
    "Sign",
)  # fmt: skip
"""Operators that make a step of a rounding error."""
HALVES = ("float16", "bfloat16")
HINT = "Please report it with the file. Until then build the network in Python, or export it with another opset."


def refuse_other(file: OnnxFile, run: Importer, model: keras.Model) -> None:
    """Raise a ConversionError if a model answers random inputs otherwise than the file that it was imported from.

    The file is run by ONNX Runtime; where that is not installed or can't run it, by the reference implementation of
    ONNX. If neither can, a warning says so.

    Args:
        file: that was imported.
        run: the import, which knows the order of axes.
        model: what came of it.
    """
    arrays = list(examples(file))
    try:
        expected = answered(file, arrays)
    except Exception as error:  # both raise many kinds for operators and types that they lack
        warnings.warn(
            f"The network imported from '{file.path}' could not be compared with the file, which could not be run: "
            f"{reason(error)}. Compare its outputs with yours.",
            DataWarning,
            stacklevel=4,
        )
        return
    turned = [array.transpose(order) for array, order in zip(arrays, run.input_orders, strict=True)]
    found = called(model, turned)
    expected = [array.transpose(order) for array, order in zip(expected, run.output_orders, strict=True)]
    what = f"The model imported from '{file.path}'"
    refuse_difference(found, expected, what, HINT, ROUGH if run.rounds or is_rough(file) else FLOAT_LIMIT)


def examples(file: OnnxFile) -> Iterator[np.ndarray]:
    """Yield random numbers for each input of a file; 0 and 1, which any table has, where it takes whole ones."""
    rng = np.random.default_rng(0)
    for one in file.inputs:
        shape = (one.batch or EXAMPLES, *one.shape)
        yield (rng.normal(size=shape) if one.dtype == "float32" else rng.integers(0, 2, shape)).astype(one.dtype)


def answered(file: OnnxFile, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return what a file answers."""
    import onnx

    kinds = {
        one.name: onnx.helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type) for one in file.model.graph.input
    }
    names = [one.name for one in file.inputs]
    feeds = {name: array.astype(kinds[name]) for name, array in zip(names, arrays, strict=True)}
    try:
        found: Any = run_by_runtime(str(file.path), feeds)
    except Exception:  # not installed, or an operator or type that it lacks
        from onnx.reference import ReferenceEvaluator

        found = ReferenceEvaluator(str(file.path)).run(None, feeds)
    return [np.asarray(one) for one in found]


def run_by_runtime(path: str, feeds: dict[str, np.ndarray]) -> Any:
    """Return what ONNX Runtime makes of a file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # it says all on the terminal
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def is_rough(file: OnnxFile) -> bool:
    """Whether a rounding error in a file may be seen in its outputs."""
    import onnx

    if any(node.kind in STEPS for node in file.nodes):
        return True
    graph = file.model.graph
    kinds = [one.data_type for one in graph.initializer]
    kinds += [one.type.tensor_type.elem_type for one in graph.input]
    return any(onnx.helper.tensor_dtype_to_np_dtype(kind).name in HALVES for kind in kinds)


def check_batch(path: Path, model: keras.Model) -> None:
    """Raise a ConversionError if examples of a batch don't stay apart.

    In a file with a fixed batch of 1 it is not said which of several axes of length 1 the batch is.
    """
    pairs = [two_examples(one, number) for number, one in enumerate(model.inputs)]
    try:
        both, last = (called(model, given) for given in (pairs, [pair[1:] for pair in pairs]))
        apart = all(np.allclose(two[1:], one, rtol=1e-3, atol=1e-4) for two, one in zip(both, last, strict=True))
    except Exception:  # shapes that don't fit together, of which TensorFlow has its own kinds
        apart = False
    if not apart:
        raise ConversionError(
            f"'{path}' fixes its batch to 1 in a way that can't be opened: examples would mix. Export it with an open "
            "batch: dynamic_shapes or dynamic_axes of torch.onnx.export."
        )


def two_examples(tensor: Any, seed: int) -> np.ndarray:
    """Return two random examples for an input; zeros where it takes whole numbers."""
    shape = (2, *tensor.shape[1:])
    if "float" not in str(tensor.dtype):
        return np.zeros(shape, str(tensor.dtype))
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def called(model: keras.Model, given: list[np.ndarray]) -> list[np.ndarray]:
    """Return the outputs of a model."""
    found = model(given if len(given) > 1 else given[0])
    return [np.asarray(one) for one in keras.tree.flatten(found)]
