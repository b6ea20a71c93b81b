"""The worker's side of `worker.py`: take jobs from stdin, do them, and answer in JSON lines on stdout."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from analognets.errors import AnalogNetsError

__all__ = ["end_with_caller", "serve"]

PATIENCE = 300.0
"""Seconds without a job after which a worker ends."""


def end_with_caller() -> queue.Queue[str]:
    """End this process when standard input ends: the caller holds the other side, and is gone or wants no more.

    Returns:
        The lines that come from there.
    """
    lines: queue.Queue[str] = queue.Queue()

    def wait() -> None:
        rest = b""
        while chunk := os.read(0, 65536):  # not sys.stdin, whose lock would be held when the interpreter ends
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                lines.put(line.decode())
        os._exit(3)

    threading.Thread(target=wait, daemon=True).start()
    return lines


def protocol() -> TextIO:
    """Return a stream to the caller, and send everything else that is written to stdout to stderr."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    return stream


def serve(work: Callable[[Path, Callable[..., None]], dict[str, Any]]) -> None:
    """Do the jobs that come, one after the other, until none comes for a while.

    Args:
        work: does the job of a folder; it is given the folder and a function that sends a message, and returns what
            the caller is told at the end. An error of ours is sent as a sentence; anything else ends the process.
    """
    stream = protocol()
    lines = end_with_caller()

    def say(**message: Any) -> None:
        stream.write(json.dumps(message) + "\n")

    with contextlib.suppress(queue.Empty):
        while True:
            folder = Path(json.loads(lines.get(timeout=PATIENCE)))
            say(event="started")
            try:
                say(**work(folder, say), event="done")
            except AnalogNetsError as error:
                say(event="error", message=str(error))
