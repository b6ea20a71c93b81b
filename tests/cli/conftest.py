"""Command lines run in this process, a tiny Speech Commands, and one tiny trained run for all tests of this folder."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from analognets.cli import app

TINY = (
    *("--set", "batch_size=10", "--set", "sampling.steps=2", "--set", "model.options.widths=[4,4,4,4,4]"),
    *("--set", "float.epochs=1", "--set", "hardware_aware.epochs=1"),
)


class Answer(NamedTuple):
    """What a command line gave."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The only error line; fails if there is none, or more than one."""
        lines = [line for line in self.err.splitlines() if line.startswith("Error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        assert not lines[0].startswith("Error: Unexpected"), self.err
        return lines[0].removeprefix("Error: ")


Call = Callable[..., Answer]


@pytest.fixture(scope="session")
def call() -> Call:
    """Return a function that runs a command line in this process."""

    def call(*words: object) -> Answer:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
            app.main([str(word) for word in words])
        return Answer(int(stop.value.code or 0), out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="session")
def recordings() -> ModuleType:
    """Return the module that writes small data sets in the layout of the official archives."""
    path = Path(__file__).parents[1] / "datasets" / "conftest.py"
    spec = importlib.util.spec_from_file_location("tiny_speech_commands", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANALOGNETS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def speech(recordings: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny Speech Commands; not to be changed."""
    return recordings.build_tree(tmp_path_factory.mktemp("speech"))


@pytest.fixture(scope="session")
def first_training(call: Call, speech: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    """Return the folder and the answer of the one training that most tests share."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    answer = call("train", "kws", "--data", speech, *TINY, "--out", folder, "--json")
    assert answer.code == 0, answer.err
    return folder, answer


@pytest.fixture
def trained(first_training: tuple[Path, Answer], tmp_path: Path) -> Path:
    """Return a copy of the trained run."""
    return Path(shutil.copytree(first_training[0], tmp_path / "trained"))


@pytest.fixture
def environment() -> dict[str, str]:
    """Return the environment of a newcomer's shell, for commands run as processes of their own."""
    return {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
