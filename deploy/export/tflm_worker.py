"""Runs a .tflite file with TFLM in a process of its own: its C++ code ends the process where an arena is too small.

    python -m analognets.deploy.export.tflm_worker MODEL.tflite [--arena BYTES] [--inputs IN.npz --outputs OUT.npz]

Prints one JSON object on stdout: the arena in bytes that the model used, or what went wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

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


def run(model: Path, arena: int | None, inputs: Path | None, outputs: Path | None) -> dict[str, Any]:
    """Run the model on the inputs, or once on zeros, and return what the caller is told."""
    from tflite_micro.python.tflite_micro import runtime

    content = model.read_bytes()
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena)
    first = interpreter.get_input_details(0)
    arrays = [np.zeros((1, *first["shape"][1:]), first["dtype"])]
    if inputs is not None:
        with np.load(inputs) as stored:
            arrays = [stored[name] for name in sorted(stored.files)]
    found = []
    for sample in range(len(arrays[0])):
        for number, array in enumerate(arrays):
            interpreter.set_input(array[sample : sample + 1], number)
        interpreter.invoke()
        found.append(interpreter.get_output(0))
    if outputs is not None:
        with outputs.open("wb") as file:
            np.savez(file, output=np.concatenate(found))
    return {"arena": arena_used(interpreter), "samples": len(found)}


def main() -> None:
    """Read the command line, run, and print the answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--arena", type=int)
    parser.add_argument("--inputs", type=Path)
    parser.add_argument("--outputs", type=Path)
    options = parser.parse_args()
    try:
        answer = run(options.model, options.arena, options.inputs, options.outputs)
    except Exception as error:  # whatever TFLM raises is the answer
        answer = {"error": f"{type(error).__name__}: {error}"}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
