"""A resumable sweep: one task at many points, on this process, on several or on a Ray cluster; results in Parquet."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analognets.core.drafts import MARK
from analognets.core.files import (
    locked,
    make_folder,
    read_json,
    read_plain,
    remove_leftovers,
    write_atomically,
    write_json,
)
from analognets.core.provenance import json_sha256
from analognets.deploy.studies.on_processes import Processes
from analognets.errors import (
    AnalogNetsError,
    InvalidArgumentError,
    RunError,
    check_integer,
    reason,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["load_results", "point_key", "sweep"]

INDEX, POINTS, RESULTS, LOG = "sweep.json", "points", "results.parquet", "workers.log"
MOVED = {
    "analognets.deploy.exploration_point:measure": "analognets.deploy.studies.explore_point:measure",
    "analognets.deploy.sensitivity.study:measure": "analognets.deploy.studies.sensitivity.study:measure",
    "analognets.deploy.sensitivity.study:reference": "analognets.deploy.studies.sensitivity.study:reference",
    "analognets.deploy.sensitivity.method_one:strength": "analognets.deploy.studies.sensitivity.equal_error:strength",
}
"""Where tasks are now that sweeps of earlier versions name otherwise."""
MAX_ROW = 64 * 2**20
DEATHS = 2  # a point whose process died so often has failed

Row = dict[str, Any]
Done = Callable[[int, int, Row], None]


def point_key(point: Mapping[str, Any]) -> str:
    """Return the name under which a point is stored: a hash of its settings, in any order."""
    return json_sha256(dict(point))[:20]


def sweep(
    task: str,
    points: Sequence[Mapping[str, Any]],
    folder: Any,
    *,
    settings: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    workers: int = 1,
    ray: bool = False,
    processes: Processes | None = None,
    overwrite: bool = False,
    progress: Done | None = None,
) -> pd.DataFrame:
    """Run a task at many points and keep every result; what is there already is not run again.

    Each finished point is a Parquet file of its own, whole or not there, so nothing is lost by Ctrl-C, a kill or a full
    disk. Run the sweep again to go on; more points may be added, and points that failed are tried again. A point that
    raises is stored with its reason and the others go on. What processes print goes into workers.log.

    Args:
        task: "module:function"; called with (settings, point), it returns a flat dict of plain values.
        points: what to run, each a dict of plain values; doubles count once.
        folder: for the results; made if need be.
        settings: the same for all points; a folder holds results of one task and one set of settings.
        context: further settings that may differ when the sweep goes on, such as where its folder lies now.
        workers: processes on this machine; 1 runs in this one. The cores are shared out among them.
        ray: run on the Ray cluster that RAY_ADDRESS names, or on one started here with `workers` processes.
        processes: that several sweeps share, instead of `workers` new ones.
        overwrite: forget what an earlier sweep left in the folder.
        progress: called with (done, total, row) after each point, those from before first.

    Returns:
        One row per point in the order given: its settings, "status" ("ok" or "failed"), "error", "seconds", and what
        the task returned. The same rows are in results.parquet.

    Raises:
        RunError: the folder holds another sweep or something else, is in use or can't be written.
        InvalidArgumentError: a point is no plain data, or there is none.
        MissingExtraError: Ray is not installed.

    Examples:
        >>> table = sweep("operator:or_", [{"size": 8}, {"size": 16}], "swept", settings={"seed": 0})
        >>> table[["size", "status"]].values.tolist()
        [[8, 'failed'], [16, 'failed']]
    """
    workers = check_integer("sweep", "workers", workers, 1, 1024)
    resolve(task)
    plan = by_key(points)
    root = Path(folder)
    make_folder(root, "folder of the sweep")
    _refuse_foreign(root)
    with locked(root):
        open_folder(root, task, dict(settings or {}), overwrite)
        remove_leftovers(root / POINTS)
        found = {key: stored(root, key, point) for key, point in plan.items()}
        rows = {key: row for key, row in found.items() if row is not None and row["status"] == "ok"}
        report = progress or (lambda done, total, row: None)
        for number, row in enumerate(rows.values(), start=1):
            report(number, len(plan), row)
        left = [(key, point) for key, point in plan.items() if key not in rows]
        whole = {**(settings or {}), **(context or {})}
        found_now = _rows(task, whole, left, workers=workers, ray=ray, processes=processes, log=root / LOG)
        with contextlib.closing(found_now):  # else an error here, as Ctrl-C, would leave the processes running
            try:
                for key, row in found_now:
                    rows[key] = row
                    _store(root, key, row)
                    report(len(rows), len(plan), row)
            finally:
                table = _table([rows[key] for key in plan if key in rows])
                write_atomically(root / RESULTS, lambda part: table.to_parquet(part, index=False))
    return table


def load_results(folder: Any) -> pd.DataFrame:
    """Return all points that a sweep has stored in a folder, finished or not, in no special order.

    A file that is broken, or holds the row of another point, is left out with a warning.

    Raises:
        RunError: the folder holds no sweep.
    """
    root = Path(folder)
    if not os.path.isfile(root / INDEX):
        raise RunError(f"'{root}' holds no sweep: '{INDEX}' is missing.")
    found = {path: stored(root, path.stem) for path in sorted((root / POINTS).glob("*.parquet"))}
    broken = [path.name for path, row in found.items() if row is None]
    if broken:
        warnings.warn(
            f"{len(broken)} of {len(found)} points in '{root}' are left out, for they are broken or hold the row of "
            f"another point: {', '.join(broken[:3])}. Run the sweep again to measure them.",
            stacklevel=2,
        )
    return _table([row for row in found.values() if row is not None])


def by_key(points: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the points by their keys, each once.

    Raises:
        InvalidArgumentError: one is no plain data, or there is none.
    """
    plan = {}
    for point in points:
        try:
            plan[point_key(point)] = dict(point)
        except (TypeError, ValueError) as error:
            raise InvalidArgumentError(f"A point must be plain, finite data: {error}. Received: {point!r}.") from error
    if not plan:
        raise InvalidArgumentError("A sweep needs at least one point. Received: none.")
    return plan


