"""The results page's part on speed, as ratios to plain Keras that were each measured in one run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.markdown import markdown

RUNS = {
    "hwa_step": "hardware-aware training step, batch 100",
    "hwa_step_resnet8": "the same with the full standard crossbar, ResNet-8 for KWS",
    "hwa_step_gru": "the same with the full standard crossbar, GRU for KWS",
    "drift_evaluation": "one chip at five times, programming included, batch {chip_batch}",
}
PARTS = {
    "noise_only": "noise of the weights alone",
    "converters": "and converters",
    "ir_drop": "and converters and IR drop",
    "short_term_noise": "and converters and short-term noise",
    "output_noise": "and converters and output noise",
    "hardware_aware": "all of it",
}


def found(folder: Path, name: str) -> dict[str, Any] | None:
    """Return a results file, or None."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def ratio_cells(result: dict[str, Any], name: str) -> list[str]:
    """Return a ratio of wall time and that of the processor's."""
    return [f"{result[name]:.2f}", f"{result[f'{name}_cpu']:.2f}"]


def ratio_rows(folder: Path) -> list[list[str]]:
    """Return rows of what was timed, wall and CPU."""
    rows = []
    for name, what in RUNS.items():
        result = found(folder, name)
        if result is None:
            continue
        other_batch = result.get("chip_batch", result.get("batch")) != result.get("batch")
        rows.append([what.format(**result), *ratio_cells(result, "ratio_same_batch" if other_batch else "ratio")])
        if other_batch:
            rows.append(["the same, Keras with batches of {batch}".format(**result), *ratio_cells(result, "ratio")])
        if "ratio_auto" in result:
            rows.append(['the same with precision="auto"', *ratio_cells(result, "ratio_auto")])
    result = found(folder, "sensitivity_sweep")
    if result is not None:
        what = f"a sweep of {len(result['values'])} strengths on {result['chips']} chips, standard crossbar"
        rows.append([what, *ratio_cells(result, "ratio")])
        rows.append(["the same, against as many passes of one programmed chip", *ratio_cells(result, "ratio_analog")])
    return rows


def step_parts(folder: Path) -> str:
    """Return where the time of a training step on the standard crossbar goes, as ratios of wall time to plain Keras."""
    named = {"ResNet-8 for KWS": "hwa_step_resnet8", "GRU for KWS": "hwa_step_gru"}
    timed = {title: (found(folder, name) or {}).get("variants", {}) for title, name in named.items()}
    timed = {title: variants for title, variants in timed.items() if "converters" in variants}
    rows = [
        [what, *(f"{variants[part]['wall_ratio']:.2f}" if part in variants else "" for variants in timed.values())]
        for part, what in PARTS.items()
    ]
    return markdown(["a training step with", *timed], rows) if timed else ""


def parts(folder: Path) -> list[str]:
    """Return the paragraphs on speed.

    Args:
        folder: of the results files.
    """
    rows = ratio_rows(folder)
    texts = (
        ["Each ratio was measured in one run:", markdown(["time against plain Keras", "wall", "CPU"], rows)]
        if rows
        else []
    )
    table = step_parts(folder)
    return [*texts, "Where the time of a step on the standard crossbar goes, wall:", table] if table else texts
