"""Where the factor against drift stands: after the ADC, per column, or before the DAC, at 8, 6 and 4 bits.

python -m benchmarks.compensation_study --data DIR --runs RUNS [--seeds 0 1 2] [--chips 6] [--split validation]

RUNS is the folder of `benchmarks.headline_study`: nothing is trained here. Each network keeps its weights and converter
ranges, and the same chips are read with each rule. Decisions are made on validation clips; the table says which split
it is of.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np

from analognets.core.files import write_json
from analognets.deploy.chips.chips import program
from analognets.deploy.studies.evaluate import network_on_chips
from analognets.metrics import mean_interval
from analognets.zoo.trained import open_trained
from benchmarks._measure import facts

RESULT = Path(__file__).parents[1] / "results" / "compensation.json"
RULES = ("global", "column", "input")
TIMES = ("25s", "1h", "1d", "1y")


def rights(folder: Path, data: tuple[Any, Any], chips: int) -> dict[str, dict[str, np.ndarray]]:
    """Return for each rule and time the share of chips that are right about each clip; "float" is the float network."""
    trained = open_trained(folder, wants=("analog",))
    found: dict[str, dict[str, np.ndarray]] = {}
    for rule in RULES:
        decided = program(network_on_chips(trained, rule), chips).decide(data, at=TIMES)
        found[rule] = {name: column.to_numpy() for name, column in decided.by_sample().items()}
    outputs = trained.float_model().predict(data[0], batch_size=250, verbose=0)
    found["float"] = {"": decided.right(outputs, data[1]).astype(float)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of Speech Commands")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--chips", type=int, default=6)
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    options = parser.parse_args()
    task = open_trained(options.runs / "kws" / str(options.seeds[0]) / "hwa_8bit").task(options.data, calibrate=False)
    data, speakers = task.features(options.split), task.data.splits[options.split].speakers
    rows = []
    for bits in (8, 6, 4):
        folders = [options.runs / "kws" / str(seed) / f"hwa_{bits}bit" for seed in options.seeds]
        found = [rights(folder, data, options.chips) for folder in folders]
        floats = np.stack([one["float"][""] for one in found])
        for rule, at in itertools.product(RULES, TIMES):
            right = np.stack([one[rule][at] for one in found])
            accuracy, loss = mean_interval(right, speakers), mean_interval(100 * (floats - right), speakers)
            row = {"bits": bits, "rule": rule, "at": at, "accuracy": accuracy.mean}
            rows.append({**row, "loss": loss.mean, "loss_low": loss.low, "loss_high": loss.high})
            print(rows[-1], flush=True)
    found_on = {"split": options.split, "clips": len(data[1]), "seeds": options.seeds, "chips": options.chips}
    write_json(RESULT, {"benchmark": "compensation", "about": __doc__, **found_on, "rows": rows, **facts()})
    print(f"wrote {RESULT}")


if __name__ == "__main__":
    main()
