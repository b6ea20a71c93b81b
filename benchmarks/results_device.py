"""The results page's part on devices fitted to simulated cells of hidden ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.markdown import markdown

FILES = ("device_fit.json",)
PARTS = {
    "programming_fit": "programming noise",
    "programming_bias_fit": "mean programming error",
    "drift_mean_fit": "mean drift exponent",
    "drift_spread_fit": "spread of the drift exponent",
    "read_noise_fit": "read noise",
    "stuck_shares": "stuck cells",
}
AIM = 0.9
POINTS = 0.5


def by_part(result: dict[str, Any]) -> str:
    """Return the share of constants within their intervals by part of the device."""
    rows = []
    for field, title in PARTS.items():
        cases = [
            one["inside"] for row in result["rows"] for one in row["constants"]
            if one["constant"].partition("[")[0] == field
        ]  # fmt: skip
        rows.append([title, str(len(cases)), f"{100 * sum(cases) / len(cases):.1f} %"])
    return markdown(["part", "constants", "within their 95 % interval"], rows)


def parts(results: Path) -> list[str]:
    """Return the paragraphs."""
    result: dict[str, Any] = json.loads((results / FILES[0]).read_text("utf-8"))
    share, worst = result["share_inside"], result["largest_accuracy_difference"]
    cases = sum(len(row["constants"]) for row in result["rows"])
    seconds = sum(row["cpu_seconds"] for row in result["rows"]) / len(result["rows"])
    return [
        f"{result['devices']} hidden devices with constants drawn by seed, {result['cells']:,} cells each, simulated "
        f"in NumPy by no code of the package, and fitted: {100 * share:.1f} % of {cases} constants lie in their 95 % "
        f"interval (aim: at least {100 * AIM:.0f} %, {'met' if share >= AIM else 'not met'}). The accuracy of a small "
        f"network after a day on {result['chips']} chips of the fitted device is within {worst:.2f} points of that on "
        f"chips of the hidden one (aim: {POINTS:g} points, {'met' if worst <= POINTS else 'not met'}). A fit takes "
        f"{seconds:.0f} s of CPU time ([figures](device_fit.json)).",
        by_part(result),
    ]
