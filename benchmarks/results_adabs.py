"""The results page's part on batch-norms that chips calibrate themselves (AdaBS)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from analognets.metrics import format_interval
from benchmarks.markdown import markdown

FILES = ("adabs.csv", "adabs.json")


def shown(part: pd.DataFrame) -> str:
    """Return the loss in a row with half of its interval, or nothing if there is no row."""
    for row in part.to_dict("records"):
        return format_interval(row["loss"], row["loss_low"], row["loss_high"], form="{:+.2f}")
    return ""


def losses(table: pd.DataFrame, at: str) -> str:
    """Return the losses at a time by bits and drift compensation, for each number of clips."""
    part = table[table["at"] == at]
    own = part[part["clips"] > 0].groupby("calibrated", sort=False)["clips"].unique()
    fresh = own.index[-1] if len(own) else ""
    counts = sorted(own.get(fresh, []))
    rows = []
    for (bits, rule), one in part.groupby(["bits", "rule"], sort=False):
        now = one[one["calibrated"] == fresh]
        cells = [shown(one[one["clips"] == 0]), *(shown(now[now["clips"] == count]) for count in counts)]
        rows.append([f"{bits} bit, {rule}", *cells])
        if len(own) > 1:
            old = one[(one["calibrated"] == own.index[0]) & (one["clips"] == counts[-1])]
            rows[-1].append(shown(old))
    old = [f"{counts[-1]:,} clips after {own.index[0]}"] if len(own) > 1 else []
    names = ["as trained", *(f"{count:,} clips" for count in counts), *old]
    return markdown([f"after {at}", *names], rows)


def parts(results: Path) -> list[str]:
    """Return the paragraphs."""
    table = pd.read_csv(results / FILES[0])
    about: dict[str, Any] = json.loads((results / FILES[1]).read_text("utf-8"))
    times = [losses(table, at) for at in dict.fromkeys(table["at"])]
    return [
        "AnalogNet-KWS from float networks before their distillation, whose chips calibrate their batch-norms "
        "themselves (AdaBS) on unlabelled training clips: loss "
        f"to the float network in points on {about['clips']:,} {about['split']} clips of {about['speakers']} speakers, "
        f"with half of its 95 % interval; {len(about['seeds'])} training seeds with {about['chips']} chips each. A "
        "chip calibrates itself an hour before a day has passed, and a day before a year has, beside each drift "
        "compensation ([figures](adabs.csv)):",
        "![Accuracy against the number of unlabelled clips](adabs.svg)",
        *times,
    ]
