"""The house rules that a reader can rely on: who imports whom, how long a file gets, what stands in public modules."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OUTER = ("zoo", "datasets", "deploy")
BASE = frozenset({"errors", "units", "_version"})

# Which rooms a room may import; every room may import itself and BASE.
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "core": set(),
    "units": {"errors"},
    "_version": set(),
    # Figures of merit in plain NumPy: at the bottom, so that training, benchmarks and sweeps judge by one definition.
    "metrics": {"errors"},
    "devices": {"core"},
    "crossbar": {"core", "devices"},
    "layers": {"core", "devices", "crossbar"},
    "conversion": {"core", "devices", "crossbar", "layers"},
    "synapses": {"core", "devices", "crossbar", "layers", "conversion"},
    "spiking": {"core", "devices", "crossbar", "layers", "conversion", "synapses"},
    "datasets": {"core"},
    "training": {"core", "devices", "crossbar", "layers", "conversion", "synapses", "datasets", "metrics"},
}
ROOMS["zoo"] = {*ROOMS} - BASE
ROOMS["deploy"] = {*ROOMS} - BASE
ROOMS["cli"] = {*ROOMS} - BASE
ROOMS["__main__"] = {"cli"}
ROOMS["__init__"] = {"_version", "datasets"}

KERAS_ONLY = ("devices", "crossbar", "layers")
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60
# Methods that Keras, Python or typer call, and whose meaning their documentation gives.
DOCUMENTED_ELSEWHERE = {
    "build", "call", "get_config", "from_config", "get_build_config", "build_from_config", "compute_output_shape",
    "compute_output_spec", "save_own_variables", "load_own_variables", "on_train_begin", "on_train_end",
    "on_epoch_begin", "on_epoch_end", "on_train_batch_begin", "on_train_batch_end", "main", "invoke", "resolve_command",
}  # fmt: skip


@cache
def package_files() -> dict[str, Path]:
    """Return every module of the package by its dotted name; the outer folders are read where they really are."""
    files = {}
    for folder in ("analognets", *OUTER):
        prefix = () if folder == "analognets" else ("analognets",)
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if folder == "analognets" and len(parts) > 2 and parts[1] in OUTER:
                continue
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            files[".".join((*prefix, *parts))] = path
    return files


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Yield the dotted names that import statements name: `from a import b` gives both a and a.b."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_import_time(node: ast.AST) -> Iterator[ast.AST]:
    """Walk what runs when a module is imported: no function bodies, nothing for type checkers only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from at_import_time(child)


def check_rooms(module: str, source: ast.Module) -> list[str]:
    room = room_of(module)
    if room not in ROOMS:
        return [f"{module}: room '{room}' is not in the table of rooms"]
    allowed = ROOMS[room] | BASE | {room}
    named = {name for name in imports(ast.walk(source)) if name.startswith("analognets.")}
    return [
        f"{module} imports {name}, which does not stand below it"
        for name in sorted(named)
        if room_of(name) not in allowed
    ]


def test_imports_point_downwards() -> None:
    assert not [fault for module, path in package_files().items() for fault in check_rooms(module, tree(path))]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("analognets.devices.pcm", "from analognets.crossbar import mapping"),
        ("analognets.devices.pcm", "def f():\n    import analognets.layers"),
        ("analognets.datasets.base", "from analognets import devices"),
        ("analognets.zoo.networks.kws", "from analognets.deploy.chips.chips import program"),
        ("analognets.nowhere.x", "import os"),
    ],
)
def test_the_room_check_sees_a_breach(module: str, line: str) -> None:
    assert check_rooms(module, ast.parse(line))


