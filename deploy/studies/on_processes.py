"""Tasks of a sweep in worker processes of this machine."""

from __future__ import annotations

import concurrent.futures.process
import contextlib
import multiprocessing
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from analognets.core.processes import end_with_parent

__all__ = ["Processes"]

THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


class Processes:
    """Worker processes that share the cores; they start when they are needed and stay until the block ends.

    A context manager: several sweeps in its block use the same processes, so that each of them imports and opens what
    it needs once. Where the block ends by an exception, what still runs is ended.

    Args:
        workers: how many, at least 1.
        log: file that what they print is added to.
    """

    def __init__(self, workers: int, log: Path) -> None:
        self.workers, self.log = workers, log
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None
        self._others: set[int | None] = set()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        self._end(at_once=kind is not None)

    def run(
        self, work: Callable[..., Any], task: str, settings: dict[str, Any], items: Sequence[Any], *, tries: int
    ) -> Iterator[tuple[Any, Any]]:
        """Yield each item with what `work(task, settings, point)` makes of its point, or None, as they finish.

        A process that dies takes its points along. They are run anew, each alone, so that the guilty one is found.

        Args:
            work: a function of a module.
            task: first argument.
            settings: second argument.
            items: pairs of a key and a point.
            tries: how often the process of a point may die before the point has failed and None is yielded.
        """
        waiting, deaths = list(items), dict.fromkeys((key for key, _ in items), 0)
        suspects: list[Any] = []
        while waiting or suspects:
            if suspects:
                with Processes(1, self.log) as alone:
                    lost = yield from alone._until_a_death(work, task, settings, suspects)
            else:
                lost = yield from self._until_a_death(work, task, settings, waiting)
            for key, point in lost:
                deaths[key] += 1
                if deaths[key] < tries:
                    suspects.append((key, point))
                else:
                    yield (key, point), None

    def _until_a_death(
        self, work: Callable[..., Any], task: str, settings: dict[str, Any], waiting: list[Any]
    ) -> Generator[tuple[Any, Any], None, list[Any]]:
        """Run the items of a list, taking them out of it; returns those that were running when a process died."""
        lost: list[Any] = []
        running: dict[Any, Any] = {}
        with self._started() as pool:
            while (waiting or running) and not lost:
                try:
                    # Never more at a time than there are processes: when one dies, what ran is known.
                    while waiting and len(running) < self.workers:
                        running[pool.submit(work, task, settings, waiting[0][1])] = waiting[0]
                        del waiting[0]
                except concurrent.futures.process.BrokenProcessPool:
                    if not running:  # it died between two items
                        self._end(at_once=True)
                        break
                done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    item = running.pop(future)
                    try:
                        yield item, future.result()
                    except concurrent.futures.process.BrokenProcessPool:
                        lost.append(item)
            if lost:
                self._end(at_once=True)
        return [*lost, *running.values()]

    @contextlib.contextmanager
    def _started(self) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
        """Yield the processes; those that start within the block get their share of the cores."""
        before = {name: os.environ.get(name) for name in THREADS}
        share = str(max(1, (os.cpu_count() or 1) // self.workers))
        os.environ.update(dict.fromkeys(THREADS, share))
        if self._pool is None:
            self._others = {process.pid for process in multiprocessing.active_children()}
            self._pool = concurrent.futures.ProcessPoolExecutor(
                self.workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_begin,
                initargs=(str(self.log),),
            )
        try:
            yield self._pool
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value

    def _end(self, *, at_once: bool) -> None:
        """End the processes: when they have done what they do, or at once."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        if at_once:
            for process in multiprocessing.active_children():
                if process.pid not in self._others:
                    process.terminate()
        pool.shutdown(wait=not at_once, cancel_futures=at_once)


def _begin(log: str) -> None:
    """In a worker: it ends with its parent, which takes Ctrl-C and stores what is done; prints go into a file."""
    import signal

    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open(log, "a", encoding="utf-8") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
