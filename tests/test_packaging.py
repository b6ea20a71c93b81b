"""What users install and what an import costs: outer folders as sub-packages, wheel and sdist, light imports."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import analognets

ROOT = Path(__file__).resolve().parents[1]
OUTER = ("zoo", "datasets", "deploy")
DATA_SUFFIXES = {".pyi", ".yaml", ".json", ".csv", ".tsv", ".txt", ".h5", ".keras", ".safetensors", ".md", ".typed"}


def python(code: str, *, cwd: Path, path: Path | None = None) -> str:
    """Run `code` in a new interpreter in `cwd`, with `path` behind it on sys.path, and return what it prints."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(path or "")}
    environment.pop("PYTHONSAFEPATH", None)
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def outer_modules() -> list[str]:
    return [
        ".".join(("analognets", *path.relative_to(ROOT).with_suffix("").parts))
        for folder in OUTER
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name != "__init__.py"
    ]


@pytest.mark.parametrize("folder", OUTER)
def test_outer_folder_is_linked_into_the_package(folder: str) -> None:
    link = ROOT / "analognets" / folder
    assert link.is_symlink()
    assert os.readlink(link) == f"../{folder}"


def test_no_folder_in_the_root_hides_hugging_faces_datasets() -> None:
    assert not (ROOT / "datasets" / "__init__.py").exists()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the git checkout, not an unpacked archive")
