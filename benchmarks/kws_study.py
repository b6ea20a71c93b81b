"""AnalogNet-KWS on real speech: bits, noise sweep and ablations, from one float network; resumable.

python -m benchmarks.kws_study --data DIR [--runs runs/kws_study] [--results results] [--only hwa_8bit,...]

Every variant is a run folder of its own, trained by `analognets train` and evaluated by `analognets evaluate`; what is
finished is not done again. The tables in --results are collected from those folders.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import pandas as pd

from analognets.cli.app import main as analognets
from analognets.training.run import Run

ETAS = (0.026, 0.037, 0.056, 0.075, 0.11)
CHOSEN = "hwa_8bit"


def variants(recipe_eta: float) -> dict[str, list[str]]:
    """Return the overrides of each variant of the recipe."""
    stage = "hardware_aware."
    chosen: dict[str, list[str]] = {
        CHOSEN: [],
        "hwa_6bit": [f"{stage}hardware.preset=aon_cim_6bit"],
        "hwa_4bit": [f"{stage}hardware.preset=aon_cim_4bit"],
        "direct_mapping": [f"{stage}epochs=0", f"{stage}weight_noise=0", f"{stage}weight_range_sigma=null"],
        "no_noise": [f"{stage}weight_noise=0"],
        "free_gain": [f"{stage}hardware.adc_gain=per_layer"],
    }
    sweep = {f"eta_{100 * eta:g}": [f"{stage}weight_noise={eta}"] for eta in ETAS if eta != recipe_eta}
    return {**chosen, **sweep}


def call(*words: str) -> None:
    """Run one command of the package in this process; end the study if it fails."""
    print("$ analognets", *words, flush=True)
    try:
        analognets(list(words))
    except SystemExit as end:
        if end.code not in (0, None):
            raise


def results_of(folder: Path, split: str = "test") -> Path:
    """Return where the results of a run on a split of the data lie."""
    return folder / ("results" if split == "test" else f"results_{split}")


def is_evaluated(folder: Path, split: str = "test") -> bool:
    """Whether all results are there: the report is written last."""
    return (results_of(folder, split) / "report.html").exists()


def train_and_evaluate(name: str, overrides: list[str], options: argparse.Namespace) -> None:
    """Train one variant on the shared float network and evaluate it, unless that is done."""
    folder = options.runs / name
    words = [word for override in overrides for word in ("--set", override)]
    shared = () if name == "float" else ("--float-from", str(options.runs / "float"))
    recipe = ["--recipe", options.recipe, "--data", str(options.data), "--out", str(folder), "--keep"]
    call("train", "kws", *recipe, *shared, *words)
    if name != "float" and not is_evaluated(folder):
        mode = "both" if name == CHOSEN else "on"
        call("evaluate", str(folder), "--chips", str(options.chips), "--drift-compensation", mode)


def collect(folders: dict[str, Path], split: str = "test") -> tuple[pd.DataFrame, list[dict[str, object]]]:
    """Return the summaries of all variants as one table, and what each was made with."""
    tables, records = [], []
    for name, folder in folders.items():
        run = Run.open(folder)
        stage = run.recipe.hardware_aware
        if stage is None:
            continue
        summary = pd.read_csv(results_of(folder, split) / "summary.csv")
        summary.insert(0, "variant", name)
        summary.insert(1, "hardware", stage.hardware.preset)
        summary.insert(2, "weight_noise", stage.weight_noise)
        tables.append(summary)
        records.append(
            {
                "variant": name,
                "fingerprint": run.recipe.fingerprint(),
                "recipe": run.recipe.to_dict(),
                "git_commit": run.record.get("git_commit"),
                "versions": run.record["versions"],
                "data": {k: v for k, v in run.record["data"].items() if k not in ("folder", "float_from", "notes")},
            }
        )
    return pd.concat(tables, ignore_index=True), records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", default="kws")
    parser.add_argument("--runs", type=Path, default=Path("runs/kws_study"))
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--chips", type=int, default=25)
    parser.add_argument("--only", default="", help="variants, separated by commas")
    options = parser.parse_args()
    from analognets.zoo.tasks import find_recipe

    stage = find_recipe(options.recipe).hardware_aware
    if stage is None:
        sys.exit("The recipe has no hardware-aware stage.")
    train_and_evaluate("float", ["hardware_aware=null"], options)
    names = variants(stage.weight_noise)
    wanted = options.only.split(",") if options.only else list(names)
    for name in wanted:
        train_and_evaluate(name, names[name], options)
        folders = {each: options.runs / each for each in names if is_evaluated(options.runs / each)}
        table, records = collect(folders)
        options.results.mkdir(parents=True, exist_ok=True)
        if CHOSEN in folders:
            shutil.copyfile(folders[CHOSEN] / "results" / "drift.png", options.results / "kws_drift.png")
        table.to_csv(options.results / "kws.csv", index=False, float_format="%.6g")
        (options.results / "kws.json").write_text(json.dumps(records, indent=1) + "\n", "utf-8")
    print(table.to_string())


if __name__ == "__main__":
    main()
