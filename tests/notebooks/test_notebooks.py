"""The notebooks: each is paired with its source, and runs from top to bottom in fast mode."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analognets.zoo.tasks import find_recipe

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
SOURCES = sorted(FOLDER.glob("*.py"))

# One kernel runs all notebooks, one after the other: most of what a short one takes is the import of TensorFlow.
EXECUTE = """
import json, os, sys
import jupytext, nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
# No folder of kernels: that leaves the kernel of the interpreter that runs this.
kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
kernel.transport = "ipc"
for line in sys.stdin:
    source, target, first = json.loads(line)
    notebook = jupytext.read(source)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(first))
    try:
        NotebookClient(notebook, km=kernel, timeout=None).execute()
        del notebook.cells[0]
        nbformat.write(notebook, target)
        answer = ""
    except Exception as error:
        answer = str(error)[-2000:]
    print(json.dumps(answer), flush=True)
"""
FRESH = """
%reset -f
import gc, os, tempfile
import keras
import matplotlib.pyplot as plt
os.chdir({folder!r})
os.environ.clear()
os.environ.update({environment!r})
tempfile.tempdir = None
plt.close("all")
keras.utils.clear_session()
keras.utils.set_random_seed(0)
gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 20)
%reset -f
"""


def fast_overrides(source: Path) -> list[str]:
    """Return the list `overrides` of a notebook, read without running it."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "overrides":
            return list(ast.literal_eval(node.value))
    return []


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_holds_the_cells_of_its_source_and_no_outputs(source: Path) -> None:
    jupytext = pytest.importorskip("jupytext", reason="needs the extra `notebooks`")
    notebook = json.loads(source.with_suffix(".ipynb").read_text("utf-8"))
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
    assert cells == [(cell.cell_type, cell.source) for cell in jupytext.read(source).cells], (
        f"run: jupytext --to ipynb notebooks/{source.name}"
    )
    assert notebook["metadata"]["jupytext"]["formats"] == "ipynb,py:percent"
    assert not [cell for cell in notebook["cells"] if cell.get("outputs") or cell.get("execution_count")]


def test_the_fast_switch_changes_what_the_recipe_has() -> None:
    overrides = fast_overrides(FOLDER / "01_quickstart.py")
    assert overrides
    recipe = find_recipe("kws_demo").to_dict()
    for override in overrides:
        key, _, value = override.partition("=")
        before: Any = recipe
        for part in key.split("."):
            assert part in before, f"kws_demo has no {key}"
            before = before[part]
        assert int(value) < before, f"{override} makes nothing smaller"


def texts(notebook: dict[str, Any]) -> Iterator[str]:
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            yield "".join(output.get("text", output.get("data", {}).get("text/plain", [])))


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """Start the process with the kernel of all notebooks; KERAS_HOME, read once, is a folder without data."""
    for package in ("nbclient", "jupytext", "ipykernel"):
        pytest.importorskip(package, reason=f"needs {package}: pip install 'analognets[notebooks]'")
    folder = tmp_path_factory.mktemp("kernel")
    with (folder / "errors").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", EXECUTE],
            env={**os.environ, "KERAS_HOME": str(folder / "keras")},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        with process:
            yield process


def executed(kernel: subprocess.Popen[str], source: str, folder: Path, **environment: str) -> dict[str, Any]:
    """Return a notebook after it has run in fast mode, with `folder` for all that it writes."""
    assert kernel.stdin and kernel.stdout
    target = folder / "executed.ipynb"
    own = {**os.environ, "ANALOGNETS_FAST": "1", "ANALOGNETS_CACHE": str(folder), "TMPDIR": str(folder), **environment}
    first = FRESH.format(folder=str(folder), environment=own)
    kernel.stdin.write(json.dumps([str(FOLDER / source), str(target), first]) + "\n")
    kernel.stdin.flush()
    answer = kernel.stdout.readline()
    assert answer and not json.loads(answer), answer or "the process with the kernel has died"
    return json.loads(target.read_text("utf-8"))


