"""The YAML of recipes: scalars of YAML 1.2, so that `1e-3` is a number and the keywords `on`, `off`, `yes` are text."""

from __future__ import annotations

import re
from typing import Any

import yaml

from analognets.errors import RecipeError

__all__ = ["parse_yaml", "write_yaml"]

_SCALARS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
     r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
)  # fmt: skip


class _Loader(yaml.SafeLoader):
    """Safe loader with YAML 1.2 scalars that refuses a key given twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}

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


def parse_yaml(text: str, *, source: str = "text") -> Any:
    """Return the data in a YAML text.

    Args:
        text: YAML 1.2 with the types null, bool, int, float, str, list and dict.
        source: what to call the text in an error.

    Raises:
        RecipeError: the text is not YAML, or gives a key twice.
    """
    try:
        # S506 is about loaders that make any object; this one is a SafeLoader.
        return yaml.load(text, Loader=_Loader)  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise RecipeError(f"{source} can't be read as YAML{place}: {problem}.") from error


def write_yaml(data: Any) -> str:
    """Return plain data as YAML text that `parse_yaml` reads back exactly."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
