"""What a release must pass: archives with valid metadata, and the demo's job from the wheel in new environments.

    python .ci/release_check.py                  # on every Python of this machine that the package supports
    python .ci/release_check.py --python 3.12    # on one of them

It needs `build` and `twine`. The archives that passed lie in dist/. Each environment holds TensorFlow: 2 GB for as long
as it is tried.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 15_000_000
"""Size that the wheel stays under."""

SHORT = (
    *("dataset.options.clips_per_class=12", "batch_size=10", "sampling.steps=2", "model.options.widths=[4,4,4,4,4]"),
    *("float.epochs=1", "hardware_aware.epochs=1"),
)
"""What makes the demo's training one of seconds."""

JOBS = (
    ("zoo", "list"),
    ("zoo", "show", "analognet_kws.hwa_8bit", "--quiet"),
    ("train", "kws", "--recipe", "kws_demo", "--out", "demo", *(word for one in SHORT for word in ("--set", one))),
    ("evaluate", "demo", "--chips", "2", "--at", "1d"),
)
"""Command lines of `analognets` that the wheel must be able to run: those of `make demo`, in short."""


class ReleaseError(Exception):
    """Something is not ready for a release."""


def supported(root: Path = ROOT) -> list[str]:
    """Return the versions of Python that pyproject.toml names: "3.11", ..."""
    classifiers = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["classifiers"]
    return [name.rpartition(" ")[2] for name in classifiers if re.search(r":: 3\.\d+$", name)]


def versions(root: Path = ROOT) -> dict[str, str]:
    """Return what each file that names the version of the package says."""

    def first(name: str, pattern: str) -> str:
        found = re.search(pattern, (root / name).read_text("utf-8"), re.MULTILINE)
        return found[1] if found else "no version"

    return {
        "analognets/_version.py": first("analognets/_version.py", r'^__version__ = "(.+)"$'),
        "CHANGELOG.md": first("CHANGELOG.md", r"^## \[(\d.*)\] - \d{4}-\d\d-\d\d$"),
        "CITATION.cff": first("CITATION.cff", r"^version: (.+)$"),
        "conda/recipe.yaml": first("conda/recipe.yaml", r'^  version: "(.+)"$'),
    }


def check_versions(found: dict[str, str], tag: str | None = None) -> str:
    """Return the version on which all files and the tag agree.

    Raises:
        ReleaseError: they do not.
    """
    said = {**found, **({"the tag": tag.removeprefix("v")} if tag else {})}
    if len({*said.values()}) != 1:
        raise ReleaseError(
            f"One version must stand everywhere. Received: {', '.join(f'{v} in {k}' for k, v in said.items())}."
        )
    return next(iter(said.values()))


def build(target: Path) -> list[Path]:
    """Build the sdist, and the wheel from it; check what the package index would, and the size of the wheel.

    Raises:
        ReleaseError: an archive is not as it must be.
    """
    for old in target.glob("analognets-*"):
        old.unlink()
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(ROOT)], quiet=True)
    archives = sorted(target.glob("analognets-*"))
    run([sys.executable, "-m", "twine", "check", "--strict", *map(str, archives)])
    for archive in archives:
        check_size(archive)
    return archives


def check_size(archive: Path) -> None:
    """Raise a ReleaseError if a wheel is too large."""
    size = archive.stat().st_size
    print(f"{archive.name}: {size / 1e6:.1f} MB", flush=True)
    if archive.suffix == ".whl" and size >= MOST_BYTES:
        raise ReleaseError(f"A wheel has less than {MOST_BYTES / 1e6:.0f} MB. Received: {size / 1e6:.1f} MB.")


def interpreters(wanted: list[str]) -> dict[str, str]:
    """Return the programs of those versions of Python that are on this machine and can make environments."""
    found = {}
    for version in wanted:
        program = shutil.which(f"python{version}")
        able = program and not subprocess.run([program, "-c", "import venv, ensurepip"], capture_output=True).returncode
        if program and able:
            found[version] = program
        else:
            print(f"Python {version} is not on this machine: not tried", flush=True)
    return found


def try_wheel(program: str, wheel: Path) -> None:
    """Install a wheel into a new environment and run the jobs there, away from the checkout.

    Raises:
        ReleaseError: the checkout was imported in its place, or a job failed.
    """
    with tempfile.TemporaryDirectory(prefix="analognets-release-") as work:
        place, empty = Path(work) / "venv", Path(work) / "empty"
        empty.mkdir()
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        environment |= {"ANALOGNETS_CACHE": f"{work}/cache", "TF_CPP_MIN_LOG_LEVEL": "3", "MPLBACKEND": "Agg"}
        run([program, "-m", "venv", str(place)])
        pip = [str(place / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        run([*pip, f"{wheel}[speech]"])
        where = [str(place / "bin" / "python"), "-c", "import analognets; print(analognets.__file__)"]
        found = subprocess.run(where, cwd=empty, env=environment, capture_output=True, text=True, check=True).stdout
        if not Path(found.strip()).is_relative_to(place):
            raise ReleaseError(f"The wheel must be imported, not another copy. Received: {found.strip()}.")
        for job in JOBS:
            run([str(place / "bin" / "analognets"), *job], cwd=empty, env=environment, quiet=job[0] == "zoo")


def run(command: list[str], *, quiet: bool = False, **options: object) -> None:
    """Run a command, showing it; its output only if it fails, where `quiet`.

    Raises:
        ReleaseError: it failed.
    """
    shown = shlex.join([Path(command[0]).name, *command[1:]])
    print(f"$ {shown}", flush=True)
    done = subprocess.run(command, capture_output=quiet, text=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise ReleaseError(f"This failed: {shown}\n{(done.stdout or '') + (done.stderr or '')}")


def main() -> None:
    """Check everything, and say at the end what was tried."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", action="append", choices=supported(), help="try this version; all by default")
    parser.add_argument("--all", action="store_true", help="fail where one of the versions is not on this machine")
    tag = os.environ.get("RELEASE_TAG")  # not by the command line, where a shell would read it
    parser.add_argument("--tag", default=tag, help="that the release will have, such as v0.1.0 (RELEASE_TAG)")
    options = parser.parse_args()
    version = check_versions(versions(), options.tag)
    archives = build(ROOT / "dist")
    wheel = next(path for path in archives if path.suffix == ".whl")
    wanted = options.python or supported()
    found = interpreters(wanted)
    if not found or options.all and len(found) < len(wanted):
        raise ReleaseError(f"The wheel is tried on Python {', '.join(wanted)}. Here is: {', '.join(found) or 'none'}.")
    for number, program in found.items():
        print(f"Python {number}:", flush=True)
        try_wheel(program, wheel)
    print(f"analognets {version} may be released: it installs and runs on Python {', '.join(found)}.")


if __name__ == "__main__":
    try:
        main()
    except ReleaseError as error:
        sys.exit(f"Error: {error}")
