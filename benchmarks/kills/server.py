"""A process that has imported the package and forks for every command it is told to run, with a kill or without.

Reads jobs, one a line: {"words": [...], "folder": ..., "kill_at": number or null}. Answers "pid N" when a command has
begun, "operations N" if it ended by itself, and "status N" as of `os.waitpid`. A command is killed by SIGKILL just
before its file operation of that number: opening for writing, renaming, removing, making of folders and the like, as
Python's audit events tell them. Importing once saves some seconds a command.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "ctypes.dlsym")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Fuse:
    """Counts file operations that change something, and kills this process just before one of them."""

    def __init__(self, kill_at: int | None) -> None:
        self.count = 0
        self.kill_at = kill_at
        self.owner = os.getpid()

    def __call__(self, event: str, arguments: Any) -> None:
        if os.getpid() != self.owner or not self.is_change(event, arguments):
            return
        self.count += 1
        if self.count - 1 == self.kill_at:
            os.kill(self.owner, signal.SIGKILL)

    @staticmethod
    def is_change(event: str, arguments: Any) -> bool:
        """Whether an audit event is a file operation that changes something."""
        if event == "open":
            path, _, flags = arguments
            return (
                bool(flags & WRITING) and isinstance(path, (str, bytes)) and not os.fsdecode(path).startswith("/dev/")
            )
        return event in CHANGES


def command(words: list[str], folder: str, kill_at: int | None) -> int:
    """Run a command line in a folder of its own and return its exit code; what it prints goes into a file there."""
    os.setsid()
    place = Path(folder)
    for name in ("tmp", "cache", "home"):
        (place / name).mkdir(exist_ok=True)
    os.environ.update(TMPDIR=str(place / "tmp"), ANALOGNETS_CACHE=str(place / "cache"), HOME=str(place / "home"))
    os.environ["KERAS_HOME"] = str(place / "home")
    import tempfile

    tempfile.tempdir = None
    with open(place / "printed.txt", "a") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.chdir(place)
    from analognets.cli import app

    fuse = Fuse(kill_at)
    sys.addaudithook(fuse)
    try:
        app.main(words)
    except SystemExit as end:
        code = int(end.code or 0)
    fuse.owner = 0
    (place / "operations.txt").write_text(str(fuse.count))
    sys.stdout.flush()
    return code


def main() -> None:
    import keras  # noqa: F401
    import librosa.filters  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import tensorflow  # noqa: F401

    import analognets.datasets.pipeline
    import analognets.deploy
    import analognets.training  # noqa: F401

    os.fsync = lambda handle: None  # type: ignore[assignment]  # it protects from power failures only, and is slow
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 2
            try:
                code = command(job["words"], job["folder"], job["kill_at"])
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            finally:
                atexit._run_exitfuncs()
                os._exit(code)
        print(f"pid {child}", flush=True)
        _, status = os.waitpid(child, 0)
        print(f"status {status}", flush=True)


if __name__ == "__main__":
    main()
