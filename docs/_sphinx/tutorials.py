"""Puts the notebooks on the site, executed.

Executed notebooks are kept in `docs/executed/`, one for each notebook, and taken from there as long as their code is
that of the notebook. What is missing or was changed is executed, a few at a time, and kept. ANALOGNETS_DOCS_NOTEBOOKS
chooses: "fast" (the notebooks' short mode, the default), "full", or "keep", which executes nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from made import fill

__all__ = ["code", "execute", "stored", "write_pages"]

MODE = "analognets_mode"
"""Where an executed notebook says how it was executed."""
MODES = ("fast", "full", "keep")
NOTES = {
    "fast": "The outputs are those of the short mode (`ANALOGNETS_FAST=1`): every step is shown, with so little "
    "training that accuracies say nothing. Run the notebook without it for figures that do.",
    "full": "The outputs are those of a full run.",
}
EXECUTE = """
import sys
import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
source, target = sys.argv[1:]
notebook = nbformat.read(source, 4)
# No folder of kernels: that leaves the kernel of the interpreter that runs this.
kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
NotebookClient(notebook, km=kernel, timeout=None).execute()
nbformat.write(notebook, target)
"""


def code(notebook: dict[str, Any]) -> list[str]:
    """Return the code cells of a notebook."""
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


def stored(source: Path, executed: Path) -> bool:
    """Whether a notebook has been executed with the code that it has now.

    Args:
        source: the notebook, without outputs.
        executed: folder of those that were executed.
    """
    kept = executed / source.name
    return kept.is_file() and code(_read(kept)) == code(_read(source))


def execute(source: Path, executed: Path, mode: str) -> None:
    """Execute a notebook in a process of its own and keep it, without what it wrote to stderr.

    Args:
        source: the notebook.
        executed: folder for it.
        mode: "fast" or "full".

    Raises:
        RuntimeError: a cell failed.
    """
    with tempfile.TemporaryDirectory() as work:
        target = Path(work) / source.name
        environment = {**os.environ, "ANALOGNETS_FAST": "1" if mode == "fast" else "0", "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-c", EXECUTE, str(source), str(target)]
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{source.name} failed: {done.stderr[-2000:]}")
        notebook = _read(target)
    keep(notebook, executed / source.name, mode)


def keep(notebook: dict[str, Any], path: Path, mode: str) -> None:
    """Write an executed notebook for the site: no stderr, no times of execution, the mode in its metadata.

    Args:
        notebook: as executed.
        path: to write to.
        mode: in which it was executed.
    """
    for cell in notebook["cells"]:
        cell["metadata"] = {}
        if cell["cell_type"] == "code":
            cell["outputs"] = [one for one in cell["outputs"] if one.get("name") != "stderr"]
    kernel = notebook["metadata"].get("kernelspec", {})
    notebook["metadata"] = {"kernelspec": kernel, "language_info": {"name": "python"}, MODE: mode}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")


def write_pages(root: Path, folder: Path) -> None:
    """Write the pages of the tutorials, executing what has to be.

    Args:
        root: folder of the repository.
        folder: of the pages, theirs alone.

    Raises:
        RuntimeError: a notebook failed, or the mode is not known.
    """
    mode = os.environ.get("ANALOGNETS_DOCS_NOTEBOOKS", "fast")
    if mode not in MODES:
        raise RuntimeError(f"ANALOGNETS_DOCS_NOTEBOOKS must be one of {', '.join(MODES)}. Received: {mode!r}.")
    executed, sources = root / "docs" / "executed", sorted((root / "notebooks").glob("*.ipynb"))
    left = [one for one in sources if not stored(one, executed)]
    if mode == "full":
        left = [one for one in sources if one in left or _read(executed / one.name)["metadata"].get(MODE) != "full"]
    if mode != "keep" and left:
        print(f"executing {len(left)} notebooks ({mode}): {', '.join(one.stem for one in left)}", flush=True)
        with ThreadPoolExecutor(min(4, max(1, (os.cpu_count() or 2) // 2))) as pool:
            list(pool.map(lambda one: execute(one, executed, mode), left))
    contents = {source.name: _page(source, executed) for source in sources}
    names = "\n".join(source.stem for source in sources)
    contents["index.md"] = (
        "# Tutorials\n\nThe notebooks of the repository with their outputs. All run offline on a laptop; words are "
        f"spoken by espeak-ng, pictures are drawn.\n\n```{{toctree}}\n:maxdepth: 1\n\n{names}\n```\n"
    )
    fill(folder, contents)


def _page(source: Path, executed: Path) -> str:
    """Return the page of one notebook: its title, how it was executed, its cells, with the outputs that there are."""
    notebook = _read(source)
    if stored(source, executed):
        kept = _read(executed / source.name)
        outputs = iter([cell for cell in kept["cells"] if cell["cell_type"] == "code"])
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                done = next(outputs)
                cell["outputs"], cell["execution_count"] = done["outputs"], done["execution_count"]
        note = NOTES[kept["metadata"].get(MODE, "fast")]
    else:
        note = "This notebook has not been executed since it was changed, so its outputs are missing."
    text = f":::{{note}}\n`notebooks/{source.name}`. {note}\n:::"
    cell = {"cell_type": "markdown", "metadata": {}, "source": text}
    if notebook["nbformat_minor"] >= 5:
        cell["id"] = "how-it-was-executed"
    notebook["cells"].insert(1, cell)
    return json.dumps(notebook)
