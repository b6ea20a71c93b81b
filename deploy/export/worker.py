"""Jobs in processes of their own: foreign native code that fails ends a worker, never the user's process."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from analognets.errors import ConversionError

__all__ = ["WorkerDied", "child_environment", "command_of", "run_job"]

LAST_WORDS = 300
"""Characters of what a worker said last that are kept for a message."""


class WorkerDied(Exception):
    """A worker ended before its job was done.

    Args:
        code: exit status; negative: minus the number of the signal that ended it.
        said: the last line on its stderr.
        started: whether it had taken the job.
    """

    def __init__(self, code: int, said: str, started: bool) -> None:
        super().__init__(code, said, started)
        self.code = code
        self.said = said
        self.started = started

    @property
    def cause(self) -> str:
        """How it ended, to stand inside of a sentence."""
        if self.code >= 0:
            return f"ended with code {self.code}"
        name = f"signal {-self.code}"
        with contextlib.suppress(ValueError):
            name = signal.Signals(-self.code).name
        return f"was ended by {name}"


class Worker:
    """A process that takes jobs: the path of a folder on stdin, what it says as JSON lines on stdout.

    Args:
        command: what to start, as a list of words.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.owner = os.getpid()
        self.said = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - closed with the worker
        self.lines: queue.Queue[bytes | None] = queue.Queue()
        quiet = {"TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3")}
        self.process = subprocess.Popen(
            [*command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            env={**child_environment(), **quiet},
            start_new_session=True,  # Ctrl-C reaches the user's process only, which then ends this one
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            self.lines.put(line)
        self.lines.put(None)

    @property
    def ready(self) -> bool:
        """Whether it can take a job of this process."""
        return self.owner == os.getpid() and self.process.poll() is None

    def end(self) -> None:
        """End the process at once and close everything that belongs to it."""
        if self.owner != os.getpid():
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.said):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()

    def messages(self, folder: Path, deadline: float | None) -> Iterator[dict[str, Any]]:
        """Give it a job and yield what it says until the job is done.

        Raises:
            TimeoutError: the deadline has passed.
            WorkerDied: it ended before.
        """
        started = False
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):  # it is gone already: what it said comes below
                self.process.stdin.write(json.dumps(str(folder)).encode() + b"\n")
                self.process.stdin.flush()
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            try:
                line = self.lines.get(timeout=left if left is None else max(left, 0.0))
            except queue.Empty:
                raise TimeoutError from None
            if line is None:
                raise WorkerDied(self.process.wait(), self._last_words(), started)
            message = json.loads(line)
            started = True
            yield message
            if message["event"] in ("done", "error"):
                self.said.truncate(0)  # not before a job: what one that died at its start has said would be lost
                return

    def _last_words(self) -> str:
        self.said.seek(0)
        lines = self.said.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip()[:LAST_WORDS] if lines else "nothing on stderr"


_idle: dict[tuple[str, ...], Worker] = {}
_lock = threading.Lock()


@atexit.register
def _end_idle() -> None:
    with _lock:
        while _idle:
            _idle.popitem()[1].end()


def _take(command: tuple[str, ...]) -> Worker | None:
    """Return a worker that waits for jobs, if there is one."""
    with _lock:
        worker = _idle.pop(command, None)
    if worker is None or worker.ready:
        return worker
    worker.end()
    return None


def _give_back(command: tuple[str, ...], worker: Worker) -> None:
    """Let a worker wait for its next job; there is at most one of a kind."""
    with _lock:
        spare = _idle.get(command)
        if spare is None or not spare.ready:
            _idle[command] = worker
            worker = spare if spare is not None else worker
            if spare is None:
                return
    worker.end()


def run_job(
    command: Sequence[str],
    folder: Path,
    *,
    timeout: float | None = None,
    progress: Callable[[dict[str, Any]], object] | None = None,
    keep: bool = False,
) -> dict[str, Any]:
    """Have a worker do the job that lies in a folder, and return its last message.

    If anything is raised here, Ctrl-C included, the worker is ended.

    Args:
        command: that starts the worker; see `command_of`.
        folder: of the job, which the worker knows how to read.
        timeout: in s, after which it is given up; None: never.
        progress: called with each message.
        keep: let the worker wait for another job afterwards, which saves its start (several s with TensorFlow).

    Raises:
        ConversionError: what the worker refuses, in its own sentence.
        WorkerDied: it ended without an answer.
        TimeoutError: it took too long.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    command = tuple(command)
    waiting = _take(command) if keep else None
    if waiting is not None:
        try:
            return _talk(waiting, command, folder, deadline, progress, keep)
        except WorkerDied as death:
            if death.started:
                raise  # else it had waited too long and was just ending itself
    return _talk(Worker(command), command, folder, deadline, progress, keep)


def _talk(
    worker: Worker,
    command: tuple[str, ...],
    folder: Path,
    deadline: float | None,
    progress: Callable[[dict[str, Any]], object] | None,
    keep: bool,
) -> dict[str, Any]:
    """Have one worker do one job; it waits for another one afterwards if `keep`, and is ended otherwise."""
    last: dict[str, Any] = {}
    try:
        for message in worker.messages(folder, deadline):
            last = message
            if progress is not None:
                progress(message)
    except BaseException:
        worker.end()
        raise
    if keep:
        _give_back(command, worker)
    else:
        worker.end()
    if last["event"] == "error":
        raise ConversionError(last["message"])
    return last


def command_of(module: str) -> tuple[str, ...]:
    """Return the command that starts a module of this package as a worker."""
    return (sys.executable, "-P", "-m", f"analognets.deploy.export.{module}")


def child_environment() -> dict[str, str]:
    """Return the environment in which a child process finds the same packages as this one."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
