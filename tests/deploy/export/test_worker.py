"""Worker processes: jobs, sentences, deaths, and nothing left behind."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from analognets.deploy.export import worker
from analognets.deploy.export.worker import WorkerDied, run_job
from analognets.errors import ConversionError

HEAD = """
import os, sys, time
from analognets.deploy.export.worker_child import serve
from analognets.errors import DataError
def work(folder, say):
    word = folder.name
    if word == "refuse": raise DataError("In one sentence.")
    if word == "kill": os.kill(os.getpid(), 11)
    if word == "raise": raise MemoryError("out of everything")
    if word == "sleep": time.sleep(3600)
    print("noise on stdout")
    return {"pid": os.getpid(), "folder": str(folder)}
"""


@pytest.fixture(autouse=True)
def _own_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a converter that other tests keep waiting alone: to start one takes seconds."""
    monkeypatch.setattr(worker, "_idle", {})


def command(tail: str = "serve(work)") -> tuple[str, ...]:
    """Return the command of a worker that does what the name of its folder says."""
    return (sys.executable, "-P", "-c", HEAD + tail)


def alive(pid: int) -> bool:
    """Whether a process runs still."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_kept_worker_takes_the_next_job_and_a_refusal_does_not_end_it() -> None:
    words = command()
    first = run_job(words, Path("/a\nfolder"), keep=True)
    assert first["folder"] == "/a\nfolder"
    with pytest.raises(ConversionError, match=r"^In one sentence.$"):
        run_job(words, Path("refuse"), keep=True)
    assert run_job(words, Path("again"), keep=True)["pid"] == first["pid"] != os.getpid()
    other = run_job(words, Path("alone"))
    assert other["pid"] != first["pid"]
    assert not alive(other["pid"])
    worker._end_idle()
    assert not alive(first["pid"])


def test_a_worker_that_dies_takes_nothing_with_it() -> None:
    words = command()
    with pytest.raises(WorkerDied) as found:
        run_job(words, Path("kill"), keep=True)
    assert (found.value.code, found.value.cause) == (-signal.SIGSEGV, "was ended by SIGSEGV")
    with pytest.raises(WorkerDied) as found:
        run_job(words, Path("raise"), keep=True)
    assert (found.value.cause, found.value.said) == ("ended with code 1", "MemoryError: out of everything")
    with pytest.raises(TimeoutError):
        run_job(words, Path("sleep"), timeout=1, keep=True)
    assert run_job(words, Path("after"))["folder"] == "after"


def test_one_that_has_waited_too_long_is_replaced() -> None:
    words = command("import analognets.deploy.export.worker_child as c; c.PATIENCE = 0.3; serve(work)")
    first = run_job(words, Path("a"), keep=True)["pid"]
    worker._idle[words].process.wait()
    second = run_job(words, Path("b"), keep=True)["pid"]
    assert second != first
    worker._end_idle()
