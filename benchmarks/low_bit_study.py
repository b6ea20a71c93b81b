"""What makes low bits last: the parts of the training that knows the chip's life, each left out or put in once.

python -m benchmarks.low_bit_study --data DIR --floats RUNS [--runs runs/low_bits] [--bits 4] [--seeds 0] [--only ...]

RUNS holds float networks as SEED/float. From each, hardware-aware trainings are measured on validation clips: these are
choices between recipes. The first set has one training with the settings `BASE` and one for each change to them; it led
to the rate of the recipe. The second set has the recipe as it is, and one training for each part of it left out or
changed. All of it is resumable, and what is finished is not done again; --collect only writes the table.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.kws_study import call, collect, is_evaluated, results_of

TIMES = "25s,1h,1d,30d,1y"
STAGE = "hardware_aware."
BASE = [f"{STAGE}epochs=80", f"{STAGE}learning_rate=1.5e-3"]
"""What the trainings of `VARIANTS` have unless they change it."""
VARIANTS: dict[str, list[str]] = {
    "base": [],
    "twice_the_rate": [f"{STAGE}learning_rate=3e-3"],
    "less_noise": [f"{STAGE}weight_noise=0.4"],
    "faster_ranges": [f"{STAGE}range_learning_rate_scale=15"],
    "distilled": [f"{STAGE}distillation={{temperature: 4, soft_share: 0.5}}"],
    "steady_later": [f"{STAGE}steady_after=40"],
}
"""Name of each training and its changes to `BASE`."""
RECIPE: dict[str, list[str]] = {
    "recipe": [],
    "noise_at_first_reading": [f"{STAGE}noise_model=device"],
    "compensation_after_adc": [f"{STAGE}hardware.drift_compensation=global"],
    "saturated_gradient": [f"{STAGE}range_gradient=saturated"],
    "percentile_ranges": [f"{STAGE}calibration.rule=percentile"],
    "dac_one_bit_more": [],
    "statistics_of_batches": [f"{STAGE}steady_after=null"],
    "gaussian_noise": [f"{STAGE}noise_model=gaussian", f"{STAGE}weight_noise=0.056"],
    "all_of_the_noise": [f"{STAGE}weight_noise=1.0"],
    "slow_ranges": [f"{STAGE}range_learning_rate_scale=1"],
}
"""Name of each training and its changes to the recipe, which has 40 epochs."""


def changes(name: str, bits: int) -> list[str]:
    """Return the changes of a variant to `BASE` or to the recipe."""
    if name == "dac_one_bit_more":
        return [f"{STAGE}hardware.dac_bits={bits + 1}"]
    return VARIANTS[name] if name in VARIANTS else RECIPE[name]


def overrides(name: str, bits: int) -> list[str]:
    """Return all changes of a variant to the recipe at a resolution."""
    chip = f"{STAGE}hardware.preset=aon_cim_{bits}bit"
    return [*(BASE if name in VARIANTS else []), chip, *changes(name, bits)]


def study(options: argparse.Namespace) -> dict[str, Path]:
    """Train and evaluate what is asked for and not done; return the folders of all that are done."""
    names = [*VARIANTS, *RECIPE]
    wanted = options.only.split(",") if options.only else names
    folders = {}
    for seed in options.seeds:
        for name in names:
            folder = options.runs / f"{options.bits}bit" / str(seed) / name
            if name in wanted and not options.collect:
                words = [word for one in overrides(name, options.bits) for word in ("--set", one)]
                source = ("--float-from", str(options.floats / str(seed) / "float"), "--seed", str(seed))
                call("train", "kws", "--data", str(options.data), "--out", str(folder), "--keep", *source, *words)
                if not is_evaluated(folder, "validation"):
                    place = ("--split", "validation", "--out", str(results_of(folder, "validation")))
                    place += ("--drift-compensation", "on")
                    call("evaluate", str(folder), "--chips", str(options.chips), "--at", TIMES, *place)
            if is_evaluated(folder, "validation"):
                folders[f"{seed}/{name}"] = folder
    return folders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="Speech Commands")
    parser.add_argument("--floats", type=Path, help="folder of float networks")
    parser.add_argument("--runs", type=Path, default=Path("runs/low_bits"))
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--bits", type=int, choices=(4, 6, 8), default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--chips", type=int, default=8)
    parser.add_argument("--only", default="", help="variants, separated by commas")
    parser.add_argument("--collect", action="store_true", help="only write the table of what is done")
    options = parser.parse_args()
    if not (options.collect or (options.data and options.floats)):
        parser.error("--data and --floats are needed, or --collect")
    table, records = collect(study(options), "validation")
    table = table[table["drift_compensation"]].reset_index(drop=True)
    table[["seed", "variant"]] = table["variant"].str.split("/", n=1, expand=True)
    table.insert(0, "bits", options.bits)
    options.results.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.results / f"low_bits_{options.bits}bit.csv", index=False, float_format="%.6g")
    (options.results / f"low_bits_{options.bits}bit.json").write_text(json.dumps(records, indent=1) + "\n", "utf-8")
    print(table.to_string())


if __name__ == "__main__":
    main()
