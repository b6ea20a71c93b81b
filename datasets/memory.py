"""How much memory the threads that read files may use together, whatever the files say."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

__all__ = ["DECODING", "READING", "Budget"]


class Budget:
    """Bytes that threads share. One of them always goes on, even if what it needs is more than there is.

    Args:
        limit: bytes that all holders together may use.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def hold(self, wanted: int) -> Iterator[None]:
        """Wait until so many bytes are free, and hold them during the block. Never take a budget twice at once."""
        with self._changed:
            self._changed.wait_for(lambda: not self._used or self._used + wanted <= self._limit)
            self._used += wanted
        try:
            yield
        finally:
            with self._changed:
                self._used -= wanted
                self._changed.notify_all()


READING = Budget(1 << 28)
"""For files as they are; taken before `DECODING`."""

DECODING = Budget(1 << 29)
"""For what they become."""
