"""A training killed with SIGKILL, again and again, ends with the bits of one that was left alone."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PATHS = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
Job = Callable[[Path, int | None], int]


@pytest.fixture(scope="module")
def job() -> Iterator[Job]:
    """Return a function that runs one training in a process of its own and tells the signal it died of."""
    with subprocess.Popen(
        [sys.executable, str(HERE / "trainee.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": PATHS},
    ) as server:

        def run(path: Path, fuse: int | None) -> int:
            server.stdin.write(json.dumps({"path": str(path), "fuse": fuse}) + "\n")
            server.stdin.flush()
            return int(server.stdout.readline().split()[1])

        yield run
        server.stdin.close()


def outcome(path: Path) -> dict[str, Any]:
    return json.loads(Path(f"{path}.json").read_text())


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_bits(job: Job, tmp_path: Path) -> None:
    calm, struck = tmp_path / "calm", tmp_path / "struck"
    assert job(calm, None) == 0
    expected = outcome(calm)
    moments = expected.pop("moments")
    # Every session gets a little further than the one before needs to repeat: an epoch is about 20 moments.
    draw = random.Random(11)
    fuses = [3, *(draw.randrange(moments // 5, moments // 2) for _ in range(4))]
    deaths = 0
    for fuse in fuses:
        died_of = job(struck, fuse)
        if died_of == 0:
            break
        assert died_of == signal.SIGKILL
        deaths += 1
    assert deaths >= 3
    if not Path(f"{struck}.json").exists():
        assert job(struck, None) == 0
    found = outcome(struck)
    found.pop("moments")
    assert found == expected
    leftovers = [path.name for path in struck.rglob("*") if path.name.startswith(".part-")]
    assert leftovers == []
