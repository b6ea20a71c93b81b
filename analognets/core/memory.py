"""How much memory is free, and one sentence where something needs more."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path

from analognets.errors import MemoryShortError

__all__ = ["enough_memory", "free_memory"]

CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Limit and use of the memory of a container, in version 2 and 1 of control groups."""


def free_memory() -> int | None:
    """Return the bytes that this process can still get, as far as the system tells; None if it does not.

    Swap counts, what other programs can give back too; a limit of the process or of its container counts where lower.
    """
    found = []
    with contextlib.suppress(OSError, ValueError, KeyError):
        known = _numbers("/proc/meminfo")
        found.append(known["MemAvailable"] + known.get("SwapFree", 0))
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        with contextlib.suppress(OSError, ValueError, KeyError):
            found.append(limit - _numbers("/proc/self/status")["VmSize"])
    for most, used in CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit
            found.append(int(Path(most).read_text()) - int(Path(used).read_text()))
    return max(min(found), 0) if found else None


def _numbers(path: str) -> dict[str, int]:
    """Return the sizes that a file of the system names in kB, in bytes."""
    lines = (line.split() for line in Path(path).read_text().splitlines())
    return {words[0].rstrip(":"): 1024 * int(words[1]) for words in lines if words[2:] == ["kB"]}


@contextlib.contextmanager
def enough_memory(doing: str, needed: Mapping[str, int], *, together: bool = False) -> Iterator[None]:
    """Say in one sentence, before the work or when it fails, that there is too little memory for it.

    Args:
        doing: what the block does: "programming model 'm'".
        needed: bytes that each layer needs, by its name; layers that come one after the other need them one by one.
        together: whether all layers are in memory at once.

    Raises:
        MemoryShortError: there is too little memory.
    """
    needed = dict(needed) or {"": 0}
    largest = max(needed, key=lambda name: needed[name])
    bytes_needed = sum(needed.values()) if together else needed[largest]
    free = free_memory()
    if free is not None and bytes_needed > free:
        raise _short(doing, largest, needed[largest], bytes_needed, free)
    try:
        yield
    except Exception as problem:
        if isinstance(problem, MemoryShortError) or not _is_of_memory(problem):
            raise
        raise _short(doing, largest, needed[largest], bytes_needed, free_memory() or 0) from problem


def _is_of_memory(problem: BaseException) -> bool:
    return isinstance(problem, MemoryError) or type(problem).__name__ == "ResourceExhaustedError"  # of TensorFlow


def _short(doing: str, layer: str, own: int, needed: int, free: int) -> MemoryShortError:
    return MemoryShortError(
        f"{doing[0].upper()}{doing[1:]} needs about {needed / 1e6:,.0f} MB of memory, {own / 1e6:,.0f} MB of them for "
        f"its largest layer, '{layer}'. Received: {free / 1e6:,.0f} MB that are free. Split that layer or leave it "
        "digital, or take a machine with more memory; nothing was changed."
    )