def resolve(task: str) -> Callable[[dict[str, Any], dict[str, Any]], Row]:
    """Return the function that "module:function" names.

    Raises:
        InvalidArgumentError: there is none.
    """
    module, _, name = task.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidArgumentError(f"A task is 'module:function'. Received: {task!r} ({error}).") from error
    return function


def _refuse_foreign(root: Path) -> None:
    """Refuse a folder with something else in it before anything of it is touched, its lock included."""
    try:
        names = {item.name for item in root.iterdir()} - {".lock"}
    except OSError as error:
        raise RunError(f"The folder of the sweep, '{root}', can't be read: {reason(error)}.") from error
    if INDEX not in names and [name for name in names if not name.startswith(MARK)]:
        raise RunError(f"'{root}' holds something else than a sweep. Choose a new or empty folder.")


def open_folder(root: Path, task: str, settings: dict[str, Any], overwrite: bool) -> Path:
    """Check that what the folder holds belongs to this sweep, or forget it; the folder must be locked."""
    record = json.loads(json.dumps({"format": 1, "task": task, "settings": settings}))
    try:
        _refuse_foreign(root)
        if (root / INDEX).exists() and not overwrite:
            _refuse_other(root, record)
        elif overwrite:
            (root / RESULTS).unlink(missing_ok=True)
            for path in (root / POINTS).glob("*.parquet"):
                path.unlink()
        write_json(root / INDEX, record)
        (root / POINTS).mkdir(exist_ok=True)
    except OSError as error:
        if isinstance(error, AnalogNetsError):
            raise
        raise RunError(f"The folder of the sweep, '{root}', can't be written: {reason(error)}.") from error
    return root


def _refuse_other(root: Path, record: dict[str, Any]) -> None:
    """Raise unless the index in a folder is that of this very sweep."""
    way = "Choose another folder, or overwrite it (--overwrite)."
    try:
        before = read_json(root / INDEX, "sweep's index")
    except RunError as error:
        raise RunError(f"'{root / INDEX}' is broken. {error} {way}") from error
    if not isinstance(before, dict) or not isinstance(before.get("settings"), dict):
        raise RunError(f"'{root / INDEX}' is broken: it is not a sweep's index. {way}")
    task = before.get("task")
    before["task"] = MOVED.get(task, task) if isinstance(task, str) else task
    differ = [key for key in {*before["settings"], *record["settings"]} if not _same(before, record, key)]
    if before != record:
        what = ", ".join(f"`{key}`" for key in sorted(differ)) or "the task"
        raise RunError(
            f"The sweep in '{root}' was begun with other settings: {what} differ{'' if len(differ) > 1 else 's'}. "
            "Choose another folder, or overwrite it (--overwrite)."
        )


