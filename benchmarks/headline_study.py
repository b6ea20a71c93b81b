"""The headline networks with some training seeds each: accuracy and losses over drift time, with 95 % intervals.

python -m benchmarks.headline_study --data DIR [--pictures DIR] [--runs runs/headline] [--seeds 0 1 2] [--only kws]
    [--collect]

RUNS/<recipe>/<seed>/float is the float network of a seed, and beside it lie the hardware-aware ones made from it. That
of `kws` is distilled: RUNS/kws/<seed>/first goes on with the mean of four networks as its teacher, two of which are
those of `benchmarks.float_study`, in ../kws_float from RUNS. At 4 bit there is one network from each of the two. All of
it is resumable, and what is finished is not done again; --collect only writes results/headline.csv, .json and
headline_drift.png.

An interval counts test clips, grouped by speaker, and training seeds, each with its own chips. Losses are paired: for
each clip the float network (or the same weights, digital) of the same seed is compared with the share of chips that are
right. The interval of A* is that of the loss, with the float accuracy taken as it is.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analognets.metrics import Interval, chance_error, mean_interval, normalized_accuracy
from analognets.training.run import Run
from benchmarks import float_study, results_headline
from benchmarks.kws_study import call, is_evaluated

RESULTS = Path(__file__).parents[1] / "results"
PRESET = "hardware_aware.hardware.preset"
FOUR_BITS = [f"{PRESET}=aon_cim_4bit", "hardware_aware.epochs=80"]
LONGER = ("epochs=50", "steady_after=12", "learning_rate=3e-3")
NETWORKS: dict[str, dict[str, list[str]]] = {
    "kws": {
        "hwa_8bit": [],
        "hwa_6bit": [f"{PRESET}=aon_cim_6bit"],
        "hwa_4bit": FOUR_BITS,
        "hwa_4bit_distilled": FOUR_BITS,
    },
    "kws_resnet8": {"hwa_standard": []},
    "kws_gru": {"hwa_standard": []},
    "vww_photographs": {
        "hwa_8bit": [],
        "hwa_6bit": [f"{PRESET}=aon_cim_6bit"],
        "hwa_4bit": [f"{PRESET}=aon_cim_4bit", *(f"hardware_aware.{more}" for more in LONGER)],
    },
}
"""Recipes, and the overrides of each hardware-aware training."""
DISTILLED = ("kws",)
"""The recipes whose float network goes on with several teachers."""
UNDISTILLED = ("hwa_4bit",)
"""The networks of these recipes that are made from the float network before that."""
PICTURES = ("vww_photographs",)
"""The recipes of pictures."""


def study(options: argparse.Namespace) -> None:
    """Train and evaluate what is asked for and not done."""
    for recipe, variants in NETWORKS.items():
        folder = options.pictures if recipe in PICTURES else options.data
        for seed in options.seeds if folder and (not options.only or recipe in options.only) else ():
            root = options.runs / recipe / str(seed)
            train_float(root, folder)
            for name, overrides in variants.items():
                words = [word for override in overrides for word in ("--set", override)]
                train(root / name, folder, "--float-from", str(float_of(root / name)), *words)
                if not is_evaluated(root / name):
                    call("evaluate", str(root / name), "--data", str(folder), "--drift-compensation", "on")


def train(run: Path, data: Path, *words: str) -> None:
    """Train RUNS/<recipe>/<seed>/<name>; what is finished is kept."""
    recipe, seed = run.parents[1].name, run.parent.name
    call("train", recipe, "--data", str(data), "--seed", seed, "--keep", "--out", str(run), *words)


def train_float(root: Path, data: Path) -> None:
    """Train the float network of a seed, and first its teachers if it has some."""
    plain = ("--set", "hardware_aware=null")
    if root.parent.name not in DISTILLED:
        train(root / "float", data, *plain)
        return
    runs, others = root.parent, root.parents[2] / "kws_float"
    teachers = [runs / seed / "first" for seed in "01"] + [others / name for name in float_study.TEACHERS[2:]]
    for first in {*teachers[:2], root / "first"}:
        train(first, data, *plain)
    for teacher in teachers[2:]:
        float_study.train(data, others, teacher.parent.name, int(teacher.name))
    changes = [*float_study.FURTHER, f"teacher=[{', '.join(map(str, teachers))}]"]
    words = [word for one in changes for word in ("--set", one)]
    train(root / "float", data, "--float-from", str(root / "first"), *plain, *words)


def float_of(folder: Path) -> Path:
    """Return the folder of the float network that a hardware-aware one is made from."""
    recipe = folder.parents[1].name
    return folder.parent / ("first" if recipe in DISTILLED and folder.name in UNDISTILLED else "float")


def rows_of(recipe: str, variant: str, folders: list[Path]) -> list[dict[str, Any]]:
    """Return a row for each time, over the seeds that are evaluated."""
    tables = [pd.read_csv(folder / "results" / "samples.csv", keep_default_na=False) for folder in folders]
    summaries = [pd.read_csv(folder / "results" / "summary.csv") for folder in folders]
    speakers = tables[0]["speaker"].astype(str).tolist()
    chance = chance_error(tables[0]["class"].nunique())
    rows = []
    for at in summaries[0]["at"]:
        right = np.stack([table[at].to_numpy(float) for table in tables])
        accuracy = mean_interval(right, speakers)
        row = {"recipe": recipe, "variant": variant, "at": at, "seeds": len(tables)}
        row |= {"seconds": float(summaries[0].set_index("at").loc[at, "seconds"])}
        row |= {"chips_per_seed": int(summaries[0]["chips"].iloc[0]), "clips": right.shape[1]}
        row |= {"speakers": len(set(speakers) - {""}), **ends("mean", accuracy)}
        row["std_over_seeds"] = float(right.mean(axis=1).std(ddof=1)) if len(tables) > 1 else None
        row["std_over_chips"] = float(np.mean([summary.set_index("at").loc[at, "std"] for summary in summaries]))
        for reference, name in (("float", "loss"), ("digital", "digital_loss")):
            other = np.stack([table[reference].to_numpy(float) for table in tables])
            row |= {f"{reference}_accuracy": float(other.mean())}
            row |= ends(name, mean_interval(100 * (other - right), speakers))
        error = 1 - row["float_accuracy"]
        for name, loss in (("accuracy", "loss"), ("low", "loss_high"), ("high", "loss_low")):
            row[f"normalized_{name}"] = normalized_accuracy(error + row[loss] / 100, error, chance)
        rows.append(row)
    return rows


def ends(name: str, found: Interval) -> dict[str, float]:
    """Return a mean and the ends of its interval as columns."""
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def collect(runs: Path) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Return the table of all networks, and what each run was made with."""
    rows: list[dict[str, Any]] = []
    records = []
    for recipe, variants in NETWORKS.items():
        for variant in variants:
            folders = [path for path in sorted((runs / recipe).glob(f"*/{variant}")) if is_evaluated(path)]
            if not folders:
                continue
            rows += rows_of(recipe, variant, folders)
            for folder in folders:
                run = Run.open(folder)
                first = Run.open(float_of(folder))
                kept = {key: run.record.get(key) for key in ("git_commit", "versions")}
                data = {key: run.record["data"].get(key) for key in ("name", "version", "statement", "clips")}
                record = {"recipe": recipe, "variant": variant, "seed": run.recipe.seed, **kept, "data": data}
                record["fingerprint"], record["settings"] = run.recipe.fingerprint(), run.recipe.to_dict()
                records.append({**record, "float_stage": first.recipe.to_dict()["float"]})
    return pd.DataFrame(rows), records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of Speech Commands")
    parser.add_argument("--pictures", type=Path, help="folder of photographs with and without persons")
    parser.add_argument("--runs", type=Path, default=Path("runs/headline"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=NETWORKS)
    parser.add_argument("--note", default="", help="how the networks were trained, if not by this script alone")
    parser.add_argument("--collect", action="store_true", help="only write the table of what is done")
    options = parser.parse_args()
    if not (options.collect or options.data or options.pictures):
        parser.error("--data or --pictures is needed, or --collect")
    if not options.collect:
        study(options)
    table, records = collect(options.runs)
    table.to_csv(RESULTS / "headline.csv", index=False, float_format="%.6g")
    results_headline.drift_figure(table, RESULTS / results_headline.PICTURE)
    about = {"note": options.note, "runs": records}
    (RESULTS / "headline.json").write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    print(table.to_string())


if __name__ == "__main__":
    main()
