"""Text from outside, such as names of models and files, as a terminal or a page may show it."""

from __future__ import annotations

import unicodedata

__all__ = ["shown"]


def shown(text: str) -> str:
    """Return text without control characters, such as those of escape sequences: they are written out.

    Lines and tabs stay; what can't be encoded (names that are not UTF-8) is written out too.
    """
    return "".join(_plain(letter) for letter in text)


def _plain(letter: str) -> str:
    keep = letter in "\n\t" or letter.isprintable() or unicodedata.category(letter) == "Zs"
    return letter if keep else ascii(letter)[1:-1]