def test_links_are_committed_as_links() -> None:
    paths = [f"analognets/{folder}" for folder in OUTER]
    listed = subprocess.run(
        ["git", "ls-files", "--stage", "--", *paths], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {line.split("\t")[1]: line[:6] for line in listed} == dict.fromkeys(paths, "120000")


def test_outer_modules_import_from_the_repository_root() -> None:
    code = f"""
import importlib.util, sys
for name in {outer_modules()!r}:
    assert importlib.util.find_spec(name) is not None, name
import analognets.zoo.networks.kws
assert "zoo" not in sys.modules
"""
    python(code, cwd=ROOT)


def test_installed_package_of_the_same_name_wins_in_the_root(tmp_path: Path) -> None:
    other = tmp_path / "datasets"
    other.mkdir()
    (other / "__init__.py").write_text("whose = 'theirs'\n")
    assert python("import datasets; print(datasets.whose)", cwd=ROOT, path=tmp_path) == "theirs"


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build the sdist from a copy of the checkout, a wheel from that copy, and a wheel from the sdist."""
    work = tmp_path_factory.mktemp("build")
    copy = work / "copy"
    copy.mkdir()
    junk = shutil.ignore_patterns("__pycache__", "*.pyc")
    for folder in ("analognets", *OUTER):
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=junk)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    build = (
        "import sys; from setuptools import build_meta; print(getattr(build_meta, 'build_' + sys.argv[1])(sys.argv[2]))"
    )

    def make(kind: str, source: Path, target: Path) -> Path:
        target.mkdir()
        run = subprocess.run(
            [sys.executable, "-c", build, kind, str(target)], cwd=source, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
        return target / run.stdout.splitlines()[-1]

    sdist = make("sdist", copy, work / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(work / "unpacked", **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    unpacked = next((work / "unpacked").iterdir())
    return {
        "sdist": sdist,
        "wheel": make("wheel", copy, work / "wheel"),
        "wheel from sdist": make("wheel", unpacked, work / "wheel2"),
    }


def expected_files() -> set[str]:
    """Return every module and data file of the package under the name it is to have when installed."""
    places = [(ROOT / "analognets", "analognets"), *((ROOT / folder, f"analognets/{folder}") for folder in OUTER)]
    return {
        f"{prefix}/{path.relative_to(folder).as_posix()}"
        for folder, prefix in places
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
        if path.suffix in DATA_SUFFIXES | {".py"} or path.parent.name == "built"  # the lab page
    }


@pytest.mark.parametrize("kind", ["wheel", "wheel from sdist"])
def test_wheel_holds_all_modules_and_data_and_no_stray_package(archives: dict[str, Path], kind: str) -> None:
    with zipfile.ZipFile(archives[kind]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == expected_files()
    assert any(name.startswith("analognets/zoo/recipes/") and name.endswith(".yaml") for name in names)
    for name in ("preset.json", "weights.safetensors", "golden.safetensors", "recipe.yaml", "results.csv", "README.md"):
        assert f"analognets/zoo/presets/bundled/analognet_kws.hwa_8bit/{name}" in names
    assert archives[kind].stat().st_size < 15e6


def test_sdist_holds_all_modules_and_data(archives: dict[str, Path]) -> None:
    with tarfile.open(archives["sdist"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert expected_files() <= names
    assert {"LICENSE", "README.md", "pyproject.toml"} <= names


def test_the_package_index_takes_the_archives(archives: dict[str, Path]) -> None:
    pytest.importorskip("twine", reason="needs twine: pip install twine")
    command = [
        sys.executable,
        "-m",
        "twine",
        "check",
        "--strict",
        *(str(archives[kind]) for kind in ("sdist", "wheel")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.count("PASSED") == 2, done.stdout + done.stderr


def test_wheel_works_away_from_the_checkout(archives: dict[str, Path], tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(archives["wheel"]) as wheel:
        wheel.extractall(site)
    code = f"""
import importlib.util, analognets
for name in ["analognets", *{outer_modules()!r}]:
    print(importlib.util.find_spec(name).origin)
"""
    origins = python(code, cwd=tmp_path, path=site).splitlines()
    assert all(Path(origin).is_relative_to(site) for origin in origins)


def test_importing_the_package_imports_nothing_heavy(tmp_path: Path) -> None:
    heavy = ("tensorflow", "keras", "numpy", "librosa", "matplotlib", "pandas")
    code = f"""
import sys, analognets, analognets.errors, analognets.units
print([name for name in {heavy!r} if name in sys.modules])
"""
    assert python(code, cwd=tmp_path) == "[]"


def test_help_of_all_commands_imports_no_tensorflow_and_names_them(tmp_path: Path) -> None:
    code = """
import sys
from analognets.cli.app import COMMANDS, load_command, main
try:
    main(["--help"])
except SystemExit as stop:
    assert not stop.code
for name in COMMANDS:
    load_command(name)
print(sorted(COMMANDS), [name for name in ("tensorflow", "keras", "librosa", "numpy") if name in sys.modules])
"""
    *text, last = python(code, cwd=tmp_path).splitlines()
    commands, _, heavy = last.partition("] ")
    assert heavy == "[]"
    for name in commands.strip("[").replace("'", "").split(", "):
        assert any(f" {name} " in line for line in text), name


def test_help_costs_little_more_than_the_libraries_that_print_it(tmp_path: Path) -> None:
    def seconds(*words: str) -> float:
        """Return the least processor time of several runs; the time on the wall is other processes', too."""
        times = []
        for _ in range(3):
            before = os.times()
            subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, check=True)
            after = os.times()
            times.append(sum(after[2:4]) - sum(before[2:4]))
        return min(times)

    assert seconds("-m", "analognets", "--help") < 3 * seconds("-c", "import typer.rich_utils, rich.table") + 0.1


def test_everything_the_package_shows_is_there() -> None:
    for name in analognets.__all__:
        assert getattr(analognets, name) is not None
        assert name in dir(analognets)
    for room in OUTER:
        door = getattr(analognets, room)
        for name in door.__all__:
            assert getattr(door, name) is not None, f"analognets.{room}.{name}"
            assert name in dir(door)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="No analognets attribute to_digitall"):
        _ = analognets.to_digitall
    with pytest.raises(AttributeError, match=r"No analognets\.zoo attribute analognet_kw"):
        _ = analognets.zoo.analognet_kw
    assert not hasattr(analognets.deploy, "_private")


def test_versions_and_pins_are_those_that_were_measured() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert {"tensorflow>=2.21,<2.22", "keras>=3.15,<3.16"} <= set(project["dependencies"])
    assert not [name for name in project["dependencies"] if name.startswith("tensorflow-cpu")]
    assert analognets.__version__
