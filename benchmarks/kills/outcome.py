"""What commands leave: the names of all files, and what two equal commands must agree on in them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import time
import zipfile
from pathlib import Path
from typing import Any

__all__ = ["contents", "left_running", "names"]

VOLATILE = {
    "started", "finished", "sessions", "seconds", "training_seconds", "training_pictures_per_second",
    "test_pictures_per_second", "test_seconds", "load", "git_commit", "platform", "written", "created", "saved", "date",
}  # fmt: skip
"""Entries of files that tell the time, not a result."""
FOREIGN = re.compile(r"__autograph_generated_file|[a-z0-9_]{8}\Z")
"""What TensorFlow, and Python when it looks for that folder, leave among temporary files when they are killed."""
OURS = ("printed.txt", "operations.txt")


def names(folder: Path) -> list[str]:
    """Return the names of all files and folders a command has left, hidden and temporary ones too."""
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    return [name for name in found if name not in OURS and not FOREIGN.match(Path(name).name)]


def contents(folder: Path) -> dict[str, str]:
    """Return a hash of what counts in each file."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    return {
        str(path.relative_to(folder)): hashlib.sha256(repr(content(path)).encode()).hexdigest()[:16]
        for path in files
        if path.name not in (*OURS, ".lock", "workers.log") and not FOREIGN.match(path.name)
    }


def content(path: Path) -> Any:
    """Return what counts in a file, as something with a `repr` of its own."""
    whole = path.read_bytes()
    if path.suffix in (".json", ".jsonl"):
        return [timeless(json.loads(line)) for line in whole.decode().splitlines()] if path.suffix == ".jsonl" else (
            timeless(json.loads(whole))
        )  # fmt: skip
    if path.suffix == ".parquet":
        import pandas as pd

        table = pd.read_parquet(io.BytesIO(whole))
        return table.drop(columns=[name for name in table.columns if name in VOLATILE]).to_csv()
    if path.suffix == ".keras":
        return arrays(whole)
    if path.suffix == ".safetensors":
        from safetensors.numpy import load

        return sorted((name, str(array.dtype), array.shape, array.tobytes()) for name, array in load(whole).items())
    return whole


def arrays(whole: bytes) -> list[Any]:
    """Return the arrays in a `.keras` file."""
    import h5py
    import numpy as np

    found: list[Any] = []
    with zipfile.ZipFile(io.BytesIO(whole)) as archive, h5py.File(
        io.BytesIO(archive.read("model.weights.h5")), "r"
    ) as file:  # fmt: skip
        file.visititems(
            lambda name, item: found.append((name, np.asarray(item).tobytes())) if hasattr(item, "dtype") else None
        )
    return sorted(found)


def timeless(data: Any) -> Any:
    """Return plain data without what tells the time."""
    if isinstance(data, dict):
        return {key: timeless(value) for key, value in data.items() if key not in VOLATILE}
    return [timeless(item) for item in data] if isinstance(data, list) else data


def left_running(session: int, patience: float = 10.0) -> list[int]:
    """Return the processes of a session that still run after a while; zombies do not run."""
    end = time.monotonic() + patience
    while found := of_session(session):
        if time.monotonic() > end:
            return found
        time.sleep(0.05)
    return []


def of_session(session: int) -> list[int]:
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                state, _, _, its = Path(entry.path, "stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            if int(its) == session and state not in "ZX":
                found.append(int(entry.name))
    return found
