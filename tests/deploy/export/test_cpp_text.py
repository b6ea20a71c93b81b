"""Foreign text in C++: what a compiler reads is the text, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analognets.deploy.export.cpp_text import comment, float_literal, string_literal
from analognets.errors import InvalidArgumentError

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
HOSTILE = (
    "tri??/",
    "??/\n#error",
    'quote" ; int x; "',
    "back\\",
    "line\nbreak",
    "\\\n",
    "größer",
    "\u202e\u2028\x85",
    "\x1b[31mred",
    "*/ //",
    "x\\x41" + "f",
    "\udce4\udcff",
    "🎤",
    "%s",
    "???=",
    "\r",
    "\t",
    "",
)


def read_back(literal: str) -> bytes:
    """Return the bytes of a literal as C++ reads it: escapes of three octal digits, or of one sign that is kept."""
    assert literal[0] == literal[-1] == '"'
    assert "??" not in literal
    assert literal.isprintable()
    inner, found = literal[1:-1], bytearray()
    while inner:
        size = 1
        if inner[0] == "\\":
            size = 2 if inner[1] in '"\\?' else 4
            found += inner[1].encode() if size == 2 else bytes([int(inner[1:4], 8)])
            assert len(inner[:size]) == size
        else:
            assert inner[0] != '"'
            found += inner[0].encode()
        inner = inner[size:]
    return bytes(found)


@given(st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"])))
@example("tri??/")
@example("\udce4")
def test_a_literal_holds_the_bytes_of_the_text(text: str) -> None:
    assert read_back(string_literal(text)) == text.encode("utf-8", "surrogateescape")


@given(st.text(st.characters(exclude_categories=[])))
@example("x\\")
@example("??/")
def test_a_comment_is_one_line_of_ascii_that_joins_no_other(text: str) -> None:
    written = comment(text)
    assert written.isascii()
    assert written.isprintable() or not written
    assert "??" not in written
    assert not written.endswith("\\")


@needs_compiler
@pytest.mark.parametrize("standard", ["c++11", "c++20"])
def test_a_compiler_reads_the_same(tmp_path: Path, standard: str) -> None:
    lines = ["#include <cstdio>", "#include <cstring>"]
    lines += [f"// {comment(text)}\nint after_{number} = {number};" for number, text in enumerate(HOSTILE)]
    lines += [f"const char* words[] = {{{', '.join(map(string_literal, HOSTILE))}}};"]
    last = len(HOSTILE) - 1
    loop = "for (const char* w : words) std::fwrite(w, 1, std::strlen(w) + 1, stdout);"
    lines += [f"int main() {{ {loop} return after_{last} - {last}; }}"]
    (tmp_path / "main.cc").write_text("\n".join(lines) + "\n", "utf-8")
    command = ["g++", f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-o", str(tmp_path / "main")]
    subprocess.run([*command, str(tmp_path / "main.cc")], check=True, capture_output=True, text=True)
    found = subprocess.run([tmp_path / "main"], check=True, capture_output=True).stdout
    assert found.split(b"\0")[:-1] == [text.encode("utf-8", "surrogateescape") for text in HOSTILE]


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_what_no_c_string_holds_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"A label must be text without NUL .*Rename it"):
        string_literal(text)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_a_float_comes_back(value: float) -> None:
    written = float_literal(value, "It")
    assert np.float32(written.removesuffix("f")) == np.float32(value)
    assert "." in written or "e" in written


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e39, 10**400])
def test_a_float_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^It must be a finite 32-bit float"):
        float_literal(value, "It")
