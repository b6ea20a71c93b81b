"""The documentation site: its reference has every public name, and the links of its sources lead somewhere.

`make docs` builds the site with warnings as errors and checks the links of what it built; here is what takes no Sphinx.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
MODULES = (
    "made", "public_names", "docstrings", "api_pages", "results_pages", "reconstructions", "tutorials", "check_site",
    "colab",
)  # fmt: skip
HOW_TO = (
    "own-model", "finetune-words", "choose-bits", "add-a-device", "read-a-chip", "microcontroller", "cluster", "jax",
    "gpus", "compare-simulators", "promise-a-yield", "reproduce-a-paper", "share-a-preset", "reports",
    "track-experiments", "exchange", "fit-a-device",
)  # fmt: skip


@pytest.fixture(scope="module")
def site() -> Iterator[ModuleType]:
    """The modules that make the site, as attributes, without leaving their folder on the path."""
    sys.path.insert(0, str(DOCS / "_sphinx"))
    try:
        found = ModuleType("site")
        for name in MODULES:
            setattr(found, name, importlib.import_module(name))
        yield found
    finally:
        sys.path.remove(str(DOCS / "_sphinx"))
        for name in MODULES:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def names(site: Any) -> Any:
    return site.public_names.PublicNames(ROOT)


def test_the_names_are_those_of_all(names: Any) -> None:
    """Rooms that load on first use are asked, all other modules say it in their source."""
    import analognets

    assert sorted(names.shown("analognets")) == sorted(analognets.__all__)
    for room in ("datasets", "deploy", "deploy.export", "deploy.lab", "deploy.stream", "zoo", "zoo.presets"):
        module = importlib.import_module(f"analognets.{room}")
        assert sorted(names.shown(module.__name__)) == sorted(module.__all__), room
    assert len(names.files) > 200
    assert [module for module in names.files if names.shown(module)] == [
        module for module in names.files if module not in ("analognets.core", "analognets.__main__")
    ]


def test_the_reference_has_every_public_name_once(site: Any, names: Any) -> None:
    described: list[str] = []
    for module in names.files:
        text = site.api_pages.page(names, module)
        described += re.findall(r"^\.\. auto(?:class|exception|function|data):: (\S+)$", text, re.MULTILINE)
        for entry in names.entries(module):
            assert f"`{entry.name} <" in text, f"{module}.{entry.name} is not on its page"
    assert len(described) == len(set(described))
    wanted = {
        f"{names.places[entry.key]}.{entry.name}"
        for module in names.files
        for entry in names.entries(module)
        if entry.kind != "module"
    }
    assert set(described) == wanted


def test_names_are_documented_where_users_import_them(names: Any) -> None:
    places = {name: place for (_, name), place in names.places.items()}
    assert places["to_analog"] == "analognets"
    assert places["PCM"] == "analognets.devices"
    assert places["program_with"] == "analognets.crossbar"
    assert places["Chips"] == "analognets.deploy"
    assert places["load_preset"] == "analognets.zoo"


def test_classes_and_functions_have_a_summary(names: Any) -> None:
    bare = [
        f"{module}.{entry.name}"
        for module in names.files
        for entry in names.entries(module)
        if entry.kind != "data" and not entry.summary
    ]
    assert not bare


@pytest.mark.parametrize(
    ("text", "rst"),
    [
        ("nu = |mu + sigma * N2|", r"nu = \|mu + sigma \* N2\|"),
        ("the `crossbar` of a layer_", r"the ``crossbar`` of a layer\_"),
        ("`a|b`s and a_b", r"``a|b``\ s and a_b"),
    ],
)
def test_docstrings_keep_their_signs(site: Any, text: str, rst: str) -> None:
    assert site.docstrings.to_rst([text]) == [rst]


def test_equations_stay_as_they_stand(site: Any) -> None:
    lines = ["First line.", "", "With g:", "", "    G = max(0, g * N1)", "        + |x|", "", "Args:", "    g: a * b."]
    assert site.docstrings.to_rst(lines) == [
        "First line.", "", "With g:", "", "::", "", "    G = max(0, g * N1)", "        + |x|", "", "Args:",
        r"    g: a \* b.",
    ]  # fmt: skip


def pages() -> list[Path]:
    return sorted(path for path in DOCS.rglob("*.md") if not made(path.relative_to(DOCS)))


def made(path: Path) -> bool:
    return path.parts[0] in ("api", "results", "reference", "tutorials", "figures", "_build", "executed")


def exists_after_the_build(target: Path, site: Any, names: Any) -> bool:
    """Whether a path in the site is that of a source, or of a page that the build makes."""
    if not made(target.relative_to(DOCS)):
        return target.is_file()
    folder, name = target.relative_to(DOCS).parts[0], target.name
    if folder == "api":
        return name in names.files
    if folder == "results":
        slugs = {f"{site.results_pages.slug(title)}.md" for title in site.results_pages.sections(ROOT)}
        return name == "index.md" or name in slugs or (ROOT / "results" / name).is_file()
    if folder == "tutorials":
        return name == "index.md" or (ROOT / "notebooks" / name).is_file()
    if folder == "figures":
        return f'"{target.stem}"' in (DOCS / "_sphinx" / "concept_figures.py").read_text("utf-8")
    return folder == "reference" and name in ("commands.md", "presets.md", "names.md")


def test_links_of_the_pages_lead_somewhere(site: Any, names: Any) -> None:
    broken = []
    for page in pages():
        text = page.read_text("utf-8")
        for address in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
            if not address.startswith("http"):
                target = (page.parent / address).resolve()
                if not (target.is_relative_to(DOCS) and exists_after_the_build(target, site, names)):
                    broken.append(f"{page.name}: {address}")
        for block in re.findall(r"```\{toctree\}(.*?)```", text, re.DOTALL):
            for name in re.findall(r"^(?!:)(?:\w+ <)?([^\s>]+)>?$", block, re.MULTILINE):
                target = (page.parent / (name if name.startswith("api/") else f"{name}.md")).resolve()
                if not exists_after_the_build(target, site, names):
                    broken.append(f"{page.name}: {name}")
    assert not broken
    assert {path.stem for path in pages() if path.parent.name == "howto"} == set(HOW_TO)


def test_roles_name_public_names(names: Any) -> None:
    shown = {f"{module}.{entry.name}" for module in names.files for entry in names.entries(module)} | set(names.files)
    documented = {f"{place}.{name}" for (_, name), place in names.places.items()} | set(names.files)
    for page in pages():
        for target in re.findall(r"\{py:\w+\}`(?:[^`<]*<)?~?([\w.]+)>?`", page.read_text("utf-8")):
            owner = target.rpartition(".")[0]
            assert target in documented or owner in documented, f"{page.name}: {target}, {target in shown}"


def test_pages_name_no_path_of_some_machine() -> None:
    for path in [*pages(), *(DOCS / "_sphinx").glob("*.py"), DOCS / "conf.py"]:
        assert not re.search(r"(?<![\w.])/(?:home|root|work)/", path.read_text("utf-8")), path


def test_the_first_page_answers_questions() -> None:
    """A stranger's questions, each with the page that answers it: one click from the first page."""
    text = (DOCS / "index.md").read_text("utf-8")
    assert len(re.findall(r"^\| [^|]+\? \| \[[^|]+\]\([^)]+\) \|$", text, re.MULTILINE)) >= 5


