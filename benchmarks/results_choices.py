"""The results page's part on choices between recipes for keywords: all made on validation clips."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from analognets.metrics import format_interval
from benchmarks.low_bit_study import BASE, RECIPE, VARIANTS, changes
from benchmarks.markdown import markdown


def compensation(results: Path) -> list[str]:
    """Return the paragraphs on where the drift-compensation factor is applied."""
    found = json.loads((results / "compensation.json").read_text("utf-8"))
    rows = []
    for one in found["rows"]:
        if one["at"] in ("1d", "1y"):
            loss = format_interval(one["loss"], one["loss_low"], one["loss_high"], form="{:+.2f}")
            rows.append([str(one["bits"]), one["rule"], one["at"], f"{100 * one['accuracy']:.2f}", loss])
    return [
        "AnalogNet-KWS from float networks before their distillation, the same weights and chips with the factor after "
        "the ADC (`global`), after it and per column (`column`), or before the DAC (`input`), which the networks were "
        f"trained with: {found['split']} clips, {len(found['seeds'])} training seeds, {found['chips']} chips each, "
        "losses to the float network in points with half of their 95 % intervals ([figures](compensation.json)). At "
        "4 bit `input` is the default of the hardware.",
        markdown(["bits", "factor", "at", "accuracy in %", "loss"], rows),
    ]


def floats(results: Path) -> list[str]:
    """Return the paragraphs on what a float keyword spotter gains from."""
    found = pd.DataFrame(json.loads((results / "kws_float.json").read_text("utf-8")))
    rows = []
    for what, part in found.groupby("what", sort=False):
        each = 100 * part.sort_values("seed")["validation_accuracy"]
        rows.append([str(what), ", ".join(f"{value:.2f}" for value in each), f"{each.mean():.2f}"])
    clips = int(found["validation_clips"].iloc[0])
    share = found["validation_accuracy"].mean()
    spread = 100 * (share * (1 - share) / clips) ** 0.5
    return [
        f"Float AnalogNet-KWS, accuracy in % on {clips:,} validation clips after the last epoch; each change but the "
        "length and the four teachers was made once, to 160 epochs with seed 0. A difference below about "
        f"{2 * spread:.1f} points can be chance: one figure has a standard error of {spread:.1f} "
        "([figures, commits](kws_float.json)).",
        markdown(["training", "each seed", "mean"], rows),
    ]


def low_bits(results: Path) -> list[str]:
    """Return the paragraphs on the hardware-aware trainings at 4 bit: before the recipe, and of its parts."""
    table = pd.read_csv(results / "low_bits_4bit.csv")
    chips, seeds = int(table["chips"].iloc[0]), table["seed"].nunique()
    base = " and ".join(BASE).replace("hardware_aware.", "")
    found = [
        f"AnalogNet-KWS at 4 bit, {table['split'].iloc[0]} clips, {seeds} training seed, {chips} chips, losses in "
        "points with half of their 95 % intervals to the float network that all trainings of a table start from, which "
        "is one before the distillation ([figures](low_bits_4bit.csv)). One change each to a recipe with "
        f"{base}, which led to the rate of the recipe:",
        _changes(table, VARIANTS),
    ]
    missing = [name.replace("_", " ") for name in RECIPE if name not in set(table["variant"])]
    if len(missing) < len(RECIPE):
        note = f" Not trained: {', '.join(missing)}." if missing else ""
        found += [
            "One part each of the recipe left out or changed, at half of the epochs that the 4-bit preset had, from "
            f"another float network.{note}",
            _changes(table, RECIPE),
        ]
    return found


def _changes(table: pd.DataFrame, names: Iterable[str]) -> str:
    """Return the losses of some trainings as a table."""
    rows = []
    for name in names:
        by_time = table[table["variant"] == name].set_index("at")
        if by_time.empty:
            continue
        told = ", ".join(changes(name, int(by_time["bits"].iloc[0]))).replace("hardware_aware.", "") or "none"
        cells = [
            format_interval(row["loss"], row["loss_low"], row["loss_high"], form="{:+.2f}")
            for row in (by_time.loc[at] for at in ("25s", "1d", "1y"))
        ]
        rows.append([told, *cells])
    return markdown(["change", "loss at 25 s", "1 d", "1 y"], rows)
