"""Seconds, processor time and memory of the steps of a process, as Linux counts them; plain Python, any library."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import time
from collections.abc import Iterator
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident(name: str) -> int:
    """Return VmRSS (memory now) or VmHWM (most since `Steps` began one) in bytes."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


class Steps:
    """Measures blocks: `with steps("name")`; `found` has seconds, peak and kept bytes, peak by `weights`."""

    def __init__(self) -> None:
        self.weights = 0
        self.found: dict[str, dict[str, float]] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        gc.collect()
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)  # else a step hides in what the one before gave back
        CLEAR.write_text("5")  # the peak counts anew
        before, start, cpu = resident("VmRSS"), time.perf_counter(), time.process_time()
        yield
        seconds = {"wall_seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
        peak = resident("VmHWM") - before
        self.found[name] = {**seconds, "peak_bytes": peak, "kept_bytes": resident("VmRSS") - before}
        if self.weights:
            self.found[name]["peak_by_weights"] = peak / self.weights
