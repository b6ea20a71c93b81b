"""Asking TensorFlow Lite for Microcontrollers itself: the arena a model needs, and its outputs, bit for bit."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from analognets.deploy.export.litert_file import read_content, read_litert
from analognets.deploy.export.litert_runtime import as_list, dequantized, quantized
from analognets.errors import DataError, InvalidArgumentError, MissingExtraError

__all__ = ["arena_size", "has_tflm", "predict_tflm", "run_tflm"]

TIMEOUT = 600.0
ALIGNMENT = 16
LARGEST = 256 * 2**20


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
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        named = {f"{position:03d}": array for position, array in zip(positions, arrays, strict=True)}
        np.savez(inputs, **named)  # type: ignore[arg-type]
        ask(content, arena=LARGEST // 4, inputs=inputs, outputs=outputs)
        with np.load(outputs) as stored:
            return np.asarray(stored["output"])


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


def ask(
    content: bytes, *, arena: int, inputs: Path | None = None, outputs: Path | None = None, checked: bool = True
) -> dict[str, Any]:
    """Run the worker and return its answer; raise a DataError for a bad one if `checked`."""
    if not has_tflm():
        raise MissingExtraError("Running TensorFlow Lite for Microcontrollers", "tflm")
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.tflite"
        model.write_bytes(content)
        command = [
            sys.executable,
            "-P",
            "-m",
            "analognets.deploy.export.tflm_worker",
            str(model),
            "--arena",
            str(arena),
        ]
        command += ["--inputs", str(inputs), "--outputs", str(outputs)] if inputs else []
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=child_environment()
            )
        except subprocess.TimeoutExpired as error:
            raise DataError(f"TFLM did not end within {TIMEOUT:.0f} s. Give it fewer samples.") from error
    answer = read_answer(done)
    if checked and "error" in answer:
        raise DataError(f"TFLM can't run the model: {answer['error']}")
    return answer


def read_answer(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the worker's answer with the last thing TFLM said, or an error of ours if it died without one."""
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    try:
        answer = dict(json.loads(done.stdout))
    except ValueError:
        answer = {"error": f"its process ended with code {done.returncode}"}
    if "error" in answer and said:
        answer["error"] += f" ({said[-1]})"
    return answer


def child_environment() -> dict[str, str]:
    """Return the environment in which a child process finds the same packages as this one."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
