"""Checked data: the base of pydantic models, and what is wrong with data as one sentence a key."""

from __future__ import annotations

import contextlib
import difflib
import types
import typing
from collections.abc import Iterator
from typing import Any, TypeVar

import annotated_types
import pydantic
from pydantic.fields import FieldInfo

from analognets.errors import AnalogNetsError, shortened

__all__ = ["Section", "check", "checking_file", "is_none"]

_PLAIN = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
_MANY = 5


class Section(pydantic.BaseModel):
    """Base of all checked data: frozen, strict about types, and without unknown keys."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", strict=True, populate_by_name=True, allow_inf_nan=False
    )


def is_none(value: Any) -> bool:
    """Whether a value is None; a field with `exclude_if=is_none` is left out of plain data then."""
    return value is None


Kind = TypeVar("Kind", bound=pydantic.BaseModel)


def check(kind: type[Kind], data: Any, noun: str, *, source: str, error: type[AnalogNetsError]) -> Kind:
    """Return data that a person wrote as an object, or raise one sentence a wrong key: what is allowed, what came.

    Args:
        kind: the model.
        data: plain data.
        noun: what the data describe: "recipe".
        source: what to call these data: "The recipe 'mine.yaml'".
        error: what to raise; a key that does not exist is answered with the nearest one that does.
    """
    try:
        return kind.model_validate(data)
    except pydantic.ValidationError as fault:
        raise error(_explain(fault, kind, noun, source)) from fault


@contextlib.contextmanager
def checking_file(begin: str, error: type[AnalogNetsError], end: str = "") -> Iterator[None]:
    """Turn a failed validation of a file that a program wrote into one sentence: the first fault in pydantic's words.

    Args:
        begin: of the sentence: "'index.json' is not valid".
        error: what to raise.
        end: a further sentence.
    """
    try:
        yield
    except pydantic.ValidationError as fault:
        first, *more = fault.errors(include_url=False)
        place = ".".join(map(str, first["loc"])) or "the file"
        rest = f" {len(more)} more things are wrong too." if more else ""
        raise error(
            f"{begin}: `{place}`: {first['msg']}. Received: {shortened(first['input'])}.{rest} {end}".rstrip()
        ) from fault


def _explain(error: pydantic.ValidationError, root: type[pydantic.BaseModel], noun: str, source: str) -> str:
    sentences: dict[str, str] = {}
    for detail in error.errors(include_url=False):
        path, field = _find(root, detail["loc"])
        sentences.setdefault(".".join(path), _sentence(path, field, detail, root, noun))
    lines = list(sentences.values())
    rest = [f"{len(lines) - _MANY} more keys are wrong too."] if len(lines) > _MANY else []
    return "\n".join([f"{source} is not valid: {lines[0]}", *lines[1:_MANY], *rest])


def _sentence(path: list[str], field: FieldInfo | None, detail: Any, root: type[pydantic.BaseModel], noun: str) -> str:
    kind, received, key = detail["type"], shortened(detail["input"]), ".".join(path)
    if not path:
        return f"it must be a mapping of keys such as {', '.join(_names(root))}. Received: {received}."
    if field is None:
        return _unknown(path, root, noun)
    if kind == "missing":
        return f"`{key}` is missing; it must be {_allowed(field)}."
    inner = ".".join(map(str, detail["loc"]))
    place = f" in `{inner}`" if kind == "invalid-json-value" and inner != key else ""
    return f"`{key}` must be {_allowed(field)}. Received: {received}{place}."


def _unknown(path: list[str], root: type[pydantic.BaseModel], noun: str) -> str:
    *parents, last = path  # a key may hold dots itself
    key, parent = ".".join(path), ".".join(parents)
    section = root
    for name in parents:
        section = _section(_fields(section)[name].annotation) or section
    near = difflib.get_close_matches(last, _names(section), n=1, cutoff=0.6)
    guess = [f"{parent}.{near[0]}" if parent else near[0]] if near else []
    if not guess:
        paths = list(_paths(root))
        same = [path for path in paths if path.rpartition(".")[2] == last]
        guess = same[:1] or difflib.get_close_matches(key, paths, n=1, cutoff=0.5)
    hint = f" Did you mean '{guess[0]}'?" if guess else ""
    place = f"`{parent}`" if parent else f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
    return f"Unknown key '{key}'.{hint} Known keys of {place}: {', '.join(_names(section))}."


def _fields(model: type[pydantic.BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _names(model: type[pydantic.BaseModel]) -> list[str]:
    return list(_fields(model))


def _paths(model: type[pydantic.BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in _fields(model).items():
        yield prefix + name
        section = _section(field.annotation)
        if section is not None:
            yield from _paths(section, f"{prefix}{name}.")


def _section(annotation: Any) -> type[pydantic.BaseModel] | None:
    """Return the model in `Model` or `Model | None`."""
    for kind in (annotation, *typing.get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
            return kind
    return None


def _find(root: type[pydantic.BaseModel], location: tuple[Any, ...]) -> tuple[list[str], FieldInfo | None]:
    """Return the path of the field an error belongs to, and the field, or None if there is no such key."""
    section: type[pydantic.BaseModel] | None = root
    path: list[str] = []
    field: FieldInfo | None = None
    for part in location:
        if section is None:
            break
        if part not in _fields(section):
            # Inside of a union pydantic adds the name of the member it tried.
            if part == section.__name__ and path:
                continue
            return [*path, str(part)], None
        field = _fields(section)[part]
        path.append(str(part))
        section = _section(field.annotation)
    return path, field


def _allowed(field: FieldInfo) -> str:
    """Return in words what a field takes."""
    if field.description:
        return field.description
    return _kind(field.annotation, field.metadata)


def _kind(annotation: Any, metadata: Any) -> str:
    origin, members = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        extra = [item for part in members[1:] for item in getattr(part, "metadata", [part])]
        return _kind(members[0], [*metadata, *extra])
    if origin in (typing.Union, types.UnionType):
        kinds = [_kind(member, metadata) for member in members if member is not type(None)]
        return " or ".join([*kinds, *(["null"] if type(None) in members else [])])
    if origin is typing.Literal:
        names = [repr(name) for name in members]
        return f"one of {', '.join(names)}" if len(names) > 1 else names[0]
    if _section(annotation) is not None:
        return f"a mapping with the keys {', '.join(_names(_section(annotation) or annotation))}"
    return _PLAIN.get(annotation, "plain data") + _bounds(metadata)


def _bounds(metadata: Any) -> str:
    low = next((item.ge for item in metadata if isinstance(item, annotated_types.Ge)), None)
    above = next((item.gt for item in metadata if isinstance(item, annotated_types.Gt)), None)
    high = next((item.le for item in metadata if isinstance(item, annotated_types.Le)), None)
    parts = [f" from {low:g}" if low is not None else "", f" above {above:g}" if above is not None else ""]
    if high is not None:
        high = f"{high:d}" if isinstance(high, int) else f"{high:g}"
        parts.append(f" {'to' if low is not None else 'and up to'} {high}")
    return "".join(parts)
