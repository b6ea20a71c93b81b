"""`analognets doctor`: what is installed, what works, and what to do about what does not."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from analognets._version import __version__
from analognets.cli._console import Reporter, quiet_imports
from analognets.cli.options import Json
from analognets.core.backend import check_configured, configured_backend
from analognets.core.provenance import installed_version
from analognets.errors import AnalogNetsError

__all__ = ["doctor"]

PACKAGES = (
    "tensorflow",
    "keras",
    "numpy",
    "scipy",
    "librosa",
    "soundfile",
    "pandas",
    "pydantic",
    "safetensors",
    "typer",
)
EXTRAS = {
    "speech": "espeakng-loader",
    "tfmot": "tensorflow-model-optimization",
    "litert": "ai-edge-litert",
    "microphone": "sounddevice",
    "ray": "ray",
    "jax": "jax",
    "onnx": "onnx",
    "nir": "nir",
    "design": "optuna",
    "hub": "huggingface-hub",
    "text": "tokenizers",
    "tflm": "tflite-micro",
    "images": "pycocotools",
    "tensorboard": "tensorboard",
}
"""Extras that users install, each with the package that it is about."""
PYTHONS = ((3, 11), (3, 13))
SPACE_NEEDED = 7e9
"""Bytes: the archives of Speech Commands, and their clips beside them."""


def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Do not import the backend: faster, but finds less.")] = False,
    json: Json = False,
) -> None:
    """Check this installation: versions, backend, cache folders, speech synthesis, data.

    Exit code 1 if something is found that will keep other commands from working.
    """
    reporter = Reporter(json=json)
    problems: list[str] = []
    findings: dict[str, Any] = {
        "analognets": __version__,
        "python": _python(problems),
        "platform": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "packages": _packages(problems),
        "extras": {extra: installed_version(package) for extra, package in EXTRAS.items()},
        "backend": _backend(reporter, problems, quick=quick),
        "cache": _cache(problems),
        "speech_synthesis": _speech(),
        "data": _data(),
        "problems": problems,
    }
    reporter.result(findings)
    _show(reporter, findings)
    if problems:
        raise typer.Exit(1)


def _python(problems: list[str]) -> str:
    low, high = PYTHONS
    if not low <= sys.version_info[:2] <= high:
        problems.append(
            f"Python {platform.python_version()} is not supported: TensorFlow 2.21 has wheels for 3.{low[1]} to "
            f"3.{high[1]}. Make a virtual environment with one of those."
        )
    return platform.python_version()


def _packages(problems: list[str]) -> dict[str, str | None]:
    versions = {package: installed_version(package) for package in PACKAGES}
    missing = [package for package, version in versions.items() if version is None]
    if missing:
        problems.append(f"Not installed: {', '.join(missing)}. Run: pip install analognets")
    if versions["tensorflow"] and installed_version("tensorflow-cpu"):
        problems.append(
            "Both tensorflow and tensorflow-cpu are installed and overwrite each other's files. "
            "Run: pip uninstall tensorflow tensorflow-cpu, then pip install analognets"
        )
    return versions


def _backend(reporter: Reporter, problems: list[str], *, quick: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"name": configured_backend(), "devices": None, "import_seconds": None}
    try:
        check_configured()
    except AnalogNetsError as error:
        problems.append(str(error))
        return found
    if quick:
        return found
    started = time.perf_counter()
    try:
        with reporter.status("Importing Keras and its backend ..."), quiet_imports():
            import keras

            found["name"] = keras.backend.backend()
            found["devices"] = _devices(found["name"])
    except Exception as error:  # whatever a broken installation raises is the finding
        problems.append(
            f"Keras can't be imported ({type(error).__name__}: {error}). Reinstall with: pip install analognets"
        )
        return found
    found["import_seconds"] = round(time.perf_counter() - started, 1)
    return found


def _devices(backend: str) -> list[str]:
    if backend == "jax":
        import jax

        return [str(device) for device in jax.devices()]
    import tensorflow

    return [device.name.removeprefix("/physical_") for device in tensorflow.config.list_physical_devices()]


def _cache(problems: list[str]) -> dict[str, Any]:
    import pooch

    path = Path(os.environ.get("ANALOGNETS_CACHE") or pooch.os_cache("analognets")).expanduser()
    standing = next(folder for folder in (path, *path.parents) if folder.exists())
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else 0
    free = shutil.disk_usage(standing).free
    if not standing.is_dir() or not os.access(standing, os.W_OK):
        problems.append(f"The cache folder '{path}' can't be written. Set ANALOGNETS_CACHE to a folder of your own.")
    elif free + size < SPACE_NEEDED:
        problems.append(
            f"Only {_bytes(free)} are free for the cache folder '{path}'; the data sets need {_bytes(SPACE_NEEDED)}. "
            "Set ANALOGNETS_CACHE to a folder on a larger disk."
        )
    return {"path": str(path), "exists": path.is_dir(), "bytes": size, "free_bytes": free}


def _speech() -> dict[str, Any]:
    if importlib.util.find_spec("espeakng_loader") is None:
        return {"available": False, "detail": "Install it with: pip install 'analognets[speech]'"}
    import espeakng_loader

    library = Path(espeakng_loader.get_library_path())
    if not library.is_file():
        return {
            "available": False,
            "detail": f"espeakng-loader is installed, but has no library for this system: {library}",
        }
    return {"available": True, "detail": f"espeakng-loader {installed_version('espeakng-loader')}"}


def _data() -> dict[str, Any]:
    from analognets.datasets.clip_cache import cache_folder

    path = cache_folder() / "speech_commands"
    return {"path": str(path), "speech_commands": (path / "speech_commands_v0.02").is_dir()}


def _bytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _show(reporter: Reporter, found: dict[str, Any]) -> None:
    backend, cache, speech, data = found["backend"], found["cache"], found["speech_synthesis"], found["data"]
    devices = f" on {', '.join(backend['devices'])}" if backend["devices"] else ""
    seconds = f", imported in {backend['import_seconds']} s" if backend["import_seconds"] else ""
    extras = [f"{extra} {'yes' if version else 'no'}" for extra, version in found["extras"].items()]
    rows = [
        ("analognets", found["analognets"]),
        ("python", f"{found['python']} ({found['platform']})"),
        *((package, version or "not installed") for package, version in found["packages"].items()),
        ("extras", ", ".join(extras)),
        ("backend", f"{backend['name']}{devices}{seconds or ' (not imported)'}"),
        ("cache", f"{cache['path']} ({_bytes(cache['bytes'])} used, {_bytes(cache['free_bytes'])} free)"),
        ("synthetic speech", "available" if speech["available"] else speech["detail"]),
        (
            "Speech Commands",
            f"downloaded to {data['path']}"
            if data["speech_commands"]
            else "not downloaded; train takes --data DIR or --data synthetic",
        ),
    ]
    reporter.table(("what", "found"), rows)
    for problem in found["problems"]:
        reporter.say(f"Problem: {problem}", style="red")
    if not found["problems"]:
        reporter.say("No problems found.", style="green")
