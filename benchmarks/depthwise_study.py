"""Ordinary against depthwise convolutions on a crossbar: AnalogNets and their depthwise ancestors, trained alike.

python -m benchmarks.depthwise_study --data DIR --images DIR [--runs runs/depthwise] [--results results]

Every network is a run folder of its own with both stages of the same recipe; what is finished is not done again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd

from analognets.training.run import Run
from benchmarks.kws_study import call, collect, is_evaluated

DEPTHWISE_DIGITAL = "_depthwise_digital"
"""Ending of a variant whose depthwise layers stay digital."""


def model(name: str, options: str = "{}") -> list[str]:
    """Return the override that puts another network into a recipe."""
    return [f"model={{name: {name}, options: {options}}}"]


SPEECH: dict[str, list[str]] = {
    "analognet_kws": [],
    "micronet_kws_s": model("micronet_kws_s", "{dropout: 0.1}"),
    "micronet_kws_m": model("micronet_kws_m", "{dropout: 0.1}"),
    "ds_cnn": model("ds_cnn", "{dropout: [0.0, 0.1]}"),
}
IMAGES: dict[str, list[str]] = {"analognet_vww": [], "mobilenet_v1_025": model("mobilenet_v1_025", "{dropout: 0.1}")}
TWINS = ("micronet_kws_s", "mobilenet_v1_025")
"""Networks that are also tried with their depthwise layers left digital, from the same float network."""


def depthwise_layers(folder: Path) -> list[str]:
    """Return the names of the depthwise layers of a run's network."""
    import keras

    network = Run.open(folder).float_model()
    return [layer.name for layer in network.layers if isinstance(layer, keras.layers.DepthwiseConv2D)]


def study(options: argparse.Namespace) -> dict[str, Path]:
    """Train and evaluate every network that is asked for and not done; return the folders of all that are done."""
    tasks = {name: ("kws", options.data, changes) for name, changes in SPEECH.items()}
    tasks |= {name: ("vww_stand_in", options.images, changes) for name, changes in IMAGES.items()}
    wanted = [] if options.collect else options.only.split(",") if options.only else list(tasks)
    for name in wanted:
        recipe, data, changes = tasks[name]
        folder = options.runs / name
        train(recipe, data, folder, changes, options.chips)
        if name in TWINS:
            left = json.dumps(depthwise_layers(folder))
            twin = options.runs / f"{name}{DEPTHWISE_DIGITAL}"
            extra = ["--float-from", str(folder)]
            train(recipe, data, twin, [*changes, f"hardware_aware.exempt={left}"], options.chips, extra)
    names = [each for name in tasks for each in (name, f"{name}{DEPTHWISE_DIGITAL}")]
    return {name: options.runs / name for name in names if is_evaluated(options.runs / name)}


def train(
    recipe: str, data: Path, folder: Path, changes: list[str], chips: int, extra: list[str] | None = None
) -> None:
    """Train and evaluate one network, unless that is done."""
    words = [word for change in changes for word in ("--set", change)]
    call("train", recipe, "--data", str(data), "--out", str(folder), "--keep", *words, *(extra or []))
    if not is_evaluated(folder):
        call("evaluate", str(folder), "--chips", str(chips), "--drift-compensation", "on")


def occupied(folder: Path, depthwise: str) -> dict[str, float | int]:
    """Return what a run's network takes of the chip."""
    from analognets.deploy.accelerator import place

    placed = place(Run.open(folder).float_model(), accelerator="aon_cim", depthwise=depthwise)
    return {
        "weights": placed.weights,
        "cells": placed.cells,
        "arrays": placed.arrays,
        "utilisation": placed.utilisation,
        "effective_utilisation": placed.effective_utilisation,
        "passes": placed.total_passes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="Speech Commands")
    parser.add_argument("--images", type=Path, help="folder of person and non_person pictures")
    parser.add_argument("--runs", type=Path, default=Path("runs/depthwise"))
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--chips", type=int, default=25)
    parser.add_argument("--only", default="", help="networks, separated by commas")
    parser.add_argument("--collect", action="store_true", help="only write the table of what is done")
    options = parser.parse_args()
    if not (options.collect or (options.data and options.images)):
        parser.error("--data and --images are needed, or --collect")
    folders = study(options)
    table, records = collect(folders)
    chip = {
        name: occupied(options.runs / name.removesuffix(DEPTHWISE_DIGITAL), "digital" if name != plain else "analog")
        for name, plain in ((name, name.removesuffix(DEPTHWISE_DIGITAL)) for name in folders)
    }
    table = table.join(pd.DataFrame.from_dict(chip, orient="index"), on="variant")
    options.results.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.results / "depthwise.csv", index=False, float_format="%.6g")
    (options.results / "depthwise.json").write_text(json.dumps(records, indent=1) + "\n", "utf-8")
    print(table.to_string())


if __name__ == "__main__":
    main()
