"""Runs a .tflite file with TFLM in a process of its own: its C++ code ends the process where an arena is too small.

    python -m analognets.deploy.export.tflm_worker

The folder of a job holds job.json (bytes of arena, whether LiteRT runs beside), model.tflite and, if it is not to run
on zeros, inputs.npz; outputs.npz is written. The answer is the arena in bytes that the model used.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from analognets.deploy.export.litert_runtime import Runner
from analognets.deploy.export.worker_child import serve
from analognets.errors import ConversionError

__all__ = ["main"]

TOTAL = re.compile(r"Arena allocation total (\d+) bytes")


def arena_used(interpreter: Any) -> int | None:
    """Return what the interpreter says it allocated; it can only say so on stderr."""
    said = text_on_stderr(interpreter.print_allocations)
    found = TOTAL.search(said)
    return None if found is None else int(found.group(1))


def text_on_stderr(call: Callable[[], object]) -> str:
    """Return what native code writes to stderr during a call."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            call()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        return file.read().decode("utf-8", "replace")


def litert_output(content: bytes, arrays: list[np.ndarray]) -> np.ndarray:
    """Return the first output of LiteRT for inputs in the order of their positions."""
    from ai_edge_litert import interpreter

    runner = Runner(content, interpreter, kernels="builtin")
    outputs = runner.run([arrays[tensor.position] for tensor in runner.file.inputs])
    return next(out for out, facts in zip(outputs, runner.file.outputs, strict=True) if facts.position == 0)


def run(folder: Path, arena: int, beside: bool) -> dict[str, Any]:
    """Run the model on the inputs, or once on zeros, and return what the caller is told."""
    from tflite_micro.python.tflite_micro import runtime

    content = (folder / "model.tflite").read_bytes()
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena)
    first = interpreter.get_input_details(0)
    arrays = [np.zeros((1, *first["shape"][1:]), first["dtype"])]
    if (folder / "inputs.npz").exists():
        with np.load(folder / "inputs.npz") as stored:
            arrays = [stored[name] for name in sorted(stored.files)]
    found = []
    for sample in range(len(arrays[0])):
        for number, array in enumerate(arrays):
            interpreter.set_input(array[sample : sample + 1], number)
        interpreter.invoke()
        found.append(interpreter.get_output(0))
    outputs = {"output": np.concatenate(found)}
    if beside:
        outputs["litert"] = litert_output(content, arrays)
    np.savez(folder / "outputs.npz", **outputs)  # type: ignore[arg-type]
    return {"arena": arena_used(interpreter), "samples": len(found)}


def work(folder: Path, say: Callable[..., None]) -> dict[str, Any]:
    """Do the job of a folder."""
    job = json.loads((folder / "job.json").read_text("utf-8"))
    before = os.fstat(2).st_size
    try:
        return run(folder, job["arena"], job["beside"])
    except Exception as error:  # whatever TFLM raises is the answer, with what it said last
        said = os.pread(2, 65536, before).decode("utf-8", "replace").strip().splitlines()
        raise ConversionError(f"{type(error).__name__}: {error}{f' ({said[-1].strip()})' if said else ''}") from error


def main() -> None:
    """Do the jobs that come."""
    serve(work)


if __name__ == "__main__":
    main()