@pytest.mark.slow
def test_the_quickstart_runs_in_fast_mode(kernel: Any, tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="needs espeakng_loader: pip install 'analognets[speech]'")
    notebook = executed(kernel, "01_quickstart.py", tmp_path)
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    text = "\n".join(texts(notebook))
    assert "Synthetic: 12 classes" in text
    assert "144 train clips" in text, "the fast switch was not in effect"
    assert [output for output in outputs if "image/png" in output.get("data", {})], "the figure is not shown"
    assert re.search(r"1y: G\+ = +\d", text)
    runs = [json.loads(path.read_text("utf-8")) for path in tmp_path.rglob("quickstart/run.json")]
    assert [run["status"] for run in runs] == ["finished"]
    rows = next(tmp_path.rglob("quickstart/metrics.jsonl")).read_text("utf-8").splitlines()
    assert len(rows) == 3


@pytest.mark.slow
def test_bring_your_own_model_runs_in_fast_mode(kernel: Any, tmp_path: Path) -> None:
    text = "\n".join(texts(executed(kernel, "03_bring_your_own_model.py", tmp_path)))
    assert re.search(
        r"3 of 4 products analog \(\d+\.\d % of weights, \d+\.\d % of multiplications\) on aon_cim_8bit", text
    )
    assert "left      transposed (Conv2DTranspose): a transposed convolution, which has no analog version" in text
    assert "1 of 4 products analog" in text, "two more layers were exempt"
    assert re.search(r"float 0\.\d+, 8-bit converters 0\.\d+", text)
    assert re.search(r"largest difference: (0\.0|\d\.\d+e-\d\d)\b", text)
    assert "53 of 53 products analog" in text
    means = re.findall(r"True\s+[\d.e+]+\s+1d\s+([\d.]+)", text)
    assert means and all(0 <= float(mean) <= 1 for mean in means)


@pytest.mark.slow
def test_own_words_are_finetuned_in_fast_mode(kernel: Any, tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="needs espeakng_loader: pip install 'analognets[speech]'")
    text = "\n".join(texts(executed(kernel, "02_finetune_your_own_words.py", tmp_path)))
    assert "112 training clips of coffee, curtain, radio, window" in text, "the fast switch was not in effect"
    assert "analognet_kws.hwa_8bit knows: down, go" in text
    assert "weights_sha256: " in text
    assert re.search(r"\d+ test clips, float accuracy 0\.\d+", text)
    assert re.search(r"heard +coffee +curtain +radio +window +silence", text)
    assert re.search(r"Preset\('my_words.hwa_8bit'.*\) True", text)
    runs = [json.loads(path.read_text("utf-8")) for path in tmp_path.rglob("finetuned/run.json")]
    assert [run["status"] for run in runs] == ["finished"]


@pytest.mark.slow
def test_from_model_to_chip_runs_in_fast_mode(kernel: Any, tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="needs espeakng_loader: pip install 'analognets[speech]'")
    notebook = executed(kernel, "04_from_model_to_chip.py", tmp_path)
    text = "\n".join(texts(notebook))
    assert "analognet_kws on aon_cim: 57.4 % of the cells in use" in text
    assert "991 passes" in text and "7,762 inferences/s" in text
    assert re.search(r"hermes +4 bit: +[\d,]+ inferences/s", text)
    assert "'handover.schema.json', 'index.json', 'tiles'" in text
    assert re.search(r"tiles/0001_conv_2.npy: \(2, 1, 756, 112\), 0.00 to 2[45].\d\d uS", text)
    gap = re.search(r"2 measured chips; largest difference from the chips that were measured: (\S+)", text)
    assert gap and float(gap[1]) < 0.1, "a measured chip is the chip that was measured"
    assert re.search(r"\b8 +1024 +512 +128 +0\.\d+ +8\.53", text)
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert len([output for output in outputs if "image/png" in output.get("data", {})]) == 5


@pytest.mark.slow
def test_sensitivity_runs_in_fast_mode(kernel: Any, tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="needs espeakng_loader: pip install 'analognets[speech]'")
    notebook = executed(kernel, "05_how_sensitive_is_your_network.py", tmp_path)
    text = "\n".join(texts(notebook))
    assert re.search(r"output_noise +0.04\n", text)
    errors = {name: float(value) for name, value in re.findall(r"^(.*?) +(0\.\d+)$", text, re.MULTILINE)}
    assert 0.125 < errors["as it is"] < 0.157, "the standard test at 1 h"
    assert errors["without programming_noise"] < errors["without ir_drop"] < errors["as it is"] + 0.002
    assert 0.185 < errors["IR drop x 11.7"] < 0.205
    assert re.search(r"gru_kws\S* +output_noise +0\.04\d* +\d", text), "method 1"
    assert re.search(r"exempt=\['recurrent_(input|recurrent)'\]|exempt=\['logits'\]", text)
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert len([output for output in outputs if "image/png" in output.get("data", {})]) == 3


