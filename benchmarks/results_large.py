"""The results page's part on time and memory of large networks, from the results file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.markdown import markdown

FILES = ("large_networks.json",)
STEPS = {
    "to_analog": "`to_analog`",
    "calibrate": "`calibrate`",
    "program": "`program`, one chip",
    "evaluate": "`evaluate`, one chip once",
    "load_chips": "`Chips.load`",
    "save_model": "`model.save`",
    "load_model": "`load_model`",
    "cost": "`cost`",
}


def cell(step: dict[str, Any]) -> str:
    """Return seconds of the processor, and the peak of memory by the size of the weights."""
    return f"{step['cpu_seconds']:.1f} s, {step['peak_by_weights']:.2f}"


def peer(result: dict[str, Any]) -> list[str]:
    """Return the paragraphs on aihwkit, if it was measured."""
    if "peer" not in result or "resnet50" not in result["networks"]:
        return []
    theirs, ours = result["peer"], result["networks"]["resnet50"]
    versions = ", ".join(f"{name} {version}" for name, version in theirs["versions"].items())
    rows = [
        [who, *(cell(found["steps"][name]) for name in ("to_analog", "program", "evaluate"))]
        for who, found in (("analognets", ours), ("aihwkit", theirs))
    ]
    return [
        f"Beside aihwkit ({versions}), ResNet-50 with random weights, {theirs['evaluated_on']} pictures after a day, "
        "PCM, 8 bit. Its tiles are 512 x 512 and computed in PyTorch (its C++ tiles refuse this PyTorch), ours "
        "1024 x 512; it keeps the programmed chip in memory, here it goes to a file:",
        markdown(["", *(STEPS[name] for name in ("to_analog", "program", "evaluate"))], rows),
    ]


def parts(results: Path) -> list[str]:
    """Return the paragraphs."""
    result = json.loads((results / FILES[0]).read_text("utf-8"))
    networks = list(result["networks"].values())
    rows = [[title, *(cell(one["steps"][name]) for one in networks)] for name, title in STEPS.items()]
    names = [f"{one['title']} ({one['weights'] / 1e6:.1f}M weights)" for one in networks]
    return [
        "Seconds of the processor (the machine had other work), and peak of memory beyond what the process held "
        "before, in sizes of the float32 weights ([figures](large_networks.json)). Networks with "
        f"random weights on `{networks[0]['hardware']}`, {networks[0]['calibrated_on']} samples to calibrate and "
        f"{networks[0]['evaluated_on']} to evaluate, drawn batch by batch by a `keras.utils.PyDataset`. The devices of "
        f"a chip take {networks[0]['bytes_of_chip'] / networks[0]['on_crossbars']:.0f} bytes a weight, in a file that "
        "is written and read piece by piece:",
        markdown(["", *names], rows),
        *peer(result),
    ]