def test_figures_of_pages_come_from_files(site: Any) -> None:
    known = {*site.results_pages.tables(ROOT), "reconstructions"}
    known |= {"equation_tile", "equation_converter", "equation_pcm", "equation_compensation"}
    used = {name for page in pages() for name in re.findall(r"\{\{ (\w+) \}\}", page.read_text("utf-8"))}
    assert used and used <= known
    typed = {page.name: re.findall(r"\d+\.\d+ %|\d\.\d+ points", page.read_text("utf-8")) for page in pages()}
    assert not {page: found for page, found in typed.items() if found}


def test_equations_and_reconstructions_are_those_of_the_code(site: Any, names: Any) -> None:
    equation = site.reconstructions.equation
    assert "ADC( F( DAC(a x / alpha), W / gamma ) )" in equation(ROOT / "analognets/crossbar/forward.py", "Tile")
    assert "sigma_prog" in equation(ROOT / "analognets/devices/pcm.py", "PCM")
    assert "`analognet_kws <analognets.zoo.analognet_kws>`" in site.reconstructions.reconstructions(names)


def test_executed_notebooks_have_outputs_and_no_traces_of_a_machine(site: Any) -> None:
    kept = sorted((DOCS / "executed").glob("*.ipynb"))
    for path in kept:
        text = path.read_text("utf-8")
        notebook = json.loads(text)
        assert (ROOT / "notebooks" / path.name).is_file(), f"{path.name} is no notebook any more: remove it"
        assert notebook["metadata"]["analognets_mode"] in site.tutorials.NOTES
        outputs = [one for cell in notebook["cells"] for one in cell.get("outputs", [])]
        assert outputs and not [one for one in outputs if one["output_type"] == "error"]
        assert not re.search(r"/(?:home|root|work)/", text), path.name


