"""YAML with the scalars of version 1.2, so that `1e-3` is a number and the words `on`, `off`, `yes` are text."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import yaml

from analognets.core.files import read_plain
from analognets.errors import AnalogNetsError, InvalidArgumentError, RunError, reason

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["FILE_HINT", "names_a_file", "parse_yaml", "read_yaml", "write_yaml", "yaml_names"]

_SCALARS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
     r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
)  # fmt: skip


MAX_TEXT = 2**18
MAX_BYTES = 4 * MAX_TEXT
MAX_NODES = 10_000
MAX_DEPTH = 50
PLEASE = "Give the path of a YAML file."


class _Loader(yaml.SafeLoader):
    """Safe loader with YAML 1.2 scalars that refuses a key given twice, and text that unfolds to more than it shows."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._nodes = self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise self._refused("an alias (*name) is not taken; write the value out", self.peek_event())
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._refused(f"it holds more than {MAX_NODES:,} values", self.peek_event())
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._refused(f"it is nested more than {MAX_DEPTH} deep", self.peek_event())
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    @staticmethod
    def _refused(why: str, event: Any) -> yaml.constructor.ConstructorError:
        return yaml.constructor.ConstructorError(None, None, why, event.start_mark)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key '{key.value}' stands there twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Safe dumper that quotes exactly what `_Loader` would read as something else than text."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, _pattern, _first in _SCALARS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z"), ["" if c == "\0" else c for c in _first]
        )
_Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: _number(node.value))
_Dumper.add_representer(float, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:float", _text(value)))
_Dumper.add_representer(
    str,
    lambda dumper, value: dumper.represent_scalar(
        # Unquoted, YAML would turn rare line breaks such as U+0085 into blanks.
        "tag:yaml.org,2002:str",
        value,
        style=None if value.isprintable() else '"',
    ),
)


def _number(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _text(value: float) -> str:
    text = repr(value)
    return text if text[-1].isdigit() else ("-" if value < 0 else "") + "." + text.lstrip("-")


def parse_yaml(text: str, *, source: str = "text", error: type[AnalogNetsError] = InvalidArgumentError) -> Any:
    """Return the data in a YAML text.

    Args:
        text: YAML 1.2 with the types null, bool, int, float, str, list and dict.
        source: what to call the text in a message.
        error: what to raise if the text is not YAML, or gives a key twice.
    """
    if len(text) > MAX_TEXT:
        raise error(f"{source} may have at most {MAX_TEXT:,} characters of YAML. Received: {len(text):,}.")
    try:
        # S506 is about loaders that make any object; this one is a SafeLoader.
        return yaml.load(text, Loader=_Loader)  # noqa: S506
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as fault:
        mark = getattr(fault, "problem_mark", None)
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(fault, "problem", None) or str(fault)
        raise error(f"{source} can't be read as YAML{place}: {reason(ValueError(problem))}.") from fault


def read_yaml(file: Any, *, source: str = "", error: type[AnalogNetsError] = InvalidArgumentError) -> Any:
    """Return the data in a YAML file.

    Args:
        file: its path, a resource of a package, or an open text file.
        source: what to call it in a message; its path by default.
        error: what to raise if it can't be read, is not YAML, or gives a key twice.
    """
    source = source or f"'{file}'"
    try:
        if hasattr(file, "read"):
            text = file.read(MAX_TEXT + 1)
        elif isinstance(file, (str, os.PathLike)):
            text = read_plain(os.fspath(file), limit=MAX_BYTES).decode("utf-8")
        else:
            text = file.read_text("utf-8")
    except RunError as fault:
        why = reason(fault.__cause__) if fault.__cause__ else f"it is no plain file of at most {MAX_BYTES:,} bytes"
        raise error(f"{source} can't be read: {why}. {PLEASE}") from fault
    except (OSError, UnicodeDecodeError, TypeError) as fault:
        raise error(f"{source} can't be read: {reason(fault)}. {PLEASE}") from fault
    return parse_yaml(text, source=source, error=error)


FILE_HINT = "A file is named with a '/' or the ending .yaml."
"""What to say where a name is unknown and a file could have been meant."""


def names_a_file(name: str) -> bool:
    """Whether something is given by the path of its file, which has a "/" or ends in .yaml, and not by its name."""
    return "/" in name or name.endswith((".yaml", ".yml"))


def yaml_names(folder: Traversable) -> list[str]:
    """Return the names, without the ending, of the YAML files in a folder of the package."""
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def write_yaml(data: Any) -> str:
    """Return plain data as YAML text that `parse_yaml` reads back exactly."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
