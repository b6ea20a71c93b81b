"""The sweep engine: nothing is run twice, nothing is lost, and one bad point stops no other."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analognets.deploy.studies.on_processes import Processes
from analognets.deploy.studies.sweep import (
    MOVED,
    _store,
    load_results,
    open_folder,
    point_key,
    resolve,
    run_point,
    stored,
    sweep,
)
from analognets.errors import InvalidArgumentError, MissingExtraError, RunError

TASKS = '''
import os, time
from pathlib import Path

def work(settings, point):
    """Count the calls in a file, and fail, wait or die when told to."""
    x = point["x"]
    with (Path(settings["log"]) / f"{x}").open("a") as file:
        file.write(".")
    if x == settings.get("fails"):
        raise ValueError("x is not to my taste")
    if x == settings.get("dies"):
        os._exit(9)
    if x == settings.get("waits"):
        time.sleep(3600)
    return {"square": x * x, "threads": os.environ.get("TF_NUM_INTRAOP_THREADS"), "pid": os.getpid()}
'''


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "code").mkdir()
    (tmp_path / "log").mkdir()
    (tmp_path / "code" / "sweep_tasks.py").write_text(TASKS, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    monkeypatch.delitem(sys.modules, "sweep_tasks", raising=False)
    return "sweep_tasks:work"


def settings(tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {"log": str(tmp_path / "log"), **more}


def calls(tmp_path: Path) -> dict[str, int]:
    return {path.name: len(path.read_text("utf-8")) for path in (tmp_path / "log").iterdir()}


def points(*values: int) -> list[dict[str, Any]]:
    return [{"x": value} for value in values]


def test_what_is_stored_is_not_run_again_and_points_may_be_added(task: str, tmp_path: Path) -> None:
    first = sweep(task, points(3, 1, 3), tmp_path / "out", settings=settings(tmp_path))
    assert list(first["x"]) == [3, 1] and list(first["square"]) == [9, 1]
    seen: list[tuple[int, int]] = []
    again = sweep(
        task,
        points(2, 3, 1),
        tmp_path / "out",
        settings=settings(tmp_path),
        progress=lambda done, total, row: seen.append((done, total)),
    )
    assert list(again["square"]) == [4, 9, 1]
    assert calls(tmp_path) == {"1": 1, "2": 1, "3": 1}
    assert seen == [(1, 3), (2, 3), (3, 3)]
    table = pyarrow.parquet.read_table(tmp_path / "out" / "results.parquet").to_pandas()
    assert list(table["square"]) == [4, 9, 1]
    assert sorted(load_results(tmp_path / "out")["x"]) == [1, 2, 3]


def test_a_point_that_fails_is_recorded_and_tried_again(task: str, tmp_path: Path) -> None:
    table = sweep(task, points(1, 2, 3), tmp_path / "out", settings=settings(tmp_path, fails=2))
    assert list(table["status"]) == ["ok", "failed", "ok"]
    assert table["error"][1] == "ValueError: x is not to my taste"
    assert math.isnan(table["square"][1])
    sweep(task, points(1, 2, 3), tmp_path / "out", settings=settings(tmp_path, fails=2))
    assert calls(tmp_path) == {"1": 1, "2": 2, "3": 1}


def test_a_broken_file_is_run_again(task: str, tmp_path: Path) -> None:
    sweep(task, points(1, 2), tmp_path / "out", settings=settings(tmp_path))
    path = tmp_path / "out" / "points" / f"{point_key({'x': 1})}.parquet"
    path.write_bytes(path.read_bytes()[:50])
    assert list(sweep(task, points(1, 2), tmp_path / "out", settings=settings(tmp_path))["square"]) == [1, 4]
    assert calls(tmp_path) == {"1": 2, "2": 1}


def test_processes_share_the_cores_and_a_dead_one_ends_its_point_only(task: str, tmp_path: Path) -> None:
    table = sweep(task, points(1, 2, 3, 4), tmp_path / "out", settings=settings(tmp_path, dies=2), workers=2)
    assert list(table["status"]) == ["ok", "failed", "ok", "ok"]
    assert "its process died 2 times" in table["error"][1]
    good = table[table["status"] == "ok"]
    assert os.getpid() not in set(good["pid"])
    assert set(good["threads"]) <= {str(max(1, (os.cpu_count() or 1) // count)) for count in (1, 2)}
    assert calls(tmp_path)["2"] == 2


def test_sweeps_of_one_block_share_their_processes(task: str, tmp_path: Path) -> None:
    with Processes(1, tmp_path / "workers.log") as processes:
        tables = [sweep(task, points(one), tmp_path / str(one), settings=settings(tmp_path), processes=processes)
                  for one in (2, 3)]  # fmt: skip
    assert tables[0]["pid"][0] == tables[1]["pid"][0] != os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_loses_nothing(task: str, tmp_path: Path, workers: int) -> None:
    out = tmp_path / "out"
    code = (
        "from analognets.deploy.studies.sweep import sweep\n"
        "if __name__ == '__main__':\n"
        f"    sweep({task!r}, [{{'x': x}} for x in (1, 2, 5, 3)], {str(out)!r}, "
        f"settings={settings(tmp_path, waits=5)!r}, workers={workers})\n"
    )
    (tmp_path / "script.py").write_text(code, "utf-8")
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # jobs in the background ignore it
    )
    while not (tmp_path / "log" / "5").exists() or len(list((out / "points").glob("*.parquet"))) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert b"KeyboardInterrupt" in error
    assert {1, 2} <= set(load_results(out)["x"]) and 5 not in set(load_results(out)["x"])
    assert set(pyarrow.parquet.read_table(out / "results.parquet").to_pandas()["x"]) >= {1, 2}
    (tmp_path / "log" / "1").unlink()
    again = sweep(task, points(1, 2, 3), out, settings=settings(tmp_path, waits=5))
    assert list(again["square"]) == [1, 4, 9] and "1" not in calls(tmp_path)


def test_ctrl_c_while_a_row_is_stored_ends_the_processes(task: str, tmp_path: Path) -> None:
    code = (
        "from analognets.deploy.studies.sweep import sweep\n"
        "def stop(*_):\n"
        "    raise KeyboardInterrupt\n"
        "if __name__ == '__main__':\n"
        f"    sweep({task!r}, [{{'x': 5}}, {{'x': 1}}], {str(tmp_path / 'out')!r}, "
        f"settings={settings(tmp_path, waits=5)!r}, workers=2, progress=stop)\n"
    )
    (tmp_path / "script.py").write_text(code, "utf-8")
    done = subprocess.run([sys.executable, str(tmp_path / "script.py")], capture_output=True, timeout=120)
    assert b"KeyboardInterrupt" in done.stderr and set(load_results(tmp_path / "out")["x"]) == {1}


def test_other_settings_and_other_folders_are_refused(task: str, tmp_path: Path) -> None:
    sweep(task, points(1), tmp_path / "out", settings=settings(tmp_path))
    with pytest.raises(RunError, match=r"begun with other settings: `fails` differs\. .*--overwrite"):
        sweep(task, points(1), tmp_path / "out", settings=settings(tmp_path, fails=7))
    sweep(task, points(2), tmp_path / "out", settings=settings(tmp_path, fails=7), overwrite=True)
    assert list(load_results(tmp_path / "out")["x"]) == [2]
    with pytest.raises(RunError, match="holds something else than a sweep"):
        sweep(task, points(1), tmp_path / "code", settings=settings(tmp_path))
    with pytest.raises(RunError, match="holds no sweep"):
        load_results(tmp_path)
    (tmp_path / "out" / "sweep.json").write_text("{", "utf-8")
    with pytest.raises(RunError, match="is broken"):
        sweep(task, points(1), tmp_path / "out", settings=settings(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": []}, "at least one point"),
        ({"points": [{"x": math.nan}]}, "plain, finite data"),
        ({"points": [{"x": object()}]}, "plain, finite data"),
        ({"task": "nowhere:work"}, "A task is 'module:function'"),
        ({"task": "json:nothing"}, "A task is 'module:function'"),
        ({"workers": 0}, "`workers` of sweep"),
    ],
)
def test_what_a_sweep_needs(task: str, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    given = {"task": task, "points": points(1), "workers": 1, **changes}
    with pytest.raises(InvalidArgumentError, match=message):
        sweep(given["task"], given["points"], tmp_path / "out", workers=given["workers"])
    assert not (tmp_path / "out").exists()


def running(tmp_path: Path, task: str, out: Path, workers: int) -> subprocess.Popen[bytes]:
    """Start a sweep that never ends in a process of its own, and wait until two of its points are stored."""
    code = (
        "from analognets.deploy.studies.sweep import sweep\n"
        "if __name__ == '__main__':\n"
        f"    sweep({task!r}, [{{'x': x}} for x in (1, 2, 5, 6)], {str(out)!r}, "
        f"settings={settings(tmp_path, waits=5)!r}, workers={workers})\n"
    )
    (tmp_path / "script.py").write_text(code, "utf-8")
    process = subprocess.Popen([sys.executable, str(tmp_path / "script.py")])
    while not (tmp_path / "log" / "5").exists() or len(list((out / "points").glob("*.parquet"))) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    return process


def is_running(process: str) -> bool:
    """Whether a process is there and not merely waiting to be buried."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_sweep_takes_its_workers_along_and_goes_on(task: str, tmp_path: Path, workers: int) -> None:
    out = tmp_path / "out"
    process = running(tmp_path, task, out, workers)
    own = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    children = own.read_text().split() if own.exists() else []
    assert workers == 1 or len(children) >= 2
    before = {path.name: path.read_bytes() for path in (out / "points").iterdir()}
    with pytest.raises(RunError, match="in use by process"):
        sweep(task, points(1), out, settings=settings(tmp_path), overwrite=True)
    assert {path.name: path.read_bytes() for path in (out / "points").iterdir()} == before
    process.kill()
    process.wait()
    end = time.monotonic() + 120
    while any(is_running(child) for child in children):
        assert time.monotonic() < end, "a worker outlived its sweep"
        time.sleep(0.05)
    assert list(sweep(task, points(1, 2, 3), out, settings=settings(tmp_path, waits=5))["square"]) == [1, 4, 9]
    assert not [path for path in out.rglob(".part-*")]


