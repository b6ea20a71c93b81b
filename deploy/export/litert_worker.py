"""Converts a SavedModel to a .tflite file and runs it on samples, in a process of its own.

    python -m analognets.deploy.export.litert_worker

The converter's native code can end its process, for example where it calibrates a loop for 8 bit. The folder of a job
holds job.json, model/ (the SavedModel), samples.npz (for 8 bit) and probe.npz; model.tflite and found.npz are written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from analognets.deploy.export.litert_runtime import Runner
from analognets.deploy.export.worker_child import serve
from analognets.errors import ConversionError

__all__ = ["answers_of", "main"]

PRODUCTS = 1_000_000_000
"""Multiply-accumulates that the comparison may take: a second or two."""
FEWEST, MOST = 4, 32


def convert(folder: Path, job: dict[str, Any]) -> bytes:
    """Return the .tflite file of the SavedModel; float32 if the job names no samples."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "model"))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if job["quantize"]:
        with np.load(folder / "samples.npz") as stored:
            samples = [stored[name] for name in job["names"]]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            {name: values[None] for name, values in zip(job["names"], sample, strict=True)}
            for sample in zip(*samples, strict=True)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(job["io"])
    try:
        return bytes(converter.convert())
    except Exception as error:  # the converter raises many kinds
        raise ConversionError(
            f"Model '{job['model']}' can't be written with LiteRT's built-in operators"
            f"{' in 8 bit' if job['quantize'] else ''}: {complaint(error)}"
        ) from error


def complaint(error: Exception) -> str:
    """Return what the converter complains about, without its log."""
    named = re.findall(r"(?:TF Select|Flex|Custom|Unsupported) ops: *([\w, ]+)", str(error))
    if named:
        return f"it needs {', '.join(sorted(set(named)))}, which they don't include. Replace the layer that uses it."
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:300]


def answers_of(content: bytes, arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the outputs of a .tflite file for the first of these samples, by their names.

    Args:
        content: the file.
        arrays: one array (samples, ...) an input, in the model's order.
    """
    from tensorflow.lite.python import interpreter

    # Not the plain kernels: they end the process with some files that the others run, such as MobileNetV2's.
    try:
        runner = Runner(content, interpreter, kernels="builtin")
        count = min(MOST, len(arrays[0]), max(FEWEST, PRODUCTS // max(runner.file.macs, 1)))
        found = runner.predict([array[:count] for array in arrays])
    except (RuntimeError, ValueError) as error:
        raise ConversionError(f"LiteRT can't run the file that its converter made: {complaint(error)}") from error
    outputs = found if isinstance(found, list) else [found]
    return {facts.name: values for facts, values in zip(runner.file.outputs, outputs, strict=True)}


def work(folder: Path, say: Callable[..., None]) -> dict[str, Any]:
    """Do the job of a folder."""
    job = json.loads((folder / "job.json").read_text("utf-8"))
    content = convert(folder, job)
    say(event="converted")
    with np.load(folder / "probe.npz") as stored:
        found = answers_of(content, [stored[name] for name in job["names"]])
    np.savez(folder / "found.npz", **found)  # type: ignore[arg-type]
    (folder / "model.tflite").write_bytes(content)
    return {}


def main() -> None:
    """Do the jobs that come."""
    serve(work)


if __name__ == "__main__":
    main()