@pytest.mark.slow
def test_learning_on_devices_runs_in_fast_mode(kernel: Any, tmp_path: Path) -> None:
    without = {"ANALOGNETS_DATA": str(tmp_path), "https_proxy": "http://127.0.0.1:9"}  # and no download of MNIST
    notebook = executed(kernel, "06_learning_on_devices.py", tmp_path, **without)
    text = "\n".join(texts(notebook))
    assert "drawn digits stand in for it" in text
    assert re.search(r"mean after 1, 10, 20 pulses: 2\.\d+, 7\.\d+, 9\.\d+ uS", text)
    scores = re.search(r"test accuracy: float (0\.\d+), on devices (0\.\d+)", text)
    assert scores and all(float(score) > 0.5 for score in scores.groups())
    direct = re.search(r"test accuracy without accumulation: (0\.\d+)", text)
    assert direct and float(direct[1]) < float(scores[2])
    assert re.search(r"nJ on devices, 14\.\d+ uJ digital, ratio \d+", text)
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert len([output for output in outputs if "image/png" in output.get("data", {})]) == 3


@pytest.mark.slow
def test_spikes_on_devices_runs_in_fast_mode(kernel: Any, tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="needs espeakng_loader: pip install 'analognets[speech]'")
    notebook = executed(kernel, "07_spikes_on_devices.py", tmp_path)
    text = "\n".join(texts(notebook))
    gap = re.search(r"largest difference from the closed form: (\S+) mV", text)
    assert gap and float(gap[1]) < 1e-6
    assert "177,408 devices" in text
    shares = re.search(r"within 25 ms: ([\d.]+) % of the wanted spikes \(by chance ([\d.]+) %\)", text)
    assert shares and float(shares[1]) > 2 * float(shares[2]), "something was learned"
    times = re.search(r"within 5 ms: (\d+) % at first, (\d+) % at last", text)
    assert times and int(times[2]) > int(times[1])
    digits = re.search(r"([\d.]+) % of 200 new pictures", text)
    assert digits and float(digits[1]) > 50
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert len([output for output in outputs if "image/png" in output.get("data", {})]) == 7


@pytest.mark.slow
def test_four_bits_for_a_year_runs_in_fast_mode(kernel: Any, tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="needs espeakng_loader: pip install 'analognets[speech]'")
    notebook = executed(kernel, "08_four_bits_for_a_year.py", tmp_path)
    text = "\n".join(texts(notebook))
    used = re.search(r"levels in use \(perplexity\): ([\d.]+) at 25s, ([\d.]+) at 1y", text)
    assert used and float(used[2]) < float(used[1]) < 15
    year = {name: float(value) for name, value in re.findall(r"([a-z]+(?: \+ AdaBS)?) ([\d.]+) %", text)}
    assert {"global", "column", "input", "input + AdaBS"} <= set(year)
    assert year["input + AdaBS"] > year["global"]
    assert "before the DACs" in text and "AdaBS with 100 samples" in text
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert len([output for output in outputs if "image/png" in output.get("data", {})]) == 3


@pytest.mark.slow
def test_always_on_runs_in_fast_mode(kernel: Any, tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="needs espeakng_loader: pip install 'analognets[speech]'")
    notebook = executed(kernel, "09_always_on.py", tmp_path)
    text = "\n".join(texts(notebook))
    gap = re.search(r"351 windows, 1799 frames; largest difference from the clip front end: (\S+)", text)
    assert gap and float(gap[1]) < 1e-5
    heard = re.findall(r"^ *([\d.]+) s +(\w+) +(0\.\d+|1\.00) +said: (.+)$", text, re.MULTILINE)
    assert heard and sum(word in said.split(", ") for _, word, _, said in heard) >= len(heard) / 2
    assert re.search(r"title +threshold +false_alarms_per_hour +miss_rate", text)
    assert re.search(r"aon_cim at 8 bit: 9\.0\d uJ x 10/s = 90\.\d uW mean power", text)
    assert re.search(r"kws_detector.h, kws_detector.cc", text)
    assert re.search(r"C\+\+ and Python: (\d+) and \1 detections, equal: True|no g\+\+ here", text)
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert len([output for output in outputs if "image/png" in output.get("data", {})]) == 1