def test_a_row_of_another_point_is_not_taken(task: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    sweep(task, points(1, 2, 3), out, settings=settings(tmp_path))
    one, two = (out / "points" / f"{point_key({'x': x})}.parquet" for x in (1, 2))
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)
    with pytest.warns(UserWarning, match=r"2 of 3 points in .* are left out"):
        assert list(load_results(out)["x"]) == [3]
    assert list(sweep(task, points(1, 2, 3), out, settings=settings(tmp_path))["square"]) == [1, 4, 9]
    assert calls(tmp_path) == {"1": 2, "2": 2, "3": 1}


ROWS = {
    "no status": {"x": 1, "error": None, "seconds": 0.0},
    "odd status": {"x": 1, "status": "fine", "error": None, "seconds": 0.0},
    "another kind": {"x": "1", "status": "ok", "error": None, "seconds": 0.0},
    "one key more": {"x": 1, "y": 2, "status": "ok", "error": None, "seconds": 0.0},
    "two rows": None,
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_row_that_is_none_is_measured_again(task: str, tmp_path: Path, row: dict[str, Any] | None) -> None:
    out = tmp_path / "out"
    sweep(task, points(1), out, settings=settings(tmp_path))
    path = out / "points" / f"{point_key({'x': 1})}.parquet"
    rows = [row] if row else [{"x": 1, "status": "ok", "error": None, "seconds": 0.0}] * 2
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    assert list(sweep(task, points(1), out, settings=settings(tmp_path))["square"]) == [1]
    path.unlink()
    os.mkfifo(path)
    assert list(sweep(task, points(1), out, settings=settings(tmp_path))["square"]) == [1]


PLAIN = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(max_size=9)
PLAIN |= st.floats(allow_nan=False, allow_infinity=False)


PLAIN = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(max_size=9)
PLAIN |= st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(st.text(max_size=5), PLAIN, min_size=1, max_size=4))
def test_every_plain_point_comes_back_as_its_own(point: dict[str, Any]) -> None:
    if {"status", "error", "seconds"} & set(point):
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "points").mkdir()
        _store(Path(folder), key := point_key(point), {**point, "status": "ok", "error": None, "seconds": 1.0})
        assert stored(Path(folder), key) is not None and stored(Path(folder), key, point) is not None
        assert stored(Path(folder), key, {**point, "more": 1}) is None


