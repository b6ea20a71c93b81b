"""Every entry point has examples in its docstring, and all examples of docstrings give what they say.

An entry point is a function or class that a package of analognets shows, or that a page, a notebook or the README
calls. What examples use without making it stands in shared_names.py.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest

import analognets

ROOT = Path(__file__).resolve().parents[2]
# Modules that are no packages, and all of whose functions and classes users call.
CALLED = ("analognets.metrics", "analognets.units")
SUITES = "analognets.deploy.studies.suites.suite"
GIVEN = {"keras": keras, "np": np, "analognets": analognets, "__name__": "__main__"}

WITHOUT = {
    ("analognets.deploy.stream.blocks", "Microphone"): "needs a microphone",
    ("analognets.deploy.export.qat", "to_litert_qat"): "trains for half a minute in another process",
    ("analognets.zoo.presets.uploading", "upload_preset"): "needs a token and the Hugging Face Hub",
    ("analognets.zoo.networks.bert_weights", "load_bert_weights"): "needs a published file",
    ("analognets.datasets.glue", "load_glue"): "needs the files of GLUE and a tokenizer",
    ("analognets.conversion.from_onnx.load", "load_onnx"): "needs the extra `onnx`",
    ("analognets.deploy.export.onnx_file", "to_onnx"): "needs the extra `onnx`",
    ("analognets.spiking.from_nir", "from_nir"): "needs the extra `nir`",
    ("analognets.spiking.to_nir", "to_nir"): "needs the extra `nir`",
    ("analognets.datasets.espeak", "speak"): "needs the extra `speech`",
    ("analognets.zoo.experiments.letters", "prepare_letters"): "needs the extra `speech`",
    ("analognets.zoo.experiments.letters", "train_letters"): "trains for a minute",
}


def loaded(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NAMES = loaded("names_of_the_reference", ROOT / "docs" / "_sphinx" / "public_names.py").PublicNames(ROOT)
RUN = [name for name, path in NAMES.files.items() if path.is_file() and ">>> " in path.read_text("utf-8")]


@cache
def entry_points() -> dict[tuple[str, str], str]:
    """Return entry points by the module that defines them and their name, with a place where they are shown."""
    found: dict[tuple[str, str], str] = {}
    callable_names = {
        (module, entry.name): entry
        for module in NAMES.files
        for entry in NAMES.entries(module)
        if entry.kind in ("class", "function")
    }
    for (module, name), entry in callable_names.items():
        if NAMES.is_package(module) or module in CALLED:
            found.setdefault(entry.key, f"{module}.{name}")
    for path in (*ROOT.glob("notebooks/*.py"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/*/*.md"), ROOT / "README.md"):
        for place in called_in(path.read_text("utf-8")):
            if entry := callable_names.get(place):
                found.setdefault(entry.key, ".".join(place))
    return found


def called_in(text: str) -> Iterator[tuple[str, str]]:
    """Yield what a text imports or names of the package: (module, name)."""
    for module, names in re.findall(r"from (analognets[\w.]*) import ([\w, ]+)", text):
        yield from ((module, name) for name in re.findall(r"\w+", names))
    for path in re.findall(r"\b(?:an|analognets)((?:\.\w+)+)", text):
        parts = ["analognets", *path.strip(".").split(".")]
        yield from ((".".join(parts[:end]), parts[end]) for end in range(1, len(parts)))


def bare(points: Mapping[tuple[str, str], str]) -> dict[str, tuple[str, str]]:
    """Return the entry points whose docstring has no example that is run."""
    return {
        place: (module, name)
        for (module, name), place in points.items()
        if not re.search(r"^ +>>> (?!.*doctest: \+SKIP)", docstrings(module)[name], re.MULTILINE)
    }


@cache
def docstrings(module: str) -> dict[str, str]:
    """Return the docstrings of a module's functions and classes by name."""
    source = ast.parse(NAMES.files[module].read_text("utf-8"))
    nodes = [one for one in source.body if isinstance(one, (ast.ClassDef, ast.FunctionDef))]
    return {node.name: ast.get_docstring(node) or "" for node in nodes}


def test_every_entry_point_has_an_example() -> None:
    points = entry_points()
    assert len(points) > 250
    missing = {place: key for place, key in bare(points).items() if key not in WITHOUT}
    assert not missing, "give these an `Examples:` block that tests/docs/test_examples.py runs"
    assert set(WITHOUT) <= set(points) and len(WITHOUT) < 16


def test_the_check_sees_an_entry_point_without_one() -> None:
    assert bare({("analognets.core.markdown", "markdown"): "analognets.core.markdown.markdown"})
    assert not bare({("analognets.metrics", "chance_error"): "analognets.metrics.chance_error"})
    assert ("analognets.deploy", "sweep") in set(called_in("import analognets as an\nan.deploy.sweep(1)"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    module = loaded("names_of_examples", Path(__file__).with_name("shared_names.py"))
    return module.SharedNames(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def as_it_was(request: pytest.FixtureRequest) -> Iterator[None]:
    """Take out of registries what examples put there: those of their own module, and of suites."""
    modules = [importlib.import_module(one) for one in (request.getfixturevalue("name"), SUITES)]
    tables = [table for one in modules for key, table in vars(one).items() if type(table) is dict and key[:2] != "__"]
    before = [dict(table) for table in tables]
    yield
    for table, content in zip(tables, before, strict=True):
        if table.keys() != content.keys():
            table.clear()
            table.update(content)


@pytest.mark.usefixtures("as_it_was")
@pytest.mark.parametrize("name", RUN)
def test_examples_give_what_they_say(
    name: str, shared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(name)
    monkeypatch.setenv("ANALOGNETS_CACHE", str(tmp_path / "cache"))
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    run = set()
    for number, test in enumerate(doctest.DocTestFinder(exclude_empty=True).find(module, name)):
        if test.examples:
            (tmp_path / str(number)).mkdir()
            monkeypatch.chdir(tmp_path / str(number))
            words = re.findall(r"\w+", "".join(example.source for example in test.examples))
            test.globs = {**vars(module), **GIVEN, **shared.used_in(words)}
            keras.utils.set_random_seed(0)
            runner.run(test)
            run.add(test.name.removeprefix(f"{name}."))
    assert not runner.failures, capsys.readouterr().out
    assert {point for place, point in entry_points() if place == name and (place, point) not in WITHOUT} <= run