def when_it_runs(node: ast.AST) -> Iterator[ast.AST]:
    """Walk all code of a module, function bodies too, but for what type checkers alone read."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield child
            yield from when_it_runs(child)


def needed_modules(source: ast.Module, modules: Iterable[str]) -> set[str]:
    """Return the modules that a module imports, at its top or inside a function."""
    found: set[str] = set()
    for node in when_it_runs(source):
        names = list(imports(iter([node])))
        submodules = [name for name in names[1:] if name in modules]
        whole = isinstance(node, ast.ImportFrom) and len(submodules) == len(names) - 1
        found.update(submodules if whole else names)
    return found & {*modules}


def test_no_import_cycles_not_even_inside_functions() -> None:
    modules = package_files()
    graph = {module: needed_modules(tree(path), modules) - {module} for module, path in modules.items()}
    graphlib.TopologicalSorter(graph).prepare()


def test_the_cycle_check_sees_an_import_inside_a_function() -> None:
    source = ast.parse("def f():\n    from analognets.deploy import lab\n    from analognets.deploy.lab import targets")
    assert needed_modules(source, ["analognets.deploy", "analognets.deploy.lab", "analognets.deploy.lab.targets"]) == {
        "analognets.deploy.lab",
        "analognets.deploy.lab.targets",
    }


def test_no_module_of_the_command_line_imports_a_command() -> None:
    from analognets.cli.app import COMMANDS

    commands = {command.target.partition(":")[0] for command in COMMANDS.values()}
    assert len(commands) > 10
    for module, path in package_files().items():
        if room_of(module) == "cli":
            assert not needed_modules(tree(path), commands) - {module}, module


@pytest.mark.parametrize("room", KERAS_ONLY)
def test_core_rooms_never_name_tensorflow(room: str) -> None:
    for module, path in package_files().items():
        if room_of(module) == room:
            roots = {name.split(".")[0] for name in imports(ast.walk(tree(path)))}
            assert not roots & {"tensorflow", "tf_keras", "jax", "torch"}, module


def python_files() -> list[Path]:
    extra = [path for folder in ("tests", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]
    return [*package_files().values(), *extra]


def test_keras_is_never_reached_through_tensorflow() -> None:
    for path in python_files():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Attribute) and node.attr == "keras" and isinstance(node.value, ast.Name):
                assert node.value.id not in ("tf", "tensorflow"), f"{path}:{node.lineno}"
        assert not [name for name in imports(ast.walk(tree(path))) if name.startswith("tensorflow.keras")], path


def test_files_are_short() -> None:
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}
    assert not {path: lines for path, lines in lengths.items() if lines > MAX_FILE_LINES}


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function from `def` to its end, its docstring not counted."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def test_functions_are_short() -> None:
    long = [
        f"{path}:{node.lineno} {node.name}: {code_lines(node)} lines"
        for path in python_files()
        for node in ast.walk(tree(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and code_lines(node) > MAX_FUNCTION_LINES
    ]
    assert not long


def public_modules() -> list[tuple[str, Path]]:
    return [
        (module, path)
        for module, path in package_files().items()
        if not any(part.startswith("_") for part in module.split("."))
    ]


@cache
def exported(path: Path) -> list[str] | None:
    for node in tree(path).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "__all__":
            return ast.literal_eval(node.value)  # type: ignore[attr-defined]
        if isinstance(target, ast.Tuple) and "__all__" in map(ast.unparse, target.elts):
            return []  # made by lazy_loader; tests/test_packaging.py asks for every name of it
    return None


def defined(path: Path) -> set[str]:
    names: set[str] = set()
    for node in at_import_time(tree(path)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return names | {getattr(node, "name", "") for node in tree(path).body}


def test_public_modules_say_what_they_export() -> None:
    assert not [module for module, path in public_modules() if exported(path) is None]


def test_what_is_exported_is_defined() -> None:
    for module, path in public_modules():
        lazy = {"__getattr__"} <= defined(path)
        missing = set(exported(path) or ()) - defined(path)
        assert lazy or not missing, f"{module} exports {sorted(missing)}, which it does not define"


def test_public_methods_have_docstrings_of_their_own_or_their_base() -> None:
    classes = {
        node.name: node
        for path in package_files().values()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef)
    }

    def methods(owner: ast.ClassDef) -> dict[str, ast.FunctionDef]:
        return {node.name: node for node in owner.body if isinstance(node, ast.FunctionDef)}

    def documented(owner: ast.ClassDef, name: str) -> bool:
        own = methods(owner).get(name)
        bases = [classes[base] for base in map(ast.unparse, owner.bases) if base in classes and base != owner.name]
        return (own is not None and ast.get_docstring(own) is not None) or any(documented(base, name) for base in bases)

    bare = [
        f"{path}:{node.lineno} {owner.name}.{name}"
        for _, path in public_modules()
        for owner in tree(path).body
        if isinstance(owner, ast.ClassDef) and not owner.name.startswith("_")
        for name, node in methods(owner).items()
        if not name.startswith("_") and name not in DOCUMENTED_ELSEWHERE and not documented(owner, name)
    ]
    assert not bare


def test_no_path_of_some_machine_is_named() -> None:
    machine = ("/" + "work/", "/" + "root/", "/" + "home/")
    suffixes = {".py", ".md", ".toml", ".yaml", ".json", ".ipynb", ".csv"}
    folders = ("analognets", *OUTER, "tests", "benchmarks", "notebooks", ".ci")
    texts = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in suffixes]
    for path in [*texts, *ROOT.glob("*.md"), ROOT / "Makefile", ROOT / "pyproject.toml"]:
        text = path.read_text(encoding="utf-8")
        assert not [place for place in machine if place in text], path