def test_a_changed_notebook_counts_as_not_executed(site: Any, tmp_path: Path) -> None:
    notebook = {"cells": [{"cell_type": "code", "source": ["1 + 1"], "outputs": []}], "metadata": {}}
    (tmp_path / "n.ipynb").write_text(json.dumps(notebook))
    kept = tmp_path / "executed"
    assert not site.tutorials.stored(tmp_path / "n.ipynb", kept)
    site.tutorials.keep(notebook, kept / "n.ipynb", "fast")
    assert site.tutorials.stored(tmp_path / "n.ipynb", kept)
    notebook["cells"][0]["source"] = "1 + 2"
    (tmp_path / "n.ipynb").write_text(json.dumps(notebook))
    assert not site.tutorials.stored(tmp_path / "n.ipynb", kept)


def test_notebooks_open_in_colab_once_there_is_a_public_repository(site: Any, tmp_path: Path) -> None:
    jupytext = pytest.importorskip("jupytext", reason="needs the extra `notebooks`")
    for path in (ROOT / "notebooks").glob("0[1-3]*"):
        (tmp_path / "notebooks").mkdir(exist_ok=True)
        (tmp_path / "notebooks" / path.name).write_bytes(path.read_bytes())
    project = tmp_path / "pyproject.toml"
    project.write_bytes((ROOT / "pyproject.toml").read_bytes())
    site.colab.put(tmp_path)
    for path in (tmp_path / "notebooks").iterdir():
        assert path.read_bytes() == (ROOT / "notebooks" / path.name).read_bytes(), "run: python docs/_sphinx/colab.py"
    plain = project.read_text("utf-8").partition("[project.urls]")[0]
    project.write_text(f'{plain}\n[project.urls]\nRepository = "https://github.com/someone/analognets"\n')
    for _ in range(2):
        site.colab.put(tmp_path)
        for source in (tmp_path / "notebooks").glob("*.py"):
            notebook = json.loads(source.with_suffix(".ipynb").read_text("utf-8"))
            cells = ["".join(cell["source"]) for cell in notebook["cells"]]
            assert cells == [cell.source for cell in jupytext.read(source).cells]
            address = "https://colab.research.google.com/github/someone/analognets/blob/main/notebooks/"
            assert (
                cells[0].count("[Open in Colab][colab]") == 1 and cells[0].count(f"{address}{source.stem}.ipynb") == 1
            )
    project.write_text(plain)
    assert not site.colab.repository(tmp_path)
    site.colab.put(tmp_path)
    assert "colab" not in (tmp_path / "notebooks" / "01_quickstart.py").read_text("utf-8")


def test_what_did_not_change_is_not_written(site: Any, tmp_path: Path) -> None:
    site.made.fill(tmp_path, {"a.md": "a", "b.md": "b"})
    before = (tmp_path / "a.md").stat().st_mtime_ns
    site.made.fill(tmp_path, {"a.md": "a", "c.png": b"c"})
    assert (tmp_path / "a.md").stat().st_mtime_ns == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.md", "c.png"]


def test_the_link_check_sees_what_is_broken(site: Any, tmp_path: Path) -> None:
    (tmp_path / "b.html").write_text('<h1 id="there">B</h1>')
    (tmp_path / "a.html").write_text(
        '<a href="b.html#there">1</a><a href="b.html#gone">2</a><a href="c.html">3</a><a href="https://x.org/">4</a>'
        '<script src="https://cdn.org/x.js"></script>'
    )
    found = list(site.check_site.broken_links(tmp_path))
    assert [line.partition(": ")[2] for line in found] == [
        "loads https://cdn.org/x.js", "b.html#gone has no such place", "c.html does not exist",
    ]  # fmt: skip
