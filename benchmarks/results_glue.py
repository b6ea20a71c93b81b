"""The results page's part on the pretrained transformer: A* of direct mapping and of hardware-aware training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.markdown import markdown
from benchmarks.results_a_star import HEADS, KINDS, own_cells, paper_cells

FILES = ("glue.json",)
TASKS = {"sst2": "SST-2", "mrpc": "MRPC"}
PAPER = {"bert_base": "BERT-base (paper)", "albert_base": "ALBERT-base (paper)"}


def made(record: dict[str, Any]) -> str:
    """Return how the networks of a task were trained, and how far from knowing nothing the float network is."""
    stages, shown = record["made"], record["summary"]
    text = (
        f"{TASKS[record['task']]}, seed {record['seed']}: {stages['float']['recipe']['float']['epochs']} float epochs"
    )
    if "hardware_aware" in stages:
        text += f" and {stages['hardware_aware']['recipe']['hardware_aware']['epochs']} hardware-aware ones"
    room = 100 * (shown["chance_error"] - 1 + shown["float"])
    return (
        f"{text} on {stages['float']['record']['data']['samples']:,} samples of the training file; "
        f"{record['dev']['samples']:,} dev samples, of which the float network gets {room:.1f} points more right than "
        "the commoner class is, the unit of A*"
    )


def parts(results: Path) -> list[str]:
    """Return the paragraphs."""
    result = json.loads((results / FILES[0]).read_text("utf-8"))
    found = {task: result["tasks"][task] for task in TASKS if result["tasks"].get(task)}
    records = [one for task in found.values() for one in task]
    rows = [
        ["MiniLM", TASKS[one["task"]], str(one["seed"]), *own_cells(one["summary"], kind)]
        for one in records
        for kind in KINDS
        if kind in one["summary"]
    ]
    if "mrpc" in found:
        known, chance_error = result["paper"]["mrpc"], found["mrpc"][0]["summary"]["chance_error"]
        rows += [
            [title, "MRPC", "", *paper_cells(known[network], kind, chance_error)]
            for network, title in PAPER.items()
            for kind in KINDS
        ]
    counts = {len({row["chip"] for row in one["dev"][kind]}) for one in records for kind in KINDS if kind in one["dev"]}
    return [
        "MiniLM (all-MiniLM-L6-v2, 6 layers of 384 channels), fine-tuned from its published weights; all projections "
        "on tiles of the standard crossbar, attention products and embeddings digital. Accuracy on the official dev "
        f"file in %, mean over {', '.join(map(str, sorted(counts)))} chips with half of its 95 % interval over chips "
        "and samples; A* is normalised between the float network and the commoner class, and paired by sample. "
        "Nothing was chosen on the dev file, with one exception: the recipe of SST-2 got smaller batches and a third "
        "float epoch after networks of an earlier one had been measured there "
        "([all readings and recipes](glue.json)):",
        markdown(["network", "task", "seed", *HEADS], rows),
        "\n".join(f"- {made(one)}" for one in records),
        "The paper's networks are larger; their rows are from its tables 2 and 3 and supplementary table 7, with A* by "
        "our commoner class. It has no row of SST-2 alone.",
    ]
