"""The `analognets` command: one module a command, loaded only when that command runs."""

from __future__ import annotations

__all__: list[str] = []
