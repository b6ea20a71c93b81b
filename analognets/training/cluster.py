"""The workers of a training on several machines, as the environment variable TF_CONFIG names them."""

from __future__ import annotations

import json
import os
from typing import Any

from analognets.errors import InvalidArgumentError, cut

__all__ = ["is_chief", "is_helper", "task_of_cluster"]

EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'


def is_helper(strategy: str | None) -> bool:
    """Whether this process is a worker of "multi_worker" that writes no files: any but the chief.

    Raises:
        InvalidArgumentError: the strategy is "multi_worker", and TF_CONFIG is missing or broken.
    """
    if strategy != "multi_worker":
        return False
    cluster, kind, index = task_of_cluster()
    return not is_chief(cluster, kind, index)


def is_chief(cluster: dict[str, Any], kind: str, index: int) -> bool:
    """Whether a task is the one that writes files: the "chief", or the first worker of a cluster without one."""
    return (kind, index) == ("chief" if "chief" in cluster else "worker", 0)


def task_of_cluster() -> tuple[dict[str, Any], str, int]:
    """Return the cluster of TF_CONFIG, and kind and number of the task that this process has in it.

    Raises:
        InvalidArgumentError: TF_CONFIG is missing or broken.
    """
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text)
        cluster, kind, index = config["cluster"], config["task"]["type"], int(config["task"]["index"])
        if isinstance(cluster[kind], list) and 0 <= index < len(cluster[kind]):
            return cluster, kind, index
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise InvalidArgumentError(
        f"The strategy 'multi_worker' needs the environment variable TF_CONFIG, such as {EXAMPLE}, with another task "
        f"on each machine. Received: {cut(text, 200)!r}."
    )
