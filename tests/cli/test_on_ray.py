"""Studies on a Ray cluster of two nodes on this machine, which all tests of this file share."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from analognets.cli import evaluate as command
from analognets.deploy.studies.sweep import load_results, sweep
from analognets.errors import RunError

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'analognets[ray]'"),
]
Call = Callable[..., Any]
SMALL = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
PATIENT = {
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_worker_niceness": "0",
}
"""A busy machine starts nodes slowly, and its nice workers would wait; a node that is gone is seen after 2.5 s."""
TASK = '''
import os

def work(settings, point):
    """Fail or die when told to."""
    x = point["x"]
    if x == 2:
        raise ValueError("x is not to my taste")
    if x == 3:
        os._exit(9)
    return {"square": x * x, "threads": os.environ.get("TF_NUM_INTRAOP_THREADS"), "pid": os.getpid()}
'''


class TwoNodes(NamedTuple):
    """A cluster, its mark in the environment of its processes, and its second node."""

    cluster: Any
    mark: str
    nodes: list[Any]

    def second(self) -> Any:
        """Return the second node, made anew if it is gone."""
        if not self.nodes:
            self.nodes.append(self.cluster.add_node(**SMALL))
        return self.nodes[0]

    def lose_the_second(self) -> None:
        self.cluster.remove_node(self.nodes.pop(), allow_graceful=False)

    def kill_a_worker(self) -> bool:
        """End one process of this cluster that works on a point; whether there was one."""
        for place in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if (
                    b"ray::_alone" in (place / "cmdline").read_bytes()
                    and self.mark.encode() in (place / "environ").read_bytes()
                ):
                    os.kill(int(place.name), signal.SIGKILL)
                    return True
        return False


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    """Return a running cluster that RAY_ADDRESS names."""
    from ray.cluster_utils import Cluster

    folder = tmp_path_factory.mktemp("code")
    (folder / "ray_tasks.py").write_text(TASK, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))
        for name, value in PATIENT.items():
            patch.setenv(name, value)
        cluster = Cluster(initialize_head=True, head_node_args={**SMALL, "include_dashboard": False})
        patch.setenv("RAY_ADDRESS", cluster.address)
        try:
            yield TwoNodes(cluster, str(folder), [])
        finally:
            cluster.shutdown()
            sys.modules.pop("ray_tasks", None)


@pytest.mark.slow
def test_a_worker_and_a_machine_die_and_no_point_is_lost(two_nodes: TwoNodes, tmp_path: Path) -> None:
    """One process ends itself at its point, and one node goes in the middle."""
    import ray

    two_nodes.second()
    ends: list[int] = []

    def lose_a_machine(done: int, total: int, row: dict[str, Any]) -> None:
        if not ends:
            ends.append(done)
            two_nodes.lose_the_second()

    points = [{"x": value} for value in (1, 2, 3, 4, 5, 6)]
    table = sweep("ray_tasks:work", points, tmp_path / "out", ray=True, progress=lose_a_machine)
    assert not ray.is_initialized()
    assert ends == [1]
    assert list(table["status"]) == ["ok", "failed", "failed", "ok", "ok", "ok"]
    assert list(table["square"].dropna()) == [1, 16, 25, 36]
    assert "its process died 2 times" in table["error"][2]
    assert os.getpid() not in set(table["pid"].dropna())
    assert set(table["threads"].dropna()) == {"1"}
    assert len(load_results(tmp_path / "out")) == 6


@pytest.mark.slow
def test_chips_evaluated_on_two_machines_are_those_of_one_process(
    two_nodes: TwoNodes,
    first_training: tuple[Path, Any],
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker is killed in the middle; its chip is measured anew, and no other one is."""
    two_nodes.second()
    words = ("evaluate", first_training[0], "--chips", 3, "--at", "1d", "--json", "--out")
    here = call(*words, tmp_path / "here")
    killed: list[bool] = []

    @contextlib.contextmanager
    def killing(*_: Any) -> Iterator[Any]:
        yield lambda done, total, row: killed.append(two_nodes.kill_a_worker()) if not killed else None

    monkeypatch.setattr(command, "following", killing)
    there = call(*words, tmp_path / "there", "--ray")
    assert (here.code, there.code) == (0, 0), there.err
    assert killed == [True]
    one, other = json.loads(here.out), json.loads(there.out)
    assert {**one, "results": ""} == {**other, "results": ""}
    tables = [pd.read_csv(tmp_path / name / "drift.csv") for name in ("here", "there")]
    pd.testing.assert_frame_equal(*tables)
    assert not (tmp_path / "there" / "by_chip").exists(), "what was stored meanwhile goes"


def test_a_cluster_that_is_not_there_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    run = partial(sweep, "ray_tasks:work", [{"x": 1}], tmp_path / "none", ray=True)
    monkeypatch.setattr("analognets.deploy.studies.sweep.resolve", lambda task: None)
    with pytest.raises(RunError, match="The Ray cluster at RAY_ADDRESS=127.0.0.1:1 can't be reached"):
        run()
