"""How many unlabelled clips a chip needs to calibrate its batch-norms (AdaBS), beside each drift compensation.

python -m benchmarks.adabs_study --data DIR --runs RUNS [--seeds 0 1 2] [--chips 6] [--split validation]

RUNS is the folder of `benchmarks.headline_study`: nothing is trained here. The clips are of the training split, drawn
for each training seed (the first N of one order) in the shares of classes that training has; accuracy is of the split
that the table names. A chip calibrates itself an hour before it is measured after a day, and a day before it is
measured after a year, so that both readings have read noise of their own; the column "calibrated" says when. The rows
after a year that were calibrated after 23 hours tell how long a calibration holds. An interval counts clips, grouped by
speaker, and training seeds, each with its own chips and calibration clips.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analognets.core.figures import COLOURS, new_figure, saved
from analognets.core.files import write_json
from analognets.deploy.chips.chips import program
from analognets.deploy.studies.evaluate import network_on_chips
from analognets.metrics import mean_interval
from analognets.zoo.tasks import evenly
from analognets.zoo.trained import open_trained
from benchmarks._measure import facts

RESULTS = Path(__file__).parents[1] / "results"
RULES = ("global", "column", "input")
COUNTS = (10, 25, 50, 100, 250, 1000)
BITS = (8, 6, 4)
TIMES = {"1d": "23h", "1y": "364d"}
"""When chips are measured, and when they calibrated themselves for that."""
NEVER = "never"
Key = tuple[str, int, str, str]
"""Rule, clips, time of the measurement, time of the calibration."""


def rights(folder: Path, data: tuple[Any, Any], clips: Any, counts: list[int], chips: int) -> dict[Key, np.ndarray]:
    """Return the share of chips that are right about each clip; the float network under the rule "float".

    Args:
        folder: of a run.
        data: features and labels to measure on.
        clips: features to calibrate on, in random order.
        counts: how many of the first of them.
        chips: how many to programme.
    """
    trained = open_trained(folder, wants=("analog",))
    found: dict[Key, np.ndarray] = {}
    for rule in RULES:
        made = program(network_on_chips(trained, rule), chips)
        decided = made.decide(data, at=list(TIMES))
        found |= {(rule, 0, at, NEVER): right.to_numpy() for at, right in decided.by_sample().items()}
        for count in counts:
            pending = list(TIMES)
            for calibrated in TIMES.values():
                made.calibrate(clips[:count], at=calibrated)
                for at, right in made.decide(data, at=pending).by_sample().items():
                    found[rule, count, str(at), calibrated] = right.to_numpy()
                pending = pending[1:]
            made.calibrations.clear()
    outputs = trained.float_model().predict(data[0], batch_size=250, verbose=0)
    found["float", 0, "", NEVER] = decided.right(outputs, data[1]).astype(float)
    return found


def rows_of(bits: int, found: list[dict[Key, np.ndarray]], speakers: list[str]) -> list[dict[str, Any]]:
    """Return a row for each rule, number of clips and time, over the training seeds."""
    floats = np.stack([one["float", 0, "", NEVER] for one in found])
    rows = []
    for key in (key for key in found[0] if key[0] != "float"):
        right = np.stack([one[key] for one in found])
        accuracy, loss = mean_interval(right, speakers), mean_interval(100 * (floats - right), speakers)
        row: dict[str, Any] = {"bits": bits, **dict(zip(("rule", "clips", "at", "calibrated"), key, strict=True))}
        row |= {"accuracy": accuracy.mean, "low": accuracy.low, "high": accuracy.high}
        rows.append({**row, "loss": loss.mean, "loss_low": loss.low, "loss_high": loss.high})
    return rows


def figure(table: pd.DataFrame, path: Path | None = None) -> Any:
    """Draw accuracy against the number of clips: a row of panels for each time, a panel for each number of bits."""
    widths, times = list(dict.fromkeys(table["bits"])), list(TIMES)
    drawn = new_figure(3.2 * len(widths), 2.8 * len(times))
    panels = drawn.subplots(len(times), len(widths), sharex=True, squeeze=False)
    for (place, at), (column, bits) in ((one, other) for one in enumerate(times) for other in enumerate(widths)):
        axes, part = panels[place][column], table[(table["bits"] == bits) & (table["at"] == at)]
        for colour, rule in zip(COLOURS, RULES, strict=False):
            of_rule = part[part["rule"] == rule]
            curve = of_rule[of_rule["calibrated"] == TIMES[at]].sort_values("clips")
            axes.plot(curve["clips"], 100 * curve["accuracy"], "o-", ms=3, color=colour, label=f"{rule}, with AdaBS")
            axes.fill_between(curve["clips"], 100 * curve["low"], 100 * curve["high"], color=colour, alpha=0.15, lw=0)
            for without in of_rule[of_rule["clips"] == 0]["accuracy"]:
                axes.axhline(100 * without, color=colour, ls="--", lw=1, label=f"{rule}, without")
        axes.set_xscale("log")
        axes.set_title(f"{bits} bit, after {at}", fontsize="medium")
        axes.grid(alpha=0.3)
    for column in range(len(widths)):
        panels[-1][column].set_xlabel("unlabelled clips")
    for row in panels:
        row[0].set_ylabel("accuracy in %")
    panels[0][0].legend(fontsize="x-small")
    return saved(drawn, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of Speech Commands")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--chips", type=int, default=6)
    parser.add_argument("--bits", type=int, nargs="+", default=list(BITS), choices=BITS)
    parser.add_argument("--clips", type=int, nargs="+", default=list(COUNTS), help="how many to calibrate on")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--limit", type=int, help="most clips to measure on, spread evenly")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for adabs.csv, .json and .svg")
    options = parser.parse_args()
    first = options.runs / "kws" / str(options.seeds[0]) / f"hwa_{options.bits[0]}bit"
    task = open_trained(first).task(options.data, calibrate=False)
    data, samples = task.features(options.split, options.limit), task.data.splits[options.split]
    chosen = evenly(len(samples), options.limit)
    speakers = (samples if chosen is None else samples.select(chosen)).speakers
    clips = [task.typical(max(options.clips), seed) for seed in options.seeds]
    rows: list[dict[str, Any]] = []
    for bits in options.bits:
        folders = [options.runs / "kws" / str(seed) / f"hwa_{bits}bit" for seed in options.seeds]
        found = [
            rights(folder, data, own, options.clips, options.chips) for folder, own in zip(folders, clips, strict=True)
        ]
        rows += rows_of(bits, found, speakers)
        table = pd.DataFrame(rows)
        table.to_csv(options.out / "adabs.csv", index=False, float_format="%.6g")
        print(table[table["bits"] == bits].to_string(), flush=True)
    found_on = {"split": options.split, "clips": len(data[1]), "speakers": len({*speakers} - {""})}
    about = {
        **found_on,
        "seeds": options.seeds,
        "chips": options.chips,
        "calibration": "training clips",
    }
    write_json(options.out / "adabs.json", {"benchmark": "adabs", "about": __doc__, **about, "machine": facts()})
    figure(table, options.out / "adabs.svg")
    print(f"wrote {options.out / 'adabs.csv'}, adabs.json and adabs.svg")


if __name__ == "__main__":
    main()
