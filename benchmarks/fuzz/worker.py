"""A process that reads malformed inputs under limits, and what is seen of it from outside."""

from __future__ import annotations

import collections
import contextlib
import multiprocessing
import os
import resource
import shutil
import tempfile
import traceback
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["MEMORY", "SECONDS", "Outcome", "Worker"]

SECONDS = 20.0
MEMORY = 2 * 2**30
"""Bytes that reading may take in addition."""
MARGIN = 2 * 2**30
"""Address space above that, so that what takes too much is measured rather than refused by the system."""
PATIENCE = 300.0
"""Seconds for the start of a worker, and for making an input."""


class Outcome(NamedTuple):
    """What became of one input.

    Args:
        kind: "refused" or "read", which are right, or "raw", "wrong", "hang", "memory" or "crash".
        said: the error, or the end of its traceback.
        seconds: that reading took.
        memory: bytes that it took in addition at its highest.
    """

    kind: str
    said: str = ""
    seconds: float = 0.0
    memory: int = 0


class Worker:
    """Reads inputs in a process of its own, which is replaced when it hangs or dies."""

    def __init__(self) -> None:
        self._process: Any = None
        self._pipe: Any = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: Any) -> None:
        self._end()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other,), daemon=True)
        self._process.start()
        other.close()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None

    def read(self, reader: str, seed: tuple[int, ...]) -> Outcome:
        """Make the input of a seed for a reader and read it."""
        with tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True) as folder:
            if self._process is None:
                self._start()
            self._pipe.send((reader, seed, folder))
            try:
                for what, patience in (("made", PATIENCE), ("read", SECONDS)):
                    if not self._pipe.poll(patience):
                        self._end()
                        return Outcome("hang", f"no answer after {patience:g} s: input not {what}", patience)
                    answer = self._pipe.recv()
            except EOFError:
                self._process.join()
                code = self._process.exitcode
                self._end()
                return Outcome("crash", f"the process ended with {code}")
            return answer


def serve(pipe: Connection) -> None:
    """Read inputs until the other end is closed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory(prefix="fuzz-cache-") as cache, contextlib.suppress(EOFError):
        os.environ["ANALOGNETS_CACHE"] = cache
        from benchmarks.fuzz import READERS

        rounds: collections.Counter[str] = collections.Counter()
        while True:
            name, seed, folder = pipe.recv()
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                path = READERS[name].make_input(np.random.default_rng(seed), Path(folder))
                # Modules and caches that the first good input fills do not count as memory of a malformed one.
                if not rounds[name]:
                    tried(READERS[name].read, path)
                    shutil.rmtree(folder, ignore_errors=True)
                    Path(folder).mkdir()
                    path = READERS[name].make_input(np.random.default_rng(seed), Path(folder))
                rounds[name] += 1
                pipe.send("made")
                pipe.send(measured(READERS[name].read, path))


def measured(read: Any, path: Path) -> Outcome:
    """Read an input under a limit of memory, and tell what it took."""
    import time

    before, limits = memory("VmRSS"), resource.getrlimit(resource.RLIMIT_AS)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the highest memory is counted anew
    resource.setrlimit(resource.RLIMIT_AS, (memory("VmSize") + MEMORY + MARGIN, limits[1]))
    began = time.monotonic()
    try:
        kind, said = tried(read, path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    seconds, taken = time.monotonic() - began, max(0, memory("VmHWM") - before)
    return Outcome("memory" if taken > MEMORY else kind, said, round(seconds, 3), taken)


def tried(read: Any, path: Path) -> tuple[str, str]:
    """Read an input and tell how that ended."""
    from analognets.errors import AnalogNetsError

    try:
        read(path)
    except AnalogNetsError as error:
        text = str(error)
        plain = all(character.isprintable() or character == "\n" for character in text)
        return ("refused" if plain and len(text) < 3000 else "raw"), text[:3000]
    except AssertionError as error:
        return "wrong", str(error)
    except BaseException:
        return "raw", traceback.format_exc()[-3000:]
    return "read", ""


def memory(name: str) -> int:
    """Return a figure of this process in bytes, such as "VmRSS"."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0
