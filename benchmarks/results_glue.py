"""The results page's part on the pretrained transformer: A* of direct mapping and of hardware-aware training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analognets.metrics import format_interval, normalized_accuracy
from benchmarks.markdown import markdown

FILES = ("glue.json",)
TIMES = ("1s", "1h", "1d", "1y")
TASKS = {"sst2": "SST-2", "mrpc": "MRPC"}
KINDS = {"direct": "mapped directly", "trained": "hardware-aware"}
PAPER = {"bert_base": "BERT-base (paper)", "albert_base": "ALBERT-base (paper)"}


def ours(task: str, record: dict[str, Any]) -> Iterator[list[str]]:
    """Yield the rows of one task and seed: accuracies, and A* after an hour and a year."""
    shown = record["summary"]
    for kind, title in KINDS.items():
        if kind in shown:
            at = shown[kind]
            means = [format_interval(at[t]["mean"], at[t].get("low"), at[t].get("high"), scale=100) for t in TIMES]
            stars = [
                format_interval(
                    at[t]["normalized"],
                    at[t].get("normalized_low"),
                    at[t].get("normalized_high"),
                    scale=100,
                    form="{:.1f}",
                    digits=1,
                )
                for t in ("1h", "1y")
            ]
            yield ["MiniLM", task, str(record["seed"]), title, f"{100 * shown['float']:.2f}", *means, *stars]


def papers(rows: dict[str, Any], chance_error: float) -> Iterator[list[str]]:
    """Yield the rows of the paper's networks on MRPC, from their errors in per cent."""
    for network, title in PAPER.items():
        known = rows[network]
        for kind, words in KINDS.items():
            errors = known[kind]
            accuracies = [f"{100 - errors[t]:.2f}" for t in TIMES]
            stars = [normalized_accuracy(errors[t] / 100, known["float"] / 100, chance_error) for t in ("1h", "1y")]
            shares = [f"{100 * star:.1f}" for star in stars]
            yield [title, "MRPC", "", words, f"{100 - known['float']:.2f}", *accuracies, *shares]


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
    rows = [row for one in records for row in ours(TASKS[one["task"]], one)]
    if "mrpc" in found:
        rows += papers(result["paper"]["mrpc"], found["mrpc"][0]["summary"]["chance_error"])
    counts = {len({row["chip"] for row in one["dev"][kind]}) for one in records for kind in KINDS if kind in one["dev"]}
    heads = ["network", "task", "seed", "training", "float", *TIMES, "A* 1h", "A* 1y"]
    return [
        "MiniLM (all-MiniLM-L6-v2, 6 layers of 384 channels), fine-tuned from its published weights; all projections "
        "on tiles of the standard crossbar, attention products and embeddings digital. Accuracy on the official dev "
        f"file in %, mean over {' or '.join(map(str, sorted(counts)))} chips with half of its 95 % interval over chips "
        "and samples; A* is normalised between the float network and the commoner class, and paired by sample. Nothing "
        "was chosen on the dev file ([all readings and recipes](glue.json)):",
        markdown(heads, rows),
        "\n".join(f"- {made(one)}" for one in records),
        "The paper's networks are larger; their rows are from its tables 2 and 3 and supplementary table 7, with A* by "
        "our commoner class. It has no row of SST-2 alone.",
    ]