def _same(before: dict[str, Any], record: dict[str, Any], key: str) -> bool:
    return before.get("settings", {}).get(key) == record["settings"].get(key)


def stored(root: Path, key: str, point: Mapping[str, Any] | None = None) -> Row | None:
    """Return the row of a point, or None if it is not stored, its file is broken or it is the row of another point.

    Args:
        root: the folder of the sweep.
        key: of the point.
        point: itself, where it is known.
    """
    import pyarrow.parquet

    path = root / POINTS / f"{key}.parquet"
    if not path.exists():
        return None
    try:
        content = read_plain(path, limit=MAX_ROW)
        [row] = pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()
    except (RunError, pyarrow.ArrowException, ValueError, OSError, MemoryError, OverflowError, TypeError, KeyError):
        return None
    return row if _belongs(row, key, point) else None


def _belongs(row: Row, key: str, point: Mapping[str, Any] | None) -> bool:
    """Whether a row is that of the point of this key, and whole."""
    if row.get("status") not in ("ok", "failed") or "error" not in row or "seconds" not in row:
        return False
    first = list(row)[: list(row).index("status")]  # `run_point` puts the point first, the status next
    found = {name: row[name] for name in first}
    if point is not None:
        return set(found) == set(point) and all(_alike(found[name], value) for name, value in point.items())
    if any(isinstance(value, (list, dict)) for value in found.values()):
        return True  # Parquet may give back lists a little otherwise than JSON; the sweep itself knows its points
    try:
        return point_key(found) == key
    except (TypeError, ValueError):
        return False


def _alike(stored_value: Any, value: Any) -> bool:
    """Whether a value came back from Parquet as it was stored."""
    if isinstance(value, Mapping):
        stored_value = stored_value or {}
        return isinstance(stored_value, dict) and all(
            _alike(stored_value.get(name), one) for name, one in value.items()
        )
    if isinstance(value, (list, tuple)):
        same = isinstance(stored_value, list) and len(stored_value) == len(value)
        return same and all(_alike(one, other) for one, other in zip(stored_value, value, strict=True))
    return bool(stored_value == value)


def _store(root: Path, key: str, row: Row) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist([row])
    write_atomically(root / POINTS / f"{key}.parquet", lambda part: pyarrow.parquet.write_table(table, part))


def _table(rows: list[Row]) -> pd.DataFrame:
    import pandas as pd

    names = list(dict.fromkeys(name for row in rows for name in row))
    return pd.DataFrame([{name: row.get(name) for name in names} for row in rows], columns=names)


def run_point(task: str, settings: dict[str, Any], point: dict[str, Any]) -> Row:
    """Run one point; what it raises becomes a row, too. This is what workers of any kind call."""
    began = time.monotonic()
    try:
        result = resolve(task)(settings, point)
        if taken := sorted(set(point) & set(result)):
            raise InvalidArgumentError(f"A task must name its figures otherwise than its point. Received: {taken}.")
        row = {**point, "status": "ok", "error": None, **result}
    except Exception as error:  # one bad point must not end the sweep
        row = {**point, "status": "failed", "error": f"{type(error).__name__}: {error}"}
    return {**row, "seconds": round(time.monotonic() - began, 3)}


Points = list[tuple[str, dict[str, Any]]]


def _rows(
    task: str,
    settings: dict[str, Any],
    left: Points,
    *,
    workers: int,
    ray: bool,
    processes: Processes | None,
    log: Path,
) -> Generator[tuple[str, Row], None, None]:
    """Yield the rows of points as they finish: of this process, of several or of a Ray cluster."""
    if not (ray or processes or workers > 1):
        yield from ((key, run_point(task, settings, point)) for key, point in left)
        return
    with contextlib.ExitStack() as stack:
        if ray:
            from analognets.deploy.studies.on_ray import on_ray

            found = on_ray(run_point, task, settings, left, workers=workers, tries=DEATHS)
        else:
            own = processes or stack.enter_context(Processes(workers, log))
            found = own.run(run_point, task, settings, left, tries=DEATHS)
        for (key, point), row in found:
            yield key, _died(point) if row is None else row


def _died(point: dict[str, Any]) -> Row:
    why = f"its process died {DEATHS} times without a word; there may be too little memory"
    return {**point, "status": "failed", "error": why, "seconds": None}
