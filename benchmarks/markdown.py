"""Tables in Markdown."""

from __future__ import annotations

from analognets.core.markdown import markdown

__all__ = ["markdown"]
