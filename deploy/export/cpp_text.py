"""Foreign text in C++ source: string literals, comments and numbers that can't be read as anything else."""

from __future__ import annotations

import math
import re

import numpy as np

from analognets.errors import InvalidArgumentError

__all__ = ["comment", "float_literal", "string_literal"]

AGAIN = re.compile(r"(?<=\?)\?")
"""A "?" after another: with a third sign they are a trigraph, which a compiler replaces before it reads escapes."""


def string_literal(text: str) -> str:
    r"""Return a C++ string literal of a text's UTF-8 bytes.

    Printable characters stand for themselves, quotes and backslashes after a backslash, all else as bytes in \ooo; a
    "?" after another is written \?, so there are no trigraphs. Bytes of a name that were no UTF-8 (Python's surrogate
    escapes) come back as they were.

    Raises:
        InvalidArgumentError: the text has a NUL, which ends a C string, or half a surrogate pair.
    """
    try:
        content = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        content = b"\0"
    if 0 in content:
        raise InvalidArgumentError(
            f"A label must be text without NUL and without half surrogate pairs. Received: {text!r}. Rename it."
        )
    return '"' + AGAIN.sub(r"\\?", "".join(map(literal_part, text))) + '"'


def literal_part(letter: str) -> str:
    """Return how a character is written in a string literal."""
    if letter in '"\\':
        return f"\\{letter}"
    if letter.isprintable():
        return letter
    return "".join(f"\\{byte:03o}" for byte in letter.encode("utf-8", "surrogateescape"))


def comment(text: str) -> str:
    """Return a text that stays in the `//` comment, and in the line of a terminal, where it is put.

    What is not printable ASCII is written by its number. A backslash, or the trigraph of one, at the end of a line
    would join the next line to the comment, so neither is left.
    """
    written = "".join(letter if letter.isascii() and letter.isprintable() else escaped(letter) for letter in text)
    written = AGAIN.sub(r"\\x3f", written).rstrip()
    return f"{written[:-1]}\\x5c" if written.endswith("\\") else written


def escaped(letter: str) -> str:
    """Return a character by its number: x0a, u2028 or U0001f600 after a backslash."""
    number = ord(letter)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def float_literal(value: float, what: str) -> str:
    """Return a C++ float literal that gives back the same 32-bit float.

    Raises:
        InvalidArgumentError: it is none: NaN, infinite or too large.
    """
    try:
        with np.errstate(over="ignore"):
            number = np.float32(value)
    except (OverflowError, ValueError):
        number = np.float32("nan")
    if not math.isfinite(number):
        raise InvalidArgumentError(f"{what} must be a finite 32-bit float to stand in C++. Received: {value!r:.40}.")
    return f"{number}f"
