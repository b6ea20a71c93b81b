"""Which names the package shows, where they are defined, and where the reference documents them. Imports nothing.

The `__all__` of each public module is read from its source; where a package loads on first use, from its stub file or
from what it tells lazy_loader.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

__all__ = ["Entry", "PublicNames"]

LINKED = ("zoo", "datasets", "deploy")
"""Sub-packages that are symlinks to folders beside the package."""

LEFT_OUT = ("analognets.cli",)
"""The command line is documented by its own help, page `commands`."""

WITHOUT_DOCSTRING = {"analognets.datasets": "Loaders of data sets, front ends and augmentation."}
"""The package without an `__init__.py`, which would hide another package of its name."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A public name.

    Args:
        module: that shows it in its `__all__`.
        name: of it.
        origin: module in which it is defined.
        kind: "class", "exception", "function", "data" or "module".
        summary: first line of its docstring.
    """

    module: str
    name: str
    origin: str
    kind: str
    summary: str

    @property
    def key(self) -> tuple[str, str]:
        """What tells the same object apart that several modules show."""
        return self.origin, self.name


def _first_line(node: Any) -> str:
    return (ast.get_docstring(node) or "").strip().partition("\n")[0]


@dataclasses.dataclass(frozen=True)
class Source:
    """What the source of a module says of its names.

    Args:
        summary: first line of its docstring.
        shown: its `__all__`.
        defined: kind and summary of its classes and functions, and of data with a text below it.
        imported: names that it imports, with the module that each is from.
    """

    summary: str = ""
    shown: list[str] = dataclasses.field(default_factory=list)
    defined: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    imported: dict[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> Source:
        """Read a source; the syntax tree, which is large, is dropped at once."""
        tree = ast.parse(text)
        found = cls(_first_line(tree))
        for node, after in zip(tree.body, [*tree.body, None][1:], strict=True):
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if isinstance(target, ast.Name) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                found.defined[target.id] = "data", str(after.value.value).strip().partition("\n")[0]
            if isinstance(node, ast.ClassDef):
                kind = "exception" if node.name.endswith(("Error", "Warning")) else "class"
                found.defined[node.name] = kind, _first_line(node)
            elif isinstance(node, ast.FunctionDef):
                found.defined[node.name] = "function", _first_line(node)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.imported.update((alias.asname or alias.name, node.module) for alias in node.names)
            elif isinstance(target, ast.Name) and target.id == "__all__":
                found.shown.extend(ast.literal_eval(node.value))  # type: ignore[attr-defined]
        return found


class PublicNames:
    """The public modules of the package in a repository, and their names.

    Args:
        root: folder of the repository.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def files(self) -> dict[str, Path]:
        """Every public module by its dotted name; a package without `__init__.py` by its folder."""
        found: dict[str, Path] = {}
        for path in self._sources():
            parts = list(path.relative_to(self.root).with_suffix("").parts)
            if parts[0] in LINKED:
                parts.insert(0, "analognets")
            if parts[-1] == "__init__":
                parts.pop()
            if not any(part.startswith("_") for part in parts):
                found[".".join(parts)] = path
        found.setdefault("analognets.datasets", self.root / "datasets")
        return {name: path for name, path in sorted(found.items()) if not name.startswith(LEFT_OUT)}

    def _sources(self) -> Iterator[Path]:
        for folder in ("analognets", *LINKED):
            for path in sorted((self.root / folder).rglob("*.py")):
                inside = path.relative_to(self.root).parts
                if not (folder == "analognets" and inside[1] in LINKED):
                    yield path

    @cached_property
    def sources(self) -> dict[str, Source]:
        """What each module says of its names."""
        return {
            name: Source.read(path.read_text("utf-8") if path.is_file() else "") for name, path in self.files.items()
        }

    def is_package(self, module: str) -> bool:
        """Whether other modules stand in it."""
        path = self.files[module]
        return path.is_dir() or path.name == "__init__.py"

    def submodules(self, package: str) -> list[str]:
        """Return the public modules directly in a package."""
        depth = package.count(".") + 1
        return [name for name in self.files if name.startswith(package + ".") and name.count(".") == depth]

    def summary(self, module: str) -> str:
        """Return the first line of a module's docstring."""
        return self.sources[module].summary or WITHOUT_DOCSTRING.get(module, "")

    @cached_property
    def _lazy(self) -> dict[str, dict[str, str]]:
        """Names of packages that load on first use, each with the module it comes from."""
        found: dict[str, dict[str, str]] = {}
        for module, path in self.files.items():
            if path.is_file() and "lazy_loader" in (text := path.read_text("utf-8")):
                found |= dict(_attached(module, ast.parse(text)))
                stub = path.with_suffix(".pyi")
                if stub.is_file():
                    found[module] = dict(_stub_names(module, ast.parse(stub.read_text("utf-8"))))
        return found

    def shown(self, module: str) -> list[str]:
        """Return the `__all__` of a module."""
        return sorted(self._lazy[module]) if module in self._lazy else self.sources[module].shown

    def _definition(self, module: str, name: str) -> tuple[str, tuple[str, str] | None]:
        """Return the module that defines a name, and its kind and summary; None for data, and for a module itself."""
        source = self.sources.get(module, Source())
        found = self._lazy.get(module, {}).get(name) or source.imported.get(name)
        if name not in source.defined and found and found != module and f"{found}.{name}" != module:
            return self._definition(found, name)
        if name not in source.defined and f"{module}.{name}" in self.files:
            return f"{module}.{name}", None
        return module, source.defined.get(name)

    @cached_property
    def _entries(self) -> dict[str, list[Entry]]:
        return {module: [self._entry(module, name) for name in self.shown(module)] for module in self.files}

    def entries(self, module: str) -> list[Entry]:
        """Return what a module shows, in the order of its `__all__`."""
        return self._entries[module]

    def _entry(self, module: str, name: str) -> Entry:
        origin, found = self._definition(module, name)
        if found:
            return Entry(module, name, origin, *found)
        if origin in self.files and origin.endswith(f".{name}"):
            return Entry(module, name, origin, "module", self.summary(origin))
        return Entry(module, name, origin, "data", "")

    @cached_property
    def places(self) -> dict[tuple[str, str], str]:
        """Where each object that is no module is documented, by `Entry.key`: the shortest name that users import it by.

        Constants are documented where they are defined, since their text stands there.
        """
        found: dict[tuple[str, str], str] = {}
        for module in self.files:
            for entry in self.entries(module):
                if entry.kind == "module":
                    continue
                best = found.get(entry.key, module)
                if entry.kind == "data" and entry.origin in self.files:
                    found[entry.key] = entry.origin
                else:
                    found[entry.key] = min(best, module, key=lambda one: (one.count("."), len(one), one))
        return found


def _attached(module: str, tree: ast.Module) -> Iterator[tuple[str, dict[str, str]]]:
    """Read the calls of lazy_loader.attach: the package each is for, and its names with the modules they come from."""
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }

    def value(node: ast.expr) -> Any:
        return ast.literal_eval(constants[node.id] if isinstance(node, ast.Name) else node)

    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or ast.unparse(call.func) != "lazy_loader.attach":
            continue
        owner = module if ast.unparse(call.args[0]) == "__name__" else value(call.args[0])
        arguments = dict(zip(("submodules", "submod_attrs"), call.args[1:], strict=False))
        arguments |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
        names = {name: owner for name in (value(arguments["submodules"]) if "submodules" in arguments else ())}
        attributes = value(arguments["submod_attrs"]) if "submod_attrs" in arguments else {}
        yield owner, names | {name: f"{owner}.{one}" for one, several in attributes.items() for name in several}


def _stub_names(package: str, tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            source = ".".join(part for part in (package, node.module) if part)
            yield from ((alias.asname or alias.name, source) for alias in node.names)
