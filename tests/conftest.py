"""Fixtures for all tests: fixed seeds, and real data where it is at hand."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

# What a machine or a CI service sets for other purposes: colours where no terminal is, a proxy before our own servers.
for _name in ("FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS", "GITHUB_ACTIONS", "TTY_COMPATIBLE", "COLUMNS", "LINES"):
    os.environ.pop(_name, None)
os.environ.update({"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost", "HF_HUB_OFFLINE": "0"})
os.environ.pop("ANALOGNETS_OFFLINE", None)

# A loaded machine is slow; only what a property says may fail a test.
hypothesis.settings.register_profile("analognets", deadline=None)
hypothesis.settings.load_profile("analognets")

# Python would look for unreachable objects every 700 new ones, among all that TensorFlow has: a tenth of the time.
gc.set_threshold(50_000, 20, 20)

ROOT = Path(__file__).resolve().parents[1]
SPEECH_FOLDERS = ("speech_commands_v0.02", "speech_commands_test_set_v0.02")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        _long_files_first(items)
    if os.environ.get("ANALOGNETS_NETWORK") != "1":
        skip = pytest.mark.skip(reason="needs the internet; set ANALOGNETS_NETWORK=1 to run it")
        for item in items:
            if "network" in item.keywords:
                item.add_marker(skip)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # what the modules of the tests and their imports hold stays until the end


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if nextitem is None or nextitem.path != item.path:
        gc.collect(1)  # the networks of a file, of which few are seen as garbage so far


def _long_files_first(items: list[pytest.Item]) -> None:
    """Order files for the processes of pytest-xdist, so that none of them has a long one left when the others end."""
    slow = {item.path for item in items if "slow" in item.keywords}
    count = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path not in slow, -count[item.path], item.path))


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    """Start every test from the same seed; Keras is seeded only where the test module has imported it."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _no_flush() -> Iterator[None]:
    """Leave out what protects files from power failures only: the disk takes 6 ms, and each file is flushed twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@contextlib.contextmanager
def _without_graphs() -> Iterator[None]:
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.fixture
def op_by_op() -> Iterator[None]:
    """Let a test train without graphs: to trace one takes longer than a few steps of a tiny network.

    For what surrounds the steps: files, messages, going on after an interruption. Other tests train in graphs.
    """
    with _without_graphs():
        yield


@pytest.fixture(scope="module")
def all_op_by_op() -> Iterator[None]:
    """Let all tests and fixtures of a module train without graphs."""
    with _without_graphs():
        yield


# Compilation is nearly all that scripts on JAX wait for, and most of it is what XLA spends on quicker code.
QUICKLY_COMPILED = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"


@pytest.fixture(scope="session")
def on_backend() -> Callable[..., str]:
    """Return a function that runs a script with Keras on another backend and returns what it prints; or skips."""

    def run(backend: str, script: Path, *words: object) -> str:
        if importlib.util.find_spec(backend) is None:
            pytest.skip(f"needs {backend}: pip install {backend}")
        environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, str(script), *map(str, words)]
        for flags in (QUICKLY_COMPILED, ""):
            environment["XLA_FLAGS"] = flags
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1500, check=False)
            if "Unknown flag" not in done.stderr:  # or else of another release of XLA
                break
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Return the folder of real data sets."""
    named = os.environ.get("ANALOGNETS_DATA")
    root = Path(named).expanduser() if named else ROOT.parent / "shared" / "data"
    if not root.is_dir():
        pytest.skip(f"needs real data: set ANALOGNETS_DATA to its folder (looked at {root})")
    return root


@pytest.fixture(scope="session")
def speech_commands_dir(data_root: Path) -> Path:
    """Return a folder that holds Speech Commands as .wav in the layout of the official archives."""
    for folder in (data_root / "speech_commands", data_root):
        if (folder / SPEECH_FOLDERS[0]).is_dir():
            return _as_wav(folder)
    pytest.skip(f"needs Speech Commands: {data_root} holds no {SPEECH_FOLDERS[0]}")


def _as_wav(source: Path) -> Path:
    """Return `source`, or, if its clips are .flac, a folder with the same clips as .wav that later runs find again."""
    clips = [clip for name in SPEECH_FOLDERS for clip in sorted((source / name).rglob("*.flac"))]
    if not clips:
        return source
    listing = "\n".join(f"{clip.relative_to(source)} {clip.stat().st_size}" for clip in clips)
    key = hashlib.sha256(f"{source}\n{listing}".encode()).hexdigest()[:16]
    target = Path(tempfile.gettempdir()) / f"analognets-test-data-{os.getuid()}" / key
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f"{key}-", dir=target.parent))
        try:
            _convert(source, clips, part)
            part.rename(target)  # at once, so that a run cut short leaves nothing that looks whole
        except OSError:
            shutil.rmtree(part, ignore_errors=True)
            if not target.is_dir():  # unless another run was quicker
                raise
    return target


def _convert(source: Path, clips: list[Path], target: Path) -> None:
    import soundfile

    for name in SPEECH_FOLDERS:
        for path in sorted((source / name).rglob("*")):
            place = target / path.relative_to(source)
            if path.is_dir():
                place.mkdir(parents=True, exist_ok=True)
            elif path.suffix != ".flac":
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)

    def to_wav(clip: Path) -> None:
        samples, rate = soundfile.read(clip, dtype="int16")
        soundfile.write(target / clip.relative_to(source).with_suffix(".wav"), samples, rate, subtype="PCM_16")

    with ThreadPoolExecutor() as pool:
        list(pool.map(to_wav, clips))


@pytest.fixture
def each_kill() -> Callable[[Callable[[], object]], Iterator[int]]:
    """Return what kills a writer at each of its file operations in turn, and yields after each kill."""

    def kills(write: Callable[[], object], *, most: int = 3000, step: int = 1) -> Iterator[int]:
        for number in range(0, most, step):
            if not killed_at(number, write):
                return
            yield number
        raise AssertionError(f"more than {most} file operations")

    return kills


def killed_at(number: int, write: Callable[[], object]) -> bool:
    """Call `write` in a fork that dies by SIGKILL just before its file operation of that number; False if it ended."""
    child = os.fork()
    if not child:
        count, code = [0], 1

        def hook(event: str, _: object) -> None:
            if event.startswith(("os.", "shutil.")) or event in ("open", "ctypes.dlsym"):
                count[0] += 1
                if count[0] == number + 1:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(hook)
            write()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the writer failed"
    return os.WIFSIGNALED(status)
