"""The results page's part on predicted ageing: mean and spread against 200 chips, and the times of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.markdown import markdown

FILES = ("analytic_ageing.json",)


def points(value: float, error: float) -> str:
    """Return a share in per cent with half of its 95 % interval."""
    return f"{100 * value:.2f} \N{PLUS-MINUS SIGN} {196 * error:.2f}"


def inside(row: dict[str, Any]) -> str:
    """Return whether mean and spread are inside the intervals of the chips, and whether they are flagged."""
    found = [word for word, name in (("mean", "mean"), ("spread", "std")) if row[f"{name}_inside"]]
    return ", ".join([" and ".join(found) or "no", *(["flagged"] if row["flag"] else [])])


def comparison(networks: dict[str, Any]) -> str:
    """Return mean and spread at each time."""
    rows = []
    for name, network in networks.items():
        for row in network["rows"]:
            chips = row["chips"]
            half = 50 * (chips["mean_high"] - chips["mean_low"])
            rows.append(
                [
                    name,
                    row["at"],
                    points(row["mean"], row["mean_error"]),
                    f"{100 * chips['mean']:.2f} \N{PLUS-MINUS SIGN} {half:.2f}",
                    points(row["std"], row["std_error"]),
                    f"{100 * chips['std']:.2f} ({100 * chips['std_low']:.2f} to {100 * chips['std_high']:.2f})",
                    inside(row),
                ]
            )
    heads = ["network", "since programming", "predicted mean, %", "of 200 chips", "predicted spread", "of 200 chips"]
    return markdown([*heads, "inside"], rows)


def times(networks: dict[str, Any]) -> str:
    """Return the seconds of predictions and of 200 chips."""
    rows = []
    for name, network in networks.items():
        speed = network["speed"]
        seconds = speed["seconds"]
        cells = [f"{seconds[part]['cpu']:,.0f}" for part in ("predicted", "of_which_compiling", "of_200_chips")]
        ratios = [f"{speed[part]['cpu']:.1f}" for part in ("ratio", "ratio_without_compiling")]
        rows.append([name, f"{speed['clips']:,}", *cells, *ratios, "flagged" if speed["flag"] else "holds"])
    heads = ["network", "clips", "predicted, s", "of which compiling", "200 chips, s", "ratio", "without compiling"]
    return markdown([*heads, "prediction"], rows)


def parts(results: Path) -> list[str]:
    """Return the paragraphs."""
    networks = json.loads((results / FILES[0]).read_text("utf-8"))["networks"]
    done = {name: one for name, one in networks.items() if "rows" in one}
    if not done:
        return []
    rows = [row for one in done.values() for row in one["rows"]]
    silent = [row for row in rows if not row["flag"]]
    first = next(iter(done.values()))
    counts = {
        name: (sum(row[f"{which}_{name}"] for row in silent for which in ("mean", "std")), 2 * len(silent))
        for name in ("inside", "agrees")
    }
    told = (
        f"Of {counts['inside'][1]} numbers without a flag {counts['inside'][0]} are inside the 95 % interval of the "
        f"200 chips, which itself errs by as much, and {counts['agrees'][0]} differ by no more than the errors of both "
        "together explain"
        if silent
        else "All are flagged"
    )
    found = [
        f"`analognets ageing` against 200 simulated chips at five times, both on the same {first['clips']} "
        f"{first['split']} clips, drift compensation on; the prediction simulates {first['check_chips']} chips, "
        "as so few clips need many. Half of the 95 % interval by the simulated chips; of the spread of 200 chips the "
        f"interval by chi-square. {told} ([all numbers](analytic_ageing.json)):",
        comparison(done),
    ]
    measured = {name: one for name, one in done.items() if "speed" in one}
    if measured:
        found += [
            "Time on one core, as CPU seconds of one run, with the settings as they come; 200 chips at five times in "
            "proportion to one that is read and three that are programmed, without their compiling:",
            times(measured),
        ]
    return found
