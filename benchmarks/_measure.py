"""What the benchmarks share: interleaved timing and the facts of the machine."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from analognets.core.files import write_json
from analognets.core.provenance import git_commit


def interleave(variants: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Call each variant once a round, in turn; returns (wall, CPU) seconds of every call."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for call in variants.values():
        call()
    for _ in range(rounds):
        for name, call in variants.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return times


def ratios(times: dict[str, list[tuple[float, float]]], baseline: str) -> dict[str, dict[str, float]]:
    """Return each variant's median seconds and its median ratio to the baseline within a round, wall and CPU."""
    table = {}
    for name, calls in times.items():
        pairs = list(zip(calls, times[baseline], strict=True))
        table[name] = {
            "wall_seconds": statistics.median(wall for wall, _ in calls),
            "cpu_seconds": statistics.median(cpu for _, cpu in calls),
            "wall_ratio": statistics.median(a[0] / b[0] for a, b in pairs),
            "cpu_ratio": statistics.median(a[1] / b[1] for a, b in pairs),
        }
    return table


def facts() -> dict[str, Any]:
    """Return what something was measured on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "git_commit": git_commit(),
    }


def report(result: dict[str, Any], path: Path | None = None, **versions: str) -> None:
    """Print a result as JSON, with what it was measured on, and write it to a file if one is named.

    Args:
        result: what was measured.
        path: of the file.
        versions: of other packages.
    """
    result["machine"] = {**facts(), **versions}
    json.dump(result, sys.stdout, indent=2)
    print()
    if path:
        write_json(path, result)


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Switch tf.data's autotuning off: it makes short calls wait in steps of up to a second."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
