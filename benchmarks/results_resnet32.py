"""The results page's part on ResNet-32 on CIFAR-10: A* of direct mapping and of hardware-aware training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.markdown import markdown
from benchmarks.results_a_star import HEADS, KINDS, STARS, own_cells, paper_cells

FILES = ("resnet32_cifar10.json",)


def made(record: dict[str, Any]) -> str:
    """Return how the networks of a seed were trained."""
    stages = record["made"]
    epochs = {name: stages[name]["recipe"][name]["epochs"] for name in ("float", "hardware_aware")}
    return (
        f"seed {record['seed']}: {epochs['float']} float epochs and {epochs['hardware_aware']} hardware-aware ones on "
        f"{stages['float']['record']['data']['clips']['train']:,} training pictures; {record['chips']} chips, "
        f"{record['samples']:,} test pictures"
    )


def headline(results: Path) -> list[str]:
    """Return the row of the README: A* of hardware-aware training after an hour and a year, beside the paper's."""
    result = json.loads((results / FILES[0]).read_text("utf-8"))
    seeds = [one["summary"] for one in result["seeds"]]
    by_seed = (own_cells(one, "trained")[-len(STARS) :] for one in seeds)
    ours = " / ".join(" and ".join(cells) for cells in zip(*by_seed, strict=True))
    paper = paper_cells(result["paper"], "trained", seeds[0]["chance_error"])[-len(STARS) :]
    trainings = f"{len(seeds)} training{'s' if len(seeds) > 1 else ''}"
    what = f"ResNet-32 on CIFAR-10, normalised accuracy A* after an hour / a year, {trainings}"
    return ["the same, a benchmark of its own", what, f"{ours} %", f"paper {' / '.join(paper)} %"]


def parts(results: Path) -> list[str]:
    """Return the paragraphs."""
    result = json.loads((results / FILES[0]).read_text("utf-8"))
    rows = [
        ["ours", str(record["seed"]), *own_cells(record["summary"], kind)]
        for record in result["seeds"]
        for kind in KINDS
        if kind in record["summary"]
    ]
    chance_error = result["seeds"][0]["summary"]["chance_error"]
    rows += [["paper", "", *paper_cells(result["paper"], kind, chance_error)] for kind in KINDS]
    return [
        "ResNet-32 with 16, 28 and 56 channels, all layers on tiles of the standard crossbar. Accuracy on the test "
        "pictures in %, mean over chips with half of its 95 % interval over chips and pictures; A* is normalised "
        "between the float network and one class of ten, and paired by picture. Decisions were made on held-out "
        "training pictures ([all readings and recipes](resnet32_cifar10.json)):",
        markdown(["network", "seed", *HEADS], rows),
        "\n".join(f"- {made(one)}" for one in result["seeds"]),
        "The paper's rows are from its tables 2 and 3, after 600 epochs of each stage.",
    ]
