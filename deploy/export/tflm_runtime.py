"""Asking TensorFlow Lite for Microcontrollers itself: the arena a model needs, and its outputs, bit for bit."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np

from analognets.core.agreement import relative_error
from analognets.core.drafts import temporary_folder
from analognets.deploy.export.litert_file import TensorFacts, read_content, read_litert
from analognets.deploy.export.litert_runtime import as_list, dequantized, quantized
from analognets.deploy.export.worker import WorkerDied, command_of, run_job
from analognets.errors import ConversionError, DataError, InvalidArgumentError, MissingExtraError

__all__ = ["arena_size", "difference", "has_tflm", "predict_tflm", "run_tflm"]

TIMEOUT = 600.0
WORKER = command_of("tflm_worker")
ALIGNMENT = 16
LARGEST = 256 * 2**20
COMPARED = 4


def has_tflm() -> bool:
    """Whether the optional package tflite-micro is installed."""
    return importlib.util.find_spec("tflite_micro") is not None


def arena_size(model: str | Path | bytes) -> int:
    """Return the tensor arena in bytes that TFLM needs for a model, measured by running it.

    It is the smallest multiple of 16 with which a run succeeds. Measured with TFLM's reference kernels on this
    machine's 64-bit pointers: a 32-bit microcontroller needs somewhat less, optimised kernels (CMSIS-NN) with scratch
    buffers of their own may need more.

    Args:
        model: path of a .tflite file, or its bytes.

    Raises:
        MissingExtraError: tflite-micro is not installed.
        DataError: TFLM can't run the model.
    """
    content = read_content(model)
    arena = LARGEST // 16
    while True:
        answer = ask(content, arena=arena, checked=False)
        if answer.get("arena"):
            break
        if arena >= LARGEST:
            raise DataError(f"TFLM can't run the model: {answer['error']}")
        arena *= 4
    fits = -(-int(answer["arena"]) // ALIGNMENT)
    if "error" not in ask(content, arena=fits * ALIGNMENT, checked=False):
        return fits * ALIGNMENT
    # What was allocated only while the model was prepared is not in TFLM's total.
    fails, fits = fits, arena // ALIGNMENT
    while fits - fails > 1:
        middle = min((fails + fits) // 2, fails + max(16, fails // 8))
        if "error" in ask(content, arena=middle * ALIGNMENT, checked=False):
            fails = middle
        else:
            fits = middle
    return fits * ALIGNMENT


def run_tflm(model: str | Path | bytes, arrays: list[np.ndarray]) -> np.ndarray:
    """Return TFLM's (first) output, as the file gives it, for inputs as the file takes them.

    Args:
        model: path of a .tflite file, or its bytes.
        arrays: one array (samples, ...) an input, int8 as a rule.

    Raises:
        MissingExtraError: tflite-micro is not installed.
        DataError: TFLM can't run the model.
    """
    content = read_content(model)
    positions = [tensor.position for tensor in read_litert(content).inputs]
    if len(arrays) != len(positions):
        raise InvalidArgumentError(f"The model takes {len(positions)} inputs. Received: {len(arrays)} arrays.")
    named = {f"{position:03d}": array for position, array in zip(positions, arrays, strict=True)}
    return np.asarray(ask(content, arena=LARGEST // 4, inputs=named)["output"])


def predict_tflm(model: str | Path | bytes, features: Any) -> np.ndarray:
    """Return TFLM's (first) output as real numbers, float32 (samples, ...), for features (samples, ...).

    Raises:
        MissingExtraError: tflite-micro is not installed.
        DataError: TFLM can't run the model.
        InvalidArgumentError: the features don't fit the model.
    """
    content = read_content(model)
    facts = read_litert(content)
    arrays = as_list(features, [tensor.name for tensor in facts.inputs])
    steps = [quantized(array, tensor) for array, tensor in zip(arrays, facts.inputs, strict=True)]
    first = next(tensor for tensor in facts.outputs if tensor.position == 0)
    return dequantized(run_tflm(content, steps), first)


def difference(content: bytes) -> float | None:
    """Return how far TFLM's first output is from LiteRT's on random inputs, as `relative_error`; None without LiteRT.

    Raises:
        MissingExtraError: tflite-micro is not installed.
        DataError: TFLM can't run the model.
    """
    if importlib.util.find_spec("ai_edge_litert") is None:
        return None
    facts = read_litert(content)
    rng = np.random.default_rng(0)
    arrays = {f"{tensor.position:03d}": random_input(rng, tensor) for tensor in facts.inputs}
    answer = ask(content, arena=LARGEST // 4, inputs=arrays, beside=True)
    first = next(tensor for tensor in facts.outputs if tensor.position == 0)
    found, expected = (dequantized(answer[name], first) for name in ("output", "litert"))
    return relative_error([found], [expected], [first.scale or 0.0])


def random_input(rng: np.random.Generator, tensor: TensorFacts) -> np.ndarray:
    """Return a few samples of an input: numbers from its whole range, or small numbers of anything."""
    shape = (COMPARED, *tensor.shape[1:])
    if tensor.dtype == "float32":
        return rng.normal(size=shape).astype(np.float32)
    kind = np.dtype(tensor.dtype)
    if tensor.scale is None or kind.kind == "b":
        return rng.integers(0, 2, shape).astype(kind)
    return rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, shape, kind, endpoint=True)


def ask(
    content: bytes,
    *,
    arena: int,
    inputs: dict[str, np.ndarray] | None = None,
    checked: bool = True,
    beside: bool = False,
) -> dict[str, Any]:
    """Run a model in the worker, once on zeros without inputs, and return its answer with the outputs, or its error.

    With `beside`, LiteRT runs it too, and its output comes as "litert".

    Raises:
        MissingExtraError: tflite-micro is not installed.
        DataError: it took too long; or it failed, if `checked`.
    """
    if not has_tflm():
        raise MissingExtraError("Running TensorFlow Lite for Microcontrollers", "tflm")
    with temporary_folder() as folder:
        (folder / "model.tflite").write_bytes(content)
        (folder / "job.json").write_text(json.dumps({"arena": arena, "beside": beside}), "utf-8")
        if inputs is not None:
            np.savez(folder / "inputs.npz", **inputs)  # type: ignore[arg-type]
        try:
            answer = run_job(WORKER, folder, timeout=TIMEOUT)
            with np.load(folder / "outputs.npz") as stored:
                answer |= {name: stored[name] for name in stored.files}
        except TimeoutError as error:
            raise DataError(f"TFLM did not end within {TIMEOUT:.0f} s. Give it fewer samples.") from error
        except ConversionError as error:
            answer = {"error": str(error)}
        except WorkerDied as death:
            answer = {"error": f"its process {death.cause} ({death.said})"}
    if checked and "error" in answer:
        raise DataError(f"TFLM can't run the model: {answer['error']}")
    return answer
