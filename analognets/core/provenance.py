"""Where something comes from: versions, the commit of the code, and hashes of text, plain data and arrays."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from analognets._version import __version__

__all__ = [
    "environment",
    "git_commit",
    "installed_version",
    "json_sha256",
    "package_versions",
    "sha256_of",
    "sha256_of_all",
]

PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "librosa", "pydantic", "safetensors")


def sha256_of(*parts: Any) -> str:
    """Return the sha256, as hexadecimal text, of texts, bytes and NumPy arrays one after the other.

    Of an array only the values count, in C order: put its shape and type before it as text where they matter.
    """
    return sha256_of_all(parts)


def sha256_of_all(parts: Iterable[Any]) -> str:
    """Return what `sha256_of` does of parts that are made one by one, so that large ones need not lie in memory."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            total.update(part.encode())
        elif isinstance(part, bytes):
            total.update(part)
        else:  # the buffer of an array as it lies, where it can be hashed without a copy
            flat = part.dtype.kind in "fiu" and part.flags.c_contiguous and part.size
            total.update(part.reshape(-1).view("u1") if flat else part.tobytes())
    return total.hexdigest()


def json_sha256(data: Any, *, finite: bool = True) -> str:
    """Return the sha256 of plain data as JSON; the order of keys does not count.

    Args:
        data: with text as keys.
        finite: refuse NaN and infinity.

    Raises:
        ValueError: a number is not finite, or the data hold themselves.
    """
    return sha256_of(json.dumps(data, sort_keys=True, allow_nan=not finite))


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of analognets and of those packages that are installed."""
    found = {package: installed_version(package) for package in packages}
    return {"analognets": __version__, **{package: version for package, version in found.items() if version}}


def environment() -> dict[str, Any]:
    """Return what a result was made with: Python, platform, versions of packages, commit."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": package_versions(PACKAGES),
        "git_commit": git_commit(),
    }


def git_commit() -> str | None:
    """Return the commit of the checkout this package runs from, with "+" if files differ; None outside of one."""
    here = Path(__file__).resolve()

    def git(*words: str) -> str | None:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(
                ["git", "-C", str(here.parent), *words], capture_output=True, text=True, timeout=10, check=False
            )
            return done.stdout.strip() if done.returncode == 0 else None
        return None

    if git("ls-files", "--error-unmatch", here.name) is None:
        return None
    commit = git("rev-parse", "HEAD")
    return None if commit is None else commit + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
