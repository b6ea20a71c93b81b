"""What makes inputs malformed: bytes, special files, plain data with odd values; and what a reader to try is."""

from __future__ import annotations

import copy
import functools
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Reader", "anywhere", "damage", "mutated", "rewritten", "special", "with_damage"]

Rng = np.random.Generator
DEEP: Any = functools.reduce(lambda inner, _: [inner], range(300), 1)
ODD: list[Any] = [None, True, [], {}, "", "x" * 3000, "\x1b[2J\n", "../../etc/passwd", "1e300y", -1, 0, 1.5, 10**30]
ODD += [
    1e308,
    {"a.b": 1},
    [[1, [2]]],
    {"class_name": "Lambda"},
    DEEP,
    [1] * 5000,
    "analognets.__main__",
    60_000_000,
    2**31,
]


class Reader(NamedTuple):
    """A reader and what to give it.

    `make_input(rng, folder)` writes one malformed input into an empty folder and returns its path; `read(path)` reads
    it. It may return or raise an `AnalogNetsError`; anything else is a fault, an AssertionError one of wrong data.
    """

    name: str
    make_input: Callable[[np.random.Generator, Path], Path]
    read: Callable[[Path], Any]


def damage(rng: np.random.Generator, whole: bytes, *, head: int = 100) -> bytes:
    """Return bytes with something wrong: changed in the head or anywhere, cut, doubled, extended, or other ones."""
    data = bytearray(whole)
    kind = rng.integers(8)
    if kind in (0, 1, 2):
        reach = min(len(data), head) if kind else len(data)
        for place in rng.integers(0, max(reach, 1), rng.integers(1, 6)):
            data[place] = int(rng.choice([0, 1, 127, 128, 255, int(rng.integers(256))]))
    elif kind == 3 and len(data) > 8:
        place = int(rng.integers(0, min(len(data) - 4, head)))
        value = int(rng.choice([0, 1, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1]))
        struct.pack_into(str(rng.choice(["<I", ">I"])), data, place, value)
    elif kind == 4:
        del data[int(rng.integers(len(data) + 1)) :]
    elif kind == 5:
        place = int(rng.integers(len(data) + 1))
        data[place:place] = rng.bytes(int(rng.integers(1, 200)))
    elif kind == 6:
        place = int(rng.integers(len(data) + 1))
        data = data[:place] + data
    else:
        data = bytearray(rng.choice([b"", b"\0" * 5000, rng.bytes(3000), b"RIFF", b"%!PS-Adobe-3.0 EPSF-3.0\n"]))
    return bytes(data)


def special(rng: np.random.Generator, path: Path) -> bool:
    """Now and then, make the path no plain file at all."""
    kind = rng.integers(40)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.symlink_to(str(rng.choice(["/dev/zero", "/dev/full", "/dev/null", "/nowhere", path.name])))
    elif kind == 2:
        path.mkdir()
    return bool(kind < 3)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value in plain data."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(way for key, one in inner for way in places(one, (*path, key)))]


def mutated(rng: Rng, value: Any) -> Any:
    """Return plain data with one to three values replaced, removed, doubled or added."""
    value = copy.deepcopy(value)
    for _ in range(int(rng.integers(1, 4))):
        ways = [way for way in places(value) if way]
        if not ways:
            return value
        *before, last = ways[int(rng.integers(len(ways)))]
        holder = functools.reduce(lambda one, key: one[key], before, value)
        kind = int(rng.integers(4))
        if kind == 0:
            del holder[last]
        elif kind == 1 and isinstance(holder, dict):
            holder[str(rng.choice(["new", "a.b", "", "class_name", "\udcff"]))] = copy.deepcopy(holder[last])
        elif kind == 2 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
        else:
            holder[last] = copy.deepcopy(ODD[int(rng.integers(len(ODD)))])
    return value


def with_damage(rng: Rng, path: Path) -> None:
    """Damage the bytes of a file, or put something that is no plain file in its place."""
    whole = path.read_bytes()
    path.unlink()
    if not special(rng, path):
        path.write_bytes(damage(rng, whole, head=400))


def anywhere(rng: Rng, folder: Path) -> None:
    """Damage one file of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with_damage(rng, files[int(rng.integers(len(files)))])


def rewritten(rng: Rng, path: Path) -> Any:
    """Mutate a JSON file and return what it holds now."""
    value = mutated(rng, json.loads(path.read_text("utf-8")))
    path.write_text(json.dumps(value), "utf-8")
    return value
