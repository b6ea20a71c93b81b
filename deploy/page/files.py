"""The files of the lab page: script and style that were built, data of the presets, their weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from analognets._version import __version__
from analognets.core.files import make_folder, write_atomically
from analognets.deploy.page.packing import pack_tensors
from analognets.errors import DataError, UnknownNameError
from analognets.zoo.presets.files import WEIGHTS, read_record, read_tensors
from analognets.zoo.presets.handles import bundled

__all__ = ["DATA", "check_preset", "page_data", "page_file", "page_files", "page_presets", "write_page"]

BUILT = ("index.html", "lab.css", "lab.js")
SCRIPT = "data.js"
DATA = "page.json"
"""What `web/describe.py` wrote: presets, front ends, sounds and pictures."""


@lru_cache(maxsize=1)
def _data() -> bytes:
    return _built(DATA)


def page_data() -> dict[str, Any]:
    """Return what the page is told of its presets, front ends and samples."""
    return json.loads(_data())


def page_presets() -> list[str]:
    """Return the names of the presets on the page.

    Examples:
        >>> "analognet_kws.hwa_8bit" in page_presets()
        True
    """
    return list(page_data()["presets"])


def page_files() -> list[str]:
    """Return the names of the page's files; they need nothing else, from a server or opened as files.

    Examples:
        >>> page_files()[:3]
        ['index.html', 'lab.css', 'lab.js']
    """
    return [*BUILT, SCRIPT, *(f"weights/{name}.js" for name in page_presets())]


def page_file(name: str, *, start: str = "") -> bytes:
    """Return the content of a file of the page.

    Args:
        name: one of `page_files`.
        start: the preset that is chosen at first; "" for the page's own choice.

    Raises:
        UnknownNameError: the page has no such preset or file.
        PresetError: the preset of this installation is damaged.

    Examples:
        >>> b"<html" in page_file("index.html")
        True
    """
    if name in BUILT:
        return _built(name)
    data = page_data()
    if name == SCRIPT:
        if start:
            data["start"] = check_preset(start)
        return _script("analognetsPage", {**data, "version": __version__})
    if name not in page_files():
        raise UnknownNameError("file of the lab page", name, page_files())
    preset = name.removeprefix("weights/").removesuffix(".js")
    return _weights(preset, tuple(one["name"] for one in data["presets"][preset]["tensors"]))


def check_preset(name: str) -> str:
    """Return the name of a preset on the page.

    Raises:
        UnknownNameError: the page has none of that name.
    """
    if name not in page_presets():
        raise UnknownNameError("preset of the lab page", name, page_presets())
    return name


def write_page(folder: str | Path, *, start: str = "") -> Path:
    """Write the page into a folder, for a web server or to be opened as a file; returns the path of its index.html.

    Args:
        folder: made if need be; files of an earlier page are replaced.
        start: as for `page_file`.

    Raises:
        UnknownNameError: the page has no such preset.
        DataError: the folder can't be written.

    Examples:
        >>> write_page("site").name
        'index.html'
    """
    content = {name: page_file(name, start=start) for name in page_files()}
    target = make_folder(Path(folder), "folder for the lab page", error=DataError)
    make_folder(target / "weights", "folder for the lab page", error=DataError)
    for name, data in content.items():
        write_atomically(target / name, data, error=DataError)
    return target / "index.html"


@lru_cache(maxsize=32)
def _weights(name: str, wanted: Sequence[str]) -> bytes:
    """Return the script with the weights of a bundled preset."""
    folder = bundled()[name]
    read_record(folder)
    stored = named(read_tensors(folder / WEIGHTS))
    return _script("analognetsWeights", {name: pack_tensors({one: stored[one] for one in wanted})})


def named(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors of a preset's file without the numbers before their names."""
    return {name.partition("/")[2]: values for name, values in sorted(tensors.items())}


def _script(name: str, value: Any) -> bytes:
    """Return a script that hands data over: unlike JSON it loads from files opened without a server, too."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("</", "<\\/")
    return f"self.{name}=Object.assign(self.{name}||{{}},{text});\n".encode()


def _built(name: str) -> bytes:
    return (resources.files("analognets.deploy.page") / "built" / name).read_bytes()
