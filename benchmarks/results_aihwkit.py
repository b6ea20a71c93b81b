"""The results page's part on aihwkit: accuracy and speed of the same networks on both simulators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from analognets.metrics import format_interval
from benchmarks.markdown import markdown

FILES = ("aihwkit_peer.json",)
TITLES = {"resnet8_kws.hwa_standard": "ResNet-8 for KWS", "analognet_kws.hwa_8bit": "AnalogNet-KWS"}
TOOLKITS = {
    "analognets": "analognets",
    "analognets_as_aihwkit": "analognets, with aihwkit's choices",
    "aihwkit": "aihwkit",
}
TILES = {"aihwkit": "C++", "aihwkit_torch_tiles": "PyTorch"}
JOBS = {"training": "training step", "ageing": "chip programmed and read {} times"}


def record(results: Path) -> dict[str, Any]:
    """Return the record."""
    found: dict[str, Any] = json.loads((results / FILES[0]).read_text("utf-8"))
    return found


def accuracy_rows(result: dict[str, Any]) -> list[list[str]]:
    """Return a row for each network and toolkit: accuracy in % at each time."""
    rows = []
    for name, found in result["networks"].items():
        for toolkit, title in TOOLKITS.items():
            at = [found["accuracy"][toolkit][one] for one in result["at"]]
            cells = [format_interval(one["mean"], one["low"], one["high"], scale=100, digits=2) for one in at]
            rows.append([f"{TITLES[name]}, `{found['hardware']}`", title, *cells])
    return rows


def speed_rows(result: dict[str, Any]) -> list[list[str]]:
    """Return a row for each network, job and kind of tile: CPU time against the plain networks, and against ours."""
    rows = []
    for name, found in result["networks"].items():
        for job, title in JOBS.items():
            table = found["speed"][job]
            for kind in (one for one in TILES if one in table):
                ours, theirs = table["analognets"]["to_plain_cpu"], table[kind]["to_plain_cpu"]
                cells = [f"{ours:.2f}", f"{theirs:.1f}", f"{table[kind]['to_analognets_cpu']:.1f}"]
                rows.append([TITLES[name], title.format(len(result["at"])), TILES[kind], *cells])
    return rows


def parts(results: Path) -> list[str]:
    """Return the paragraphs."""
    result = record(results)
    versions, clips = result["machine"], {one["clips"] for one in result["networks"].values()}
    digital = ", ".join(
        f"{100 * one['accuracy']['digital']:.2f} % ({TITLES[name]})" for name, one in result["networks"].items()
    )
    return [
        f"The same trained networks in aihwkit {versions['aihwkit']} (torch {versions['torch']}), to which "
        f"`analognets export --to aihwkit` gives weights, and the benchmark the input ranges. Accuracy on "
        f"{' and '.join(f'{count:,}' for count in sorted(clips))} test clips in %, mean over {result['chips']} chips "
        f"with half of its 95 % interval over chips; the same weights without hardware {digital} "
        "([each chip, and what differs](aihwkit_peer.json)):",
        markdown(["network, hardware", "simulator", *result["at"]], accuracy_rows(result)),
        f"CPU time in one run, {result['threads']} thread(s), batches of {result['batch']}: the plain step or pass is "
        "that of Keras for ours, of torch for theirs. Training has normal noise in the weights in both:",
        markdown(
            ["network", "job", "their tiles", "ours / plain", "aihwkit / plain", "aihwkit / ours"], speed_rows(result)
        ),
    ]


def headline(results: Path) -> list[str]:
    """Return the row of the README: how many times as long each job takes in aihwkit, over networks and tiles."""
    result = record(results)
    spans = []
    for job in JOBS:
        tables = [found["speed"][job] for found in result["networks"].values()]
        values = [table[kind]["to_analognets_cpu"] for table in tables for kind in TILES if kind in table]
        spans.append(f"{min(values):.0f} to {max(values):.0f}")
    networks = " and ".join(TITLES[name] for name in result["networks"])
    what = f"{networks}, CPU time of a training step / of an ageing chip"
    longer = f"{' / '.join(spans)} times as long there"
    return [f"beside aihwkit {result['machine']['aihwkit']}", what, longer, "here 1"]
