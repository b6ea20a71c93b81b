"""Tasks of a sweep on a Ray cluster."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from analognets.errors import MissingExtraError, RunError, cut

__all__ = ["cluster", "on_ray"]

THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def on_ray(
    work: Callable[..., Any], task: str, settings: dict[str, Any], items: Sequence[Any], *, workers: int, tries: int
) -> Iterator[tuple[Any, Any]]:
    """Yield each item with what `work(task, settings, point)` makes of its point, or None, as they finish.

    A worker or machine that dies takes its points along; Ray runs them anew on another one. What is printed meanwhile
    goes to stderr, so that stdout holds results alone.

    Args:
        work: a function of a module.
        task: first argument.
        settings: second argument.
        items: pairs of a key and a point.
        workers: processes where a cluster is started here, because RAY_ADDRESS names none.
        tries: how often the process of a point may die before the point has failed and None is yielded.

    Raises:
        MissingExtraError: Ray is not installed.
        RunError: the cluster can't be reached, or is lost.
    """
    with cluster(workers):
        import ray

        try:
            with contextlib.redirect_stdout(sys.stderr):  # Ray prints what becomes of workers, whatever it is told
                remote = ray.remote(num_cpus=1, max_retries=tries - 1)(_alone)
                running = {remote.remote(work, task, settings, item[1]): item for item in items}
                while running:
                    [done], _ = ray.wait(list(running), num_returns=1)
                    item = running.pop(done)
                    try:
                        row = ray.get(done)
                    except (
                        ray.exceptions.WorkerCrashedError,
                        ray.exceptions.NodeDiedError,
                        ray.exceptions.OutOfMemoryError,
                    ):
                        row = None
                    yield item, row
        except (ray.exceptions.RayError, ConnectionError) as error:
            raise RunError(
                f"The Ray cluster was lost: {cut(str(error), 300)} What is finished is stored; give the command again "
                "to go on."
            ) from error


@contextlib.contextmanager
def cluster(workers: int) -> Iterator[None]:
    """While active, Ray is connected: to what it is connected to already, to RAY_ADDRESS, or to a cluster made here.

    Args:
        workers: processes of a cluster made here.

    Raises:
        MissingExtraError: Ray is not installed.
        RunError: the cluster can't be reached.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("Working on a Ray cluster", "ray") from error
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    own: dict[str, Any] = {} if address else {"num_cpus": workers, "include_dashboard": False}
    try:
        if address:
            check_answers(address)
        ray.init(log_to_driver=False, **own)
    except Exception as error:  # Ray raises many kinds
        where = f"The Ray cluster at RAY_ADDRESS={address}" if address else "A Ray cluster on this machine"
        raise RunError(f"{where} can't be reached or started: {cut(str(error), 300)}") from error
    try:
        yield
    finally:
        ray.shutdown()


def check_answers(address: str) -> None:
    """Raise an OSError if nothing listens at an address such as "ray://head:10001"; Ray itself waits for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        with socket.create_connection((host.strip("[]"), int(port)), timeout=10):
            pass


def _alone(work: Callable[..., Any], task: str, settings: dict[str, Any], point: dict[str, Any]) -> Any:
    """In a worker of Ray: it has one core, and TensorFlow makes no more threads."""
    for name in THREADS:
        os.environ.setdefault(name, "1")
    return work(task, settings, point)
