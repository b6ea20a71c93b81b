"""YAML: scalars of version 1.2 for everything this package reads, and one sentence about what can't be read."""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from analognets.core.config import names_a_file, parse_yaml, read_yaml, write_yaml, yaml_names
from analognets.crossbar import Crossbar
from analognets.errors import InvalidArgumentError, RecipeError

scalars = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False) | st.text(max_size=12)
plain = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))


@given(plain)
def test_yaml_reads_back_what_it_wrote(value: Any) -> None:
    assert parse_yaml(write_yaml(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1.", 1.0), ("-.5E+2", -50.0), (".inf", math.inf), ("007", "007"), ("0", 0), ("-12", -12),
        ("on", "on"), ("off", "off"), ("yes", "yes"), ("No", "No"), ("true", True), ("FALSE", False), ("~", None),
        ("", None), ("12:30", "12:30"), ("2020-01-01", "2020-01-01"), ("25s", "25s"), ("'1e-3'", "1e-3"),
        ("0x10", "0x10"),
    ],
)  # fmt: skip
def test_yaml_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    found = parse_yaml(text)
    assert found == value
    assert type(found) is type(value)


def test_a_hardware_preset_needs_no_quotes() -> None:
    text = (resources.files("analognets.crossbar") / "presets" / "aimc_standard.yaml").read_text("utf-8")
    assert "inactive_device: off\n" in text
    assert yaml.safe_load(text)["inactive_device"] is False
    assert parse_yaml(text)["inactive_device"] == "off"
    assert Crossbar.from_preset("aimc_standard").inactive_device == "off"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", r"It can't be read as YAML in line 2, column 1: the key 'a' stands there twice\.$"),
        ("a: [1", r"It can't be read as YAML in line"),
        ("!!python/object/apply:os.system [ls]", r"It can't be read as YAML"),
    ],
)
@pytest.mark.parametrize("error", [InvalidArgumentError, RecipeError])
def test_bad_text_is_one_sentence_in_the_error_of_the_caller(text: str, message: str, error: Any) -> None:
    with pytest.raises(error, match=message):
        parse_yaml(text, source="It", error=error)


def test_a_file_is_read_from_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("on: 1e-3\n")
    for file in (tmp_path / "a.yaml", str(tmp_path / "a.yaml"), io.StringIO("on: 1e-3\n")):
        assert read_yaml(file) == {"on": 0.001}
    with pytest.raises(RecipeError, match=r"'.*b.yaml' can't be read: No such file or directory\. Give the path"):
        read_yaml(tmp_path / "b.yaml", error=RecipeError)
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InvalidArgumentError, match="It can't be read: "):
        read_yaml(tmp_path / "c.yaml", source="It")
    (tmp_path / "note.txt").write_text("")
    assert yaml_names(tmp_path) == ["a", "c"]


@pytest.mark.parametrize(
    ("name", "file"), [("kws", False), ("./kws", True), ("kws.yaml", True), ("kws.yml", True), ("a.b", False)]
)
def test_a_path_is_told_from_a_name(name: str, file: bool) -> None:
    assert names_a_file(name) is file


def aliases(levels: int) -> str:
    """Return the text of "a billion laughs": a few lines that unfold to 9 to the power of the levels."""
    lines = ["a0: &a0 x"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels + 1)]
    return "\n".join(lines)


HOSTILE = {
    "aliases": aliases(8),
    "one alias": "a: &a 1\nb: *a",
    "an alias of itself": "&a [*a]",
    "a merge key": "a: &a {x: 1}\nb:\n  <<: *a",
    "many values": "a: [" + "1, " * 12_000 + "1]",
    "deep": "[" * 200 + "]" * 200,
    "very deep": "[" * 10_000,
    "long": "a: " + "x" * 2**21,
    "deep keys": "? " * 300 + "a",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_text_that_unfolds_to_more_than_it_shows_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        read_yaml(tmp_path / "a.yaml", error=RecipeError)
    assert len(str(caught.value)) < 600


ODD = r"""{[1]: 2}|? {a: 1}\n: 2|!!python/object:os.system x|2026-99-99|!!binary x|!!timestamp x|!!int x|!!float ''|\0
a: \ud800|!!set {a}|!!omap [1]|--- 1\n--- 2|!!pairs [1]|{a: &b [*b]}|!<tag:yaml.org,2002:int> []|!!int 1_0:x"""


@pytest.mark.parametrize("text", re.split(r"[|\n]", ODD))
def test_odd_yaml_is_one_sentence_or_data(text: str) -> None:
    with contextlib.suppress(RecipeError):
        parse_yaml(text.encode().decode("unicode_escape"), error=RecipeError)


@given(st.text(st.sampled_from("[]{}:,&*!|>-?'\"\n ab01.#%<~"), max_size=60))
def test_any_text_is_data_or_one_sentence(text: str) -> None:
    with contextlib.suppress(RecipeError):
        parse_yaml(text, error=RecipeError)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").symlink_to("/dev/zero")
    (tmp_path / "c.yaml").write_bytes(b"a" * (2**20 + 1))
    for name in "abc":
        with pytest.raises(RecipeError, match="can't be read: it is no plain file of at most"):
            read_yaml(tmp_path / f"{name}.yaml", error=RecipeError)
