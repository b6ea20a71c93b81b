"""Convolutional, recurrent and attention networks on the standard crossbar: how training decides what drift leaves.

python -m benchmarks.topology_study --data DIR [--runs runs/topologies] [--only kws_gru] [--variants device]

For each network one float training, and from it five analog ones: mapped directly, trained with the crossbar but
without weight noise, with Gaussian noise, with the noise of the devices, and that distilled. All of it is resumable and
what is finished is not done again; --collect only writes the tables. With --split validation the networks are measured
on validation clips, for choices between recipes, and the tables are called topologies_validation.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd

from analognets.metrics import chance_error, normalized_accuracy
from analognets.training.run import Run
from benchmarks.kws_study import call, collect, is_evaluated, results_of

TOPOLOGIES = {"cnn": "kws_resnet8", "rnn": "kws_gru", "transformer": "kws_transformer"}
TIMES = "1s,1h,1d,1y"
STAGE = "hardware_aware."
VARIANTS: dict[str, list[str]] = {
    "direct_mapping": [f"{STAGE}epochs=0", f"{STAGE}weight_noise=0", f"{STAGE}weight_range_sigma=null"],
    "no_noise": [f"{STAGE}weight_noise=0"],
    "gaussian": [f"{STAGE}noise_model=gaussian", f"{STAGE}weight_noise=0.11"],
    "device": [f"{STAGE}noise_model=device", f"{STAGE}weight_noise=3.0"],
    "distilled": [f"{STAGE}noise_model=device", f"{STAGE}weight_noise=3.0", f"{STAGE}distillation={{}}"],
}
"""0.11 is as strong as three times the device noise on columns of normal weights cut at 2.5 sigma (0.114 to 0.118)."""
WIDE = ("epochs=10", "learning_rate=1.0e-3", "calibration.percentile=99.995", "range_learning_rate_scale=1.0")
ALTERNATIVES = {"cnn": {"wide_ranges": [f"{STAGE}{setting}" for setting in WIDE]}}
"""What a recipe was chosen over; for --split validation."""


def variants(topology: str, split: str) -> dict[str, list[str]]:
    """Return the trainings of a network and their overrides; those it was chosen over only on validation clips."""
    return VARIANTS if split == "test" else {**VARIANTS, **ALTERNATIVES.get(topology, {})}


def study(options: argparse.Namespace) -> None:
    """Train and evaluate what is asked for and not done."""
    for topology, recipe in TOPOLOGIES.items():
        if options.only and recipe not in options.only.split(","):
            continue
        root = options.runs / topology
        data = ("--data", str(options.data), "--keep")
        call("train", recipe, *data, "--out", str(root / "float"), "--set", "hardware_aware=null")
        for name, overrides in variants(topology, options.split).items():
            if options.variants and name not in options.variants.split(","):
                continue
            words = [word for override in overrides for word in ("--set", override)]
            source = ("--float-from", str(root / "float"))
            call("train", recipe, *data, "--out", str(root / name), *source, *words)
            if not is_evaluated(root / name, options.split):
                place = () if options.split == "test" else ("--split", options.split)
                out = ("--out", str(results_of(root / name, options.split)))
                call("evaluate", str(root / name), "--chips", str(options.chips), "--at", TIMES, *place, *out)


def tables(runs: Path, split: str = "test") -> tuple[pd.DataFrame, list[dict[str, object]]]:
    """Return one row a network, training and time with its normalised accuracy, and what each was made with."""
    parts, records = [], []
    for topology in TOPOLOGIES:
        folders = {name: runs / topology / name for name in variants(topology, split)}
        folders = {name: folder for name, folder in folders.items() if is_evaluated(folder, split)}
        if not folders:
            continue
        table, made = collect(folders, split)
        table.insert(0, "topology", topology)
        classes = len(Run.open(next(iter(folders.values()))).record["data"]["classes"])
        table["classes"] = classes
        parts.append(table)
        records += [{"topology": topology, **record} for record in made]
    table = pd.concat(parts, ignore_index=True)
    float_error = 1.0 - table["float_accuracy"]
    chance = table["classes"].map(chance_error)
    table["normalized_accuracy"] = normalized_accuracy(1.0 - table["mean"], float_error, chance)
    table["standard_error"] = table["std"] / table["chips"] ** 0.5
    return table, records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="Speech Commands")
    parser.add_argument("--runs", type=Path, default=Path("runs/topologies"))
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--chips", type=int, default=15)
    parser.add_argument("--only", default="", help="recipes, separated by commas")
    parser.add_argument("--variants", default="", help="trainings, separated by commas")
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    parser.add_argument("--collect", action="store_true", help="only write the table of what is done")
    options = parser.parse_args()
    if not (options.collect or options.data):
        parser.error("--data is needed, or --collect")
    if not options.collect:
        study(options)
    table, records = tables(options.runs, options.split)
    options.results.mkdir(parents=True, exist_ok=True)
    name = "topologies" if options.split == "test" else f"topologies_{options.split}"
    table.to_csv(options.results / f"{name}.csv", index=False, float_format="%.6g")
    (options.results / f"{name}.json").write_text(json.dumps(records, indent=1) + "\n", "utf-8")
    print(table.to_string())


if __name__ == "__main__":
    main()
