"""The results page's part on listening: false alarms per hour and misses over drift time, from the results file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.markdown import markdown, over_chips


def rates(result: dict[str, Any]) -> str:
    """Return false alarms per hour and misses of each network and time."""
    rows = []
    for network in result["networks"]:
        for row in network["rows"]:
            cells = [over(row, "false_alarms_per_hour", 1.0), over(row, "miss_rate", 100.0)]
            rows.append([network["network"], row["title"], f"{row['threshold']:g}", *cells])
    return markdown(["network", "since programming", "threshold", "false alarms per hour", "missed keywords, %"], rows)


def over(row: dict[str, Any], name: str, scale: float) -> str:
    """Return a mean with half of its interval over chips."""
    return over_chips(row[name], row[f"{name}_std"], max(1, row["chips"]), scale, digits=1)


def powers(result: dict[str, Any]) -> str:
    """Return the mean power of each network on the accelerator."""
    rows = [
        [
            network["network"],
            f"{power['energy_uj']:.2f}",
            f"{power['inferences_per_second']:g}",
            f"{100 * power['duty']:.3f}",
            f"{power['power_uw']:.1f}",
            f"{power['power_ungated_uw']:,.0f}",
        ]
        for network in result["networks"]
        if (power := network["power"])
    ]
    heads = ["network", "uJ an inference", "inferences/s", "duty cycle, %", "mean power, uW", "array not gated, uW"]
    return markdown(heads, rows)


def parts(results: Path) -> list[str]:
    """Return the paragraphs."""
    result = json.loads((results / "stream.json").read_text("utf-8"))
    first = result["networks"][0]
    asked = first["settings"]
    words = first["rows"][0]["words"]
    slowest = max(network["time_ratio"] for network in result["networks"])
    commits = sorted({network["origin"]["git_commit"][:7] for network in result["networks"]})
    return [
        f"Presets of commit {', '.join(commits)} on {first['hours']:g} h of running audio: clips of the test split "
        f"({words} of them keywords, about {asked['words_per_minute']:g} clips a minute, unknown words included) over "
        f"background made of its silence clips, {asked['noise_rms'][0]:g} to {asked['noise_rms'][1]:g} of full scale. "
        f"An inference every {asked['step']:g} s, posteriors averaged over {asked['smoothing']:g} s, at least "
        f"{asked['suppression']:g} s between detections. The threshold was chosen on {asked['validation_hours']:g} h "
        f"of validation audio for {asked['target']:g} false alarms per hour after 25 s, and stays. Mean and half of "
        f"its 95 % interval over {asked['chips']} chips, one training seed; how often words come and how loud the "
        "background is follows no recording ([each chip](stream.csv), [each threshold](stream_det.csv), "
        "[settings](stream.json)):",
        rates(result),
        "![False alarms and misses](stream.svg)",
        f"Mean power on AON-CiM, switched off between inferences. {first['power']['not_counted']}",
        powers(result),
        f"Evaluating took at most {slowest:.3f} of the audio's time on each chip at each time, features included.",
    ]