@pytest.mark.parametrize("text", ["[]", "{}", '{"settings": []}', "[" * 5000, '{"settings": {}, "task": []}', "null"])
def test_an_index_that_is_none_is_one_sentence(task: str, tmp_path: Path, text: str) -> None:
    out = tmp_path / "out"
    sweep(task, points(1), out, settings=settings(tmp_path))
    (out / "sweep.json").write_text(text, "utf-8")
    with pytest.raises(RunError, match="is broken|begun with other settings"):
        sweep(task, points(1), out, settings=settings(tmp_path))


def test_keys_do_not_depend_on_the_order_of_settings() -> None:
    assert point_key({"a": 1, "b": 2}) == point_key({"b": 2, "a": 1}) != point_key({"a": 1, "b": 3})
    assert json.dumps(point_key({"a": None}))


def test_without_ray_the_extra_is_named(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"analognets\[ray\]"):
        sweep(task, points(1), tmp_path / "out", settings=settings(tmp_path), ray=True)


def test_a_sweep_of_before_a_task_moved_goes_on(tmp_path: Path) -> None:
    (earlier, task), *_ = MOVED.items()
    assert all(callable(resolve(now)) for now in MOVED.values())
    open_folder(tmp_path, earlier, {"seed": 1}, overwrite=False)
    open_folder(tmp_path, task, {"seed": 1}, overwrite=False)
    assert json.loads((tmp_path / "sweep.json").read_text("utf-8"))["task"] == task
    with pytest.raises(RunError, match="begun with other settings: `seed` differs"):
        open_folder(tmp_path, task, {"seed": 2}, overwrite=False)


def echo(settings: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    return {"seed": 1, "accuracy": 0.5}


def test_a_task_names_its_figures_otherwise_than_its_point() -> None:
    """Else the point in the row would be another one, and the sweep would run it again each time."""
    task = "tests_sweep:echo"
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("tests_sweep", None))  # type: ignore[arg-type]
    module.echo = echo  # type: ignore[attr-defined]
    sys.modules["tests_sweep"] = module
    try:
        assert run_point(task, {}, {"bits": 8})["status"] == "ok"
        row = run_point(task, {}, {"seed": 0})
    finally:
        del sys.modules["tests_sweep"]
    assert (
        row["status"] == "failed"
        and row["seed"] == 0
        and "otherwise than its point. Received: ['seed']" in row["error"]
    )
