"""A few kills of quick commands; `benchmarks.kill_commands` kills all of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.kills.commands import COMMANDS
from benchmarks.kills.outcome import contents, left_running, names

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_commands_end_as_if_they_had_not_been(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kill_commands", "--kills", "8", "--only", "train letters", "data prepare"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert '"failed": 0' in done.stdout


def test_every_writing_command_is_there() -> None:
    from analognets.cli.app import COMMANDS as ALL

    first = {command.words[0] for command in COMMANDS.values()}
    assert set(ALL) - first == {"ageing", "doctor"}  # they write nothing


def test_what_commands_leave(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"a": 1, "started": "now", "in": [{"seconds": 2}]}')
    (tmp_path / ".part-0123abcd-1-0123abcd").mkdir()
    before = contents(tmp_path)
    (tmp_path / "run.json").write_text('{"a": 1, "started": "then", "in": [{"seconds": 3}]}')
    assert contents(tmp_path) == before and names(tmp_path) == [".part-0123abcd-1-0123abcd", "run.json"]
    (tmp_path / "run.json").write_text('{"a": 2}')
    assert contents(tmp_path) != before


def test_processes_that_still_run() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        assert left_running(process.pid, patience=0.2) == [process.pid]
    finally:
        process.kill()
        process.wait()
    began = time.monotonic()
    assert left_running(process.pid) == [] and time.monotonic() - began < 5
