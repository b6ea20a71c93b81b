"""Links that open the notebooks in Colab, as the `Repository` in pyproject.toml says; without one there are none.

    python docs/_sphinx/colab.py    # puts them into the notebooks, changes or removes them

Colab opens notebooks of public GitHub repositories only.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from urllib.parse import quote

__all__ = ["link", "put", "repository"]

LINE = re.compile(r"\[Open in Colab\]\[colab\].*|\[colab\]: .*")
INSTALL = "%pip install 'analognets[speech]'"


def repository(root: Path) -> str:
    """Return "owner/name" of the public repository on GitHub, "" if pyproject.toml names none.

    Args:
        root: folder of the repository.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    address = str(project.get("urls", {}).get("Repository", ""))
    found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?", address)
    return found[1] if found else ""


def link(root: Path, notebook: str) -> str:
    """Return the lines of a notebook that open it in Colab, "" without a public repository.

    Args:
        root: folder of the repository.
        notebook: name of the file.
    """
    name = repository(root)
    if not name:
        return ""
    address = f"https://colab.research.google.com/github/{name}/blob/main/notebooks/{quote(notebook)}"
    return f"[Open in Colab][colab]. There, run `{INSTALL}` in a cell of its own first.\n\n[colab]: {address}"


def put(root: Path) -> None:
    """Write into each notebook and its source, below the title, the lines that it is to have.

    Args:
        root: folder of the repository.
    """
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        lines = link(root, path.name)
        notebook = json.loads(path.read_text("utf-8"))
        cell = notebook["cells"][0]
        cell["source"] = _with(lines, "".join(cell["source"])).splitlines(keepends=True)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")
        source = path.with_suffix(".py")
        head, mark, rest = source.read_text("utf-8").partition("# %% [markdown]\n")
        text, end, rest = rest.partition("\n\n# %%")
        text = _with(lines, "\n".join(line[2:] for line in text.split("\n")))
        commented = "\n".join(f"# {line}".rstrip() for line in text.split("\n"))
        source.write_text(head + mark + commented + end + rest, "utf-8")


def _with(lines: str, text: str) -> str:
    """Return a first cell with these lines below its title, and no other ones of their kind."""
    title, *rest = [part for part in text.split("\n\n") if not LINE.fullmatch(part)]
    return "\n\n".join([title, *([lines] if lines else []), *rest])


if __name__ == "__main__":
    put(Path(__file__).resolve().parents[2])
