"""Writes the pages of the reference, one for each public module; Sphinx fills them from docstrings."""

from __future__ import annotations

from pathlib import Path

from docstrings import to_rst
from made import fill
from public_names import Entry, PublicNames

__all__ = ["page", "write_pages"]

EXAMPLES = """\
Examples are run by the tests, each in an empty folder. What they use without making it: `model`, a small trained
network with inputs `x` and labels `y`; `analog`, the same on crossbars, calibrated; `chips`, three chips of it; `run`,
the folder of a finished training; `speech`, a folder in the layout of Speech Commands; `cells`, a table of measured
cells; `tflite`, a .tflite file of the network; `listened`, `swept` and `ranked`, what `stream_evaluation`,
`sweep_nonideality` and `layer_study` found; `bundle_folder`, a conformance bundle.
"""

DIRECTIVES = {"class": "autoclass", "exception": "autoexception", "function": "autofunction", "data": "autodata"}


def _titled(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n\n"


def _link(names: PublicNames, entry: Entry) -> str:
    if entry.kind == "module":
        return f":doc:`{entry.name} <{entry.origin}>`"
    place = names.places[entry.key]
    role = {"class": "class", "exception": "exc", "function": "func", "data": "data"}[entry.kind]
    return f":py:{role}:`{entry.name} <{place}.{entry.name}>`"


def _escaped(text: str) -> str:
    return to_rst([text])[0] if text else ""


def _table(names: PublicNames, entries: list[Entry]) -> str:
    rows = [f"   * - {_link(names, entry)}\n     - {_escaped(entry.summary)}\n" for entry in entries]
    return ".. list-table::\n   :widths: 30 70\n   :class: names\n\n" + "".join(rows) + "\n"


def _objects(names: PublicNames, module: str) -> list[Entry]:
    return [entry for entry in names.entries(module) if entry.kind != "module"]


def page(names: PublicNames, module: str) -> str:
    """Return the page of a module.

    Args:
        names: of the package.
        module: the dotted name of one of them.
    """
    entries = names.entries(module)
    parent = module.rpartition(".")[0]
    # A function may have its module's name, which Sphinx then can't list twice.
    shadowed = parent and any(entry.name == module.rpartition(".")[2] for entry in _objects(names, parent))
    # Rooms stand in the navigation; deeper modules are reached through them, which keeps every page small.
    text = "" if parent in ("", "analognets") else ":orphan:\n\n"
    text += _titled(module, "=")
    if parent:
        text += f"In :doc:`{parent}`.\n\n"
    text += f".. automodule:: {module}\n   :no-members:\n{'   :no-index:' if shadowed else ''}\n\n"
    if entries:
        text += _titled("Names", "-") + _table(names, entries)
    submodules = names.submodules(module)
    if module == "analognets":
        text += "\n".join(to_rst(EXAMPLES.splitlines())) + "\n\n"
        text += ".. toctree::\n   :hidden:\n\n"
        text += "".join(f"   {name.rpartition('.')[2]} <{name}>\n" for name in submodules) + "\n"
    elif submodules:
        text += _titled("Modules", "-") + ".. list-table::\n   :widths: 30 70\n\n"
        for name in submodules:
            text += f"   * - :doc:`{name.rpartition('.')[2]} <{name}>`\n     - {_escaped(names.summary(name))}\n"
        text += "\n"
    here = [entry for entry in _objects(names, module) if names.places[entry.key] == module]
    if here:
        text += _titled("Reference", "-")
    for entry in here:
        text += f".. {DIRECTIVES[entry.kind]}:: {module}.{entry.name}\n"
        if entry.kind == "class":
            text += "   :members:\n   :show-inheritance:\n   :member-order: bysource\n"
        text += "\n"
    return text


def write_pages(root: Path, folder: Path) -> None:
    """Write all pages of the reference into a folder that is theirs alone.

    Args:
        root: folder of the repository.
        folder: of the pages; what is there from an earlier build goes.
    """
    names = PublicNames(root)
    fill(folder, {f"{module}.rst": page(names, module) for module in names.files})
