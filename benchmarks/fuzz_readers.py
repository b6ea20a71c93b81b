"""Malformed inputs for every reader of the package, each read in a process of its own under limits of 20 s and 2 GB.

python -m benchmarks.fuzz_readers [--inputs 5000] [--seed 0] [--only NAME ...] [--results results/fuzz.json]

An input is made by its seed, so that one that fails can be made again: --only "WAV file" --trial 17. It is right to
refuse an input in one sentence, or to read it where what was read is what such a thing can hold. Raw errors, wrong
data, hangs, memory and crashes are failures, and then the exit code is 1.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.fuzz import READERS
from benchmarks.fuzz.worker import MEMORY, SECONDS, Worker

RIGHT = ("refused", "read")
FAULTS = ("raw", "wrong", "hang", "memory", "crash")
SLOW = ("COCO folder", "Speech Commands folder", "finished run", "preset archive", "preset", "analog keras file")
"""Readers that get half as many inputs."""


def shares(names: list[str], inputs: int) -> dict[str, int]:
    """Return how many inputs each reader gets."""
    weights = {name: 1 if name in SLOW else 2 for name in names}
    total, left, result = sum(weights.values()), inputs, {}
    for name in names:
        result[name] = min(left, round(inputs * weights[name] / total))
        left -= result[name]
    result[names[0]] += left
    return result


def run(names: list[str], inputs: int, seed: int, trial: int | None, log: Any) -> dict[str, Any]:
    """Give all inputs and return the counts and what failed."""
    counts = {name: collections.Counter({kind: 0 for kind in (*RIGHT, *FAULTS)}) for name in names}
    failures, slowest, highest = [], 0.0, 0
    for name, share in shares(names, inputs).items():
        began = time.monotonic()
        with Worker() as worker:
            for number in range(share) if trial is None else [trial]:
                place = list(READERS).index(name)
                found = worker.read(name, (seed, place, number))
                counts[name][found.kind] += 1
                slowest, highest = max(slowest, found.seconds), max(highest, found.memory)
                if found.kind not in RIGHT:
                    failures.append({"reader": name, "trial": number, "kind": found.kind, "said": found.said})
                    print(f"{name} {number}: {found.kind}\n{found.said}", file=log, flush=True)
        print(f"{name}: {dict(counts[name])}, {time.monotonic() - began:.0f} s", file=log, flush=True)
    total = sum(counts.values(), collections.Counter())
    return {
        "benchmark": "fuzz_readers",
        "seed": seed,
        "inputs": sum(sum(count.values()) for count in counts.values()),
        "limits": {"seconds": SECONDS, "bytes": MEMORY},
        "total": {kind: total[kind] for kind in (*RIGHT, *FAULTS)},
        "slowest_seconds": slowest,
        "highest_bytes": highest,
        "readers": {name: dict(count) for name, count in counts.items()},
        "failures": failures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(READERS), default=list(READERS))
    parser.add_argument("--trial", type=int)
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from benchmarks._measure import facts

    machine = facts()
    result = run(options.only, options.inputs, options.seed, options.trial, sys.stderr)
    result["machine"] = machine
    text = json.dumps(result, indent=1) + "\n"
    print(text, end="")
    if options.results is not None:
        options.results.write_text(text, "utf-8")
    sys.exit(bool(result["failures"]))


if __name__ == "__main__":
    main()
